import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Connection } from 'mongoose';
import { openAuditTrail, type OpenAuditTrail } from '../../../server/audit/trail.ts';
import { Keyring } from '../../../server/kms/keyring.ts';
import { LocalKeyProvider } from '../../../server/kms/local-provider.ts';
import { MongoKeyStore } from '../../../server/mongo/key-store.ts';
import { silentLog } from '../../../server/observe/log.ts';
import type { AuditOfWrite, ResourceJson, VersionFacts, WriteResult } from '../../../server/storage/contract.ts';
import type { StoredDocument } from '../../../server/storage/document.ts';
import { Epoch } from '../../../server/storage/epochs.ts';
import { openStore, type OpenStore, type StoreOptions } from '../../../server/storage/store.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';

export const tenant = 'main';

/** One server process's part of the store. */
export interface TestProcess {
  readonly store: OpenStore;
  readonly epoch: Epoch;
  readonly audit: OpenAuditTrail;
  readonly keyring: Keyring;
  /** Facts of every write so far. */
  readonly facts: VersionFacts[];
  readonly auditOf: AuditOfWrite;
  /** Prepares and writes, then makes the audit entry durable, as the guarded repository does. */
  put(resource: ResourceJson, id: string, ifMatch?: number): Promise<WriteResult>;
  remove(type: string, id: string): Promise<WriteResult | undefined>;
  close(): Promise<void>;
}

export interface TestStore extends TestProcess {
  readonly mongo: TestMongo;
  readonly app: Connection;
  readonly keysDir: string;
  /** Another process on the same databases and master key. */
  another(options?: ProcessOptions): Promise<TestProcess>;
  raw(collection: 'resources' | 'versions'): Promise<StoredDocument[]>;
}

export type ProcessOptions = Partial<StoreOptions> & { readonly leaseMs?: number; readonly nowMs?: () => number };

/** A store on fresh databases. */
export async function testStore(options: ProcessOptions = {}): Promise<TestStore> {
  const mongo = await testMongo();
  const keysDir = mkdtempSync(join(tmpdir(), 'interlock-keys-'));
  const processes: TestProcess[] = [];
  const start = async (own: ProcessOptions): Promise<TestProcess> => {
    const started = await startProcess(mongo, keysDir, own);
    processes.push(started);
    return started;
  };
  const first = await start(options);
  return {
    ...first,
    mongo,
    app: mongo.app,
    keysDir,
    another: (own = {}) => start(own),
    raw: (collection) => mongo.app.db!.collection(collection).find({}, { promoteBuffers: true, useBigInt64: true }).toArray() as unknown as Promise<StoredDocument[]>,
    async close() {
      for (const one of processes) await one.close();
      await mongo.drop();
      rmSync(keysDir, { recursive: true });
    },
  };
}

/** Opens the parts as a server process does. */
export async function startProcess(mongo: Pick<TestMongo, 'app' | 'audit'>, keysDir: string, options: ProcessOptions): Promise<TestProcess> {
  const { leaseMs, nowMs, ...own } = options;
  const keyring = await Keyring.open({ provider: LocalKeyProvider.open(keysDir, true), store: new MongoKeyStore(mongo.app) });
  const epoch = await Epoch.open({ app: mongo.app, log: silentLog, ...(leaseMs && { leaseMs }), ...(nowMs && { nowMs }) });
  const audit = await openAuditTrail({ audit: mongo.audit, keyring, tenant, epochId: epoch.id, log: silentLog });
  const store = openStore({ app: mongo.app, keyring, tenant, epoch, log: silentLog, audit, ...own });
  const facts: VersionFacts[] = [];
  const auditOf: AuditOfWrite = (written) => {
    facts.push(written);
    return audit.prepare({
      at: written.at.getTime(), kind: 'rest', interaction: written.interaction, action: 'C', outcome: '0', requestId: 'r', actor: { kind: 'job', id: 'test' },
      entities: [{ type: written.type, id: written.id, versionId: written.versionId, hash: written.hash, patients: written.patients }],
    });
  };
  const durable = async <T extends WriteResult | undefined>(result: T): Promise<T> => {
    if (result !== undefined) {
      await audit.appendCommitted([result.audit]);
      store.audited([result]);
    }
    return result;
  };
  let closed = false;
  return {
    store, epoch, audit, keyring, facts, auditOf,
    put: async (resource, id, ifMatch) => durable(await store.write(store.prepare(resource, id), auditOf, ifMatch === undefined ? {} : { ifMatch })),
    remove: async (type, id) => durable(await store.remove(type, id, auditOf)),
    async close() {
      if (closed) return;
      closed = true;
      await store.close();
      await epoch.close();
      await audit.close();
      keyring.close();
    },
  };
}

export function patient(changes: Record<string, unknown> = {}): ResourceJson {
  return { resourceType: 'Patient', name: [{ family: 'Grünwald', given: ['Ada'] }], gender: 'female', birthDate: '1975-03-09', ...changes };
}

export function observation(patientId: string, changes: Record<string, unknown> = {}): ResourceJson {
  return {
    resourceType: 'Observation',
    status: 'final',
    category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/observation-category', code: 'laboratory' }] }],
    code: { coding: [{ system: 'http://loinc.org', code: '718-7' }] },
    subject: { reference: `Patient/${patientId}` },
    effectiveDateTime: '2020-02-03T10:00:00Z',
    valueQuantity: { value: 13.2, unit: 'g/dL', system: 'http://unitsofmeasure.org', code: 'g/dL' },
    ...changes,
  };
}
