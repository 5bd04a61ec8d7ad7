import { isResourceType, searchParamsOf } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { SearchParam } from '../../resources/search-values/index.ts';
import type { IncludeSpec, ParsedSearch, SortKey } from './criteria.ts';
import { invalid } from './parse-value.ts';

/** What the parameters that shape a result come to; they select nothing. */
export interface ResultShape {
  sort: SortKey[];
  count: number;
  total: ParsedSearch['total'];
  summary?: NonNullable<ParsedSearch['summary']>;
  elements?: string[];
  contained: 'true' | 'false' | 'both';
  containedType: 'container' | 'contained';
  include: IncludeSpec[];
  revInclude: IncludeSpec[];
  cursor?: string;
}

/** What the shape depends on. */
export interface ResultContext {
  readonly strict: boolean;
  readonly maxCount: number;
  /** The types searched. */
  readonly types: readonly string[];
  /** Finds a parameter that all types searched have in common. */
  readonly param: (code: string) => SearchParam | undefined;
}

/** @returns what of the value was used, if not all of it; empty: nothing */
type Apply = (shape: ResultShape, value: string, modifier: string | undefined, context: ResultContext) => string | undefined;

const maxSortKeys = 8;
const maxIncludes = 50;

/**
 * One row for each result parameter: https://hl7.org/fhir/R4/search.html#return. A value that R4 does not have is
 * `search-invalid`; of a parameter that may be given once, the last counts.
 */
export const resultParams: Readonly<Record<string, Apply>> = {
  _count: plain('_count', (shape, value, { maxCount }) => {
    if (!/^\d{1,9}$/.test(value)) throw invalid('_count', 'It takes a number that is not negative.');
    shape.count = Math.min(Number(value), maxCount);
  }),
  _sort: plain('_sort', (shape, value, context) => {
    return value.split(',').filter((key) => applySortKey(shape, key, context)).join(',');
  }),
  _total: plain('_total', (shape, value) => {
    shape.total = oneOf('_total', value, ['none', 'estimate', 'accurate'] as const);
  }),
  _summary: plain('_summary', (shape, value) => {
    shape.summary = oneOf('_summary', value, ['true', 'text', 'data', 'count', 'false'] as const);
  }),
  _elements: plain('_elements', (shape, value) => {
    const names = value.split(',');
    if (!names.every((name) => /^[A-Za-z]{1,64}(?:\.[A-Za-z]{1,64}){0,8}$/.test(name))) throw invalid('_elements', 'It takes names of elements.');
    shape.elements = [...(shape.elements ?? []), ...names];
  }),
  _contained: plain('_contained', (shape, value) => {
    shape.contained = oneOf('_contained', value, ['true', 'false', 'both'] as const);
  }),
  _containedType: plain('_containedType', (shape, value) => {
    shape.containedType = oneOf('_containedType', value, ['container', 'contained'] as const);
  }),
  _include: (shape, value, modifier) => applyInclude(shape.include, '_include', value, modifier),
  _revinclude: (shape, value, modifier) => applyInclude(shape.revInclude, '_revinclude', value, modifier),
  _cursor: plain('_cursor', (shape, value) => {
    shape.cursor = value;
  }),
};

/** True for the name, perhaps with a modifier, of a parameter that shapes a result and says nothing of a resource. */
export function isResultParam(name: string): boolean {
  return Object.hasOwn(resultParams, name.replace(/:.*$/s, ''));
}

function plain(name: string, apply: (shape: ResultShape, value: string, context: ResultContext) => unknown): Apply {
  return (shape, value, modifier, context) => {
    if (modifier !== undefined) throw invalid(name, 'It does not have this modifier.');
    const used = apply(shape, value, context);
    return typeof used === 'string' ? used : undefined;
  };
}

function oneOf<const T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw invalid(name, `It takes one of ${allowed.join(', ')}.`);
  return found;
}

const sortable: ReadonlySet<SearchParam['type']> = new Set(['date', 'string', 'token', 'reference', 'number', 'quantity', 'uri']);

/** An unknown sort key is refused if strict, else left out. @returns false if it was left out */
function applySortKey(shape: ResultShape, key: string, { strict, param }: ResultContext): boolean {
  const descending = key.startsWith('-');
  const code = descending ? key.slice(1) : key;
  const found = code === '_lastUpdated' || code === '_id' ? code : param(code);
  if (found === undefined || (typeof found !== 'string' && !sortable.has(found.type))) {
    if (strict) throw new InterlockError('search-unsupported', { detail: 'Parameter _sort.' });
    return false;
  }
  if (shape.sort.length >= maxSortKeys) throw new InterlockError('too-costly', { detail: `At most ${maxSortKeys} sort keys.` });
  shape.sort.push({ param: found, descending });
  return true;
}

/** `*`, `Source:*` or `Source:param`, each but the first perhaps with `:Target`: https://hl7.org/fhir/R4/search.html#include */
function applyInclude(specs: IncludeSpec[], name: '_include' | '_revinclude', value: string, modifier: string | undefined): undefined {
  if (modifier !== undefined && modifier !== 'iterate' && modifier !== 'recurse') throw invalid(name, 'It does not have this modifier.');
  if (specs.length >= maxIncludes) throw new InterlockError('too-costly', { detail: `At most ${maxIncludes} includes.` });
  const iterates = modifier !== undefined && { iterates: true };
  if (value === '*') {
    specs.push({ sourceType: '*', param: '*', ...iterates });
    return;
  }
  const [sourceType = '', code, targetType, ...more] = value.split(':');
  if (more.length > 0 || code === undefined || !isResourceType(sourceType)) throw invalid(name, 'It takes Type:parameter, Type:parameter:TargetType, Type:* or *.');
  if (targetType !== undefined && !isResourceType(targetType)) throw invalid(name, 'The target is not a resource type.');
  const param = code === '*' ? '*' : searchParamsOf(sourceType).get(code);
  if (param === undefined || (param !== '*' && param.type !== 'reference')) throw invalid(name, 'The type has no such reference parameter.');
  specs.push({ sourceType, param, ...(targetType !== undefined && { targetType }), ...iterates });
}
