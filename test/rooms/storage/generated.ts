import { searchParamsOf } from '../../../resources/definitions/index.ts';
import { dateRange } from '../../../resources/search-values/index.ts';
import type { Criterion, CriterionValue, SortKey } from '../../../server/search/criteria.ts';
import type { ResourceJson } from '../../../server/storage/contract.ts';

/** A small random source that a seed repeats (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(of: readonly T[]): T {
    return of[this.below(of.length)]!;
  }

  some<T>(of: readonly T[], most: number): T[] {
    return Array.from({ length: this.below(most + 1) }, () => this.pick(of));
  }
}

export const patientIds = Array.from({ length: 6 }, (_, index) => `p${index}`);
const families = ['Li', 'Lind', 'Lindqvist', 'Lindström', 'lindstrom', 'O’Neil', 'Müller-Lüdenscheidt', 'Muller', 'Mu'];
const givens = ['Al', 'Ann', 'Anna', 'Annabella', 'Bo', 'Bob', 'Åse'];
const systems = ['urn:a', 'http://loinc.org', 'http://terminology.hl7.org/CodeSystem/observation-category', undefined];
const codes = ['1', '2', 'AB', 'ab', 'laboratory', 'vital-signs'];
const dates = ['2019', '2019-12', '2019-12-31', '2020-01-01', '2020-01-01T00:00:00Z', '2020-01-01T23:59:59.999Z', '2020-02', '2020-02-29T12:30:00+05:00', '2020-02-29T12:30Z', '1849-12-31', '2150', '1900'];
const zoned = (date: string): string => (date.includes('T') && !/(Z|[+-]\d\d:\d\d)$/.test(date) ? `${date}Z` : date);

function coding(random: Random): object {
  const system = random.pick(systems);
  return { ...(system === undefined ? {} : { system }), code: random.pick(codes) };
}

function period(random: Random): object {
  const [a, b] = [random.pick(dates), random.pick(dates)].map(zoned).sort((x, y) => dateRange(x)!.lo - dateRange(y)!.lo);
  return { ...(random.chance(0.8) ? { start: a } : {}), ...(random.chance(0.6) ? { end: b } : {}) };
}

/** A resource of one of several types, with few distinct values, so that searches match. */
export function generate(random: Random): ResourceJson {
  const subject = random.chance(0.9) ? { subject: random.chance(0.9) ? { reference: `Patient/${random.pick(patientIds)}` } : { reference: 'Group/g1', identifier: { system: 'urn:a', value: '1' } } } : {};
  switch (random.below(4)) {
    case 0:
      return {
        resourceType: 'Patient',
        ...(random.chance(0.9) ? { name: [{ family: random.pick(families), given: random.some(givens, 2) }].filter(() => true) } : {}),
        ...(random.chance(0.8) ? { gender: random.pick(['male', 'female', 'other']) } : {}),
        ...(random.chance(0.8) ? { birthDate: random.pick(dates.filter((date) => date.length === 10 || date.length === 4)) } : {}),
        ...(random.chance(0.5) ? { identifier: [{ system: 'urn:a', value: random.pick(codes) }, { value: random.pick(codes) }] } : {}),
        ...(random.chance(0.3) ? { active: random.chance(0.5) } : {}),
        ...(random.chance(0.5) ? { address: [{ city: random.pick(families), state: random.pick(['MA', 'Maine', 'NY']) }] } : {}),
        ...(random.chance(0.3) ? { meta: { tag: [coding(random)], profile: [random.pick(['http://x/a', 'http://x/b'])] } } : {}),
      };
    case 1:
      return { resourceType: 'Encounter', status: random.pick(['planned', 'finished']), class: { code: random.pick(['AMB', 'IMP']) }, ...subject, ...(random.chance(0.9) ? { period: period(random) } : {}), type: [{ coding: [coding(random)] }] };
    case 2:
      return { resourceType: 'ServiceRequest', status: 'active', intent: random.pick(['order', 'plan']), ...subject, ...(random.chance(0.5) ? { occurrenceTiming: { event: random.some(dates.filter((date) => date.length > 4), 3).map(zoned) } } : {}), ...(random.chance(0.8) ? { authoredOn: zoned(random.pick(dates)) } : {}), code: { coding: [coding(random)] } };
    default:
      return {
        resourceType: 'Observation', status: random.pick(['final', 'amended', 'preliminary']), ...subject,
        ...(random.chance(0.8) ? { category: [{ coding: [coding(random)] }] } : {}),
        code: { coding: [coding(random), ...(random.chance(0.3) ? [coding(random)] : [])], text: random.pick(givens) },
        ...(random.chance(0.5) ? { effectiveDateTime: zoned(random.pick(dates)) } : random.chance(0.6) ? { effectivePeriod: period(random) } : {}),
        ...(random.chance(0.3) ? { component: [{ code: { coding: [coding(random)] }, valueString: random.pick(families) }] } : {}),
        ...(random.chance(0.3) ? { valueString: random.pick(families) } : random.chance(0.3) ? { valueCodeableConcept: { coding: [coding(random)] } } : {}),
      };
  }
}

export const generatedTypes = ['Patient', 'Encounter', 'ServiceRequest', 'Observation'];
const asked: Readonly<Record<string, readonly string[]>> = {
  Patient: ['family', 'given', 'name', 'phonetic', 'gender', 'birthdate', 'identifier', 'active', 'address', 'address-state', 'address-city', '_tag', '_profile', 'deceased', 'general-practitioner'],
  Encounter: ['status', 'class', 'subject', 'patient', 'date', 'type'],
  ServiceRequest: ['status', 'intent', 'subject', 'patient', 'occurrence', 'authored', 'code'],
  Observation: ['status', 'category', 'code', 'combo-code', 'component-code', 'subject', 'patient', 'date', 'value-string', 'value-concept', 'combo-value-concept', 'performer'],
};

function value(random: Random, type: string): CriterionValue | undefined {
  switch (type) {
    case 'token': {
      const system = random.pick([...systems, '', undefined, undefined]);
      const code = random.chance(0.9) ? random.pick([...codes, 'final', 'male', 'female', 'true', 'AMB', 'finished', 'order']) : undefined;
      return code === undefined && (system === undefined || system === '') ? undefined : { kind: 'token', ...(system === undefined ? {} : { system }), ...(code === undefined ? {} : { code }) };
    }
    case 'string': {
      const text = random.pick([...families, ...givens, 'MA']);
      return { kind: 'string', value: text.slice(0, 1 + random.below(text.length)) };
    }
    case 'reference': return { kind: 'reference', id: random.pick([...patientIds, 'g1']), ...(random.chance(0.6) ? { type: random.pick(['Patient', 'Patient', 'Group']) } : {}) };
    case 'date': {
      const range = dateRange(zoned(random.pick(dates)))!;
      return { kind: 'date', prefix: random.pick(['eq', 'ne', 'gt', 'lt', 'ge', 'le', 'sa', 'eb', 'ap']), ...range };
    }
    case 'uri': return { kind: 'uri', value: random.pick(['http://x/a', 'http://x/b', 'http://x/c']) };
    default: return undefined;
  }
}

/** A random condition on resources of a type. */
export function criterion(random: Random, type: string, times: readonly number[], depth = 2): Criterion {
  const inner = (): Criterion => criterion(random, type, times, depth - 1);
  const kind = random.below(depth > 0 ? 12 : 8);
  if (kind >= 10) return { op: 'all', of: [inner(), inner(), ...(random.chance(0.3) ? [inner()] : [])] };
  if (kind === 9) return { op: 'any', of: [inner(), inner()] };
  if (kind === 8) return { op: 'not', of: inner() };
  if (kind === 0) return { op: 'compartment', type: 'Patient', ids: [random.pick(patientIds), ...random.some(patientIds, 1)] };
  if (kind === 1 && random.chance(0.3)) return { op: 'id', ids: random.some(Array.from({ length: 200 }, (_, index) => `g${index}`), 60) };
  if (kind === 1 && random.chance(0.3)) return { op: 'type', types: random.some(generatedTypes, 3) };
  const param = searchParamsOf(type).get(random.pick(asked[type]!))!;
  if (kind === 2 && random.chance(0.5)) return { op: 'present', param };
  if (kind === 3 && random.chance(0.3)) {
    const lo = random.pick(times);
    return { op: 'lastUpdated', prefix: random.pick(['eq', 'ne', 'gt', 'lt', 'ge', 'le', 'sa', 'eb', 'ap']), lo, hi: lo + random.pick([1, 1, 50]) };
  }
  if (param.type === 'reference' && random.chance(0.15)) return { op: 'param', param, modifier: 'identifier', of: [{ kind: 'token', ...(random.chance(0.5) ? { system: 'urn:a' } : {}), code: random.pick(['1', '2']) }] };
  if (param.type === 'token' && random.chance(0.1)) return { op: 'param', param, modifier: 'text', of: [{ kind: 'string', value: random.pick(givens) }] };
  const of = Array.from({ length: random.chance(0.25) ? 2 : 1 }, () => value(random, param.type)).filter((one) => one !== undefined);
  const modifier = param.type === 'string' && random.chance(0.3) ? random.pick(['exact', 'contains'] as const) : undefined;
  return { op: 'param', param, ...(modifier && { modifier }), of };
}

/** A random sort order for a type. */
export function sortOf(random: Random, type: string): SortKey[] {
  if (random.chance(0.4)) return [];
  return Array.from({ length: random.chance(0.3) ? 2 : 1 }, () => ({
    param: random.chance(0.3) ? random.pick(['_id', '_lastUpdated'] as const) : searchParamsOf(type).get(random.pick(asked[type]!))!,
    descending: random.chance(0.5),
  }));
}
