import type { Connection } from 'mongoose';
import { resourceTypes } from '../../resources/definitions/index.ts';
import type { ValueContext } from '../../resources/search-values/index.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Log } from '../observe/log.ts';
import { Changes } from './changes.ts';
import { ClaimQueue } from './claim-queue.ts';
import type { Store } from './contract.ts';
import { DocumentCodec } from './document.ts';
import type { Epoch } from './epochs.ts';
import { Files } from './files.ts';
import { FilterWriter } from './filter.ts';
import { Historian } from './history.ts';
import { IntegrityCheck, type IntegrityOptions } from './integrity.ts';
import { Links } from './links.ts';
import { Prepared, Preparer } from './prepare.ts';
import { Reader } from './reads.ts';
import { repair, type AuditRepair } from './repair.ts';
import { Scanner } from './scan.ts';
import { SearchIndexes, type SearchIndexesOptions } from './search-indexes.ts';
import { Searcher, searchLimits, type SearchLimits } from './search.ts';
import { SharedFinds } from './shared-finds.ts';
import { TokenHasher } from './token-hash.ts';
import { runTransaction } from './transactions.ts';
import { Writer } from './writes.ts';

export interface StoreOptions {
  /** Connection to the app database, with its indexes made. */
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  /** This process's epoch; closed by who opened it, after the store. */
  readonly epoch: Epoch;
  readonly log: Log;
  readonly audit: AuditRepair;
  /** How values are read: this server's base URL, and the time zone of dates without one. Must not change while data exists. */
  readonly values?: ValueContext;
  readonly limits?: Partial<SearchLimits>;
  /** Whether words get tokens, for `_text` and `_content`. Costs tokens, and tells which resources share a word. */
  readonly words?: boolean;
  /** How indexing of what is stored runs, and who audits it. */
  readonly indexing?: Pick<SearchIndexesOptions, 'onJob' | 'pollMs' | 'settleMs' | 'lateSweepMs'>;
}

/** The store with what its owner needs besides the contract. */
export interface OpenStore extends Store {
  /** What can be searched by. Opened before anything is written or searched. */
  readonly indexes: SearchIndexes;
  /**
   * Gives committed writes of ended processes the audit entries that they lack. Runs by itself from time to time.
   * @param options alone: no other process can be alive, so that no lease is waited for
   * @returns how many entries were appended
   */
  repair(options?: { readonly alone?: boolean }): Promise<number>;
  /** Begins to compare what is stored with what the audit trail tells. Closed by who began it. */
  checkIntegrity(options: IntegrityOptions): IntegrityCheck;
  /** Stops the repairs. */
  close(): Promise<void>;
}

/** How often files are swept that no version refers to. */
const sweepFilesMs = 5 * 60_000;

/** Opens the sealed store of one tenant. */
export function openStore(options: StoreOptions): OpenStore {
  const { app, keyring, tenant, epoch, log, audit, values = {}, words = false } = options;
  const codec = new DocumentCodec(keyring, tenant);
  const hasher = new TokenHasher(keyring, tenant);
  const types = new Map(resourceTypes().map((type) => [codec.typeCode(type), type]));
  const preparer = new Preparer({ codec, keyring, tenant, hasher, values, words });
  const reader = new Reader({ app, codec });
  const writer = new Writer({ app, codec, epoch, reader });
  const indexes = new SearchIndexes({ app, codec, keyring, preparer, reader, epoch, log, words, ...options.indexing });
  const shared = new SharedFinds(app);
  const scanner = new Scanner({ app, keyring, reader, shared, values, typeOf: (code) => types.get(code) });
  const searcher = new Searcher({ app, reader, filters: new FilterWriter(codec, hasher), scanner, shared, limits: { ...searchLimits, ...options.limits }, present: () => indexes.present });
  const historian = new Historian({ app, codec, reader, epoch });

  const changes = new Changes({ app, codec, reader });
  const links = new Links({ app, codec, hasher, reader, scheme: () => indexes.present.scheme });
  const files = new Files({ app, keyring, tenant });
  const parts = { app, keyring, tenant, epoch, reader, searcher, writer, claims: new ClaimQueue(), files, links };

  let repairing: Promise<number> = Promise.resolve(0);
  const runRepair = (alone: boolean): Promise<number> => (repairing = repairing.catch(() => 0).then(() => repair({ app, epoch, audit, log }, alone)));
  const timer = setInterval(() => {
    runRepair(false).catch((cause: unknown) => log.warn('The repair of audit entries failed and is tried again', { errorName: cause instanceof Error ? cause.name : 'unknown' }));
  }, epoch.leaseMs);
  timer.unref();
  let sweeping: Promise<unknown> = Promise.resolve();
  const sweepFiles = (): void => {
    sweeping = files.sweep().catch((cause: unknown) => log.warn('Files without a resource were not swept', { errorName: cause instanceof Error ? cause.name : 'unknown' }));
  };
  const sweeper = setInterval(sweepFiles, sweepFilesMs);
  sweeper.unref();
  // What a crash left may be old enough by now.
  sweepFiles();

  return {
    files,
    indexes,
    prepare: (resource, id, bytes, file) => preparer.prepare(resource, id, bytes, file),
    read: (type, id) => reader.read(type, id),
    readMany: (refs) => reader.readMany(refs),
    vread: (type, id, versionId) => reader.vread(type, id, versionId),
    search: (request) => searcher.search(request),
    standing: (keys) => links.standing(keys),
    referrers: (keys, limit) => links.referrers(keys, limit),
    pointersTo: (ids, limit) => links.pointersTo(ids, limit),
    history: (request) => historian.history(request),
    recorded: (types, sinceMs) => changes.recorded(types, sinceMs),
    versionsAt: (type, orders) => changes.versionsAt(type, orders),
    write: (prepared, auditOfWrite, how = {}) =>
      prepared instanceof Prepared && prepared.file !== undefined ? runTransaction(parts, (tx) => tx.write(prepared, auditOfWrite, how)) : writer.write(prepared, auditOfWrite, how),
    remove: (type, id, auditOfWrite, how = {}) => writer.remove(type, id, auditOfWrite, how),
    transaction: (work) => runTransaction(parts, work),
    audited(results) {
      for (const { version } of results) epoch.audited(version.order);
    },
    repair: ({ alone = false } = {}) => runRepair(alone),
    checkIntegrity: (how) => new IntegrityCheck({ app, codec, files, ...how }),
    async close() {
      clearInterval(timer);
      clearInterval(sweeper);
      await indexes.close();
      await sweeping;
      await repairing.catch(() => 0);
    },
  };
}
