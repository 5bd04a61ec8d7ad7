import { emergencyBanner } from '../../access/break-glass.ts';
import { bundleBytes, containedEntry, outcomeEntry, searchEntry, type BundleLink } from '../bundles.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { fhirJson } from '../responses.ts';
import { shapeOf } from '../shape.ts';

/** What a cursor of a search is bound to. */
export function searchPlace(exchange: Pick<Exchange, 'type' | 'compartment'>): string {
  return `search ${pathOf(exchange)}`;
}

function pathOf({ type, compartment }: Pick<Exchange, 'type' | 'compartment'>): string {
  return compartment === undefined ? (type ?? '') : `${compartment.type}/${compartment.id}/${type ?? '*'}`;
}

/** Searches a type, several by `_type`, or a compartment (https://hl7.org/fhir/R4/search.html). Pages are linked by sealed cursors. */
export async function search(exchange: Exchange): Promise<FhirResponse> {
  const { guard, search: parsed, services, context, type, compartment, request, after } = exchange;
  // Of everything, a caller searches what it may search; types that it names it must be permitted.
  const asked = type !== undefined || compartment !== undefined || parsed!.used.some(([name, value]) => name === '_type' && value !== '') ? parsed! : { ...parsed!, types: [] };
  const path = pathOf(exchange);
  const query = `${request.method} ${request.path}?${request.query.map(([name, value]) => `${name}=${value}`).join('&')}`;
  const shape = shapeOf(asked, parsed!.types);
  const page = await guard.search(asked, query, after);
  const base = path === '' ? services.baseUrl : `${services.baseUrl}/${path}`;
  const self = new URLSearchParams(asked.used.map(([name, value]): [string, string] => [name, value]));
  const firstUrl = self.size === 0 ? base : `${base}?${self.toString()}`;
  const links: BundleLink[] = [{ relation: 'self', url: firstUrl }];
  if (page.next !== undefined || after !== undefined) links.push({ relation: 'first', url: firstUrl });
  if (page.next !== undefined) {
    const cursor = services.cursors.seal({ query: asked.used, after: page.next }, context, searchPlace(exchange));
    links.push({ relation: 'next', url: `${base}?_cursor=${cursor}` });
  }
  const entries = [
    ...page.matches.flatMap((version) => {
      const parts = page.parts?.get(version) ?? [];
      return parts.length === 0 ? [searchEntry(services.baseUrl, version, 'match', shape)] : parts.map((part) => containedEntry(services.baseUrl, version, part, shape));
    }),
    ...page.included.map((version) => searchEntry(services.baseUrl, version, 'include', shape)),
  ];
  if (asked.ignored.length > 0) entries.push(outcomeEntry('Search parameters that this server does not know were ignored; see the self link.'));
  if (page.isIncludeCut) entries.push(outcomeEntry('More resources are to be included than a page takes; ask for fewer, or for smaller pages.'));
  if (context.brokenGlass !== undefined) entries.push(outcomeEntry(emergencyBanner));
  const body = bundleBytes({ type: 'searchset', ...(page.total === undefined ? {} : { total: page.total }), links, entries });
  return { status: 200, headers: { 'Content-Type': fhirJson }, body };
}
