import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { validateResource } from '../../resources/validate/index.ts';
import { HttpClient } from '../../server/demo/http-client.ts';
import { backendCaller, FhirCaller, type Bundle, type Json } from '../support/fhir.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let http: HttpClient;
let all: FhirCaller;

beforeAll(async () => {
  server = await startTestServer();
  http = new HttpClient({ ca: server.ca });
  all = await backendCaller(server, http, 'system/*.cruds');
}, 120_000);

afterAll(async () => {
  http.close();
  await server.remove();
});

const patient = (family: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({ resourceType: 'Patient', name: [{ family, given: ['Test'] }], ...more });
const codeOf = (answer: { json(): unknown }): string => (answer.json() as { issue: { details: { coding: { code: string }[] } }[] }).issue[0]!.details.coding[0]!.code;

describe('one resource', () => {
  test('is created, read, updated, deleted and revived, with its versions', async () => {
    const created = await all.send('POST', 'Patient', patient('Cycle', { id: 'mine' }));
    expect(created.status).toBe(201);
    const { id } = created.json() as Json;
    expect(id).not.toBe('mine');
    expect(created.headers['location']).toBe(`${server.fhirUrl}/Patient/${id}/_history/1`);
    expect(created.headers['etag']).toBe('W/"1"');

    const updated = await all.send('PUT', `Patient/${id}`, patient('Changed', { id }), { 'If-Match': 'W/"1"' });
    expect([updated.status, updated.headers['etag']]).toEqual([200, 'W/"2"']);
    expect((await all.send('PUT', `Patient/${id}`, patient('Stale', { id }), { 'If-Match': 'W/"1"' })).status).toBe(412);
    expect((await all.send('PUT', `Patient/${id}`, patient('Odd', { id }), { 'If-Match': 'yesterday' })).status).toBe(400);

    expect((await all.send('DELETE', `Patient/${id}`)).status).toBe(204);
    expect((await all.send('DELETE', `Patient/${id}`)).status).toBe(204);
    expect((await all.send('GET', `Patient/${id}`)).status).toBe(410);
    expect((await all.send('GET', `Patient/${id}/_history/3`)).status).toBe(410);
    expect((await all.send('GET', `Patient/${id}/_history/9`)).status).toBe(404);
    expect((await all.get(`Patient/${id}/_history/1`))['name']).toEqual([{ family: 'Cycle', given: ['Test'] }]);
    expect((await all.send('PUT', `Patient/${id}`, patient('Back', { id }))).status).toBe(201);

    const history = await all.get<Bundle>(`Patient/${id}/_history`);
    expect(history.type).toBe('history');
    expect(history.entry?.map(({ request }) => request?.['method'])).toEqual(['PUT', 'DELETE', 'PUT', 'POST']);
    expect(history.entry?.[1]?.resource).toBeUndefined();
  });

  test('keeps what a client wrote to the digit and the letter', async () => {
    const body = '{"resourceType":"Observation","status":"final","code":{"text":"Größe 😀"},"valueQuantity":{"value":1.00,"unit":"mg"},"effectiveDateTime":"2020","_effectiveDateTime":{"extension":[{"url":"urn:x","valueDecimal":2.50}]}}';
    const created = await all.send('POST', 'Observation', body);
    expect(created.status).toBe(201);
    const read = (await all.send('GET', `Observation/${(created.json() as Json).id}`)).body.toString();
    for (const part of ['"value":1.00', '"valueDecimal":2.50', 'Größe 😀']) expect(read).toContain(part);
  });

  test('is not sent again to who has it', async () => {
    const { id } = await all.create(patient('Cached'));
    expect((await all.send('GET', `Patient/${id}`, undefined, { 'If-None-Match': 'W/"1"' })).status).toBe(304);
    expect((await all.send('GET', `Patient/${id}`, undefined, { 'If-Modified-Since': new Date(Date.now() + 5_000).toUTCString() })).status).toBe(304);
    const head = await all.send('HEAD', `Patient/${id}`);
    expect([head.status, head.body.length, head.headers['etag']]).toEqual([200, 0, 'W/"1"']);
  });

  test('if a Binary, can be read in its own format', async () => {
    const { id } = await all.create({ resourceType: 'Binary', contentType: 'text/plain', data: Buffer.from('plain words').toString('base64') });
    const native = await all.send('GET', `Binary/${id}`, undefined, { Accept: 'text/plain' });
    expect([native.status, native.headers['content-type'], native.headers['content-disposition'], native.body.toString()]).toEqual([200, 'text/plain', 'attachment', 'plain words']);
    expect((await all.send('GET', `Binary/${id}`, undefined, { Accept: 'image/png' })).status).toBe(406);
    expect((await all.get(`Binary/${id}`)).resourceType).toBe('Binary');
  });

  test('is returned as the client prefers', async () => {
    const minimal = await all.send('POST', 'Patient', patient('Prefer'), { Prefer: 'return=minimal' });
    expect([minimal.status, minimal.body.length]).toEqual([201, 0]);
    const outcome = await all.send('POST', 'Patient', patient('Prefer'), { Prefer: 'return=OperationOutcome; handling=strict' });
    expect((outcome.json() as Json).resourceType).toBe('OperationOutcome');
  });

  test('of every type that has no required element can be stored', async () => {
    for (const resourceType of ['Basic', 'Binary', 'Practitioner', 'Location', 'Organization', 'Schedule', 'VisionPrescription']) {
      const answer = await all.send('POST', resourceType, { resourceType });
      expect([201, 422]).toContain(answer.status);
    }
  });
});

describe('refusals', () => {
  const secret = 'Canaryname';
  test.each([
    ['GET', 'Patient/no-such-id', undefined, 404, 'not-found'],
    ['GET', 'NoSuchType/1', undefined, 404, 'not-found'],
    ['GET', `Patient?family:nonsense=${secret}`, undefined, 400, 'search-invalid'],
    ['GET', `Patient?birthdate=${secret}`, undefined, 400, 'search-invalid'],
    ['GET', 'Patient?_count=-1', undefined, 400, 'search-invalid'],
    ['POST', 'Patient', `{"resourceType":"Patient","name":[{"family":"${secret}"`, 400, 'structure-invalid'],
    ['POST', 'Patient', { resourceType: 'Patient', nickname: secret }, 400, 'structure-invalid'],
    ['POST', 'Patient', { resourceType: 'Patient', gender: secret }, 422, 'code-invalid'],
    ['POST', 'Patient', { resourceType: 'Observation', status: 'final', code: { text: secret } }, 400, 'request-invalid'],
    ['PUT', 'Patient/a', { resourceType: 'Patient', id: 'b' }, 400, 'request-invalid'],
    ['POST', '', { resourceType: 'Patient' }, 400, 'request-invalid'],
    ['PATCH', 'Patient/a', { resourceType: 'Patient' }, 400, 'structure-invalid'],
    ['POST', 'AuditEvent', { resourceType: 'AuditEvent' }, 405, 'interaction-unsupported'],
  ] as const)('%s %s', async (method, path, body, status, code) => {
    const answer = await all.send(method, path, body);
    expect([answer.status, answer.headers['content-type'], (answer.json() as Json).resourceType]).toEqual([status, 'application/fhir+json; charset=utf-8', 'OperationOutcome']);
    expect(codeOf(answer)).toBe(code);
    expect(answer.body.toString()).not.toContain(secret);
  });

  test('nobody without a token, and nothing in another format', async () => {
    const anonymous = new FhirCaller(http, server.fhirUrl);
    const answer = await anonymous.send('GET', 'Patient');
    expect([answer.status, codeOf(answer), answer.headers['www-authenticate']]).toEqual([401, 'login-required', 'Bearer']);
    const bad = await new FhirCaller(http, server.fhirUrl, 'A'.repeat(43)).send('GET', 'Patient');
    expect([bad.status, bad.headers['www-authenticate']]).toEqual([401, 'Bearer error="invalid_token"']);
    expect((await all.send('POST', 'Patient', 'Patient', { 'Content-Type': 'text/turtle' })).status).toBe(415);
    expect((await all.send('GET', 'Patient', undefined, { Accept: 'image/png' })).status).toBe(406);
    expect((await all.send('GET', 'Patient?_format=ttl')).status).toBe(406);
    expect((await anonymous.send('GET', 'metadata')).status).toBe(200);
  });

  test('scopes too small', async () => {
    const reader = await backendCaller(server, http, 'system/Patient.rs');
    const answer = await reader.send('POST', 'Patient', patient('Nope'));
    expect([answer.status, codeOf(answer), answer.headers['www-authenticate']]).toEqual([403, 'forbidden', 'Bearer error="insufficient_scope"']);
    expect((await reader.send('GET', 'Observation')).status).toBe(403);
    expect((await reader.send('GET', 'Patient?_count=1')).status).toBe(200);
  });
});

describe('search', () => {
  test('finds by token, string, reference and date, and by combinations', async () => {
    const [anna, bert] = [await all.create(patient('Šímová', { gender: 'female', birthDate: '1970-05-01', identifier: [{ system: 'urn:mrn', value: 'S-1' }] })), await all.create(patient('Simon', { gender: 'male', birthDate: '1971' }))];
    const observation = await all.create({ resourceType: 'Observation', status: 'final', code: { coding: [{ system: 'http://loinc.org', code: '718-7' }] }, subject: { reference: `Patient/${anna.id}` }, effectiveDateTime: '2024-03-01T10:00:00+01:00' });
    const cases: [string, string[]][] = [
      ['Patient?family=sim', [anna.id, bert.id]],
      ['Patient?family=simova', [anna.id]],
      ['Patient?family:exact=Simon', [bert.id]],
      ['Patient?identifier=urn:mrn|S-1', [anna.id]],
      ['Patient?identifier=S-1&gender=male', []],
      ['Patient?family=simova,simon&gender=male', [bert.id]],
      ['Patient?family=sim&birthdate=ge1970-05-01&birthdate=lt1971-01-01', [anna.id]],
      ['Patient?family=sim&birthdate=1971', [bert.id]],
      [`Observation?subject=Patient/${anna.id}&code=http://loinc.org|718-7`, [observation.id]],
      [`Observation?patient=${anna.id}&date=2024-03-01`, [observation.id]],
      [`Observation?patient=${bert.id}`, []],
      [`Patient?_id=${anna.id},${bert.id},unknown`, [anna.id, bert.id]],
      [`Patient?_id=${anna.id}&_lastUpdated=gt2020-01-01`, [anna.id]],
    ];
    for (const [query, ids] of cases) expect([query, (await all.ids(query)).sort()]).toEqual([query, [...ids].sort()]);
    const included = await all.get<Bundle>(`Observation?_id=${observation.id}&_include=Observation:subject`);
    expect(included.entry?.map(({ search, resource }) => `${search!.mode} ${resource!.resourceType}`)).toEqual(['match Observation', 'include Patient']);
    const posted = await all.send('POST', 'Patient/_search', 'family=simova', { 'Content-Type': 'application/x-www-form-urlencoded' });
    expect((posted.json() as Bundle).total).toBe(1);
  });

  test('pages meet every match once while others are added, and belong to their caller', async () => {
    const ids = [];
    for (let index = 0; index < 7; index += 1) ids.push((await all.create(patient('Pagetest'))).id);
    const first = await all.get<Bundle>('Patient?family=Pagetest&_count=3&_sort=_lastUpdated');
    const next = first.link?.find(({ relation }) => relation === 'next')?.url ?? '';
    expect(next).not.toContain('Pagetest');
    await all.create(patient('Pagetest'));
    const rest = await all.ids(next);
    expect([...(first.entry ?? []).map(({ resource }) => resource!.id), ...rest].slice(0, 7)).toEqual(ids);
    const other = await backendCaller(server, http, 'system/*.cruds');
    expect((await other.send('GET', next)).status).toBe(404);
  });

  test('unknown parameters are ignored and said so, or refused if asked to be strict', async () => {
    const lenient = await all.get<Bundle>('Patient?family=Simon&no-such=1');
    expect(lenient.link?.[0]?.url).not.toContain('no-such');
    expect(lenient.entry?.at(-1)?.search?.mode).toBe('outcome');
    expect((await all.send('GET', 'Patient?no-such=1', undefined, { Prefer: 'handling=strict' })).status).toBe(400);
  });
});

describe('bundles', () => {
  test('a transaction links its resources, meets conditions and happens whole', async () => {
    const identifier = { system: 'urn:mrn', value: 'T-1' };
    const organization = { system: 'urn:org', value: 'O-1' };
    await all.create({ resourceType: 'Organization', identifier: [organization], name: 'Clinic' });
    const entry = [
      { fullUrl: 'urn:uuid:6f2d1f5e-8a3c-4a58-9a1e-0d8a3f1c0002', resource: { resourceType: 'Encounter', status: 'finished', class: { system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'AMB' }, subject: { reference: 'urn:uuid:6f2d1f5e-8a3c-4a58-9a1e-0d8a3f1c0001' }, serviceProvider: { reference: 'Organization?identifier=urn:org|O-1' } }, request: { method: 'POST', url: 'Encounter' } },
      { fullUrl: 'urn:uuid:6f2d1f5e-8a3c-4a58-9a1e-0d8a3f1c0001', resource: patient('Bundled', { identifier: [identifier] }), request: { method: 'POST', url: 'Patient', ifNoneExist: 'identifier=urn:mrn|T-1' } },
    ];
    const send = async (): Promise<Bundle> => (await all.send('POST', '', { resourceType: 'Bundle', type: 'transaction', entry })).json() as Bundle;
    const [first, second] = [await send(), await send()];
    expect(first.entry?.map(({ response }) => response?.['status'])).toEqual(['201', '201']);
    expect(second.entry?.map(({ response }) => response?.['status'])).toEqual(['201', '200']);
    expect(await all.ids('Patient?identifier=urn:mrn|T-1')).toHaveLength(1);
    const [patientId] = await all.ids('Patient?identifier=urn:mrn|T-1');
    expect(await all.ids(`Encounter?patient=${patientId!}`)).toHaveLength(2);
    expect(JSON.stringify(first.entry?.[0]?.resource)).toMatch(/"serviceProvider":\{"reference":"Organization\/[0-9a-f-]{36}"\}/);

    const failing = await all.send('POST', '', { resourceType: 'Bundle', type: 'transaction', entry: [{ resource: patient('Neverstored'), request: { method: 'POST', url: 'Patient' } }, { resource: { resourceType: 'Observation', code: {} }, request: { method: 'POST', url: 'Observation' } }] });
    expect(failing.status).toBeGreaterThanOrEqual(400);
    expect(failing.body.toString()).toContain('Bundle.entry[1]');
    expect(await all.ids('Patient?family=Neverstored')).toEqual([]);
  });

  test("a batch's entries stand for themselves", async () => {
    const answer = (await all.send('POST', '', {
      resourceType: 'Bundle',
      type: 'batch',
      entry: [
        { request: { method: 'GET', url: 'Patient?family=Batched' } },
        { resource: patient('Batched'), request: { method: 'POST', url: 'Patient' } },
        { request: { method: 'GET', url: 'Patient/none' } },
        { resource: { resourceType: 'Patient', gender: 'x' }, request: { method: 'POST', url: 'Patient' } },
      ],
    })).json() as Bundle;
    expect(answer.entry?.map(({ response }) => response?.['status'])).toEqual(['200', '201', '404', '422']);
    expect((answer.entry?.[0]?.resource as unknown as Bundle).total).toBe(1);
  });

  test('of eight parallel conditional creates one stores', async () => {
    const send = async () => all.send('POST', 'Patient', patient('Onlyone', { identifier: [{ system: 'urn:mrn', value: 'C-8' }] }), { 'If-None-Exist': 'identifier=urn:mrn|C-8' });
    const statuses = (await Promise.all(Array.from({ length: 8 }, send))).map(({ status }) => status).sort();
    expect(statuses).toEqual([200, 200, 200, 200, 200, 200, 200, 201]);
    expect(await all.ids('Patient?identifier=urn:mrn|C-8')).toHaveLength(1);
  });

  test('conditional update and delete act on one match, create on none, refuse several', async () => {
    const body = patient('Conditional', { identifier: [{ system: 'urn:mrn', value: 'U-1' }] });
    const put = async () => all.send('PUT', 'Patient?identifier=urn:mrn|U-1', body);
    expect([(await put()).status, (await put()).status]).toEqual([201, 200]);
    expect((await all.send('PUT', 'Patient?family=Pagetest', patient('Pagetest'))).status).toBe(412);
    expect((await all.send('DELETE', 'Patient?identifier=urn:mrn|U-1')).status).toBe(204);
    expect((await all.send('DELETE', 'Patient')).status).toBe(412);
  });
});

const synthea = new URL('../../../shared/data/synthea/', import.meta.url);

(existsSync(synthea) ? test : test.skip)('Synthea bundles load completely', async () => {
  for (const name of readdirSync(synthea).sort().slice(0, 5)) {
    const text = readFileSync(new URL(name, synthea), 'utf8');
    const answer = await all.send('POST', '', text);
    expect([name, answer.status]).toEqual([name, 200]);
    const statuses = ((answer.json() as Bundle).entry ?? []).map(({ response }) => String(response?.['status']));
    expect([name, statuses.length, statuses.filter((status) => status !== '201' && status !== '200')]).toEqual([name, (JSON.parse(text) as Bundle).entry?.length, []]);
  }
}, 120_000);

test('each access has its AuditEvent, by patient, and the chain verifies', async () => {
  const { id } = await all.create(patient('Audited'));
  await all.get(`Patient/${id}`);
  await all.get(`Patient?_id=${id}`);
  await all.send('DELETE', `Patient/${id}`);
  await all.send('GET', `Patient/${id}`);
  const events = (await all.get<Bundle>(`AuditEvent?patient=Patient/${id}&_count=50`)).entry?.map(({ resource }) => resource as unknown as { action: string; outcome: string; subtype: { code: string }[] }) ?? [];
  expect(events.map(({ action, outcome, subtype }) => `${action} ${outcome} ${subtype.map(({ code }) => code).join(' ')}`).reverse()).toEqual(['C 0 create', 'R 0 read', 'E 0 search-type', 'D 0 delete', 'R 4 read']);
  expect((await all.send('DELETE', `AuditEvent/${(events[0] as unknown as Json).id}`)).status).toBe(405);
  expect((await server.cli(['audit', 'verify'])).code).toBe(0);
}, 60_000);

test('what the server itself writes is valid FHIR', async () => {
  const faultsOf = (resource: Json): unknown[] => validateResource(resource).map(({ code, expression }) => [resource.resourceType, code, expression]);
  expect(faultsOf(await all.get('metadata'))).toEqual([]);
  expect(faultsOf((await all.send('GET', 'Patient/none')).json() as Json)).toEqual([]);
  expect(faultsOf(await all.get('Patient?_count=3&no-such=1'))).toEqual([]);
  expect(faultsOf(await all.get('_history?_count=20'))).toEqual([]);
  const { entry = [] } = await all.get<Bundle>('AuditEvent?_count=500');
  expect(entry.length).toBeGreaterThan(100);
  expect(entry.flatMap(({ resource }) => faultsOf(resource!))).toEqual([]);
}, 60_000);
