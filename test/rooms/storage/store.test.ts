import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { orderMs } from '../../../server/storage/clock.ts';
import { observation, patient, testStore, type TestStore } from './support.ts';

let on: TestStore;
beforeAll(async () => {
  on = await testStore();
});
afterAll(() => on.close());

describe('one resource', () => {
  test('comes back as it was written, with id and meta', async () => {
    const { version, created } = await on.put(patient(), 'p1', 0);
    expect(created).toBe(true);
    const read = (await on.store.read('Patient', 'p1'))!;
    expect(read.resource()).toEqual({ ...patient(), id: 'p1', meta: { versionId: '1', lastUpdated: version.lastUpdated.toISOString() } });
    expect(read.bytes.equals(version.bytes)).toBe(true);
    expect([read.type, read.id, read.versionId, read.deleted, read.order]).toEqual(['Patient', 'p1', 1, false, version.order]);
    expect(read.lastUpdated.getTime()).toBe(orderMs(read.order));
    expect(read.patients()).toEqual(['p1']);
  });

  test('keeps the digits of decimals when given the original bytes', async () => {
    const bytes = Buffer.from('{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.00}}');
    const prepared = on.store.prepare(JSON.parse(bytes.toString()) as ReturnType<typeof patient>, 'decimal', bytes);
    await on.store.write(prepared, on.auditOf, { ifMatch: 0 });
    expect((await on.store.read('Observation', 'decimal'))!.bytes.toString()).toContain('"value":1.00');
  });

  test('is not found under another type or id', async () => {
    expect(await on.store.read('Observation', 'p1')).toBeUndefined();
    expect(await on.store.read('Patient', 'p2')).toBeUndefined();
    expect(await on.store.vread('Patient', 'p1', 2)).toBeUndefined();
    expect(await on.store.vread('Patient', 'p1', -1)).toBeUndefined();
    expect(await on.store.vread('Patient', 'p1', 1.5)).toBeUndefined();
  });

  test('has versions, a deletion among them, and can come back', async () => {
    await on.put(patient({ gender: 'male' }), 'v1');
    const second = await on.put(patient({ gender: 'other' }), 'v1');
    expect([second.created, second.version.versionId]).toEqual([false, 2]);
    const third = (await on.remove('Patient', 'v1'))!;
    expect([third.version.versionId, third.version.deleted, third.version.bytes.length]).toEqual([3, true, 0]);
    expect(third.version.patients()).toEqual(['v1']);
    expect(await on.remove('Patient', 'v1')).toBeUndefined();
    const gone = (await on.store.read('Patient', 'v1'))!;
    expect([gone.deleted, gone.versionId]).toEqual([true, 3]);
    expect(() => gone.resource()).toThrow();
    const fourth = await on.put(patient(), 'v1', 0);
    expect([fourth.created, fourth.version.versionId]).toEqual([true, 4]);
    for (const [versionId, gender] of [[1, 'male'], [2, 'other'], [4, 'female']] as const) {
      expect((await on.store.vread('Patient', 'v1', versionId))!.resource()['gender']).toBe(gender);
    }
    expect((await on.store.vread('Patient', 'v1', 3))!.deleted).toBe(true);
    const { versions } = await on.store.history({ type: 'Patient', id: 'v1', count: 10 });
    expect(versions.map(({ versionId }) => versionId)).toEqual([4, 3, 2, 1]);
    expect(on.facts.filter(({ id }) => id === 'v1').map(({ interaction }) => interaction)).toEqual(['create', 'update', 'delete', 'create', 'create']);
  });

  test('is told to the audit as it was sealed', async () => {
    const { version } = await on.put(observation('p1'), 'facts', 0);
    const facts = on.facts.find(({ id }) => id === 'facts')!;
    expect(facts).toMatchObject({ type: 'Observation', versionId: 1, deleted: false, patients: ['p1'], interaction: 'create' });
    expect(facts.at).toEqual(version.lastUpdated);
    expect(facts.hash).toMatch(/^[0-9a-f]{64}$/);
    const again = await on.put(observation('p1'), 'facts');
    expect(on.facts.at(-1)!.hash).not.toBe(facts.hash);
    expect(again.version.lastUpdated.getTime()).toBeGreaterThan(version.lastUpdated.getTime());
  });

  test('ifMatch is kept', async () => {
    await on.put(patient(), 'm1', 0);
    await expect(on.put(patient(), 'm1', 0)).rejects.toMatchObject({ code: 'version-stale' });
    await expect(on.put(patient(), 'm1', 2)).rejects.toMatchObject({ code: 'version-stale' });
    await expect(on.put(patient(), 'nobody', 1)).rejects.toMatchObject({ code: 'version-stale' });
    expect((await on.put(patient(), 'm1', 1)).version.versionId).toBe(2);
    await expect(on.store.remove('Patient', 'm1', on.auditOf, { ifMatch: 1 })).rejects.toMatchObject({ code: 'version-stale' });
    expect((await on.store.remove('Patient', 'm1', on.auditOf, { ifMatch: 2 }))!.version.versionId).toBe(3);
  });

  test('larger than 10 MB is refused', () => {
    expect(() => on.store.prepare(patient({ implicitRules: 'x'.repeat(10 * 2 ** 20) }), 'big')).toThrow(expect.objectContaining({ code: 'too-large' }));
  });

  test('several at once in one round trip', async () => {
    const found = await on.store.readMany([{ type: 'Patient', id: 'p1' }, { type: 'Patient', id: 'none' }, { type: 'Observation', id: 'facts' }, { type: 'Patient', id: 'p1' }]);
    expect(found.map(({ type, id }) => `${type}/${id}`).sort()).toEqual(['Observation/facts', 'Patient/p1']);
    expect(await on.store.readMany([])).toEqual([]);
  });
});

describe('writers at the same time', () => {
  test('updates do not overwrite each other: every version is kept, in order, each later than the one before', async () => {
    await on.put(patient(), 'race', 0);
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, (_, index) => on.put(patient({ gender: index % 2 ? 'male' : 'female' }), 'race')));
    const won = outcomes.filter((outcome) => outcome.status === 'fulfilled').map((outcome) => outcome.value.version.versionId);
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'version-conflict' });
    expect(won.length).toBeGreaterThan(0);
    expect(won.sort((a, b) => a - b)).toEqual(Array.from({ length: won.length }, (_, index) => index + 2));
    const { versions } = await on.store.history({ type: 'Patient', id: 'race', count: 20 });
    expect(versions.length).toBe(won.length + 1);
    const times = versions.map(({ lastUpdated }) => lastUpdated.getTime());
    expect(times).toEqual([...times].sort((a, b) => b - a));
    expect(new Set(times).size).toBe(times.length);
  });

  test('of eight creates of one id exactly one succeeds', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => on.put(patient(), 'once', 0)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'version-stale' });
  });
});

describe('history', () => {
  test('of an instance, page by page, and since a time', async () => {
    for (let index = 0; index < 7; index += 1) await on.put(patient(), 'h1');
    const pages: number[][] = [];
    let after: string | undefined;
    do {
      const page = await on.store.history({ type: 'Patient', id: 'h1', count: 3, ...(after === undefined ? {} : { after }) });
      pages.push(page.versions.map(({ versionId }) => versionId));
      after = page.next;
    } while (after !== undefined);
    expect(pages).toEqual([[7, 6, 5], [4, 3, 2], [1]]);
    const fifth = (await on.store.vread('Patient', 'h1', 5))!;
    const { versions } = await on.store.history({ type: 'Patient', id: 'h1', count: 10, since: fifth.lastUpdated });
    expect(versions.map(({ versionId }) => versionId)).toEqual([7, 6, 5]);
  });

  test('of a type and of everything, newest first, each version once', async () => {
    await on.put({ resourceType: 'Basic', code: { text: 'a' } }, 'b1');
    await on.put({ resourceType: 'Basic', code: { text: 'b' } }, 'b1');
    await on.remove('Basic', 'b1');
    await on.put({ resourceType: 'Basic', code: { text: 'c' } }, 'b2');
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const page = await on.store.history({ type: 'Basic', count: 2, ...(after === undefined ? {} : { after }) });
      seen.push(...page.versions.map(({ id, versionId }) => `${id}/${versionId}`));
      after = page.next;
    } while (after !== undefined);
    expect(seen).toEqual(['b2/1', 'b1/3', 'b1/2', 'b1/1']);
    const all = await on.store.history({ count: 4 });
    expect(all.versions.map(({ id, versionId }) => `${id}/${versionId}`)).toEqual(seen);
  });

  test('stops at the oldest write in flight, so that nothing slips in behind a reader', async () => {
    const inFlight = on.epoch.begin();
    try {
      await on.put({ resourceType: 'Basic', code: { text: 'later' } }, 'b3');
      expect((await on.store.history({ type: 'Basic', count: 10 })).versions.map(({ id }) => id)).not.toContain('b3');
      expect((await on.store.history({ type: 'Basic', id: 'b3', count: 10 })).versions).toHaveLength(1);
    } finally {
      on.epoch.abandoned(inFlight);
    }
    expect((await on.store.history({ type: 'Basic', count: 10 })).versions.map(({ id }) => id)).toContain('b3');
  });
});
