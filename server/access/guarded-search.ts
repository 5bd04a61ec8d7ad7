import type { ValueContext } from '../../resources/search-values/index.ts';
import type { ParsedSearch, SettledSearch } from '../search/criteria.ts';
import type { SearchPage, SearchRequest, Store, StoredVersion } from '../storage/contract.ts';
import type { AuditEventReader } from './audit-events.ts';
import { searchContained, type FoundPage } from './contained.ts';
import type { AccessContext } from './context.ts';
import { permitted } from './decide.ts';
import { GovernedSearch } from './governed-search.ts';
import { includedBy } from './include.ts';
import { masked, maskedPart } from './mask.ts';
import { assertUnmasked } from './mask-search.ts';
import { resolveCriterion } from './resolve.ts';
import { unconfined, type SecurityContexts } from './security-context.ts';
import type { TerminologyService } from './terminology.ts';

interface SearchServices {
  readonly store: Store;
  readonly auditEvents: AuditEventReader;
  readonly values: ValueContext;
  readonly terminology?: TerminologyService;
  readonly context: AccessContext;
  readonly contexts: SecurityContexts;
}

/** A page of matches with what it includes. */
export interface SearchResult extends FoundPage {
  readonly included: readonly StoredVersion[];
  /** There is more to include than a page takes. */
  readonly isIncludeCut: boolean;
}

/**
 * Searches as a caller: what is asked of other resources is settled first, then what is asked and what is permitted go to
 * the store as one filter; what the matches include is decided resource by resource.
 * @param types what is searched; AuditEvent only alone
 * @throws InterlockError `forbidden`, `too-costly`, and what `resolveCriterion` refuses
 */
export async function searchAs(services: SearchServices, asked: ParsedSearch, types: readonly string[], after: string | undefined): Promise<SearchResult> {
  const { store, auditEvents, values, terminology, context, contexts } = services;
  assertUnmasked(context, types, asked);
  const search = async (request: SearchRequest): Promise<SearchPage> => {
    if (request.types.includes('AuditEvent')) return auditEvents.search(request);
    const page = await store.search(request);
    return { ...page, matches: await contexts.visible(page.matches, ['s']) };
  };
  const where = await resolveCriterion(asked.where, types, { context, values, terminology: terminology?.of(context), search });
  const page = await pageOf(services, { ...asked, where }, types, after);
  if (asked.include.length === 0 && asked.revInclude.length === 0) return { ...page, included: [], isIncludeCut: false };
  const { versions, isCut } = await includedBy(services, unconfined(context), asked, page.matches);
  return { ...page, included: versions, isIncludeCut: isCut };
}

async function pageOf({ store, auditEvents, values, context, contexts }: SearchServices, search: SettledSearch, types: readonly string[], after: string | undefined): Promise<FoundPage> {
  if (types.some((type) => contexts.governs(type))) return new GovernedSearch(store, context, contexts).page(search, types, after);
  const { where, sort, count, total, contained } = search;
  const request = { types, where, sort, count, total, ...(after === undefined ? {} : { after }) };
  if (contained !== undefined) return searchContained({ store, values, context }, request, contained);
  return (types.length === 1 && types[0] === 'AuditEvent' ? auditEvents : store).search({ ...request, where: permitted(context, types, where) });
}

/** The same page without what is hidden from the caller. */
export function maskedPage(page: SearchResult, context: AccessContext): SearchResult {
  const matches = page.matches.map((version) => masked(version, context));
  const { parts } = page;
  const shown = parts === undefined ? {} : { parts: new Map(page.matches.map((version, index) => [matches[index]!, (parts.get(version) ?? []).map((part) => maskedPart(part, context))] as const)) };
  return { ...page, matches, ...shown, included: page.included.map((version) => masked(version, context)) };
}
