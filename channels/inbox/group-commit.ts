/** Thrown by {@link GroupCommit.add} when as much waits as may wait. */
export class QueueFull extends Error {
  override readonly name = 'QueueFull';
}

export interface GroupCommitOptions<Item, Result> {
  /** Makes items durable together; one outcome per item, in order. A rejection is every item's. */
  readonly flush: (items: readonly Item[]) => Promise<readonly PromiseSettledResult<Result>[]>;
  readonly bytesOf: (item: Item) => number;
  /** Bounds of one flush. */
  readonly maxItems: number;
  readonly maxBytes: number;
  /** Bounds of what may wait for the next ones. */
  readonly maxWaiting: number;
  readonly maxWaitingBytes: number;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** Group commit: one flush is under way at a time, and what arrives meanwhile shares the next. */
export class GroupCommit<Item, Result> {
  readonly #options: GroupCommitOptions<Item, Result>;
  #waiting: Waiting<Item, Result>[] = [];
  #waitingBytes = 0;
  #flushing = false;

  constructor(options: GroupCommitOptions<Item, Result>) {
    this.#options = options;
  }

  /** Resolves when the item is durable. @throws QueueFull */
  add(item: Item): Promise<Result> {
    const bytes = this.#options.bytesOf(item);
    if (this.#waiting.length >= this.#options.maxWaiting || this.#waitingBytes + bytes > this.#options.maxWaitingBytes) return Promise.reject(new QueueFull());
    return new Promise<Result>((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#waitingBytes += bytes;
      if (!this.#flushing) {
        this.#flushing = true;
        // Started a turn later, so that whatever one read of the network delivers goes together.
        setImmediate(() => void this.#run());
      }
    });
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch();
      try {
        const outcomes = await this.#options.flush(batch.map(({ item }) => item));
        batch.forEach(({ resolve, reject }, index) => {
          const outcome = outcomes[index];
          if (outcome?.status === 'fulfilled') resolve(outcome.value);
          else reject(outcome?.reason ?? new Error('A flush gave no outcome.'));
        });
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#flushing = false;
  }

  #takeBatch(): Waiting<Item, Result>[] {
    let bytes = 0;
    let count = 0;
    for (const { item } of this.#waiting) {
      const size = this.#options.bytesOf(item);
      if (count > 0 && (count >= this.#options.maxItems || bytes + size > this.#options.maxBytes)) break;
      count += 1;
      bytes += size;
    }
    const batch = this.#waiting.slice(0, count);
    this.#waiting = this.#waiting.slice(count);
    this.#waitingBytes -= bytes;
    return batch;
  }
}
