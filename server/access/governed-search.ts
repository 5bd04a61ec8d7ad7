import { InterlockError } from '../../resources/outcome/error.ts';
import type { SettledSearch } from '../search/criteria.ts';
import type { SearchPage, Store, StoredVersion } from '../storage/contract.ts';
import type { AccessContext } from './context.ts';
import { permitted } from './decide.ts';
import { unconfined, type SecurityContexts } from './security-context.ts';

/** How many matches are looked at for one page, and for a total unless it was asked for. */
const maxExamined = 10_000;
const maxCountedByDefault = 1_000;
const batch = 200;

/**
 * Searches over types whose access other resources decide, which no filter of MongoDB knows: matches are looked
 * at one by one, so that pages, their links and totals tell of nothing else than what the caller sees.
 */
export class GovernedSearch {
  readonly #store: Store;
  readonly #context: AccessContext;
  readonly #contexts: SecurityContexts;

  constructor(store: Store, context: AccessContext, contexts: SecurityContexts) {
    this.#store = store;
    this.#context = context;
    this.#contexts = contexts;
  }

  /** @throws InterlockError `forbidden`, `too-costly` */
  async page(search: SettledSearch, types: readonly string[], after: string | undefined): Promise<SearchPage> {
    const matches: StoredVersion[] = [];
    let next = after;
    if (search.count > 0) {
      for (let examined = 0; examined < maxExamined && matches.length < search.count; ) {
        const found = await this.#find(search, types, search.count - matches.length, next);
        matches.push(...found.visible);
        examined += found.examined;
        next = found.next;
        if (next === undefined) break;
      }
      if (next !== undefined && matches.length === search.count && !(await this.#hasMore(search, types, next))) next = undefined;
    }
    const total = await this.#total(search, types);
    return { matches, ...(total === undefined ? {} : { total }), ...(next === undefined || search.count === 0 ? {} : { next }) };
  }

  async #find(search: SettledSearch, types: readonly string[], count: number, after: string | undefined): Promise<{ visible: StoredVersion[]; examined: number; next?: string }> {
    const where = permitted(unconfined(this.#context), types, search.where);
    const { matches, next } = await this.#store.search({ types, where, sort: search.sort, count, total: 'none', ...(after === undefined ? {} : { after }) });
    return { visible: await this.#contexts.visible(matches, ['s']), examined: matches.length, ...(next === undefined ? {} : { next }) };
  }

  async #hasMore(search: SettledSearch, types: readonly string[], from: string): Promise<boolean> {
    let next: string | undefined = from;
    for (let examined = 0; next !== undefined && examined < maxExamined; ) {
      const found = await this.#find(search, types, batch, next);
      if (found.visible.length > 0) return true;
      examined += found.examined;
      next = found.next;
    }
    return next !== undefined;
  }

  /** The other types are counted as ever; of these, each is looked at. */
  async #total(search: SettledSearch, types: readonly string[]): Promise<number | undefined> {
    if (search.total === 'none') return undefined;
    const others = types.filter((type) => !this.#contexts.governs(type));
    const counted = others.length === 0 ? { total: 0 } : await this.#store.search({ types: others, where: permitted(this.#context, others, search.where), sort: [], count: 0, total: search.total });
    if (counted.total === undefined) return undefined;
    let { total } = counted;
    let next: string | undefined;
    const most = search.total === 'accurate' ? maxExamined : maxCountedByDefault;
    for (let examined = 0; ; ) {
      const found = await this.#find({ ...search, sort: [] }, types.filter((type) => this.#contexts.governs(type)), batch, next);
      total += found.visible.length;
      examined += found.examined;
      next = found.next;
      if (next === undefined) return total;
      if (examined >= most) {
        if (search.total === 'accurate') throw new InterlockError('too-costly');
        return undefined;
      }
    }
  }
}
