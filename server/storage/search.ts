import type { ClientSession, Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import { planType, type TypePlan } from '../search/plan.ts';
import type { TokensPresent } from '../search/tokens.ts';
import { isSelective } from '../search/token-expr.ts';
import type { SearchPage, SearchRequest, StoredVersion } from './contract.ts';
import { countUpTo, findDocuments } from './driver.ts';
import type { FilterWriter } from './filter.ts';
import type { Reader } from './reads.ts';
import { Budget, type Hit, type Scanner } from './scan.ts';
import type { SharedFinds } from './shared-finds.ts';
import { compareKeys, sortCodes, sortKeysOf, type SortValue } from './sort.ts';

/** What a search may cost. */
export interface SearchLimits {
  /** Candidates that a page may look at. */
  readonly candidates: number;
  readonly pageMs: number;
  /** Totals are left out beyond this many candidates or this time, unless they are asked for. */
  readonly totalCandidates: number;
  readonly totalMs: number;
  /** The same where the total is asked for: then refused beyond. */
  readonly accurateCandidates: number;
  readonly accurateMs: number;
}

export const searchLimits: SearchLimits = { candidates: 100_000, pageMs: 5_000, totalCandidates: 20_000, totalMs: 300, accurateCandidates: 200_000, accurateMs: 5_000 };

/** Where a page ended. */
interface Cursor {
  /** Order of recording of the last match. */
  readonly o: string;
  /** Its sort values, where the sort is not by order of recording. */
  readonly k?: readonly SortValue[];
  /** Total as the first page told it. */
  readonly n?: number;
}

interface Work {
  readonly request: SearchRequest;
  readonly plans: readonly TypePlan[];
  readonly filter: object;
  readonly lists: readonly (readonly Buffer[])[] | undefined;
  readonly cursor: Cursor | undefined;
  readonly session: ClientSession | undefined;
}

/** A match, as far as it was fetched. */
type Found = Pick<Hit, 'order'> & Partial<Pick<Hit, 'docId' | 'document'>> & { readonly version?: StoredVersion };

/** Searches: tokens pick candidates, the scanner checks what tokens do not settle, so that answers are exact or refused. */
export class Searcher {
  readonly #app: Connection;
  readonly #reader: Reader;
  readonly #filters: FilterWriter;
  readonly #scanner: Scanner;
  readonly #shared: SharedFinds;
  readonly #limits: SearchLimits;
  readonly #present: () => TokensPresent;

  constructor(options: { app: Connection; reader: Reader; filters: FilterWriter; scanner: Scanner; shared: SharedFinds; limits: SearchLimits; present: () => TokensPresent }) {
    this.#app = options.app;
    this.#reader = options.reader;
    this.#filters = options.filters;
    this.#scanner = options.scanner;
    this.#shared = options.shared;
    this.#limits = options.limits;
    this.#present = options.present;
  }

  /**
   * See `StoreReads.search`. Unsorted, or sorted by time, a search walks the order of recording, oldest first: what changes
   * while a client pages moves to the end and is met again there, and never missed.
   * @throws InterlockError `too-costly`
   */
  async search(request: SearchRequest, session?: ClientSession): Promise<SearchPage> {
    const plans = request.types.map((type) => planType(type, request.where, this.#present())).filter(({ candidates }) => candidates.op !== 'false');
    const filter = this.#filters.filterOf(plans, ({ candidates }) => candidates);
    if (filter === undefined) return { matches: [], ...(request.total === 'none' ? {} : { total: 0 }) };
    const lists = this.#filters.tokenListsOf(plans, ({ candidates }) => candidates);
    const work: Work = { request, plans, filter, lists, cursor: request.after === undefined ? undefined : readCursor(request.after), session };
    if (request.count === 0) {
      return request.total === 'none' ? { matches: [] } : { matches: [], total: await this.#total(work, true) };
    }
    const [first] = request.sort;
    return first === undefined || first.param === '_lastUpdated' ? this.#walk(work, first?.descending === true ? -1 : 1) : this.#gather(work);
  }

  /** A page in order of recording. */
  async #walk(work: Work, direction: 1 | -1): Promise<SearchPage> {
    const { request, cursor, plans, filter, lists, session } = work;
    const after = cursor === undefined ? undefined : BigInt(cursor.o);
    const wanted = request.count + 1;
    let found: Found[];
    if (plans.every(({ exact }) => exact)) {
      const bound = after === undefined ? filter : { $and: [filter, { o: direction === 1 ? { $gt: after } : { $lt: after } }] };
      const find = { filter: bound, limit: wanted, maxTimeMs: this.#limits.pageMs };
      const documents = lists !== undefined && direction === 1 && after === undefined && session === undefined
        ? await this.#shared.find({ ...find, lists })
        : await findDocuments(this.#app, 'resources', { ...find, sort: { o: direction } }, session);
      found = (await this.#reader.openAll(documents)).map((version) => ({ order: version.order, version }));
    } else {
      found = [];
      const budget = new Budget(this.#limits.candidates, this.#limits.pageMs);
      const seen = new Set<string>();
      for await (const hits of this.#scanner.scan({ filter, plans, direction, ...(after === undefined ? {} : { after }), batch: 2 * wanted, wanted, few: plans.every(({ candidates }) => isSelective(candidates)), ...(lists && { lists }) }, budget, session)) {
        // What is updated during the scan may come twice.
        found.push(...hits.filter(({ docId }) => seen.size < seen.add(docId.toString('latin1')).size));
        if (found.length >= wanted) break;
      }
    }
    const more = found.length >= wanted;
    const page = found.slice(0, request.count);
    const total = cursor === undefined ? (more ? await this.#wantedTotal(work) : request.total === 'none' ? undefined : found.length) : cursor.n;
    const last = page.at(-1);
    return {
      matches: await this.#open(page, session),
      ...(total === undefined ? {} : { total }),
      ...(more && last !== undefined ? { next: writeCursor({ o: String(last.order), ...(total === undefined ? {} : { n: total }) }) } : {}),
    };
  }

  /** A page in the order of values: all matches are gathered by their columns, sorted, and cut. */
  async #gather(work: Work): Promise<SearchPage> {
    const { request, cursor, plans, filter, lists, session } = work;
    const budget = new Budget(this.#limits.candidates, this.#limits.pageMs);
    const hits = new Map<string, { readonly hit: Hit; readonly keys: readonly SortValue[] }>();
    const few = plans.every(({ candidates }) => isSelective(candidates));
    for await (const batch of this.#scanner.scan({ filter, plans, direction: 1, values: sortCodes(request.sort), batch: few ? 2 * (request.count + 1) : 1_000, few, ...(lists && { lists }) }, budget, session)) {
      for (const hit of batch) hits.set(hit.docId.toString('latin1'), { hit, keys: sortKeysOf(hit, request.sort) });
    }
    const compare = (a: { hit: { order: bigint }; keys: readonly SortValue[] }, b: { hit: { order: bigint }; keys: readonly SortValue[] }): number =>
      compareKeys(a.keys, b.keys, request.sort) || (a.hit.order < b.hit.order ? -1 : a.hit.order > b.hit.order ? 1 : 0);
    const from = cursor?.k === undefined ? undefined : { hit: { order: BigInt(cursor.o) }, keys: cursor.k };
    const rest = [...hits.values()].filter((entry) => from === undefined || compare(entry, from) > 0).sort(compare);
    const page = rest.slice(0, request.count);
    const last = page.at(-1);
    const total = request.total === 'none' ? undefined : (cursor?.n ?? hits.size);
    return {
      matches: await this.#open(page.map(({ hit }) => hit), session),
      ...(total === undefined ? {} : { total }),
      ...(rest.length > page.length && last !== undefined ? { next: writeCursor({ o: String(last.hit.order), k: last.keys, ...(total === undefined ? {} : { n: total }) }) } : {}),
    };
  }

  /** The versions of a page; what changed since it was found is left out, and comes again where it is now. */
  async #open(page: readonly Found[], session: ClientSession | undefined): Promise<StoredVersion[]> {
    const closed = page.flatMap(({ version, document }) => (version === undefined && document !== undefined ? [document] : []));
    const missing = page.flatMap(({ version, document, docId }) => (version === undefined && document === undefined && docId !== undefined ? [docId] : []));
    const fetched = missing.length === 0 ? [] : await findDocuments(this.#app, 'resources', { filter: { _id: { $in: missing } }, limit: missing.length }, session);
    const byOrder = new Map((await this.#reader.openAll([...closed, ...fetched])).map((version) => [version.order, version]));
    return page.flatMap(({ order, version }) => version ?? byOrder.get(order) ?? []);
  }

  async #wantedTotal(work: Work): Promise<number | undefined> {
    if (work.request.total === 'none') return undefined;
    if (work.request.total === 'accurate') return this.#total(work, true);
    try {
      return await this.#total(work, false);
    } catch (cause) {
      if (cause instanceof InterlockError && cause.code === 'too-costly') return undefined;
      throw cause;
    }
  }

  /** What tokens settle is counted by MongoDB, the rest looked at. @throws InterlockError `too-costly` */
  async #total({ plans, session }: Work, accurate: boolean): Promise<number> {
    const candidates = accurate ? this.#limits.accurateCandidates : this.#limits.totalCandidates;
    const budget = new Budget(candidates, accurate ? this.#limits.accurateMs : this.#limits.totalMs);
    const certain = this.#filters.filterOf(plans, (plan) => plan.certain);
    const limit = accurate ? Number.MAX_SAFE_INTEGER : candidates + 1;
    let total = certain === undefined ? 0 : await countUpTo(this.#app, 'resources', certain, limit, budget.leftMs, session);
    if (!accurate) budget.spend(total);
    const doubtful = this.#filters.filterOf(plans, (plan) => plan.doubtful);
    if (doubtful === undefined) return total;
    const seen = new Set<string>();
    for await (const hits of this.#scanner.scan({ filter: doubtful, plans: plans.filter((plan) => !plan.exact), direction: 1, batch: 500 }, budget, session)) {
      for (const { docId } of hits) seen.add(docId.toString('latin1'));
    }
    total += seen.size;
    return total;
  }
}

function writeCursor(cursor: Cursor): string {
  return JSON.stringify(cursor);
}

function readCursor(text: string): Cursor {
  return JSON.parse(text) as Cursor;
}
