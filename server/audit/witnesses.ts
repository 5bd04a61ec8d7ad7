import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import { PersistentLoop } from '../delivery/persistent-loop.ts';
import { openS3, type S3Options } from '../delivery/s3.ts';
import type { Log } from '../observe/log.ts';
import { errnoCode, writeFileAtomic } from '../pki/files.ts';
import { checkpointCollection, type StoredCheckpoint } from './checkpoints.ts';

export interface WitnessesOptions {
  readonly audit: Connection;
  readonly log: Log;
  /** Each checkpoint becomes a file here that is never written again: a mount of another machine, or write-once storage. */
  readonly directory?: string;
  /** Each checkpoint is posted here as JSON; answered with 2xx, it counts as kept. */
  readonly url?: string;
  /** A bucket with Object Lock. */
  readonly s3?: S3Witness;
  /** File that remembers how far the url has them. */
  readonly progressFile: string;
  /** Authorities that the url's certificate may come from, PEM, besides the well-known ones. */
  readonly ca?: readonly string[];
  /** See {@link PersistentLoop}. */
  readonly firstRetryMs?: number;
  readonly maxRetryMs?: number;
}

/** A bucket in which each checkpoint becomes an object that is locked for as long as entries are kept. */
export interface S3Witness extends Pick<S3Options, 'url' | 'keysDir' | 'ca'> {
  readonly retentionMs: number;
  /** File that remembers how far the bucket has them. */
  readonly progressFile: string;
}

/** Hands checkpoints out of this server's reach. */
export interface Witnesses {
  /** There may be new checkpoints. */
  notify(): void;
  /** Resolves when what is under way has ended. */
  close(): Promise<void>;
}

const postTimeoutMs = 10_000;
const fileName = /^checkpoint-(\d{10})\.json$/;

/**
 * Exports checkpoints in their order. The queue is the collection itself, so that nothing is lost while a witness is away.
 * @throws InterlockError `config-invalid` if the directory or the bucket cannot be used
 */
export function openWitnesses(options: WitnessesOptions): Witnesses {
  const { directory, url, s3 } = options;
  const loops = [
    ...(directory === undefined ? [] : [loopOf(options, 'directory', directoryWitness(directory))]),
    ...(url === undefined ? [] : [loopOf(options, 'webhook', urlWitness(url, options))]),
    ...(s3 === undefined ? [] : [loopOf(options, 's3', s3Witness(s3))]),
  ];
  return {
    notify: () => loops.forEach((loop) => loop.notify()),
    close: async () => {
      await Promise.all(loops.map((loop) => loop.close()));
    },
  };
}

interface Witness {
  /** Number of the newest checkpoint that it has. */
  newest(): number;
  keep(n: number, json: string): Promise<void>;
}

function loopOf({ audit, log, ...retries }: WitnessesOptions, name: string, witness: Witness): PersistentLoop {
  const loop = new PersistentLoop({
    ...retries,
    onFailing: (error) => log.error('audit witness did not take a checkpoint', { state: name, errorName: errnoCode(error) || (error instanceof Error ? error.name : 'unknown') }),
    work: async (signal) => {
      for await (const { _id, json } of audit.collection<StoredCheckpoint>(checkpointCollection).find({ _id: { $gt: witness.newest() } }, { sort: { _id: 1 }, projection: { json: 1 }, readConcern: 'majority' })) {
        if (signal.aborted) return;
        await witness.keep(_id, json);
      }
      if (loop.failures > 0) log.info('audit witness has the checkpoints again', { state: name });
    },
  });
  return loop;
}

function nameOf(n: number): string {
  return `checkpoint-${String(n).padStart(10, '0')}.json`;
}

function directoryWitness(directory: string): Witness {
  try {
    mkdirSync(directory, { recursive: true });
  } catch (cause) {
    throw new InterlockError('config-invalid', { detail: 'The witness directory cannot be made.', cause });
  }
  let newest: number | undefined;
  return {
    newest: () => (newest ??= readdirSync(directory).reduce((most, name) => Math.max(most, Number(fileName.exec(name)?.[1] ?? 0)), 0)),
    keep: async (n, json) => {
      const path = join(directory, nameOf(n));
      const temporary = `${path}.${process.pid}.new`;
      writeFileSync(temporary, `${json}\n`, { mode: 0o444, flush: true });
      try {
        // Unlike a rename, a link replaces nothing.
        linkSync(temporary, path);
      } catch (error) {
        if (errnoCode(error) !== 'EEXIST' || readFileSync(path, 'utf8') !== `${json}\n`) throw error;
      } finally {
        rmSync(temporary, { force: true });
      }
      const handle = openSync(directory, 'r');
      fsyncSync(handle);
      closeSync(handle);
      newest = n;
    },
  };
}

function urlWitness(url: string, { progressFile, ca }: WitnessesOptions): Witness {
  let newest: number | undefined;
  return {
    newest: () => (newest ??= readProgress(progressFile)),
    keep: async (n, json) => {
      await post(url, json, ca);
      writeFileAtomic(progressFile, JSON.stringify({ newest: n }));
      newest = n;
    },
  };
}

/** Objects that are locked in compliance mode: not even the bucket's owner can change or delete them before. */
function s3Witness({ url, keysDir, ca, retentionMs, progressFile }: S3Witness): Witness {
  const bucket = openS3({ url, keysDir, ...(ca === undefined ? {} : { ca }) });
  let newest: number | undefined;
  return {
    newest: () => (newest ??= readProgress(progressFile)),
    keep: async (n, json) => {
      const content = Buffer.from(`${json}\n`);
      try {
        await bucket.put(nameOf(n), content, { contentType: 'application/json', once: true, retainUntil: new Date(Date.now() + retentionMs) });
      } catch (error) {
        // It is there already: by an attempt whose answer was lost, or before the progress was.
        if (!(error instanceof InterlockError) || error.code !== 'version-conflict' || !content.equals(await bucket.get(nameOf(n)))) throw error;
      }
      writeFileAtomic(progressFile, JSON.stringify({ newest: n }));
      newest = n;
    },
  };
}

function readProgress(file: string): number {
  try {
    const { newest } = JSON.parse(readFileSync(file, 'utf8')) as { newest?: unknown };
    return Number.isSafeInteger(newest) ? (newest as number) : 0;
  } catch {
    // Absent or damaged: the witness gets all again, and knows them by their numbers.
    return 0;
  }
}

async function post(url: string, json: string, ca: readonly string[] | undefined): Promise<void> {
  const { rootCertificates } = await import('node:tls');
  await new Promise<void>((resolve, reject) => {
    const sent = request(url, { method: 'POST', headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(json) }, timeout: postTimeoutMs, ...(ca === undefined ? {} : { ca: [...rootCertificates, ...ca] }) }, (response) => {
      response.resume();
      const { statusCode = 0 } = response;
      if (statusCode >= 200 && statusCode < 300) resolve();
      else reject(new InterlockError('unavailable'));
    });
    sent.on('timeout', () => sent.destroy(new InterlockError('unavailable')));
    sent.on('error', reject);
    sent.end(json);
  });
}
