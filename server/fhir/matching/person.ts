import { normalizeCode, normalizeString } from '../../../resources/search-values/index.ts';
import type { ResourceJson } from '../../storage/contract.ts';

/** What is compared of a Patient: normalised, and of each so many at most, so that no content makes a comparison costly. */
export interface Person {
  readonly names: readonly { readonly family?: string; readonly given: readonly string[] }[];
  readonly identifiers: readonly { readonly system?: string; readonly value: string }[];
  /** `YYYY`, `YYYY-MM` or `YYYY-MM-DD`. */
  readonly birthDate?: string;
  readonly gender?: string;
  /** Mail addresses, and the last digits of numbers. */
  readonly telecoms: readonly string[];
  readonly addresses: readonly { readonly line?: string; readonly city?: string; readonly postalCode?: string }[];
}

const maxEach = 10;
const maxLength = 64;
/** Digits of a telephone number that do not depend on how its country or trunk prefix is written. */
const significantDigits = 9;

type Tree = Readonly<Record<string, unknown>>;

/** What can be compared of a Patient that is well formed. */
export function personOf(patient: ResourceJson): Person {
  const { birthDate, gender } = patient as { readonly birthDate?: string; readonly gender?: string };
  return {
    names: listOf(patient['name']).flatMap((name) => {
      const family = textOf(name['family'], wordsOf);
      const given = (Array.isArray(name['given']) ? name['given'] : []).slice(0, maxEach).flatMap((one) => textOf(one, wordsOf) ?? []);
      return family === undefined && given.length === 0 ? [] : [{ given, ...(family === undefined ? {} : { family }) }];
    }),
    identifiers: listOf(patient['identifier']).flatMap(({ system, value }) => (typeof value !== 'string' || value.length > maxIdentifierLength ? [] : [{ value: normalizeCode(value), ...(typeof system === 'string' ? { system } : {}) }])),
    telecoms: [...new Set(listOf(patient['telecom']).flatMap(({ system, value }) => telecomOf(system, value) ?? []))],
    addresses: listOf(patient['address']).map(({ line, city, postalCode }) => ({
      ...defined('line', textOf(Array.isArray(line) ? line[0] : undefined, wordsOf)), ...defined('city', textOf(city, wordsOf)), ...defined('postalCode', textOf(postalCode, (text) => text.replaceAll(/[^a-z0-9]/g, ''))),
    })),
    ...(birthDate === undefined ? {} : { birthDate }),
    ...(gender === undefined || gender === 'unknown' ? {} : { gender }),
  };
}

const maxIdentifierLength = 256;

function listOf(value: unknown): readonly Tree[] {
  return Array.isArray(value) ? value.slice(0, maxEach).filter((one): one is Tree => typeof one === 'object' && one !== null) : [];
}

function textOf(value: unknown, bare: (text: string) => string): string | undefined {
  if (typeof value !== 'string') return undefined;
  const text = bare(normalizeString(value.slice(0, maxLength)));
  return text === '' ? undefined : text;
}

/** Letters and digits: hyphens, apostrophes and spaces are written in many ways. */
function wordsOf(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N}]/gu, '');
}

function telecomOf(system: unknown, value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  if (system === 'email') return textOf(value, (text) => text);
  const digits = value.slice(0, maxLength).replaceAll(/\D/g, '');
  return digits.length < 6 ? undefined : digits.slice(-significantDigits);
}

function defined<Name extends string>(name: Name, value: string | undefined): { readonly [K in Name]?: string } {
  return (value === undefined ? {} : { [name]: value }) as { readonly [K in Name]?: string };
}
