import type { mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Log } from '../observe/log.ts';
import { noBlock, sealBlock, windowMs, type Block, type BlockEntry, type Head } from './block.ts';
import { insertBlocks } from './insert.ts';
import { timeOfId } from './entry.ts';

/** Bounds of the writer, each with its default. */
export interface FlushOptions {
  /** How long an append waits for its flush before it is refused: 5,000. */
  readonly appendTimeoutMs?: number;
  /** How long one attempt to write may take before it counts as failed: 2,000. */
  readonly attemptTimeoutMs?: number;
  /** Longest pause between attempts: 1,000. */
  readonly maxRetryDelayMs?: number;
  /** Entries that may wait: 20,000. */
  readonly maxQueuedEntries?: number;
  /** Bytes that may wait: 64 MiB. */
  readonly maxQueuedBytes?: number;
  /** Size at which a block is closed: 1 MiB. */
  readonly maxBlockBytes?: number;
}

export interface WriterOptions extends FlushOptions {
  readonly db: mongo.Db;
  readonly collection: mongo.Collection<Block>;
  readonly stream: string;
  readonly tenant: string;
  readonly keyring: Keyring;
  readonly log: Log;
  readonly nowMs: () => number;
  /** Called once if somebody else wrote this stream: the process must stop. */
  readonly onFenced: () => void;
}

interface Waiter {
  remaining: number;
  readonly committed: boolean;
  settled: boolean;
  readonly resolve: () => void;
  readonly reject: (error: InterlockError) => void;
  timer?: NodeJS.Timeout;
}

interface Queued {
  readonly entry: BlockEntry;
  readonly bytes: number;
  readonly waiter: Waiter;
}

/** Entries of one flush; the rest shares the next. */
const maxFlushEntries = 5_000;
const maxFlushBytes = 8 * 2 ** 20;
// Entries of committed writes may exceed the queue this far; beyond it the process must stop and let the sweep repair.
const committedExcess = 4;
const idAndTokensBytes = 150;
/** Longest wait of a flush for requests that are under way. */
const lingerMs = 1;

/**
 * Writes one stream: one flush in flight, and all that arrives meanwhile shares the next. A block that was given its
 * number is written until it is durable, whatever happens to the request that waits for it.
 */
export class BlockWriter {
  readonly #options: WriterOptions;
  readonly #limits: Required<FlushOptions>;
  #queue: Queued[] = [];
  #queuedBytes = 0;
  // Blocks are chained as they are sealed, before they are durable.
  #sealed: Head | undefined;
  #durable: Head | undefined;
  #lastAtMs = 0;
  #running: Promise<void> | undefined;
  // Requests under way that will append, and those of them whose entries are queued.
  #expected = 0;
  #waiters = 0;
  #gathered: (() => void) | undefined;
  #failing = false;
  #owed = 0;
  #stopped: 'fenced' | 'closed' | undefined;
  #closing = false;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#limits = {
      appendTimeoutMs: options.appendTimeoutMs ?? 5_000,
      attemptTimeoutMs: options.attemptTimeoutMs ?? 2_000,
      maxRetryDelayMs: options.maxRetryDelayMs ?? 1_000,
      maxQueuedEntries: options.maxQueuedEntries ?? 20_000,
      maxQueuedBytes: options.maxQueuedBytes ?? 64 * 2 ** 20,
      maxBlockBytes: options.maxBlockBytes ?? 2 ** 20,
    };
  }

  /** The last durable block of this stream. */
  get head(): Head | undefined {
    return this.#durable;
  }

  /** Writes the stream's opening block. @throws InterlockError `audit-unavailable` if that fails or the stream exists already */
  async open(heads: readonly Head[]): Promise<void> {
    const block = this.#seal([], heads);
    const deadlineMs = Date.now() + this.#limits.appendTimeoutMs;
    if (!(await this.#insert([block], () => Date.now() < deadlineMs))) throw new InterlockError('audit-unavailable');
  }

  /** Throws `audit-unavailable` while nothing, or not everything that was committed, can be written. */
  assertAvailable(): void {
    if (this.#stopped !== undefined || this.#closing || this.#failing || this.#owed > 0 || this.#full(0, 0)) throw new InterlockError('audit-unavailable');
  }

  /**
   * Queues entries and waits until they are durable.
   * @param committed their writes have happened: they are kept and retried even after this was refused
   * @throws InterlockError `audit-unavailable`, or `outcome-unknown` if `committed`
   */
  async append(entries: readonly BlockEntry[], committed: boolean): Promise<void> {
    if (entries.length === 0) return;
    const bytes = entries.reduce((sum, entry) => sum + sizeOf(entry), 0);
    if (this.#stopped !== undefined || this.#closing) throw refusal(committed);
    if (committed ? this.#full(0, 0, committedExcess) : this.#full(entries.length, bytes)) {
      if (committed) this.#stop('fenced', 'audit backlog cannot be held');
      throw refusal(committed);
    }
    await new Promise<void>((resolve, reject) => {
      const waiter: Waiter = { remaining: entries.length, committed, settled: false, resolve, reject };
      waiter.timer = setTimeout(() => this.#give(waiter), this.#limits.appendTimeoutMs);
      for (const entry of entries) this.#queue.push({ entry, bytes: sizeOf(entry), waiter });
      this.#queuedBytes += bytes;
      this.#waiters += 1;
      if (!this.#isComing()) this.#gathered?.();
      this.#start();
    });
  }

  /** See `AuditTrail.expecting`. */
  async expecting<T>(work: () => Promise<T>): Promise<T> {
    this.#expected += 1;
    try {
      return await work();
    } finally {
      this.#expected -= 1;
      if (!this.#isComing()) this.#gathered?.();
    }
  }

  /** Refuses what comes from now on, writes what is queued, and stops; after `timeoutMs` it stops anyway. @returns true if everything is durable */
  async close(timeoutMs: number): Promise<boolean> {
    this.#closing = true;
    const timer = new AbortController();
    await Promise.race([this.#running ?? Promise.resolve(), sleep(timeoutMs, timer.signal)]);
    timer.abort();
    const drained = this.#running === undefined && this.#queue.length === 0;
    this.#stop('closed', 'audit writer closed');
    return drained;
  }

  #full(entries: number, bytes: number, excess = 1): boolean {
    // One append that is larger than the queue passes if the queue is empty: the bound is on what waits.
    if (this.#queue.length === 0) return false;
    return this.#queue.length + entries > this.#limits.maxQueuedEntries * excess || this.#queuedBytes + bytes > this.#limits.maxQueuedBytes * excess;
  }

  #start(): void {
    if (this.#running !== undefined) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (this.#queue.length > 0 && this.#stopped === undefined) this.#start();
    });
  }

  async #run(): Promise<void> {
    // Lets everything that arrives in the same turn share the first flush.
    await new Promise(setImmediate);
    while (this.#queue.length > 0 && this.#stopped === undefined) {
      await this.#gather();
      if (this.#queue.length === 0 || this.#stopped !== undefined) break;
      const batch = this.#take();
      const blocks = this.#split(batch).map((part) => this.#seal(part.map((queued) => queued.entry)));
      if (!(await this.#insert(blocks, () => this.#stopped === undefined))) return;
      for (const queued of batch) this.#done(queued.waiter);
    }
  }

  /** Waits a moment for requests that are under way, so that they share the flush. */
  async #gather(): Promise<void> {
    if (!this.#isComing()) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, lingerMs);
      this.#gathered = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#gathered = undefined;
  }

  #isComing(): boolean {
    return this.#expected > this.#waiters;
  }

  #take(): Queued[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && count < maxFlushEntries && (count === 0 || bytes + this.#queue[count]!.bytes <= maxFlushBytes)) {
      bytes += this.#queue[count]!.bytes;
      count += 1;
    }
    const batch = this.#queue.slice(0, count);
    this.#queue = this.#queue.slice(count);
    this.#queuedBytes -= bytes;
    this.#waiters = 0;
    return batch;
  }

  /** Blocks are bounded in size and in the time that they span, so that a search by time knows where to look. */
  #split(batch: readonly Queued[]): Queued[][] {
    const sorted = [...batch].sort((a, b) => Buffer.compare(a.entry.i, b.entry.i));
    const parts: Queued[][] = [];
    let part: Queued[] = [];
    let bytes = 0;
    for (const queued of sorted) {
      const first = part[0];
      const apart = first !== undefined && timeOfId(queued.entry.i) - timeOfId(first.entry.i) > windowMs;
      if (first !== undefined && (apart || bytes + queued.bytes > this.#limits.maxBlockBytes)) {
        parts.push(part);
        part = [];
        bytes = 0;
      }
      part.push(queued);
      bytes += queued.bytes;
    }
    parts.push(part);
    return parts;
  }

  #seal(entries: readonly BlockEntry[], heads?: readonly Head[]): Block {
    const { stream, tenant, keyring, nowMs } = this.#options;
    this.#lastAtMs = Math.max(this.#lastAtMs, Math.trunc(nowMs()));
    const at = new Date(this.#lastAtMs);
    const last = entries.at(-1);
    const n = this.#sealed === undefined ? 0 : this.#sealed.n + 1;
    const prev = this.#sealed?.hash ?? noBlock;
    const to = last === undefined ? at : new Date(timeOfId(last.i));
    const block = sealBlock(keyring, tenant, { stream, n, at, to, e: entries, prev, ...(heads === undefined ? {} : { heads }) });
    this.#sealed = { stream, n, hash: block.hash };
    return block;
  }

  async #insert(blocks: readonly Block[], goOn: () => boolean): Promise<boolean> {
    const { db, collection, log } = this.#options;
    const outcome = await insertBlocks({
      db,
      collection,
      blocks,
      attemptTimeoutMs: this.#limits.attemptTimeoutMs,
      maxRetryDelayMs: this.#limits.maxRetryDelayMs,
      goOn,
      onFailure: (attempt, errorName) => {
        if (!this.#failing) log.error('audit store cannot be written', { attempt, errorName });
        this.#failing = true;
      },
    });
    if (outcome === 'durable') {
      if (this.#failing) log.info('audit store can be written again');
      this.#failing = false;
      this.#durable = this.#sealed;
      return true;
    }
    if (outcome === 'foreign') this.#stop('fenced', 'audit stream written by another process');
    return false;
  }

  #done(waiter: Waiter): void {
    waiter.remaining -= 1;
    if (waiter.settled) {
      if (waiter.committed) this.#owed -= 1;
      return;
    }
    if (waiter.remaining > 0) return;
    waiter.settled = true;
    clearTimeout(waiter.timer);
    waiter.resolve();
  }

  /** Answers a waiter that waited too long. Its entries stay: a recorded read that was never delivered is fine. */
  #give(waiter: Waiter): void {
    if (waiter.settled) return;
    waiter.settled = true;
    clearTimeout(waiter.timer);
    if (waiter.committed) this.#owed += waiter.remaining;
    waiter.reject(refusal(waiter.committed));
  }

  #stop(why: 'fenced' | 'closed', event: string): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = why;
    for (const { waiter } of this.#queue) this.#give(waiter);
    this.#queue = [];
    this.#queuedBytes = 0;
    if (why === 'closed') return;
    this.#options.log.error(event);
    this.#options.onFenced();
  }
}

function sizeOf(entry: BlockEntry): number {
  return entry.b.length + entry.x.length * 20 + idAndTokensBytes;
}

function refusal(committed: boolean): InterlockError {
  return new InterlockError(committed ? 'outcome-unknown' : 'audit-unavailable');
}

function sleep(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, durationMs);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
