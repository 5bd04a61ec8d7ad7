import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
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
  /** File that remembers how far the url has them. */
  readonly progressFile: string;
  /** Authorities that the url's certificate may come from, PEM, besides the well-known ones. */
  readonly ca?: readonly string[];
  /** First and longest pause after a failure: 1,000 and 300,000. */
  readonly firstRetryMs?: number;
  readonly maxRetryMs?: number;
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
 * @throws InterlockError `config-invalid` if the directory cannot be used
 */
export function openWitnesses(options: WitnessesOptions): Witnesses {
  const { directory, url } = options;
  const lanes = [...(directory === undefined ? [] : [new Lane(options, 'directory', directoryWitness(directory))]), ...(url === undefined ? [] : [new Lane(options, 'webhook', urlWitness(url, options))])];
  return {
    notify: () => lanes.forEach((lane) => lane.run()),
    close: async () => {
      await Promise.all(lanes.map((lane) => lane.close()));
    },
  };
}

interface Witness {
  /** Number of the newest checkpoint that it has. */
  newest(): number;
  keep(n: number, json: string): Promise<void>;
}

class Lane {
  readonly #options: WitnessesOptions;
  readonly #name: string;
  readonly #witness: Witness;
  #running: Promise<void> | undefined;
  #again = false;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: WitnessesOptions, name: string, witness: Witness) {
    this.#options = options;
    this.#name = name;
    this.#witness = witness;
  }

  run(): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#again = true;
    this.#running ??= this.#drain().finally(() => (this.#running = undefined));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #drain(): Promise<void> {
    const { audit, log, firstRetryMs = 1_000, maxRetryMs = 300_000 } = this.#options;
    try {
      while (this.#again && !this.#closed) {
        this.#again = false;
        for await (const { _id, json } of audit.collection<StoredCheckpoint>(checkpointCollection).find({ _id: { $gt: this.#witness.newest() } }, { sort: { _id: 1 }, projection: { json: 1 }, readConcern: 'majority' })) {
          if (this.#closed) return;
          await this.#witness.keep(_id, json);
        }
      }
      if (this.#failures > 0) log.info('audit witness has the checkpoints again', { witness: this.#name });
      this.#failures = 0;
    } catch (error) {
      if (this.#failures === 0) log.error('audit witness did not take a checkpoint', { witness: this.#name, errorName: errnoCode(error) || (error instanceof Error ? error.name : 'unknown') });
      const delayMs = Math.min(firstRetryMs * 2 ** Math.min(this.#failures, 20), maxRetryMs) * (0.5 + Math.random() / 2);
      this.#failures += 1;
      if (this.#closed) return;
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.run();
      }, delayMs).unref();
    }
  }
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
      const path = join(directory, `checkpoint-${String(n).padStart(10, '0')}.json`);
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
