import { randomFillSync } from 'node:crypto';
import mongoose from 'mongoose';
import type { PartnerIdentity } from '../ports.ts';
import type { AckOutcome, Failure, InboxState } from './states.ts';

/** Name of the collection that holds the inbox. */
export const inboxCollection = 'inbox';

/** One message as it is kept. Nothing in it can be read without the keys: what is not sealed is a keyed hash, a time, a count or a name of ours. */
export interface InboxRow {
  readonly _id: string;
  readonly channel: string;
  /** Order of recording over all messages, so also within every ordering key: microseconds since 1970, at least the last + 1. */
  readonly seq: number;
  /** Keyed hashes of what the message must stay in order with, such as its patient's numbers; a merge has those of both. Sorted. */
  readonly keys: readonly Buffer[];
  /** Keyed hash of channel, partner, control id and body: the same message again. Absent on refused ones, which may come again. */
  readonly dedup?: Buffer;
  /** Keyed hash of channel, partner and control id: a control id used again. */
  readonly control?: Buffer;
  /** Keyed hash of a refused message: the same refusal again only counts. */
  readonly refusal?: Buffer;
  /** How often a refused message came. */
  readonly times?: number;
  readonly state: InboxState;
  readonly acknowledged: AckOutcome;
  readonly at: Date;
  /** Present while the router must look at the row: it is to be worked on, or it holds its lanes. */
  readonly live?: true;
  /** Present on a failed row that holds up its lanes until it is replayed or dismissed. */
  readonly holds?: true;
  /** Sealed message; absent once purged. */
  readonly body?: Buffer;
  /** Sealed {@link MessageFacts}; absent once purged. */
  readonly meta?: Buffer;
  /** Sealed acknowledgement as it was sent. Outlives a purge. */
  readonly ack: Buffer;
  /** Sealed list of what was stored, as `Type/id`. */
  readonly stored?: Buffer;
  readonly storedAt?: Date;
  /** Grows with every lease; a commit under an older one aborts. */
  readonly fence: number;
  /** How often the router took it, and how often it then recorded a failure: the difference was abandoned. */
  readonly attempts: number;
  readonly failures: number;
  readonly firstFailedAt?: Date;
  readonly nextAttemptAt?: Date;
  readonly lease?: { readonly owner: string; readonly claim: string; readonly until: Date };
  readonly failure?: Failure;
  readonly flags?: readonly MessageFlag[];
}

/** `control-id-reused`: the sender used the control id before, with another body. Both are processed; ids recycle. */
export type MessageFlag = 'control-id-reused';

/** What is known about a message beside its bytes; kept sealed. */
export interface MessageFacts {
  readonly partner: PartnerIdentity;
  readonly receivedAtMs: number;
  readonly controlId?: string;
  readonly messageType?: string;
  /** What the door knows and the bytes do not say, such as a content type. */
  readonly attributes?: Readonly<Record<string, string>>;
}

/** A fresh message id: UUID version 7 (RFC 9562, section 5.7), so that ids sort by time. */
export function newMessageId(nowMs: number): string {
  const bytes = randomFillSync(Buffer.alloc(16));
  bytes.writeUIntBE(nowMs, 0, 6);
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** What binds a sealed part to its row. */
export function aadOf(row: { readonly _id: string; readonly channel: string }, part: 'body' | 'meta' | 'ack' | 'stored'): string {
  return `inbox|${row._id}|${row.channel}|${part}`;
}

/** A token in hex, whether the driver made a Buffer of it or its own type. */
export function hexOf(token: unknown): string {
  if (Buffer.isBuffer(token)) return token.toString('hex');
  return token instanceof mongoose.mongo.Binary ? token.toString('hex') : '';
}
