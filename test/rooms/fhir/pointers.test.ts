import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ReachLimit } from '../../../server/access/context.ts';
import { masksOf } from '../../../server/access/mask-tree.ts';
import { GuardedRepository } from '../../../server/access/guard.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';
import type { AccessContext, Grant } from '../../../server/access/context.ts';
import { observation, patient, tenant } from '../storage/support.ts';
import { grant, testFhir, type TestFhir } from './support.ts';

let fhir: TestFhir;
const binary = { resourceType: 'Binary', contentType: 'text/plain', data: 'e30=' };
const document = (of: string, url: string, more: Record<string, unknown> = {}) => ({ resourceType: 'DocumentReference', status: 'current', subject: { reference: `Patient/${of}` }, content: [{ attachment: { url } }], ...more });
const provenance = (targets: readonly string[], source?: string) => ({
  resourceType: 'Provenance', target: targets.map((reference) => ({ reference })), recorded: '2020-01-01T00:00:00Z', agent: [{ who: { display: 'x' } }],
  ...(source === undefined ? {} : { entity: [{ role: 'source', what: { reference: source } }] }),
});

beforeAll(async () => {
  fhir = await testFhir();
  const put: TestFhir['on']['put'] = async (resource, id) => fhir.on.put(resource, id);
  for (const id of ['mine', 'other']) await put(patient(), id);
  for (const id of ['pointed', 'theirs', 'both', 'absolute', 'report', 'message', 'orphan', 'self', 'bill', 'photo', 'left']) await put(binary, id);
  await put(document('mine', 'Binary/pointed'), 'doc-mine');
  await put(document('other', 'Binary/theirs'), 'doc-other');
  await put(document('mine', 'Binary/both/_history/1'), 'both-mine');
  await put(document('other', 'Binary/both'), 'both-other');
  await put(document('mine', `${fhir.services.baseUrl}/Binary/absolute`), 'absolute');
  await put({ resourceType: 'DiagnosticReport', status: 'final', code: { text: 'x' }, subject: { reference: 'Patient/other' }, presentedForm: [{ url: 'Binary/report' }] }, 'report');
  await put({ resourceType: 'Coverage', status: 'active', beneficiary: { reference: 'Patient/other' }, payor: [{ display: 'x' }], extension: [{ url: 'urn:x', valueUri: 'Binary/bill' }] }, 'bill');
  await put({ resourceType: 'Practitioner', photo: [{ url: 'Binary/photo' }] }, 'doctor');
  await put(observation('other'), 'theirs');
  await put(observation('mine'), 'mine');
  await put(provenance(['Observation/theirs'], 'Binary/message'), 'message');
  await put(provenance(['Binary/self']), 'self');
  await put(provenance(['Observation/mine']), 'of-mine');
  await put(provenance(['Observation/mine', 'Observation/theirs']), 'of-both');
  await put(provenance(['Patient/mine', 'Observation/theirs']), 'of-patient-and-theirs');
  await put(provenance(['Observation/mine', 'Observation/absent']), 'of-absent');
  await put(document('other', 'Binary/left'), 'leaves');
  await put(document('other', 'Binary/theirs'), 'leaves');
});
afterAll(() => fhir.close());

const every = ['pointed', 'theirs', 'both', 'absolute', 'report', 'message', 'orphan', 'self', 'bill', 'photo', 'left'];
const provenances = ['message', 'self', 'of-mine', 'of-both', 'of-patient-and-theirs', 'of-absent'];
const all = [grant('*', 'cruds')];
const mine = [...['Patient', 'DocumentReference', 'DiagnosticReport', 'Observation', 'Provenance', 'Binary', 'Coverage'].map((type) => grant(type, 'cruds', 'mine')), grant('Practitioner', 'rs')];
const withoutBills = ['Patient', 'DocumentReference', 'DiagnosticReport', 'Observation', 'Provenance', 'Binary', 'Practitioner'].map((type) => grant(type, 'cruds'));
/** As a consent of the other patient's does: nothing of that patient. */
const closed: ReachLimit = { rule: 'consent', criterionFor: (type) => (type === 'Binary' || type === 'Practitioner' ? undefined : { op: 'not', of: { op: 'compartment', type: 'Patient', ids: ['other'] } }) };

function as(grants: readonly Grant[], more: Partial<AccessContext> = {}): GuardedRepository {
  const { store, audit, auditEvents, nowMs, values } = fhir.services;
  return new GuardedRepository({ store, audit, auditEvents, nowMs, values }, { tenant, requestId: 'r', actor: { kind: 'user', id: 'person', role: 'physician', clientId: 'app' }, grants, purposeOfUse: [], ...more });
}

async function read(by: GuardedRepository, type: string, ids: readonly string[]): Promise<string[]> {
  const seen: string[] = [];
  for (const id of ids) {
    try {
      await by.read(type, id);
      seen.push(id);
    } catch (error) {
      expect([id, error instanceof InterlockError && error.code]).toEqual([id, 'not-found']);
    }
  }
  return seen;
}

describe('A Binary without a security context', () => {
  test.each<[string, readonly Grant[], Partial<AccessContext>, readonly string[]]>([
    ['who reads everything', all, {}, every],
    ['a caller of one patient', mine, {}, ['pointed', 'both', 'absolute', 'photo']],
    ['a caller without insurance data', withoutBills, {}, ['pointed', 'theirs', 'both', 'absolute', 'report', 'message', 'orphan', 'photo', 'left']],
    ['a caller whom a patient denies everything', all, { limits: [closed] }, ['pointed', 'absolute', 'orphan', 'photo', 'left']],
    ['a caller of Binaries alone', [grant('Binary', 'rs')], {}, ['orphan', 'left']],
    ['a caller from whom the pointer is hidden', all, { masks: masksOf([['DocumentReference', ['content.attachment.url']]], []) }, ['report', 'message', 'orphan', 'bill', 'photo', 'left']],
    ['a caller from whom a part of what a message told is hidden', all, { masks: masksOf([['Observation', ['note']]], []) }, every.filter((id) => id !== 'message' && id !== 'self')],
  ])('is shown by what points to it, to %s', async (_who, grants, more, visible) => {
    const by = as(grants, more);
    expect(await read(by, 'Binary', every)).toEqual(visible);
    for (const id of every) {
      const versions = await by.history({ type: 'Binary', id }, { count: 5 }).then((found) => found.versions.length, () => 0);
      expect([id, versions]).toEqual([id, visible.includes(id) ? 1 : 0]);
    }
  });

  test('is found as it is read', async () => {
    const found = (await fhir.call(mine, 'GET', 'Binary?_total=accurate')).json as { total: number; entry: { fullUrl: string }[] };
    expect([found.total, found.entry.map(({ fullUrl }) => fullUrl.split('/').at(-1)).sort()]).toEqual([4, ['absolute', 'both', 'photo', 'pointed']]);
  });

  test('that nothing points to is an upload, for an hour', async () => {
    const early = await fhir.on.another({ nowMs: () => Date.now() - 3_700_000, values: fhir.services.values });
    await early.put(binary, 'old');
    expect(await read(as(withoutBills), 'Binary', ['old'])).toEqual([]);
    expect(await read(as(all), 'Binary', ['old'])).toEqual(['old']);
  });

  test('is not shown by a pointer of the caller\'s own making', async () => {
    for (const id of ['theirs', 'report', 'orphan', 'absent']) await expect(as(mine).create({ resource: document('mine', `Binary/${id}`) })).rejects.toMatchObject({ code: 'reference-missing', options: { expression: 'DocumentReference.content[0].attachment.url' } });
    const answer = { resourceType: 'Observation', status: 'final', code: { text: 'x' }, subject: { reference: 'Patient/mine' }, extension: [{ url: 'urn:x', valueUri: 'Binary/theirs' }] };
    await expect(as(mine).create({ resource: answer })).rejects.toMatchObject({ code: 'reference-missing' });
    await expect(as(withoutBills).update('DocumentReference', 'doc-mine', { resource: { ...document('mine', 'Binary/bill'), id: 'doc-mine' } })).rejects.toMatchObject({ code: 'reference-missing' });
    await expect(as(all, { limits: [closed] }).create({ resource: document('mine', 'Binary/message') })).rejects.toMatchObject({ code: 'reference-missing' });
    const inside = as(mine).transaction({ interaction: 'transaction', action: 'E' }, async (tx) => {
      const resource = { ...document('mine', 'Binary/theirs'), id: 'inside' };
      await tx.create([{ type: 'DocumentReference', id: 'inside', resource, prepared: fhir.on.store.prepare(resource, 'inside') }]);
    });
    await expect(inside).rejects.toMatchObject({ code: 'reference-missing' });
    expect((await as(mine).update('DocumentReference', 'doc-mine', { resource: { ...document('mine', 'Binary/pointed', { description: 'x' }), id: 'doc-mine' } })).version.versionId).toBe(2);
  });

  test('is uploaded first, and then its document', async () => {
    for (const by of [as(withoutBills), as(all, { limits: [closed] }), as([grant('Binary', 'c'), grant('DocumentReference', 'c')])]) {
      const { version } = await by.create({ resource: binary });
      expect((await by.create({ resource: document('mine', `Binary/${version.id}`) })).created).toBe(true);
    }
  });

  test('names the patients of what shows it to the audit trail', async () => {
    fhir.records.length = 0;
    await as(mine).read('Binary', 'both');
    expect(fhir.records.map(({ interaction, patients }) => [interaction, patients])).toEqual([['read', ['mine']]]);
  });
});

describe('A Provenance', () => {
  test.each<[string, readonly Grant[], Partial<AccessContext>, readonly string[]]>([
    ['who reads everything', all, {}, provenances],
    ['a caller of one patient', mine, {}, ['of-mine']],
    ['a caller whom a patient denies everything', all, { limits: [closed] }, ['of-mine']],
    ['a caller without insurance data', withoutBills, {}, ['message', 'of-mine', 'of-both', 'of-patient-and-theirs']],
  ])('is shown to %s if every target is', async (_who, grants, more, visible) => {
    expect(await read(as(grants, more), 'Provenance', provenances)).toEqual(visible);
  });

  test('comes by _revinclude and by search, to an app of one patient', async () => {
    const idsOf = async (url: string) => ((await fhir.call(mine, 'GET', url)).json as { entry?: { fullUrl: string }[] }).entry?.map(({ fullUrl }) => fullUrl.split('/').slice(-2).join('/')).sort() ?? [];
    expect(await idsOf('Observation?_revinclude=Provenance:target')).toEqual(['Observation/mine', 'Provenance/of-mine']);
    expect(await idsOf('Patient?_revinclude=Provenance:target&_include:iterate=Provenance:target')).toEqual(['Patient/mine']);
    expect(await idsOf('Provenance?target=Observation/mine&_total=accurate')).toEqual(['Provenance/of-mine']);
  });

  test('that is hidden is neither replaced nor deleted', async () => {
    for (const by of [as(withoutBills.filter(({ type }) => type !== 'Observation')), as(all, { limits: [closed] })]) {
      await expect(by.update('Provenance', 'of-both', { resource: { ...provenance(['Patient/mine']), id: 'of-both' } })).rejects.toMatchObject({ code: 'not-found' });
      await expect(by.remove('Provenance', 'of-both')).rejects.toMatchObject({ code: 'not-found' });
    }
  });

  test('of a patient is shown to an app that may read a part of its targets, but not the message that they came in', async () => {
    await fhir.on.put(binary, 'parts');
    await fhir.on.put(provenance(['Patient/mine', 'Observation/mine', 'DocumentReference/doc-mine'], 'Binary/parts'), 'parts');
    const granular = [grant('Provenance', 'rs', 'mine'), grant('Binary', 'rs', 'mine'), { ...grant('Observation', 'rs', 'mine'), criteria: [['category', 'laboratory']] as const }];
    expect(await read(as(granular), 'Provenance', ['parts', ...provenances])).toEqual(['parts', 'of-mine']);
    expect(await read(as([...granular, grant('Patient', 'rs', 'mine')]), 'Provenance', ['parts', ...provenances])).toEqual(['parts', 'of-mine']);
    expect(await read(as(granular), 'Binary', ['parts'])).toEqual([]);
    expect(await read(as(mine), 'Binary', ['parts'])).toEqual(['parts']);
    expect(await read(as([grant('Provenance', 'rs', 'mine'), grant('Encounter', 'rs', 'mine')]), 'Provenance', ['parts', ...provenances])).toEqual([]);
  });
});
