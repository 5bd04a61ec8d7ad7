import type { ClientSession, Connection, mongo } from 'mongoose';
import { setTimeout as pause } from 'node:timers/promises';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { VersionBody } from './body.ts';
import { orderMs } from './clock.ts';
import type { AuditOfWrite, PreparedWrite, SealedAuditEntry, UpdateTo, WriteResult } from './contract.ts';
import type { DocumentCodec, StoredDocument } from './document.ts';
import { findBatch, isDefiniteFailure } from './driver.ts';
import type { Epoch } from './epochs.ts';
import { Prepared } from './prepare.ts';
import type { Reader } from './reads.ts';
import { SharedWrites } from './shared-writes.ts';
import { OpenVersion } from './version.ts';
import { isDuplicateKey } from '../mongo/errors.ts';

/** A write that lost against another inside a transaction; the whole transaction is repeated. */
export class LostRace extends Error {
  override readonly name = 'LostRace';
}

export interface WriteOptions {
  /** Version that must be current; 0: must not exist. */
  readonly ifMatch?: number;
}

/** A sealed write, on its way. */
interface Sealed {
  readonly document: StoredDocument;
  readonly result: WriteResult;
}

/** A version before its number and time are known. */
interface NewVersion extends Omit<VersionBody, 'json'> {
  readonly docId: Buffer;
  readonly deleted: boolean;
  readonly tokens: readonly Buffer[];
  readonly columns: Buffer;
  json(versionId: number, at: Date): Buffer;
}

const maxRepeats = 5;
const nothing = Buffer.alloc(0);
const findManyBatch = 500;
const insertBatch = 100;

/** The write protocol of the store: one insert, or the past version put aside and a compare-and-set on the current one. */
export class Writer {
  readonly #app: Connection;
  readonly #codec: DocumentCodec;
  readonly #epoch: Epoch;
  readonly #reader: Reader;
  readonly #inserts: SharedWrites;
  readonly #asides: SharedWrites;
  readonly #replacements: SharedWrites;
  readonly #orders = new WeakMap<ClientSession, bigint[]>();

  constructor(options: { app: Connection; codec: DocumentCodec; epoch: Epoch; reader: Reader }) {
    this.#app = options.app;
    this.#codec = options.codec;
    this.#epoch = options.epoch;
    this.#reader = options.reader;
    this.#inserts = new SharedWrites(options.app, 'resources', 'insert');
    this.#asides = new SharedWrites(options.app, 'versions', 'insert');
    this.#replacements = new SharedWrites(options.app, 'resources', 'update');
  }

  /** See `StoreWrites.write`. With a session: one attempt. @throws LostRace in a transaction that must be repeated */
  async write(prepared: PreparedWrite, audit: AuditOfWrite, { ifMatch }: WriteOptions, session?: ClientSession): Promise<WriteResult> {
    const next = newVersion(prepared);
    // What must not exist is inserted at once: a duplicate id tells, without a look-up, that it does.
    let lookUp = session !== undefined || ifMatch !== 0;
    return repeat(async () => {
      const current = lookUp ? await this.#reader.current(next.docId, session, 'local') : undefined;
      if (lookUp) assertMatch(current, ifMatch);
      lookUp = true;
      return this.#put(next, current, audit, session);
    });
  }

  /** See `StoreWrites.remove`. With a session: one attempt. @throws LostRace in a transaction that must be repeated */
  async remove(type: string, id: string, audit: AuditOfWrite, { ifMatch }: WriteOptions, session?: ClientSession): Promise<WriteResult | undefined> {
    const docId = this.#codec.docId(type, id);
    return repeat(async () => {
      const current = await this.#reader.current(docId, session, 'local');
      assertMatch(current, ifMatch);
      if (current === undefined || current.del) return undefined;
      await this.#codec.loadKeys([current]);
      const { patients } = this.#codec.open(current);
      return this.#put({ docId, type, id, patients, deleted: true, tokens: [], columns: nothing, json: () => nothing }, current, audit, session);
    });
  }

  /** See `StoreTransaction.createMany`. */
  async createMany(prepared: readonly PreparedWrite[], audit: AuditOfWrite, session: ClientSession): Promise<WriteResult[]> {
    const existing = new Map<string, StoredDocument>();
    for (let from = 0; from < prepared.length; from += findManyBatch) {
      const ids = prepared.slice(from, from + findManyBatch).map((one) => newVersion(one).docId);
      const found = await findBatch<StoredDocument>(this.#app, 'resources', { filter: { _id: { $in: ids } }, limit: ids.length }, session);
      for (const document of found) existing.set(document._id.toString('latin1'), document);
    }
    const results: WriteResult[] = [];
    const inserts: Sealed[] = [];
    // While MongoDB stores some, the next ones are sealed. A session takes one command at a time.
    let storing: Promise<unknown> = Promise.resolve();
    try {
      for (let from = 0; from < prepared.length; from += insertBatch) {
        const sealed: Sealed[] = [];
        for (const one of prepared.slice(from, from + insertBatch)) {
          const next = newVersion(one);
          const current = existing.get(next.docId.toString('latin1'));
          assertMatch(current, 0);
          if (current === undefined) {
            sealed.push(this.#seal(next, undefined, audit));
            inserts.push(sealed.at(-1)!);
            continue;
          }
          await storing;
          results.push(mustHaveWon(await this.#put(next, current, audit, session)));
        }
        await storing;
        if (sealed.length === 0) continue;
        storing = this.#app.db!.collection('resources').insertMany(sealed.map(({ document }) => document as object), { session });
        // Its failure is met at the next await; until then it is nobody's.
        storing.catch(() => undefined);
        await new Promise(setImmediate);
      }
      await storing;
    } catch (cause) {
      await storing.catch(() => undefined);
      for (const { document } of inserts) this.#epoch.abandoned(document.o);
      throw isDuplicateKey(cause) ? new LostRace() : cause;
    }
    for (const { document, result } of inserts) {
      this.#orders.get(session)?.push(document.o);
      results.push(result);
    }
    const byId = new Map(results.map((result) => [`${result.version.type}/${result.version.id}`, result]));
    return prepared.map(({ type, id }) => byId.get(`${type}/${id}`)!);
  }

  /** See `StoreTransaction.updateMany`. */
  async updateMany(updates: readonly UpdateTo[], audit: AuditOfWrite, session: ClientSession): Promise<WriteResult[]> {
    const results: WriteResult[] = [];
    for (let from = 0; from < updates.length; from += insertBatch) {
      const batch = updates.slice(from, from + insertBatch).map(({ prepared, ifMatch }) => ({ next: newVersion(prepared), ifMatch }));
      const found = await findBatch<StoredDocument>(this.#app, 'resources', { filter: { _id: { $in: batch.map(({ next }) => next.docId) } }, limit: batch.length }, session);
      const byId = new Map(found.map((document) => [document._id.toString('latin1'), document]));
      const sealed: Sealed[] = [];
      try {
        const asides: mongo.AnyBulkWriteOperation<{ _id: Buffer }>[] = [];
        const replacements: mongo.AnyBulkWriteOperation<{ _id: Buffer }>[] = [];
        for (const { next, ifMatch } of batch) {
          const current = byId.get(next.docId.toString('latin1'));
          assertMatch(current, ifMatch);
          if (current === undefined) throw new InterlockError('version-stale');
          sealed.push(this.#seal(next, current, audit));
          const { aside, replace } = this.#replacement(current, sealed.at(-1)!.document);
          asides.push({ updateOne: aside });
          replacements.push({ replaceOne: replace });
        }
        await this.#app.db!.collection<{ _id: Buffer }>('versions').bulkWrite(asides, { session });
        const { matchedCount } = await this.#app.db!.collection<{ _id: Buffer }>('resources').bulkWrite(replacements, { session });
        if (matchedCount !== sealed.length) throw new LostRace();
      } catch (cause) {
        for (const { document } of sealed) this.#epoch.abandoned(document.o);
        throw isDuplicateKey(cause) ? new LostRace() : cause;
      }
      for (const { document, result } of sealed) {
        this.#orders.get(session)?.push(document.o);
        results.push(result);
      }
    }
    return results;
  }

  /** Starts to collect the orders of a transaction's writes, which are settled when it ends. */
  collect(session: ClientSession): bigint[] {
    const orders: bigint[] = [];
    this.#orders.set(session, orders);
    return orders;
  }

  /** @returns `lost` if another write was first, outside a transaction */
  async #put(next: NewVersion, current: StoredDocument | undefined, audit: AuditOfWrite, session: ClientSession | undefined): Promise<WriteResult | 'lost'> {
    const { document, result } = this.#seal(next, current, audit);
    let stored: boolean;
    try {
      stored = current === undefined ? await this.#insert(document, session) : await this.#replace(current, document, session);
    } catch (cause) {
      if (session !== undefined || isDefiniteFailure(cause)) this.#epoch.abandoned(document.o);
      else {
        this.#epoch.uncertain(document.o);
        throw new InterlockError('outcome-unknown', { cause });
      }
      throw cause;
    }
    if (!stored) {
      this.#epoch.abandoned(document.o);
      if (session !== undefined) throw new LostRace();
      return 'lost';
    }
    if (session === undefined) this.#epoch.committed(document.o);
    else this.#orders.get(session)?.push(document.o);
    return result;
  }

  #seal(next: NewVersion, current: StoredDocument | undefined, audit: AuditOfWrite): Sealed {
    // Verified before anything is built on it.
    if (current !== undefined) this.#codec.verify(current);
    const versionId = (current?.vid ?? 0) + 1;
    const order = this.#epoch.begin(current === undefined ? 0 : current.at.getTime() + 1);
    try {
      const at = new Date(orderMs(order));
      const body: VersionBody = { type: next.type, id: next.id, patients: next.patients, json: next.json(versionId, at), ...(next.file === undefined ? {} : { file: next.file }) };
      const created = !next.deleted && (current === undefined || current.del);
      const entry: SealedAuditEntry = audit({
        type: body.type, id: body.id, versionId, at, deleted: next.deleted, patients: body.patients,
        hash: this.#codec.hash({ ...body, versionId, atMs: at.getTime(), deleted: next.deleted }),
        interaction: next.deleted ? 'delete' : created ? 'create' : 'update',
      });
      const document = this.#codec.seal({
        ...body, docId: next.docId, t: this.#codec.typeCode(body.type), versionId, order, deleted: next.deleted, epoch: this.#epoch.id,
        tokens: next.tokens, columns: next.columns, audit: entry.sealed,
      });
      return { document, result: { version: new OpenVersion(body, document), created, audit: entry } };
    } catch (cause) {
      this.#epoch.abandoned(order);
      throw cause;
    }
  }

  async #insert(document: StoredDocument, session: ClientSession | undefined): Promise<boolean> {
    if (session === undefined) return this.#inserts.write({ document });
    try {
      await this.#app.db!.collection('resources').insertOne(document as object, { session });
      return true;
    } catch (cause) {
      if (isDuplicateKey(cause)) return false;
      throw cause;
    }
  }

  /**
   * First the outgoing version is put aside, then it is replaced, if it is still the same. A crash in between leaves a past
   * version that is also the current one, which readers take for one.
   */
  async #replace(current: StoredDocument, next: StoredDocument, session: ClientSession | undefined): Promise<boolean> {
    if (session === undefined) {
      // Taken: another write of the same version was first, or one that a crash cut off. What was put aside is the same.
      await this.#asides.write({ document: this.#codec.past(current) });
      return this.#replacements.write({ document: next, replaces: current });
    }
    const { aside, replace } = this.#replacement(current, next);
    try {
      await this.#app.db!.collection<{ _id: Buffer }>('versions').updateOne(aside.filter, aside.update, { upsert: true, session });
    } catch (cause) {
      if (isDuplicateKey(cause)) return false;
      throw cause;
    }
    const replaced = await this.#app.db!.collection<{ _id: Buffer }>('resources').replaceOne(replace.filter, replace.replacement, { session });
    return replaced.matchedCount === 1;
  }

  #replacement(current: StoredDocument, next: StoredDocument) {
    const { _id, ...past } = this.#codec.past(current);
    const { _id: id, ...replacement } = next;
    return {
      aside: { filter: { _id }, update: { $setOnInsert: past }, upsert: true },
      replace: { filter: { _id: id, vid: current.vid, o: current.o }, replacement },
    };
  }
}

function newVersion(prepared: PreparedWrite): NewVersion {
  if (!(prepared instanceof Prepared)) throw new TypeError('Only what prepare() made can be written');
  const { docId, type, id, patients, tokens, columns, file } = prepared;
  return { docId, type, id, patients, deleted: false, tokens, columns, ...(file === undefined ? {} : { file }), json: (versionId, at) => prepared.json(versionId, at) };
}

function assertMatch(current: StoredDocument | undefined, ifMatch: number | undefined): void {
  if (ifMatch === undefined) return;
  const currentVersion = current === undefined || current.del ? 0 : current.vid;
  if (currentVersion !== ifMatch) throw new InterlockError('version-stale');
}

/** Repeats an attempt that lost against another write, a few times. @throws InterlockError `version-conflict` after that */
async function repeat<T>(attempt: () => Promise<T | 'lost'>): Promise<T> {
  for (let repeats = 0; repeats <= maxRepeats; repeats += 1) {
    const result = await attempt();
    if (result !== 'lost') return result;
    await pause(Math.random() * 4 * 2 ** repeats);
  }
  throw new InterlockError('version-conflict');
}

function mustHaveWon(result: WriteResult | 'lost'): WriteResult {
  if (result === 'lost') throw new LostRace();
  return result;
}
