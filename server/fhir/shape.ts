import { isResourceType } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import { elementsSelection, selectFrom, subsetted, summarySelection, type Selection } from '../../resources/validate/select.ts';
import { parseSearch } from '../search/parse.ts';
import type { ParsedSearch } from '../search/criteria.ts';
import type { ResourceJson, StoredVersion } from '../storage/contract.ts';

/** The bytes of a version as they go out; the same Buffer where nothing is left out. */
export type Shape = (version: Pick<StoredVersion, 'type' | 'bytes'>) => Buffer;

/** What is not asked to be shaped goes out as it is stored. */
export const asStored: Shape = ({ bytes }) => bytes;

/**
 * How `_summary` or `_elements` reduce what goes out (https://hl7.org/fhir/R4/search.html#summary). Elements named without a type
 * are those of the types searched, so that included resources of others stay whole; `Type.element` names another's.
 * @throws InterlockError `search-invalid` if both are given
 */
export function shapeOf({ summary, elements }: Pick<ParsedSearch, 'summary' | 'elements'>, types: readonly string[]): Shape {
  const view = summary === 'true' || summary === 'text' || summary === 'data' ? summary : undefined;
  if (view !== undefined && elements !== undefined) throw new InterlockError('search-invalid', { expression: '_elements', detail: '_summary and _elements exclude each other.' });
  if (view === undefined && elements === undefined) return asStored;
  const selections = new Map<string, Selection | undefined>();
  const selectionFor = (type: string): Selection | undefined => {
    if (view !== undefined) return summarySelection(type, view);
    const paths = (elements ?? []).map((name) => name.split('.')).flatMap((path) => {
      const [first = ''] = path;
      if (isResourceType(first)) return first === type ? [path.slice(1)] : [];
      return types.includes(type) ? [path] : [];
    });
    return paths.length === 0 ? undefined : elementsSelection(type, paths.filter((path) => path.length > 0));
  };
  return ({ type, bytes }) => {
    if (!selections.has(type)) selections.set(type, selectionFor(type));
    const selection = selections.get(type);
    return selection === undefined ? bytes : selectFrom(bytes, selection);
  };
}

/**
 * The same for interactions that are no searches; other parameters are theirs.
 * @throws InterlockError `search-invalid`; also for `_summary=count`, since there is nothing to count
 */
export function shapeOfQuery(query: readonly (readonly [string, string])[], types: readonly string[]): Shape {
  const own = query.filter(([name]) => name === '_summary' || name === '_elements');
  if (own.length === 0) return asStored;
  const { summary, elements } = parseSearch(types[0], own, { strict: false });
  if (summary === 'count') throw new InterlockError('search-invalid', { expression: '_summary', detail: 'Only a search counts.' });
  return shapeOf({ ...(summary === undefined ? {} : { summary }), ...(elements === undefined ? {} : { elements }) }, types);
}

/**
 * Refuses a resource that was read in part: written back, it would delete what was left out.
 * @throws InterlockError `business-rule`
 */
export function assertWhole(resource: ResourceJson): void {
  const { tag } = (resource['meta'] ?? {}) as { tag?: unknown };
  const isSubset = (one: unknown) => typeof one === 'object' && one !== null && 'code' in one && one.code === subsetted.code && 'system' in one && one.system === subsetted.system;
  if (Array.isArray(tag) && tag.some(isSubset)) throw new InterlockError('business-rule', { expression: `${resource.resourceType}.meta.tag`, detail: 'The resource was read in part; read it whole before changing it.' });
}
