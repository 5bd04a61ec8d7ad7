import type { Connection } from 'mongoose';
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { resourceTypes, searchParamsOf, setPostedSearchParams } from '../../resources/definitions/index.ts';
import { readSearchParameter, type PostedParams, type SearchParam } from '../../resources/search-values/index.ts';
import type { Log } from '../observe/log.ts';
import { tokenScheme, typesIndexedSince, type TokensPresent } from '../search/tokens.ts';
import { firstOrderAt } from './clock.ts';
import type { StoredDocument } from './document.ts';
import { findBatch, majority } from './driver.ts';
import type { Epoch } from './epochs.ts';
import type { Reader } from './reads.ts';
import { reindexBatch, type ReindexParts } from './reindex.ts';
import { isDuplicateKey } from '../mongo/errors.ts';

/** A job that indexes what is stored already, as MongoDB holds it: it goes on where it was, in whichever process. */
interface JobDocument {
  /** `tokens`, `words`, or the document id of a SearchParameter. */
  readonly _id: string;
  /** What is indexed for: the token scheme, or a keyed hash of what a SearchParameter says. */
  readonly print: string;
  /** Of `tokens`: the scheme that all documents have until it is ready. */
  readonly from?: number;
  /** `ready`: can be searched; one last sweep finds what was written by processes that had not noticed it yet. */
  readonly state: 'running' | 'ready' | 'done' | 'failed';
  readonly cursor: bigint;
  readonly seen: number;
  readonly changed: number;
  readonly failed: number;
  readonly since: Date;
  /** Its beginning is in the audit trail. */
  readonly begun?: true;
  readonly readyAt?: Date;
  readonly owner?: string;
  readonly until?: Date;
}

/** A job as it is shown. */
export interface IndexStatus {
  /** `tokens`, `words`, or the code of a posted search parameter. */
  readonly name: string;
  readonly types: readonly string[];
  readonly state: JobDocument['state'] | 'conflict';
  readonly seen: number;
  readonly changed: number;
  readonly failed: number;
  readonly since?: Date;
}

export interface SearchIndexesOptions extends ReindexParts {
  readonly epoch: Epoch;
  readonly reader: Reader;
  readonly log: Log;
  /** Whether words get tokens. */
  readonly words: boolean;
  /** Told when a job begins and when it has ended, to be audited. */
  readonly onJob?: (event: 'index-start' | 'index-end') => Promise<void>;
  /** How often changes of other processes are looked for, and for how long a job waits for them to notice it. */
  readonly pollMs?: number;
  readonly settleMs?: number;
  readonly lateSweepMs?: number;
}

interface Definition {
  readonly job: string;
  readonly print: string;
  readonly params: PostedParams;
}

/** Jobs that are not of a posted parameter. */
const ownJobs: ReadonlySet<string> = new Set(['tokens', 'words']);
const maxDefinitions = 500;
const batchSize = 50;
const leaseMs = 30_000;
const readOptions = { useBigInt64: true, promoteBuffers: true } as const;

/**
 * Keeps what can be searched by up to date: reads the SearchParameter resources that users have posted, and has existing
 * resources indexed for them, and for token kinds that came with a later version of this program. Until that is done, a
 * posted parameter cannot be searched by, and searches do without new token kinds.
 */
export class SearchIndexes {
  readonly #options: SearchIndexesOptions;
  readonly #jobs: ReturnType<typeof jobsOf>;
  readonly #owner = randomBytes(9).toString('base64url');
  #definitions: readonly Definition[] = [];
  #newest: string | undefined;
  #shown = '';
  #present: TokensPresent = { scheme: tokenScheme, words: false };
  #timer: NodeJS.Timeout | undefined;
  #ticking: Promise<void> | undefined;
  #closed = false;

  constructor(options: SearchIndexesOptions) {
    this.#options = options;
    this.#jobs = jobsOf(options.app);
  }

  /** What indexing works with. */
  get parts(): ReindexParts {
    return this.#options;
  }

  /** Which tokens all documents have. */
  get present(): TokensPresent {
    return this.#present;
  }

  /** Reads what there is, and from then on follows it. */
  async open(): Promise<void> {
    const { app, pollMs = 2_000 } = this.#options;
    const [any] = await findBatch<{ o: bigint }>(app, 'resources', { filter: {}, projection: { o: 1 }, limit: 1 });
    const print = String(tokenScheme);
    const known = await this.#jobs.findOne({ _id: 'tokens' }, readOptions);
    if (known === null) await this.#start('tokens', { print, state: any === undefined ? 'done' : 'running', from: 1 });
    else if (Number(known.print) < tokenScheme) await this.#start('tokens', { print, state: 'running', from: known.state === 'done' || known.state === 'ready' ? Number(known.print) : (known.from ?? 1) });
    if (this.#options.words) await this.#start('words', { print: '1', state: any === undefined ? 'done' : 'running' });
    else await this.#jobs.deleteOne({ _id: 'words' }, { writeConcern: majority });
    await this.refresh();
    this.#timer = setInterval(() => {
      this.#ticking ??= this.#tick()
        .catch((cause: unknown) => this.#options.log.warn('Search indexing failed and is tried again', { errorName: cause instanceof Error ? cause.name : 'unknown' }))
        .finally(() => (this.#ticking = undefined));
    }, pollMs);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#ticking;
    // What is not finished is free for others at once.
    await this.#jobs.updateMany({ owner: this.#owner }, { $unset: { owner: '' } }, { writeConcern: majority });
  }

  /** Every job and posted parameter. */
  async status(): Promise<IndexStatus[]> {
    const jobs = new Map((await this.#jobs.find({}, readOptions).toArray()).map((job) => [job._id, job]));
    const shown = (name: string, types: readonly string[], job: JobDocument | undefined, conflict = false): IndexStatus => ({
      name, types, state: conflict ? 'conflict' : (job?.state ?? 'running'), seen: job?.seen ?? 0, changed: job?.changed ?? 0, failed: job?.failed ?? 0, ...(job && { since: job.since }),
    });
    const own = this.#definitions.map(({ job, params }) => {
      const [first] = params.values();
      const conflict = ![...params].some(([type, { url }]) => searchParamsOf(type).get(first!.code)?.url === url);
      return shown(first!.code, [...params.keys()], jobs.get(job), conflict);
    });
    return [shown('tokens', [], jobs.get('tokens')), ...(this.#options.words ? [shown('words', [], jobs.get('words'))] : []), ...own];
  }

  /** Takes over definitions and states that changed. */
  async refresh(): Promise<void> {
    const { app, codec } = this.#options;
    const type = codec.typeCode('SearchParameter');
    const [newest] = await findBatch<{ o: bigint }>(app, 'resources', { filter: { t: type }, projection: { o: 1 }, sort: { o: -1 }, limit: 1 });
    if (String(newest?.o) !== this.#newest) {
      await this.#readDefinitions(type);
      this.#newest = String(newest?.o);
    }
    const jobs = new Map((await this.#jobs.find({}, readOptions).toArray()).map((job) => [job._id, job]));
    const tokens = jobs.get('tokens');
    const words = jobs.get('words');
    this.#present = { scheme: tokens === undefined || isReady(tokens) ? tokenScheme : (tokens.from ?? 1), words: this.#options.words && words !== undefined && isReady(words) };
    for (const { job, print } of this.#definitions) if (jobs.get(job)?.print !== print) await this.#start(job, { print, state: 'running' });
    const wanted = new Set(this.#definitions.map(({ job }) => job));
    for (const id of jobs.keys()) if (!ownJobs.has(id) && !wanted.has(id)) await this.#jobs.deleteOne({ _id: id }, { writeConcern: majority });
    this.#show(jobs);
  }

  async #readDefinitions(type: number): Promise<void> {
    const { app, codec, reader, log } = this.#options;
    const documents = await findBatch<StoredDocument>(app, 'resources', { filter: { t: type, del: false }, sort: { o: 1 }, limit: maxDefinitions });
    if (documents.length === maxDefinitions) log.warn('There are more SearchParameters than are used', { count: maxDefinitions });
    const definitions: Definition[] = [];
    for (const document of documents) {
      try {
        const params = readSearchParameter((await reader.open(document)).resource(), true);
        if (params !== undefined) definitions.push({ job: document._id.toString('hex'), params, print: codec.docId('posted search parameter', JSON.stringify([...params])).toString('hex') });
      } catch (cause) {
        log.warn('A SearchParameter cannot be used', { errorName: cause instanceof Error ? cause.name : 'unknown' });
      }
    }
    this.#definitions = definitions;
  }

  /** Puts the posted parameters beside HL7's own; of two with one code the one that was recorded first counts. */
  #show(jobs: ReadonlyMap<string, JobDocument>): void {
    const byType = new Map<string, SearchParam[]>();
    for (const { job, print, params } of this.#definitions) {
      const found = jobs.get(job);
      const pending = found === undefined || found.print !== print || !isReady(found);
      for (const [type, param] of params) {
        const own = byType.get(type) ?? [];
        const shipped = searchParamsOf(type).get(param.code);
        if ((shipped !== undefined && shipped.posted === undefined) || own.some(({ code }) => code === param.code)) continue;
        byType.set(type, [...own, { ...param, posted: { ...param.posted!, pending } }]);
      }
    }
    const shown = JSON.stringify([...byType]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    setPostedSearchParams(byType);
  }

  /** Makes a job, or has one begin anew because what it indexes for is another. */
  async #start(id: string, job: Pick<JobDocument, 'print' | 'state' | 'from'>): Promise<void> {
    const fresh = { ...job, cursor: 0n, seen: 0, changed: 0, failed: 0, since: new Date() };
    try {
      await this.#jobs.replaceOne({ _id: id, print: { $ne: job.print } }, fresh, { upsert: true, writeConcern: majority });
    } catch (cause) {
      // Another process was first.
      if (!isDuplicateKey(cause)) throw cause;
    }
  }

  async #tick(): Promise<void> {
    await this.refresh();
    const { lateSweepMs = 60_000 } = this.#options;
    const open = { $or: [{ state: 'running' as const }, { state: 'ready' as const, readyAt: { $lt: new Date(Date.now() - lateSweepMs) } }] };
    for (const { _id } of await this.#jobs.find(open, { projection: { _id: 1 } }).toArray()) {
      if (this.#closed) return;
      const free = { $expr: { $or: [{ $eq: [{ $ifNull: ['$owner', this.#owner] }, this.#owner] }, { $lt: ['$until', '$$NOW'] }] } };
      const job = await this.#jobs.findOneAndUpdate({ _id, ...free }, [{ $set: { owner: this.#owner, until: { $add: ['$$NOW', leaseMs] } } }], { ...readOptions, returnDocument: 'after', writeConcern: majority });
      if (job !== null) await this.#run(job);
    }
    await this.refresh();
  }

  /** Works on a job until it has caught up with the present. */
  async #run(job: JobDocument): Promise<void> {
    const { codec, epoch, log, onJob, settleMs = 10_000 } = this.#options;
    const names = job._id === 'words' ? resourceTypes() : job._id === 'tokens' ? typesIndexedSince(job.from ?? 1) : [...(this.#definitions.find((one) => one.job === job._id && one.print === job.print)?.params.keys() ?? [])];
    if (names.length === 0) return;
    const types = names.map((name) => codec.typeCode(name));
    if (job.begun !== true) {
      log.info('Indexing of what is stored begins', { count: names.length });
      await onJob?.('index-start');
    }
    let { cursor, seen, changed, failed } = job;
    while (!this.#closed) {
      const startedAtMs = performance.now();
      const below = await epoch.floor();
      // Everything that was recorded until then is below the bound, whatever process recorded it.
      const settled = below >= firstOrderAt(job.readyAt?.getTime() ?? job.since.getTime() + settleMs);
      const batch = await reindexBatch(this.#options, types, cursor, below, batchSize);
      cursor = batch.cursor;
      seen += batch.seen;
      changed += batch.changed;
      failed += batch.failed;
      const caughtUp = batch.seen < batchSize;
      const ends = caughtUp && settled;
      // What a damaged document does not tell of its numbers, no search needs. A parameter that is not indexed whole would lie.
      const state = !ends ? job.state : job.state === 'ready' ? 'done' : failed > 0 && !ownJobs.has(job._id) ? 'failed' : 'ready';
      const progress = { state, begun: true as const, cursor, seen, changed, failed, until: new Date(Date.now() + leaseMs), ...(ends && { readyAt: new Date() }) };
      const kept = await this.#jobs.updateOne({ _id: job._id, owner: this.#owner, print: job.print }, ends ? { $set: progress, $unset: { owner: '' } } : { $set: progress }, { writeConcern: majority });
      if (kept.matchedCount === 0 || caughtUp) {
        if (ends && job.state === 'running') {
          log.info('Indexing of what is stored has ended', { count: seen });
          await onJob?.('index-end');
        }
        return;
      }
      if (seen % (batchSize * 100) === 0) log.info('Indexing of what is stored goes on', { count: seen });
      // At most half of one core: requests come first.
      await pause(Math.max(5, performance.now() - startedAtMs));
    }
  }
}

function isReady({ state }: JobDocument): boolean {
  return state === 'ready' || state === 'done';
}

function jobsOf(app: Connection) {
  return app.db!.collection<JobDocument>('search_jobs');
}
