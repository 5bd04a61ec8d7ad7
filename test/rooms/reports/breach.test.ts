import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { silentLog } from '../../../server/observe/log.ts';
import { openAuditTrail, type OpenAuditTrail } from '../../../server/audit/trail.ts';
import { deadlinesOf, stateOf, type BreachFacts } from '../../../server/reports/breach-clock.ts';
import { breachCollection, BreachRegister } from '../../../server/reports/breach-register.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';
import { tenant, testKeyring } from '../audit/support.ts';

const at = (day: string): number => Date.parse(`${day}T12:00:00Z`);
const dues = (facts: BreachFacts, day: string): unknown => deadlinesOf(facts, at(day)).map(({ due, state, daysLeft }) => [due ?? '', state, daysLeft ?? '']);

describe('deadlines', () => {
  test.each<[string, BreachFacts, string, unknown]>([
    ['fewer than 500: HHS within 60 days of the next year', { discovered: '2026-03-01', affected: 499, states: { CA: 499 } }, '2026-03-02', [['2026-04-30', 'open', 59], ['', 'not due', ''], ['2027-03-01', 'open', 364]]],
    ['in a leap year too', { discovered: '2027-03-01', affected: 1 }, '2027-03-01', [['2027-04-30', 'open', 60], ['', 'not due', ''], ['2028-02-29', 'open', 365]]],
    ['500 in all: HHS at once; 500 of one state: no media', { discovered: '2026-03-01', affected: 500, states: { CA: 500 } }, '2026-04-30', [['2026-04-30', 'open', 0], ['', 'not due', ''], ['2026-04-30', 'open', 0]]],
    ['501 of one state: the media', { discovered: '2026-03-01', affected: 501, states: { CA: 501 } }, '2026-05-01', [['2026-04-30', 'OVERDUE', -1], ['2026-04-30', 'OVERDUE', -1], ['2026-04-30', 'OVERDUE', -1]]],
    ['501 of no known state: no media', { discovered: '2026-03-01', affected: 501, states: { unknown: 501 } }, '2026-03-01', [['2026-04-30', 'open', 60], ['', 'not due', ''], ['2026-04-30', 'open', 60]]],
    ['numbers not known: the shorter', { discovered: '2026-03-01' }, '2026-03-01', [['2026-04-30', 'open', 60], ['', 'not due', ''], ['2026-04-30', 'open', 60]]],
    ['nobody', { discovered: '2026-03-01', affected: 0 }, '2026-03-01', [['', 'not due', ''], ['', 'not due', ''], ['', 'not due', '']]],
    ['delay for law enforcement', { discovered: '2026-03-01', affected: 600, delayUntil: '2026-06-15' }, '2026-05-01', [['2026-06-15', 'open', 45], ['', 'not due', ''], ['2026-06-15', 'open', 45]]],
    ['in time, and late', { discovered: '2026-03-01', affected: 600, notified: { individuals: '2026-04-30', hhs: '2026-05-01' } }, '2026-06-01', [['2026-04-30', 'done', -32], ['', 'not due', ''], ['2026-04-30', 'done late', -32]]],
  ])('%s', (_name, facts, day, expected) => {
    expect(dues(facts, day)).toEqual(expected);
  });
});

test.each([
  [{ state: 'CA' }, 'CA'], [{ state: ' new york ', country: 'USA' }, 'NY'], [{ state: 'PR' }, 'PR'], [{ country: 'Puerto Rico' }, 'PR'], [{ state: 'ON', country: 'CA' }, 'outside the US'], [{ state: 'Bayern', country: 'DE' }, 'outside the US'],
  [{ state: 'Ontario', country: 'Canada' }, 'outside the US'], [{ state: 'XX' }, 'unknown'], [{}, 'unknown'], [undefined, 'unknown'],
])('state of %j', (address, expected) => {
  expect(stateOf(address)).toBe(expected);
});

describe('register', () => {
  let mongo: TestMongo;
  let keys: Awaited<ReturnType<typeof testKeyring>>;
  let audit: OpenAuditTrail;
  let nowMs = at('2026-03-02');
  const overdue: string[] = [];
  let register: BreachRegister;

  beforeAll(async () => {
    [mongo, keys] = await Promise.all([testMongo(), testKeyring()]);
    audit = await openAuditTrail({ audit: mongo.audit, keyring: keys.keyring, tenant, epochId: 'a', log: silentLog });
    register = new BreachRegister({ app: mongo.app, keyring: keys.keyring, tenant, audit, nowMs: () => nowMs, intervalMs: 0, onOverdue: (what) => overdue.push(what) });
  });
  afterAll(async () => {
    await audit.close();
    keys.close();
    await mongo.drop();
  });

  test('a case from its opening to its end; what is overdue is told of', async () => {
    const { id } = await register.open('Stolen laptop', { discovered: '2026-03-01' }, 'operator:a');
    await Promise.all([register.update(id, { affected: 700, states: { CA: 650, NV: 50 } }, 'operator:a'), register.update(id, { note: 'police informed' }, 'operator:b')]);
    await register.watch();
    expect(overdue).toEqual([]);
    nowMs = at('2026-05-01');
    await register.watch();
    expect(overdue).toEqual([`${id} individuals`, `${id} media`, `${id} hhs`]);
    await register.open('Nearer', { discovered: '2026-01-01', affected: 1 }, 'operator:a');
    expect((await register.list()).map(({ title }) => title)).toEqual(['Nearer', 'Stolen laptop']);
    await register.update(id, { notified: { notice: 'individuals', on: '2026-04-29' } }, 'operator:a');
    expect(register.deadlines(await register.read(id)).map(({ state }) => state)).toEqual(['done', 'OVERDUE', 'OVERDUE']);
    const closed = await register.close(id, 'all notified', 'operator:a');
    expect(closed.steps.map(({ what }) => what)).toEqual(expect.arrayContaining(['opened', 'police informed', 'affected changed; states changed', 'individuals notified on 2026-04-29', 'closed: all notified']));
    expect(register.deadlines(closed).map(({ state }) => state)).toEqual(['done', 'not due', 'not due']);
    await expect(register.update(id, { note: 'more' }, 'operator:a')).rejects.toMatchObject({ code: 'business-rule' });
    await expect(register.read('nothing')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('nothing of it is readable in the database, and nothing can be changed there unseen', async () => {
    const rows = mongo.app.collection<{ _id: string; version: number; sealed: Buffer; mac: Buffer }>(breachCollection);
    const [row, other] = await rows.find({}, { promoteBuffers: true }).toArray();
    expect(row!.sealed.includes('laptop') || other!.sealed.includes('laptop')).toBe(false);
    for (const change of [{ sealed: other!.sealed }, { mac: other!.mac }, { version: row!.version + 1 }, { sealed: other!.sealed, mac: other!.mac, version: other!.version }]) {
      await rows.updateOne({ _id: row!._id }, { $set: change });
      await expect(register.read(row!._id)).rejects.toMatchObject({ code: 'integrity-failure' });
      await rows.replaceOne({ _id: row!._id }, row!);
    }
    expect(await register.list()).toHaveLength(2);
  });
});
