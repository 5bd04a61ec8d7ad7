import { isResourceType, resourceTypes, searchParamsOf } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { SearchParam } from '../../resources/search-values/index.ts';
import type { Criterion, ParsedSearch } from './criteria.ts';
import { resultParams, type ResultShape } from './parse-result.ts';
import { invalid, isSearchable, parseCriterion, parseDate, splitEscaped, unescapeValue, unsupported, type ValueOptions } from './parse-value.ts';

export { isSearchable } from './parse-value.ts';

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
 * @throws InterlockError `search-invalid` for a bad value or modifier; `search-unsupported` for a chain, a modifier or a
 *   parameter type that is not offered, and if strict for an unknown parameter; `too-costly` beyond {@link searchBounds}
 */
export function parseSearch(type: string | undefined, pairs: readonly (readonly [string, string])[], options: ParseOptions): ParsedSearch {
  assertBounds(pairs);
  const types = type === undefined ? typesOf(pairs) : [type];
  const commonParams = paramsInCommon(types);
  const param = (code: string) => commonParams.get(code);
  const valueOptions: ValueOptions = { ...options, nowMs: options.nowMs ?? Date.now(), param };
  const maxCount = options.maxCount ?? 1_000;
  const shape: ResultShape = { sort: [], count: Math.min(options.defaultCount ?? 50, maxCount), total: 'default', include: [], revInclude: [] };
  const where: Criterion[] = [];
  const used: [string, string][] = [];
  const ignored: string[] = [];

  for (const [name, value] of pairs) {
    if (exchangeParams.has(name) || (type === undefined && name === '_type')) {
      if (name === '_type') used.push([name, value]);
      continue;
    }
    assertNoChain(name, param);
    const colon = name.indexOf(':');
    const [code, modifier] = colon < 0 ? [name, undefined] : [name.slice(0, colon), name.slice(colon + 1)];
    const applyToResult = Object.hasOwn(resultParams, code) ? resultParams[code] : undefined;
    const found = applyToResult === undefined ? param(code) : undefined;
    if (applyToResult === undefined && found === undefined) {
      if (options.strict) throw new InterlockError('search-unsupported');
      ignored.push(name);
      continue;
    }
    const parts = splitEscaped(value, ',').filter((part) => part !== '');
    if (parts.length === 0) {
      if (options.strict) throw invalid(code, 'The value is empty.');
      ignored.push(name);
      continue;
    }
    if (applyToResult !== undefined) applyToResult(shape, value, modifier, { strict: options.strict, maxCount, types, param });
    else where.push(criterionOf(found!, modifier, parts, valueOptions));
    if (code !== '_cursor') used.push([name, value]);
  }

  if (shape.summary === 'count') shape.count = 0;
  // A page of nothing is asked for its total.
  if (shape.count === 0 && shape.total === 'default') shape.total = 'accurate';
  return { types, where: where.length === 1 ? where[0]! : { op: 'all', of: where }, ...shape, used, ignored };
}

function criterionOf(param: SearchParam, modifier: string | undefined, parts: readonly string[], options: ValueOptions): Criterion {
  // These two are the store's own knowledge, not extracted values.
  if (param.code === '_id' && (modifier === undefined || modifier === 'not')) {
    const ids: Criterion = { op: 'id', ids: parts.map(unescapeValue) };
    return modifier === 'not' ? { op: 'not', of: ids } : ids;
  }
  if (param.code === '_lastUpdated' && modifier === undefined) {
    const spans = parts.map((part): Criterion => {
      const { prefix, lo, hi } = parseDate(part, param, options);
      return { op: 'lastUpdated', prefix, lo, hi };
    });
    return spans.length === 1 ? spans[0]! : { op: 'any', of: spans };
  }
  if ((param.code === '_id' || param.code === '_lastUpdated') && modifier !== 'missing') throw invalid(param.code, 'It does not have this modifier.');
  const criterion = parseCriterion(param, modifier, parts, options);
  if (param.code !== '_id' && param.code !== '_lastUpdated') return criterion;
  // Every stored resource has both.
  return { op: criterion.op === 'not' ? 'any' : 'all', of: [] };
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

/** Searchable parameters that mean the same on all types: of one type its own, of several the ones with the same definition. */
function paramsInCommon(types: readonly string[]): ReadonlyMap<string, SearchParam> {
  const [first, ...others] = types.map(searchParamsOf);
  return new Map([...(first ?? [])].filter(([code, param]) => isSearchable(param) && others.every((params) => params.get(code)?.url === param.url)));
}

/** A chain or `_has` changes what is found, so that ignoring it would answer another question. */
function assertNoChain(name: string, param: (code: string) => SearchParam | undefined): void {
  if (/^_has(:|$)/.test(name)) throw unsupported('_has');
  const head = /^([^.:]+)(?::[^.]*)?\./.exec(name)?.[1];
  const found = head === undefined ? undefined : param(head);
  if (found !== undefined) throw found.type === 'reference' ? unsupported(found.code) : invalid(found.code, 'Only references can be chained.');
}
