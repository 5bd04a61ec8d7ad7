import { bundleBytes, outcomeEntry, searchEntry, type BundleLink } from '../bundles.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { fhirJson } from '../responses.ts';
import { shapeOf } from '../shape.ts';

/** What a cursor of a search is bound to. */
export function searchPlace(type: string | undefined): string {
  return `search ${type ?? ''}`;
}

/** Searches a type, or several by `_type` (https://hl7.org/fhir/R4/search.html). Pages are linked by sealed cursors. */
export async function search({ guard, search: parsed, services, context, type, request, after }: Exchange): Promise<FhirResponse> {
  // Of everything, a caller searches what it may search; types that it names it must be permitted.
  const asked = type !== undefined || parsed!.used.some(([name, value]) => name === '_type' && value !== '') ? parsed! : { ...parsed!, types: [] };
  const path = type ?? '';
  const query = `${request.method} ${request.path}?${request.query.map(([name, value]) => `${name}=${value}`).join('&')}`;
  const shape = shapeOf(asked, parsed!.types);
  const page = await guard.search(asked, query, after);
  const base = path === '' ? services.baseUrl : `${services.baseUrl}/${path}`;
  const self = new URLSearchParams(asked.used.map(([name, value]): [string, string] => [name, value]));
  const links: BundleLink[] = [{ relation: 'self', url: self.size === 0 ? base : `${base}?${self.toString()}` }];
  if (page.next !== undefined) {
    const cursor = services.cursors.seal({ query: asked.used, after: page.next }, context, searchPlace(type));
    links.push({ relation: 'next', url: `${base}?_cursor=${cursor}` });
  }
  const entries = [
    ...page.matches.map((version) => searchEntry(services.baseUrl, version, 'match', shape)),
    ...page.included.map((version) => searchEntry(services.baseUrl, version, 'include', shape)),
  ];
  if (asked.ignored.length > 0) entries.push(outcomeEntry('Search parameters that this server does not know were ignored; see the self link.'));
  const body = bundleBytes({ type: 'searchset', ...(page.total === undefined ? {} : { total: page.total }), links, entries });
  return { status: 200, headers: { 'Content-Type': fhirJson }, body };
}
