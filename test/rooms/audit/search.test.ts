import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { searchParamsOf } from '../../../resources/definitions/index.ts';
import { dateRange, extractSearchValues, patientsOf } from '../../../resources/search-values/index.ts';
import { newEntryId } from '../../../server/audit/entry.ts';
import { queryRecords, toRow, type RecordFilter } from '../../../server/audit/query.ts';
import { AuditReader, type AuditEventSearch } from '../../../server/audit/reader.ts';
import type { AuditRecord } from '../../../server/audit/record.ts';
import { renderEvents, type AuditEventJson } from '../../../server/audit/render/event.ts';
import { auditCollection, openAuditTrail } from '../../../server/audit/trail.ts';
import { silentLog } from '../../../server/observe/log.ts';
import type { Criterion, CriterionValue } from '../../../server/search/criteria.ts';
import { matches } from '../../../server/search/match.ts';
import { exportAudit } from '../../../server/reports/audit-export.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';
import { recordOf, site, tenant, testKeyring } from './support.ts';

const params = searchParamsOf('AuditEvent');
const dayMs = 86_400_000;
const startMs = Date.UTC(2026, 0, 1);
let mongo: TestMongo;
let keys: Awaited<ReturnType<typeof testKeyring>>;
let reader: AuditReader;
const records: AuditRecord[] = [];
/** The oracle: every event of every record, searched by testing each. */
let all: { event: AuditEventJson; at: number }[];

/** 400 records over 80 days, of several streams, written out of the order of time. */
function* sample(): Generator<AuditRecord> {
  const kinds = [
    { interaction: 'read', action: 'R' }, { interaction: 'vread', action: 'R' }, { interaction: 'create', action: 'C' }, { interaction: 'update', action: 'U' }, { interaction: 'delete', action: 'D' },
    { interaction: 'search-type', action: 'E', query: 'GET /Observation' }, { kind: 'login', interaction: 'password', action: 'E' }, { kind: 'token', interaction: 'grant', action: 'E', client: { id: 'app-2' } }, { kind: 'channel', interaction: 'message-received', action: 'C', channel: { id: 'hl7v2', messageId: 'm-7' } },
  ] as const;
  for (let i = 0; i < 400; i += 1) {
    const shape = kinds[(i * 7) % kinds.length]!;
    const patients = 'kind' in shape ? [] : [`pat-${i % 5}`, ...(i % 3 === 0 ? [`pat-${(i + 1) % 5}`] : [])];
    yield recordOf({
      ...shape,
      at: startMs + Math.floor(((i * 37) % 400) / 5) * dayMs + (i % 50) * 1000,
      ...(i % 11 === 0 ? { outcome: '4', error: 'forbidden', rule: 'scope' } : i % 53 === 0 ? { outcome: '8', error: 'internal' } : {}),
      requestId: `req-${i}`,
      patients,
      entities: patients.length === 0 ? [] : [{ type: i % 2 === 0 ? 'Observation' : 'Condition', id: `r${i % 20}`, versionId: 1, patients }],
      actor: i % 4 === 0 ? { kind: 'client', id: `App-${i % 3}`, display: 'Backend', address: `192.0.2.${i % 6}` } : { kind: 'user', id: `user-${i % 7}`, display: `Person ${i % 7}`, fhirUser: i % 6 === 1 ? `Patient/pat-${i % 5}` : `Practitioner/p${i % 7}`, clientId: 'app-1', address: '192.0.2.99' },
    });
  }
}

beforeAll(async () => {
  [mongo, keys] = await Promise.all([testMongo(), testKeyring()]);
  records.push(...sample());
  const written: { event: AuditEventJson; at: number }[] = [];
  for (const [index, epochId] of ['one', 'two', 'three'].entries()) {
    const trail = await openAuditTrail({ audit: mongo.audit, keyring: keys.keyring, tenant, epochId, log: silentLog });
    const own = records.filter((_, i) => i % 3 === index).map((record) => ({ record, entry: trail.prepare(record) }));
    for (let i = 0; i < own.length; i += 40) await trail.append(own.slice(i, i + 40).map(({ entry }) => entry));
    for (const { record, entry } of own) written.push(...renderEvents(entry.id, record, site).map((event) => ({ event, at: record.at })));
    await trail.close();
  }
  // Newest first; of one entry, in the order of its events.
  const entryOf = (id: string): string => id.slice(0, 32);
  all = written.sort((a, b) => (entryOf(a.event.id) === entryOf(b.event.id) ? 0 : entryOf(a.event.id) < entryOf(b.event.id) ? 1 : -1));
  reader = new AuditReader({ audit: mongo.audit, keyring: keys.keyring, tenant, site });
});
afterAll(async () => {
  keys.close();
  await mongo.drop();
});

const param = (code: string, ...of: CriterionValue[]): Criterion => ({ op: 'param', param: params.get(code)!, of });
const token = (code: string, system?: string): CriterionValue => ({ kind: 'token', code, ...(system === undefined ? {} : { system }) });
const reference = (type: string, id: string): CriterionValue => ({ kind: 'reference', type, id });
const date = (prefix: 'eq' | 'ne' | 'gt' | 'lt' | 'ge' | 'le' | 'sa' | 'eb', text: string): CriterionValue => ({ kind: 'date', prefix, ...dateRange(text, 'UTC')! });
const and = (...of: Criterion[]): Criterion => ({ op: 'all', of });
const or = (...of: Criterion[]): Criterion => ({ op: 'any', of });
const expected = (where: Criterion): string[] =>
  all.filter(({ event, at }) => matches({ type: 'AuditEvent', id: event.id, lastUpdatedMs: at, values: extractSearchValues(event), patients: patientsOf(event) }, where)).map(({ event }) => event.id);

async function pages(where: Criterion, count: number, more: Partial<AuditEventSearch> = {}): Promise<string[]> {
  const ids: string[] = [];
  let after: string | undefined;
  for (let page = 0; page < 2_000; page += 1) {
    const found = await reader.search({ where, sort: [], count, total: 'none', ...more, ...(after === undefined ? {} : { after }) });
    ids.push(...found.matches.map(({ id }) => id));
    if (found.next === undefined) return ids;
    after = found.next;
  }
  throw new Error('endless pages');
}

const searches: readonly (readonly [string, Criterion])[] = [
  ['everything', and()],
  ['a patient', param('patient', reference('Patient', 'pat-1'))],
  ['a patient on some days', and(param('patient', reference('Patient', 'pat-2')), param('date', date('ge', '2026-01-10')), param('date', date('lt', '2026-02-20')))],
  ['two patients', param('patient', reference('Patient', 'pat-1'), reference('Patient', 'pat-3'))],
  ['the compartment of a patient', { op: 'compartment', type: 'Patient', ids: ['pat-4'] }],
  ['a person', param('agent', reference('Practitioner', 'p3'))],
  ['an altid without regard to case', param('altid', token('APP-1'))],
  ['an agent by identifier', { op: 'param', param: params.get('agent')!, modifier: 'identifier', of: [token('user-5')] }],
  ['a resource', param('entity', reference('Observation', 'r4'))],
  ['a resource, or a denial', or(param('entity', reference('Observation', 'r4')), param('outcome', token('8')))],
  ['a patient or a person', or(param('patient', reference('Patient', 'pat-1')), param('agent', reference('Practitioner', 'p2')))],
  ['denials of a day', and(param('outcome', token('4'), token('8'), token('12')), param('date', date('eq', '2026-01-23')))],
  ['denials ever', param('outcome', token('4'))],
  ['successes', param('outcome', token('0'))],
  ['not successes', { op: 'not', of: param('outcome', token('0')) }],
  ['deletions', param('action', token('D'))],
  ['deletions of a patient’s resources in a month', and(param('action', token('d')), param('patient', reference('Patient', 'pat-0')), param('date', date('eq', '2026-02')))],
  ['reads', param('action', token('R'))],
  ['sign-ins and grants', param('type', token('110114'))],
  ['by type with its system', param('type', token('rest', 'http://terminology.hl7.org/CodeSystem/audit-event-type'))],
  ['imports', param('type', token('110107', 'http://dicom.nema.org/resources/ontology/DCM'))],
  ['one subtype', param('subtype', token('vread'))],
  ['a dense subtype', param('subtype', token('read'))],
  ['a subtype of another system', param('subtype', token('110122'))],
  ['an address', param('address', { kind: 'string', value: '192.0.2.3' })],
  ['an exact address', { op: 'param', param: params.get('address')!, modifier: 'exact', of: [{ kind: 'string', value: '192.0.2.3' }] }],
  ['a role', param('agent-role', token('physician'))],
  ['a role of an entity', and(param('entity-role', token('24', 'http://terminology.hl7.org/CodeSystem/object-role')), param('date', date('eq', '2026-02')))],
  ['a type of an entity', param('entity-type', token('Condition'))],
  ['a name of an entity', param('entity-name', { kind: 'string', value: 'client' })],
  ['a policy', param('policy', { kind: 'uri', value: 'urn:example:policy' })],
  ['a site', param('site', token(site.site))],
  ['a source', param('source', reference('Device', 'd1'))],
  ['exports', param('type', token('110106'))],
  ['a name', param('agent-name', { kind: 'string', value: 'person 3' })],
  ['a day', param('date', date('eq', '2026-03-01'))],
  ['other days', param('date', date('ne', '2026-03-01'))],
  ['one second', param('date', date('eq', '2026-01-01T00:00:05Z'))],
  ['days outside', param('date', date('lt', '2025-01-01'))],
  ['before and after', or(param('date', date('le', '2026-01-05')), param('date', date('sa', '2026-03-10')))],
  ['last updated', { op: 'lastUpdated', prefix: 'gt', lo: startMs + 40 * dayMs, hi: startMs + 40 * dayMs + 1 }],
  ['another type', { op: 'type', types: ['Patient'] }],
  ['a name that is missing', { op: 'not', of: { op: 'present', param: params.get('agent-name')! } }],
];

/** Parameters that a condition asks for. */
function codesIn(where: Criterion): string[] {
  if (where.op === 'all' || where.op === 'any') return where.of.flatMap(codesIn);
  if (where.op === 'not') return codesIn(where.of);
  return where.op === 'param' || where.op === 'present' ? [where.param.code] : [];
}

describe('AuditEvent search', () => {
  test('every parameter that R4 has is among the searches', () => {
    const asked = new Set(searches.flatMap(([, where]) => codesIn(where)));
    expect([...params.keys()].filter((code) => !code.startsWith('_') && !asked.has(code))).toEqual([]);
  });

  test.each(searches)('%s: the same events, in the same order, as by testing each', async (_, where) => {
    const found = await pages(where, 50);
    expect(found).toEqual(expected(where));
    const backwards = await pages(where, 50, { sort: [{ param: params.get('date')!, descending: false }] });
    expect([...backwards].sort()).toEqual([...found].sort());
    const times = backwards.map((id) => Number.parseInt(id.slice(0, 12), 16));
    expect(times).toEqual([...times].sort((a, b) => a - b));
  });

  test('pages of one fit together, also within the events of one entry', async () => {
    const where = param('date', date('eq', '2026-01-23'));
    expect(expected(where).length).toBeGreaterThan(4);
    expect(await pages(where, 1)).toEqual(expected(where));
    expect(await pages(where, 2)).toEqual(expected(where));
  });

  test('totals are exact', async () => {
    const where = param('patient', reference('Patient', 'pat-1'));
    const total = expected(where).length;
    expect(await reader.search({ where, sort: [], count: 0, total: 'default' })).toEqual({ matches: [], total });
    expect(await reader.search({ where, sort: [], count: 2, total: 'accurate' })).toMatchObject({ total });
    expect((await reader.search({ where, sort: [], count: 2, total: 'default' })).total).toBeUndefined();
    expect((await reader.search({ where, sort: [], count: 1_000, total: 'default' })).total).toBe(total);
  });

  test('one event by its id', async () => {
    for (const { event } of all.filter((_, index) => index % 40 === 0)) {
      const found = await reader.read(event.id);
      expect(found?.resource()).toEqual(event);
      expect(JSON.parse(found!.bytes.toString())).toEqual(event);
      expect(found).toMatchObject({ type: 'AuditEvent', id: event.id, versionId: 1, deleted: false });
      expect(await pages({ op: 'id', ids: [event.id, 'unknown'] }, 10)).toEqual([event.id]);
    }
    for (const id of ['unknown', `${newEntryId(startMs).toString('hex')}-0`, all[0]!.event.id.replace(/-\d+$/, '-99')]) expect(await reader.read(id)).toBeUndefined();
  });

  test('another order, or a cursor of somebody’s making, is refused', async () => {
    await expect(reader.search({ where: and(), sort: [{ param: params.get('agent-name')!, descending: true }], count: 1, total: 'none' })).rejects.toMatchObject({ code: 'search-unsupported' });
    await expect(reader.search({ where: and(), sort: [], count: 1, total: 'none', after: 'x' })).rejects.toMatchObject({ code: 'search-invalid' });
  });
});

describe('queries of records', () => {
  const has = (record: AuditRecord, patient: string): boolean => record.patients!.includes(patient) || record.actor.fhirUser === `Patient/${patient}`;
  const filters: readonly (readonly [string, RecordFilter, (record: AuditRecord) => boolean])[] = [
    ['who saw a patient', { patient: 'pat-3', sinceMs: startMs + 10 * dayMs, untilMs: startMs + 50 * dayMs }, (record) => has(record, 'pat-3') && record.at >= startMs + 10 * dayMs && record.at < startMs + 50 * dayMs],
    ['what a user did', { agent: 'user-2' }, (record) => record.actor.id === 'user-2'],
    ['what a client did', { agent: 'app-2' }, (record) => record.client?.id === 'app-2'],
    ['accesses to a resource', { entity: 'Condition/r7' }, (record) => record.entities!.some(({ type, id }) => type === 'Condition' && id === 'r7')],
    ['denials in a window', { outcome: 'refused', sinceMs: startMs + 20 * dayMs, untilMs: startMs + 30 * dayMs }, (record) => record.outcome !== '0' && record.at >= startMs + 20 * dayMs && record.at < startMs + 30 * dayMs],
    ['denials ever', { outcome: 'refused' }, (record) => record.outcome !== '0'],
    ['everything of a day', { sinceMs: startMs + 5 * dayMs, untilMs: startMs + 6 * dayMs }, (record) => record.at >= startMs + 5 * dayMs && record.at < startMs + 6 * dayMs],
    ['a request', { requestId: 'req-77' }, (record) => record.requestId === 'req-77'],
    ['a message', { messageId: 'm-7', action: 'C' }, (record) => record.channel !== undefined],
    ['an address', { address: '192.0.2.4' }, (record) => record.actor.address === '192.0.2.4'],
    ['sign-ins', { kind: 'login', interaction: 'password' }, (record) => record.kind === 'login'],
  ];

  test.each(filters)('%s', async (_, filter, condition) => {
    const found = await Array.fromAsync(queryRecords(reader, { ...filter, limit: 1_000 }));
    const wanted = records.filter(condition);
    expect(wanted.length).toBeGreaterThan(0);
    expect(found.map(({ record }) => record.requestId).sort()).toEqual(wanted.map(({ requestId }) => requestId).sort());
    expect(found.map(({ record }) => record.at)).toEqual(found.map(({ record }) => record.at).sort((a, b) => b - a));
    for (const entry of found) for (const value of Object.values(toRow(entry))) expect(typeof value).toBe('string');
  });

  test('the usual questions are answered by an index', async () => {
    const uses = async (): Promise<Record<string, number>> => {
      const stats = await mongo.auditRoot.collection(auditCollection).aggregate<{ name: string; accesses: { ops: number } }>([{ $indexStats: {} }]).toArray();
      return Object.fromEntries(stats.map(({ name, accesses }) => [name, accesses.ops]));
    };
    const [token, time] = ['e.x_1_to_1', 'to_1'];
    // With both a token and a time range, MongoDB may choose either.
    const cases: readonly (readonly [RecordFilter, readonly string[]])[] = [
      [{ patient: 'pat-3' }, [token]],
      [{ patient: 'pat-3', sinceMs: startMs, untilMs: startMs + 50 * dayMs }, [token, time]],
      [{ agent: 'user-2' }, [token]],
      [{ entity: 'Condition/r7' }, [token]],
      [{ outcome: 'refused', sinceMs: startMs, untilMs: startMs + 5 * dayMs }, [token, time]],
      [{ sinceMs: startMs + 5 * dayMs, untilMs: startMs + 6 * dayMs }, [time]],
    ];
    for (const [filter, indexes] of cases) {
      const before = await uses();
      await Array.fromAsync(queryRecords(reader, filter));
      const after = await uses();
      expect(indexes.reduce((sum, name) => sum + after[name]! - before[name]!, 0)).toBe(1);
    }
  });

  test('a limit ends them', async () => {
    expect(await Array.fromAsync(queryRecords(reader, { limit: 3 }))).toHaveLength(3);
  });

  test('the export is one AuditEvent a line, oldest first', async () => {
    const lines = await Array.fromAsync(exportAudit(reader, { patient: 'pat-1' }, 'ndjson'));
    const events = lines.map((line) => JSON.parse(line) as { recorded: string });
    expect(events.length).toBeGreaterThan(50);
    expect(lines.every((line) => line.endsWith('}\n'))).toBe(true);
    expect(events.map(({ recorded }) => recorded)).toEqual(events.map(({ recorded }) => recorded).sort());
  });
});
