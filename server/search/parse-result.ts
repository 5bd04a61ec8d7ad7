import { isResourceType, searchParamsOf } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { SearchParam } from '../../resources/search-values/index.ts';
import type { IncludeSpec, ParsedSearch, SortKey } from './criteria.ts';
import { invalid, unsupported } from './parse-value.ts';

/** What the parameters that shape a result come to; they select nothing. */
export interface ResultShape {
  sort: SortKey[];
  count: number;
  total: ParsedSearch['total'];
  summary?: NonNullable<ParsedSearch['summary']>;
  elements?: string[];
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

type Apply = (shape: ResultShape, value: string, modifier: string | undefined, context: ResultContext) => void;

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
    for (const key of value.split(',')) applySortKey(shape, key, context);
  }),
  _total: plain('_total', (shape, value) => {
    shape.total = oneOf('_total', value, ['none', 'estimate', 'accurate'] as const);
  }),
  _summary: plain('_summary', (shape, value) => {
    shape.summary = oneOf('_summary', value, ['true', 'text', 'data', 'count', 'false'] as const);
  }),
  _elements: plain('_elements', (shape, value) => {
    const names = value.split(',');
    if (!names.every((name) => /^[A-Za-z]{1,64}$/.test(name))) throw invalid('_elements', 'It takes names of elements at the top of the resource.');
    shape.elements = [...(shape.elements ?? []), ...names];
  }),
  _include: (shape, value, modifier, context) => applyInclude(shape.include, '_include', value, modifier, context),
  _revinclude: (shape, value, modifier, context) => applyInclude(shape.revInclude, '_revinclude', value, modifier, context),
  _cursor: plain('_cursor', (shape, value) => {
    shape.cursor = value;
  }),
};

function plain(name: string, apply: (shape: ResultShape, value: string, context: ResultContext) => void): Apply {
  return (shape, value, modifier, context) => {
    if (modifier !== undefined) throw invalid(name, 'It does not have this modifier.');
    apply(shape, value, context);
  };
}

function oneOf<const T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw invalid(name, `It takes one of ${allowed.join(', ')}.`);
  return found;
}

const sortable: ReadonlySet<SearchParam['type']> = new Set(['date', 'string', 'token', 'reference', 'number', 'quantity', 'uri']);

/** An unknown sort key is refused if strict, else left out. */
function applySortKey(shape: ResultShape, key: string, { strict, param }: ResultContext): void {
  const descending = key.startsWith('-');
  const code = descending ? key.slice(1) : key;
  const found = code === '_lastUpdated' || code === '_id' ? code : param(code);
  if (found === undefined || (typeof found !== 'string' && !sortable.has(found.type))) {
    if (strict) throw new InterlockError('search-unsupported', { detail: 'Parameter _sort.' });
    return;
  }
  if (shape.sort.length >= maxSortKeys) throw new InterlockError('too-costly', { detail: `At most ${maxSortKeys} sort keys.` });
  shape.sort.push({ param: found, descending });
}

/** `Source:param[:Target]`, `Source:*`; `*` for all references of the types searched. */
function applyInclude(specs: IncludeSpec[], name: '_include' | '_revinclude', value: string, modifier: string | undefined, context: ResultContext): void {
  if (modifier === 'iterate' || modifier === 'recurse') throw unsupported(name);
  if (modifier !== undefined) throw invalid(name, 'It does not have this modifier.');
  if (value === '*' && name === '_revinclude') throw unsupported(name);
  const [sourceType, code = '*', targetType, ...more] = value === '*' ? [context.types.length === 1 ? context.types[0]! : undefined] : value.split(':');
  if (sourceType === undefined) throw unsupported(name);
  if (more.length > 0 || !isResourceType(sourceType) || (value !== '*' && !value.includes(':'))) throw invalid(name, 'It takes Type:parameter or Type:parameter:TargetType.');
  if (targetType !== undefined && !isResourceType(targetType)) throw invalid(name, 'The target is not a resource type.');
  const params = [...searchParamsOf(sourceType).values()].filter((param) => param.type === 'reference' && (code === '*' || param.code === code));
  if (code !== '*' && params.length === 0) throw invalid(name, 'The type has no such reference parameter.');
  for (const param of params) {
    if (specs.length >= maxIncludes) throw new InterlockError('too-costly', { detail: `At most ${maxIncludes} includes.` });
    specs.push({ sourceType, param, ...(targetType !== undefined && { targetType }) });
  }
}
