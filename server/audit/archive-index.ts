import { hash } from 'node:crypto';

/*
 * The index beside a segment file: where each block's line stands and how late it is, and which blocks hold what. Derived
 * from the segment, so that it can be checked against it and made again.
 *
 *   magic (16 bytes)
 *   one row per block: offset of its line (6), length (4), time of its newest entry (6), big-endian
 *   keys, sorted: 40 bits of what is looked for, 24 bits number of a block that holds it, big-endian
 *   every 4,096th key again
 */

const magic = Buffer.from('interlock-index1');
const rowBytes = 16;
const keyBytes = 8;
const keysPerPage = 4_096;
const ordinalBits = 24n;
/** Blocks of one segment, at most. */
export const maxOrdinal = 2 ** 24 - 1;

/** What a block is looked up by: a search token, an entry's id, or a block's own id. All of it may by chance be another's. */
export const lookup = {
  token: (token: Buffer): number => token.readUIntBE(0, 5),
  // The random end of an id; its beginning is time.
  entry: (id: Buffer): number => id.readUIntBE(11, 5),
  block: (id: string): number => hash('sha256', id, 'buffer').readUIntBE(0, 5),
} as const;

/** Where a block stands in a segment. */
export interface IndexRow {
  readonly offset: number;
  readonly bytes: number;
  /** Time of its newest entry. */
  readonly toMs: number;
}

/** Collects an index while a segment is written. */
export class IndexBuilder {
  readonly #rows: Buffer[] = [];
  #keys = new BigUint64Array(4_096);
  #count = 0;

  get blocks(): number {
    return this.#rows.length;
  }

  get keys(): number {
    return this.#count;
  }

  add(block: { readonly id: string; readonly to: number; readonly e: readonly { readonly i: Buffer; readonly x: readonly Buffer[] }[] }, offset: number, bytes: number): void {
    const ordinal = BigInt(this.#rows.length);
    const row = Buffer.alloc(rowBytes);
    row.writeUIntBE(offset, 0, 6);
    row.writeUInt32BE(bytes, 6);
    row.writeUIntBE(block.to, 10, 6);
    this.#rows.push(row);
    const own = new Set([lookup.block(block.id)]);
    for (const { i, x } of block.e) {
      own.add(lookup.entry(i));
      for (const token of x) own.add(lookup.token(token));
    }
    for (const one of own) this.#push((BigInt(one) << ordinalBits) | ordinal);
  }

  /** The index file's bytes. */
  finish(): Buffer {
    const keys = this.#keys.subarray(0, this.#count).sort();
    const packed = Buffer.alloc((keys.length + Math.ceil(keys.length / keysPerPage)) * keyBytes);
    let fence = keys.length * keyBytes;
    for (const [at, key] of keys.entries()) {
      packed.writeBigUInt64BE(key, at * keyBytes);
      if (at % keysPerPage === 0) fence = packed.writeBigUInt64BE(key, fence);
    }
    return Buffer.concat([magic, ...this.#rows, packed]);
  }

  #push(key: bigint): void {
    if (this.#count === this.#keys.length) {
      const larger = new BigUint64Array(this.#count * 2);
      larger.set(this.#keys);
      this.#keys = larger;
    }
    this.#keys[this.#count] = key;
    this.#count += 1;
  }
}

/** Reads parts of an index file. */
export type ReadPart = (from: number, to: number) => Promise<Buffer>;

/** An index that is looked things up in without being read as a whole: its rows and every 4,096th key are held. */
export class SegmentIndex {
  readonly #read: ReadPart;
  readonly #rows: Buffer;
  readonly #fences: Buffer;
  readonly #keys: number;

  private constructor(read: ReadPart, rows: Buffer, fences: Buffer, keys: number) {
    [this.#read, this.#rows, this.#fences, this.#keys] = [read, rows, fences, keys];
  }

  /** @returns undefined if the file is none, or not of this size */
  static async open(read: ReadPart, blocks: number, keys: number): Promise<SegmentIndex | undefined> {
    const keysAt = magic.length + blocks * rowBytes;
    const fencesAt = keysAt + keys * keyBytes;
    const end = fencesAt + Math.ceil(keys / keysPerPage) * keyBytes;
    const [head, fences] = await Promise.all([read(0, keysAt), read(fencesAt, end)]);
    if (head.length !== keysAt || fences.length !== end - fencesAt || !head.subarray(0, magic.length).equals(magic)) return undefined;
    return new SegmentIndex((from, to) => read(keysAt + from, keysAt + to), head.subarray(magic.length), fences, keys);
  }

  get blocks(): number {
    return this.#rows.length / rowBytes;
  }

  row(ordinal: number): IndexRow {
    const at = ordinal * rowBytes;
    return { offset: this.#rows.readUIntBE(at, 6), bytes: this.#rows.readUInt32BE(at + 6), toMs: this.#rows.readUIntBE(at + 10, 6) };
  }

  /** Numbers of the blocks that may hold what is looked for, ascending. */
  async find(what: number): Promise<number[]> {
    const [low, high] = [BigInt(what) << ordinalBits, BigInt(what + 1) << ordinalBits];
    const found: number[] = [];
    for (let page = this.#pageOf(low); page * keysPerPage < this.#keys; page += 1) {
      if (this.#fences.readBigUInt64BE(page * keyBytes) >= high) break;
      const bytes = await this.#read(page * keysPerPage * keyBytes, Math.min((page + 1) * keysPerPage, this.#keys) * keyBytes);
      for (let at = firstNotBelow(bytes, low); at < bytes.length / keyBytes; at += 1) {
        const key = bytes.readBigUInt64BE(at * keyBytes);
        if (key >= high) return found;
        found.push(Number(key & ((1n << ordinalBits) - 1n)));
      }
    }
    return found;
  }

  /** The page where keys from this one on begin. */
  #pageOf(key: bigint): number {
    return Math.max(firstNotBelow(this.#fences, key) - 1, 0);
  }
}

/** Place of the first key that is not smaller; of keys that lie one after the other, sorted. */
function firstNotBelow(keys: Buffer, wanted: bigint): number {
  let [low, high] = [0, keys.length / keyBytes];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys.readBigUInt64BE(middle * keyBytes) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
