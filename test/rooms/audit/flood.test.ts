import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { manyAddresses, openFloodGuard } from '../../../server/audit/flood.ts';
import { queryRecords } from '../../../server/audit/query.ts';
import { AuditReader } from '../../../server/audit/reader.ts';
import type { AuditRecord } from '../../../server/audit/record.ts';
import { auditCollection, openAuditTrail, type OpenAuditTrail } from '../../../server/audit/trail.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';
import { recordOf, site, tenant, testKeyring } from './support.ts';

const refusal = (address: string, changes: Partial<AuditRecord> = {}): AuditRecord => recordOf({ outcome: '4', error: 'token-invalid', entities: [], patients: [], actor: { kind: 'anonymous', id: 'anonymous', address }, ...changes });

let mongo: TestMongo;
let keys: Awaited<ReturnType<typeof testKeyring>>;
let trail: OpenAuditTrail;
let epochs = 0;

beforeAll(async () => {
  [mongo, keys] = await Promise.all([testMongo(), testKeyring()]);
});
afterAll(async () => {
  keys.close();
  await mongo.drop();
});
beforeEach(async () => {
  await mongo.auditRoot.collection(auditCollection).deleteMany({});
  epochs += 1;
  trail = await openAuditTrail({ audit: mongo.audit, keyring: keys.keyring, tenant, epochId: `flood-${epochs}`, log: silentLog });
});
afterEach(async () => {
  await trail.close();
});

const kept = async (): Promise<AuditRecord[]> => {
  const reader = new AuditReader({ audit: mongo.audit, keyring: keys.keyring, tenant, site });
  return (await Array.fromAsync(queryRecords(reader, { ascending: true, limit: 1_000 }))).map(({ record }) => record);
};

test('the first of a minute are recorded one by one, the rest together, none is lost', async () => {
  let nowMs = 0;
  const guard = openFloodGuard({ trail, perMinute: 3, nowMs: () => nowMs });
  for (let i = 0; i < 10; i += 1) await guard.record(refusal('192.0.2.1'));
  await guard.record(refusal('192.0.2.1', { error: 'forbidden' }));
  await guard.record(refusal('192.0.2.2'));
  expect(await kept()).toHaveLength(4);
  await guard.flush();
  expect((await kept()).flatMap(({ error, count }) => (count === undefined ? [] : [[error, count]])).sort()).toEqual([['forbidden', 1], ['token-invalid', 7]]);
  await guard.flush();
  expect(await kept()).toHaveLength(6);
  nowMs = 60_000;
  await guard.record(refusal('192.0.2.1'));
  expect(await kept()).toHaveLength(7);
  await guard.close();
});

test('addresses beyond the bound share one count', async () => {
  const guard = openFloodGuard({ trail, perMinute: 1, maxAddresses: 2, nowMs: () => 0 });
  for (let i = 0; i < 100; i += 1) await guard.record(refusal(`192.0.2.${i}`));
  await guard.close();
  const records = await kept();
  expect(records.reduce((sum, { count }) => sum + (count ?? 1), 0)).toBe(100);
  expect(records.length).toBeLessThanOrEqual(6);
  expect(records.map(({ actor }) => actor.address)).toContain(manyAddresses);
});

test('while the trail cannot be written nobody passes', async () => {
  const guard = openFloodGuard({ trail, perMinute: 1, nowMs: () => 0 });
  await guard.record(refusal('192.0.2.1'));
  await trail.close();
  await expect(guard.record(refusal('192.0.2.1'))).rejects.toMatchObject({ code: 'audit-unavailable' });
  await expect(guard.record(refusal('192.0.2.9'))).rejects.toMatchObject({ code: 'audit-unavailable' });
  await guard.close();
});
