import { InterlockError } from '../../../resources/outcome/error.ts';
import { bundleBytes, historyEntry, type BundleLink } from '../bundles.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { fhirJson } from '../responses.ts';

/** The past of an instance, a type or the whole record, newest first (https://hl7.org/fhir/R4/http.html#history). */
export async function history({ guard, type, id, request, services, context }: Exchange): Promise<FhirResponse> {
  const place = `history ${type ?? ''}/${id ?? ''}`;
  const cursorText = request.query.find(([name]) => name === '_cursor')?.[1];
  const cursor = cursorText === undefined ? undefined : await services.cursors.open(cursorText, context, place);
  const query = cursor?.query ?? request.query;
  const of = { ...(type === undefined ? {} : { type }), ...(id === undefined ? {} : { id }) };
  const since = value(query, '_since');
  const page = await guard.history(of, {
    count: pageCount(value(query, '_count'), services.limits),
    ...(since === undefined ? {} : { since: instant(since) }),
    ...(cursor === undefined ? {} : { after: cursor.after }),
  });
  const base = [services.baseUrl, type, id, '_history'].filter((part) => part !== undefined).join('/');
  const self = new URLSearchParams(query.map(([name, text]): [string, string] => [name, text]));
  const links: BundleLink[] = [{ relation: 'self', url: self.size === 0 ? base : `${base}?${self.toString()}` }];
  if (page.next !== undefined) links.push({ relation: 'next', url: `${base}?_cursor=${services.cursors.seal({ query, after: page.next }, context, place)}` });
  const entries = page.versions.map((version) => historyEntry(services.baseUrl, version));
  return { status: 200, headers: { 'Content-Type': fhirJson }, body: bundleBytes({ type: 'history', links, entries }) };
}

function value(query: readonly (readonly [string, string])[], name: string): string | undefined {
  return query.find(([given]) => given === name)?.[1];
}

function pageCount(text: string | undefined, limits: { defaultPageCount: number; maxPageCount: number }): number {
  if (text === undefined || text === '') return limits.defaultPageCount;
  if (!/^[0-9]{1,9}$/.test(text)) throw new InterlockError('search-invalid', { expression: '_count' });
  return Math.max(1, Math.min(Number(text), limits.maxPageCount));
}

function instant(text: string): Date {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) throw new InterlockError('search-invalid', { expression: '_since' });
  return at;
}
