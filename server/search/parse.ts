import { isResourceType, resourceTypes } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AskedCriterion, ParsedSearch } from './criteria.ts';
import { parseCondition, placeOf } from './parse-condition.ts';
import { resultParams, type ResultShape } from './parse-result.ts';
import { invalid, splitEscaped } from './parse-value.ts';

export { isResultParam } from './parse-result.ts';
export { isSearchable, modifiersOf } from './parse-value.ts';

/** How to read a search. */
export interface ParseOptions {
  /** `Prefer: handling=strict`: unknown parameters and empty values are refused instead of ignored. */
  readonly strict: boolean;
  /** Page size when none is asked. Default 50. */
  readonly defaultCount?: number;
  /** Largest page size; more is cut down to it. Default 1000. */
  readonly maxCount?: number;
  /** The present, which `ap` measures from. Default: the clock. */
  readonly nowMs?: number;
  /** This server's FHIR base URL: absolute references under it are local. */
  readonly baseUrl?: string;
  /** IANA name of the time zone of dates that carry none. Default UTC. */
  readonly zone?: string;
}

/** Bounds on one search; beyond them it is `too-costly`. */
export const searchBounds = { maxParams: 100, maxValues: 1_000, maxValueLength: 8_192 } as const;

/** Parameters of the exchange, not of the search. */
const exchangeParams: ReadonlySet<string> = new Set(['_format', '_pretty']);

/**
 * Reads a search (https://hl7.org/fhir/R4/search.html): repeated parameters are AND, commas OR.
 * @param type resource type searched; undefined: all types, or those that `_type` names
 * @param pairs parameter names and values in order, percent-decoded
 * @throws InterlockError `search-invalid` for a bad value, modifier, chain or filter; `search-unsupported` for what is not
 *   offered, and if strict for an unknown parameter; `too-costly` beyond {@link searchBounds}
 */
export function parseSearch(type: string | undefined, pairs: readonly (readonly [string, string])[], options: ParseOptions): ParsedSearch {
  assertBounds(pairs);
  const types = type === undefined ? typesOf(pairs) : [type];
  const place = placeOf(types, { ...options, nowMs: options.nowMs ?? Date.now() });
  const maxCount = options.maxCount ?? 1_000;
  const shape: ResultShape = { sort: [], count: Math.min(options.defaultCount ?? 50, maxCount), total: 'default', contained: 'false', containedType: 'container', include: [], revInclude: [] };
  const where: AskedCriterion[] = [];
  const used: [string, string][] = [];
  const ignored: string[] = [];

  for (const [name, value] of pairs) {
    if (exchangeParams.has(name) || (type === undefined && name === '_type')) {
      if (name === '_type') used.push([name, value]);
      continue;
    }
    const parts = splitEscaped(value, ',').filter((part) => part !== '');
    const colon = name.indexOf(':');
    const code = colon < 0 ? name : name.slice(0, colon);
    const applyToResult = Object.hasOwn(resultParams, code) ? resultParams[code] : undefined;
    if (parts.length === 0) {
      if (options.strict) throw invalid(applyToResult === undefined && place.param(code) === undefined ? 'unknown' : code, 'The value is empty.');
      ignored.push(name);
      continue;
    }
    if (applyToResult !== undefined) {
      const applied = applyToResult(shape, value, colon < 0 ? undefined : name.slice(colon + 1), { strict: options.strict, maxCount, types, param: place.param }) ?? value;
      if (applied === '') ignored.push(name);
      else if (code !== '_cursor') used.push([name, applied]);
      continue;
    }
    const condition = parseCondition(name, value, parts, place);
    if (condition === undefined) {
      if (options.strict) throw new InterlockError('search-unsupported');
      ignored.push(name);
      continue;
    }
    where.push(condition);
    used.push([name, value]);
  }

  if (shape.summary === 'count') shape.count = 0;
  // A page of nothing is asked for its total.
  if (shape.count === 0 && shape.total === 'default') shape.total = 'accurate';
  const { contained, containedType, ...rest } = shape;
  return {
    types,
    where: where.length === 1 ? where[0]! : { op: 'all', of: where },
    ...rest,
    ...(contained !== 'false' && { contained: { mode: contained, returned: containedType } }),
    used,
    ignored,
  };
}

function assertBounds(pairs: readonly (readonly [string, string])[]): void {
  if (pairs.length > searchBounds.maxParams) throw new InterlockError('too-costly', { detail: `At most ${searchBounds.maxParams} search parameters.` });
  let values = 0;
  for (const [, value] of pairs) {
    if (value.length > searchBounds.maxValueLength) throw new InterlockError('too-costly', { detail: `A search parameter has at most ${searchBounds.maxValueLength} characters.` });
    for (const character of value) if (character === ',') values++;
    values++;
  }
  if (values > searchBounds.maxValues) throw new InterlockError('too-costly', { detail: `At most ${searchBounds.maxValues} search values.` });
}

function typesOf(pairs: readonly (readonly [string, string])[]): readonly string[] {
  const named = pairs.filter(([name, value]) => name === '_type' && value !== '').flatMap(([, value]) => value.split(','));
  if (named.length === 0) return resourceTypes();
  if (!named.every(isResourceType)) throw invalid('_type', 'It takes resource types.');
  return [...new Set(named)];
}
