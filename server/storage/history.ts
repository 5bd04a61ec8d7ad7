import type { Connection } from 'mongoose';
import { resourceTypes } from '../../resources/definitions/index.ts';
import { firstOrderAt } from './clock.ts';
import type { HistoryRequest, StoredVersion } from './contract.ts';
import { pastId, type DocumentCodec, type StoredDocument } from './document.ts';
import { findBatch } from './driver.ts';
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

  /** See `Store.history`. */
  async history(request: HistoryRequest): Promise<HistoryPage> {
    const { type, id, count, since } = request;
    const before = request.after === undefined ? undefined : BigInt(request.after);
    const oldest = since === undefined ? {} : { $gte: firstOrderAt(since.getTime()) };
    const newest = before === undefined ? {} : { $lt: before };
    // Current ones first: a version leaves them only after it has arrived among the past ones.
    let found: StoredDocument[];
    if (type !== undefined && id !== undefined) {
      const docId = this.#codec.docId(type, id);
      const range = { ...oldest, ...newest };
      const o = Object.keys(range).length === 0 ? {} : { o: range };
      found = [
        ...(await this.#find('resources', { _id: docId, ...o }, 1)),
        ...(await this.#find('versions', { _id: { $gte: pastId(docId, 0), $lte: pastId(docId, 0xffffffff) }, ...o }, count + 1, { _id: -1 })),
      ];
    } else {
      // Nothing at or above the oldest write in flight, which could still slip in below what a client has seen.
      const floor = await this.#epoch.floor();
      const o = { ...oldest, $lt: before === undefined || floor < before ? floor : before };
      const t = type === undefined ? { $in: resourceTypes().map((one) => this.#codec.typeCode(one)) } : this.#codec.typeCode(type);
      found = [...(await this.#find('resources', { t, o }, count + 1, { o: -1 })), ...(await this.#find('versions', { t, o }, count + 1, { o: -1 }))];
    }
    const byOrder = new Map<bigint, StoredDocument>();
    // A version can be in both collections for a moment, or after a crash for longer.
    for (const document of found) {
      if (byOrder.has(document.o)) this.#codec.verify(document);
      else byOrder.set(document.o, document);
    }
    const sorted = [...byOrder.values()].sort((a, b) => (a.o < b.o ? 1 : -1));
    const page = sorted.slice(0, count);
    const versions = await this.#reader.openAll(page);
    return { versions, ...(sorted.length > count && count > 0 ? { next: String(page.at(-1)!.o) } : {}) };
  }

  #find(collection: string, filter: object, limit: number, sort?: Record<string, 1 | -1>): Promise<StoredDocument[]> {
    return findBatch<StoredDocument>(this.#app, collection, { filter, limit, ...(sort === undefined ? {} : { sort }) });
  }
}
