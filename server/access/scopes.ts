import { isResourceType } from '../../resources/definitions/index.ts';
import type { Permission } from './context.ts';

/** Whose data a resource scope reaches: one patient's, what the user may see, or what the client itself may see. */
export type ScopeLevel = 'patient' | 'user' | 'system';

/** A scope on resources, in SMART v1 or v2 syntax. */
export interface ResourceScope {
  readonly kind: 'resource';
  /** As it was written: scopes are granted and returned verbatim. */
  readonly text: string;
  readonly level: ScopeLevel;
  /** A resource type, or `*` for every one. */
  readonly type: string;
  readonly permissions: ReadonlySet<Permission>;
  /** Search criteria that a resource must match, decoded, in the order written; empty if the scope is not granular. */
  readonly criteria: readonly (readonly [string, string])[];
  readonly v1: boolean;
}

/** A request for launch context: `launch` (from the EHR), `launch/patient`, `launch/encounter`. */
export interface LaunchScope {
  readonly kind: 'launch';
  readonly text: string;
  readonly context?: 'patient' | 'encounter';
}

/** A request to know who the user is. */
export interface IdentityScope {
  readonly kind: 'identity';
  readonly text: 'openid' | 'fhirUser' | 'profile';
}

/** A request for a refresh token: until revoked (`offline_access`) or while the user stays signed in (`online_access`). */
export interface RefreshScope {
  readonly kind: 'refresh';
  readonly text: 'offline_access' | 'online_access';
}

export type Scope = ResourceScope | LaunchScope | IdentityScope | RefreshScope;

const v2Pattern = /^(patient|user|system)\/(\*|[A-Za-z]{1,64})\.(c?r?u?d?s?)(?:\?(.+))?$/;
const v1Pattern = /^(patient|user|system)\/(\*|[A-Za-z]{1,64})\.(read|write|\*)$/;
const v1Permissions = { read: 'rs', write: 'cud', '*': 'cruds' } as const;
const criterionName = /^[A-Za-z_][\w.:-]{0,99}$/;
const maxCriteria = 8;
const maxLength = 512;

/**
 * Parses one scope (https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html).
 *
 * @returns undefined if it is no scope that Interlock knows, its permissions are empty or out of order, or its type is not R4's
 */
export function parseScope(text: string): Scope | undefined {
  if (text.length > maxLength) return undefined;
  switch (text) {
    case 'openid':
    case 'fhirUser':
    case 'profile':
      return { kind: 'identity', text };
    case 'offline_access':
    case 'online_access':
      return { kind: 'refresh', text };
    case 'launch':
      return { kind: 'launch', text };
    case 'launch/patient':
      return { kind: 'launch', text, context: 'patient' };
    case 'launch/encounter':
      return { kind: 'launch', text, context: 'encounter' };
    default:
      return parseResourceScope(text);
  }
}

function parseResourceScope(text: string): ResourceScope | undefined {
  const v1 = v1Pattern.exec(text);
  const match = v1 ?? v2Pattern.exec(text);
  if (match === null) return undefined;
  const [, level, type, access, query] = match as unknown as [string, ScopeLevel, string, string, string | undefined];
  if (access === '' || (type !== '*' && !isResourceType(type))) return undefined;
  const letters = v1 === null ? access : v1Permissions[access as keyof typeof v1Permissions];
  const criteria = parseCriteria(query, type);
  if (criteria === undefined) return undefined;
  return { kind: 'resource', text, level, type, permissions: new Set(letters as Iterable<Permission>), criteria, v1: v1 !== null };
}

function parseCriteria(query: string | undefined, type: string): readonly (readonly [string, string])[] | undefined {
  if (query === undefined) return [];
  const pairs = query.split('&').map((pair): readonly [string, string] | undefined => {
    const at = pair.indexOf('=');
    if (at < 1) return undefined;
    try {
      const name = decodeURIComponent(pair.slice(0, at));
      const value = decodeURIComponent(pair.slice(at + 1));
      // Only parameters that every type has make sense for `*`.
      if (!criterionName.test(name) || value === '' || (type === '*' && !name.startsWith('_'))) return undefined;
      return [name, value];
    } catch {
      return undefined;
    }
  });
  if (pairs.length > maxCriteria || pairs.includes(undefined)) return undefined;
  return pairs as readonly (readonly [string, string])[];
}

/** True if whoever is allowed `allowed` is thereby allowed `requested`: same level, no further type, permission or resource. */
export function covers(allowed: Scope, requested: Scope): boolean {
  if (allowed.kind !== 'resource' || requested.kind !== 'resource') return allowed.text === requested.text;
  return (
    allowed.level === requested.level &&
    (allowed.type === '*' || allowed.type === requested.type) &&
    [...requested.permissions].every((permission) => allowed.permissions.has(permission)) &&
    allowed.criteria.every(([name, value]) => requested.criteria.some((criterion) => criterion[0] === name && criterion[1] === value))
  );
}

/**
 * The requested scopes that the allowed ones cover, verbatim, without repetition. What is not covered, or is no scope at
 * all, is left out, as RFC 6749 section 3.3 permits.
 *
 * @param requested space-separated
 * @param allowed space-separated patterns such as `system/*.cruds`
 */
export function coveredScopes(requested: string, allowed: string): Scope[] {
  const patterns = parseScopes(allowed);
  return parseScopes(requested).filter((scope) => patterns.some((pattern) => covers(pattern, scope)));
}

/** Every scope of a space-separated list that can be parsed, each once. */
export function parseScopes(list: string): Scope[] {
  return [...new Set(list.split(' '))].flatMap((text) => parseScope(text) ?? []);
}
