import { closeSync, createReadStream, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, readSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { S3Bucket } from '../delivery/s3.ts';
import { errnoCode } from '../pki/files.ts';

/** Where segment files lie. Names are file names without folder. */
export interface ArchivePlace {
  readonly kind: 'directory' | 's3';
  /** A file beside which a segment can be written before it is put. */
  temporary(name: string): string;
  /** Takes a complete temporary file over under a name; afterwards it is durable. Replaces a file of that name. */
  put(temporary: string, name: string, retainUntil?: Date): Promise<void>;
  /** Bytes [from, to). @throws InterlockError `not-found`, `unavailable` */
  read(name: string, from: number, to: number): Promise<Buffer>;
  /** Everything. @throws InterlockError `not-found`, `unavailable` */
  stream(name: string): Promise<Readable>;
  /** Names of all files. */
  list(): Promise<string[]>;
  /** Removes a file; one that is not there counts as removed. */
  remove(name: string): Promise<void>;
}

/** A directory outside the database; made if it is not there. @throws InterlockError `config-invalid` */
export function directoryPlace(directory: string): ArchivePlace {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new InterlockError('config-invalid', { detail: 'The archive directory cannot be made.', cause });
  }
  return {
    kind: 'directory',
    temporary: (name) => join(directory, `${name}.${process.pid}.new`),
    put: async (temporary, name) => {
      flush(temporary);
      renameSync(temporary, join(directory, name));
      flush(directory);
    },
    read: async (name, from, to) => {
      const handle = open(join(directory, name));
      try {
        const bytes = Buffer.alloc(Math.max(to - from, 0));
        return bytes.subarray(0, readSync(handle, bytes, 0, bytes.length, from));
      } finally {
        closeSync(handle);
      }
    },
    stream: async (name) => {
      if (!existsSync(join(directory, name))) throw new InterlockError('not-found', { detail: 'A segment file is not there.' });
      return createReadStream(join(directory, name), { highWaterMark: 2 ** 20 });
    },
    list: async () => readdirSync(directory).filter((name) => !name.endsWith('.new')).sort(),
    remove: async (name) => {
      rmSync(join(directory, name), { force: true });
      flush(directory);
    },
  };
}

function open(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw errnoCode(cause) === 'ENOENT' ? new InterlockError('not-found', { detail: 'A segment file is not there.', cause }) : cause;
  }
}

function flush(path: string): void {
  const handle = openSync(path, 'r');
  fsyncSync(handle);
  closeSync(handle);
}

const chunkBytes = 2 ** 20;
const maxChunks = 32;

/**
 * A bucket. What is read is fetched, and kept for a while, in chunks of 1 MiB, so that a walk through a segment costs few requests.
 * @param scratchDir where segments are written before they go out
 * @param lock whether objects are locked until they may be purged
 */
export function s3Place(bucket: S3Bucket, scratchDir: string, lock: boolean): ArchivePlace {
  const chunks = new Map<string, Promise<Buffer>>();
  const sizes = new Map<string, Promise<number>>();
  const sizeOf = async (name: string): Promise<number> => {
    const head = await bucket.head(name);
    if (head === undefined) throw new InterlockError('not-found', { detail: 'A segment object is not there.' });
    return head.sizeBytes;
  };
  const chunk = async (name: string, at: number): Promise<Buffer> => {
    const key = `${name}|${at}`;
    let found = chunks.get(key);
    if (found === undefined) {
      if (!sizes.has(name)) sizes.set(name, sizeOf(name));
      const size = await sizes.get(name)!.finally(() => sizes.size > maxChunks && sizes.clear());
      found = bucket.get(name, { from: at * chunkBytes, to: Math.min((at + 1) * chunkBytes, size) });
      found.catch(() => chunks.delete(key));
    }
    // Latest last: Map keeps the order of insertion.
    chunks.delete(key);
    chunks.set(key, found);
    for (const oldest of chunks.keys()) if (chunks.size > maxChunks) chunks.delete(oldest);
    return found;
  };
  const forget = (name: string): void => {
    sizes.delete(name);
    for (const key of chunks.keys()) if (key.startsWith(`${name}|`)) chunks.delete(key);
  };
  return {
    kind: 's3',
    temporary: (name) => {
      mkdirSync(scratchDir, { recursive: true, mode: 0o700 });
      return join(scratchDir, `${name}.${process.pid}.new`);
    },
    put: async (temporary, name, retainUntil) => {
      forget(name);
      const isThere = lock && (await bucket.head(name))?.sizeBytes === statSync(temporary).size;
      // A locked object of an attempt whose answer was lost is of the same bytes; reading back compares them.
      if (!isThere) await bucket.put(name, { file: temporary }, lock && retainUntil !== undefined ? { retainUntil } : {});
      rmSync(temporary);
    },
    read: async (name, from, to) => {
      const parts: Buffer[] = [];
      for (let at = Math.floor(from / chunkBytes); at * chunkBytes < to; at += 1) {
        const bytes = await chunk(name, at);
        parts.push(bytes.subarray(Math.max(from - at * chunkBytes, 0), Math.min(to - at * chunkBytes, bytes.length)));
      }
      return Buffer.concat(parts);
    },
    stream: (name) => bucket.stream(name),
    list: () => bucket.list('audit-'),
    remove: async (name) => {
      forget(name);
      await bucket.remove(name);
    },
  };
}
