import type { AccessContext, Permission } from './context.ts';
import { roleOf, rowFor, sharedTypes } from './roles.ts';
import { parseScopes } from './scopes.ts';

/**
 * Why no grant of a caller gives any of these permissions on a type, for the sealed audit record: names of rules, roles,
 * types and interactions only. The first word names the kind of rule.
 */
export function whyNot(context: AccessContext, type: string, permissions: readonly Permission[]): string {
  const what = `${permissions.join(' or ')} on ${type}`;
  const { scope, actor, purposeOfUse, launch } = context;
  if (scope === undefined) return `scope: no ${what}`;
  const asked = parseScopes(scope).filter((one) => one.kind === 'resource');
  const fitting = asked.filter((one) => (one.type === '*' || one.type === type) && permissions.some((permission) => one.permissions.has(permission)));
  if (fitting.length === 0) return `scope: no ${what}`;
  const isPerson = actor.kind === 'user';
  const levels = new Set(fitting.map(({ level }) => level));
  if (!isPerson) return `scope: ${[...levels].sort().join(' and ')} scopes give a client without a person no ${what}`;
  levels.delete('system');
  if (levels.size === 0) return `scope: system scopes give a person no ${what}`;
  const role = roleOf(actor.role ?? '');
  if (role === undefined) return `role: ${actor.role ?? 'none'} is not known`;
  const name = actor.role!;
  const row = rowFor(role, type, purposeOfUse);
  if (row === undefined || !permissions.some((permission) => row.interactions.includes(permission))) {
    const other = role.rows.some((one) => (one.types === '*' ? type !== 'AuditEvent' : one.types.includes(type)) && permissions.some((permission) => one.interactions.includes(permission)));
    return other && row === undefined ? `purpose: ${name} has ${what} only for another purpose of use than ${purposeOfUse.join(' and ')}` : `role: ${name} has no ${what}`;
  }
  if (sharedTypes.has(type)) return `compartment: ${type} can only be read by who is confined to patients`;
  if (row.compartment === 'self') return `compartment: ${name} has ${what} in the own record only, and the token is not for it`;
  if (row.compartment === 'care' && actor.fhirUser?.startsWith('Practitioner/') !== true) return `compartment: ${name} has ${what} of patients in the person's care, and the person is no Practitioner`;
  return launch?.patient === undefined ? `compartment: the patient scopes have no patient in context, so no ${what}` : `compartment: no ${what} for the patient in context`;
}
