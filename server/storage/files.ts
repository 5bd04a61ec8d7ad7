import { createHash, randomBytes, type Hash } from 'node:crypto';
import type { ClientSession, Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import { open, seal } from '../kms/seal.ts';
import { paddedBytes } from './body.ts';
import type { ByteRange, FileManifest, FileStore } from './contract.ts';
import { findBatch, isUnreachable, majority } from './driver.ts';

/** Plaintext of every chunk but the last. A multiple of 3, so that chunks can be turned into base64 one by one. */
export const chunkBytes = 3 * 2 ** 18;

/** `_id`: the file's id and the chunk's number (4 bytes). */
interface ChunkDocument {
  readonly _id: Buffer;
  readonly key: string;
  readonly body: Buffer;
}

/** `open` until a version refers to the file, then without state; `dead` once it is given up. */
interface FileDocument {
  readonly _id: Buffer;
  readonly state?: 'open' | 'dead';
  /** MongoDB's own time: last sign of life while open. */
  readonly at: Date;
}

const maxFilesAtOnce = 64;
const maxSealingAtOnce = 4;
const beatMs = 30_000;
const defaultStaleMs = 15 * 60_000;
const maxSweptAtOnce = 100;

export interface FilesOptions {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  /** An upload that has not been heard of for so long is given up. */
  readonly staleMs?: number;
}

/**
 * Files too large for a document of their own. A file is received in chunks that nothing refers to; the version that
 * refers to it is committed together with its state, so that a file is visible whole or not at all. What nobody came to
 * refer to is swept.
 */
export class Files implements FileStore {
  readonly #app: Connection;
  readonly #keyring: Keyring;
  readonly #tenant: string;
  readonly #staleMs: number;
  readonly #sealing = new Gate(maxSealingAtOnce);
  #receiving = 0;
  #sending = 0;

  constructor({ app, keyring, tenant, staleMs = defaultStaleMs }: FilesOptions) {
    this.#app = app;
    this.#keyring = keyring;
    this.#tenant = tenant;
    this.#staleMs = staleMs;
  }

  /**
   * Receives a file chunk by chunk: no more is read than MongoDB has taken. Durable when this returns, though nothing
   * refers to it yet; what fails on the way is removed.
   * @throws InterlockError `too-large` beyond `maxBytes`; `unavailable` if it cannot be stored
   */
  async receive(source: AsyncIterable<Uint8Array>, maxBytes: number): Promise<FileManifest> {
    if (this.#receiving >= maxFilesAtOnce) throw new InterlockError('unavailable', { detail: 'Too many files are being received.', retryAfterSeconds: 5 });
    this.#receiving += 1;
    const id = randomBytes(16);
    try {
      return await this.#receive(id, source, maxBytes);
    } catch (cause) {
      await this.discard({ id: id.toString('hex') }).catch(() => undefined);
      throw cause;
    } finally {
      this.#receiving -= 1;
    }
  }

  /** Opens a part of a file, chunk by chunk, each verified before it is handed out. @throws InterlockError `integrity-failure`, `unavailable` */
  async *open(file: FileManifest, { from, to }: ByteRange = { from: 0, to: file.sizeBytes }): AsyncGenerator<Buffer, void, void> {
    if (this.#sending >= maxFilesAtOnce) throw new InterlockError('unavailable', { detail: 'Too many files are being sent.', retryAfterSeconds: 5 });
    this.#sending += 1;
    try {
      const hash = from === 0 && to === file.sizeBytes ? createHash('sha256') : undefined;
      for (let number = Math.floor(from / chunkBytes); number * chunkBytes < to; number += 1) {
        const whole = await this.#openChunk(file, number);
        hash?.update(whole);
        if (hash !== undefined && number === file.chunks - 1) assertHash(hash, file);
        const startsAt = number * chunkBytes;
        yield whole.subarray(Math.max(0, from - startsAt), Math.min(whole.length, to - startsAt));
      }
    } finally {
      this.#sending -= 1;
    }
  }

  /** Whether none of a file's chunks is gone, whatever they hold. */
  async hasAllChunks({ id, chunks }: FileManifest): Promise<boolean> {
    const _id = Buffer.from(id, 'hex');
    return (await this.#chunks().countDocuments({ _id: { $gte: chunkId(_id, 0), $lte: chunkId(_id, chunks - 1) } }, { readConcern: 'majority' })) === chunks;
  }

  /** Marks a received file as referred to, in the transaction that writes the version. @throws InterlockError `unavailable` if it was swept */
  async keep(file: FileManifest, session: ClientSession): Promise<void> {
    const kept = await this.#files().updateOne({ _id: Buffer.from(file.id, 'hex'), state: { $ne: 'dead' } }, { $unset: { state: true } }, { session });
    if (kept.matchedCount !== 1) throw new InterlockError('unavailable', { detail: 'The file was received too slowly; send it again.' });
  }

  /** Removes a file that nothing refers to; one that is kept stays. */
  async discard({ id }: Pick<FileManifest, 'id'>): Promise<void> {
    const _id = Buffer.from(id, 'hex');
    // First the state: from then on no version can come to refer to it.
    const { matchedCount } = await this.#files().updateOne({ _id, state: { $exists: true } }, { $set: { state: 'dead' } }, { writeConcern: majority });
    if (matchedCount === 0) return;
    await this.#chunks().deleteMany({ _id: { $gte: chunkId(_id, 0), $lte: chunkId(_id, 0xffffffff) } }, { writeConcern: majority });
    await this.#files().deleteOne({ _id, state: 'dead' }, { writeConcern: majority });
  }

  /** Removes what uploads left that ended without a version: of crashed processes, and half removed ones. @returns how many files, at most 100 */
  async sweep(): Promise<number> {
    const stale = { state: { $exists: true }, $expr: { $lt: ['$at', { $subtract: ['$$NOW', this.#staleMs] }] } };
    const found = await this.#files().find(stale, { projection: { _id: 1 }, limit: maxSweptAtOnce, promoteBuffers: true }).toArray();
    for (const { _id } of found) await this.discard({ id: _id.toString('hex') });
    return found.length;
  }

  async #receive(id: Buffer, source: AsyncIterable<Uint8Array>, maxBytes: number): Promise<FileManifest> {
    await storing(this.#beat(id, true));
    let beatAtMs = performance.now();
    const hash = createHash('sha256');
    let chunks = 0;
    let sizeBytes = 0;
    // Two under way, so that MongoDB is not idle while the next is filled; no more, so that memory stays bounded.
    let writing: readonly [Promise<void>, Promise<void>] = [Promise.resolve(), Promise.resolve()];
    const buffer = Buffer.allocUnsafeSlow(chunkBytes);
    let filled = 0;
    const flush = async (isLast: boolean): Promise<void> => {
      await writing[0];
      const next = this.#store(id, chunks, buffer.subarray(0, filled), isLast);
      // Noticed where it is awaited.
      next.catch(() => undefined);
      writing = [writing[1], next];
      chunks += 1;
      filled = 0;
      if (performance.now() - beatAtMs > beatMs) {
        await storing(this.#beat(id, false));
        beatAtMs = performance.now();
      }
    };
    try {
      for await (const piece of source) {
        sizeBytes += piece.length;
        if (sizeBytes > maxBytes) throw new InterlockError('too-large');
        hash.update(piece);
        for (let at = 0; at < piece.length; ) {
          // Only when more follows: the last chunk is marked as such.
          if (filled === chunkBytes) await flush(false);
          const taken = Math.min(chunkBytes - filled, piece.length - at);
          buffer.set(piece.subarray(at, at + taken), filled);
          filled += taken;
          at += taken;
        }
      }
      await flush(true);
      await Promise.all(writing);
    } catch (cause) {
      // Nothing may arrive after what is here has been removed.
      await Promise.allSettled(writing);
      throw cause;
    }
    return { id: id.toString('hex'), sizeBytes, chunks, sha256: hash.digest('hex') };
  }

  /** Seals at once, so that the caller's buffer is free when the promise is made; stores as soon as it is its turn. */
  #store(id: Buffer, number: number, plaintext: Buffer, isLast: boolean): Promise<void> {
    const { id: key, key: sealKey } = this.#keyring.sealKey('file', this.#tenant);
    // The length of the last chunk would tell that of the file.
    const padded = isLast ? Buffer.alloc(Math.min(chunkBytes, paddedBytes(plaintext.length))) : plaintext;
    if (isLast) plaintext.copy(padded);
    const body = seal(sealKey, padded, this.#aad(id, number, isLast, key));
    return storing(this.#sealing.pass(async () => this.#chunks().insertOne({ _id: chunkId(id, number), key, body }, { writeConcern: majority })));
  }

  async #openChunk(file: FileManifest, number: number): Promise<Buffer> {
    const id = Buffer.from(file.id, 'hex');
    const isLast = number === file.chunks - 1;
    const [found] = await findBatch<ChunkDocument>(this.#app, 'file_chunks', { filter: { _id: chunkId(id, number) }, limit: 1 });
    if (found === undefined || typeof found.key !== 'string' || !Buffer.isBuffer(found.body)) throw new InterlockError('integrity-failure');
    if (!this.#keyring.holds(found.key)) await this.#keyring.load(found.key);
    const plaintext = open(this.#keyring.keyById(found.key), found.body, this.#aad(id, number, isLast, found.key));
    const sizeBytes = isLast ? file.sizeBytes - number * chunkBytes : chunkBytes;
    if (plaintext.length < sizeBytes) throw new InterlockError('integrity-failure');
    return plaintext.subarray(0, sizeBytes);
  }

  /** What a chunk belongs to: it can neither be moved, nor stand for another, nor end the file early. */
  #aad(id: Buffer, number: number, isLast: boolean, key: string): string {
    return `interlock-file-1|${this.#tenant}|file|${id.toString('hex')}|${number}|${isLast ? 'last' : 'more'}|${key}`;
  }

  async #beat(id: Buffer, isNew: boolean): Promise<void> {
    const update = [{ $set: { ...(isNew ? { state: 'open' } : {}), at: '$$NOW' } }];
    const { matchedCount } = await this.#files().updateOne(isNew ? { _id: id } : { _id: id, state: 'open' }, update, { upsert: isNew, writeConcern: majority });
    if (!isNew && matchedCount === 0) throw new InterlockError('unavailable', { detail: 'The file was received too slowly; send it again.' });
  }

  #files() {
    return this.#app.collection<FileDocument>('files');
  }

  #chunks() {
    return this.#app.collection<ChunkDocument>('file_chunks');
  }
}

/** Lets a few pass at once; the others wait in order. They are as many as files are received, which is bounded. */
class Gate {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(places: number) {
    this.#free = places;
  }

  async pass<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

/** A write of a file that failed: MongoDB is away, or its disk is full. Nothing refers to what was written before. */
async function storing(write: Promise<unknown>): Promise<void> {
  try {
    await write;
  } catch (cause) {
    throw new InterlockError('unavailable', { detail: 'The file could not be stored.', cause, ...(isUnreachable(cause) ? { retryAfterSeconds: 1 } : {}) });
  }
}

function assertHash(hash: Hash, file: FileManifest): void {
  if (hash.digest('hex') !== file.sha256) throw new InterlockError('integrity-failure');
}

function chunkId(file: Buffer, number: number): Buffer {
  const id = Buffer.allocUnsafe(file.length + 4);
  file.copy(id);
  id.writeUInt32BE(number, file.length);
  return id;
}
