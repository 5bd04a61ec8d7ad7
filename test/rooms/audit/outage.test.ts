import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Connection } from 'mongoose';
import { openFloodGuard } from '../../../server/audit/flood.ts';
import { queryRecords } from '../../../server/audit/query.ts';
import { AuditReader } from '../../../server/audit/reader.ts';
import type { AuditRecord } from '../../../server/audit/record.ts';
import { openAuditTrail, type OpenAuditTrail } from '../../../server/audit/trail.ts';
import { verifyTrail } from '../../../server/audit/verify.ts';
import { openMongoose } from '../../../server/mongo/connect.ts';
import { startEmbeddedMongo, type EmbeddedMongo } from '../../../server/mongo/embedded.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { recordOf, site, tenant, testKeyring } from './support.ts';

// A mongod of its own, since it is paused and stopped.
let directory: string;
let mongo: EmbeddedMongo;
let audit: Connection;
let keys: Awaited<ReturnType<typeof testKeyring>>;
let trail: OpenAuditTrail;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'interlock-outage-'));
  const mongod = { path: process.env['INTERLOCK_TEST_MONGOD']!, version: 'as given' };
  mongo = await startEmbeddedMongo({ dataDir: join(directory, 'data'), keysDir: join(directory, 'keys'), mongod, log: silentLog });
  audit = await openMongoose(mongo.auditUri);
  keys = await testKeyring();
  trail = await openAuditTrail({ audit, keyring: keys.keyring, tenant, epochId: 'outage', log: silentLog, flush: { appendTimeoutMs: 800, attemptTimeoutMs: 300, maxQueuedEntries: 50 } });
});
afterAll(async () => {
  await trail.close();
  await audit.close();
  await mongo.stop();
  keys.close();
  rmSync(directory, { recursive: true, force: true });
});

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 300 && !condition(); i += 1) await new Promise((resolve) => setTimeout(resolve, 50));
  expect(condition()).toBe(true);
}

function isAvailable(one: OpenAuditTrail): boolean {
  try {
    one.assertAvailable();
    return true;
  } catch {
    return false;
  }
}
const available = (): boolean => isAvailable(trail);

test('while the audit store hangs nothing is confirmed; afterwards everything that was committed is there, once', async () => {
  await trail.record(recordOf());
  const guard = openFloodGuard({ trail, nowMs: () => 0, perMinute: 1 });
  const unauthenticated = (): AuditRecord => recordOf({ requestId: 'flood', outcome: '4', error: 'token-invalid', actor: { kind: 'anonymous', id: 'anonymous', address: '192.0.2.66' } });
  for (let i = 0; i < 5; i += 1) await guard.record(unauthenticated());
  const committed = Array.from({ length: 5 }, () => trail.prepare(recordOf()));
  process.kill(mongo.pid(), 'SIGSTOP');
  try {
    const startedMs = performance.now();
    const outcomes = await Promise.allSettled([trail.record(recordOf()), ...committed.map((entry) => trail.appendCommitted([entry]))]);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    expect(outcomes.map((outcome) => (outcome.status === 'rejected' ? (outcome.reason as { code: string }).code : 'resolved'))).toEqual(['audit-unavailable', ...committed.map(() => 'outcome-unknown')]);
    expect(available()).toBe(false);
    await expect(guard.record(unauthenticated())).rejects.toMatchObject({ code: 'audit-unavailable' });
    await guard.flush();

    // What waits is bounded: the excess is refused at once.
    const flood = await Promise.allSettled(Array.from({ length: 80 }, async () => {
      const sinceMs = performance.now();
      await trail.record(recordOf()).catch(() => {
        throw new Error(performance.now() - sinceMs < 400 ? 'at once' : 'late');
      });
    }));
    const reasons = flood.map((outcome) => (outcome.status === 'rejected' ? (outcome.reason as Error).message : 'resolved'));
    expect(reasons).not.toContain('resolved');
    expect(reasons.filter((reason) => reason === 'at once').length).toBeGreaterThanOrEqual(30);
  } finally {
    process.kill(mongo.pid(), 'SIGCONT');
  }
  await until(available);
  expect(await trail.missing(committed.map(({ id }) => id))).toEqual([]);
  await guard.close();
  const reader = new AuditReader({ audit, keyring: keys.keyring, tenant, site });
  expect((await Array.fromAsync(queryRecords(reader, { requestId: 'flood' }))).map(({ record }) => record.count ?? 1).sort()).toEqual([1, 4]);
  await trail.record(recordOf());
  const report = await verifyTrail({ audit, keyring: keys.keyring, tenant });
  expect(report.faults).toEqual([]);
  expect(report.ok).toBe(true);
});

test('a store that is merely slow: what was committed is owed until it is there', async () => {
  const slow = await openAuditTrail({ audit, keyring: keys.keyring, tenant, epochId: 'slow', log: silentLog, flush: { appendTimeoutMs: 200, attemptTimeoutMs: 20_000 } });
  const entry = slow.prepare(recordOf());
  process.kill(mongo.pid(), 'SIGSTOP');
  try {
    await expect(slow.appendCommitted([entry])).rejects.toMatchObject({ code: 'outcome-unknown' });
    expect(() => slow.assertAvailable()).toThrow(expect.objectContaining({ code: 'audit-unavailable' }));
  } finally {
    process.kill(mongo.pid(), 'SIGCONT');
  }
  await until(() => isAvailable(slow));
  expect(await slow.missing([entry.id])).toEqual([]);
  expect(await slow.close()).toBe(true);
});

test('mongod killed under load: every confirmed entry is there, and the chain holds', async () => {
  const confirmed: Buffer[] = [];
  let stop = false;
  const callers = Array.from({ length: 8 }, async () => {
    while (!stop) {
      const entry = trail.prepare(recordOf());
      await trail.append([entry]).then(() => confirmed.push(entry.id), () => new Promise((resolve) => setTimeout(resolve, 50)));
    }
  });
  for (let kill = 0; kill < 2; kill += 1) {
    const before = confirmed.length;
    await until(() => confirmed.length > before + 30);
    process.kill(mongo.pid(), 'SIGKILL');
    await until(() => !available());
    await until(available);
  }
  stop = true;
  await Promise.all(callers);
  expect(confirmed.length).toBeGreaterThan(60);
  expect(await trail.missing(confirmed)).toEqual([]);
  const report = await verifyTrail({ audit, keyring: keys.keyring, tenant });
  expect(report.faults).toEqual([]);
}, 120_000);
