import { normalizeString } from '../../../resources/search-values/index.ts';
import type { ResourceJson } from '../../storage/contract.ts';

/** Search criteria that a record of the same person may well meet: pairs, all of which hold. */
export interface Block {
  readonly pairs: readonly (readonly [string, string])[];
  /** What meets it is worth a look even where too many meet the other blocks. */
  readonly isNarrow: boolean;
}

type Tree = Readonly<Record<string, unknown>>;

const maxValues = 10;
/** Letters that are not misspelt too often, and that narrow enough beside something else. */
const prefixLength = 3;

/**
 * Which records are compared at all: those that share an identifier, a telecom, a date of birth, the start of the family name
 * and about the year of birth, or the starts of family and given name. Swapped names, days and months are thought of.
 * @param patient well formed
 * @returns none if too little is known of the person
 */
export function blocksOf(patient: ResourceJson): readonly Block[] {
  const blocks: Block[] = [];
  const identifiers = listOf(patient['identifier']).flatMap(({ system, value }) => (typeof value === 'string' && isUsable(value) ? [`${typeof system === 'string' ? `${escaped(system)}|` : ''}${escaped(value)}`] : []));
  if (identifiers.length > 0) blocks.push({ pairs: [['identifier', identifiers.join(',')]], isNarrow: true });
  const telecoms = listOf(patient['telecom']).flatMap(({ value }) => (typeof value === 'string' && isUsable(value) ? [escaped(value)] : []));
  if (telecoms.length > 0) blocks.push({ pairs: [['telecom', telecoms.join(',')]], isNarrow: true });

  const names = listOf(patient['name']);
  const families = starts(names.map(({ family }) => family));
  const givens = starts(names.flatMap(({ given }) => (Array.isArray(given) ? [given[0] as unknown] : [])));
  const date = typeof patient['birthDate'] === 'string' ? patient['birthDate'] : undefined;
  if (date !== undefined && names.length > 0) {
    const [year = '', month, day] = date.split('-');
    const near = (by: number): string => String(Math.min(9_999, Math.max(1, Number(year) + by))).padStart(4, '0');
    if (day !== undefined) {
      const dates = Number(day) <= 12 ? [date, `${year}-${day}-${month!}`] : [date];
      blocks.push({ pairs: [['birthdate', dates.join(',')]], isNarrow: false });
      if (families.length > 0) blocks.push({ pairs: [['birthdate', dates.join(',')], ['name', families.join(',')]], isNarrow: true });
    }
    if (families.length > 0) blocks.push({ pairs: [['name', families.join(',')], ['birthdate', `ge${near(-1)}`], ['birthdate', `le${near(1)}`]], isNarrow: false });
  }
  if (families.length > 0 && givens.length > 0) {
    blocks.push({ pairs: [['family', families.join(',')], ['given', givens.join(',')]], isNarrow: false });
    blocks.push({ pairs: [['family', givens.join(',')], ['given', families.join(',')]], isNarrow: false });
  }
  return blocks;
}

function starts(values: readonly unknown[]): string[] {
  const found = values.flatMap((value) => (typeof value === 'string' ? [normalizeString(value.slice(0, 64)).slice(0, prefixLength).trim()] : []));
  return [...new Set(found)].filter((start) => /[\p{L}\p{N}]/u.test(start)).map(escaped);
}

function listOf(value: unknown): readonly Tree[] {
  return Array.isArray(value) ? value.slice(0, maxValues).filter((one): one is Tree => typeof one === 'object' && one !== null) : [];
}

function isUsable(value: string): boolean {
  return value.trim() !== '' && value.length <= 256;
}

/** A value as a search parameter takes it literally (https://hl7.org/fhir/R4/search.html#escaping). */
function escaped(value: string): string {
  return value.replaceAll(/[\\,|$]/g, (character) => `\\${character}`);
}
