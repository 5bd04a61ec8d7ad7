/**
 * Tells which of very many entry ids may have been added twice, at 8 bytes per id: it keeps the random half of each. A
 * repetition that it finds is a suspicion (by chance once in 2^62), to be looked up.
 */
export class IdSet {
  #halves = new BigUint64Array(1024);
  #size = 0;

  add(id: Buffer): void {
    if (this.#size === this.#halves.length) {
      const larger = new BigUint64Array(this.#size * 2);
      larger.set(this.#halves);
      this.#halves = larger;
    }
    this.#halves[this.#size] = halfOf(id);
    this.#size += 1;
  }

  /** A test for ids that may repeat; undefined if none does. */
  repeated(): ((id: Buffer) => boolean) | undefined {
    const sorted = this.#halves.subarray(0, this.#size).sort();
    const twice = new Set<bigint>();
    for (let i = 1; i < sorted.length; i += 1) if (sorted[i] === sorted[i - 1]) twice.add(sorted[i]!);
    return twice.size === 0 ? undefined : (id) => twice.has(halfOf(id));
  }
}

function halfOf(id: Buffer): bigint {
  return id.readBigUInt64BE(8);
}
