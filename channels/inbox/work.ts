import { randomUUID } from 'node:crypto';
import type { Connection, ClientSession, Collection } from 'mongoose';
import { z } from 'zod';
import { SinkError, type Clock, type Seal } from '../ports.ts';
import { aadOf, hexOf, inboxCollection, type InboxRow, type MessageFacts } from './row.ts';
import { failures, workableStates, type Failure, type FailureCode } from './states.ts';

/** Thrown inside a transaction whose row was meanwhile taken by somebody else: everything aborts, and the other one does it. */
export class LeaseLost extends SinkError {
  constructor() {
    super('ambiguous', 'version-conflict', 'The lease on the message was lost.');
  }
}

/** What the router needs to see of a live row to choose. */
export type LiveRow = Pick<InboxRow, '_id' | 'channel' | 'seq' | 'state' | 'attempts' | 'failures' | 'nextAttemptAt' | 'lease' | 'holds'> & { readonly keys: readonly string[] };

/** A row under lease, opened. */
export interface TakenMessage {
  readonly row: InboxRow;
  readonly claim: string;
  readonly keys: readonly string[];
  readonly facts: MessageFacts;
  readonly body: Buffer;
}

const factsSchema = z.object({
  partner: z.object({ name: z.string(), fingerprint: z.string(), address: z.string() }),
  receivedAtMs: z.number(), controlId: z.string().optional(), messageType: z.string().optional(),
  attributes: z.record(z.string(), z.string()).optional(),
});

const choosing = { channel: 1, seq: 1, keys: 1, state: 1, attempts: 1, failures: 1, nextAttemptAt: 1, lease: 1, holds: 1 } as const;

const maxTieSteps = 4;
const maxTied = 20_000;

/** The way of the router to the inbox: look, take under a lease, record what came of it. */
export class Work {
  readonly #rows: Collection<InboxRow>;
  readonly #seal: Seal;
  readonly #clock: Clock;
  readonly #owner: string;
  readonly #leaseMs: number;

  /** @param options owner names this process in leases; a lease lasts `leaseMs` unless renewed */
  constructor(options: { readonly connection: Connection; readonly seal: Seal; readonly clock: Clock; readonly owner: string; readonly leaseMs: number }) {
    this.#rows = options.connection.collection<InboxRow>(inboxCollection);
    this.#seal = options.seal;
    this.#clock = options.clock;
    this.#owner = options.owner;
    this.#leaseMs = options.leaseMs;
  }

  /**
   * The oldest live rows of these channels in the order of recording, the newest included (not only what a majority has).
   * @param except lanes whose messages are left out; closed under {@link tiedTo}, or order is lost
   */
  async look(channels: readonly string[], except: ReadonlySet<string>, limit: number): Promise<LiveRow[]> {
    const where = { live: true as const, channel: { $in: [...channels] }, ...(except.size > 0 ? { keys: { $nin: buffersOf(except) } } : {}) };
    const rows = await this.#rows.find(where, { projection: choosing, promoteBuffers: true, sort: { seq: 1 }, limit, readConcern: 'local' }).toArray();
    return rows.map((row) => ({ ...row, keys: row.keys.map((key) => key.toString('hex')) }));
  }

  /**
   * These lanes and all that live messages tie to them: a merge that waits for one patient also holds the other.
   * @returns undefined if the ties reach further than can be followed
   */
  async tiedTo(lanes: ReadonlySet<string>): Promise<ReadonlySet<string> | undefined> {
    let known = lanes;
    for (let step = 0; step < maxTieSteps && known.size <= maxTied; step += 1) {
      const tied = await this.#rows.distinct('keys', { live: true, keys: { $in: buffersOf(known) } }, { readConcern: 'local' });
      const wider = new Set([...known, ...tied.map(hexOf)]);
      if (wider.size === known.size) return known;
      known = wider;
    }
    return undefined;
  }

  /** Takes rows under a lease; those that somebody else took first are left out. */
  async take(ids: readonly string[]): Promise<TakenMessage[]> {
    const now = this.#clock.nowMs();
    const claim = randomUUID();
    await this.#rows.updateMany(
      { _id: { $in: [...ids] }, live: true, state: { $in: [...workableStates] }, $or: [{ lease: { $exists: false } }, { 'lease.until': { $lte: new Date(now) } }] },
      { $set: { lease: { owner: this.#owner, claim, until: new Date(now + this.#leaseMs) } }, $inc: { fence: 1, attempts: 1 } },
      // A lease that a failover forgets does no harm: the commit compares the claim, which is never given twice.
      { writeConcern: { w: 1 } });
    // Read as it is now: the majority may not have the lease yet.
    const rows = await this.#rows.find({ _id: { $in: [...ids] }, 'lease.claim': claim }, { promoteBuffers: true, readConcern: 'local' }).toArray();
    return await Promise.all(rows.map(async (row) => ({ row, claim, ...await openMessage(this.#seal, row), keys: row.keys.map((key) => key.toString('hex')) })));
  }

  /** Prolongs leases. Rows that were lost meanwhile stay lost. */
  async renew(claims: readonly { readonly id: string; readonly claim: string }[]): Promise<void> {
    if (claims.length === 0) return;
    const until = new Date(this.#clock.nowMs() + this.#leaseMs);
    await this.#rows.updateMany({ _id: { $in: claims.map(({ id }) => id) }, 'lease.claim': { $in: claims.map(({ claim }) => claim) } }, { $set: { 'lease.until': until } }, { writeConcern: { w: 1 } });
  }

  /** Within the sink's transaction: the row is stored if, and only if, this lease still holds. @throws LeaseLost */
  async advance(taken: TakenMessage, session: ClientSession, stored: readonly string[]): Promise<void> {
    const sealed = this.#seal.seal(Buffer.from(JSON.stringify(stored)), aadOf(taken.row, 'stored'));
    const result = await this.#rows.updateOne(
      { _id: taken.row._id, fence: taken.row.fence, 'lease.claim': taken.claim, state: { $in: [...workableStates] } },
      { $set: { state: 'stored', stored: sealed, storedAt: new Date(this.#clock.nowMs()) }, $unset: { live: '', lease: '', nextAttemptAt: '', failure: '', firstFailedAt: '' } },
      { session });
    if (result.matchedCount !== 1) throw new LeaseLost();
  }

  /** Where a message stands now: after a commit whose outcome is not known. */
  async stateOf(id: string): Promise<InboxRow['state'] | undefined> {
    return (await this.#rows.findOne({ _id: id }, { projection: { state: 1 }, readConcern: 'majority' }))?.state;
  }

  /** Ends a lease with a failure that is tried again at `nextAttemptAtMs`. */
  async postpone(taken: TakenMessage, code: FailureCode, cause: string | undefined, nextAttemptAtMs: number, mapped: boolean): Promise<void> {
    const at = new Date(this.#clock.nowMs());
    await this.#rows.updateOne({ _id: taken.row._id, 'lease.claim': taken.claim, state: { $in: [...workableStates] } }, {
      $set: { state: mapped ? 'mapped' : 'received', failure: this.#failure(code, cause), nextAttemptAt: new Date(nextAttemptAtMs), firstFailedAt: taken.row.firstFailedAt ?? at },
      $unset: { lease: '' }, $inc: { failures: 1 },
    });
  }

  /** Ends a lease for good: a dead letter. `holds` keeps the lanes of the message closed behind it. */
  async bury(taken: TakenMessage, code: FailureCode, cause: string | undefined, holds: boolean): Promise<void> {
    await this.#rows.updateOne({ _id: taken.row._id, 'lease.claim': taken.claim, state: { $in: [...workableStates] } }, {
      $set: { state: 'failed', failure: this.#failure(code, cause), ...(holds ? { holds: true } : {}) },
      $unset: { lease: '', nextAttemptAt: '', ...(holds ? {} : { live: '' }) }, $inc: { failures: 1 },
    }, { writeConcern: { w: 'majority', j: true } });
  }

  /** Gives rows back untouched, so that another process need not wait for their leases to end. */
  async release(taken: readonly TakenMessage[]): Promise<void> {
    await this.#rows.updateMany({ 'lease.claim': { $in: taken.map(({ claim }) => claim) }, _id: { $in: taken.map(({ row }) => row._id) } }, { $unset: { lease: '' }, $inc: { attempts: -1 } });
  }

  #failure(code: FailureCode, cause: string | undefined): Failure {
    return { code, retry: failures[code].retry, at: new Date(this.#clock.nowMs()), ...(cause === undefined ? {} : { cause }) };
  }
}

function buffersOf(tokens: ReadonlySet<string>): Buffer[] {
  return [...tokens].map((token) => Buffer.from(token, 'hex'));
}

/** Opens what a row keeps sealed. @throws when it was purged or altered */
export async function openMessage(seal: Seal, row: InboxRow): Promise<{ readonly body: Buffer; readonly facts: MessageFacts }> {
  if (row.body === undefined) throw new Error('The message was purged.');
  const [body, facts] = await Promise.all([seal.open(row.body, aadOf(row, 'body')), openFacts(seal, row)]);
  return { body, facts };
}

/** Opens what is known about a message. @throws when it was purged or altered */
export async function openFacts(seal: Seal, row: InboxRow): Promise<MessageFacts> {
  if (row.meta === undefined) throw new Error('The message was purged.');
  const meta = await seal.open(row.meta, aadOf(row, 'meta'));
  return factsSchema.parse(JSON.parse(meta.toString('utf8')));
}
