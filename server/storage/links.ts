import type { ClientSession, Connection } from 'mongoose';
import { pointerLabel } from '../search/pointers.ts';
import { referrerLabels } from '../search/referrers.ts';
import { pointerScheme } from '../search/tokens.ts';
import type { ResourceKey, Standing, StoredVersion } from './contract.ts';
import type { DocumentCodec, StoredDocument } from './document.ts';
import { findBatch, findDocuments } from './driver.ts';
import type { Reader } from './reads.ts';
import type { TokenHasher } from './token-hash.ts';

/** Ids or tokens that one query asks for. */
const queryBatch = 5_000;

/** What refers to what, as far as integrity needs it. */
export class Links {
  readonly #app: Connection;
  readonly #codec: DocumentCodec;
  readonly #hasher: TokenHasher;
  readonly #reader: Reader;
  readonly #scheme: () => number;

  /** @param options `scheme`: which tokens all documents have */
  constructor(options: { app: Connection; codec: DocumentCodec; hasher: TokenHasher; reader: Reader; scheme: () => number }) {
    this.#app = options.app;
    this.#codec = options.codec;
    this.#hasher = options.hasher;
    this.#reader = options.reader;
    this.#scheme = options.scheme;
  }

  /** See `StoreReads.standing`. */
  async standing(keys: readonly ResourceKey[], session?: ClientSession): Promise<ReadonlyMap<string, Standing>> {
    const names = new Map(keys.map(({ type, id }) => [this.#codec.docId(type, id).toString('latin1'), `${type}/${id}`]));
    const ids = [...names.keys()].map((id) => Buffer.from(id, 'latin1'));
    const standing = new Map<string, Standing>();
    for (let from = 0; from < ids.length; from += queryBatch) {
      const batch = ids.slice(from, from + queryBatch);
      const found = await findBatch<Pick<StoredDocument, '_id' | 'vid' | 'del'>>(this.#app, 'resources', { filter: { _id: { $in: batch } }, projection: { vid: 1, del: 1 }, limit: batch.length }, session);
      for (const { _id, vid, del } of found) standing.set(names.get(_id.toString('latin1'))!, { versionId: vid, deleted: del });
    }
    return standing;
  }

  /** See `StoreReads.referrers`. */
  async referrers(keys: readonly ResourceKey[], limit: number, session?: ClientSession): Promise<StoredVersion[]> {
    let tokens: Buffer[] = [];
    const ask = async (): Promise<StoredVersion[]> => {
      const x = { $in: tokens };
      tokens = [];
      return this.#reader.openAll(await findDocuments(this.#app, 'resources', { filter: { x }, limit }, session));
    };
    for (const { type, id } of keys) {
      for (const label of referrerLabels(type, id)) tokens.push(this.#hasher.hash(label).token);
      if (tokens.length < queryBatch) continue;
      const found = await ask();
      if (found.length > 0) return found;
    }
    return tokens.length === 0 ? [] : ask();
  }

  /** See `StoreReads.pointersTo`. */
  async pointersTo(ids: readonly string[], limit: number, session?: ClientSession): Promise<StoredVersion[] | undefined> {
    if (this.#scheme() < pointerScheme) return undefined;
    const tokens = ids.map((id) => this.#hasher.hash(pointerLabel(id)).token);
    return this.#reader.openAll(await findDocuments(this.#app, 'resources', { filter: { x: { $in: tokens } }, limit }, session));
  }
}
