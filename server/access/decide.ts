import { resourceTypes } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { ValueContext } from '../../resources/search-values/index.ts';
import { isSettled, type Criterion } from '../search/criteria.ts';
import { isResultParam, parseSearch } from '../search/parse.ts';
import type { AccessContext, Grant, Permission } from './context.ts';
import { whyNot } from './refusal.ts';

/** What a permission on a type comes to: everything of the type, or what the criterion picks. */
export type Reach = { readonly unlimited: true } | { readonly unlimited: false; readonly criterion: Criterion };

const everything: Reach = { unlimited: true };

// Parsed criteria of granular scopes. Only criteria of registered clients' scopes get here, so that the bound is rarely met.
const parsedCriteria = new Map<string, Criterion>();
const maxParsedCriteria = 2_000;

/**
 * Decides how far a caller reaches with one of these permissions on a type: the union of its grants.
 * @throws InterlockError `forbidden` if no grant gives any of them
 */
export function reachOf(context: AccessContext, type: string, permissions: readonly Permission[]): Reach {
  const grants = context.grants.filter((grant) => (grant.type === '*' || grant.type === type) && permissions.some((permission) => grant.permissions.has(permission)));
  if (grants.length === 0) throw new InterlockError('forbidden', { rule: whyNot(context, type, permissions) });
  const isUnlimited = grants.some((grant) => !isConfined(grant) && grant.criteria === undefined);
  return limited(context, type, permissions, isUnlimited ? everything : { unlimited: false, criterion: { op: 'any', of: grants.map((grant) => criterionOf(grant, type, context.values)) } });
}

/** True if a grant is for resources of certain patients only. */
export function isConfined({ patient, patients, careOf }: Grant): boolean {
  return patient !== undefined || patients !== undefined || careOf !== undefined;
}

/** What the context's further limits leave of a reach. */
function limited({ limits = [] }: AccessContext, type: string, permissions: readonly Permission[], reach: Reach): Reach {
  const of = limits.flatMap((limit) => limit.criterionFor(type, permissions) ?? []);
  if (of.length === 0) return reach;
  return { unlimited: false, criterion: { op: 'all', of: reach.unlimited ? of : [reach.criterion, ...of] } };
}

/**
 * True if nothing but the further limits keeps a caller from all of a type: it may create under ids of its own then, for it
 * is confined to nobody.
 */
export function isOnlyLimited(context: AccessContext, type: string, permissions: readonly Permission[]): boolean {
  return context.limits !== undefined && reachOf({ ...context, limits: [] }, type, permissions).unlimited;
}

/**
 * The same for a write: nobody writes the audit trail.
 * @throws InterlockError `forbidden`, `interaction-unsupported`
 */
export function reachToWrite(context: AccessContext, type: string, permissions: readonly Permission[]): Reach {
  if (type === 'AuditEvent') throw new InterlockError('interaction-unsupported', { detail: 'The audit trail cannot be changed.', rule: 'audit trail is append-only' });
  return reachOf(context, type, permissions);
}

/** The types on which a caller has one of these permissions. */
export function reachableTypes(context: AccessContext, permissions: readonly Permission[]): readonly string[] {
  const held = context.grants.filter((grant) => permissions.some((permission) => grant.permissions.has(permission)));
  return held.some((grant) => grant.type === '*') ? [...resourceTypes()] : [...new Set(held.map((grant) => grant.type))];
}

/**
 * What a search asks and what its caller may see, as one filter.
 * @throws InterlockError `forbidden` if the caller may not search one of the types
 */
export function permitted(context: AccessContext, types: readonly string[], where: Criterion): Criterion {
  const reached = types.map((type) => ({ type, reach: reachOf(context, type, ['s']) }));
  if (reached.every(({ reach }) => reach.unlimited)) return where;
  const limits = reached.map(({ type, reach }): Criterion => ({ op: 'all', of: [{ op: 'type', types: [type] }, ...(reach.unlimited ? [] : [reach.criterion])] }));
  return { op: 'all', of: [where, { op: 'any', of: limits }] };
}

function criterionOf(grant: Grant, type: string, values: ValueContext | undefined): Criterion {
  const of: Criterion[] = [];
  if (grant.patient !== undefined) of.push({ op: 'compartment', type: 'Patient', ids: [grant.patient] });
  if (grant.patients !== undefined || grant.careOf !== undefined) of.push({ op: 'compartment', type: 'Patient', ids: grant.careOf === undefined ? grant.patients! : [] });
  if (grant.criteria !== undefined) of.push(parsed(type, grant.criteria, values));
  return { op: 'all', of };
}

/** A granular scope's criteria; ones that cannot be understood fail closed. */
function parsed(type: string, criteria: readonly (readonly [string, string])[], values: ValueContext | undefined): Criterion {
  const key = JSON.stringify([type, criteria, values?.baseUrl, values?.zone]);
  let criterion = parsedCriteria.get(key);
  if (criterion === undefined) {
    try {
      const { where } = parseSearch(type, criteria, { strict: true, ...values });
      // What depends on other resources cannot be a rule about one, and what shapes a result is none.
      if (!isSettled(where) || criteria.some(([name]) => isResultParam(name))) throw new InterlockError('search-unsupported');
      criterion = where;
    } catch (cause) {
      throw new InterlockError('forbidden', { rule: `scope: criteria not understood on ${type}`, cause });
    }
    if (parsedCriteria.size >= maxParsedCriteria) parsedCriteria.clear();
    parsedCriteria.set(key, criterion);
  }
  return criterion;
}
