import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { AnyBulkWriteOperation } from 'mongodb';
import { Checkpoints } from '../../../server/audit/checkpoints.ts';
import { IntegrityChecks, type IntegrityChecksOptions, type IntegrityOutcome } from '../../../server/audit/integrity.ts';
import { AuditReader } from '../../../server/audit/reader.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { DocumentCodec, pastId, type StoredDocument } from '../../../server/storage/document.ts';
import { chunkBytes } from '../../../server/storage/files.ts';
import { Inventory } from '../../../server/storage/inventory.ts';
import { observation, patient, tenant, testStore, type TestStore } from '../storage/support.ts';
import { site } from './support.ts';

let on: TestStore;
let checkpoints: Checkpoints;
let codec: DocumentCodec;
let dataDir: string;
const faults: string[] = [];

const checksOf = (changes: Partial<IntegrityChecksOptions> = {}): IntegrityChecks => {
  const reader = new AuditReader({ audit: on.mongo.audit, keyring: on.keyring, tenant, site });
  return new IntegrityChecks({ audit: on.mongo.audit, keyring: on.keyring, tenant, checkpoints, reader, trail: on.audit, store: on.store, dataDir, log: silentLog, nowMs: Date.now, intervalMs: 0, settleMs: 50, onFault: (what) => faults.push(what), ...changes });
};
const collection = (name: 'resources' | 'versions') => on.app.db!.collection<StoredDocument>(name);
const raw = { promoteBuffers: true, useBigInt64: true } as const;
const current = async (type: string, id: string): Promise<StoredDocument> => (await collection('resources').findOne({ _id: codec.docId(type, id) }, raw))!;
const past = async (type: string, id: string, vid: number): Promise<StoredDocument> => (await collection('versions').findOne({ _id: pastId(codec.docId(type, id), vid) }, raw))!;
const set = (document: StoredDocument, change: object) => collection(document._id.length === 16 ? 'resources' : 'versions').updateOne({ _id: document._id }, { $set: change });
const flipped = (bytes: Buffer, at = bytes.length >> 1): Buffer => Buffer.from(bytes.map((byte, index) => (index === at ? byte ^ 1 : byte)));
const named = ({ findings }: IntegrityOutcome): string[] => findings.map(({ kind, type, id, versionId }) => `${kind} ${type ?? '?'}/${id ?? '?'} ${versionId ?? '?'}`).sort();
const put = async (name: 'resources' | 'versions', { _id, ...rest }: StoredDocument): Promise<unknown> => collection(name).replaceOne({ _id }, rest);
async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  yield await Promise.resolve(bytes);
}

/** Changes the database behind the server's back, checks, and puts everything back as it was. */
async function tamperedWith(change: () => Promise<unknown>): Promise<IntegrityOutcome> {
  const before = { resources: await on.raw('resources'), versions: await on.raw('versions') };
  await change();
  try {
    return await checksOf().run();
  } finally {
    for (const name of ['resources', 'versions'] as const) {
      await collection(name).deleteMany({});
      await collection(name).bulkWrite(before[name].map((document): AnyBulkWriteOperation<StoredDocument> => ({ insertOne: { document } })));
    }
  }
}

beforeAll(async () => {
  on = await testStore();
  dataDir = mkdtempSync(join(tmpdir(), 'interlock-data-'));
  codec = new DocumentCodec(on.keyring, tenant);
  checkpoints = await Checkpoints.open({ audit: on.mongo.audit, keyring: on.keyring, tenant, keysDir: on.keysDir, log: silentLog, intervalMs: 0 });
  for (const id of ['ada', 'bob', 'cyd']) await on.put(patient({ name: [{ family: id }] }), id);
  for (let version = 2; version <= 4; version += 1) await on.put(patient({ name: [{ family: `ada ${version}` }] }), 'ada');
  for (let index = 0; index < 40; index += 1) await on.put(observation('ada', { valueQuantity: { value: index } }), `o${index}`);
  await on.put(patient(), 'gone');
  await on.remove('Patient', 'gone');
  await on.put(patient(), 'again');
  await on.remove('Patient', 'again');
  await on.put(patient(), 'again');
  const prepared = Array.from({ length: 20 }, (_, index) => on.store.prepare(observation('bob'), `t${index}`));
  const results = await on.store.transaction(async (tx) => [...(await tx.createMany(prepared, on.auditOf)), await tx.write(on.store.prepare(patient({ active: true }), 'bob'), on.auditOf), (await tx.remove('Observation', 'o1', on.auditOf))!]);
  await on.audit.appendCommitted(results.map(({ audit }) => audit));
  on.store.audited(results);
  for (const content of [randomBytes(2 * chunkBytes + 5), randomBytes(100)]) {
    const file = await on.store.files.receive(pieces(content), 10 * chunkBytes);
    const result = await on.store.write(on.store.prepare({ resourceType: 'Binary', contentType: 'image/png' }, 'scan', undefined, file), on.auditOf);
    await on.audit.appendCommitted([result.audit]);
  }
});
afterAll(async () => {
  await checkpoints.close();
  await on.close();
  rmSync(dataDir, { recursive: true });
});

describe('A store that nobody touched', () => {
  test('is as recorded: updates, deletions, transactions, files, and what a crash left aside', async () => {
    // A process that dies between putting the outgoing version aside and replacing it leaves a copy.
    await collection('versions').insertOne(codec.past(await current('Patient', 'cyd')));
    const outcome = await checksOf().run();
    expect(named(outcome)).toEqual([]);
    expect(outcome).toMatchObject({ ok: true, complete: true, found: 0, files: 2, recorded: on.facts.length, documents: on.facts.length + 1 });
    expect(existsSync(join(dataDir, 'integrity-check'))).toBe(false);
  });

  test('is as recorded also where what is known of it does not fit into memory', async () => {
    expect(await checksOf({ memoryBytes: 1_000 }).run()).toMatchObject({ ok: true, files: 2, recorded: on.facts.length, documents: on.facts.length + 1 });
  });

  test('is as recorded while it is written to', async () => {
    let stopped = false;
    const writing = [0, 1, 2].map(async (writer) => {
      for (let turn = 0; !stopped && turn < 40; turn += 1) {
        await on.put(patient({ name: [{ family: `turn ${turn}` }] }), `live${writer}`);
        await on.put(observation('ada'), `live${writer}-${turn}`);
      }
    });
    try {
      for (let round = 0; round < 3; round += 1) expect(named(await checksOf().run())).toEqual([]);
    } finally {
      stopped = true;
      await Promise.all(writing);
    }
  });

  test('leaves it on record that it was checked', async () => {
    const reader = new AuditReader({ audit: on.mongo.audit, keyring: on.keyring, tenant, site });
    const records = [];
    for await (const { record } of reader.entries({ hints: [], fromMs: 0, untilMs: 8e15 }, true)) if (record.kind === 'server') records.push(record);
    expect(records).toHaveLength(5);
    expect(records[0]).toMatchObject({ interaction: 'integrity', action: 'E', outcome: '0' });
    expect(faults).toEqual([]);
  });
});

describe('Whoever has all rights on the database is found out', () => {
  const attacks: Readonly<Record<string, readonly [attack: () => Promise<unknown>, findings: readonly string[], text?: RegExp]>> = {
    'a bit of a body flipped': [async () => set(await current('Patient', 'ada'), { body: flipped((await current('Patient', 'ada')).body) }), ['altered Patient/ada 4'], /It was changed/],
    'a bit of a past body flipped': [async () => set(await past('Patient', 'ada', 2), { body: flipped((await past('Patient', 'ada', 2)).body) }), ['altered Patient/ada 2']],
    'a search token changed': [async () => set(await current('Patient', 'bob'), { 'x.0': randomBytes(12) }), ['altered Patient/bob 2'], /search tokens/],
    'all search tokens removed': [async () => set(await current('Patient', 'bob'), { x: [] }), ['altered Patient/bob 2'], /search tokens/],
    'a column flipped': [async () => set(await current('Observation', 'o3'), { s: flipped((await current('Observation', 'o3')).s) }), ['altered Observation/o3 1'], /columns/],
    'a resource marked as deleted': [async () => set(await current('Observation', 'o4'), { del: true }), ['altered Observation/o4 1']],
    'a version number raised': [async () => set(await current('Observation', 'o5'), { vid: 9 }), ['altered Observation/o5 1']],
    'the order of recording changed': [async () => set(await current('Observation', 'o6'), { o: (await current('Observation', 'o6')).o + 1n }), ['altered Observation/o6 1']],
    'a sealed audit entry exchanged': [async () => set(await current('Observation', 'o7'), { audit: (await current('Observation', 'o8')).audit }), ['swapped Observation/o7 1']],
    'a field added': [async () => set(await current('Observation', 'o9'), { note: 'x' }), ['altered Observation/o9 1']],
    'two bodies swapped': [async () => {
      const [a, b] = [await current('Observation', 'o10'), await current('Observation', 'o11')];
      await set(a, { body: b.body });
      await set(b, { body: a.body });
    }, ['swapped Observation/o10 1', 'swapped Observation/o11 1'], /What stands here is version 1 of Observation\/o1[01]/],
    'two resources swapped': [async () => {
      const [a, b] = [await current('Patient', 'ada'), await current('Patient', 'bob')];
      for (const [place, content] of [[a, b], [b, a]] as const) await put('resources', { ...content, _id: place._id });
    }, ['swapped Patient/ada 4', 'swapped Patient/bob 2'], /version [24] of Patient\/(ada|bob)/],
    'two versions swapped': [async () => {
      const [a, b] = [await past('Patient', 'ada', 1), await past('Patient', 'ada', 2)];
      for (const [place, content] of [[a, b], [b, a]] as const) await put('versions', { ...content, _id: place._id });
    }, ['swapped Patient/ada 1', 'swapped Patient/ada 2']],
    'a past version put back as the current one': [async () => put('resources', { ...(await past('Patient', 'ada', 2)), _id: codec.docId('Patient', 'ada') }), ['swapped Patient/ada 4'], /version 2 of Patient\/ada/],
    'a resource removed': [async () => collection('resources').deleteOne({ _id: codec.docId('Observation', 'o12') }), ['removed Observation/o12 1']],
    'a deletion removed': [async () => collection('resources').deleteOne({ _id: codec.docId('Patient', 'gone') }), ['removed Patient/gone 2']],
    'a resource removed with its past': [async () => {
      await collection('resources').deleteOne({ _id: codec.docId('Patient', 'ada') });
      await collection('versions').deleteMany({ _id: { $gte: pastId(codec.docId('Patient', 'ada'), 0), $lte: pastId(codec.docId('Patient', 'ada'), 99) } });
    }, ['removed Patient/ada 1', 'removed Patient/ada 2', 'removed Patient/ada 3', 'removed Patient/ada 4']],
    'a past version removed': [async () => collection('versions').deleteOne({ _id: pastId(codec.docId('Patient', 'ada'), 3) }), ['removed Patient/ada 3']],
    'a copy put in under another id': [async () => collection('resources').insertOne({ ...(await current('Patient', 'bob')), _id: randomBytes(16) }), ['unrecorded ?/? 2'], /copy of version 2 of Patient\/bob/],
    'a copy put among past versions': [async () => collection('versions').insertOne({ ...(await past('Patient', 'bob', 1)), _id: pastId(codec.docId('Patient', 'bob'), 7), vid: 7 }), ['unrecorded ?/? 7'], /copy of version 1 of Patient\/bob/],
    'a copy under an id of another length': [async () => collection('resources').insertOne({ ...(await current('Patient', 'bob')), _id: randomBytes(20) }), ['unrecorded ?/? ?']],
    'a copy under a text as id': [async () => collection('versions').insertOne({ ...(await current('Patient', 'bob')), _id: 'sixteen letters!' as unknown as Buffer }), ['unrecorded ?/? ?']],
    'everything removed': [async () => Promise.all([collection('resources').deleteMany({}), collection('versions').deleteMany({})]), []],
  };
  test.each(Object.keys(attacks))('%s', async (name) => {
    const [attack, findings, text] = attacks[name]!;
    const outcome = await tamperedWith(attack);
    expect(outcome.ok).toBe(false);
    expect(outcome.trail.ok).toBe(true);
    if (name === 'everything removed') {
      expect(new Set(outcome.findings.map(({ kind }) => kind))).toEqual(new Set(['removed']));
      expect(outcome.found).toBe(new Set(on.facts.map(({ type, id, versionId }) => `${type}/${id} ${versionId}`)).size);
      return;
    }
    expect(named(outcome)).toEqual([...findings].sort());
    if (text !== undefined) expect(outcome.findings.map((one) => one.text).join(' ')).toMatch(text);
  });

  test('a resource set back to an earlier state of the database, seals and all', async () => {
    await on.put(patient({ name: [{ family: 'first' }] }), 'back');
    const earlier = await current('Patient', 'back');
    await on.put(patient({ name: [{ family: 'second' }] }), 'back');
    await on.put(patient({ name: [{ family: 'third' }] }), 'back');
    const outcome = await tamperedWith(async () => {
      await put('resources', earlier);
    });
    expect(named(outcome)).toEqual(['rolled-back Patient/back 3']);
    expect(outcome.findings[0]!.text).toBe('Version 1 is stored as the current one.');
    const wholly = await tamperedWith(async () => {
      await put('resources', earlier);
      await collection('versions').deleteMany({ _id: { $gte: pastId(earlier._id, 0), $lte: pastId(earlier._id, 99) } });
    });
    expect(named(wholly)).toEqual(['rolled-back Patient/back 3']);
  });

  test('a version of a write that never became part of the record', async () => {
    // As it would stand in a journal or on the wire, and then be aborted: sealed by the server itself.
    let captured: StoredDocument | undefined;
    await on.store.transaction(async (tx) => {
      await tx.write(on.store.prepare(patient({ name: [{ family: 'aborted' }] }), 'ada'), on.auditOf);
      captured = (await on.app.db!.collection<StoredDocument>('resources').findOne({ _id: codec.docId('Patient', 'ada') }, { ...raw, session: tx.session })) as StoredDocument;
      throw new Error('aborted');
    }).catch(() => undefined);
    const outcome = await tamperedWith(async () => {
      await collection('versions').insertOne(codec.past(await current('Patient', 'ada')));
      await put('resources', captured!);
    });
    expect(named(outcome)).toEqual(['unrecorded Patient/ada 5']);
    on.facts.pop();
  });

  test('content of a Binary: a chunk changed, exchanged or removed', async () => {
    const chunks = on.app.db!.collection<{ _id: Buffer; key: string; body: Buffer }>('file_chunks');
    const [first, second] = (await chunks.find({}, { ...raw, sort: { _id: 1 } }).toArray()).filter(({ body }) => body.length > chunkBytes) as { _id: Buffer; key: string; body: Buffer }[];
    const after = async (change: () => Promise<unknown>): Promise<string[]> => {
      await change();
      const outcome = await checksOf().run();
      for (const one of [first!, second!]) await chunks.replaceOne({ _id: one._id }, { key: one.key, body: one.body }, { upsert: true });
      return named(outcome);
    };
    expect(await after(() => chunks.updateOne({ _id: second!._id }, { $set: { body: flipped(second!.body) } }))).toEqual(['altered Binary/scan 1']);
    expect(await after(() => chunks.updateOne({ _id: first!._id }, { $set: { body: second!.body } }))).toEqual(['altered Binary/scan 1']);
    expect(await after(() => chunks.deleteOne({ _id: first!._id }))).toEqual(['removed Binary/scan 1']);
  });

  test('and each time somebody is told, without names', () => {
    expect(faults.length).toBeGreaterThan(20);
    expect(new Set(faults)).toEqual(new Set(['stored resources are not what was recorded']));
  });
});

describe('What is known of the trail', () => {
  test('may end where entries were purged: what is older is checked by its seal, all else is unrecorded', async () => {
    const nobody = { recorded: async () => [], opened: async () => [] };
    const run = async (isPurged: () => boolean) => on.store.checkIntegrity({ trail: { ...nobody, isPurged }, directory: join(dataDir, 'purged'), breathe: async () => undefined, settle: async () => undefined }).run();
    const purged = await run(() => true);
    expect(purged).toMatchObject({ found: 0, purged: purged.documents });
    const unrecorded = await run(() => false);
    expect(unrecorded).toMatchObject({ purged: 0, complete: true });
    expect(new Set(unrecorded.findings.map(({ kind }) => kind))).toEqual(new Set(['unrecorded']));
    const bob = await current('Patient', 'bob');
    await set(bob, { x: [] });
    expect((await run(() => true)).findings.map(({ kind }) => kind)).toEqual(['unrecorded']);
    await set(bob, { x: bob.x });
  });

  test('goes into files where memory does not suffice, and these hold no names and no hashes', async () => {
    const directory = join(dataDir, 'inventory');
    const inventory = new Inventory(codec, directory, 1_000);
    const all = Array.from({ length: 500 }, (_, index) => ({ type: 'Patient', id: `p${index % 100}`, versionId: 1 + Math.floor(index / 100), hash: String(index), entryId: randomBytes(16) }));
    for (const one of all) inventory.add(one);
    expect(readdirSync(directory).length).toBeGreaterThan(50);
    let found = 0;
    for (const { from, to, expected } of inventory.parts()) {
      for (const [docId, versions] of expected) {
        expect(docId.charCodeAt(0)).toBe(from);
        expect(to).toBe(from);
        expect(versions.map(({ versionId }) => versionId)).toEqual([1, 2, 3, 4, 5]);
        const own = all.filter(({ id }) => codec.docId('Patient', id).toString('latin1') === docId);
        expect(versions.map(({ fingerprint }) => fingerprint.toString('hex'))).toEqual(own.map(({ hash }) => inventory.fingerprint(hash).toString('hex')));
        found += 1;
      }
    }
    expect(found).toBe(100);
    const bytes = Buffer.concat(readdirSync(directory).map((name) => readFileSync(join(directory, name))));
    expect(bytes.includes('Patient')).toBe(false);
    inventory.remove();
    expect(existsSync(directory)).toBe(false);
  });

  test('of a version that was recorded twice, the later record counts', async () => {
    const inventory = new Inventory(codec, join(dataDir, 'inventory'));
    const facts = { type: 'Patient', id: 'p', versionId: 1 };
    inventory.add({ ...facts, hash: 'later', entryId: Buffer.alloc(16, 2) });
    inventory.add({ ...facts, hash: 'earlier', entryId: Buffer.alloc(16, 1) });
    const docId = codec.docId('Patient', 'p');
    const [part] = inventory.parts();
    expect(part!.expected.get(docId.toString('latin1'))).toMatchObject([{ fingerprint: inventory.fingerprint('later') }]);
  });
});

describe('A check by itself', () => {
  test('comes after its interval, told from one start to the next', async () => {
    let clock = Date.now();
    const path = join(dataDir, 'integrity-check.json');
    const before = faults.length;
    await collection('resources').deleteOne({ _id: codec.docId('Observation', 'o20') });
    const first = checksOf({ intervalMs: 100, nowMs: () => clock });
    for (let wait = 0; wait < 200 && !existsSync(path); wait += 1) await new Promise((resolve) => setTimeout(resolve, 50));
    await first.close();
    expect(faults).toHaveLength(before);
    clock += 1_000;
    const second = checksOf({ intervalMs: 100, nowMs: () => clock });
    for (let wait = 0; wait < 600 && faults.length === before; wait += 1) await new Promise((resolve) => setTimeout(resolve, 50));
    await second.close();
    expect(faults.slice(before)).toEqual(['stored resources are not what was recorded']);
  });
});
