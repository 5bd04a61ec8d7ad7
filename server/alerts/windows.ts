const maxSubjects = 20_000;

/** Counts events within a sliding window, by subject. Holds at most `threshold` times per subject. */
export class EventWindow {
  readonly #threshold: number;
  readonly #windowMs: number;
  readonly #times = new Map<string, number[]>();
  readonly #totals = new Map<string, number>();

  constructor(threshold: number, windowMs: number) {
    this.#threshold = threshold;
    this.#windowMs = windowMs;
  }

  /** @returns how many there were, as soon as they are enough; before that undefined */
  add(subject: string, atMs: number, count: number): number | undefined {
    const times = (this.#times.get(subject) ?? []).filter((time) => time > atMs - this.#windowMs);
    if (times.length === 0) this.#totals.delete(subject);
    for (let n = Math.min(count, this.#threshold); n > 0; n -= 1) times.push(atMs);
    // Replays after a restart may come out of order.
    times.sort((a, b) => a - b);
    const total = (this.#totals.get(subject) ?? 0) + count;
    bounded(this.#times, subject, times.slice(-this.#threshold));
    bounded(this.#totals, subject, total);
    return times.length >= this.#threshold ? Math.max(total, times.length) : undefined;
  }
}

/** Counts different things within a sliding window, by subject. Holds at most `threshold` of them per subject. */
export class DistinctWindow {
  readonly #threshold: number;
  readonly #windowMs: number;
  readonly #seen = new Map<string, Map<string, number>>();
  readonly #beyond = new Map<string, number>();

  constructor(threshold: number, windowMs: number) {
    this.#threshold = threshold;
    this.#windowMs = windowMs;
  }

  /** @returns how many there were, as soon as they are enough and whenever there is one more; else undefined */
  add(subject: string, atMs: number, things: readonly string[]): number | undefined {
    const seen = this.#seen.get(subject) ?? new Map<string, number>();
    bounded(this.#seen, subject, seen);
    let isNew = false;
    for (const thing of things) {
      // The latest is last, so that the oldest leaves first.
      if (!seen.delete(thing)) isNew = true;
      seen.set(thing, atMs);
      if (seen.size > this.#threshold) {
        seen.delete(seen.keys().next().value!);
        bounded(this.#beyond, subject, (this.#beyond.get(subject) ?? 0) + 1);
      }
    }
    for (const [thing, time] of seen) {
      if (time > atMs - this.#windowMs) break;
      seen.delete(thing);
    }
    if (seen.size < this.#threshold) {
      this.#beyond.delete(subject);
      return undefined;
    }
    return isNew ? seen.size + (this.#beyond.get(subject) ?? 0) : undefined;
  }
}

/** Sets a value as the newest; the oldest make room. */
export function bounded<V>(map: Map<string, V>, key: string, value: V, max = maxSubjects): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > max) map.delete(map.keys().next().value!);
}
