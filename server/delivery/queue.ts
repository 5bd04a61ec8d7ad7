import type { Connection, mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import { isDuplicateKey } from '../mongo/errors.ts';
import type { Log } from '../observe/log.ts';
import { errnoCode } from '../pki/files.ts';
import { PersistentLoop } from './persistent-loop.ts';

/** Where notices go. */
export interface Target {
  readonly name: string;
  /** Resolves when the other side has it; anything else means once more. */
  send(notice: Notice, signal: AbortSignal): Promise<void>;
}

export interface Notice {
  /** Stays the same when it is sent again. */
  readonly id: string;
  readonly body: string;
}

export interface DeliveryOptions {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly log: Log;
  readonly targets: readonly Target[];
  readonly nowMs: () => number;
  /** Told when notices were given up because they were too old. */
  readonly onDead?: (target: string, count: number) => void;
  /** Notices that may wait for one target: 10,000. */
  readonly maxWaiting?: number;
  /** Age at which a notice is given up: 24 hours. */
  readonly maxAgeMs?: number;
  /** See {@link PersistentLoop}. */
  readonly firstRetryMs?: number;
  readonly maxRetryMs?: number;
}

/** A target's queue as operators see it. */
export interface DeliveryStatus {
  readonly target: string;
  readonly waiting: number;
  readonly oldestAt?: Date;
  /** Attempts that failed since the last that did not. */
  readonly failures: number;
}

interface Row {
  /** `<target>:<number>`: their order. */
  readonly _id: string;
  readonly target: string;
  readonly at: Date;
  readonly sealed: Buffer;
  readonly state: 'waiting' | 'dead';
  readonly purgeAt?: Date;
}

const writeConcern = { w: 'majority', j: true } as const;
const rowsPerTurn = 50;
const deadKeptMs = 30 * 86_400_000;
const hourMs = 3600_000;

/** Keeps notices, sealed, until their targets have them: each at least once, those of one target in their order. */
export class DeliveryQueue {
  readonly #lanes: ReadonlyMap<string, Lane>;

  private constructor(lanes: readonly Lane[]) {
    this.#lanes = new Map(lanes.map((lane) => [lane.target.name, lane]));
  }

  /** Takes up what waits. What waits for targets that are no longer there is given up when it is old. */
  static async open(options: DeliveryOptions): Promise<DeliveryQueue> {
    const rows = options.app.collection<Row>('deliveries');
    const names = options.targets.map(({ name }) => name);
    const abandoned = { state: 'waiting', target: { $nin: names }, at: { $lt: new Date(options.nowMs() - (options.maxAgeMs ?? 24 * hourMs)) } } as const;
    await rows.updateMany(abandoned, { $set: { state: 'dead', purgeAt: new Date(options.nowMs() + deadKeptMs) } }, { writeConcern });
    const lanes = options.targets.map((target) => new Lane(options, rows, target));
    for (const lane of lanes) await lane.open();
    return new DeliveryQueue(lanes);
  }

  /** Names of the targets. */
  get targets(): readonly string[] {
    return [...this.#lanes.keys()];
  }

  /** Keeps a notice; durable when this resolves. @throws InterlockError `not-found` for an unknown target, `unavailable` if too many wait */
  async enqueue(target: string, body: string): Promise<void> {
    const lane = this.#lanes.get(target);
    if (lane === undefined) throw new InterlockError('not-found');
    await lane.enqueue(body);
  }

  /** Sends one notice at once, past the queue. @throws InterlockError `unavailable`, `not-found` */
  async sendNow(target: string, notice: Notice): Promise<void> {
    const lane = this.#lanes.get(target);
    if (lane === undefined) throw new InterlockError('not-found');
    await lane.target.send(notice, AbortSignal.timeout(15_000));
  }

  async status(): Promise<DeliveryStatus[]> {
    return Promise.all([...this.#lanes.values()].map((lane) => lane.status()));
  }

  /** Resolves when what is under way has ended; the rest waits for the next start. */
  async close(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map((lane) => lane.close()));
  }
}

class Lane {
  readonly target: Target;
  readonly #options: DeliveryOptions;
  readonly #rows: mongo.Collection<Row>;
  readonly #loop: PersistentLoop;
  #last = 0;
  #waiting = 0;

  constructor(options: DeliveryOptions, rows: mongo.Collection<Row>, target: Target) {
    this.#options = options;
    this.#rows = rows;
    this.target = target;
    this.#loop = new PersistentLoop({ ...options, work: (signal) => this.#drain(signal), onFailing: (error) => options.log.error('a notice was not delivered', { state: target.name, errorName: failureName(error) }) });
  }

  async open(): Promise<void> {
    const [newest] = await this.#rows.find({ target: this.target.name }, { sort: { _id: -1 }, limit: 1, projection: { _id: 1 } }).toArray();
    this.#last = Number(newest?._id.split(':').at(-1) ?? 0);
    this.#waiting = await this.#rows.countDocuments({ target: this.target.name, state: 'waiting' });
    if (this.#waiting > 0) this.#loop.notify();
  }

  async enqueue(body: string): Promise<void> {
    if (this.#waiting >= (this.#options.maxWaiting ?? 10_000)) throw new InterlockError('unavailable', { detail: 'Too many notices wait.' });
    this.#waiting += 1;
    try {
      await this.#insert(body);
    } catch (cause) {
      this.#waiting -= 1;
      throw cause;
    }
    this.#loop.notify();
  }

  async status(): Promise<DeliveryStatus> {
    const [oldest] = await this.#rows.find({ target: this.target.name, state: 'waiting' }, { sort: { _id: 1 }, limit: 1, projection: { at: 1 } }).toArray();
    return { target: this.target.name, waiting: this.#waiting, ...(oldest === undefined ? {} : { oldestAt: oldest.at }), failures: this.#loop.failures };
  }

  async close(): Promise<void> {
    await this.#loop.close();
  }

  async #insert(body: string): Promise<void> {
    const { keyring, nowMs } = this.#options;
    const target = this.target.name;
    for (;;) {
      // Grows with the clock, so that it does not begin anew when all rows are gone.
      this.#last = Math.max(this.#last + 1, Math.trunc(nowMs()) * 1000);
      const _id = `${target}:${String(this.#last).padStart(17, '0')}`;
      try {
        await this.#rows.insertOne({ _id, target, at: new Date(nowMs()), state: 'waiting', sealed: keyring.sealBlob('alert', Buffer.from(body), `delivery|${_id}`) }, { writeConcern });
        return;
      } catch (cause) {
        if (!isDuplicateKey(cause)) throw cause;
      }
    }
  }

  async #drain(signal: AbortSignal): Promise<void> {
    for (let more = true; more && !signal.aborted; ) {
      await this.#giveUp();
      const due = await this.#rows.find({ target: this.target.name, state: 'waiting' }, { sort: { _id: 1 }, limit: rowsPerTurn, promoteBuffers: true }).toArray();
      for (const { _id, sealed } of due) {
        signal.throwIfAborted();
        const body = (await this.#options.keyring.openBlob('alert', sealed, `delivery|${_id}`)).toString();
        await this.target.send({ id: _id, body }, signal);
        await this.#rows.deleteOne({ _id }, { writeConcern });
        this.#waiting -= 1;
        this.#loop.succeeded();
      }
      more = due.length === rowsPerTurn;
    }
  }

  async #giveUp(): Promise<void> {
    const { nowMs, maxAgeMs = 24 * hourMs, onDead } = this.#options;
    const old = { target: this.target.name, state: 'waiting', at: { $lt: new Date(nowMs() - maxAgeMs) } } as const;
    const { modifiedCount } = await this.#rows.updateMany(old, { $set: { state: 'dead', purgeAt: new Date(nowMs() + deadKeptMs) } }, { writeConcern });
    if (modifiedCount === 0) return;
    this.#waiting -= modifiedCount;
    onDead?.(this.target.name, modifiedCount);
  }
}

/** A word about why something failed, free of addresses. */
export function failureName(error: unknown): string {
  const cause = error instanceof InterlockError ? (error.cause ?? error) : error;
  return errnoCode(cause) || (cause instanceof InterlockError ? (cause.options.detail ?? cause.code) : cause instanceof Error ? cause.message : 'unknown');
}
