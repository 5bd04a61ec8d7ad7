import { InterlockError } from '../../../resources/outcome/error.ts';
import { dateRange, type DateRange } from '../../../resources/search-values/index.ts';
import { bundleBytes, historyEntry, type BundleLink } from '../bundles.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { fhirJson, preferences } from '../responses.ts';
import { shapeOfQuery } from '../shape.ts';

/** The past of an instance, a type or the whole record, newest first (https://hl7.org/fhir/R4/http.html#history). */
export async function history({ guard, type, id, request, services, context }: Exchange): Promise<FhirResponse> {
  const place = `history ${type ?? ''}/${id ?? ''}`;
  const cursorText = request.query.find(([name]) => name === '_cursor')?.[1];
  const cursor = cursorText === undefined ? undefined : await services.cursors.open(cursorText, context, place);
  const query = cursor?.query ?? request.query;
  const of = { ...(type === undefined ? {} : { type }), ...(id === undefined ? {} : { id }) };
  assertKnown(query, preferences(request.headers.prefer).handling === 'strict');
  const [since, at] = [period(query, '_since', services.values.zone), period(query, '_at', services.values.zone)];
  const shape = shapeOfQuery(query, type === undefined ? [] : [type]);
  const page = await guard.history(of, {
    count: pageCount(value(query, '_count'), services.limits),
    ...(since === undefined ? {} : { since: new Date(since.lo) }),
    ...(at === undefined ? {} : { at }),
    ...(cursor === undefined ? {} : { after: cursor.after }),
  });
  const base = [services.baseUrl, type, id, '_history'].filter((part) => part !== undefined).join('/');
  const self = new URLSearchParams(query.map(([name, text]): [string, string] => [name, text]));
  const links: BundleLink[] = [{ relation: 'self', url: self.size === 0 ? base : `${base}?${self.toString()}` }];
  if (page.next !== undefined) links.push({ relation: 'next', url: `${base}?_cursor=${services.cursors.seal({ query, after: page.next }, context, place)}` });
  const entries = page.versions.map((version) => historyEntry(services.baseUrl, version, shape));
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

/** An instant, or a period where the value is less precise: `_at` concerns all of it (https://hl7.org/fhir/R4/http.html#history). */
function period(query: readonly (readonly [string, string])[], name: string, zone: string | undefined): DateRange | undefined {
  const text = value(query, name);
  if (text === undefined || text === '') return undefined;
  // In a query, the plus of a time zone arrives as a space.
  const range = dateRange(text.replace(' ', '+'), zone);
  if (range === undefined) throw new InterlockError('search-invalid', { expression: name });
  return range;
}

const known: ReadonlySet<string> = new Set(['_since', '_at', '_count', '_cursor', '_sort', '_summary', '_elements']);

/** Newest first is the only order. Other parameters are ignored, or refused where the caller wants to be told. */
function assertKnown(query: readonly (readonly [string, string])[], strict: boolean): void {
  for (const [name, text] of query) {
    if (name === '_sort' && text !== '' && text !== '-_lastUpdated') throw new InterlockError('search-unsupported', { expression: '_sort' });
    if (strict && !known.has(name)) throw new InterlockError('search-unsupported', { detail: 'A history takes _since, _at, _count, _sort, _summary and _elements.' });
  }
}
