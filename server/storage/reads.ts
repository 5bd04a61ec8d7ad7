import type { ClientSession, Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { StoredVersion } from './contract.ts';
import { pastId, type DocumentCodec, type StoredDocument } from './document.ts';
import { findDocuments } from './driver.ts';
import { SharedCalls } from './shared-calls.ts';
import { OpenVersion } from './version.ts';

/** Reads that share one command; what MongoDB answers at once stays within 16 MB, else more is fetched. */
const shared = { maxItems: 64, maxUnderWay: 1 } as const;

/** Of a read of several, as many share the command of others. */
const maxSharedIds = 16;

/** Reads by id. */
export class Reader {
  readonly #app: Connection;
  readonly #codec: DocumentCodec;
  readonly #current: { readonly [level in 'majority' | 'local']: SharedCalls<Buffer, StoredDocument | undefined> };

  constructor(options: { app: Connection; codec: DocumentCodec }) {
    this.#app = options.app;
    this.#codec = options.codec;
    const find = (level: 'majority' | 'local') => new SharedCalls((ids: readonly Buffer[]) => this.#find(ids, level), shared);
    this.#current = { majority: find('majority'), local: find('local') };
  }

  /** See `StoreReads.read`. */
  async read(type: string, id: string, session?: ClientSession): Promise<StoredVersion | undefined> {
    const found = await this.current(this.#codec.docId(type, id), session);
    return found === undefined ? undefined : expect(await this.open(found), type, id);
  }

  /**
   * The current document of a resource, not yet verified.
   * @param level `local` sees what is not yet acknowledged: for writes that build on what they find
   */
  async current(docId: Buffer, session?: ClientSession, level: 'majority' | 'local' = 'majority'): Promise<StoredDocument | undefined> {
    if (session === undefined) return this.#current[level].call(docId);
    return (await findDocuments(this.#app, 'resources', { filter: { _id: docId }, limit: 1 }, session))[0];
  }

  async #find(ids: readonly Buffer[], level: 'majority' | 'local'): Promise<(StoredDocument | undefined)[]> {
    const [only] = ids;
    const found = await findDocuments(this.#app, 'resources', { filter: { _id: ids.length === 1 ? only : { $in: ids } }, limit: ids.length, level });
    if (ids.length === 1) return found;
    const byId = new Map(found.map((document) => [document._id.toString('latin1'), document]));
    return ids.map((id) => byId.get(id.toString('latin1')));
  }

  /** See `StoreReads.readMany`. */
  async readMany(refs: readonly { readonly type: string; readonly id: string }[], session?: ClientSession): Promise<StoredVersion[]> {
    const ids = new Map(refs.map(({ type, id }) => [`${type}/${id}`, this.#codec.docId(type, id)]));
    if (ids.size === 0) return [];
    if (session === undefined && ids.size <= maxSharedIds) return this.openAll((await Promise.all([...ids.values()].map(async (id) => this.current(id)))).filter((document) => document !== undefined));
    const found = await findDocuments(this.#app, 'resources', { filter: { _id: { $in: [...ids.values()] } }, limit: ids.size }, session);
    return this.openAll(found);
  }

  /** See `StoreReads.vread`. */
  async vread(type: string, id: string, versionId: number, session?: ClientSession): Promise<StoredVersion | undefined> {
    if (!Number.isInteger(versionId) || versionId < 1 || versionId > 0xffffffff) return undefined;
    const docId = this.#codec.docId(type, id);
    // Current first: a version leaves it only after it has arrived among the past ones.
    const [current] = await findDocuments(this.#app, 'resources', { filter: { _id: docId, vid: versionId }, limit: 1 }, session);
    const found = current ?? (await findDocuments(this.#app, 'versions', { filter: { _id: pastId(docId, versionId) }, limit: 1 }, session))[0];
    return found === undefined ? undefined : expect(await this.open(found), type, id);
  }

  /** See `StoreTransaction.readBefore`. */
  async readBefore(current: readonly { readonly type: string; readonly id: string; readonly versionId: number }[], session: ClientSession): Promise<StoredVersion[]> {
    if (current.length === 0) return [];
    const ids = current.map(({ type, id, versionId }) => pastId(this.#codec.docId(type, id), versionId - 1));
    return this.openAll(await findDocuments(this.#app, 'versions', { filter: { _id: { $in: ids } }, limit: ids.length }, session));
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
