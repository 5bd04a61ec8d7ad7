export interface PersistentLoopOptions {
  /** Does what there is to do; whatever it throws, it is called again after a pause. */
  readonly work: (signal: AbortSignal) => Promise<void>;
  /** Told of the first of several failures. */
  readonly onFailing: (error: unknown) => void;
  /** First and longest pause after a failure: 1,000 and 300,000. */
  readonly firstRetryMs?: number;
  readonly maxRetryMs?: number;
}

/** Runs one piece of work at a time when there may be some, and again, with growing pauses and jitter, when it failed. */
export class PersistentLoop {
  readonly #options: PersistentLoopOptions;
  readonly #stop = new AbortController();
  #failures = 0;
  #failingSince: number | undefined;
  #again = false;
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PersistentLoopOptions) {
    this.#options = options;
  }

  /** Attempts that failed since the last that did not. */
  get failures(): number {
    return this.#failures;
  }

  /** How long it has been failing, milliseconds. */
  get failingMs(): number {
    return this.#failingSince === undefined ? 0 : performance.now() - this.#failingSince;
  }

  /** There may be work. While it pauses after a failure, the pause is kept. */
  notify(): void {
    if (this.#stop.signal.aborted || this.#timer !== undefined) return;
    this.#again = true;
    this.#running ??= this.#run().finally(() => (this.#running = undefined));
  }

  /** Tells that something got through: the next failure is a first one. */
  succeeded(): void {
    this.#failures = 0;
    this.#failingSince = undefined;
  }

  /** Aborts what is under way, and resolves when it has ended. */
  async close(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    const { work, onFailing, firstRetryMs = 1_000, maxRetryMs = 300_000 } = this.#options;
    try {
      while (this.#again && !this.#stop.signal.aborted) {
        this.#again = false;
        await work(this.#stop.signal);
        this.succeeded();
      }
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      if (this.#failures === 0) onFailing(error);
      this.#failingSince ??= performance.now();
      const delayMs = Math.min(firstRetryMs * 2 ** Math.min(this.#failures, 20), maxRetryMs) * (0.5 + Math.random() / 2);
      this.#failures += 1;
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.notify();
      }, delayMs).unref();
    }
  }
}
