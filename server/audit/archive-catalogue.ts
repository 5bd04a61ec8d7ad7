import type { Connection, mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import { isHash, isTombstone, same, streamPattern, type Tombstone } from './standalone/format.ts';

/** Collections of the audit database, insert-only: which segments there are, and which of them were purged. */
export const segmentCollection = 'audit_segments';
export const tombstoneCollection = 'audit_tombstones';

/** What the catalogue says of a segment: everything that checkpoints `_id` to `to` name. */
export interface SegmentFacts {
  /** Number of its first checkpoint. */
  readonly _id: number;
  readonly to: number;
  /** File name without ending. */
  readonly name: string;
  readonly place: 'directory' | 's3';
  readonly blocks: number;
  readonly entries: number;
  readonly bytes: number;
  /** SHA-256 of the segment and of its index, hex. */
  readonly sha256: string;
  readonly keys: number;
  readonly indexSha256: string;
  /** Time of the oldest entry; times of the newest entries of its blocks, least and greatest. */
  readonly oldestMs: number;
  readonly firstMs: number;
  readonly lastMs: number;
  /** First and last block of each stream, and the hash of the last. */
  readonly streams: readonly (readonly [stream: string, first: number, last: number, hash: string])[];
  /** Hash of checkpoint `to`, and when it was made. */
  readonly checkpoint: string;
  readonly untilMs: number;
  /** When it was archived. */
  readonly atMs: number;
}

/** A row of the catalogue. */
export type Segment = SegmentFacts & { readonly mac: Buffer };

/** A tombstone as it is stored, under the number of its first checkpoint. */
export interface StoredTombstone {
  readonly _id: number;
  readonly json: string;
}

interface State {
  readonly readAtMs: number;
  /** Those that are there, oldest first. */
  readonly segments: readonly Segment[];
  readonly tombstones: readonly Tombstone[];
  /** Rows that are not what this system wrote, by number. */
  readonly damaged: readonly number[];
}

const keptMs = 5_000;

/** Knows every segment and tombstone. */
export class Catalogue {
  readonly #segments: mongo.Collection<Segment>;
  readonly #tombstones: mongo.Collection<StoredTombstone>;
  readonly #keyring: Keyring;
  readonly #tenant: string;
  #state: Promise<State> | undefined;
  #readAtMs = 0;

  constructor(audit: Connection, keyring: Keyring, tenant: string) {
    this.#segments = audit.db!.collection<Segment>(segmentCollection);
    this.#tombstones = audit.db!.collection<StoredTombstone>(tombstoneCollection);
    [this.#keyring, this.#tenant] = [keyring, tenant];
  }

  /** What there is; at most some seconds old unless asked `now`. */
  async state(now = false): Promise<State> {
    if (now || this.#state === undefined || performance.now() - this.#readAtMs > keptMs) {
      this.#readAtMs = performance.now();
      this.#state = this.#load();
      this.#state.catch(() => (this.#state = undefined));
    }
    return this.#state;
  }

  /** The same, if nothing in it is damaged. @throws InterlockError `integrity-failure` */
  async sound(now = false): Promise<State> {
    const state = await this.state(now);
    if (state.damaged.length > 0) throw new InterlockError('integrity-failure', { detail: 'The catalogue of archived segments was altered; interlock audit verify tells where.' });
    return state;
  }

  /** Enters a segment. @returns false if one that begins there is entered already */
  async add(facts: SegmentFacts): Promise<boolean> {
    return this.#insert(this.#segments, { ...facts, mac: this.#macOf(facts) });
  }

  /** Enters a tombstone: from here on its segment does not count. @returns false if it is entered already */
  async bury(tombstone: Tombstone): Promise<boolean> {
    return this.#insert(this.#tombstones, { _id: tombstone.from, json: JSON.stringify(tombstone) });
  }

  async #insert<T extends { readonly _id: number }>(collection: mongo.Collection<T>, document: T): Promise<boolean> {
    try {
      await collection.insertOne(document as mongo.OptionalUnlessRequiredId<T>, { writeConcern: { w: 'majority', j: true } });
      return true;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 11_000) return false;
      throw error;
    } finally {
      this.#state = undefined;
    }
  }

  async #load(): Promise<State> {
    const options = { sort: { _id: 1 }, promoteBuffers: true, readConcern: 'majority' } as const;
    // Tombstones last: a segment that is purged in between has its tombstone already.
    const rows = await this.#segments.find({}, options).toArray().catch(noneIfForbidden);
    const graves = await this.#tombstones.find({}, options).toArray().catch(noneIfForbidden);
    const damaged: number[] = [];
    const tombstones: Tombstone[] = [];
    for (const { _id, json } of graves) {
      const value = parsed(json);
      if (isTombstone(value) && value.from === _id) tombstones.push(value);
      else damaged.push(_id);
    }
    const buried = new Set(tombstones.map(({ from }) => from));
    const segments: Segment[] = [];
    for (const row of rows) {
      if (!this.#isOurs(row)) damaged.push(row._id);
      else if (!buried.has(row._id)) segments.push(row);
    }
    return { readAtMs: this.#readAtMs, segments, tombstones, damaged };
  }

  #isOurs(row: Segment): boolean {
    try {
      return isFormed(row) && Buffer.isBuffer(row.mac) && this.#macOf(row).equals(row.mac);
    } catch {
      return false;
    }
  }

  #macOf(facts: SegmentFacts): Buffer {
    return this.#keyring.mac('audit-block', ['segment', JSON.stringify(factNames.map((name) => facts[name]))], 32, this.#tenant);
  }
}

const factNames = ['_id', 'to', 'name', 'place', 'blocks', 'entries', 'bytes', 'sha256', 'keys', 'indexSha256', 'oldestMs', 'firstMs', 'lastMs', 'streams', 'checkpoint', 'untilMs', 'atMs'] as const satisfies readonly (keyof SegmentFacts)[];

function isFormed(row: Segment): boolean {
  return same(Object.keys(row), [...factNames, 'mac']) && typeof row.name === 'string' && isHash(row.sha256) && isHash(row.checkpoint) && Array.isArray(row.streams) && row.streams.every((range: readonly unknown[]) => typeof range[0] === 'string' && streamPattern.test(range[0]));
}

/** An audit writer of before there were archives may not look here: then there are none. */
function noneIfForbidden(error: unknown): [] {
  if (error instanceof Error && 'code' in error && error.code === 13) return [];
  throw error;
}

function parsed(json: unknown): unknown {
  try {
    return typeof json === 'string' ? JSON.parse(json) : undefined;
  } catch {
    return undefined;
  }
}
