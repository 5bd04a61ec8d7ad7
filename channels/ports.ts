import type { Plan } from '../mappings/engine/plan.ts';

/** A partner whose certificate and agreement (BAA) were checked at the door. */
export interface PartnerIdentity {
  readonly name: string;
  /** SHA-256 fingerprint of the client certificate, lower-case hex. */
  readonly fingerprint: string;
  readonly address: string;
}

/** Why a partner may not use a channel. */
export type PartnerRefusal = 'unknown' | 'revoked' | 'certificate-expired' | 'baa-expired' | 'channel-not-permitted' | 'disabled';

/** Decides who may use a channel now. Called for every connection and again for every message, so that revocation acts at once. */
export interface Partners {
  /** @returns the partner, or why not: the refusal is already audited */
  admit(fingerprint: string, channelId: string, address: string): Promise<{ readonly partner: PartnerIdentity } | { readonly refused: PartnerRefusal }>;
}

export interface Seal {
  /** Seals bytes for the inbox; `aad` binds them to their row. */
  seal(plaintext: Uint8Array, aad: string): Buffer;
  open(sealed: Uint8Array, aad: string): Promise<Buffer>;
  /** Keyed hash, for looking up without storing what is looked up. 16 bytes. */
  token(parts: readonly string[]): Buffer;
}

/** A message as the audit sees it. Never content. */
export interface ChannelAuditEvent {
  readonly interaction: 'message-received' | 'message-repeated' | 'message-refused' | 'message-stored' | 'message-failed' | 'message-replayed' | 'message-dismissed' | 'message-shown' | 'connection-refused';
  readonly outcome: '0' | '4' | '8' | '12';
  readonly channelId: string;
  readonly partner?: PartnerIdentity;
  readonly messageId: string;
  readonly messageType?: string;
  readonly controlId?: string;
  readonly rule?: string;
  /** Network address, where no partner could be told (a handshake without a valid certificate). */
  readonly address?: string;
  /** Who acted, where it was not the partner: `operator:<os user>` replaying a dead letter. */
  readonly actor?: string;
  /** How many alike events this one stands for (floods of refused handshakes). */
  readonly count?: number;
}

export interface Audit {
  /** Resolves when the entry is durable. @throws when it cannot be made so */
  record(event: ChannelAuditEvent): Promise<void>;
}

/** Allow-listed logging: names, counts and codes only. */
export interface Log {
  info(event: string, fields?: Readonly<Record<string, string | number | boolean>>): void;
  warn(event: string, fields?: Readonly<Record<string, string | number | boolean>>): void;
  error(event: string, fields?: Readonly<Record<string, string | number | boolean>>): void;
}

export interface Clock {
  nowMs(): number;
}

/** Where the sealed message is kept for Provenance: stored as a Binary in the same transaction. */
export interface PlanSource {
  readonly contentType: string;
  readonly bytes: Buffer;
}

/** The way into the record: everything in the plan, its Provenance and the inbox row's new state commit together or not at all. */
export interface Sink {
  /**
   * @param advance changes the inbox row within the transaction; must throw if the lease was lost, which aborts everything
   * @returns what was stored, as `Type/id` in the plan's order
   * @throws SinkError telling whether trying again can help, or InterlockError, whose code tells
   */
  commit(request: {
    readonly channelId: string;
    readonly partner: PartnerIdentity;
    readonly messageId: string;
    readonly controlId?: string;
    readonly receivedAtMs: number;
    readonly plan: Plan;
    readonly source: PlanSource;
    /** `session` is the driver's ClientSession; typed loosely so that channels need not know the driver's transaction API. */
    readonly advance: (session: unknown, stored: readonly string[]) => Promise<void>;
  }): Promise<{ readonly stored: readonly string[] }>;
}

/** `transient`: the same message can succeed later; `permanent`: it never will without a change; `ambiguous`: it may have happened. */
export type RetryClass = 'transient' | 'ambiguous' | 'permanent';

export class SinkError extends Error {
  override readonly name = 'SinkError';
  readonly retry: RetryClass;
  /** Catalogue code, safe to show. */
  readonly code: string;
  constructor(retry: RetryClass, code: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.retry = retry;
    this.code = code;
  }
}
