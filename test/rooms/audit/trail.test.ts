import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Block } from '../../../server/audit/block.ts';
import { AuditReader } from '../../../server/audit/reader.ts';
import { queryRecords } from '../../../server/audit/query.ts';
import { auditCollection, openAuditTrail, type OpenAuditTrail } from '../../../server/audit/trail.ts';
import { verifyTrail } from '../../../server/audit/verify.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';
import { recordOf, site, tenant, testKeyring } from './support.ts';

let mongo: TestMongo;
let keys: Awaited<ReturnType<typeof testKeyring>>;
let trail: OpenAuditTrail;
const blocks = (): Promise<Block[]> => mongo.auditRoot.collection<Block>(auditCollection).find({}, { promoteBuffers: true, sort: { _id: 1 } }).toArray();
const openTrail = (epochId: string, more: object = {}): Promise<OpenAuditTrail> => openAuditTrail({ audit: mongo.audit, keyring: keys.keyring, tenant, epochId, log: silentLog, ...more });

beforeAll(async () => {
  [mongo, keys] = await Promise.all([testMongo(), testKeyring()]);
  trail = await openTrail('first');
});
afterAll(async () => {
  await trail.close();
  keys.close();
  await mongo.drop();
});

describe('audit trail', () => {
  test('a user who may only insert and find is enough, and can do no more', async () => {
    await trail.record(recordOf());
    const audit = mongo.audit.collection<Block>(auditCollection);
    await expect(audit.updateOne({}, { $set: { n: 9 } })).rejects.toMatchObject({ code: 13 });
    await expect(audit.deleteOne({})).rejects.toMatchObject({ code: 13 });
  });

  test('what arrives during a flush shares the next one', async () => {
    const before = (await blocks()).length;
    await Promise.all(Array.from({ length: 300 }, () => trail.record(recordOf())));
    const after = await blocks();
    expect(after.length - before).toBeLessThanOrEqual(5);
    expect(after.slice(before).reduce((sum, block) => sum + block.e.length, 0)).toBe(300);
  });

  test('an append resolves only when its entries are stored', async () => {
    const prepared = Array.from({ length: 20 }, () => trail.prepare(recordOf()));
    expect((await trail.missing(prepared.map(({ id }) => id))).length).toBe(20);
    await Promise.all(prepared.map(async (entry) => {
      await trail.append([entry]);
      expect(await trail.missing([entry.id])).toEqual([]);
    }));
  });

  test('the id is the beginning of the sealed bytes, and its order is the order of events', () => {
    const older = trail.prepare(recordOf({ at: 1_700_000_000_000 }));
    const newer = trail.prepare(recordOf({ at: 1_700_000_000_001 }));
    expect(older.sealed.subarray(0, 16)).toEqual(older.id);
    expect(Buffer.compare(older.id, newer.id)).toBe(-1);
  });

  test('a bundle of 5,000 entries is split into blocks of bounded size', async () => {
    const before = (await blocks()).length;
    await trail.appendCommitted(Array.from({ length: 5_000 }, () => trail.prepare(recordOf())));
    const added = (await blocks()).slice(before);
    expect(added.reduce((sum, block) => sum + block.e.length, 0)).toBe(5_000);
    expect(added.length).toBeGreaterThan(2);
    for (const block of added) expect(block.e.reduce((sum, entry) => sum + entry.b.length, 0)).toBeLessThan(2 ** 20);
  });

  test('no block spans more than ten seconds of events', async () => {
    const now = Date.now();
    await trail.append([0, 5, 9, 60, 3_600, 86_400].map((agoSeconds) => trail.prepare(recordOf({ at: now - agoSeconds * 1000 }))));
    for (const block of await blocks()) {
      const times = block.e.map((entry) => entry.i.readUIntBE(0, 6));
      if (times.length > 0) expect(Math.max(...times) - Math.min(...times)).toBeLessThanOrEqual(10_000);
    }
  });

  test('nothing that a record says can be read in the database', async () => {
    const canaries = ['canary-patient-77', 'Canary Name', 'canary-user', 'Canary|Query', '192.0.2.77', 'canary-request', 'CanaryType'];
    await trail.record(recordOf({
      requestId: canaries[5]!, query: `GET /Patient?name=${canaries[3]!}`, patients: [canaries[0]!], entities: [{ type: canaries[6]!, id: canaries[0]! }],
      actor: { kind: 'user', id: canaries[2]!, display: canaries[1]!, address: canaries[4]! },
    }));
    const raw = await mongo.auditRoot.collection(auditCollection).find({}, { raw: true }).toArray();
    const bytes = Buffer.concat(raw as unknown as Buffer[]);
    expect(bytes.length).toBeGreaterThan(1_000);
    expect(bytes.includes('first:')).toBe(true);
    for (const canary of canaries) {
      for (const form of [canary, Buffer.from(canary, 'utf16le'), Buffer.from(canary).toString('base64').slice(0, -4), Buffer.from(canary).toString('hex')]) expect(bytes.includes(form)).toBe(false);
    }
  });

  test('entries of a crashed process are appended once, marked as recovered, without their plaintext at hand', async () => {
    const crashed = await openTrail('crashed');
    const prepared = [crashed.prepare(recordOf({ requestId: 'lost-1' })), crashed.prepare(recordOf({ requestId: 'kept-1' }))];
    await crashed.append(prepared.slice(1));
    await crashed.close();
    // As they come back from stored documents: other buffers, same bytes.
    const swept = prepared.map(({ id, sealed }) => ({ id: Buffer.from(id), sealed: Buffer.from(sealed) }));
    expect(await trail.missing(swept.map(({ id }) => id))).toEqual([swept[0]!.id]);
    await trail.appendRecovered(swept);
    await trail.appendRecovered(swept);
    const stored = (await blocks()).flatMap((block) => block.e).filter((entry) => swept.some(({ id }) => id.equals(entry.i)));
    expect(stored.length).toBe(2);
    expect(stored.filter((entry) => entry.r === true).map((entry) => entry.i)).toEqual([swept[0]!.id]);
    const reader = new AuditReader({ audit: mongo.audit, keyring: keys.keyring, tenant, site });
    const found = await Array.fromAsync(queryRecords(reader, { requestId: 'lost-1' }));
    expect(found.map(({ record }) => record.recovered)).toEqual([true]);
  });

  test('a flush waits a moment for what is under way, and not for what takes long', async () => {
    const shared = await openTrail('shared');
    const turns = async (count: number): Promise<void> => {
      for (let turn = 0; turn < count; turn += 1) await new Promise(setImmediate);
    };
    // The second comes when the first would be on its way.
    const bothAtOnce = async (): Promise<number> => {
      const before = shared.head()!.n;
      await Promise.all([0, 3].map(async (count) => shared.expecting(async () => {
        await turns(count);
        await shared.record(recordOf());
      })));
      return shared.head()!.n - before;
    };
    const written: number[] = [];
    // On a busy machine three turns may take longer than the moment.
    while (!written.includes(1) && written.length < 50) written.push(await bothAtOnce());
    expect(written).toContain(1);
    let end = (): void => undefined;
    const long = shared.expecting(async () => new Promise<void>((resolve) => (end = resolve)));
    await shared.expecting(async () => shared.record(recordOf()));
    end();
    await long;
    expect(await shared.close()).toBe(true);
  });

  test('a stream name cannot be used twice', async () => {
    await expect(openTrail('first')).rejects.toMatchObject({ code: 'audit-unavailable' });
  });

  test('whoever finds its stream written by somebody else stops at once', async () => {
    let fenced = 0;
    const paused = await openTrail('paused', { onFenced: () => (fenced += 1), flush: { appendTimeoutMs: 500 } });
    await paused.record(recordOf());
    const other = (await blocks()).find((block) => block._id === 'paused:0000000001')!;
    await mongo.auditRoot.collection<Block>(auditCollection).insertOne({ ...other, _id: 'paused:0000000002', n: 2 });
    await expect(paused.record(recordOf())).rejects.toMatchObject({ code: 'audit-unavailable' });
    expect(fenced).toBe(1);
    expect(() => paused.assertAvailable()).toThrow();
    await expect(paused.record(recordOf())).rejects.toMatchObject({ code: 'audit-unavailable' });
    await mongo.auditRoot.collection<Block>(auditCollection).deleteOne({ _id: 'paused:0000000002' });
  });

  test('everything above verifies', async () => {
    const report = await verifyTrail({ audit: mongo.audit, keyring: keys.keyring, tenant });
    expect(report.faults).toEqual([]);
    expect(report).toMatchObject({ ok: true, streams: 4, recovered: 1 });
    expect(report.entries).toBeGreaterThan(5_300);
  });

  test('a closed trail refuses', async () => {
    const closing = await openTrail('closing');
    const last = closing.record(recordOf());
    expect(await closing.close()).toBe(true);
    await last;
    await expect(closing.record(recordOf())).rejects.toMatchObject({ code: 'audit-unavailable' });
    expect(() => closing.assertAvailable()).toThrow();
  });
});
