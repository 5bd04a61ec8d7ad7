import type { Connection } from 'mongoose';
import { findDocuments } from './driver.ts';
import type { FetchedDocument } from './fetched.ts';
import { SharedCalls } from './shared-calls.ts';

/** Documents that have one token of each list. */
export interface TokenFind {
  /** MongoDB walks the index of the first list. */
  readonly lists: readonly (readonly Buffer[])[];
  /** The same as MongoDB's filter. */
  readonly filter: object;
  readonly limit: number;
  readonly maxTimeMs: number;
}

/** Finds that share one command: each may ask for so many tokens and documents. */
const shared = { maxItems: 16, maxUnderWay: 1 } as const;
const largest = { tokens: 8, limit: 128 } as const;
/** Tokens that more documents have than one find takes, as far as they are remembered. */
const maxFrequent = 10_000;

/**
 * Lets small finds that arrive while others are under way go together: one command asks for the tokens of all, without an
 * order, and its documents are dealt out by the tokens that they have. What does not fit in the reply is asked for alone.
 */
export class SharedFinds {
  readonly #app: Connection;
  readonly #calls: SharedCalls<TokenFind, readonly FetchedDocument[]>;
  #frequent = new Set<string>();

  constructor(app: Connection) {
    this.#app = app;
    this.#calls = new SharedCalls((finds) => this.#findAll(finds), shared);
  }

  /** The first of the documents, in order of recording. @throws InterlockError `too-costly`, `unavailable` */
  async find(find: TokenFind): Promise<readonly FetchedDocument[]> {
    const leaders = find.lists[0] ?? [];
    const isSmall = find.limit <= largest.limit && leaders.length > 0 && leaders.length <= largest.tokens && !leaders.some((token) => this.#frequent.has(token.toString('latin1')));
    return isSmall ? this.#calls.call(find) : this.#findOne(find);
  }

  async #findAll(finds: readonly TokenFind[]): Promise<readonly (readonly FetchedDocument[])[]> {
    if (finds.length > 1) {
      const tokens = finds.flatMap(({ lists }) => lists[0]!);
      const limit = finds.reduce((sum, find) => sum + find.limit, 0);
      const found = await findDocuments(this.#app, 'resources', { filter: { x: { $in: tokens } }, limit, maxTimeMs: Math.max(...finds.map(({ maxTimeMs }) => maxTimeMs)) });
      if (found.length < limit) {
        found.sort((one, other) => (one.o < other.o ? -1 : 1));
        return finds.map(({ lists, limit: own }) => found.filter((document) => lists.every((list) => hasOne(document, list))).slice(0, own));
      }
      for (const { lists: [leaders = []], limit: own } of finds) if (found.filter((document) => hasOne(document, leaders)).length >= own) this.#remember(leaders);
    }
    return Promise.all(finds.map((find) => this.#findOne(find)));
  }

  async #findOne({ lists, filter, limit, maxTimeMs }: TokenFind): Promise<FetchedDocument[]> {
    const found = await findDocuments(this.#app, 'resources', { filter, sort: { o: 1 }, limit, maxTimeMs });
    if (found.length >= limit) this.#remember(lists[0] ?? []);
    return found;
  }

  #remember(tokens: readonly Buffer[]): void {
    if (this.#frequent.size >= maxFrequent) this.#frequent = new Set();
    for (const token of tokens) this.#frequent.add(token.toString('latin1'));
  }
}

function hasOne(document: FetchedDocument, tokens: readonly Buffer[]): boolean {
  return tokens.some((token) => document.hasToken(token));
}
