import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { resourceTypes } from '../../../resources/definitions/index.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { contextOfPartner } from '../../../server/access/grants.ts';
import { GuardedRepository } from '../../../server/access/guard.ts';
import type { Grant } from '../../../server/access/context.ts';
import { referencesIn } from '../../../server/access/references-in.ts';
import { referrerLabels } from '../../../server/search/referrers.ts';
import { baseUrl, grant, testFhir, type Answer, type TestFhir } from '../fhir/support.ts';
import { observation, patient } from '../storage/support.ts';

let fhir: TestFhir;
beforeAll(async () => {
  fhir = await testFhir();
  for (const id of ['p', 'other', 'gone']) await fhir.on.put(patient(), id);
  await fhir.on.remove('Patient', 'gone');
  await fhir.on.put({ resourceType: 'Practitioner' }, 'doctor');
});
afterAll(() => fhir.close());

const all = [grant('*', 'cruds')];

async function post(resource: Record<string, unknown>, grants: readonly Grant[] = all): Promise<Answer> {
  return fhir.call(grants, 'POST', String(resource['resourceType']), resource);
}

async function transact(...entry: readonly Record<string, unknown>[]): Promise<Answer> {
  return fhir.call(all, 'POST', '', { resourceType: 'Bundle', type: 'transaction', entry });
}

const about = (reference: string, more: Record<string, unknown> = {}) => observation('x', { subject: { reference }, ...more });

test('references are found wherever they stand, but not what names nothing here', () => {
  const resource = {
    resourceType: 'Observation', subject: { reference: 'Patient/1' }, performer: [{ reference: '#c' }, { reference: `${baseUrl}/Practitioner/2/_history/3` }],
    extension: [{ url: 'urn:x', valueReference: { reference: 'Group/4' } }], contained: [{ resourceType: 'Encounter', id: 'c', subject: { reference: 'Patient/5' } }],
    focus: [{ reference: 'https://elsewhere/Patient/6' }, { reference: 'urn:uuid:0f5b1c3e-5a3b-4b0e-9a37-0c2f6a1d0001' }, { identifier: { value: 'Patient/7' } }, { reference: 'Patient?identifier=8' }],
  };
  expect(referencesIn(resource, baseUrl).map(({ type, id, version, expression }) => [type, id, version, expression])).toEqual([
    ['Patient', '1', undefined, 'Observation.subject'],
    ['Practitioner', '2', '3', 'Observation.performer[1]'],
    ['Group', '4', undefined, 'Observation.extension[0].valueReference'],
    ['Patient', '5', undefined, 'Observation.contained[0].subject'],
  ]);
});

describe('a write that refers to', () => {
  test.each([
    ['what exists', 'Patient/p', 201],
    ['it by its URL', `${baseUrl}/Patient/p`, 201],
    ['a version', 'Patient/p/_history/1', 201],
    ['what is elsewhere', 'https://elsewhere/Patient/absent', 201],
    ['what never existed', 'Patient/absent', 422],
    ['it by a URL of this server', `${baseUrl}/Patient/absent`, 422],
    ['what is deleted', 'Patient/gone', 422],
    ['a version of what is deleted', 'Patient/gone/_history/1', 201],
    ['a version that is a deletion', 'Patient/gone/_history/2', 422],
    ['a version that does not exist', 'Patient/p/_history/2', 422],
    ['a version that is none', 'Patient/p/_history/x', 422],
  ])('%s', async (_name, reference, status) => {
    const answer = await post(about(reference));
    expect([reference, answer.status]).toEqual([reference, status]);
    if (status === 422) expect([answer.error!.code, answer.error!.options.expression, answer.error!.message.includes('absent')]).toEqual(['reference-missing', 'Observation.subject', false]);
  });

  test('itself, is fine', async () => {
    expect((await fhir.call(all, 'PUT', 'Patient/self', patient({ id: 'self', link: [{ other: { reference: 'Patient/self' }, type: 'seealso' }] }))).status).toBe(201);
  });

  test('what the resource referred to before, is fine', async () => {
    await fhir.on.put(about('Patient/absent'), 'old');
    expect((await fhir.call(all, 'PUT', 'Observation/old', about('Patient/absent', { id: 'old', status: 'amended' }))).status).toBe(200);
    expect((await fhir.call(all, 'PUT', 'Observation/old', about('Patient/gone', { id: 'old' }))).status).toBe(422);
    expect((await fhir.call(all, 'PATCH', 'Observation/old', [{ op: 'replace', path: '/status', value: 'final' }], {}, 'application/json-patch+json')).status).toBe(200);
    expect((await fhir.call(all, 'PATCH', 'Observation/old', [{ op: 'replace', path: '/subject/reference', value: 'Patient/none' }], {}, 'application/json-patch+json')).status).toBe(422);
  });

  test('what a transaction creates or deletes with it, is decided at its end', async () => {
    const created = { fullUrl: 'urn:uuid:0f5b1c3e-5a3b-4b0e-9a37-0c2f6a1d0002', request: { method: 'PUT', url: 'Patient/together' }, resource: patient({ id: 'together' }) };
    const refers = { request: { method: 'PUT', url: 'Observation/together' }, resource: about('Patient/together', { id: 'together' }) };
    expect((await transact(refers, created)).status).toBe(200);
    const removal = { request: { method: 'DELETE', url: 'Patient/together' } };
    expect((await transact(removal)).error).toMatchObject({ code: 'referenced', options: { expression: 'Bundle.entry[0]' } });
    const missing = await transact(created, { request: { method: 'POST', url: 'Observation' }, resource: about('Patient/absent') });
    expect([missing.status, missing.error?.options.expression]).toEqual([422, 'Bundle.entry[1].resource.subject']);
    expect((await transact(removal, { request: { method: 'DELETE', url: 'Observation/together' } })).status).toBe(200);
  });
});

test('to a confined caller, what is hidden is missing; of types it cannot see, nothing is told', async () => {
  const mine = [grant('Patient', 'rs', 'p'), grant('Observation', 'cruds', 'p'), grant('Encounter', 'rs', 'p')];
  await fhir.on.put({ resourceType: 'Encounter', status: 'finished', class: { code: 'AMB' }, subject: { reference: 'Patient/p' } }, 'mine');
  await fhir.on.put({ resourceType: 'Encounter', status: 'finished', class: { code: 'AMB' }, subject: { reference: 'Patient/other' } }, 'hidden');
  const during = (id: string) => post(about('Patient/p', { encounter: { reference: `Encounter/${id}` } }), mine);
  expect((await during('mine')).status).toBe(201);
  const [hidden, absent] = [await during('hidden'), await during('absent')];
  expect([hidden.status, hidden.error?.message, hidden.error?.options.expression]).toEqual([422, absent.error?.message, absent.error?.options.expression]);
  // What others put there may stay.
  await fhir.on.put(about('Patient/p', { encounter: { reference: 'Encounter/hidden' } }), 'theirs');
  expect((await fhir.call(mine, 'PUT', 'Observation/theirs', about('Patient/p', { id: 'theirs', status: 'amended', encounter: { reference: 'Encounter/hidden' } }))).status).toBe(200);
  for (const id of ['doctor', 'absent']) expect((await post(about('Patient/p', { performer: [{ reference: `Practitioner/${id}` }] }), mine)).status).toBe(201);
  expect((await post(about('Patient/absent'), [grant('Observation', 'c')])).status).toBe(201);
});

describe('a delete of what others refer to', () => {
  beforeAll(async () => {
    await fhir.on.put(patient(), 'kept');
    await fhir.on.put(about('Patient/kept'), 'of-kept');
    await fhir.on.put({ resourceType: 'Condition', subject: { reference: 'Patient/kept' } }, 'of-kept');
  });

  test('is refused, and names types that the caller may search', async () => {
    const refused = await fhir.call(all, 'DELETE', 'Patient/kept');
    expect([refused.status, refused.error?.message.includes('Condition, Observation.'), refused.error?.message.includes('of-kept')]).toEqual([409, true, false]);
    const some = await fhir.call([grant('Patient', 'd'), grant('Condition', 's')], 'DELETE', 'Patient/kept');
    expect(some.error?.message).toContain('Condition, another resource.');
    const none = await fhir.call([grant('Patient', 'd')], 'DELETE', 'Patient/kept');
    expect(none.error?.message).toContain('Referred to by: another resource.');
    expect((await fhir.call(all, 'DELETE', 'Patient?_id=kept')).status).toBe(409);
  });

  test('is permitted with them, or after them; a Provenance keeps nothing', async () => {
    await fhir.on.put({ resourceType: 'Provenance', target: [{ reference: 'Patient/kept' }], recorded: '2020-01-01T00:00:00Z', agent: [{ who: { display: 'x' } }] }, 'record');
    expect((await fhir.call(all, 'DELETE', 'Observation/of-kept')).status).toBe(204);
    expect((await fhir.call(all, 'DELETE', 'Patient/kept')).error?.message).toContain('Condition.');
    expect((await transact({ request: { method: 'DELETE', url: 'Patient/kept' } }, { request: { method: 'DELETE', url: 'Condition/of-kept' } })).status).toBe(200);
  });

  test('that is not there, is no error', async () => {
    await fhir.on.put(about('Patient/never'), 'of-never');
    expect((await fhir.call(all, 'DELETE', 'Patient/never')).status).toBe(204);
  });

  test('is refused where it cannot be looked up, whether it is there or not', async () => {
    const failing = { ...fhir.services, store: Object.assign(Object.create(fhir.services.store) as typeof fhir.services.store, { referrers: async () => Promise.reject(new InterlockError('unavailable')) }) };
    const guard = new GuardedRepository(failing, { tenant: 'main', requestId: 'r', actor: { kind: 'client', id: 'app' }, grants: all, purposeOfUse: [] });
    for (const id of ['never', 'p']) await expect(guard.remove('Patient', id)).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('of any type can be asked for within bounds', () => {
    for (const type of resourceTypes()) expect([type, referrerLabels(type, 'x').length < 1_000]).toEqual([type, true]);
    expect(referrerLabels('Patient', 'x').length).toBeGreaterThan(50);
  });
});

test('the level is the installation\'s, and channels are not checked', async () => {
  const as = (integrity: 'off' | '400') => new GuardedRepository({ ...fhir.services, integrity }, { tenant: 'main', requestId: 'r', actor: { kind: 'client', id: 'app' }, grants: all, purposeOfUse: [] });
  await expect(as('400').create({ resource: about('Patient/absent') })).rejects.toMatchObject({ code: 'reference-invalid', status: 400 });
  const { version } = await as('off').create({ resource: about('Patient/absent') });
  expect((await as('off').remove('Observation', version.id))?.version.deleted).toBe(true);
  const channel = new GuardedRepository(fhir.services, contextOfPartner('partner', { requestId: 'r' }), { id: 'hl7v2', messageId: 'm' });
  expect((await channel.create({ resource: about('Patient/absent') })).created).toBe(true);
});

test('References by this server\'s URL mean the same in criteria of writes and of scopes', async () => {
  await fhir.on.put(patient(), 'by-url');
  const ifNoneExist = (reference: string) => fhir.call(all, 'POST', 'Observation', about('Patient/by-url'), { ifNoneExist: `subject=${reference}` });
  expect((await ifNoneExist('Patient/by-url')).status).toBe(201);
  expect((await ifNoneExist(`${baseUrl}/Patient/by-url`)).status).toBe(200);
  expect((await ifNoneExist('https://elsewhere.example/Patient/by-url')).status).toBe(201);
  const granular: Grant[] = [{ ...grant('Observation', 's'), criteria: [['subject', `${baseUrl}/Patient/by-url`]] }];
  const { json } = await fhir.call(granular, 'GET', 'Observation?_total=accurate');
  expect(json['total']).toBe(2);
});
