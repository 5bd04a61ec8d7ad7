import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { searchParamsOf } from '../../../resources/definitions/index.ts';
import type { Criterion } from '../../../server/search/criteria.ts';
import { tokenScheme } from '../../../server/search/tokens.ts';
import { parseSearch } from '../../../server/search/parse.ts';
import type { IndexStatus } from '../../../server/storage/search-indexes.ts';
import type { StoreOptions } from '../../../server/storage/store.ts';
import { observation, patient, testStore, type TestProcess, type TestStore } from './support.ts';

const events: string[] = [];
const indexing: NonNullable<StoreOptions['indexing']> = { pollMs: 20, settleMs: 100, lateSweepMs: 50, onJob: async (event) => void events.push(event) };

const parameter = (changes: Record<string, unknown> = {}) => ({
  resourceType: 'SearchParameter', url: 'http://example.org/eye', name: 'eye', status: 'active', description: 'd', code: 'eye-colour', base: ['Patient'], type: 'token',
  expression: "Patient.extension.where(url='http://example.org/eye').value", ...changes,
});
const eyes = (code: string) => patient({ extension: [{ url: 'http://example.org/eye', valueCodeableConcept: { coding: [{ system: 'urn:eye', code }] } }] });
const asked = (type: string, query: string, strict = true): Criterion => parseSearch(type, [...new URLSearchParams(query)], { strict }).where as Criterion;

async function ids(on: TestProcess, type: string, where: Criterion): Promise<string[]> {
  return (await on.store.search({ types: [type], where, sort: [], count: 100, total: 'none' })).matches.map(({ id }) => id);
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let left = 400; !(await condition()); left -= 1) {
    if (left === 0) throw new Error('it did not come to that');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function statusOf(on: TestProcess, name: string): Promise<IndexStatus | undefined> {
  return (await on.store.indexes.status()).find((one) => one.name === name);
}

let on: TestStore;
beforeAll(async () => {
  on = await testStore({ indexing, leaseMs: 3_000 });
});
afterAll(() => on.close());

jest.setTimeout(60_000);

describe('data of an earlier version', () => {
  test('is found before it is indexed, indexed in the background, and found by its tokens then', async () => {
    for (let index = 0; index < 120; index += 1) await on.put(observation('p', { valueQuantity: { value: index, system: 'http://unitsofmeasure.org', code: 'mg' } }), `o${index}`);
    const before = await on.raw('resources');
    // As documents were when numbers had no tokens: fewer, under a MAC that fits.
    const { codec } = on.store.indexes.parts;
    for (const document of before) {
      const old = codec.reindexed(document, document.x.slice(0, 3), document.s);
      await on.app.db!.collection('resources').updateOne({ _id: document._id }, { $set: { x: old.x, mac: old.mac } });
    }
    const where = asked('Observation', 'value-quantity=gt115.5|http://unitsofmeasure.org|mg');
    await on.store.indexes.open();
    expect(on.store.indexes.present.scheme).toBe(1);
    expect(await ids(on, 'Observation', where)).toEqual(['o116', 'o117', 'o118', 'o119']);
    await until(() => on.store.indexes.present.scheme === tokenScheme);
    expect(await ids(on, 'Observation', where)).toEqual(['o116', 'o117', 'o118', 'o119']);
    await until(async () => (await statusOf(on, 'tokens'))?.state === 'done');
    expect(await statusOf(on, 'tokens')).toMatchObject({ seen: 120, changed: 120, failed: 0 });
    const after = await on.raw('resources');
    for (const [index, document] of after.entries()) {
      const was = before[index]!;
      expect([document.o, document.vid, document.at, document.w, document.x.length]).toEqual([was.o, was.vid, was.at, was.w, was.x.length]);
      expect(document.audit.equals(was.audit) && document.body.equals(was.body)).toBe(true);
    }
    expect((await on.store.readMany([{ type: 'Observation', id: 'o7' }]))[0]?.versionId).toBe(1);
    expect(events).toEqual(['index-start', 'index-end']);
  });
});

describe('a posted SearchParameter', () => {
  test('is refused where it cannot be used', () => {
    for (const changes of [
      { code: 'family' }, { code: 'bad code' }, { code: '_tag' }, { type: 'composite' }, { type: 'special' }, { base: ['Nonsense'] }, { base: ['Resource'] }, { base: [] }, { expression: 'Patient.((' }, { expression: undefined },
      { expression: 'Patient.nonsense' }, { expression: 'Observation.code' }, { expression: 'x'.repeat(2_000) }, { expression: 'Patient.repeat(contact).name' }, { expression: 'Patient.where(birthDate < today())' },
      { type: 'number' , expression: 'Patient.name' }, { target: ['Patient'] }, { type: 'reference', target: ['Nonsense'], expression: 'Patient.link.other' }, { expression: 'Patient.name.nonsense(1)' },
    ]) {
      let refusal: unknown = 'accepted';
      try {
        on.store.prepare(parameter(changes), 'sp');
      } catch (error) {
        refusal = (error as { code: string }).code;
      }
      expect([changes, refusal]).toEqual([changes, 'business-rule']);
    }
    on.store.prepare(parameter({ status: 'draft', expression: 'Patient.((' }), 'sp');
  });

  test('is indexed in the background, then searchable in every process, until it is retired', async () => {
    for (let index = 0; index < 70; index += 1) await on.put(eyes(index % 2 === 0 ? 'green' : 'brown'), `e${index}`);
    await on.put(parameter(), 'sp');
    expect(() => asked('Patient', 'eye-colour=green')).toThrow();
    await until(async () => (await statusOf(on, 'eye-colour')) !== undefined);
    await on.put(eyes('green'), 'late');
    await until(() => searchParamsOf('Patient').get('eye-colour')?.posted?.pending === false);
    const where = asked('Patient', 'eye-colour=urn:eye|green');
    expect(await ids(on, 'Patient', where)).toHaveLength(36);
    expect(await ids(on, 'Patient', asked('Patient', 'eye-colour:missing=false'))).toHaveLength(71);
    const other = await on.another({ indexing, leaseMs: 3_000 });
    await other.store.indexes.open();
    expect(await ids(other, 'Patient', where)).toHaveLength(36);
    await other.close();
    expect(() => on.store.prepare(parameter({ url: 'http://example.org/other' }), 'sp2')).toThrow(expect.objectContaining({ code: 'business-rule' }));
    await on.put(parameter({ status: 'retired' }), 'sp');
    await until(() => !searchParamsOf('Patient').has('eye-colour'));
    expect(() => asked('Patient', 'eye-colour=green')).toThrow(expect.objectContaining({ code: 'search-unsupported' }));
    expect(parseSearch('Patient', [['eye-colour', 'green']], { strict: false }).ignored).toEqual(['eye-colour']);
  });

  test('may be worked out by FHIRPath, and another expression is indexed anew', async () => {
    const initials = (expression: string) => parameter({ url: 'http://example.org/initials', code: 'initials', type: 'string', expression });
    await on.put(patient({ name: [{ family: 'Quist', given: ['Vera'] }] }), 'v');
    await on.put(initials('Patient.name.select(given.first().substring(0, 1) & family.substring(0, 1))'), 'sp3');
    await until(() => searchParamsOf('Patient').get('initials')?.posted?.pending === false);
    expect(await ids(on, 'Patient', asked('Patient', 'initials=vq'))).toEqual(['v']);
    await on.put(initials('Patient.name.select(family.substring(0, 1) & given.first().substring(0, 3))'), 'sp3');
    await until(() => searchParamsOf('Patient').get('initials')?.posted?.pending !== false);
    await until(() => searchParamsOf('Patient').get('initials')?.posted?.pending === false);
    expect(await ids(on, 'Patient', asked('Patient', 'initials=qver'))).toEqual(['v']);
    expect(await ids(on, 'Patient', asked('Patient', 'initials=vq'))).toEqual([]);
    await on.remove('SearchParameter', 'sp3');
    await until(() => !searchParamsOf('Patient').has('initials'));
  });

  test('goes on where another process left it', async () => {
    const slow = parameter({ url: 'http://example.org/slow', code: 'eye-system', type: 'uri', expression: "Patient.extension.where(url='http://example.org/eye').url" });
    const first = await on.another({ indexing: { ...indexing, settleMs: 3_600_000 }, leaseMs: 3_000 });
    await first.store.indexes.open();
    await on.put(slow, 'sp4');
    await until(async () => ((await statusOf(on, 'eye-system'))?.seen ?? 0) >= 50);
    await first.close();
    await until(() => searchParamsOf('Patient').get('eye-system')?.posted?.pending === false);
    expect(await ids(on, 'Patient', asked('Patient', 'eye-system=http://example.org/eye'))).toHaveLength(71);
    await until(async () => (await statusOf(on, 'eye-system'))?.state === 'done');
  });
});
