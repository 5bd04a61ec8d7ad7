import { resourceTypes } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AuditActor } from '../audit/record.ts';
import { defaultTenant } from '../kms/keyring.ts';
import type { AccessContext, Grant, Permission, TokenFacts } from './context.ts';
import { interfaceRole, masksOfRole, roleOf, rolesRevision, rowFor, sharedTypes, type Role } from './roles.ts';
import { parseScope, type ResourceScope } from './scopes.ts';

/** Where a request came from. */
export interface RequestFacts {
  readonly requestId: string;
  readonly address?: string;
  readonly userAgent?: string;
  /** Purposes of use that the request names. A person has what the role gives for all of them. */
  readonly purposeOfUse?: readonly string[];
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
  const role = user === undefined ? undefined : roleOf(user.role);
  const purposeOfUse = user === undefined ? [] : (token.purposeOfUse ?? request.purposeOfUse ?? role?.purposes.slice(0, 1) ?? []);
  const masks = user === undefined ? undefined : masksOfRole(user.role, purposeOfUse);
  return {
    tenant: defaultTenant,
    requestId: request.requestId,
    actor,
    grants: grantsOf(token, purposeOfUse),
    purposeOfUse,
    scope: token.scope,
    ...(masks === undefined ? {} : { masks }),
    ...(token.launch === undefined ? {} : { launch: token.launch }),
    ...(token.signedIn === undefined ? {} : { signedIn: token.signedIn }),
  };
}

/** The purposes of use that a header names, separated by commas. @throws InterlockError `request-invalid` */
export function purposesIn(header: string): string[] {
  const codes = header.split(',').map((code) => code.trim());
  if (codes.length > 4 || !codes.every((code) => /^[A-Z]{2,12}$/.test(code))) throw new InterlockError('request-invalid', { detail: 'X-Purpose-Of-Use names codes such as TREAT.' });
  return codes;
}

/** The context of a partner's channel: what the interface policy permits, on all patients. */
export function contextOfPartner(partner: string, request: RequestFacts): AccessContext {
  return {
    tenant: defaultTenant,
    requestId: request.requestId,
    actor: { kind: 'partner', id: partner, ...defined(where(request)) },
    grants: underRole({ type: '*', permissions: new Set(['c', 'r', 'u', 's']) }, interfaceRole, interfaceRole.purposes, { own: [] }),
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

function grantsOf(token: TokenFacts, purposes: readonly string[]): readonly Grant[] {
  const { role, fhirUser, proxyFor = [] } = token.user ?? {};
  const patient = token.launch?.patient;
  const self = idOf('Patient', fhirUser);
  const whose = { fhirUser, patient, own: [...(self === undefined ? [] : [self]), ...proxyFor] };
  const key = JSON.stringify([rolesRevision(), token.scope, role, whose, purposes]);
  let grants = compiled.get(key);
  if (grants === undefined) {
    grants = token.scope.split(' ').flatMap((text) => {
      const scope = parseScope(text);
      return scope?.kind === 'resource' ? grantsOfScope(scope, role, purposes, whose) : [];
    });
    if (compiled.size >= maxCompiled) compiled.clear();
    compiled.set(key, grants);
  }
  return grants;
}

/** Who a person is in the record, and whose record a launch is about. */
interface Whose {
  readonly fhirUser?: string | undefined;
  readonly patient?: string | undefined;
  /** The patient whom the person is, and those whom the person acts for. */
  readonly own: readonly string[];
}

function grantsOfScope(scope: ResourceScope, roleName: string | undefined, purposes: readonly string[], whose: Whose): readonly Grant[] {
  const criteria = scope.criteria.length === 0 ? {} : { criteria: scope.criteria };
  const plain: Grant = { type: scope.type, permissions: scope.permissions, ...criteria };
  // A system scope without a person is the client's own; with a person it would step around the role.
  if (scope.level === 'system') return roleName === undefined ? [plain] : [];
  const role = roleName === undefined ? undefined : roleOf(roleName);
  if (role === undefined) return [];
  if (scope.level === 'user') return underRole(plain, role, purposes, whose);
  const of = whose.patient ?? (whose.own.length === 1 ? whose.own[0] : undefined);
  if (of === undefined) return [];
  return underRole(plain, role, purposes, { ...whose, patient: of }).flatMap((grant) => (grant.patient === undefined ? confined(grant, { patient: of }) : grant.patient === of ? [grant] : []));
}

/** One grant per type that the role leaves something of. */
function underRole(grant: Grant, role: Role, purposes: readonly string[], { fhirUser, patient, own }: Whose): Grant[] {
  const types = grant.type === '*' ? resourceTypes() : [grant.type];
  return types.flatMap((type): Grant[] => {
    const row = rowFor(role, type, purposes);
    const permissions = new Set<Permission>([...grant.permissions].filter((permission) => row?.interactions.includes(permission)));
    if (row === undefined || permissions.size === 0) return [];
    const narrowed: Grant = { ...grant, type, permissions };
    switch (row.compartment ?? 'all') {
      case 'all': return [narrowed];
      case 'self': {
        // Nobody is launched from the own record into another's.
        if (patient !== undefined) return own.includes(patient) ? confined(narrowed, { patient }) : [];
        return own.length === 0 ? [] : confined(narrowed, own.length === 1 ? { patient: own[0]! } : { patients: own });
      }
      case 'care': return idOf('Practitioner', fhirUser) === undefined ? [] : confined(narrowed, { careOf: fhirUser! });
    }
  });
}

/** A grant for some patients' resources; what belongs to no patient can be read, if it is a directory's or knowledge. */
function confined(grant: Grant, to: Pick<Grant, 'patient' | 'patients' | 'careOf'>): Grant[] {
  if (!sharedTypes.has(grant.type)) return [{ ...grant, ...to }];
  const permissions = new Set([...grant.permissions].filter((permission) => permission === 'r' || permission === 's'));
  return permissions.size === 0 ? [] : [{ ...grant, permissions }];
}

function idOf(type: string, reference: string | undefined): string | undefined {
  return reference?.startsWith(`${type}/`) === true ? reference.slice(type.length + 1) : undefined;
}
