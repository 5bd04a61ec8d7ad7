import type { Connection } from 'mongoose';
import { firstOrderAt } from './clock.ts';
import type { StoredVersion } from './contract.ts';
import type { DocumentCodec } from './document.ts';
import { findBatch, findDocuments } from './driver.ts';
import type { Reader } from './reads.ts';

const ordersAtOnce = 20_000;
const versionsAtOnce = 500;

/** Tells what was written of some types, whichever process wrote it, so that what is made of it can be kept up to date. */
export class Changes {
  readonly #app: Connection;
  readonly #codec: DocumentCodec;
  readonly #reader: Reader;

  constructor(options: { app: Connection; codec: DocumentCodec; reader: Reader }) {
    this.#app = options.app;
    this.#codec = options.codec;
    this.#reader = options.reader;
  }

  /** See `Store.recorded`: an index alone tells. */
  async recorded(types: readonly string[], sinceMs: number): Promise<bigint[]> {
    const orders: bigint[] = [];
    for (const type of types) {
      let after = firstOrderAt(sinceMs);
      for (;;) {
        const found = await findBatch<{ o: bigint }>(this.#app, 'resources', { filter: { t: this.#codec.typeCode(type), o: { $gt: after } }, projection: { _id: 0, o: 1 }, sort: { o: 1 }, limit: ordersAtOnce });
        for (const { o } of found) orders.push(o);
        if (found.length < ordersAtOnce) break;
        after = found.at(-1)!.o;
      }
    }
    return orders;
  }

  /** See `Store.versionsAt`. */
  async *versionsAt(type: string, orders: readonly bigint[]): AsyncGenerator<readonly StoredVersion[]> {
    for (let from = 0; from < orders.length; from += versionsAtOnce) {
      const some = orders.slice(from, from + versionsAtOnce);
      const found = await findDocuments(this.#app, 'resources', { filter: { t: this.#codec.typeCode(type), o: { $in: some } }, limit: some.length });
      yield await this.#reader.openAll(found);
    }
  }
}
