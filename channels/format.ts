import type { Plan } from '../mappings/engine/plan.ts';
import type { ChannelDefinition } from './definition.ts';
import type { FailureCode } from './inbox/states.ts';

/** What a format may know of where a message came from. */
export interface MessageContext {
  readonly channelId: string;
  readonly zone: string;
  /** What the door knows and the bytes do not say, such as a content type. */
  readonly attributes: Readonly<Record<string, string>>;
  /** When the door received it, ms; the same whenever the message is read again. */
  readonly receivedAtMs?: number;
}

/** A message that could be read. */
export interface DecodedMessage {
  /** The sender's own id of the message (MSH-10); the same again with the same bytes is the same message. */
  readonly controlId: string;
  readonly messageType: string;
  /** What it must stay in order with, such as a patient's identifier; several for a merge; none if order does not matter. */
  readonly orderingKeys: readonly string[];
  /**
   * What the message asks of the record. Pure: called at the door, so that what cannot be mapped is refused at once, and again
   * by the router.
   * @throws MessageRefused
   */
  plan(): Plan | Promise<Plan>;
}

/** A message that is refused at the door. The text must never hold content of the message. */
export class MessageRefused extends Error {
  override readonly name = 'MessageRefused';
  readonly code: FailureCode;
  readonly details: RefusalDetails;

  constructor(code: FailureCode, message: string, details: RefusalDetails = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.details = details;
  }
}

export interface RefusalDetails {
  /** Code of the format's own error table, such as one of HL7 table 0357. */
  readonly formatCode?: string;
  /** Where in the message, by position only, such as `PID^1^3`. */
  readonly location?: string;
  readonly controlId?: string;
  readonly messageType?: string;
  readonly cause?: unknown;
}

/**
 * What the sender is told. `error`: the content is at fault, the same message will fare the same. `rejected`: it was not
 * looked into (unsupported kind, busy, no audit); sending it again later can succeed.
 */
export type AckVerdict =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'error' | 'rejected'; readonly code: RefusalCode; readonly text: string; readonly formatCode?: string; readonly location?: string };

/** Why a sender is sent away: what is wrong with the message, with the sender, or with this server now. */
export type RefusalCode = FailureCode | 'certificate-required' | 'forbidden' | 'busy' | 'unavailable' | 'audit-unavailable';

/** A message format: pure. HL7v2, NCPDP SCRIPT and faxes differ for the engine in nothing but this. */
export interface MessageFormat {
  /** Media type of the bytes, for the sealed source that Provenance refers to. */
  readonly contentType: string;
  /** Reads a message as far as the engine needs it. @throws MessageRefused */
  decode(bytes: Buffer, context: MessageContext): DecodedMessage;
  /** The messages in what was sent at once, where the format knows batches. */
  split?(bytes: Buffer): readonly Buffer[];
  /**
   * Writes the answer to a message, also to one that could not be decoded (or of which only the beginning is there).
   * @returns empty if the sender asked for no answer
   */
  acknowledge(bytes: Buffer, verdict: AckVerdict, options: { readonly mode: ChannelDefinition['ackMode']; readonly nowMs: number; readonly messageId: string }): Buffer;
}
