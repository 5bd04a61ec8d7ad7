import { createHash } from 'node:crypto';
import mongoose, { type Connection, type mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Audit, ChannelAuditEvent, Clock, PartnerIdentity, Seal } from '../ports.ts';
import { GroupCommit, QueueFull } from './group-commit.ts';
import { aadOf, hexOf, inboxCollection, type InboxRow, type MessageFacts } from './row.ts';
import { failures, type FailureCode } from './states.ts';

/** Name of the collection whose one document hands out the order of recording. */
export const sequenceCollection = 'inbox_sequence';

/** A message that the door decoded, mapped for a try, and wrote an acknowledgement for. */
export interface Arrival {
  readonly messageId: string;
  readonly channelId: string;
  readonly partner: PartnerIdentity;
  readonly body: Buffer;
  readonly receivedAtMs: number;
  readonly controlId: string;
  readonly messageType: string;
  readonly orderingKeys: readonly string[];
  /** What is sent once the message is durable and audited. */
  readonly ack: Buffer;
  readonly attributes?: Readonly<Record<string, string>>;
}

/** A message that the door refused. */
export interface RefusedArrival {
  readonly messageId: string;
  readonly channelId: string;
  readonly partner: PartnerIdentity;
  readonly body: Buffer;
  readonly receivedAtMs: number;
  readonly controlId?: string;
  readonly messageType?: string;
  readonly code: FailureCode;
  readonly cause?: string;
  readonly ack: Buffer;
  readonly attributes?: Readonly<Record<string, string>>;
}

/** `repeated`: the same message came before; its acknowledgement of then is `ack`. */
export type Receipt =
  | { readonly kind: 'accepted'; readonly messageId: string; readonly ack: Buffer }
  | { readonly kind: 'repeated'; readonly messageId: string; readonly ack: Buffer };

/** Thrown when the inbox holds as much as it may. */
export class InboxBusy extends Error {
  override readonly name = 'InboxBusy';
}

export interface IntakeOptions {
  readonly connection: Connection;
  readonly seal: Seal;
  readonly audit: Audit;
  readonly clock: Clock;
  /** Messages that may wait to be stored; more are refused as busy. */
  readonly maxBacklog: number;
  /** Refused messages kept per channel; further ones are only audited. */
  readonly maxRefused: number;
  /** Called when something new is durable. */
  readonly onAccepted: () => void;
}

const durable = { writeConcern: { w: 'majority', j: true } } as const;
const backlogFreshMs = 1000;
type Fresh = Arrival & { readonly dedup: Buffer; readonly control: Buffer };

/** The way into the inbox: a message is in when its audit entry and its row are durable, in that order. */
export class Intake {
  readonly #options: IntakeOptions;
  readonly #rows: mongoose.Collection<InboxRow>;
  readonly #sequence: mongoose.Collection<{ _id: string; last: number }>;
  readonly #group: GroupCommit<Fresh, Receipt>;
  #backlog = { count: 0, atMs: -Infinity };

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#rows = options.connection.collection<InboxRow>(inboxCollection);
    this.#sequence = options.connection.collection(sequenceCollection);
    this.#group = new GroupCommit({
      flush: (arrivals) => this.#flush(arrivals),
      bytesOf: (arrival) => arrival.body.length + arrival.ack.length + 1024,
      maxItems: 256, maxBytes: 24 * 2 ** 20, maxWaiting: 4096, maxWaitingBytes: 128 * 2 ** 20,
    });
  }

  /**
   * Makes a message durable, or finds that it is.
   * @throws InboxBusy; InterlockError `audit-unavailable` (nothing was kept) or `unavailable` (it may have been kept: a resend tells)
   */
  async accept(arrival: Arrival): Promise<Receipt> {
    try {
      return await this.#group.add({ ...arrival, ...identityTokens(this.#options.seal, arrival.channelId, arrival.partner.name, arrival.controlId, arrival.body) });
    } catch (error) {
      throw error instanceof QueueFull ? new InboxBusy() : error;
    }
  }

  /**
   * Keeps a refused message for whoever runs the channel. The sender's acknowledgement does not depend on the row, only on the audit entry.
   * @returns the message's id
   */
  async refuse(arrival: RefusedArrival): Promise<string> {
    const { seal, audit } = this.#options;
    const id = arrival.messageId;
    await audit.record({ ...eventOf(arrival, id), interaction: 'message-refused', outcome: '4', rule: arrival.cause ?? arrival.code });
    const digest = createHash('sha256').update(arrival.body).digest('hex');
    const refusal = seal.token(['refusal', arrival.channelId, arrival.partner.name, digest]);
    const known = await this.#rows.findOneAndUpdate({ refusal }, { $inc: { times: 1 } }, { projection: { _id: 1 } });
    if (known !== null) return known._id;
    const kept = await this.#rows.countDocuments({ channel: arrival.channelId, state: 'failed' }, { limit: this.#options.maxRefused });
    if (kept >= this.#options.maxRefused) return id;
    const row = { _id: id, channel: arrival.channelId };
    const failure = { code: arrival.code, retry: failures[arrival.code].retry, at: new Date(arrival.receivedAtMs), ...(arrival.cause === undefined ? {} : { cause: arrival.cause }) };
    // An upsert, because the same refusal may arrive on two connections at once.
    const stored = await this.#rows.findOneAndUpdate({ refusal }, {
      $setOnInsert: {
        ...row, seq: await this.#reserve(1), keys: [], state: 'failed', acknowledged: 'refused', at: new Date(arrival.receivedAtMs),
        body: seal.seal(arrival.body, aadOf(row, 'body')), meta: this.#sealFacts(row, arrival), ack: seal.seal(arrival.ack, aadOf(row, 'ack')),
        fence: 0, attempts: 0, failures: 0, failure,
      },
      $inc: { times: 1 },
    }, { upsert: true, returnDocument: 'after', projection: { _id: 1 }, ...durable });
    return stored?._id ?? id;
  }

  async #flush(arrivals: readonly Fresh[]): Promise<PromiseSettledResult<Receipt>[]> {
    if (await this.#isFull(arrivals.length)) throw new InboxBusy();
    const outcomes = new Array<PromiseSettledResult<Receipt>>(arrivals.length);
    const [known, usedControls, firstSeq] = await orUnavailable(Promise.all([
      this.#findByDedup(arrivals.map(({ dedup }) => dedup)),
      // A sender that never changes its control id would make this long; distinct walks the index by jumps.
      this.#rows.distinct('control', { control: { $in: arrivals.map(({ control }) => control) } }),
      this.#reserve(arrivals.length),
    ]));
    const usedControl = new Set(usedControls.map((token) => hexOf(token)));
    const first = new Map<string, number>();
    const twins: number[] = [];
    const fresh: number[] = [];
    arrivals.forEach((arrival, index) => {
      const token = arrival.dedup.toString('hex');
      if (known.has(token)) return;
      if (first.has(token)) return void twins.push(index);
      first.set(token, index);
      fresh.push(index);
    });
    // Rows of one flush are made only after their audit entries are durable: what cannot be audited is not taken.
    const rows = new Map<number, InboxRow>();
    const audited = await Promise.allSettled(fresh.map(async (index) => {
      const arrival = arrivals[index]!;
      const reused = usedControl.has(arrival.control.toString('hex')) || arrivals.some((other, at) => at < index && other.control.equals(arrival.control) && !other.dedup.equals(arrival.dedup));
      await this.#options.audit.record({ ...eventOf(arrival, arrival.messageId), interaction: 'message-received', outcome: '0', ...(reused ? { rule: 'control-id-reused' } : {}) });
      rows.set(index, this.#rowOf(arrival, firstSeq + index, reused));
    }));
    audited.forEach((result, at) => {
      if (result.status === 'rejected') outcomes[fresh[at]!] = { status: 'rejected', reason: auditUnavailable(result.reason) };
    });
    await this.#insert(arrivals, rows, outcomes);
    await Promise.all(arrivals.map(async (arrival, index) => {
      if (outcomes[index] !== undefined) return;
      const twin = twins.includes(index) ? outcomes[first.get(arrival.dedup.toString('hex'))!] : undefined;
      if (twin?.status === 'rejected') outcomes[index] = twin;
      else outcomes[index] = await settle(this.#repeated(arrival, twin === undefined ? known.get(arrival.dedup.toString('hex')) : undefined));
    }));
    return outcomes;
  }

  /** Inserts rows in the order of their `seq`; what another process inserted first is left to be answered as repeated. */
  async #insert(arrivals: readonly Fresh[], rows: ReadonlyMap<number, InboxRow>, outcomes: PromiseSettledResult<Receipt>[]): Promise<void> {
    const indexes = [...rows.keys()].sort((a, b) => a - b);
    if (indexes.length === 0) return;
    const failed = new Map<number, unknown>();
    try {
      await this.#rows.insertMany(indexes.map((index) => rows.get(index)!), { ordered: false, ...durable });
    } catch (error) {
      if (!(error instanceof mongoose.mongo.MongoBulkWriteError) || !Array.isArray(error.writeErrors) || error.writeErrors.length === 0) {
        indexes.forEach((index) => outcomes[index] = { status: 'rejected', reason: new InterlockError('unavailable', { cause: error }) });
        return;
      }
      for (const writeError of error.writeErrors as readonly mongo.WriteError[]) failed.set(indexes[writeError.index]!, writeError.code === 11000 ? undefined : writeError);
    }
    for (const index of indexes) {
      const cause = failed.get(index);
      if (cause !== undefined) outcomes[index] = { status: 'rejected', reason: new InterlockError('unavailable', { cause }) };
      else if (!failed.has(index)) outcomes[index] = { status: 'fulfilled', value: { kind: 'accepted', messageId: arrivals[index]!.messageId, ack: arrivals[index]!.ack } };
    }
    this.#backlog.count += indexes.length - failed.size;
    this.#options.onAccepted();
  }

  /** The stored acknowledgement of a message that is in already. */
  async #repeated(arrival: Fresh, known: InboxRow | undefined): Promise<Receipt> {
    const row = known ?? (await orUnavailable(this.#findByDedup([arrival.dedup]))).get(arrival.dedup.toString('hex'));
    if (row === undefined) throw new InterlockError('unavailable');
    try {
      await this.#options.audit.record({ ...eventOf(arrival, row._id), interaction: 'message-repeated', outcome: '0' });
    } catch (error) {
      throw auditUnavailable(error);
    }
    return { kind: 'repeated', messageId: row._id, ack: await this.#options.seal.open(row.ack, aadOf(row, 'ack')) };
  }

  async #findByDedup(tokens: readonly Buffer[]): Promise<Map<string, InboxRow>> {
    const rows = await this.#rows.find({ dedup: { $in: tokens } }, { projection: { channel: 1, ack: 1, dedup: 1 }, promoteBuffers: true, readConcern: 'majority' }).toArray();
    return new Map(rows.map((row) => [hexOf(row.dedup), row]));
  }

  /**
   * Reserves consecutive numbers. Not awaited to disk: whatever row uses a number comes later in the same log, so a
   * durable row implies a durable counter; and after a loss the clock is ahead of it.
   */
  async #reserve(count: number): Promise<number> {
    const floor = this.#options.clock.nowMs() * 1000;
    const counter = await this.#sequence.findOneAndUpdate({ _id: 'inbox' },
      [{ $set: { last: { $add: [{ $max: [floor, { $ifNull: ['$last', 0] }] }, count] } } }],
      { upsert: true, returnDocument: 'after', writeConcern: { w: 1 } });
    if (counter === null) throw new InterlockError('unavailable');
    return counter.last - count + 1;
  }

  #rowOf(arrival: Fresh, seq: number, reused: boolean): InboxRow {
    const { seal } = this.#options;
    const row = { _id: arrival.messageId, channel: arrival.channelId };
    const keys = keyTokens(seal, arrival.channelId, arrival.orderingKeys);
    return {
      ...row, seq, keys, dedup: arrival.dedup, control: arrival.control,
      state: 'received', acknowledged: 'accepted', at: new Date(arrival.receivedAtMs), live: true,
      body: seal.seal(arrival.body, aadOf(row, 'body')), meta: this.#sealFacts(row, arrival), ack: seal.seal(arrival.ack, aadOf(row, 'ack')),
      fence: 0, attempts: 0, failures: 0, ...(reused ? { flags: ['control-id-reused' as const] } : {}),
    };
  }

  #sealFacts(row: { readonly _id: string; readonly channel: string }, arrival: Arrival | RefusedArrival): Buffer {
    const facts: MessageFacts = {
      partner: arrival.partner, receivedAtMs: arrival.receivedAtMs,
      ...(arrival.controlId === undefined ? {} : { controlId: arrival.controlId }),
      ...(arrival.messageType === undefined ? {} : { messageType: arrival.messageType }),
      ...(arrival.attributes === undefined ? {} : { attributes: arrival.attributes }),
    };
    return this.#options.seal.seal(Buffer.from(JSON.stringify(facts)), aadOf(row, 'meta'));
  }

  async #isFull(more: number): Promise<boolean> {
    const nowMs = this.#options.clock.nowMs();
    if (Math.abs(nowMs - this.#backlog.atMs) > backlogFreshMs) {
      const count = await orUnavailable(this.#rows.countDocuments({ live: true }, { limit: this.#options.maxBacklog + 1 }));
      this.#backlog = { count, atMs: nowMs };
    }
    return this.#backlog.count + more > this.#options.maxBacklog;
  }
}

/** Keyed hashes of a message's ordering keys, sorted and distinct. Lanes of different channels are different lanes. */
export function keyTokens(seal: Seal, channelId: string, orderingKeys: readonly string[]): Buffer[] {
  return [...new Set(orderingKeys)].map((key) => seal.token(['order', channelId, key])).sort((a, b) => a.compare(b));
}

/** Keyed hashes that tell a message (`dedup`) and a control id (`control`) of a partner again. */
export function identityTokens(seal: Seal, channelId: string, partner: string, controlId: string, body: Buffer): { readonly dedup: Buffer; readonly control: Buffer } {
  const digest = createHash('sha256').update(body).digest('hex');
  return { dedup: seal.token(['message', channelId, partner, controlId, digest]), control: seal.token(['control', channelId, partner, controlId]) };
}

/** What the audit hears of a message. */
function eventOf(arrival: Arrival | RefusedArrival, messageId: string): Omit<ChannelAuditEvent, 'interaction' | 'outcome'> {
  return {
    channelId: arrival.channelId, partner: arrival.partner, messageId,
    ...(arrival.messageType === undefined ? {} : { messageType: arrival.messageType }),
    ...(arrival.controlId === undefined ? {} : { controlId: arrival.controlId }),
  };
}

function auditUnavailable(cause: unknown): InterlockError {
  return cause instanceof InterlockError ? cause : new InterlockError('audit-unavailable', { cause });
}

async function orUnavailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw cause instanceof InterlockError ? cause : new InterlockError('unavailable', { cause });
  }
}

async function settle<T>(work: Promise<T>): Promise<PromiseSettledResult<T>> {
  return (await Promise.allSettled([work]))[0];
}
