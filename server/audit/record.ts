import type { ErrorCode } from '../../resources/outcome/catalogue.ts';

/** Who acted: the AuditEvent.agent that requested. */
export interface AuditActor {
  readonly kind: 'user' | 'client' | 'partner' | 'operator' | 'job' | 'anonymous';
  /** Stable id: user id, client_id, partner name, `operator:<os user>`. */
  readonly id: string;
  readonly display?: string;
  readonly role?: string;
  /** Reference of the person as a FHIR resource, such as `Practitioner/…`. */
  readonly fhirUser?: string;
  /** The application a user acts through. */
  readonly clientId?: string;
  readonly clientName?: string;
  readonly onBehalfOf?: string;
  readonly launchId?: string;
  readonly address?: string;
  readonly userAgent?: string;
}

/** A resource that was disclosed or changed. */
export interface AuditEntity {
  readonly type: string;
  readonly id: string;
  readonly versionId?: number;
  /** Of a write: hash of the stored version, hex (see `VersionFacts.hash`). */
  readonly hash?: string;
  /** Logical ids of the patients whom the resource concerns. */
  readonly patients?: readonly string[];
}

/** What one request, message, sign-in or command did: the content of one sealed audit entry. AuditEvents are rendered from it. */
export interface AuditRecord {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly kind: 'rest' | 'login' | 'logout' | 'token' | 'channel' | 'command' | 'key' | 'server';
  /** FHIR interaction code for `rest` (http://hl7.org/fhir/restful-interaction), operation or event name otherwise. */
  readonly interaction: string;
  readonly action: 'C' | 'R' | 'U' | 'D' | 'E';
  readonly outcome: '0' | '4' | '8' | '12';
  /** Catalogue code of a refusal or failure. */
  readonly error?: ErrorCode;
  /** Which rule refused: `scope`, `role`, `compartment`, `consent`, `partner`, `time`, with names of types and interactions only. */
  readonly rule?: string;
  readonly requestId: string;
  readonly actor: AuditActor;
  /** Codes of http://terminology.hl7.org/CodeSystem/v3-ActReason. */
  readonly purposeOfUse?: readonly string[];
  readonly breakGlassReason?: string;
  readonly entities?: readonly AuditEntity[];
  /** Every patient disclosed or affected, logical ids. */
  readonly patients?: readonly string[];
  /** The request line and body criteria of a search, verbatim. */
  readonly query?: string;
  readonly channel?: { readonly id: string; readonly messageId: string; readonly messageType?: string; readonly controlId?: string };
  /** Of a command: its name and option names. */
  readonly command?: string;
  readonly client?: { readonly id: string; readonly grantType?: string; readonly scope?: string };
  /** Set when a sweep wrote the entry that a crashed process had only prepared. */
  readonly recovered?: boolean;
  /** How many alike events this one stands for (floods of unauthenticated requests). */
  readonly count?: number;
}

/** An entry ready to be appended: sealed, with its id. See `SealedAuditEntry` of storage, which has the same shape. */
export interface PreparedEntry {
  readonly id: Buffer;
  /** `id` (16 bytes), then the sealed record. */
  readonly sealed: Buffer;
}

/** The audit trail as everything else sees it. */
export interface AuditTrail {
  /** Seals a record under a fresh id. Does not append it. */
  prepare(record: AuditRecord): PreparedEntry;
  /**
   * Makes entries durable: resolves when the block that holds them is on disk (majority, journaled).
   * Calls during a flush share the next one.
   * @throws InterlockError `audit-unavailable`
   */
  append(entries: readonly PreparedEntry[]): Promise<void>;
  /** prepare + append of one record. */
  record(record: AuditRecord): Promise<void>;
  /** Does work that will append: flushes wait a moment for it, so that what is asked at the same time shares one. */
  expecting<T>(work: () => Promise<T>): Promise<T>;
  /** Throws `audit-unavailable` if the last flush failed and none has succeeded since. Cheap; called before data is written. */
  assertAvailable(): void;
  /**
   * Like append, for entries of writes that are already committed: keeps retrying in the background until they are
   * durable, and until then `assertAvailable` throws.
   * @throws InterlockError `outcome-unknown` when the first attempt fails
   */
  appendCommitted(entries: readonly PreparedEntry[]): Promise<void>;
  /** Which of these ids are in no block yet. For the sweep after a crash. */
  missing(ids: readonly Buffer[]): Promise<Buffer[]>;
  /** Appends entries that a crashed process had prepared, each marked as recovered. Repeating it is harmless. */
  appendRecovered(entries: readonly PreparedEntry[]): Promise<void>;
}
