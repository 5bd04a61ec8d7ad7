import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import type { Criterion } from '../../../server/search/criteria.ts';
import { parseSearch } from '../../../server/search/parse.ts';
import { planType } from '../../../server/search/plan.ts';
import { tokenScheme } from '../../../server/search/tokens.ts';
import { maxIndexedWords } from '../../../server/search/word-tokens.ts';
import { seeded } from '../../faults/random.ts';
import { testStore, type TestProcess, type TestStore } from './support.ts';

jest.setTimeout(60_000);

const vocabulary = ['quillwort', 'horsetail', 'Bärlapp', 'moss', 'fern', '42', 'club'];
const indexing = { pollMs: 20, settleMs: 100, lateSweepMs: 50 };
const asked = (query: string): Criterion => parseSearch('Basic', [...new URLSearchParams(query)], { strict: true }).where as Criterion;
const narrative = (text: string) => ({ status: 'generated', div: `<div xmlns="http://www.w3.org/1999/xhtml"><p>${text}</p></div>` });
const ids = async (on: TestProcess, query: string): Promise<string[]> => (await on.store.search({ types: ['Basic'], where: asked(query), sort: [], count: 1_000, total: 'accurate' })).matches.map(({ id }) => id);

let on: TestStore;
/** Holds the same, without an index of words. */
let plain: TestProcess;
beforeAll(async () => {
  on = await testStore({ indexing, leaseMs: 15_000 });
  plain = on;
  const chance = seeded(7);
  const phrase = (): string => Array.from({ length: 1 + chance.below(4) }, () => vocabulary[chance.below(vocabulary.length)]!).join(' ');
  for (let index = 0; index < 80; index += 1) await on.put({ resourceType: 'Basic', text: narrative(phrase()), code: { text: phrase(), coding: [{ system: 'urn:s', code: phrase().replaceAll(' ', '-') }] } }, `b${index}`);
  await on.put({ resourceType: 'Basic', code: { text: Array.from({ length: maxIndexedWords + 5 }, (_, index) => `w${index}`).join(' ') } }, 'long');
});
afterAll(() => on.close());

test('words are found by tokens once all is indexed, and the answers are those of looking at each resource', async () => {
  const queries = ['_content=moss', '_content=bärlapp', '_content=BARLAPP', '_text=fern', '_text="club moss"', '_content="moss fern"', '_content=moss fern', '_content=moss OR 42', '_content=NOT moss', '_text=NOT (moss OR fern)', '_content=w1003', '_content=nowhere', '_content=1'];
  const expected = new Map<string, string[]>();
  for (const query of queries) expected.set(query, await ids(plain, query));
  expect(expected.get('_content=moss')!.length).toBeGreaterThan(10);
  expect(expected.get('_content=1')).toEqual([]);

  const indexed = await on.another({ indexing, words: true, leaseMs: 15_000 });
  await indexed.store.indexes.open();
  expect(indexed.store.indexes.present.words).toBe(false);
  for (let left = 500; !indexed.store.indexes.present.words; left -= 1) {
    if (left === 0) throw new Error('not indexed in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(await indexed.store.indexes.status()).toContainEqual(expect.objectContaining({ name: 'words', seen: 81, failed: 0 }));
  for (const query of queries) expect([query, await ids(indexed, query)]).toEqual([query, expected.get(query)]);

  await indexed.put({ resourceType: 'Basic', code: { text: 'A rare clubmoss' } }, 'late');
  expect(await ids(indexed, '_content=clubmoss')).toEqual(['late']);
  await indexed.put({ resourceType: 'Basic', code: { text: 'A rare fern' } }, 'late');
  expect(await ids(indexed, '_content=clubmoss')).toEqual([]);
  await indexed.close();

  const without = await on.another({ indexing, leaseMs: 15_000 });
  await without.store.indexes.open();
  expect(await without.store.indexes.status()).not.toContainEqual(expect.objectContaining({ name: 'words' }));
  await without.close();
});

test('one word of the content needs no look at the resource, unless it has too many words; a phrase does', () => {
  const plan = (query: string, words: boolean) => planType('Basic', asked(query), { scheme: tokenScheme, words });
  expect(plan('_content=moss', false).candidates.op).toBe('true');
  expect(plan('_content=moss', true).candidates.op).toBe('in');
  expect(plan('_content=moss', true).certain.op).toBe('in');
  expect(plan('_content="club moss"', true).certain.op).toBe('false');
  expect(plan('_text=moss', true).certain.op).toBe('false');
  expect(plan('_text=moss', true).candidates.op).toBe('in');
});
