import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { maxNodes, firstOrderAt, orderMs, RecordingClock } from '../../../server/storage/clock.ts';
import { openMongoose } from '../../../server/mongo/connect.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { Epoch, type EpochDocument } from '../../../server/storage/epochs.ts';
import { patient, testStore, type TestStore } from './support.ts';

describe('the recording clock', () => {
  test('rises strictly, is unique across nodes, and never falls behind the wall clock', () => {
    let nowMs = Date.UTC(2026, 0, 1);
    const clocks = [new RecordingClock(0, () => nowMs), new RecordingClock(maxNodes - 1, () => nowMs)];
    const seen = new Set<bigint>();
    for (const clock of clocks) {
      let last = 0n;
      let bad = 0;
      for (let index = 0; index < 20_000; index += 1) {
        const order = clock.next();
        if (order <= last || orderMs(order) < nowMs) bad += 1;
        seen.add(order);
        last = order;
      }
      expect(bad).toBe(0);
      expect(clock.floor() > last || clock.floor() === firstOrderAt(orderMs(last))).toBe(true);
      expect(clock.next() >= clock.floor()).toBe(true);
    }
    expect(seen.size).toBe(40_000);
    nowMs -= 10_000;
    expect(orderMs(clocks[0]!.next())).toBeGreaterThan(nowMs);
    expect(clocks[0]!.next() < 2n ** 63n).toBe(true);
  });

  test('goes past a time it is told of, but not far ahead of its own', () => {
    const clock = new RecordingClock(1, () => 1_000_000);
    expect(orderMs(clock.next(1_000_500))).toBe(1_000_500);
    expect(orderMs(clock.next())).toBe(1_000_500);
    expect(() => clock.next(1_000_000 + 3_600_000)).toThrow(expect.objectContaining({ code: 'unavailable' }));
    expect(() => new RecordingClock(maxNodes)).toThrow(RangeError);
  });
});

describe('epochs', () => {
  let on: TestStore;
  beforeAll(async () => {
    on = await testStore({ leaseMs: 1_500 });
  });
  afterAll(() => on.close());
  const rows = () => on.raw('resources').then(async (current) => [...current, ...(await on.raw('versions'))]);
  const missing = async () => on.audit.missing((await rows()).map(({ audit }) => audit.subarray(0, 16)));
  const epochs = () => on.app.db!.collection<EpochDocument>('epochs');

  test('a killed process: what it wrote gets its audit entries from another, once its lease ran out', async () => {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'crashing-process.ts'), on.mongo.appUri, on.mongo.auditUri, on.keysDir, '1500'], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    expect(await missing()).toHaveLength(23);
    expect(await on.store.repair()).toBe(0);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const deadline = Date.now() + 15_000;
    // The store repairs by itself.
    while ((await missing()).length > 0 && Date.now() < deadline) await pause(100);
    expect(await missing()).toHaveLength(0);
    expect(await on.store.repair()).toBe(0);
    const ended = await epochs().findOne({ live: false });
    expect(ended).toMatchObject({ sweeps: 1 });
    expect((await on.store.read('Patient', 'lost'))!.deleted).toBe(true);
  }, 40_000);

  test('a process that was only paused: fenced, swept again, and going on under a new epoch', async () => {
    const paused = await on.another({ leaseMs: 60_000 });
    const old = paused.epoch.id;
    await on.store.repair({ alone: true });
    await paused.store.write(paused.store.prepare(patient(), 'late'), paused.auditOf, { ifMatch: 0 });
    expect(await missing()).toHaveLength(1);
    expect(await on.store.repair()).toBe(0);
    await epochs().updateOne({ _id: old }, { $set: { nextSweepAt: new Date(0) } });
    await on.store.repair();
    expect(await missing()).toHaveLength(0);
    await paused.epoch.beat();
    expect(paused.epoch.id).not.toBe(old);
    await paused.put(patient(), 'late');
    expect((await on.raw('resources')).at(-1)!.w).toBe(paused.epoch.id);
    // Several sweeps later it is done with.
    for (let sweeps = 0; sweeps < 4; sweeps += 1) {
      await epochs().updateOne({ _id: old }, { $set: { nextSweepAt: new Date(0) } });
      await on.store.repair();
    }
    expect(await epochs().findOne({ _id: old })).toMatchObject({ doneAt: expect.any(Date) });
    await paused.close();
  });

  test('a clean end needs no sweep; one with entries outstanding does', async () => {
    const clean = await on.another();
    await clean.put(patient(), 'clean', 0);
    await clean.close();
    expect(await epochs().findOne({ _id: clean.epoch.id })).toMatchObject({ live: false, doneAt: expect.any(Date) });
    const unclean = await on.another();
    await unclean.store.write(unclean.store.prepare(patient(), 'unclean'), unclean.auditOf);
    await unclean.close();
    expect((await epochs().findOne({ _id: unclean.epoch.id }))!.doneAt).toBeUndefined();
    await on.store.repair();
    expect(await missing()).toHaveLength(0);
  });

  test('a write of unknown outcome is settled by the next repair', async () => {
    const { version } = await on.store.write(on.store.prepare(patient(), 'unsure'), on.auditOf);
    const never = on.epoch.begin();
    on.epoch.uncertain(version.order);
    on.epoch.uncertain(never);
    expect(await on.epoch.floor() <= never).toBe(true);
    expect(await on.store.repair()).toBe(1);
    expect(on.epoch.unsettled()).toEqual([]);
    expect(await missing()).toHaveLength(0);
    expect(await on.epoch.floor() > never).toBe(true);
  });

  test('a process that cannot keep its lease does not write', async () => {
    const cutOff = await openMongoose(on.mongo.appUri);
    const epoch = await Epoch.open({ app: cutOff, log: silentLog, leaseMs: 300 });
    epoch.abandoned(epoch.begin());
    await cutOff.close();
    await pause(400);
    expect(() => epoch.begin()).toThrow(expect.objectContaining({ code: 'unavailable' }));
    await epoch.close().catch(() => undefined);
  });

  test('no two live epochs have the same number', async () => {
    const live = await epochs().find({ live: true }).toArray();
    await expect(epochs().updateOne({ _id: live[0]!._id }, { $set: { node: live[1]!.node } })).rejects.toMatchObject({ code: 11000 });
  });
});
