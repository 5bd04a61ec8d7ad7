import type { ClientSession, Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import { extractSearchValues, type SearchValue, type ValueContext } from '../../resources/search-values/index.ts';
import type { Criterion } from '../search/criteria.ts';
import { matches } from '../search/match.ts';
import type { TypePlan } from '../search/plan.ts';
import type { Keyring } from '../kms/keyring.ts';
import { orderMs } from './clock.ts';
import { openColumns } from './column-seal.ts';
import { columnOf, columnsFor, comparedParams, decodeColumns } from './columns.ts';
import type { StoredDocument } from './document.ts';
import { countUpTo, findDocuments } from './driver.ts';
import type { Reader } from './reads.ts';
import type { SharedFinds } from './shared-finds.ts';
import type { OpenVersion } from './version.ts';

/** How much a search may cost; shared by all of its scans. */
export class Budget {
  readonly #startedMs = performance.now();
  readonly #deadlineMs: number;
  #candidates: number;
  #spent = 0;

  constructor(candidates: number, ms: number) {
    this.#candidates = candidates;
    this.#deadlineMs = this.#startedMs + ms;
  }

  get spentMs(): number {
    return performance.now() - this.#startedMs;
  }

  /** How many more candidates can be looked at, at the pace so far. */
  get leftCandidates(): number {
    return Math.max(0, Math.min(this.#candidates, Math.floor((this.leftMs * this.#spent) / this.spentMs)));
  }

  get leftMs(): number {
    return this.#deadlineMs - performance.now();
  }

  /** @throws InterlockError `too-costly` */
  spend(candidates: number): void {
    this.#candidates -= candidates;
    this.#spent += candidates;
    if (this.#candidates < 0 || this.leftMs <= 0) throw new InterlockError('too-costly');
  }
}

/** What a scan says of a match. */
export interface Hit {
  readonly docId: Buffer;
  readonly order: bigint;
  /** Logical id, and values of the parameters that were asked for, where `values` of the scan named them. */
  readonly id: string;
  readonly values: ReadonlyMap<string, readonly SearchValue[]>;
  /** The version, if the scan had to open it. */
  readonly version?: OpenVersion;
  /** Its document, not yet verified, if the scan fetched it whole. */
  readonly document?: StoredDocument;
}

export interface ScanRequest {
  readonly filter: object;
  readonly plans: readonly TypePlan[];
  readonly direction: 1 | -1;
  /** Only what comes after this order, in the direction. */
  readonly after?: bigint;
  /** Also wanted of each hit: values of parameters with these codes. */
  readonly values?: readonly string[];
  readonly batch: number;
  /** As many hits are enough; absent: all are wanted. */
  readonly wanted?: number;
  /** Few candidates are expected: the first batch is fetched whole, which saves a round trip for the matches. */
  readonly few?: boolean;
  /** The filter as token lists, where it is no more than that. */
  readonly lists?: readonly (readonly Buffer[])[];
}

/** What columns need of a document; the whole document where it was fetched with them. */
type Row = Pick<StoredDocument, '_id' | 'o' | 's' | 't'> & Partial<StoredDocument>;

/** A scan that takes longer than this is asked how much is left. */
const forecastAfterMs = 400;
const maxCountMs = 200;
const largestColumnBatch = 2_000;
const largestBodyBatch = 200;

/**
 * Walks candidates in order of recording and yields those that match exactly. Conditions that no token settles are checked
 * on the sealed columns where these can tell, else on the opened resource.
 */
export class Scanner {
  readonly #app: Connection;
  readonly #keyring: Keyring;
  readonly #reader: Reader;
  readonly #values: ValueContext;
  readonly #typeOf: (code: number) => string | undefined;
  readonly #shared: SharedFinds;

  constructor(options: { app: Connection; keyring: Keyring; reader: Reader; shared: SharedFinds; values: ValueContext; typeOf: (code: number) => string | undefined }) {
    this.#app = options.app;
    this.#keyring = options.keyring;
    this.#reader = options.reader;
    this.#values = options.values;
    this.#typeOf = options.typeOf;
    this.#shared = options.shared;
  }

  /** Yields hits batch by batch. @throws InterlockError `too-costly` when the budget is used up before the end */
  async *scan(request: ScanRequest, budget: Budget, session?: ClientSession): AsyncGenerator<readonly Hit[]> {
    const residuals = new Map(request.plans.map((plan) => [plan.type, plan.residual]));
    const columns = columnsWanted(request);
    let isWhole = columns === undefined || request.few === true;
    let batch = Math.min(request.batch, isWhole ? largestBodyBatch : largestColumnBatch);
    let { after } = request;
    let [looked, found, isForecast] = [0, 0, false];
    for (;;) {
      const filter = after === undefined ? request.filter : { $and: [request.filter, { o: request.direction === 1 ? { $gt: after } : { $lt: after } }] };
      const find = { filter, limit: batch, maxTimeMs: budget.leftMs };
      const rows = isWhole && request.lists !== undefined && request.direction === 1 && after === undefined && session === undefined
        ? await this.#shared.find({ ...find, lists: request.lists })
        : await findDocuments(this.#app, 'resources', { ...find, sort: { o: request.direction }, ...(isWhole ? {} : { projection: { o: 1, s: 1, t: 1 } }) }, session);
      budget.spend(rows.length);
      const hits = columns === undefined ? this.#byBody(await this.#reader.openAll(rows.filter(isDocument)), rows, residuals, request.values ?? []) : await this.#byColumns(rows, columns, residuals, request.values ?? [], session);
      yield hits;
      if (rows.length < batch) return;
      after = rows.at(-1)!.o;
      looked += rows.length;
      found += hits.length;
      if (!isForecast && session === undefined && budget.spentMs > forecastAfterMs) {
        isForecast = true;
        await this.#forecast({ ...request, after }, budget, found === 0 ? Infinity : ((request.wanted ?? Infinity) - found) * (looked / found));
      }
      isWhole = columns === undefined;
      batch = Math.min(batch * 4, isWhole ? largestBodyBatch : largestColumnBatch);
    }
  }

  /** @param enough candidates in which, at the rate so far, all wanted hits are. @throws InterlockError `too-costly` */
  async #forecast({ filter, direction, after }: ScanRequest, budget: Budget, enough: number): Promise<void> {
    const left = { $and: [filter, { o: direction === 1 ? { $gt: after } : { $lt: after } }] };
    const most = budget.leftCandidates;
    if (enough <= most) return;
    let candidates: number;
    try {
      candidates = await countUpTo(this.#app, 'resources', left, most + 1, Math.min(maxCountMs, budget.leftMs));
    } catch (cause) {
      // Counting took too long: that is no forecast.
      if (cause instanceof InterlockError && cause.code === 'too-costly') return;
      throw cause;
    }
    if (candidates > most) throw new InterlockError('too-costly');
  }

  async #byColumns(rows: readonly Row[], wanted: ReadonlyMap<number, string>, residuals: ReadonlyMap<string, Criterion>, values: readonly string[], session?: ClientSession): Promise<Hit[]> {
    const opened = await openColumns(this.#keyring, rows.map(({ s }) => s));
    const decided: (Hit | undefined)[] = [];
    const undecided = new Map<bigint, number>();
    for (const [index, row] of rows.entries()) {
      const type = this.#typeOf(row.t);
      const residual = type === undefined ? undefined : residuals.get(type);
      if (type === undefined || residual === undefined) continue;
      const columns = decodeColumns(opened[index]!, wanted);
      const subject = { type, id: columns.id, lastUpdatedMs: orderMs(row.o), values: columns.values, patients: [] };
      // Presence alone can be told from partial values too.
      if (columns.partial.size > 0 && [...comparedParams(residual), ...values].some((code) => columns.partial.has(code))) undecided.set(row.o, decided.push(undefined) - 1);
      else if (matches(subject, residual)) decided.push({ docId: row._id, order: row.o, id: columns.id, values: columns.values, ...(isDocument(row) ? { document: row } : {}) });
    }
    const open = async (documents: readonly StoredDocument[]): Promise<void> => {
      for (const hit of this.#byBody(await this.#reader.openAll(documents), documents, residuals, values)) {
        const place = undecided.get(hit.order);
        if (place !== undefined) decided[place] = hit;
      }
    };
    const left = rows.filter(({ o }) => undecided.has(o));
    await open(left.filter(isDocument));
    const ids = left.filter((row) => !isDocument(row)).map(({ _id }) => _id);
    for (let from = 0; from < ids.length; from += largestBodyBatch) {
      const filter = { _id: { $in: ids.slice(from, from + largestBodyBatch) } };
      await open(await findDocuments(this.#app, 'resources', { filter, limit: largestBodyBatch }, session));
    }
    return decided.filter((hit) => hit !== undefined);
  }

  #byBody(versions: readonly OpenVersion[], documents: readonly Row[], residuals: ReadonlyMap<string, Criterion>, values: readonly string[]): Hit[] {
    const hits: Hit[] = [];
    const context = this.#values;
    for (const [index, version] of versions.entries()) {
      const residual = residuals.get(version.type);
      if (residual === undefined || version.deleted) continue;
      const found = isTrue(residual) && values.length === 0 ? noValues : extractSearchValues(version.resource(), this.#values);
      const subject = { type: version.type, id: version.id, lastUpdatedMs: orderMs(version.order), values: found, patients: version.patients(), content: { get resource() { return version.resource(); }, context } };
      if (matches(subject, residual)) hits.push({ docId: documents[index]!._id, order: version.order, id: version.id, values: found, version });
    }
    return hits;
  }
}

function isDocument(row: Row): row is StoredDocument {
  return row.body !== undefined;
}

const noValues: ReadonlyMap<string, readonly SearchValue[]> = new Map();

function isTrue(criterion: Criterion): boolean {
  return criterion.op === 'all' && criterion.of.length === 0;
}

/** Columns that decide all residuals and hold all values asked for; undefined if bodies are needed. */
function columnsWanted({ plans, values = [] }: ScanRequest): ReadonlyMap<number, string> | undefined {
  const wanted = new Map<number, string>(values.map((code) => [columnOf(code), code]));
  for (const { residual } of plans) {
    const columns = columnsFor(residual);
    if (columns === undefined) return undefined;
    for (const [column, code] of columns) wanted.set(column, code);
  }
  return wanted;
}
