import { resourceTypes } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Masks, Permission } from './context.ts';
import { masksOf } from './mask-tree.ts';
import { shippedRoles } from './shipped-roles.ts';

/** Whose data a row reaches: all patients', those in the person's care (care team, general practitioner, current encounter), or the person's own. */
export type RoleCompartment = 'all' | 'care' | 'self';

/** One row of a role. Of the rows for the purpose that name a type, the first decides. */
export interface RoleRow {
  /** `*`: every type but AuditEvent, which has to be named. */
  readonly types: '*' | readonly string[];
  /** Letters of SMART scopes, of `cruds`; none: the types are closed. */
  readonly interactions: string;
  /** Default: all. */
  readonly compartment?: RoleCompartment;
  /** Elements that are left out, such as `telecom` or `contact.telecom`; narrative goes with any. */
  readonly masks?: readonly string[];
  /** Default: those of the role. */
  readonly purposes?: readonly string[];
}

/** What a role may do, before scopes narrow it. */
export interface Role {
  readonly summary: string;
  /** Purposes of use (https://terminology.hl7.org/ValueSet-v3-PurposeOfUse.html); the first counts unless another is asked for. */
  readonly purposes: readonly string[];
  readonly rows: readonly RoleRow[];
  /** May have any patient's record for a while in an emergency, within the rows; each time is reviewed. */
  readonly breaksGlass?: boolean;
  /** Administers access, and so cannot read patient data. */
  readonly administers?: boolean;
}

/**
 * Directory and knowledge types that belong to no patient: whoever is confined to patients can read them, never write.
 * Everything else outside the Patient compartment (Binary, Task, Bundle …) stays closed to them.
 */
export const sharedTypes: ReadonlySet<string> = new Set([
  'ActivityDefinition', 'CapabilityStatement', 'CodeSystem', 'ConceptMap', 'Endpoint', 'HealthcareService', 'Library', 'Location', 'Measure', 'Medication', 'MedicationKnowledge',
  'NamingSystem', 'OperationDefinition', 'Organization', 'OrganizationAffiliation', 'PlanDefinition', 'Practitioner', 'PractitionerRole', 'Questionnaire', 'SearchParameter',
  'StructureDefinition', 'Substance', 'ValueSet',
]);

/** What a channel may write and look up on behalf of a partner. */
export const interfaceRole: Role = { summary: 'Channels', purposes: ['TREAT'], rows: [{ types: '*', interactions: 'crus' }] };

let custom: { readonly roles: Readonly<Record<string, Role>>; readonly revision: number } = { roles: {}, revision: 0 };

/** Replaces the roles of this installation that its operator wrote. They come before shipped ones of the same name. */
export function setCustomRoles(roles: Readonly<Record<string, Role>>): void {
  custom = { roles, revision: custom.revision + 1 };
  hidden.clear();
}

/** Another number after each change of the roles: what was made of them before is to be made anew. */
export function rolesRevision(): number {
  return custom.revision;
}

/** A role by its name; undefined if there is none. */
export function roleOf(name: string): Role | undefined {
  if (Object.hasOwn(custom.roles, name)) return custom.roles[name];
  return Object.hasOwn(shippedRoles, name) ? shippedRoles[name] : undefined;
}

/** Names of all roles, shipped ones first. */
export function roleNames(): readonly string[] {
  return [...new Set([...Object.keys(shippedRoles), ...Object.keys(custom.roles)])];
}

/** The row that decides about a type for these purposes; undefined if none does. */
export function rowFor(role: Role, type: string, purposes: readonly string[]): RoleRow | undefined {
  return role.rows.find((row) => (row.types === '*' ? type !== 'AuditEvent' : row.types.includes(type)) && purposes.every((purpose) => (row.purposes ?? role.purposes).includes(purpose)));
}

/** The permissions that a role gives on a type. */
export function permissionsOf(role: Role, type: string, purposes: readonly string[] = role.purposes.slice(0, 1)): ReadonlySet<Permission> {
  return new Set((rowFor(role, type, purposes)?.interactions ?? '') as Iterable<Permission>);
}

/**
 * Whoever runs the command line administers access: nobody gives themself an account that reads patient data or the trail.
 * @param operator `operator:<os user>`
 * @throws InterlockError `business-rule`
 */
export function assertSeparateDuties(operator: string, username: string, roleName: string): void {
  const role = roleOf(roleName);
  const own = operator.replace(/^operator:/, '').toLowerCase();
  if (role === undefined || role.administers === true || own !== username.normalize('NFKC').trim().toLowerCase()) return;
  throw new InterlockError('business-rule', { expression: 'role', detail: 'Nobody gives themself access to patient data: somebody else who administers access has to add this account.', rule: `duties: an operator may not give themself the role ${roleName}` });
}

const hidden = new Map<string, Masks | undefined>();
const maxHidden = 1_000;

/** What is hidden from a role: masked elements, and resources of closed types inside others. Undefined if nothing is. */
export function masksOfRole(name: string, purposes: readonly string[]): Masks | undefined {
  const role = roleOf(name);
  if (role === undefined) return undefined;
  const key = JSON.stringify([name, purposes]);
  if (!hidden.has(key)) {
    if (hidden.size >= maxHidden) hidden.clear();
    const rows = resourceTypes().map((type) => ({ type, row: rowFor(role, type, purposes) }));
    const closed = rows.filter(({ type, row }) => type !== 'AuditEvent' && row?.interactions.includes('r') !== true).map(({ type }) => type);
    hidden.set(key, masksOf(rows.map(({ type, row }) => [type, row?.masks ?? []] as const), closed));
  }
  return hidden.get(key);
}
