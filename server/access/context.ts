import type { AuditActor } from '../audit/record.ts';
import type { ValueContext } from '../../resources/search-values/index.ts';
import type { Criterion } from '../search/criteria.ts';

/** The SMART v2 permissions: create, read, update, delete, search (https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html). */
export type Permission = 'c' | 'r' | 'u' | 'd' | 's';

/** One permission that a caller holds: a scope after its intersection with the role. Grants add up. */
export interface Grant {
  /** A resource type, or `*` for all. */
  readonly type: string;
  readonly permissions: ReadonlySet<Permission>;
  /** Only resources in this patient's compartment. Absent: no compartment limit. */
  readonly patient?: string;
  /** Only resources in the compartment of one of these patients: those in the care of the person, as of this request. */
  readonly patients?: readonly string[];
  /** Whose care `patients` are to be looked up for (`Practitioner/…`). As long as it is there, the grant gives nothing. */
  readonly careOf?: string;
  /** Only resources that match these search criteria (granular scopes), as name and value. */
  readonly criteria?: readonly (readonly [string, string])[];
}

/**
 * A limit beyond the grants, such as patients' consents: what it says of a type and permission holds beside every grant.
 * It is asked wherever something is decided, so that totals, chains and includes follow it.
 */
export interface ReachLimit {
  /** Names it in the sealed audit record: `consent`. */
  readonly rule: string;
  /** What a resource of the type must meet; undefined: nothing. @throws InterlockError `forbidden` if nothing of the type is left */
  criterionFor(type: string, permissions: readonly Permission[]): Criterion | undefined;
}

/** JSON properties that are hidden, or of which something is. */
export type HiddenTree = ReadonlyMap<string, 'hidden' | HiddenTree>;

/** What a role does not see of resources that it may read. */
export interface Masks {
  /** Elements that are left out, by resource type. */
  readonly elements: ReadonlyMap<string, readonly string[]>;
  /** The same as JSON properties. */
  readonly trees: ReadonlyMap<string, HiddenTree>;
  /** Types that are left out where they stand inside other resources. */
  readonly closed: ReadonlySet<string>;
}

/** Emergency access to one patient's record. */
export interface BrokenGlass {
  readonly id: string;
  readonly patient: string;
  readonly purpose: string;
  readonly reason: string;
  readonly untilMs: number;
}

/** Who asks, for whom, with which permissions and why: what every access is decided by. */
export interface AccessContext {
  readonly tenant: string;
  readonly requestId: string;
  readonly actor: AuditActor;
  readonly grants: readonly Grant[];
  readonly purposeOfUse: readonly string[];
  /** Patients whose record the caller has in an emergency; their consents do not limit it. */
  readonly brokenGlass?: readonly BrokenGlass[];
  /** Further limits, all of which hold. */
  readonly limits?: readonly ReachLimit[];
  /** What is left out of what is given. */
  readonly masks?: Masks;
  /** How references and dates in the grants' criteria are read; the guarded repository sets it. */
  readonly values?: ValueContext;
  /** The scopes that the caller's token was given, so that a refusal can be explained. */
  readonly scope?: string;
  readonly launch?: { readonly patient?: string; readonly encounter?: string };
  readonly signedIn?: SignedIn;
}

/** When and how a person signed in last, in the session that the token was granted in. */
export interface SignedIn {
  readonly atMs: number;
  /** RFC 8176; `mfa` among them with both factors. */
  readonly amr: readonly string[];
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
    /** Ids of the patients on whose behalf the person may act, beside their own. */
    readonly proxyFor?: readonly string[];
  };
  /** Why data is asked for: codes of http://terminology.hl7.org/CodeSystem/v3-ActReason. Absent: the role's usual purpose. */
  readonly purposeOfUse?: readonly string[];
  readonly launch?: { readonly id?: string; readonly patient?: string; readonly encounter?: string };
  readonly expiresAtMs: number;
  /** Absent for backend services, and once the session is over. */
  readonly signedIn?: SignedIn;
}
