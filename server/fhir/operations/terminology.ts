import { InterlockError } from '../../../resources/outcome/error.ts';
import type { TerminologyCollection } from '../../../resources/terminology/collection.ts';
import { splitCanonical } from '../../../resources/terminology/source.ts';
import type { Coding, TerminologyResource, TerminologyType, ValueSet } from '../../../resources/terminology/types.ts';
import { assertValid } from '../../../resources/validate/index.ts';
import { collectTerminology, maxFound, maySearch, type FindByUrl, type Wanted } from '../../access/terminology.ts';
import { parseSearch } from '../../search/parse.ts';
import type { StoredVersion } from '../../storage/contract.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { jsonResponse } from '../responses.ts';
import type { OperationParameter } from './operation.ts';
import type { OperationInput } from './parameters.ts';

/** Terminology operations (https://hl7.org/fhir/R4/terminology-service.html) read posted content as their caller, by a search that is on record. */
export async function contentFor(exchange: Exchange, wanted: readonly Wanted[], given: readonly TerminologyResource[] = []): Promise<TerminologyCollection> {
  const find: FindByUrl = async (type, urls) => findBy(exchange, type, [['url', urls.map(escaped).join(',')]]);
  return collectTerminology(find, exchange.services.terminology.cache, wanted, given);
}

/** Posted resources that meet search criteria and that the caller may search; none if it may not search the type. */
export async function findBy(exchange: Exchange, type: TerminologyType, criteria: readonly (readonly [string, string])[]): Promise<readonly StoredVersion[]> {
  const { guard, context, services } = exchange;
  if (!maySearch(context, type)) return [];
  const search = parseSearch(type, [...criteria, ['_count', String(maxFound)]], { strict: true, ...services.values });
  const page = await guard.search({ ...search, count: maxFound, total: 'none' }, `GET ${type}?${criteria.map(([name, value]) => `${name}=${value}`).join('&')}`);
  if (page.next !== undefined) throw new InterlockError('too-costly', { detail: 'Too many terminology resources match.' });
  return page.matches;
}

/** A value as a search parameter takes it literally. */
export function escaped(value: string): string {
  return value.replaceAll(/[\\,|$]/g, (character) => `\\${character}`);
}

/** The instance that the operation was called on, read as the caller. */
export async function instanceOf<T extends TerminologyResource>({ guard, type, id }: Exchange): Promise<T | undefined> {
  if (id === undefined) return undefined;
  return (await guard.read(type!, id)).resource() as unknown as T;
}

/** A resource that came with the request, checked like one that is stored. @throws InterlockError `structure-invalid` … */
export function givenResource<T extends TerminologyResource>(input: OperationInput, name: string, type: T['resourceType']): T | undefined {
  const resource = input.resource(name);
  if (resource === undefined) return undefined;
  if (resource.resourceType !== type) throw new InterlockError('request-invalid', { detail: `Parameter ${name} takes a ${type}.` });
  assertValid(resource);
  return resource as unknown as T;
}

/** How a request names the value set that it is about, see {@link valueSetOf}. */
export const valueSetParameters: readonly OperationParameter[] = [
  { name: 'url', type: 'uri', documentation: 'Canonical URL of the value set, optionally with |version' },
  { name: 'valueSet', type: 'ValueSet', documentation: 'The value set itself' },
  { name: 'valueSetVersion', type: 'string', documentation: 'Its version' },
];

/**
 * The value set that a request is about: the instance, the one that came with it, or the one that it names; with all that
 * it refers to.
 * @throws InterlockError `request-invalid` if it names none, `not-found`
 */
export async function valueSetOf(exchange: Exchange, input: OperationInput, alsoWanted: readonly Wanted[] = []): Promise<{ readonly valueSet: ValueSet; readonly content: TerminologyCollection }> {
  const own = (await instanceOf<ValueSet>(exchange)) ?? givenResource<ValueSet>(input, 'valueSet', 'ValueSet');
  if (own !== undefined) return { valueSet: own, content: await contentFor(exchange, alsoWanted, [own]) };
  const canonical = input.text('url');
  if (canonical === undefined) throw new InterlockError('request-invalid', { detail: 'A value set is needed: by its id, as url or as valueSet.' });
  const { url, version = input.text('valueSetVersion') } = splitCanonical(canonical);
  const content = await contentFor(exchange, [...alsoWanted, { type: 'ValueSet', url }]);
  const valueSet = content.valueSet(url, version);
  if (valueSet === undefined) throw new InterlockError('not-found', { detail: 'The value set is not known here.' });
  return { valueSet, content };
}

/** The codings that a request is about (systemName: parameter of the code's system, empty where there is none): `code` and `system`, `coding` or `codeableConcept`. @throws InterlockError `request-invalid` */
export function codingsOf(input: OperationInput, systemName = 'system', versionName = 'version'): readonly Coding[] {
  const code = input.text('code');
  const coding = input.object('coding');
  const concept = input.object('codeableConcept');
  if ([code, coding, concept].filter((one) => one !== undefined).length !== 1) throw new InterlockError('request-invalid', { detail: 'One of code, coding and codeableConcept is needed.' });
  if (code !== undefined) return [defined({ system: input.text(systemName), version: input.text(versionName), code, display: input.text('display') })];
  const codings = coding === undefined ? concept!['coding'] : [coding];
  if (!Array.isArray(codings) || codings.length > maxCodings) throw new InterlockError('request-invalid', { detail: `A concept has between one and ${maxCodings} codings.` });
  return codings.map(asCoding);
}

const maxCodings = 100;

/** A coding whose elements are of the right kind. @throws InterlockError `structure-invalid` */
export function asCoding(value: unknown): Coding {
  const { system, version, code, display } = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  const texts = { system, version, code, display };
  if (Object.values(texts).some((text) => text !== undefined && typeof text !== 'string')) throw new InterlockError('structure-invalid', { detail: 'A coding is not well formed.' });
  return defined(texts) as Coding;
}

/** The same object without what is undefined. */
export function defined<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** One output parameter: its value under the name of its type (`valueString` …), or its parts. Those without a value are left out. */
export type OutParameter = { readonly name: string } & Readonly<Record<string, unknown>>;

/** Parameters as the answer of an operation; entries whose value is undefined are left out. */
export function parametersResponse(parameters: readonly OutParameter[]): FhirResponse {
  const parameter = parameters.filter(({ name: _name, ...values }) => Object.values(values).some((value) => value !== undefined));
  return jsonResponse(200, { resourceType: 'Parameters', parameter });
}
