import type { SearchValue } from '../../resources/search-values/index.ts';
import { normalizeCode, normalizeString } from '../../resources/search-values/index.ts';
import type { SortKey } from '../search/criteria.ts';
import { orderMs } from './clock.ts';

/** What a resource is sorted by; null where it has no value. */
export type SortValue = number | string | null;

interface Sortable {
  readonly id: string;
  readonly order: bigint;
  readonly values: ReadonlyMap<string, readonly SearchValue[]>;
}

/** Codes of the parameters whose values a sort needs. */
export function sortCodes(sort: readonly SortKey[]): readonly string[] {
  return sort.flatMap(({ param }) => (typeof param === 'string' ? [] : [param.code]));
}

/**
 * The values that a resource is sorted by. Of several values the smallest counts when ascending, the largest when
 * descending (https://hl7.org/fhir/R4/search.html#sort).
 */
export function sortKeysOf({ id, order, values }: Sortable, sort: readonly SortKey[]): readonly SortValue[] {
  return sort.map(({ param, descending }) => {
    if (param === '_id') return id;
    if (param === '_lastUpdated') return orderMs(order);
    let best: SortValue = null;
    for (const value of values.get(param.code) ?? []) {
      const one = sortValueOf(value, descending);
      if (one !== null && (best === null || (descending ? compareValues(one, best) > 0 : compareValues(one, best) < 0))) best = one;
    }
    return best;
  });
}

/** Compares by all keys; resources without a value come last, whatever the direction. */
export function compareKeys(a: readonly SortValue[], b: readonly SortValue[], sort: readonly SortKey[]): number {
  for (const [index, { descending }] of sort.entries()) {
    const [x, y] = [a[index] ?? null, b[index] ?? null];
    if (x === null || y === null) {
      if (x !== y) return x === null ? 1 : -1;
      continue;
    }
    const order = compareValues(x, y);
    if (order !== 0) return descending ? -order : order;
  }
  return 0;
}

function compareValues(a: number | string, b: number | string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function sortValueOf(value: SearchValue, descending: boolean): SortValue {
  switch (value.kind) {
    // JSON, which cursors are written in, has no infinity.
    case 'date': return Math.min(Math.max(descending ? value.hi : value.lo, -Number.MAX_VALUE), Number.MAX_VALUE);
    case 'string': return normalizeString(value.value).slice(0, 64);
    case 'token': return value.code === undefined ? null : normalizeCode(value.code);
    case 'reference': return value.id !== undefined ? `${value.type ?? ''}/${value.id}` : (value.url ?? null);
    case 'number': case 'quantity': return Number(value.value);
    case 'uri': return value.value;
    case 'composite': case 'position': return null;
  }
}
