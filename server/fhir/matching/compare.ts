import jaroWinkler from 'talisman/metrics/jaro-winkler.js';
import doubleMetaphone from 'talisman/phonetics/double-metaphone.js';
import type { Person } from './person.ts';
import { gradeScores, maxContradictedScore, maxHouseholdBits, onePerPerson, priorProbability, probabilities, similarity } from './weights.ts';

/** `certainly-not` is below all that is worth a look. */
export type Grade = 'certain' | 'probable' | 'possible' | 'certainly-not';

/** How well two records match. */
export interface Score {
  /** Probability that they are of one person, 0 to 1. */
  readonly score: number;
  readonly grade: Grade;
}

type Field = keyof typeof probabilities;
type Level<F extends Field> = keyof (typeof probabilities)[F];

/** Compares two records of persons field by field, and adds the weights up. */
export function scoreOf(one: Person, other: Person): Score {
  const identifier = identifierLevel(one, other);
  const birthDate = birthDateLevel(one.birthDate, other.birthDate);
  const names = nameLevels(one, other);
  const household = Math.min(maxHouseholdBits, bits('telecom', telecomLevel(one, other)) + bits('address', addressLevel(one, other)));
  const gender = one.gender === undefined || other.gender === undefined ? undefined : one.gender === other.gender ? 'same' : 'other';
  const sum = bits('identifier', identifier) + names.bits + bits('birthDate', birthDate) + bits('gender', gender) + household + Math.log2(priorProbability / (1 - priorProbability));
  const isIdentified = identifier === 'same';
  const isContradicted = !isIdentified && (names.given === 'other' || birthDate === 'other');
  const probability = 1 / (1 + 2 ** -sum);
  const isWhole = isIdentified || (names.isWhole && birthDate !== undefined && birthDate !== 'sameYear' && birthDate !== 'sameMonth' && !(names.hasTypo && birthDate !== 'same'));
  const score = isContradicted ? Math.min(probability, maxContradictedScore) : isWhole ? probability : Math.min(probability, gradeScores.certain - 0.0001);
  return { score: Math.round(score * 10_000) / 10_000, grade: gradeOf(score) };
}

function gradeOf(score: number): Grade {
  if (score >= gradeScores.certain) return 'certain';
  if (score >= gradeScores.probable) return 'probable';
  return score >= gradeScores.possible ? 'possible' : 'certainly-not';
}

/** What a level of agreement says, in bits. */
function bits<F extends Field>(field: F, level: Level<F> | undefined): number {
  if (level === undefined) return 0;
  const { m, u } = probabilities[field][level] as { readonly m: number; readonly u: number };
  return Math.log2(m / u);
}

function identifierLevel(one: Person, other: Person): Level<'identifier'> | undefined {
  let level: Level<'identifier'> | undefined;
  for (const a of one.identifiers) {
    for (const b of other.identifiers) {
      if (a.value === b.value && a.system !== undefined && a.system === b.system) return 'same';
      if (a.value === b.value && (a.system === undefined || b.system === undefined)) level = 'sameValue';
      else if (a.system === b.system && a.system !== undefined && onePerPerson.has(a.system)) level ??= 'otherOfOne';
    }
  }
  return level;
}

interface NameLevels {
  readonly bits: number;
  readonly given: Level<'given'> | undefined;
  /** Given name and family name agree, the latter perhaps with a typing error. */
  readonly isWhole: boolean;
  readonly hasTypo: boolean;
}

/** Of all pairs of names the one that speaks most for one person: names change, and all of them stay in the record. */
function nameLevels(one: Person, other: Person): NameLevels {
  let best: NameLevels | undefined;
  for (const a of one.names) {
    for (const b of other.names) {
      const found = namePair(a, b);
      if (best === undefined || found.bits > best.bits) best = found;
    }
  }
  return best ?? { bits: 0, given: undefined, isWhole: false, hasTypo: false };
}

function namePair(a: Person['names'][number], b: Person['names'][number]): NameLevels {
  const family = a.family === undefined || b.family === undefined ? undefined : nameLevel(a.family, b.family);
  const given = givenLevel(a.given, b.given);
  const sum = bits('family', family) + bits('given', given);
  const isSwapped = a.family !== undefined && b.family !== undefined && agrees(a.family, b.given) && agrees(b.family, a.given);
  if (isSwapped && bits('swapped', 'same') > sum) return { bits: bits('swapped', 'same'), given: 'same', isWhole: true, hasTypo: true };
  return { bits: sum, given, isWhole: (family === 'same' || family === 'typo') && given === 'same', hasTypo: family === 'typo' };
}

function agrees(family: string, given: readonly string[]): boolean {
  return given.some((one) => one === family || jaroWinkler(one, family) >= similarity.typo);
}

/** First names count; a second that is the first of the other record counts as it. */
function givenLevel(a: readonly string[], b: readonly string[]): Level<'given'> | undefined {
  const [first, second] = [a[0], b[0]];
  if (first === undefined || second === undefined) return undefined;
  if (first === second) return 'same';
  if (first.length === 1 || second.length === 1) return first[0] === second[0] ? 'initial' : 'other';
  const level = nameLevel(first, second);
  if (level === 'other' && (a.includes(second) || b.includes(first))) return 'similar';
  return level;
}

/** Equal, equal but for a typing error, or similar in writing or in sound. */
function nameLevel(a: string, b: string): Level<'family'> {
  if (a === b) return 'same';
  const likeness = jaroWinkler(a, b);
  // Of short names a letter is much: Ann and Anna, Tim and Tom.
  if (likeness >= similarity.typo && Math.min(a.length, b.length) > 3) return 'typo';
  if (likeness >= similarity.similar || isPart(a, b)) return 'similar';
  const [sounds, others] = [doubleMetaphone(a), doubleMetaphone(b)];
  return likeness >= 0.7 && sounds.some((sound) => sound.length > 1 && others.includes(sound)) ? 'similar' : 'other';
}

/** One half of a double name. */
function isPart(a: string, b: string): boolean {
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  return short.length > 3 && (long.startsWith(short) || long.endsWith(short));
}

function birthDateLevel(a: string | undefined, b: string | undefined): Level<'birthDate'> | undefined {
  if (a === undefined || b === undefined) return undefined;
  const length = Math.min(a.length, b.length);
  const [one, other] = [a.slice(0, length), b.slice(0, length)];
  if (one === other) return length === 10 ? 'same' : length === 7 ? 'sameMonth' : 'sameYear';
  if (length < 10) return 'other';
  const [year, month, day] = [one.slice(0, 4), one.slice(5, 7), one.slice(8)];
  if (other === `${year}-${day}-${month}`) return 'transposed';
  if (other.slice(4) === one.slice(4) && Math.abs(Number(year) - Number(other.slice(0, 4))) === 1) return 'nextYear';
  return isOneSlip(one, other) ? 'typo' : 'other';
}

/** One digit another, or two neighbours in each other's place. */
function isOneSlip(one: string, other: string): boolean {
  const differing = Array.from(one, (digit, index) => (digit === other[index] ? -1 : index)).filter((index) => index >= 0);
  const [first, second] = differing;
  if (differing.length === 1) return true;
  return differing.length === 2 && second! - first! <= 2 && one[first!] === other[second!] && one[second!] === other[first!];
}

function telecomLevel({ telecoms: one }: Person, { telecoms: other }: Person): Level<'telecom'> | undefined {
  if (one.length === 0 || other.length === 0) return undefined;
  return one.some((value) => other.includes(value)) ? 'same' : 'other';
}

function addressLevel({ addresses: one }: Person, { addresses: other }: Person): Level<'address'> | undefined {
  let best: Level<'address'> | undefined;
  for (const a of one) {
    for (const b of other) {
      const level = addressPair(a, b);
      if (level !== undefined && (best === undefined || bits('address', level) > bits('address', best))) best = level;
    }
  }
  return best;
}

function addressPair(a: Person['addresses'][number], b: Person['addresses'][number]): Level<'address'> | undefined {
  const same = (name: 'line' | 'city' | 'postalCode'): boolean | undefined => (a[name] === undefined || b[name] === undefined ? undefined : a[name] === b[name]);
  const [postalCode, city] = [same('postalCode'), same('city')];
  const isSameLine = a.line !== undefined && b.line !== undefined && jaroWinkler(a.line, b.line) >= similarity.typo;
  if (isSameLine && (postalCode === true || city === true)) return 'same';
  if (postalCode === true) return 'samePostalCode';
  if (city === true) return 'sameCity';
  return postalCode === undefined && city === undefined ? undefined : 'other';
}
