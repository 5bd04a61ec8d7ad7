import type { ClientSession, Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { StoredVersion } from './contract.ts';
import { pastId, type DocumentCodec, type StoredDocument } from './document.ts';
import { findBatch } from './driver.ts';
import { OpenVersion } from './version.ts';

/** Reads by id. */
export class Reader {
  readonly #app: Connection;
  readonly #codec: DocumentCodec;

  constructor(options: { app: Connection; codec: DocumentCodec }) {
    this.#app = options.app;
    this.#codec = options.codec;
  }

  /** See `StoreReads.read`. */
  async read(type: string, id: string, session?: ClientSession): Promise<StoredVersion | undefined> {
    const [found] = await findBatch<StoredDocument>(this.#app, 'resources', { filter: { _id: this.#codec.docId(type, id) }, limit: 1 }, session);
    return found === undefined ? undefined : expect(await this.open(found), type, id);
  }

  /** See `StoreReads.readMany`. */
  async readMany(refs: readonly { readonly type: string; readonly id: string }[], session?: ClientSession): Promise<StoredVersion[]> {
    const ids = new Map(refs.map(({ type, id }) => [`${type}/${id}`, this.#codec.docId(type, id)]));
    if (ids.size === 0) return [];
    const found = await findBatch<StoredDocument>(this.#app, 'resources', { filter: { _id: { $in: [...ids.values()] } }, limit: ids.size }, session);
    return this.openAll(found);
  }

  /** See `StoreReads.vread`. */
  async vread(type: string, id: string, versionId: number, session?: ClientSession): Promise<StoredVersion | undefined> {
    if (!Number.isInteger(versionId) || versionId < 1 || versionId > 0xffffffff) return undefined;
    const docId = this.#codec.docId(type, id);
    // Current first: a version leaves it only after it has arrived among the past ones.
    const [current] = await findBatch<StoredDocument>(this.#app, 'resources', { filter: { _id: docId, vid: versionId }, limit: 1 }, session);
    const found = current ?? (await findBatch<StoredDocument>(this.#app, 'versions', { filter: { _id: pastId(docId, versionId) }, limit: 1 }, session))[0];
    return found === undefined ? undefined : expect(await this.open(found), type, id);
  }

  /** Verifies and opens a document. @throws InterlockError `integrity-failure` */
  async open(document: StoredDocument): Promise<OpenVersion> {
    await this.#codec.loadKeys([document]);
    return new OpenVersion(this.#codec.open(document), document);
  }

  /** The same for many. */
  async openAll(documents: readonly StoredDocument[]): Promise<OpenVersion[]> {
    await this.#codec.loadKeys(documents);
    return documents.map((document) => new OpenVersion(this.#codec.open(document), document));
  }
}

function expect(version: OpenVersion, type: string, id: string): OpenVersion {
  if (version.type !== type || version.id !== id) throw new InterlockError('integrity-failure');
  return version;
}
