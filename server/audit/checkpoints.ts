import { sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection, mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Log } from '../observe/log.ts';
import { errnoCode, writeFileAtomic } from '../pki/files.ts';
import { blockId, hashOfBlock, leafHash, macOfBlock, streamOf, type Block } from './block.ts';
import { Signer } from './signer.ts';
import { grow, hashOfCheckpoint, isCheckpoint, isSignedBy, keysOf, leafOfBatch, leafOfBlock, markBytes, rootOf, sha256, signedBytes, zeros, type Checkpoint, type Tree } from './standalone/format.ts';
import { auditCollection } from './trail.ts';
import { isBlock } from './verify.ts';
import { isDuplicateKey } from '../mongo/errors.ts';

/** Collection of the audit database that holds the checkpoints. */
export const checkpointCollection = 'audit_checkpoints';

/** A checkpoint as it is stored. What stands beside `json` only helps: it is checked before it is relied on. */
export interface StoredCheckpoint {
  /** Its number. */
  readonly _id: number;
  readonly json: string;
  /** For each block: number of its entries (4 bytes), first bytes of its hash and of its entries' leaf hashes. */
  readonly marks: Buffer;
  /** Roots of the tree's complete subtrees, largest first. */
  readonly peaks: readonly Buffer[];
  /** The streams that it names. */
  readonly streams: readonly string[];
}

export interface CheckpointsOptions {
  /** Connection as the audit writer. */
  readonly audit: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  readonly keysDir: string;
  readonly log: Log;
  readonly nowMs?: () => number;
  /** Longest time that an entry stays without checkpoint: 60,000. 0: only when asked. */
  readonly intervalMs?: number;
  /** Entries of this process after which one is made at once: 10,000. */
  readonly everyEntries?: number;
  /** Told of each new checkpoint, of other processes too, and once at the start. */
  readonly onCheckpoint?: () => void;
  /** Told when the trail or its checkpoints were found altered. */
  readonly onFault?: (what: string) => void;
}

const lastFileName = 'audit-checkpoint.last';
const maxBlocks = 20_000;
const maxEntries = 200_000;
const streamsPerQuery = 1_000;

/**
 * Signs, from time to time, everything that came to the trail: the new blocks of all streams become a batch, the batch a leaf
 * of a Merkle tree (RFC 9162), and the checkpoint signs the tree's root and names the checkpoint before. Whichever process
 * comes first makes it; its number is its place.
 */
export class Checkpoints {
  readonly signer: Signer;
  readonly #options: CheckpointsOptions;
  readonly #blocks: mongo.Collection<Block>;
  readonly #stored: mongo.Collection<StoredCheckpoint>;
  readonly #anchored = new Map<string, number>();
  #last: Checkpoint | undefined;
  #tree: Tree = { size: 0, peaks: [] };
  #entries = 0;
  #running: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #isSetBack = false;
  #told = '';

  private constructor(options: CheckpointsOptions) {
    this.#options = options;
    this.signer = new Signer(options);
    this.#blocks = options.audit.collection<Block>(auditCollection);
    this.#stored = options.audit.collection<StoredCheckpoint>(checkpointCollection);
  }

  /** Begins to make checkpoints. @throws InterlockError `key-wrong` if the signing key does not open */
  static async open(options: CheckpointsOptions): Promise<Checkpoints> {
    const made = new Checkpoints(options);
    try {
      await made.#catchUp();
      await made.signer.key(made.#expectedKey());
      await made.#compareRemembered();
    } catch (error) {
      // A trail that was tampered with must still be told of, and goes on being written.
      if (!(error instanceof InterlockError) || error.code !== 'integrity-failure') throw error;
      made.#fault('audit checkpoints are damaged');
    }
    const { intervalMs = 60_000 } = options;
    if (intervalMs > 0) made.#timer = setInterval(() => made.#try(), intervalMs).unref();
    return made;
  }

  /** The newest checkpoint that this process knows. */
  get last(): Checkpoint | undefined {
    return this.#last;
  }

  /** Tells that this process wrote entries. */
  count(entries: number): void {
    this.#entries += entries;
    if (this.#entries < (this.#options.everyEntries ?? 10_000)) return;
    this.#entries = 0;
    this.#try();
  }

  /** Makes checkpoints until nothing is left without one. @returns the newest; undefined if the trail is empty */
  async make(): Promise<Checkpoint | undefined> {
    return this.#alone(async () => {
      while (await this.#make()) this.#entries = 0;
      return this.#last;
    });
  }

  /** Has the old key sign a new one, which signs all that comes after. @returns the checkpoint that says so */
  async rotate(): Promise<Checkpoint> {
    return this.#alone(async () => {
      const next = await this.signer.next();
      const spki = next.publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
      while (this.#last?.next !== spki) await this.#make(spki);
      await this.signer.key(next.fingerprint);
      return this.#last;
    });
  }

  /** A stored checkpoint. */
  async read(n: number): Promise<Checkpoint | undefined> {
    const found = await this.#stored.findOne({ _id: n }, { promoteBuffers: true, readConcern: 'majority' });
    return found === null ? undefined : parse(found);
  }

  /** Stored checkpoints, both ends included, in their order. @throws InterlockError `integrity-failure` if one is damaged */
  async *range(from: number, to: number): AsyncGenerator<Checkpoint> {
    for await (const stored of this.#stored.find({ _id: { $gte: from, $lte: to } }, { sort: { _id: 1 }, projection: { json: 1, peaks: 1 }, promoteBuffers: true, readConcern: 'majority' })) yield parse(stored);
  }

  /** Signs another statement with the key of the next checkpoint. @param bytes what is signed, given the key's fingerprint */
  async sign(bytes: (key: string) => Buffer): Promise<{ readonly key: string; readonly signature: string }> {
    return this.#alone(async () => {
      await this.#catchUp();
      const { fingerprint, privateKey } = await this.signer.key(this.#expectedKey());
      return { key: fingerprint, signature: sign(null, bytes(fingerprint), privateKey).toString('base64') };
    });
  }

  /** The last checkpoint that the keys directory remembers; it survives a database that was set back. */
  remembered(): Checkpoint | undefined {
    try {
      const value: unknown = JSON.parse(readFileSync(join(this.#options.keysDir, lastFileName), 'utf8'));
      return isCheckpoint(value) ? value : undefined;
    } catch (error) {
      if (errnoCode(error) === 'ENOENT' || errnoCode(error) === '') return undefined;
      throw error;
    }
  }

  /** Makes a last checkpoint, and no more. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.make().catch((error: unknown) => this.#failed(error));
  }

  #try(): void {
    this.make().catch((error: unknown) => this.#failed(error));
  }

  #failed(error: unknown): void {
    if (error instanceof InterlockError && error.code === 'integrity-failure') this.#fault(error.options.detail ?? 'audit checkpoints are damaged');
    else this.#options.log.error('audit checkpoint not made', { errorName: error instanceof Error ? error.name : 'unknown' });
  }

  #fault(what: string): void {
    if (this.#told === what) return;
    this.#told = what;
    this.#options.log.error('audit trail was altered', { reason: what });
    this.#options.onFault?.(what);
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#running.then(work, work);
    this.#running = done.catch(() => undefined);
    return done;
  }

  #expectedKey(): string | undefined {
    const { next, key } = this.#last ?? {};
    return next === undefined || next === null ? key : sha256(Buffer.from(next, 'base64')).toString('hex');
  }

  /** @returns whether there may be more */
  async #make(next: string | null = null): Promise<boolean> {
    await this.#catchUp();
    const batch = await this.#collect();
    if (batch.blocks.length === 0 && next === null) return false;
    const { tenant, nowMs = Date.now } = this.#options;
    const key = await this.signer.key(this.#expectedKey());
    const batchRoot = rootOf(batch.tree).toString('hex');
    const tree = { size: this.#tree.size, peaks: [...this.#tree.peaks] };
    grow(tree, leafOfBatch(batchRoot, batch.tree.size));
    const marks = Buffer.concat(batch.marks);
    const unsigned = {
      format: 'interlock-audit-checkpoint-2' as const, tenant, n: tree.size, at: new Date(Math.max(nowMs(), Date.parse(this.#last?.at ?? '1970-01-01'))).toISOString(), blocks: batch.blocks, batch: batchRoot,
      marks: sha256(marks).toString('hex'), entries: (this.#last?.entries ?? 0) + batch.entries, root: rootOf(tree).toString('hex'),
      prev: this.#last === undefined ? zeros : hashOfCheckpoint(this.#last), key: key.fingerprint, next,
    };
    const checkpoint: Checkpoint = { ...unsigned, signature: sign(null, signedBytes(unsigned), key.privateKey).toString('base64') };
    const stored: StoredCheckpoint = { _id: checkpoint.n, json: JSON.stringify(checkpoint), marks, peaks: tree.peaks, streams: batch.blocks.map(([stream]) => stream) };
    try {
      await this.#stored.insertOne(stored, { writeConcern: { w: 'majority', j: true } });
    } catch (error) {
      // Another process was first, or the answer to an insert was lost: what stands there counts.
      if (!isDuplicateKey(error)) throw error;
    }
    await this.#catchUp();
    return true;
  }

  /** Takes in the checkpoints that were stored since, and checks that they continue those before. */
  async #catchUp(): Promise<void> {
    const first = this.#last === undefined;
    // At the start the newest is enough; later none may be left out.
    const cursor = this.#stored.find(first ? {} : { _id: { $gt: this.#last!.n } }, { sort: { _id: first ? -1 : 1 }, ...(first ? { limit: 1 } : {}), promoteBuffers: true, readConcern: 'majority' });
    for await (const stored of cursor) {
      const checkpoint = parse(stored);
      const tree = { size: checkpoint.n, peaks: [...stored.peaks] };
      await this.signer.key(checkpoint.key).catch(() => undefined);
      const isOurs = keysOf(existsSync(join(this.#options.keysDir, 'audit-signing.pub')) ? this.signer.publicKeys() : '').some((key) => isSignedBy(checkpoint, key));
      if (!isOurs || rootOf(tree).toString('hex') !== checkpoint.root || (this.#last !== undefined && checkpoint.prev !== hashOfCheckpoint(this.#last))) {
        throw new InterlockError('integrity-failure', { detail: 'a checkpoint is not one of this installation, or does not follow the one before' });
      }
      const isContinued = this.#last === undefined || !this.#isSetBack;
      this.#last = checkpoint;
      this.#tree = tree;
      for (const [stream, , last] of checkpoint.blocks) this.#anchored.set(stream, last);
      if (!first && isContinued) writeFileAtomic(join(this.#options.keysDir, lastFileName), stored.json);
      this.#options.onCheckpoint?.();
    }
  }

  async #compareRemembered(): Promise<void> {
    const remembered = this.remembered();
    if (remembered === undefined) return;
    const stored = await this.read(remembered.n);
    if (stored !== undefined && hashOfCheckpoint(stored) === hashOfCheckpoint(remembered)) return;
    this.#isSetBack = true;
    this.#fault('the audit trail was set back behind a checkpoint that this server has made');
  }

  /** The blocks that no checkpoint names yet, stream by stream, as many as one may name. */
  async #collect(): Promise<{ blocks: (readonly [string, number, number, string])[]; tree: Tree; marks: Buffer[]; entries: number }> {
    const { keyring, tenant } = this.#options;
    const batch = { blocks: [] as (readonly [string, number, number, string])[], tree: { size: 0, peaks: [] } as Tree, marks: [] as Buffer[], entries: 0 };
    for (const stream of await this.#grown()) {
      const first = (this.#anchored.get(stream) ?? -1) + 1;
      let n = first;
      let head = '';
      // ';' follows ':' in ASCII, so the range holds just this stream's blocks.
      for await (const block of this.#blocks.find({ _id: { $gte: blockId(stream, first), $lt: `${stream};` } }, { sort: { _id: 1 }, promoteBuffers: true, readConcern: 'majority' })) {
        if (batch.tree.size >= maxBlocks || batch.entries >= maxEntries) break;
        const own = isBlock(block) && block._id === blockId(stream, n) ? hashOfBlock(tenant, { ...block, stream }) : undefined;
        // What was tampered with before it was signed is not signed.
        if (own === undefined || !own.equals(block.hash) || !macOfBlock(keyring, tenant, own).equals(block.mac)) {
          this.#fault('blocks that no checkpoint names yet were altered');
          break;
        }
        const mark = Buffer.alloc(4 + markBytes * (block.e.length + 1));
        mark.writeUInt32BE(block.e.length);
        own.copy(mark, 4, 0, markBytes);
        for (const [at, entry] of block.e.entries()) leafHash(entry).copy(mark, 4 + markBytes * (at + 1), 0, markBytes);
        batch.marks.push(mark);
        grow(batch.tree, leafOfBlock(own));
        batch.entries += block.e.length;
        head = own.toString('hex');
        n += 1;
      }
      if (n > first) batch.blocks.push([stream, first, n - 1, head]);
    }
    return batch;
  }

  /** Streams that have a block which no checkpoint names. */
  async #grown(): Promise<string[]> {
    const openings = await this.#blocks.find({ n: 0 }, { projection: { _id: 1 }, readConcern: 'majority' }).toArray();
    const streams = [...new Set([...openings.map(({ _id }) => streamOf(_id)), ...this.#anchored.keys()])].sort();
    for (const stream of streams) {
      if (this.#anchored.has(stream)) continue;
      const [newest] = await this.#stored.find({ streams: stream }, { sort: { _id: -1 }, limit: 1, promoteBuffers: true, readConcern: 'majority' }).toArray();
      this.#anchored.set(stream, newest === undefined ? -1 : (parse(newest).blocks.findLast(([name]) => name === stream)?.[2] ?? -1));
    }
    const grown: string[] = [];
    for (let at = 0; at < streams.length; at += streamsPerQuery) {
      const ids = streams.slice(at, at + streamsPerQuery).map((stream) => blockId(stream, this.#anchored.get(stream)! + 1));
      const found = await this.#blocks.find({ _id: { $in: ids } }, { projection: { _id: 1 }, readConcern: 'majority' }).toArray();
      grown.push(...found.map(({ _id }) => streamOf(_id)));
    }
    return grown.sort();
  }
}

/** @throws InterlockError `integrity-failure` if the document is no checkpoint */
export function parse(stored: StoredCheckpoint): Checkpoint {
  let value: unknown;
  try {
    value = JSON.parse(stored.json);
  } catch {
    value = undefined;
  }
  if (!isCheckpoint(value) || value.n !== stored._id || !Array.isArray(stored.peaks) || !stored.peaks.every((peak) => Buffer.isBuffer(peak) && peak.length === 32)) {
    throw new InterlockError('integrity-failure', { detail: 'a stored checkpoint is damaged' });
  }
  return value;
}

