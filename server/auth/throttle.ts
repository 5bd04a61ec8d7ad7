interface Window {
  readonly endsAtMs: number;
  failures: number;
}

const maxAddresses = 10_000;

/** Slows down guessing: an address that fails too often is refused for the rest of a fixed window. */
export class FailureThrottle {
  readonly #maxFailures: number;
  readonly #windowMs: number;
  readonly #nowMs: () => number;
  // In the order of their ends, since all windows are equally long.
  readonly #windows = new Map<string, Window>();

  constructor(options: { readonly maxFailures: number; readonly windowMs: number; readonly nowMs: () => number }) {
    this.#maxFailures = options.maxFailures;
    this.#windowMs = options.windowMs;
    this.#nowMs = options.nowMs;
  }

  /** Seconds that an address must wait; undefined if it may go on. */
  retryAfterS(address: string): number | undefined {
    const window = this.#current(address);
    if (window === undefined || window.failures < this.#maxFailures) return undefined;
    return Math.max(1, Math.ceil((window.endsAtMs - this.#nowMs()) / 1000));
  }

  /** Counts a failure of an address. */
  failed(address: string): void {
    let window = this.#current(address);
    if (window === undefined) {
      if (this.#windows.size >= maxAddresses) this.#windows.delete(this.#windows.keys().next().value!);
      window = { endsAtMs: this.#nowMs() + this.#windowMs, failures: 0 };
      this.#windows.set(address, window);
    }
    window.failures += 1;
  }

  #current(address: string): Window | undefined {
    const window = this.#windows.get(address);
    if (window === undefined || window.endsAtMs > this.#nowMs()) return window;
    this.#windows.delete(address);
    return undefined;
  }
}
