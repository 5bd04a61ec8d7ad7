import { elementOf } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { ValueContext } from '../../resources/search-values/index.ts';
import type { Criterion, ParsedSearch } from '../search/criteria.ts';
import { containedMatches } from '../search/match.ts';
import type { ResourceJson, SearchPage, SearchRequest, Store, StoredVersion } from '../storage/contract.ts';
import type { AccessContext } from './context.ts';
import { permitted, reachableTypes } from './decide.ts';

/** A page of matches. */
export interface FoundPage extends SearchPage {
  /** With `_containedType=contained`: what of some matches stands in the result in place of them. */
  readonly parts?: ReadonlyMap<StoredVersion, readonly ResourceJson[]>;
}

interface ContainedServices {
  readonly store: Store;
  readonly values: ValueContext;
  readonly context: AccessContext;
}

/**
 * Searches contained resources, alone or with the others (https://hl7.org/fhir/R4/search.html#contained). The caller needs
 * to be permitted to search the type asked for; what contains it, it finds only where it may search that too.
 * @param request of the types and the settled criterion that were asked
 * @throws InterlockError `forbidden`, `too-costly`; `search-unsupported` for a total of contained resources
 */
export async function searchContained({ store, values, context }: ContainedServices, request: SearchRequest, { mode, returned }: NonNullable<ParsedSearch['contained']>): Promise<FoundPage> {
  permitted(context, request.types, request.where);
  const inside: Criterion = { op: 'any', of: request.types.map((type) => ({ op: 'contained', type, of: request.where })) };
  const outside: Criterion = { op: 'all', of: [{ op: 'type', types: request.types }, request.where] };
  const containers = reachableTypes(context, ['s']).filter((type) => type !== 'AuditEvent' && elementOf(type, `${type}.contained`) !== undefined);
  const types = mode === 'both' ? [...new Set([...request.types, ...containers])] : containers;
  const asParts = returned === 'contained';
  // The store counts what contains.
  if (asParts && request.count === 0) throw new InterlockError('search-unsupported', { detail: 'Parameter _containedType: contained resources are not counted.' });
  const where = permitted(context, types, mode === 'both' ? { op: 'any', of: [outside, inside] } : inside);
  const page = await store.search({ ...request, types, where, ...(asParts && { total: 'none' }) });
  if (!asParts) return page;
  const parts = new Map<StoredVersion, readonly ResourceJson[]>();
  for (const version of page.matches) {
    const content = { resource: version.resource(), context: values };
    parts.set(version, request.types.flatMap((type) => containedMatches(content, type, version.lastUpdated.getTime(), request.where)));
  }
  return { ...page, parts };
}
