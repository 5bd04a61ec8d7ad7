import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { observation, patient } from '../storage/support.ts';
import { baseUrl, grant, testFhir, type Answer, type TestFhir } from './support.ts';

let fhir: TestFhir;
beforeAll(async () => {
  fhir = await testFhir();
});
afterAll(() => fhir.close());

const all = [grant('*', 'cruds')];
type Entry = Readonly<Record<string, unknown>>;
interface Answered { readonly resource?: Record<string, unknown>; readonly response: { readonly status: string; readonly location?: string; readonly outcome?: unknown } }

async function bundle(type: string, entry: readonly Entry[], prefer?: string): Promise<Answer & { entries: readonly Answered[] }> {
  const answer = await fhir.call(all, 'POST', '', { resourceType: 'Bundle', type, ...(entry.length === 0 ? {} : { entry }) }, prefer === undefined ? {} : { prefer });
  return { ...answer, entries: (answer.json['entry'] ?? []) as Answered[] };
}

const uuid = 'urn:uuid:0f5b1c3e-5a3b-4b0e-9a37-0c2f6a1d0001';

test.each([
  ['a urn:uuid', uuid, uuid, undefined],
  ['a urn:oid', 'urn:oid:1.2.3', 'urn:oid:1.2.3', undefined],
  ['an absolute URL', 'https://elsewhere/fhir/Patient/1', 'https://elsewhere/fhir/Patient/1', undefined],
  ['a relative URL beside an absolute one', 'https://elsewhere/fhir/Patient/1', 'Patient/1', 'https://elsewhere/fhir/Observation/9'],
  ['a URL of this server', `${baseUrl}/Patient/1`, `${baseUrl}/Patient/1`, undefined],
  ['a relative URL', `${baseUrl}/Patient/1`, 'Patient/1', uuid.replace(/1$/, '2')],
  ['a relative full URL', 'Patient/1', 'Patient/1', undefined],
])('%s leads to the entry', async (_name, fullUrl, reference, own) => {
  const div = `<div xmlns="http://www.w3.org/1999/xhtml"><a href="${reference}">p</a> <img src='${reference}' alt="${reference}"/></div>`;
  const { status, entries } = await bundle('transaction', [
    { ...(own === undefined ? {} : { fullUrl: own }), request: { method: 'POST', url: 'Observation' }, resource: observation('x', { subject: { reference }, text: { status: 'generated', div }, extension: [{ url: 'urn:x', valueUri: reference }, { url: 'urn:x', valueCanonical: reference }] }) },
    { fullUrl, request: { method: 'POST', url: 'Patient' }, resource: patient() },
  ]);
  expect(status).toBe(200);
  const target = `Patient/${String(entries[1]!.resource!['id'])}`;
  const { subject, text, extension } = entries[0]!.resource as { subject: unknown; text: { div: string }; extension: { valueUri?: string; valueCanonical?: string }[] };
  expect(subject).toEqual({ reference: target });
  expect(text.div).toContain(`<a href="${target}">p</a> <img src="${target}" alt="${reference}"/>`);
  expect([extension[0]!.valueUri, extension[1]!.valueCanonical]).toEqual([reference.includes(':') ? target : reference, reference]);
});

test('a patch stands in a Binary or in Parameters, in both kinds of Bundle', async () => {
  const json = (operations: unknown) => ({ resourceType: 'Binary', contentType: 'application/json-patch+json', data: Buffer.from(JSON.stringify(operations)).toString('base64') });
  const activate = json([{ op: 'add', path: '/active', value: true }]);
  const rename = { resourceType: 'Parameters', parameter: [{ name: 'operation', part: [{ name: 'type', valueCode: 'delete' }, { name: 'path', valueString: 'Patient.gender' }] }] };
  for (const type of ['batch', 'transaction']) {
    await fhir.on.put(patient({ identifier: [{ system: 'urn:t', value: type }] }), `a-${type}`);
    await fhir.on.put(patient(), `b-${type}`);
    const { entries } = await bundle(type, [
      { request: { method: 'GET', url: `Patient/b-${type}` } },
      { request: { method: 'PATCH', url: `Patient?identifier=urn:t|${type}` }, resource: activate },
      { request: { method: 'PATCH', url: `Patient/b-${type}`, ifMatch: 'W/"1"' }, resource: rename },
      { request: { method: 'HEAD', url: `Patient/b-${type}` } },
    ]);
    expect(entries.map(({ response }) => response.status)).toEqual(['200', '200', '200', '200']);
    expect([entries[0]!.resource!['gender'], entries[1]!.resource!['active'], entries[2]!.response.location, entries[3]!.resource]).toEqual([undefined, true, `Patient/b-${type}/_history/2`, undefined]);
  }
  const failed = await bundle('transaction', [{ request: { method: 'DELETE', url: 'Patient/a-batch' } }, { request: { method: 'PATCH', url: 'Patient/b-batch' }, resource: json([{ op: 'test', path: '/active', value: true }]) }]);
  expect([failed.status, failed.error?.options.expression]).toEqual([422, 'Bundle.entry[1]']);
  expect((await fhir.call(all, 'GET', 'Patient/a-batch')).status).toBe(200);
  expect((await bundle('transaction', [{ request: { method: 'PATCH', url: 'Patient/b-batch' }, resource: patient() }])).status).toBe(400);
});

test('If-None-Match makes an update a create', async () => {
  const put = { request: { method: 'PUT', url: 'Patient/once', ifNoneMatch: '*' }, resource: patient({ id: 'once' }) };
  expect((await bundle('transaction', [put])).entries[0]!.response.status).toBe('201');
  expect((await bundle('transaction', [put])).status).toBe(412);
  expect((await bundle('batch', [put])).entries[0]!.response.status).toBe('412');
  expect((await fhir.call(all, 'PUT', 'Patient/once', patient({ id: 'once' }), { ifNoneMatch: '*' })).status).toBe(412);
  expect((await fhir.call(all, 'PUT', 'Patient/once', patient({ id: 'once' }), { ifNoneMatch: 'W/"1"' })).status).toBe(400);
});

test('Prefer holds for every entry; an empty Bundle is answered by one; other types are refused', async () => {
  const post = { request: { method: 'POST', url: 'Patient' }, resource: patient() };
  for (const type of ['batch', 'transaction']) {
    expect((await bundle(type, [post], 'return=minimal')).entries[0]!.resource).toBeUndefined();
    const { resource, response } = (await bundle(type, [post], 'respond-async, return=OperationOutcome; return=minimal')).entries[0]!;
    expect(resource).toBeUndefined();
    expect(response.outcome).toMatchObject({ resourceType: 'OperationOutcome' });
    expect((await bundle(type, [])).status).toBe(200);
  }
  for (const type of ['history', 'document', 'message', 'collection', 'searchset']) expect([type, (await bundle(type, [])).status]).toEqual([type, 400]);
});
