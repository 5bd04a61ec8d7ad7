import type { SearchParam } from '../search-values/types.ts';
import type { CompactCompartment, CompactSearchParams, CompactValueSet } from './compact.ts';
import { Table } from './table.ts';
import type { ElementRule, Structure } from './types.ts';
import { usCoreSearchParams } from './us-core.ts';

export type { Constraint, ElementRule, ElementType, Structure } from './types.ts';

/**
 * HL7's FHIR R4 definitions (https://hl7.org/fhir/R4/). Files are read on first use and a line is parsed when its row is
 * first asked for, so that importing this costs nothing. What is returned is shared: never change it.
 */
const structures = new Table<Structure>('structures.ndjson', 'type');
const valueSets = new Table<CompactValueSet>('value-sets.ndjson', 'url');
const searchParams = new Table<CompactSearchParams>('search-params.ndjson', 'type');
const compartments = new Table<CompactCompartment>('compartments.ndjson', 'compartment');

/** Definition of a resource type or data type, abstract ones included; undefined if R4 has no such type. */
export function structureOf(type: string): Structure | undefined {
  return structures.get(type);
}

/** Names of all types that {@link structureOf} knows. */
export function structureTypes(): readonly string[] {
  return structures.keys();
}

/** The 146 concrete resource types of R4, in alphabetical order. */
export function resourceTypes(): readonly string[] {
  return searchParams.keys();
}

/** True for the name of a concrete R4 resource type. */
export function isResourceType(name: string): boolean {
  return searchParams.has(name);
}

const elementsByPath = new Map<string, ReadonlyMap<string, ElementRule>>();

/** An element by its path within a type, e.g. `('Observation', 'Observation.value[x]')`. */
export function elementOf(type: string, path: string): ElementRule | undefined {
  let elements = elementsByPath.get(type);
  if (elements === undefined) {
    elements = new Map((structureOf(type)?.elements ?? []).map((element) => [element.path, element]));
    if (elements.size > 0) elementsByPath.set(type, elements);
  }
  return elements.get(path);
}

const codingsByUrl = new Map<string, ReadonlyMap<string, ReadonlySet<string>>>();
const codesByUrl = new Map<string, ReadonlySet<string>>();

/**
 * Codes by code system of a value set that some required binding names; undefined if its codes are not all known here
 * (MIME types, UCUM units, currencies). A version suffix (`|4.0.1`) is ignored.
 */
export function requiredCodings(valueSetUrl: string): ReadonlyMap<string, ReadonlySet<string>> | undefined {
  const url = valueSetUrl.replace(/\|.*$/, '');
  const known = codingsByUrl.get(url);
  if (known !== undefined) return known;
  const row = valueSets.get(url);
  if (row === undefined) return undefined;
  const codings = new Map(Object.entries(row.systems).map(([system, codes]) => [system, new Set(codes)]));
  codingsByUrl.set(url, codings);
  return codings;
}

/** All codes of {@link requiredCodings}, whatever their system: for `code` elements, which carry no system. */
export function requiredCodes(valueSetUrl: string): ReadonlySet<string> | undefined {
  const url = valueSetUrl.replace(/\|.*$/, '');
  const known = codesByUrl.get(url);
  if (known !== undefined) return known;
  const codings = requiredCodings(url);
  if (codings === undefined) return undefined;
  const codes = new Set([...codings.values()].flatMap((it) => [...it]));
  codesByUrl.set(url, codes);
  return codes;
}

const noParams: ReadonlyMap<string, SearchParam> = new Map();
const paramsByType = new Map<string, ReadonlyMap<string, SearchParam>>();

/** Search parameters of a resource type by code, those of all resources (`_id`, `_tag` …), US Core's and posted ones included; empty if unknown. */
export function searchParamsOf(type: string): ReadonlyMap<string, SearchParam> {
  const known = paramsByType.get(type);
  if (known !== undefined) return known;
  const row = searchParams.get(type);
  if (row === undefined) return noParams;
  const params = new Map([...row.params, ...(usCoreSearchParams[type] ?? []), ...(posted.byType.get(type) ?? [])].map((param) => [param.code, param]));
  paramsByType.set(type, params);
  return params;
}

let posted: { readonly byType: ReadonlyMap<string, readonly SearchParam[]>; readonly revision: number } = { byType: new Map(), revision: 0 };

/** Replaces the search parameters that users have posted, by resource type. Their codes must not be those of HL7's own. */
export function setPostedSearchParams(byType: ReadonlyMap<string, readonly SearchParam[]>): void {
  posted = { byType, revision: posted.revision + 1 };
  paramsByType.clear();
}

/** Another number after each change of the search parameters: what was made of them before is to be made anew. */
export function searchParamsRevision(): number {
  return posted.revision;
}

/** The compartments of R4 (https://hl7.org/fhir/R4/compartmentdefinition.html). */
export type CompartmentType = 'Device' | 'Encounter' | 'Patient' | 'Practitioner' | 'RelatedPerson';

/**
 * Codes of the reference parameters that place a resource of `type` in a compartment; empty if it is never in one. That
 * the compartment's own resource is in it is not listed here.
 */
export function compartmentParams(compartment: CompartmentType, type: string): readonly string[] {
  return (compartments.get(compartment)?.params[type] ?? []).filter((code) => code !== '{def}');
}
