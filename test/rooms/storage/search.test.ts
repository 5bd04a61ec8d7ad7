import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { extractSearchValues, patientsOf } from '../../../resources/search-values/index.ts';
import { searchParamsOf } from '../../../resources/definitions/index.ts';
import type { Criterion, SortKey } from '../../../server/search/criteria.ts';
import { matches, type MatchSubject } from '../../../server/search/match.ts';
import { planType } from '../../../server/search/plan.ts';
import type { SearchRequest, StoredVersion } from '../../../server/storage/contract.ts';
import { compareKeys, sortKeysOf } from '../../../server/storage/sort.ts';
import { criterion, generate, generatedTypes, Random, sortOf } from './generated.ts';
import { observation, patient, testStore, type TestStore } from './support.ts';

let on: TestStore;
const stored: StoredVersion[] = [];
beforeAll(async () => {
  on = await testStore();
  const random = new Random(20201);
  for (let index = 0; index < 160; index += 1) stored.push((await on.put(generate(random), `g${index}`)).version);
  for (let index = 0; index < 20; index += 1) stored[index * 7] = (await on.put(generate(random), `g${index * 7}`)).version;
  for (let index = 3; index < 160; index += 31) await on.remove(stored[index]!.type, `g${index}`);
});
afterAll(() => on.close());

/** What there is, as the oracle sees it: updated ids may have changed type, so that both of a `g…` id may live. */
async function living(): Promise<{ subject: MatchSubject; version: StoredVersion }[]> {
  const refs = generatedTypes.flatMap((type) => Array.from({ length: 160 }, (_, index) => ({ type, id: `g${index}` })));
  return (await on.store.readMany(refs)).filter(({ deleted }) => !deleted).map((version) => ({
    version,
    subject: { type: version.type, id: version.id, lastUpdatedMs: version.lastUpdated.getTime(), values: extractSearchValues(version.resource()), patients: patientsOf(version.resource()) },
  }));
}

function expected(all: readonly { subject: MatchSubject; version: StoredVersion }[], types: readonly string[], where: Criterion, sort: readonly SortKey[]): string[] {
  const keyed = all.filter(({ subject }) => types.includes(subject.type) && matches(subject, where)).map(({ subject, version }) => ({ version, keys: sortKeysOf({ id: subject.id, order: version.order, values: subject.values }, sort) }));
  keyed.sort((a, b) => compareKeys(a.keys, b.keys, sort) || (a.version.order < b.version.order ? -1 : 1) * (sort[0]?.param === '_lastUpdated' && sort[0].descending ? -1 : 1));
  return keyed.map(({ version }) => `${version.type}/${version.id}`);
}

async function allPages(request: SearchRequest): Promise<{ found: string[]; totals: (number | undefined)[] }> {
  const [found, totals]: [string[], (number | undefined)[]] = [[], []];
  let after: string | undefined;
  do {
    const page = await on.store.search({ ...request, ...(after === undefined ? {} : { after }) });
    expect(page.matches.length).toBeLessThanOrEqual(request.count);
    found.push(...page.matches.map(({ type, id }) => `${type}/${id}`));
    totals.push(page.total);
    after = page.next;
  } while (after !== undefined);
  return { found, totals };
}

describe('search', () => {
  test.each([...Array.from({ length: 12 }, (_, index) => index + 1), 70])('finds the same, in the same order and number, as looking at every resource (seed %i)', async (seed) => {
    const random = new Random(seed * 7919);
    const all = await living();
    const times = all.map(({ subject }) => subject.lastUpdatedMs);
    let hits = 0;
    for (let query = 0; query < 50; query += 1) {
      const type = random.pick(generatedTypes);
      const types = random.chance(0.2) ? [type, ...generatedTypes.filter((other) => other !== type && random.chance(0.5))] : [type];
      const where = criterion(random, type, times);
      const sort = sortOf(random, type);
      const want = expected(all, types, where, sort);
      const { found, totals } = await allPages({ types, where, sort, count: 1 + random.below(60), total: 'accurate' });
      const context = JSON.stringify({ types, where, sort });
      expect({ context, found }).toEqual({ context, found: want });
      expect({ context, totals: [...new Set(totals)] }).toEqual({ context, totals: [want.length] });
      if (random.chance(0.2)) expect((await on.store.search({ types, where, sort, count: 0, total: 'accurate' })).total).toBe(want.length);
      if (want.length > 0) hits += 1;
    }
    expect(hits).toBeGreaterThan(15);
  });
});

const param = (type: string, code: string) => searchParamsOf(type).get(code)!;
const token = (type: string, code: string, value: string): Criterion => ({ op: 'param', param: param(type, code), of: [{ kind: 'token', code: value }] });

describe('tokens', () => {
  test('stay within their budget', async () => {
    await on.put(observation('p1', { id: 'full', encounter: { reference: 'Encounter/e1' }, performer: [{ reference: 'Practitioner/d1' }], identifier: [{ system: 'urn:x', value: '1' }] }), 'full');
    await on.put(patient({
      identifier: [{ system: 'urn:mrn', value: '1' }, { system: 'urn:ssn', value: '2' }, { system: 'urn:dl', value: '3' }], telecom: [{ system: 'phone', value: '555-0100' }],
      name: [{ family: 'Featherstonehaugh', given: ['Bartholomew', 'Alexander'] }], address: [{ line: ['1 Long Street Name'], city: 'Springfield', state: 'MA', postalCode: '01101', country: 'US' }],
    }), 'full');
    const [observed, person] = (await on.raw('resources')).slice(-2);
    expect(observed!.x.length).toBeLessThanOrEqual(30);
    expect(person!.x.length).toBeLessThanOrEqual(60);
  });

  test('of their own are never given to values that are few', async () => {
    const ids = Array.from({ length: 30 }, (_, index) => `few${index}`);
    for (const id of ids) await on.put(patient({ name: undefined, birthDate: undefined }), id);
    const rows = await on.raw('resources');
    const counts = new Map<string, number>();
    for (const { x } of rows.slice(-ids.length)) for (const one of x) counts.set(one.toString('hex'), (counts.get(one.toString('hex')) ?? 0) + 1);
    // Thirty women share nothing that shows.
    expect(Math.max(...counts.values())).toBe(1);
  });

  test('settle what they should, so that totals are counted by the database', () => {
    const compartment: Criterion = { op: 'compartment', type: 'Patient', ids: ['p1'] };
    const exact = (type: string, where: Criterion) => planType(type, where).exact;
    expect(exact('Observation', { op: 'all', of: [compartment, token('Observation', 'category', 'laboratory')] })).toBe(true);
    expect(exact('Observation', { op: 'all', of: [compartment, { op: 'not', of: token('Observation', 'status', 'final') }] })).toBe(true);
    expect(exact('Observation', token('Observation', 'category', 'laboratory'))).toBe(false);
    expect(exact('Patient', token('Patient', 'identifier', '1'))).toBe(true);
    expect(exact('Patient', { op: 'param', param: param('Patient', 'family'), of: [{ kind: 'string', value: 'Lind' }] })).toBe(true);
    expect(exact('Patient', { op: 'param', param: param('Patient', 'family'), of: [{ kind: 'string', value: 'Linds' }] })).toBe(false);
    expect(exact('Observation', { op: 'param', param: param('Observation', 'date'), of: [{ kind: 'date', prefix: 'sa', lo: Date.UTC(2020, 0, 1), hi: Date.UTC(2020, 0, 2) }] })).toBe(true);
  });
});

describe('a search that would cost too much', () => {
  test('is refused, or leaves out a total that was not asked for; it is never wrong', async () => {
    const poor = await on.another({ limits: { candidates: 40, totalCandidates: 10, accurateCandidates: 10 } });
    const female = token('Patient', 'gender', 'female');
    const rare = token('Patient', 'gender', 'none-such');
    await expect(poor.store.search({ types: ['Patient'], where: rare, sort: [], count: 10, total: 'none' })).rejects.toMatchObject({ code: 'too-costly' });
    await expect(poor.store.search({ types: ['Patient'], where: female, sort: [], count: 3, total: 'accurate' })).rejects.toMatchObject({ code: 'too-costly' });
    const page = await poor.store.search({ types: ['Patient'], where: female, sort: [], count: 3, total: 'default' });
    expect([page.matches.length, page.total]).toEqual([3, undefined]);
    await expect(poor.store.search({ types: ['Patient'], where: { op: 'all', of: [] }, sort: [{ param: param('Patient', 'birthdate'), descending: false }], count: 3, total: 'none' })).rejects.toMatchObject({ code: 'too-costly' });
  });
});

describe('paging while the store changes', () => {
  test.each([['unsorted', []], ['by date', [{ param: param('Observation', 'date'), descending: true }]]] as const)('shows everything that was there, once: %s', async (_name, sort) => {
    const tag = `paging-${_name}`;
    const coded = { code: { coding: [{ system: 'urn:test', code: tag }] } };
    const ids = Array.from({ length: 25 }, (_, index) => `${tag.replace(' ', '-')}-${index}`);
    for (const [index, id] of ids.entries()) await on.put(observation('p9', { ...coded, effectiveDateTime: `2020-01-${String((index % 5) + 10)}` }), id);
    const seen: string[] = [];
    let after: string | undefined;
    let page = 0;
    do {
      const found = await on.store.search({ types: ['Observation'], where: token('Observation', 'code', tag), sort, count: 4, total: 'none', ...(after === undefined ? {} : { after }) });
      seen.push(...found.matches.map(({ id }) => id));
      after = found.next;
      await on.put(observation('p9', { ...coded, effectiveDateTime: '2020-01-12' }), `${ids[0]!}-new-${page}`);
      page += 1;
    } while (after !== undefined && page < 40);
    const old = seen.filter((id) => ids.includes(id));
    expect([...old].sort()).toEqual([...ids].sort());
    expect(new Set(seen).size).toBe(seen.length);
  });
});
