import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { patient } from '../storage/support.ts';
import { grant, testFhir, type TestFhir } from './support.ts';

let fhir: TestFhir;
const binary = (context?: string) => ({ resourceType: 'Binary', contentType: 'text/plain', data: 'e30=', ...(context === undefined ? {} : { securityContext: { reference: context } }) });
const document = (id: string) => ({ resourceType: 'DocumentReference', status: 'current', subject: { reference: `Patient/${id}` }, content: [{ attachment: { url: 'Binary/of-mine' } }] });
const provenance = { resourceType: 'Provenance', target: [{ reference: 'Patient/mine' }], recorded: '2020-01-01T00:00:00Z', agent: [{ who: { display: 'x' } }], entity: [{ role: 'source', what: { reference: 'Binary/of-mine' } }, { role: 'source', what: { reference: 'Binary/of-other' } }] };

beforeAll(async () => {
  fhir = await testFhir();
  for (const id of ['mine', 'other']) await fhir.on.put(patient(), id);
  await fhir.on.put(document('mine'), 'doc-mine');
  await fhir.on.put(document('other'), 'doc-other');
  await fhir.on.put(provenance, 'source');
  for (const [id, context] of Object.entries({ 'of-mine': 'Patient/mine', 'of-my-doc': 'DocumentReference/doc-mine', 'of-other': 'Patient/other', 'of-their-doc': 'DocumentReference/doc-other', 'of-nobody': 'Patient/absent', 'of-elsewhere': 'https://elsewhere.example/Patient/mine', 'plain': undefined })) {
    await fhir.on.put(binary(context), id);
  }
  await fhir.on.put(binary('Patient/other'), 'moved');
  await fhir.on.put(binary('Patient/mine'), 'moved');
  await fhir.on.put(binary('Patient/other'), 'gone');
  await fhir.on.remove('Binary', 'gone');
});
afterAll(() => fhir.close());

const all = [grant('*', 'cruds')];
const mine = [grant('Patient', 'rs', 'mine'), grant('DocumentReference', 'rs', 'mine'), grant('Provenance', 'rs', 'mine'), grant('Binary', 'cruds', 'mine')];
const patientOnly = [grant('Patient', 'rs', 'mine'), grant('Binary', 'rs', 'mine')];
const binariesOnly = [grant('Binary', 'rs')];
const every = ['of-mine', 'of-my-doc', 'of-other', 'of-their-doc', 'of-nobody', 'of-elsewhere', 'plain', 'moved'];

interface Bundle { readonly total?: number; readonly link: readonly { readonly relation: string; readonly url: string }[]; readonly entry?: readonly { readonly fullUrl: string; readonly resource?: { readonly meta: { readonly versionId: string } } }[] }
const idsOf = ({ entry = [] }: Bundle): string[] => entry.map(({ fullUrl }) => fullUrl.split('/').at(-1)!);
const bundle = async (grants: typeof all, url: string): Promise<Bundle> => (await fhir.call(grants, 'GET', url)).json as unknown as Bundle;

describe('A security context', () => {
  test.each([
    ['a caller who may read everything', all, ['of-mine', 'of-my-doc', 'of-other', 'of-their-doc', 'plain', 'moved']],
    ['a caller of one patient', mine, ['of-mine', 'of-my-doc', 'moved']],
    ['a caller of one patient without its documents', patientOnly, ['of-mine', 'moved']],
    ['a caller of Binaries alone', binariesOnly, ['plain']],
  ])('decides what %s reads, and finds', async (_who, grants, visible) => {
    for (const id of every) expect([id, (await fhir.call(grants, 'GET', `Binary/${id}`)).status]).toEqual([id, visible.includes(id) ? 200 : 404]);
    for (const id of every) expect([id, (await fhir.call(grants, 'GET', `Binary/${id}`, undefined, { accept: '*/*' })).status, (await fhir.call(grants, 'GET', `Binary/${id}/_history`)).status]).toEqual([id, ...(visible.includes(id) ? [200, 200] : [404, 404])]);
    const found = await bundle(grants, 'Binary?_total=accurate');
    expect(idsOf(found).sort()).toEqual([...visible].sort());
    expect(found.total).toBe(visible.length);
    expect((await bundle(grants, `Binary?_id=${every.join(',')}&_summary=count`)).total).toBe(visible.length);
    const pages: string[] = [];
    for (let next: string | undefined = 'Binary?_count=1'; next !== undefined; ) {
      const page: Bundle = await bundle(grants, next);
      expect(idsOf(page)).toHaveLength(1);
      pages.push(...idsOf(page));
      next = page.link.find(({ relation }) => relation === 'next')?.url.replace(`${fhir.services.baseUrl}/`, '');
    }
    expect(pages.sort()).toEqual([...visible].sort());
  });

  test('of each version decides about that version, and of a deletion what was deleted', async () => {
    expect((await fhir.call(mine, 'GET', 'Binary/moved/_history/1')).status).toBe(404);
    expect((await fhir.call(mine, 'GET', 'Binary/moved/_history/2')).status).toBe(200);
    expect(idsOf(await bundle(mine, 'Binary/moved/_history'))).toEqual(['moved']);
    expect(idsOf(await bundle(all, 'Binary/moved/_history'))).toEqual(['moved', 'moved']);
    expect([...new Set(idsOf(await bundle(mine, 'Binary/_history')))].sort()).toEqual(['moved', 'of-mine', 'of-my-doc']);
    expect((await fhir.call(mine, 'GET', 'Binary/gone')).status).toBe(404);
    expect((await fhir.call(binariesOnly, 'GET', 'Binary/gone')).status).toBe(404);
    expect((await fhir.call(all, 'GET', 'Binary/gone')).status).toBe(410);
  });

  test('holds for what a search includes, and for the entries of a batch', async () => {
    const found = await bundle(mine, 'Provenance?_include=Provenance:entity');
    expect(idsOf(found).sort()).toEqual(['of-mine', 'source']);
    const batch = await fhir.call(mine, 'POST', '', { resourceType: 'Bundle', type: 'batch', entry: ['of-mine', 'of-other'].map((id) => ({ request: { method: 'GET', url: `Binary/${id}` } })) });
    expect((batch.json as unknown as { entry: { response: { status: string } }[] }).entry.map(({ response }) => response.status.slice(0, 3))).toEqual(['200', '404']);
  });

  test('names the patient to the audit trail', async () => {
    fhir.records.length = 0;
    await fhir.call(mine, 'GET', 'Binary/of-my-doc');
    expect(fhir.records.map(({ interaction, patients }) => [interaction, patients])).toEqual([['read', ['mine']]]);
    await fhir.call(mine, 'GET', 'Binary/of-other');
    expect(fhir.records.at(-1)).toMatchObject({ interaction: 'read', outcome: '4', error: 'not-found' });
    await fhir.call(all, 'POST', 'Binary', binary('Patient/other'));
    expect(fhir.records.at(-1)).toMatchObject({ interaction: 'create', patients: ['other'] });
  });

  test('is required of a caller confined to a patient, and must be that patient\'s', async () => {
    const created = await fhir.call(mine, 'POST', 'Binary', binary('Patient/mine'));
    expect(created.status).toBe(201);
    for (const context of ['Patient/other', 'Patient/absent', 'DocumentReference/doc-other', undefined]) expect((await fhir.call(mine, 'POST', 'Binary', binary(context))).error?.code).toBe('forbidden');
    const { id } = created.json as { id: string };
    expect((await fhir.call(mine, 'PUT', `Binary/${id}`, { ...binary('Patient/mine'), id })).status).toBe(200);
    expect((await fhir.call(mine, 'PUT', `Binary/${id}`, { ...binary('Patient/other'), id })).error?.code).toBe('forbidden');
    for (const hidden of ['of-other', 'absent']) {
      expect((await fhir.call(mine, 'PUT', `Binary/${hidden}`, { ...binary('Patient/mine'), id: hidden })).error?.code).toBe('not-found');
      expect((await fhir.call(mine, 'DELETE', `Binary/${hidden}`)).error?.code).toBe('not-found');
      expect((await fhir.call([grant('Binary', 'cruds')], 'DELETE', 'Binary/of-other')).error?.code).toBe('not-found');
    }
    expect((await fhir.call(mine, 'DELETE', `Binary/${id}`)).status).toBe(204);
    expect((await fhir.call(all, 'GET', 'Binary/of-other')).status).toBe(200);
  });

  test('decides the same in transactions and of patches', async () => {
    const run = async (...entry: readonly Record<string, unknown>[]) => {
      const { json, error } = await fhir.call(mine, 'POST', '', { resourceType: 'Bundle', type: 'transaction', entry });
      const { entry: answers = [] } = json as unknown as { entry?: readonly { response: { status: string; location?: string } }[] };
      return { error: error?.code, at: error?.options.expression, statuses: answers.map(({ response }) => response.status.slice(0, 3)), id: answers[0]?.response.location?.split('/').at(-3) };
    };
    const post = (context?: string) => ({ request: { method: 'POST', url: 'Binary' }, resource: binary(context) });
    const put = (id: string, context?: string) => ({ request: { method: 'PUT', url: `Binary/${id}` }, resource: { ...binary(context), id } });
    const patch = [{ op: 'replace', path: '/contentType', value: 'text/html' }];
    const patchEntry = (id: string, operations: readonly unknown[]) => ({ request: { method: 'PATCH', url: `Binary/${id}` }, resource: { resourceType: 'Binary', contentType: 'application/json-patch+json', data: Buffer.from(JSON.stringify(operations)).toString('base64') } });
    fhir.records.length = 0;
    const created = await run(post('Patient/mine'));
    expect(created.statuses).toEqual(['201']);
    const id = created.id!;
    expect(fhir.records.find(({ interaction }) => interaction === 'create')?.patients).toEqual(['mine']);
    expect((await run(put(id, 'DocumentReference/doc-mine'))).statuses).toEqual(['200']);
    expect((await run(patchEntry(id, patch))).statuses).toEqual(['200']);
    expect((await fhir.call(mine, 'PATCH', `Binary/${id}`, patch, {}, 'application/json-patch+json')).status).toBe(200);
    for (const context of ['Patient/other', 'Patient/absent', undefined]) {
      expect(await run(post('Patient/mine'), post(context))).toMatchObject({ error: 'forbidden', at: 'Bundle.entry[1]' });
      expect(await run(put(id, context))).toMatchObject({ error: 'forbidden', at: 'Bundle.entry[0]' });
    }
    const away = [{ op: 'replace', path: '/securityContext/reference', value: 'Patient/other' }];
    expect((await fhir.call(mine, 'PATCH', `Binary/${id}`, away, {}, 'application/json-patch+json')).error?.code).toBe('forbidden');
    expect((await run(patchEntry(id, away))).error).toBe('forbidden');
    for (const hidden of ['of-other', 'absent', 'plain']) {
      expect([hidden, (await fhir.call(mine, 'PATCH', `Binary/${hidden}`, patch, {}, 'application/json-patch+json')).error?.code]).toEqual([hidden, 'not-found']);
      for (const entry of [put(hidden, 'Patient/mine'), patchEntry(hidden, patch), { request: { method: 'DELETE', url: `Binary/${hidden}` } }]) expect([hidden, (await run(entry)).error]).toEqual([hidden, 'not-found']);
    }
    // A caller who may change it but not read its context cannot learn of it by a patch.
    expect((await fhir.call([grant('Binary', 'cruds')], 'PATCH', `Binary/${id}`, patch, {}, 'application/json-patch+json')).error?.code).toBe('not-found');
    expect((await run({ request: { method: 'DELETE', url: `Binary/${id}` } })).statuses).toEqual(['204']);
  });
});

test('A patch of a Binary in chunks keeps its content, whichever way it comes', async () => {
  const bytes = Buffer.alloc(700_000, 'x');
  const { store, audit, auditOf } = fhir.on;
  const file = await store.files.receive((async function* () { yield await Promise.resolve(bytes); })(), bytes.length);
  const { audit: entry } = await store.write(store.prepare({ resourceType: 'Binary', contentType: 'image/png' }, 'chunked', undefined, file), auditOf);
  await audit.appendCommitted([entry]);
  const operations = (value: string) => [{ op: 'replace', path: '/contentType', value }];
  const inBundle = { request: { method: 'PATCH', url: 'Binary/chunked' }, resource: { resourceType: 'Binary', contentType: 'application/json-patch+json', data: Buffer.from(JSON.stringify(operations('image/jpeg'))).toString('base64') } };
  expect((await fhir.call(all, 'PATCH', 'Binary?_id=chunked', operations('image/gif'), {}, 'application/json-patch+json')).status).toBe(200);
  expect((await fhir.call(all, 'POST', '', { resourceType: 'Bundle', type: 'transaction', entry: [inBundle] })).status).toBe(200);
  const version = (await store.read('Binary', 'chunked'))!;
  expect([version.versionId, version.resource()['contentType'], version.file]).toEqual([3, 'image/jpeg', file]);
  const parts: Buffer[] = [];
  for await (const part of store.files.open(version.file!)) parts.push(part);
  expect(Buffer.concat(parts).equals(bytes)).toBe(true);
});
