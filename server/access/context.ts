import type { AuditActor } from '../audit/record.ts';

/** The SMART v2 permissions: create, read, update, delete, search (https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html). */
export type Permission = 'c' | 'r' | 'u' | 'd' | 's';

/** One permission that a caller holds: a scope after its intersection with the role. Grants add up. */
export interface Grant {
  /** A resource type, or `*` for all. */
  readonly type: string;
  readonly permissions: ReadonlySet<Permission>;
  /** Only resources in this patient's compartment. Absent: no compartment limit. */
  readonly patient?: string;
  /** Only resources that match these search criteria (granular scopes), as name and value. */
  readonly criteria?: readonly (readonly [string, string])[];
}

/** Who asks, for whom, with which permissions and why: what every access is decided by. */
export interface AccessContext {
  readonly tenant: string;
  readonly requestId: string;
  readonly actor: AuditActor;
  readonly grants: readonly Grant[];
  readonly purposeOfUse: readonly string[];
  readonly launch?: { readonly patient?: string; readonly encounter?: string };
}

/** What a verified access token says; the access room turns it into an {@link AccessContext}. */
export interface TokenFacts {
  readonly clientId: string;
  readonly clientName?: string;
  /** Space-separated scopes that were granted. */
  readonly scope: string;
  /** Absent for backend services. */
  readonly user?: {
    readonly id: string;
    readonly username: string;
    readonly role: string;
    /** Such as `Patient/…` or `Practitioner/…`. */
    readonly fhirUser?: string;
  };
  readonly launch?: { readonly id?: string; readonly patient?: string; readonly encounter?: string };
  readonly expiresAtMs: number;
}
