import { Worker } from 'node:worker_threads';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { ValidationJob, ValidationResult } from './validation-thread.ts';

const maxWaiting = 32;
/** What one validation may take; its own budget ends before, unless one expression alone takes longer. */
const jobTimeoutMs = 8_000;
const budgetMs = 5_000;
const idleTimeoutMs = 60_000;
const maxHeapMb = 768;

interface Job {
  readonly asked: Omit<ValidationJob, 'budgetMs'>;
  readonly resolve: (result: ValidationResult) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Validation against profiles in a thread of its own, one at a time: invariants may be a user's, and neither a slow one nor a
 * large Bundle may hold up anything else. A job that takes too long is ended with its thread; the next one gets a new thread.
 */
export class ProfileValidator {
  readonly #waiting: Job[] = [];
  #running: Job | undefined;
  #worker: Worker | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @throws InterlockError `throttled` while too much waits, `too-costly` if it takes too long */
  async validate(asked: Job['asked']): Promise<ValidationResult> {
    if (this.#waiting.length >= maxWaiting) throw new InterlockError('throttled', { retryAfterSeconds: 5 });
    return new Promise((resolve, reject) => {
      this.#waiting.push({ asked, resolve, reject });
      this.#next();
    });
  }

  #next(): void {
    if (this.#running !== undefined) return;
    clearTimeout(this.#timer);
    const job = this.#waiting.shift();
    this.#running = job;
    if (job === undefined) {
      this.#timer = setTimeout(() => this.#stop(), idleTimeoutMs);
      this.#timer.unref();
      return;
    }
    this.#worker ??= this.#start();
    this.#timer = setTimeout(() => this.#fail(), jobTimeoutMs);
    this.#worker.postMessage({ ...job.asked, budgetMs } satisfies ValidationJob);
  }

  #start(): Worker {
    const worker = new Worker(new URL('./validation-thread.ts', import.meta.url), { resourceLimits: { maxOldGenerationSizeMb: maxHeapMb }, execArgv: [] });
    worker.on('message', (result: ValidationResult) => {
      const job = this.#running;
      this.#running = undefined;
      job?.resolve(result);
      this.#next();
    });
    worker.on('error', (cause) => {
      if (this.#worker === worker) this.#fail(cause);
    });
    // Last: listening for messages would hold the process again.
    worker.unref();
    return worker;
  }

  /** The job took too much, time or memory: the thread goes with it. */
  #fail(cause?: unknown): void {
    const job = this.#running;
    this.#running = undefined;
    this.#stop();
    job?.reject(new InterlockError('too-costly', { detail: 'The validation took too long.', cause }));
    this.#next();
  }

  #stop(): void {
    const worker = this.#worker;
    this.#worker = undefined;
    void worker?.terminate();
  }
}
