/** What a throttle is told to do. */
export interface ThrottleOptions {
  /** Failures of one address within a window, after which it is refused until the window ends. */
  readonly maxFailures: number;
  readonly windowMs: number;
  readonly nowMs: () => number;
  /** Told at the end of a window how many requests of an address were refused unheard. */
  readonly onSuppressed: (address: string, count: number) => void;
}

interface Window {
  readonly endsAtMs: number;
  failures: number;
  suppressed: number;
}

const maxAddresses = 10_000;

/** Slows down guessing: an address that fails too often is refused for the rest of a fixed window. */
export class FailureThrottle {
  readonly #options: ThrottleOptions;
  readonly #windows = new Map<string, Window>();
  readonly #sweep: NodeJS.Timeout;

  constructor(options: ThrottleOptions) {
    this.#options = options;
    this.#sweep = setInterval(() => this.#closeEnded(), options.windowMs);
    this.#sweep.unref();
  }

  /** Seconds that an address must wait; undefined if it may go on. Being asked while it must wait is counted. */
  retryAfterS(address: string): number | undefined {
    const window = this.#current(address);
    if (window === undefined || window.failures < this.#options.maxFailures) return undefined;
    window.suppressed += 1;
    return Math.max(1, Math.ceil((window.endsAtMs - this.#options.nowMs()) / 1000));
  }

  /** Counts a failure of an address. */
  failed(address: string): void {
    let window = this.#current(address);
    if (window === undefined) {
      if (this.#windows.size >= maxAddresses) this.#close(this.#windows.keys().next().value!);
      window = { endsAtMs: this.#options.nowMs() + this.#options.windowMs, failures: 0, suppressed: 0 };
      this.#windows.set(address, window);
    }
    window.failures += 1;
  }

  /** Reports what is still open, and stops. */
  close(): void {
    clearInterval(this.#sweep);
    for (const address of [...this.#windows.keys()]) this.#close(address);
  }

  #current(address: string): Window | undefined {
    const window = this.#windows.get(address);
    if (window === undefined || window.endsAtMs > this.#options.nowMs()) return window;
    this.#close(address);
    return undefined;
  }

  #closeEnded(): void {
    for (const [address, { endsAtMs }] of this.#windows) if (endsAtMs <= this.#options.nowMs()) this.#close(address);
  }

  #close(address: string): void {
    const window = this.#windows.get(address);
    this.#windows.delete(address);
    if (window !== undefined && window.suppressed > 0) this.#options.onSuppressed(address, window.suppressed);
  }
}
