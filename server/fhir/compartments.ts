import { compartmentParams, resourceTypes, searchParamsOf, type CompartmentType } from '../../resources/definitions/index.ts';
import type { AccessContext } from '../access/context.ts';
import { reachableTypes } from '../access/decide.ts';
import type { Criterion, ParsedSearch } from '../search/criteria.ts';

/** Whose compartment is searched, as in `Patient/1/Observation` (https://hl7.org/fhir/R4/search.html#2.1.1.2). */
export interface Compartment {
  readonly type: CompartmentType;
  readonly id: string;
}

/** The compartments of R4. */
export const compartmentTypes: readonly CompartmentType[] = ['Device', 'Encounter', 'Patient', 'Practitioner', 'RelatedPerson'];

/** True for the name of a type that has compartments. */
export function isCompartmentType(name: string): name is CompartmentType {
  return (compartmentTypes as readonly string[]).includes(name);
}

/** The types that can be in a compartment, its own included. */
export function typesIn(compartment: CompartmentType): readonly string[] {
  return resourceTypes().filter((type) => type === compartment || compartmentParams(compartment, type).length > 0);
}

/**
 * The search, confined to a compartment: one more condition beside what the caller may see. Nobody asks whether the compartment
 * exists or the caller may see its owner; where nothing in it is visible, nothing is found.
 *
 * @param search of all types where any in the compartment is asked for
 */
export function searchWithin(search: ParsedSearch, { type: owner, id }: Compartment, context: AccessContext): ParsedSearch {
  const candidates = typesIn(owner).filter((type) => search.types.includes(type));
  if (candidates.length === 0) return { ...search, where: { op: 'any', of: [] } };
  const isOfAll = candidates.length > 1 && !search.used.some(([name, value]) => name === '_type' && value !== '');
  const searchable = new Set(reachableTypes(context, ['s']));
  const reachable = isOfAll ? candidates.filter((type) => searchable.has(type) && type !== 'AuditEvent') : candidates;
  // Of nothing that it may search, a caller is told by the guard.
  const types = reachable.length > 0 ? reachable : candidates;
  const inside: Criterion = owner === 'Patient' ? { op: 'compartment', type: 'Patient', ids: [id] } : { op: 'any', of: types.map((type) => memberOf(owner, id, type)) };
  return { ...search, types, where: { op: 'all', of: [inside, search.where] } };
}

/** Resources of a type that are in the compartment by one of its parameters, or own it. */
function memberOf(owner: CompartmentType, id: string, type: string): Criterion {
  const params = compartmentParams(owner, type).flatMap((code) => searchParamsOf(type).get(code) ?? []);
  const refers = params.map((param): Criterion => ({ op: 'param', param, of: [{ kind: 'reference', type: owner, id }] }));
  const owns: readonly Criterion[] = type === owner ? [{ op: 'id', ids: [id] }] : [];
  return { op: 'all', of: [{ op: 'type', types: [type] }, { op: 'any', of: [...owns, ...refers] }] };
}
