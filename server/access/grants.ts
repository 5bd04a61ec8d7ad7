import { resourceTypes } from '../../resources/definitions/index.ts';
import type { AuditActor } from '../audit/record.ts';
import { defaultTenant } from '../kms/keyring.ts';
import type { AccessContext, Grant, Permission, TokenFacts } from './context.ts';
import { interfacePolicy, permissionsOf, roles, sharedTypes, type RolePolicy } from './roles.ts';
import { parseScope, type ResourceScope } from './scopes.ts';

/** Where a request came from. */
export interface RequestFacts {
  readonly requestId: string;
  readonly address?: string;
  readonly userAgent?: string;
}

/**
 * Turns a verified access token into the context that every access is decided by: the granted scopes, each narrowed by
 * the person's role and by the launch's patient (https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html).
 */
export function contextFromToken(token: TokenFacts, request: RequestFacts): AccessContext {
  const { user } = token;
  const actor: AuditActor =
    user === undefined
      ? { kind: 'client', id: token.clientId, ...defined({ display: token.clientName, ...where(request) }) }
      : {
          kind: 'user',
          id: user.id,
          display: user.username,
          role: user.role,
          clientId: token.clientId,
          ...defined({ fhirUser: user.fhirUser, clientName: token.clientName, launchId: token.launch?.id, ...where(request) }),
        };
  return {
    tenant: defaultTenant,
    requestId: request.requestId,
    actor,
    grants: grantsOf(token),
    purposeOfUse: [],
    ...(token.launch === undefined ? {} : { launch: token.launch }),
  };
}

/** The context of a partner's channel: what the interface policy permits, on all patients. */
export function contextOfPartner(partner: string, request: RequestFacts): AccessContext {
  return {
    tenant: defaultTenant,
    requestId: request.requestId,
    actor: { kind: 'partner', id: partner, ...defined(where(request)) },
    grants: underPolicy({ type: '*', permissions: new Set(['c', 'r', 'u', 's']) }, interfacePolicy),
    purposeOfUse: ['TREAT'],
  };
}

function where(request: RequestFacts): { address: string | undefined; userAgent: string | undefined } {
  return { address: request.address, userAgent: request.userAgent };
}

function defined<T extends Record<string, unknown>>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: NonNullable<T[K]> };
}

// Tokens of one grant come again and again; what they allow is worked out once.
const compiled = new Map<string, readonly Grant[]>();
const maxCompiled = 5_000;

function grantsOf(token: TokenFacts): readonly Grant[] {
  const ownPatient = token.user?.fhirUser?.startsWith('Patient/') === true ? token.user.fhirUser.slice('Patient/'.length) : undefined;
  const patient = token.launch?.patient ?? ownPatient;
  const key = JSON.stringify([token.scope, token.user?.role, ownPatient, patient]);
  let grants = compiled.get(key);
  if (grants === undefined) {
    grants = token.scope.split(' ').flatMap((text) => {
      const scope = parseScope(text);
      return scope?.kind === 'resource' ? grantsOfScope(scope, token.user?.role, patient, ownPatient) : [];
    });
    if (compiled.size >= maxCompiled) compiled.clear();
    compiled.set(key, grants);
  }
  return grants;
}

function grantsOfScope(scope: ResourceScope, role: string | undefined, patient: string | undefined, ownPatient: string | undefined): readonly Grant[] {
  const criteria = scope.criteria.length === 0 ? {} : { criteria: scope.criteria };
  const plain: Grant = { type: scope.type, permissions: scope.permissions, ...criteria };
  // A system scope without a person is the client's own; with a person it would step around the role.
  if (scope.level === 'system') return role === undefined ? [plain] : [];
  if (role === undefined) return [];
  const policy = roles[role];
  if (policy === undefined) return [];
  const confinedTo = policy.ownCompartment === true ? ownPatient : patient;
  if (policy.ownCompartment === true && (ownPatient === undefined || patient !== ownPatient)) return [];
  if (scope.level === 'user' && policy.ownCompartment !== true) return underPolicy(plain, policy);
  if (confinedTo === undefined) return [];
  return underPolicy(plain, policy).flatMap((grant): Grant[] => {
    if (!sharedTypes.has(grant.type)) return [{ ...grant, patient: confinedTo }];
    return [{ ...grant, permissions: new Set([...grant.permissions].filter((permission) => permission === 'r' || permission === 's')) }];
  });
}

/** One grant per type that the policy leaves something of. */
function underPolicy(grant: Grant, policy: RolePolicy): Grant[] {
  const types = grant.type === '*' ? resourceTypes() : [grant.type];
  const narrowed: Grant[] = [];
  for (const type of types) {
    const permitted = permissionsOf(policy, type);
    const permissions = new Set<Permission>([...grant.permissions].filter((permission) => permitted.has(permission)));
    if (permissions.size > 0) narrowed.push({ ...grant, type, permissions });
  }
  return narrowed;
}
