import { InterlockError } from '../../resources/outcome/error.ts';

/*
 * Layout of an order, most significant first: 42 bits milliseconds since 1970 (until 2109), 9 bits node, 12 bits counter;
 * 63 bits, so that MongoDB's signed 64-bit integers sort alike.
 */
const nodeBits = 9n;
const counterBits = 12n;
const lowBits = nodeBits + counterBits;
const countersPerMs = 1 << Number(counterBits);

/** Processes that can write at the same time. */
export const maxNodes = 1 << Number(nodeBits);

/** How far a version's time may be ahead of this process's clock before writes are refused. */
const maxAheadMs = 60_000;

/**
 * Hybrid logical clock (https://cse.buffalo.edu/tech-reports/2014-04.pdf): unique over all processes with different nodes,
 * strictly rising within one, never behind the wall clock, and past any time it is told of.
 */
export class RecordingClock {
  readonly #node: bigint;
  readonly #nowMs: () => number;
  #ms = 0;
  #counter = 0;

  /** @param node this process's number, below {@link maxNodes}, that no other live process has */
  constructor(node: number, nowMs: () => number = Date.now) {
    if (!(node >= 0 && node < maxNodes)) throw new RangeError('node out of range');
    this.#node = BigInt(node) << counterBits;
    this.#nowMs = nowMs;
  }

  /**
   * The next order.
   * @param atLeastMs earliest time that it may stand for
   * @throws InterlockError `unavailable` if that is too far ahead of this process's clock
   */
  next(atLeastMs = 0): bigint {
    const nowMs = this.#nowMs();
    const ms = Math.max(nowMs, atLeastMs, this.#ms);
    if (ms - nowMs > maxAheadMs) throw new InterlockError('unavailable', { detail: 'The clocks of the servers differ too much.' });
    if (ms > this.#ms) {
      this.#ms = ms;
      this.#counter = 0;
    } else if (++this.#counter === countersPerMs) {
      this.#ms += 1;
      this.#counter = 0;
    }
    return (BigInt(this.#ms) << lowBits) | this.#node | BigInt(this.#counter);
  }

  /** A bound that every later {@link next} of this clock exceeds or equals. */
  floor(): bigint {
    return firstOrderAt(Math.max(this.#nowMs(), this.#ms));
  }
}

/** The time, in milliseconds since 1970, that an order stands for: the `lastUpdated` of what was recorded with it. */
export function orderMs(order: bigint): number {
  return Number(order >> lowBits);
}

/** The smallest order of a millisecond; times outside the clock's range are cut to it. */
export function firstOrderAt(ms: number): bigint {
  const latest = 2 ** 42 - 1;
  return BigInt(Math.min(Math.max(Math.ceil(ms), 0), latest)) << lowBits;
}
