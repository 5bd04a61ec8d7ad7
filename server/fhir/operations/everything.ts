import { createHash } from 'node:crypto';
import { isResourceType, searchParamsOf } from '../../../resources/definitions/index.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { dateRange, extractSearchValues, type DateRange, type ValueContext } from '../../../resources/search-values/index.ts';
import { reachableTypes } from '../../access/decide.ts';
import { parseSearch } from '../../search/parse.ts';
import type { StoredVersion } from '../../storage/contract.ts';
import { bundleBytes, searchEntry } from '../bundles.ts';
import { searchWithin, typesIn } from '../compartments.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { fhirJson } from '../responses.ts';
import type { Operation } from './operation.ts';
import type { OperationInput } from './parameters.ts';

type Pairs = readonly (readonly [string, string])[];

/** What tells when care happened, by search parameter: of those that a type has, the first counts. */
const careDates = [
  'date', 'effective', 'effective-time', 'period', 'authoredon', 'authored', 'whenhandedover', 'occurrence', 'onset-date', 'recorded-date', 'performed', 'started', 'sent', 'service-date', 'collected', 'created', 'issued',
] as const;

/** Referenced resources that a cursor remembers to have given; beyond it one may come again. */
const maxRemembered = 400;
/** How often a page is filled up with what is within the dates asked for. */
const maxPages = 20;
const remembered = '~given';

const parameters: Operation['parameters'] = [
  { name: 'start', type: 'date', documentation: 'Care on or after this date; what has no date of care is given too' },
  { name: 'end', type: 'date', documentation: 'Care on or before this date' },
  { name: '_since', type: 'instant', documentation: 'Only what was recorded at this time or later' },
  { name: '_type', type: 'code', isRepeating: true, documentation: 'Only resources of these types' },
  { name: '_count', type: 'integer', documentation: 'Resources on a page, those that are referenced not counted' },
];

/** Everything about a patient, or about all patients of the caller (https://hl7.org/fhir/R4/patient-operation-everything.html). */
export const patientEverything: Operation = {
  name: 'everything', definition: 'http://hl7.org/fhir/OperationDefinition/Patient-everything', summary: 'Everything about a patient',
  levels: ['type', 'instance'], types: ['Patient'], affectsState: false, parameters, run: everything,
};

/** Everything about an encounter (https://hl7.org/fhir/R4/encounter-operation-everything.html). */
export const encounterEverything: Operation = {
  name: 'everything', definition: 'http://hl7.org/fhir/OperationDefinition/Encounter-everything', summary: 'Everything about an encounter',
  levels: ['instance'], types: ['Encounter'], affectsState: false, parameters, run: everything,
};

/**
 * A page: resources of the compartment in the order of their recording, and what they refer to outside of it, all as the
 * caller. A page goes on after the last that it holds, whatever is written meanwhile.
 */
async function everything({ guard, services, context, request, type, id }: Exchange, input: OperationInput): Promise<FhirResponse> {
  const owner = type === 'Encounter' ? 'Encounter' : 'Patient';
  const place = `$everything ${owner}/${id ?? ''}`;
  const cursorText = request.query.find(([name]) => name === '_cursor')?.[1];
  const cursor = cursorText === undefined ? undefined : await services.cursors.open(cursorText, context, place);
  const asked = cursor?.query.filter(([name]) => name !== remembered) ?? pairsOf(input);
  const given = new Set(cursor?.query.flatMap(([name, value]) => (name === remembered ? [value] : [])));
  // What the caller does not see has no compartment either.
  if (id !== undefined) await guard.read(owner, id);

  const wanted = new Set(asked.flatMap(([name, value]) => (name === '_type' ? [value] : [])));
  const held = new Set(reachableTypes(context, ['s']));
  const inside = typesIn(owner);
  const types = inside.filter((one) => one !== 'AuditEvent' && held.has(one) && (wanted.size === 0 || wanted.has(one)));
  const pairs: Pairs = [...asked.filter(([name]) => name === '_count'), ...asked.flatMap(([name, value]): Pairs => (name === '_since' ? [['_lastUpdated', `ge${value}`]] : []))];
  const { maxPageCount, defaultPageCount } = services.limits;
  const parsed = parseSearch(undefined, pairs, { strict: true, defaultCount: defaultPageCount, maxCount: maxPageCount, nowMs: services.nowMs(), ...services.values });
  const all = { ...parsed, types, total: 'none' as const, include: [{ sourceType: '*', param: '*' as const }] };
  const search = id === undefined ? all : searchWithin(all, { type: owner, id }, context);
  const isWithin = careWithin(asked, services.values);
  const query = `GET ${owner}/$everything?${asked.map(([name, value]) => `${name}=${value}`).join('&')}`;
  const matches: StoredVersion[] = [];
  const included: StoredVersion[] = [];
  let after = cursor?.after;
  for (let pages = 0; types.length > 0 && pages < maxPages && matches.length < parsed.count; pages += 1) {
    const page = await guard.search({ ...search, count: parsed.count - matches.length }, query, after);
    const within = page.matches.filter(isWithin);
    matches.push(...within);
    // Only what the resources that are given refer to.
    included.push(...page.included.filter(({ type: target, id: of }) => within.some(({ bytes }) => ['"', '/_history/'].some((rest) => bytes.includes(`${target}/${of}${rest}`)))));
    after = page.next;
    if (after === undefined) break;
  }

  const entries = matches.map((version) => searchEntry(services.baseUrl, version, 'match'));
  for (const version of included) {
    const mark = createHash('sha256').update(`${version.type}/${version.id}`).digest('base64url').slice(0, 8);
    // What the compartment may hold comes in its own place, or is another patient's.
    if (inside.includes(version.type) || (owner === 'Patient' && version.type === 'Patient') || given.has(mark) || (wanted.size > 0 && !wanted.has(version.type))) continue;
    given.add(mark);
    entries.push(searchEntry(services.baseUrl, version, 'include'));
  }
  const base = [services.baseUrl, owner, id, '$everything'].filter((part) => part !== undefined).join('/');
  const marks = [...given].slice(-maxRemembered).map((mark) => [remembered, mark] as const);
  const next = after === undefined ? undefined : services.cursors.seal({ query: [...asked, ...marks], after }, context, place);
  const self = new URLSearchParams(asked.map(([name, value]): [string, string] => [name, value]));
  const links = [{ relation: 'self', url: self.size === 0 ? base : `${base}?${self.toString()}` }, ...(next === undefined ? [] : [{ relation: 'next', url: `${base}?_cursor=${next}` }])];
  return { status: 200, headers: { 'Content-Type': fhirJson }, body: bundleBytes({ type: 'searchset', links, entries }) };
}

/** @throws InterlockError `request-invalid` */
function pairsOf(input: OperationInput): Pairs {
  const pairs: [string, string][] = [];
  for (const name of ['start', 'end', '_since']) {
    const value = input.text(name);
    if (value !== undefined) pairs.push([name, value]);
  }
  for (const value of input.all('_type')) {
    const names = typeof value === 'string' ? value.split(',') : [];
    if (names.length === 0 || !names.every(isResourceType)) throw new InterlockError('request-invalid', { detail: 'Parameter _type names resource types.' });
    for (const name of names) pairs.push(['_type', name]);
  }
  const count = input.count('_count');
  if (count === 0) throw new InterlockError('request-invalid', { detail: 'Parameter _count is at least 1.' });
  if (count !== undefined) pairs.push(['_count', String(count)]);
  return pairs;
}

/** Tells whether care was within the dates asked for, or has no date at all. @throws InterlockError `request-invalid` */
function careWithin(asked: Pairs, values: ValueContext): (version: StoredVersion) => boolean {
  const rangeOf = (name: string): DateRange | undefined => {
    const text = asked.find(([given]) => given === name)?.[1];
    if (text === undefined) return undefined;
    const range = dateRange(text, values.zone);
    if (range === undefined) throw new InterlockError('request-invalid', { detail: `Parameter ${name} is a date.` });
    return range;
  };
  const [start, end] = [rangeOf('start'), rangeOf('end')];
  if (start === undefined && end === undefined) return () => true;
  return (version) => {
    const params = searchParamsOf(version.type);
    const param = careDates.map((code) => params.get(code)).find((one) => one?.type === 'date');
    const spans = (param === undefined ? undefined : extractSearchValues(version.resource(), values).get(param.code))?.filter((value) => value.kind === 'date') ?? [];
    return spans.length === 0 || spans.some(({ lo, hi }) => hi > (start?.lo ?? -Infinity) && lo < (end?.hi ?? Infinity));
  };
}
