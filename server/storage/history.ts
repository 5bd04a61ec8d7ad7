import type { Connection } from 'mongoose';
import { resourceTypes } from '../../resources/definitions/index.ts';
import { firstOrderAt } from './clock.ts';
import type { HistoryRequest, StoredVersion } from './contract.ts';
import { idBytes, pastId, type DocumentCodec, type StoredDocument } from './document.ts';
import { findBatch, findDocuments } from './driver.ts';
import type { Epoch } from './epochs.ts';
import type { Reader } from './reads.ts';

export interface HistoryPage {
  readonly versions: readonly StoredVersion[];
  readonly next?: string;
}

/** The past of an instance, of a type, or of everything: newest first (https://hl7.org/fhir/R4/http.html#history). */
export class Historian {
  readonly #app: Connection;
  readonly #codec: DocumentCodec;
  readonly #reader: Reader;
  readonly #epoch: Epoch;

  constructor(options: { app: Connection; codec: DocumentCodec; reader: Reader; epoch: Epoch }) {
    this.#app = options.app;
    this.#codec = options.codec;
    this.#reader = options.reader;
    this.#epoch = options.epoch;
  }

  /** See `Store.history`. Looks at no more than {@link maxExamined} versions: a page may then be short, or empty, and go on. */
  async history(request: HistoryRequest): Promise<HistoryPage> {
    const { count, at } = request;
    const kept: StoredDocument[] = [];
    let after = request.after === undefined ? undefined : BigInt(request.after);
    for (let examined = 0; ; ) {
      const batch = at === undefined ? count : Math.max(count, leastBatch);
      const found = await this.#newest(request, batch + 1, after);
      const page = found.slice(0, batch);
      const current = at === undefined ? page : await this.#currentAt(page, at.lo);
      for (const document of current) {
        if (kept.length === count) return this.#page(kept, kept.at(-1)?.o);
        kept.push(document);
      }
      examined += page.length;
      after = page.at(-1)?.o;
      if (found.length <= batch) return this.#page(kept, undefined);
      if (at === undefined || examined >= maxExamined) return this.#page(kept, after);
    }
  }

  async #page(documents: readonly StoredDocument[], next: bigint | undefined): Promise<HistoryPage> {
    const versions = await this.#reader.openAll(documents);
    return { versions, ...(next === undefined ? {} : { next: String(next) }) };
  }

  /** The newest versions within the bounds of time, each once. */
  async #newest({ type, id, since, at }: HistoryRequest, count: number, before: bigint | undefined): Promise<StoredDocument[]> {
    const oldest = since === undefined ? {} : { $gte: firstOrderAt(since.getTime()) };
    const until = at === undefined ? undefined : firstOrderAt(at.hi);
    const bounds = [before, until].filter((bound) => bound !== undefined);
    // Current ones first: a version leaves them only after it has arrived among the past ones.
    let found: StoredDocument[];
    if (type !== undefined && id !== undefined) {
      const docId = this.#codec.docId(type, id);
      const range = { ...oldest, ...(bounds.length === 0 ? {} : { $lt: least(bounds) }) };
      const o = Object.keys(range).length === 0 ? {} : { o: range };
      found = [
        ...(await this.#find('resources', { _id: docId, ...o }, 1)),
        ...(await this.#find('versions', { _id: { $gte: pastId(docId, 0), $lte: pastId(docId, 0xffffffff) }, ...o }, count, { _id: -1 })),
      ];
    } else {
      // Nothing at or above the oldest write in flight, which could still slip in below what a client has seen.
      const o = { ...oldest, $lt: least([...bounds, await this.#epoch.floor()]) };
      const t = type === undefined ? { $in: resourceTypes().map((one) => this.#codec.typeCode(one)) } : this.#codec.typeCode(type);
      found = [...(await this.#find('resources', { t, o }, count, { o: -1 })), ...(await this.#find('versions', { t, o }, count, { o: -1 }))];
    }
    const byOrder = new Map<bigint, StoredDocument>();
    // A version can be in both collections for a moment, or after a crash for longer.
    for (const document of found) {
      if (byOrder.has(document.o)) this.#codec.verify(document);
      else byOrder.set(document.o, document);
    }
    return [...byOrder.values()].sort((a, b) => (a.o < b.o ? 1 : -1)).slice(0, count);
  }

  /**
   * Of versions recorded before the end of a period, those that were current in it: recorded in it, or not yet followed by
   * another when it began. A resource that was deleted by then had no current version.
   */
  async #currentAt(documents: readonly StoredDocument[], lo: number): Promise<StoredDocument[]> {
    const earlier = documents.filter(({ at }) => at.getTime() < lo);
    const past = earlier.filter(({ _id, del }) => _id.length > idBytes && !del);
    const followers = new Map<string, number>();
    if (past.length > 0) {
      const next = past.map(({ _id, vid }) => ({ docId: _id.subarray(0, idBytes), vid: vid + 1 }));
      const projection = { _id: 1, vid: 1, at: 1 } as const;
      const found = [
        ...(await findBatch<StoredDocument>(this.#app, 'resources', { filter: { _id: { $in: next.map(({ docId }) => docId) } }, projection, limit: next.length })),
        ...(await findBatch<StoredDocument>(this.#app, 'versions', { filter: { _id: { $in: next.map(({ docId, vid }) => pastId(docId, vid)) } }, projection, limit: next.length })),
      ];
      for (const { _id, vid, at } of found) followers.set(`${_id.toString('hex', 0, idBytes)} ${vid}`, at.getTime());
    }
    const dropped = new Set(earlier.filter(({ _id, vid, del }) => del || (_id.length > idBytes && (followers.get(`${_id.toString('hex', 0, idBytes)} ${vid + 1}`) ?? Infinity) <= lo)));
    return documents.filter((document) => !dropped.has(document));
  }

  #find(collection: 'resources' | 'versions', filter: object, limit: number, sort?: Record<string, 1 | -1>): Promise<StoredDocument[]> {
    return findDocuments(this.#app, collection, { filter, limit, ...(sort === undefined ? {} : { sort }) });
  }
}

/** Versions looked at by one page, and at once, where most may turn out not to belong to it. */
const maxExamined = 10_000;
const leastBatch = 200;

function least(orders: readonly bigint[]): bigint {
  return orders.reduce((a, b) => (b < a ? b : a));
}
