import mongoose from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import { SinkError, type RetryClass } from '../ports.ts';

/**
 * Where a message is:
 * - `received`: durable and audited; nothing has been tried yet
 * - `mapped`: a map applied, but the record did not take the result yet; it is tried again
 * - `stored`: everything it asks for is in the record, committed together with this state
 * - `delivered`: also handed to every destination of its channel
 * - `failed`: not tried any more until somebody replays it (a dead letter)
 */
export const inboxStates = ['received', 'mapped', 'stored', 'delivered', 'failed'] as const;
export type InboxState = (typeof inboxStates)[number];

/** States that the router works on. */
export const workableStates = ['received', 'mapped'] as const satisfies readonly InboxState[];

/** What the sender was told. Independent of the state: an accepted message can still fail later, and then it is ours to repair. */
export type AckOutcome = 'accepted' | 'refused';

/**
 * Every way in which a message can fail, and whether trying again can help:
 * `transient` is tried again with growing pauses until the channel's policy gives up; `ambiguous` may have happened and is
 * first looked up; `permanent` needs a person.
 */
export const failures = {
  // The sender was told at the door; nothing of it was processed.
  'message-malformed': { retry: 'permanent', why: 'The bytes are not a message of the format; the same bytes never will be.' },
  'message-unsupported': { retry: 'permanent', why: 'No map takes this kind of message; one would have to be added.' },
  'message-unacceptable': { retry: 'permanent', why: 'It can be read, but breaks a rule of the format or of the channel; the same content always will.' },
  'media-type-unsupported': { retry: 'permanent', why: 'The channel takes other kinds of content.' },
  'message-too-large': { retry: 'permanent', why: 'It exceeds the size that the channel accepts.' },
  // After it was acknowledged.
  'map-failed': { retry: 'permanent', why: 'Maps are pure: the same message fails the same way until map or message change.' },
  'record-refused': { retry: 'permanent', why: 'The record understood the request and refused it.' },
  'record-unavailable': { retry: 'transient', why: 'The record or its audit could not be reached, or another write was in the way.' },
  'commit-unknown': { retry: 'ambiguous', why: 'The connection broke around the commit; the row itself says whether it happened.' },
  'unexpected': { retry: 'transient', why: 'Something unforeseen was thrown; a few tries tell a passing cause from a defect.' },
  'abandoned': { retry: 'permanent', why: 'Processes that worked on it kept vanishing: it may be what ends them.' },
  'gave-up': { retry: 'permanent', why: 'The retry policy of the channel ran out.' },
} as const satisfies Record<string, { retry: RetryClass; why: string }>;
export type FailureCode = keyof typeof failures;

/** The last failure of a message. Holds names of codes only, never content. */
export interface Failure {
  readonly code: FailureCode;
  readonly retry: RetryClass;
  /** Code of the error catalogue or of the format, where one was given. */
  readonly cause?: string;
  readonly at: Date;
}

/** Codes of the error catalogue that are refusals in form but pass with time. */
const passing = new Set(['version-conflict', 'version-stale', 'throttled']);

/** Says which failure an error thrown by the sink is. */
export function failureOf(error: unknown): { readonly code: FailureCode; readonly cause?: string } {
  if (error instanceof SinkError) {
    const code = error.retry === 'permanent' ? 'record-refused' : error.retry === 'ambiguous' ? 'commit-unknown' : 'record-unavailable';
    return { code, cause: error.code };
  }
  if (error instanceof InterlockError) {
    if (error.code === 'outcome-unknown') return { code: 'commit-unknown', cause: error.code };
    if (error.status === 503 || passing.has(error.code)) return { code: 'record-unavailable', cause: error.code };
    return { code: error.status < 500 ? 'record-refused' : 'unexpected', cause: error.code };
  }
  // The driver marks what can be repeated; anything without such a mark is unforeseen.
  if (hasLabel(error, 'UnknownTransactionCommitResult')) return { code: 'commit-unknown' };
  if (hasLabel(error, 'TransientTransactionError') || hasLabel(error, 'RetryableWriteError') || isNetworkError(error)) return { code: 'record-unavailable' };
  return { code: 'unexpected', ...(error instanceof Error ? { cause: error.name } : {}) };
}

function hasLabel(error: unknown, label: string): boolean {
  return error instanceof mongoose.mongo.MongoError && error.hasErrorLabel(label);
}

function isNetworkError(error: unknown): boolean {
  return error instanceof Error && /^Mongo(Network|ServerSelection|PoolCleared|NotConnected)/.test(error.name);
}
