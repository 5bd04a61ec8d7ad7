import { mongo, type Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import { idBytes, pastId, type DocumentCodec, type StoredDocument } from './document.ts';
import { findBatch, readFailure } from './driver.ts';
import type { Files } from './files.ts';
import { compare, explain, type IntegrityFinding, type Misfit, type SeenDocument, type TrailOfWrites } from './findings.ts';
import { Inventory, type ExpectedVersion, type InventoryPart, type RecordedVersion } from './inventory.ts';

export interface IntegrityOptions {
  readonly trail: TrailOfWrites;
  /** For what does not fit into memory; its own, emptied before and after. */
  readonly directory: string;
  /** What may be in memory of what must be stored; more goes into files. */
  readonly memoryBytes?: number;
  /** Awaited after each document: where others get their turn. */
  readonly breathe: () => Promise<void>;
  /** Told how many documents were looked at, and about how many there are. */
  readonly onProgress?: (documents: number, of: number) => void;
  /** Awaited before what did not fit is looked at again: writes that were under way come to an end. */
  readonly settle: () => Promise<unknown>;
}

/** What a check found. */
export interface IntegrityReport {
  /** Documents looked at, those of past versions included, and files. */
  readonly documents: number;
  readonly files: number;
  /** Versions of which the entries were purged after their time: only their seals could be checked. */
  readonly purged: number;
  /** At most {@link maxListed}, in the order of document ids. */
  readonly findings: readonly IntegrityFinding[];
  /** In all; of more than {@link maxSuspects} resources the rest was not looked at. */
  readonly found: number;
  readonly complete: boolean;
}

/** Findings that a report lists. */
export const maxListed = 1_000;
/** Resources that may not fit before a check gives up: then nothing is right. */
export const maxSuspects = 10_000;

const firstId = Buffer.alloc(idBytes);
const lastId = Buffer.alloc(idBytes, 0xff);
const firstPastId = Buffer.alloc(idBytes + 4);
const lastPastId = Buffer.alloc(idBytes + 4, 0xff);

interface Suspect {
  readonly docId: Buffer;
  readonly expected: readonly ExpectedVersion[];
}

/**
 * Compares everything that is stored with everything that the audit trail says was written. First the trail is told to
 * {@link expect}, then {@link run} walks over current and past versions. What does not fit is looked at once more at the
 * end, so that writes during the check are no findings.
 */
export class IntegrityCheck {
  readonly #app: Connection;
  readonly #codec: DocumentCodec;
  readonly #files: Files;
  readonly #options: IntegrityOptions;
  readonly #inventory: Inventory;
  #documents = 0;
  #expectedDocuments = 0;
  #fileCount = 0;
  #purged = 0;

  constructor({ app, codec, files, ...options }: IntegrityOptions & { readonly app: Connection; readonly codec: DocumentCodec; readonly files: Files }) {
    this.#app = app;
    this.#codec = codec;
    this.#files = files;
    this.#options = options;
    this.#inventory = new Inventory(codec, options.directory, options.memoryBytes);
  }

  /** Takes in a write that the trail tells of. */
  expect(recorded: RecordedVersion): void {
    this.#inventory.add(recorded);
  }

  /** @throws InterlockError `unavailable` if MongoDB goes away meanwhile */
  async run(): Promise<IntegrityReport> {
    const suspects: Suspect[] = [];
    try {
      this.#expectedDocuments = (await Promise.all(['resources', 'versions'].map(async (name) => this.#app.db!.collection(name).estimatedDocumentCount()))).reduce((sum, count) => sum + count, 0);
      for (const part of this.#inventory.parts()) if (suspects.length < maxSuspects) await this.#walk(part, suspects);
      const counted = { documents: this.#documents, files: this.#fileCount, purged: this.#purged };
      const strange = await this.#strange();
      if (suspects.length > 0) await this.#options.settle();
      const misfits: Misfit[] = [];
      for (const { docId, expected } of suspects) misfits.push(...compare(docId, expected, await this.#lookAgain(docId, expected, misfits.length < maxListed)));
      const findings = [...(await explain(misfits.slice(0, maxListed), this.#codec, this.#options.trail)), ...strange];
      return { ...counted, findings: findings.slice(0, maxListed), found: misfits.length + strange.length, complete: suspects.length < maxSuspects };
    } catch (cause) {
      throw readFailure(cause);
    }
  }

  /** Forgets everything. */
  close(): void {
    this.#inventory.remove();
  }

  /** Goes along current and past versions side by side, both in the order of their ids. */
  async #walk(part: InventoryPart, suspects: Suspect[]): Promise<void> {
    const { expected } = part;
    const missing = new Set(expected.keys());
    const current = this.#cursor('resources', part, idBytes);
    const past = this.#cursor('versions', part, idBytes + 4);
    try {
      let [nextCurrent, nextPast] = [await current.next(), await past.next()];
      while (nextCurrent !== null || nextPast !== null) {
        const docId = Buffer.from([nextCurrent, nextPast].filter((one) => one !== null).map(({ _id }) => _id.subarray(0, idBytes)).sort((a, b) => Buffer.compare(a, b))[0]!);
        const key = docId.toString('latin1');
        const own = expected.get(key) ?? [];
        const seen: SeenDocument[] = [];
        for (; nextCurrent !== null && nextCurrent._id.equals(docId); nextCurrent = await current.next()) seen.push(await this.#examine(nextCurrent, own, false));
        for (; nextPast !== null && nextPast._id.subarray(0, idBytes).equals(docId); nextPast = await past.next()) seen.push(await this.#examine(nextPast, own, false));
        missing.delete(key);
        if (compare(docId, own, seen).length > 0) suspects.push({ docId, expected: own });
        if (suspects.length >= maxSuspects) return;
      }
    } finally {
      await Promise.all([current.close(), past.close()]);
    }
    for (const key of missing) suspects.push({ docId: Buffer.from(key, 'latin1'), expected: expected.get(key)! });
  }

  #cursor(collection: string, { from, to }: InventoryPart, bytes: number) {
    const [first, last] = [Buffer.alloc(bytes), Buffer.alloc(bytes, 0xff)];
    first[0] = from;
    last[0] = to;
    return this.#app.db!.collection<StoredDocument>(collection).find({ _id: { $gte: first, $lte: last } }, { sort: { _id: 1 }, promoteBuffers: true, useBigInt64: true, readConcern: 'majority', batchSize: 200 });
  }

  /** A version leaves the current ones only after it has arrived among the past ones: in this order none is missed. */
  async #lookAgain(docId: Buffer, expected: readonly ExpectedVersion[], keep: boolean): Promise<SeenDocument[]> {
    const seen: SeenDocument[] = [];
    for (const document of await findBatch<StoredDocument>(this.#app, 'resources', { filter: { _id: docId }, limit: 1 })) seen.push(await this.#examine(document, expected, keep));
    const past = this.#app.db!.collection<StoredDocument>('versions').find({ _id: { $gte: pastId(docId, 0), $lte: pastId(docId, 0xffffffff) } }, { sort: { _id: 1 }, promoteBuffers: true, useBigInt64: true, readConcern: 'majority' });
    for await (const document of past) seen.push(await this.#examine(document, expected, keep));
    return seen;
  }

  async #examine(document: StoredDocument, expected: readonly ExpectedVersion[], keep: boolean): Promise<SeenDocument> {
    this.#documents += 1;
    if (this.#documents % 200 === 0) this.#options.onProgress?.(Math.min(this.#documents, this.#expectedDocuments), this.#expectedDocuments);
    await this.#options.breathe();
    const current = document._id.length === idBytes;
    const state = await this.#stateOf(document, expected);
    // Of a broken document anything may be of any kind.
    const said: unknown = document.vid;
    const versionId = state === 'broken' && !current ? document._id.readUInt32BE(idBytes) : typeof said === 'number' ? said : 0;
    return { state, current, versionId, ...(keep && state !== 'sound' ? { document } : {}) };
  }

  async #stateOf(document: StoredDocument, expected: readonly ExpectedVersion[]): Promise<SeenDocument['state']> {
    try {
      this.#codec.verify(document);
      await this.#codec.loadKeys([document]);
    } catch (error) {
      if (!(error instanceof InterlockError)) throw error;
      if (error.code === 'integrity-failure') return 'broken';
      if (error.code === 'key-missing' || error.code === 'key-wrong') return 'unreadable';
      throw error;
    }
    let body;
    try {
      body = this.#codec.open(document);
    } catch (error) {
      if (error instanceof InterlockError && error.code === 'integrity-failure') return 'broken';
      throw error;
    }
    const hash = this.#codec.hash({ ...body, versionId: document.vid, atMs: document.at.getTime(), deleted: document.del });
    const known = expected.find(({ versionId }) => versionId === document.vid);
    if (known !== undefined && !known.fingerprint.equals(this.#inventory.fingerprint(hash))) return 'other';
    if (known === undefined) {
      const { trail } = this.#options;
      const entryId = document.audit.subarray(0, idBytes);
      const recorded = await trail.recorded(entryId);
      if (recorded.length === 0 && trail.isPurged(entryId)) this.#purged += 1;
      else if (!recorded.some((one) => one.type === body.type && one.id === body.id && one.versionId === document.vid && one.hash === hash)) return 'unrecorded';
    }
    if (body.file === undefined) return 'sound';
    this.#fileCount += 1;
    try {
      for await (const piece of this.#files.open(body.file)) if (piece.length > 0) await this.#options.breathe();
    } catch (error) {
      if (!(error instanceof InterlockError) || !['integrity-failure', 'key-missing', 'key-wrong'].includes(error.code)) throw error;
      return (await this.#files.hasAllChunks(body.file)) ? 'content-altered' : 'content-removed';
    }
    return 'sound';
  }

  /** Documents under ids that are never made, and so lie outside the walk. */
  async #strange(): Promise<IntegrityFinding[]> {
    const findings: IntegrityFinding[] = [];
    for (const [collection, first, last] of [['resources', firstId, lastId], ['versions', firstPastId, lastPastId]] as const) {
      const outside = { $or: [{ _id: { $lt: first } }, { _id: { $gt: last } }, { _id: { $not: { $type: 'binData' } } }] } as object;
      for await (const { _id } of this.#app.db!.collection(collection).find(outside, { projection: { _id: 1 }, limit: maxListed, readConcern: 'majority' })) {
        findings.push({ kind: 'unrecorded', document: (_id as unknown) instanceof mongo.Binary ? (_id as unknown as mongo.Binary).toString('hex') : 'not binary', text: `It stands in ${collection} under an id that this system does not make.` });
      }
    }
    return findings;
  }
}
