import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Criterion } from '../../../server/search/criteria.ts';
import { parseSearch } from '../../../server/search/parse.ts';
import type { SearchPage, SearchRequest } from '../../../server/storage/contract.ts';
import { observation, patient, testStore, type TestStore } from './support.ts';

let on: TestStore;
/** Patient p0 has one laboratory result, p1 two …, and the last one more than a shared find takes. */
const counts = [1, 2, 3, 4, 5, 150];

beforeAll(async () => {
  on = await testStore();
  const resources = counts.flatMap((count, n) => [
    { id: `p${n}`, resource: patient({ identifier: [{ system: 'urn:mrn', value: `m${n}` }], name: [{ family: 'Alder', given: [`Ada${n}`] }] }) },
    ...Array.from({ length: count }, (_, index) => ({ id: `o${n}-${index}`, resource: observation(`p${n}`, { effectiveDateTime: `2020-02-${String(1 + (index % 28)).padStart(2, '0')}` }) })),
  ]);
  await on.store.transaction(async (tx) => tx.createMany(resources.map(({ id, resource }) => on.store.prepare(resource, id)), on.auditOf));
});
afterAll(() => on.close());

const asked = (type: string, query: string): SearchRequest => {
  const { where, sort, count, total } = parseSearch(type, [...new URLSearchParams(query)], { strict: true });
  return { types: [type], where: where as Criterion, sort, count, total };
};

const idsOf = ({ matches, total, next }: SearchPage) => ({ ids: matches.map(({ id }) => id), total, more: next !== undefined });

/** How many finds `work` sent to MongoDB. */
async function findsOf<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly finds: number }> {
  const db = on.app.db!;
  const command = db.command.bind(db);
  let finds = 0;
  db.command = async (...args: Parameters<typeof command>) => {
    if ('find' in args[0]) finds += 1;
    return command(...args);
  };
  try {
    return { result: await work(), finds };
  } finally {
    db.command = command;
  }
}

test('searches at the same time find what each finds alone, with fewer commands', async () => {
  const few = counts.slice(0, -1).flatMap((_, n) => [
    asked('Patient', `identifier=urn:mrn|m${n}`), asked('Observation', `patient=p${n}`), asked('Observation', `patient=p${n}&category=laboratory&_sort=-date`),
    asked('Observation', `patient=p${n}&code=http://loinc.org|718-7&_count=2`), asked('Patient', `family=alder&given=ada${n}`),
  ]);
  const one = await findsOf(async () => {
    const found = [];
    for (const request of few) found.push(idsOf(await on.store.search(request)));
    return found;
  });
  expect(one.result.map(({ ids }) => ids.length)).toEqual(few.map((_, index) => [1, Math.floor(index / 5) + 1, Math.floor(index / 5) + 1, Math.min(2, Math.floor(index / 5) + 1), 1][index % 5]));
  const all = await findsOf(async () => Promise.all(few.map(async (request) => idsOf(await on.store.search(request)))));
  expect(all.result).toEqual(one.result);
  expect(all.finds).toBeLessThan(one.finds / 2);
});

test('what does not fit is asked for alone, and so is what asks for it again', async () => {
  const large = asked('Observation', 'patient=p5');
  const small = asked('Observation', 'patient=p2');
  const alone = [idsOf(await on.store.search(large)), idsOf(await on.store.search(small))];
  expect(alone.map(({ ids, total, more }) => [ids.length, total, more])).toEqual([[large.count, 150, true], [3, 3, false]]);
  for (let round = 0; round < 2; round += 1) expect(await Promise.all([large, small, small].map(async (request) => idsOf(await on.store.search(request))))).toEqual([alone[0], alone[1], alone[1]]);
});
