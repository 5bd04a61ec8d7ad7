import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Criterion } from '../../../server/search/criteria.ts';
import { searchParamsOf } from '../../../resources/definitions/index.ts';
import type { StoreTransaction } from '../../../server/storage/contract.ts';
import { observation, patient, testStore, type TestProcess, type TestStore } from './support.ts';

let on: TestStore;
let second: TestProcess;
beforeAll(async () => {
  on = await testStore();
  second = await on.another();
});
afterAll(() => on.close());

const identifiedBy = (code: string): Criterion => ({ op: 'param', param: searchParamsOf('Patient').get('identifier')!, of: [{ kind: 'token', system: 'urn:mrn', code }] });

describe('a transaction', () => {
  test('commits all of its writes or none', async () => {
    await on.put(patient(), 'kept', 0);
    const work = (fail: boolean) => on.store.transaction(async (tx) => {
      await tx.createMany([on.store.prepare(patient(), 'tx1'), on.store.prepare(observation('tx1'), 'tx2')], on.auditOf);
      await tx.write(on.store.prepare(patient({ gender: 'male' }), 'kept'), on.auditOf);
      expect((await tx.read('Patient', 'tx1'))!.versionId).toBe(1);
      if (fail) throw new Error('no');
      return tx.remove('Patient', 'kept', on.auditOf);
    });
    await expect(work(true)).rejects.toThrow('no');
    expect(await on.store.read('Patient', 'tx1')).toBeUndefined();
    expect((await on.store.read('Patient', 'kept'))!.versionId).toBe(1);
    expect((await work(false))!.version.versionId).toBe(3);
    expect((await on.store.read('Patient', 'tx1'))!.patients()).toEqual(['tx1']);
    expect((await on.store.read('Observation', 'tx2'))!.patients()).toEqual(['tx1']);
    expect((await on.store.history({ type: 'Patient', id: 'kept', count: 9 })).versions.map(({ versionId }) => versionId)).toEqual([3, 2, 1]);
  });

  test('returns created results in the order asked, and refuses ids that exist', async () => {
    const ids = Array.from({ length: 1_200 }, (_, index) => `many-${index}`);
    const prepared = ids.map((id) => on.store.prepare(observation('p'), id));
    const results = await on.store.transaction((tx) => tx.createMany(prepared, on.auditOf));
    expect(results.map(({ version }) => version.id)).toEqual(ids);
    expect(new Set(results.map(({ version }) => version.order)).size).toBe(ids.length);
    await on.remove('Observation', 'many-3');
    const again = await on.store.transaction((tx) => tx.createMany([on.store.prepare(observation('p'), 'fresh'), on.store.prepare(observation('p'), 'many-3')], on.auditOf));
    expect(again.map(({ version, created }) => [version.id, version.versionId, created])).toEqual([['fresh', 1, true], ['many-3', 3, true]]);
    await expect(on.store.transaction((tx) => tx.createMany([on.store.prepare(observation('p'), 'fresh2'), on.store.prepare(observation('p'), 'many-4')], on.auditOf))).rejects.toMatchObject({ code: 'version-stale' });
    expect(await on.store.read('Observation', 'fresh2')).toBeUndefined();
  });

  test('that writes what another wrote meanwhile is repeated', async () => {
    await on.put(patient(), 'contended', 0);
    let tries = 0;
    const result = await on.store.transaction(async (tx) => {
      tries += 1;
      const { versionId } = (await tx.read('Patient', 'contended'))!;
      if (tries === 1) await on.put(patient({ gender: 'male' }), 'contended');
      return tx.write(on.store.prepare(patient({ gender: 'other' }), 'contended'), on.auditOf, { ifMatch: versionId });
    });
    expect([tries, result.version.versionId]).toEqual([2, 3]);
  });

  test('leaves nothing in flight, whatever its end', async () => {
    await expect(on.store.transaction(async (tx) => {
      await tx.write(on.store.prepare(patient(), 'aborted'), on.auditOf);
      throw new Error('no');
    })).rejects.toThrow();
    const before = await on.epoch.floor();
    await new Promise((resolve) => setTimeout(resolve, 5));
    await second.epoch.beat();
    expect(await on.epoch.floor()).toBeGreaterThan(before);
  });
});

describe('conditional creates', () => {
  const createUnlessFound = (process: TestProcess, code: string, id: string) => process.store.transaction(async (tx: StoreTransaction) => {
    await tx.claim([`Patient|identifier|urn:mrn|${code}`, `other|${code}`]);
    const { matches } = await tx.search({ types: ['Patient'], where: identifiedBy(code), sort: [], count: 2, total: 'none' });
    if (matches[0] !== undefined) return { created: false, id: matches[0].id };
    const prepared = process.store.prepare(patient({ identifier: [{ system: 'urn:mrn', value: code }] }), id);
    await tx.write(prepared, process.auditOf, { ifMatch: 0 });
    return { created: true, id };
  });

  test('eight at once, on two processes, 100 times: one creates, seven find what it created', async () => {
    for (let round = 0; round < 100; round += 1) {
      const code = `mrn-${round}`;
      const outcomes = await Promise.all(Array.from({ length: 8 }, (_, index) => createUnlessFound(index % 2 ? on : second, code, `c-${round}-${index}`)));
      const winners = outcomes.filter(({ created }) => created);
      expect(winners).toHaveLength(1);
      expect(outcomes.every(({ id }) => id === winners[0]!.id)).toBe(true);
      const { total } = await on.store.search({ types: ['Patient'], where: identifiedBy(code), sort: [], count: 0, total: 'accurate' });
      expect(total).toBe(1);
    }
  }, 180_000);
});
