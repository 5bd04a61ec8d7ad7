import { randomBytes, randomInt } from 'node:crypto';
import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Log } from '../observe/log.ts';
import { firstOrderAt, maxNodes, RecordingClock } from './clock.ts';
import { majority } from './driver.ts';
import { isDuplicateKey } from '../mongo/errors.ts';

/** The lease of a writing process, as MongoDB holds it. Times are MongoDB's own, so that processes' clocks do not matter. */
export interface EpochDocument {
  readonly _id: string;
  /** Number of the process in orders of recording; no two live epochs share it. */
  readonly node: number;
  readonly live: boolean;
  readonly beatAt: Date;
  /** No write of this epoch below this order is still in flight. */
  readonly floor: bigint;
  /** The audit entries of all its writes below this order are durable. */
  readonly auditedBelow: bigint;
  /** Of an ended epoch: how often it was swept, when to do it next, and when that was no longer needed. */
  readonly sweeps?: number;
  readonly nextSweepAt?: Date;
  readonly doneAt?: Date;
}

export interface EpochOptions {
  readonly app: Connection;
  readonly log: Log;
  readonly nowMs?: () => number;
  /** A process that has not been heard of for so long is fenced. */
  readonly leaseMs?: number;
}

interface Lease {
  readonly id: string;
  readonly clock: RecordingClock;
  /** Orders given out and not yet settled, rising. */
  readonly inFlight: Set<bigint>;
  /** Orders of writes whose audit entries are not yet known to be durable, rising. */
  readonly unaudited: Set<bigint>;
}

const defaultLeaseMs = 15_000;
const overdueMs = 120_000;
const maxUncertain = 10_000;

/**
 * This process's epoch: gives out orders of recording, and keeps account of which writes are in flight and which have
 * their audit entry, so that after a crash any other process can find those that lack it. Fenced by another process, it
 * goes on under a new lease.
 */
export class Epoch {
  readonly leaseMs: number;
  readonly #app: Connection;
  readonly #log: Log;
  readonly #nowMs: () => number;
  readonly #uncertain = new Map<bigint, string>();
  #lease: Lease;
  #beatAtMs = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #beating: Promise<void> | undefined;

  private constructor(options: EpochOptions, lease: Lease) {
    this.leaseMs = options.leaseMs ?? defaultLeaseMs;
    this.#app = options.app;
    this.#log = options.log;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#lease = lease;
  }

  /** Takes a lease and keeps it until {@link close}. @throws InterlockError `unavailable` if no node number is free */
  static async open(options: EpochOptions): Promise<Epoch> {
    const epoch = new Epoch(options, await takeLease(options));
    epoch.#timer = setInterval(() => void epoch.beat().catch(() => undefined), epoch.leaseMs / 6);
    epoch.#timer.unref();
    return epoch;
  }

  get id(): string {
    return this.#lease.id;
  }

  /**
   * Gives out the order of a write that starts now. It must be settled.
   * @throws InterlockError `unavailable` while the lease cannot be kept
   */
  begin(atLeastMs = 0): bigint {
    if (performance.now() - this.#beatAtMs > this.leaseMs * 0.8) throw new InterlockError('unavailable', { retryAfterSeconds: 1 });
    const order = this.#lease.clock.next(atLeastMs);
    this.#lease.inFlight.add(order);
    this.#lease.unaudited.add(order);
    return order;
  }

  /** The write did not happen. */
  abandoned(order: bigint): void {
    this.#lease.inFlight.delete(order);
    this.#lease.unaudited.delete(order);
  }

  /** The write is committed; its audit entry is still to come. */
  committed(order: bigint): void {
    this.#lease.inFlight.delete(order);
  }

  /** Nobody knows whether the write happened: the next repair finds out. It stays in flight until then. */
  uncertain(order: bigint): void {
    if (this.#uncertain.size < maxUncertain) this.#uncertain.set(order, this.#lease.id);
  }

  /** The audit entry of a write is durable. */
  audited(order: bigint): void {
    this.#lease.unaudited.delete(order);
  }

  /** Writes of this process of which the outcome is unknown, or whose audit entries are overdue, with their epochs. */
  unsettled(): readonly (readonly [order: bigint, epoch: string])[] {
    const overdue = firstOrderAt(this.#nowMs() - overdueMs);
    const { id, inFlight, unaudited } = this.#lease;
    const late = [...unaudited].filter((order) => order < overdue && !inFlight.has(order)).map((order) => [order, id] as const);
    return [...this.#uncertain, ...late];
  }

  /** The outcome of these writes was found out and their audit entries exist. */
  resolved(orders: readonly bigint[]): void {
    for (const order of orders) {
      this.#uncertain.delete(order);
      this.abandoned(order);
    }
  }

  /** The order below which no write of any live process is still in flight. */
  async floor(): Promise<bigint> {
    const others = await this.#app.collection<EpochDocument>('epochs').find({ live: true, _id: { $ne: this.#lease.id } }, { projection: { floor: 1 }, useBigInt64: true }).toArray();
    return others.reduce((lowest, { floor }) => (floor < lowest ? floor : lowest), this.#ownFloor());
  }

  /** Renews the lease; takes a new one if another process fenced this one. */
  beat(): Promise<void> {
    this.#beating ??= this.#beat().finally(() => (this.#beating = undefined));
    return this.#beating;
  }

  /** Ends the epoch. What still lacks its audit entry is left to the next sweep. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#beating?.catch(() => undefined);
    const clean = this.#lease.inFlight.size === 0 && this.#lease.unaudited.size === 0 && this.#uncertain.size === 0;
    await this.#app.collection<EpochDocument>('epochs').updateOne(
      { _id: this.#lease.id, live: true },
      [{ $set: { live: false, floor: this.#ownFloor(), auditedBelow: this.#auditedBelow(), sweeps: 0, nextSweepAt: '$$NOW', ...(clean ? { doneAt: '$$NOW' } : {}) } }],
      { writeConcern: majority },
    );
  }

  async #beat(): Promise<void> {
    const startedAtMs = performance.now();
    const renewed = await this.#app.collection<EpochDocument>('epochs').updateOne(
      { _id: this.#lease.id, live: true },
      [{ $set: { beatAt: '$$NOW', floor: this.#ownFloor(), auditedBelow: this.#auditedBelow() } }],
      { writeConcern: majority },
    );
    if (renewed.matchedCount === 0) {
      this.#log.warn('This process was taken for dead and fenced; going on under a new epoch', { epoch: this.#lease.id });
      this.#lease = await takeLease({ app: this.#app, log: this.#log, nowMs: this.#nowMs });
    }
    this.#beatAtMs = startedAtMs;
  }

  #ownFloor(): bigint {
    return firstOf(this.#lease.inFlight) ?? this.#lease.clock.floor();
  }

  #auditedBelow(): bigint {
    return firstOf(this.#lease.unaudited) ?? this.#lease.clock.floor();
  }
}

function firstOf(orders: ReadonlySet<bigint>): bigint | undefined {
  for (const order of orders) return order;
  return undefined;
}

async function takeLease({ app, nowMs }: EpochOptions): Promise<Lease> {
  const id = randomBytes(9).toString('base64url');
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const node = randomInt(maxNodes);
    const clock = new RecordingClock(node, nowMs);
    try {
      await app.collection<EpochDocument>('epochs').updateOne(
        { _id: id },
        [{ $set: { node, live: true, beatAt: '$$NOW', floor: clock.floor(), auditedBelow: clock.floor() } }],
        { upsert: true, writeConcern: majority },
      );
      return { id, clock, inFlight: new Set(), unaudited: new Set() };
    } catch (cause) {
      if (!isDuplicateKey(cause)) throw cause;
    }
  }
  throw new InterlockError('unavailable', { detail: 'Too many processes hold an epoch.' });
}
