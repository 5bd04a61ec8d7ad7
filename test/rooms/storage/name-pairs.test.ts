import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Criterion } from '../../../server/search/criteria.ts';
import { parseSearch } from '../../../server/search/parse.ts';
import { planType } from '../../../server/search/plan.ts';
import { patient, testStore, type TestStore } from './support.ts';

const families = ['Li', 'Kim', 'Kimber', 'Grünwald', 'Grunwaldner', 'de la Cruz', 'O\'Neill-Hathaway', 'Ng'];
const givens = ['Jo', 'Ana', 'Anabel', 'Żaneta', 'Mary Ann', 'X'];
/** Every family name with every given name; people with two names; one with more names than are indexed as pairs. */
const people: { id: string; names: { family: string; given: string[] }[] }[] = [
  ...families.flatMap((family, n) => givens.map((given, m) => ({ id: `p${n}-${m}`, names: [{ family, given: [given] }] }))),
  { id: 'two', names: [{ family: 'Kimber', given: ['Ana'] }, { family: 'Grünwald', given: ['Żaneta', 'Jo'] }] },
  { id: 'many', names: [...families, 'Kimberley', 'Kims'].map((family) => ({ family, given: [...givens, 'Anastasia', 'Bela', 'Cyril', 'Doris'] })) },
  { id: 'none', names: [] },
];

let on: TestStore;
beforeAll(async () => {
  on = await testStore();
  await on.store.transaction(async (tx) => tx.createMany(people.map(({ id, names }) => on.store.prepare(patient({ name: names }), id)), on.auditOf));
});
afterAll(() => on.close());

const whereOf = (query: readonly (readonly [string, string])[]) => parseSearch('Patient', query, { strict: true }).where as Criterion;
const fold = (text: string): string => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();

async function found(where: Criterion): Promise<string[]> {
  const { matches, total } = await on.store.search({ types: ['Patient'], where, sort: [], count: 200, total: 'accurate' });
  expect(total).toBe(matches.length);
  return matches.map(({ id }) => id).sort();
}

test('a family and a given name find whoever has both, however long, spelled or many they are', async () => {
  let some = 0;
  for (const family of ['Li', 'kim', 'KIMBER', 'kimberl', 'grunwald', 'Grünwaldn', 'de l', 'o\'neill-hath', 'Nobody', 'kim,ng,grun']) {
    for (const given of ['J', 'ana', 'Anab', 'zan', 'mary a', 'Nobody', 'ana,zane']) {
      const starts = (names: readonly string[], asked: string) => names.some((name) => asked.split(',').some((one) => fold(name).startsWith(fold(one))));
      const expected = people.filter(({ names }) => starts(names.map((name) => name.family), family) && starts(names.flatMap((name) => name.given), given)).map(({ id }) => id).sort();
      expect(await found(whereOf([['family', family], ['given', given]]))).toEqual(expected);
      some += expected.length;
      const not = await found({ op: 'not', of: whereOf([['family', family], ['given', given]]) });
      expect(not).toEqual(people.map(({ id }) => id).filter((id) => !expected.includes(id)).sort());
    }
  }
  expect(some).toBeGreaterThan(100);
  expect(await found(whereOf([['family:exact', 'Kimber'], ['given', 'ana']]))).toEqual(['many', 'p2-1', 'p2-2', 'two']);
  expect(await found(whereOf([['family:contains', 'unwald'], ['given', 'ana']]))).toEqual(['many', 'p3-1', 'p3-2', 'p4-1', 'p4-2', 'two']);
});

test('one token is asked for where both are told, and only if all documents have it', () => {
  const where = whereOf([['family', 'Grunwald'], ['given', 'Ana']]);
  const labelsOf = (scheme: number) => JSON.stringify(planType('Patient', where, { scheme, words: false }).candidates);
  expect(labelsOf(4)).toContain('family given\\ngrunwald\\nana');
  expect(labelsOf(3)).not.toContain('family given');
});
