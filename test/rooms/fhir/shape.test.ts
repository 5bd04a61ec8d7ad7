import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { grant, testFhir, type TestFhir } from './support.ts';

let fhir: TestFhir;
beforeAll(async () => {
  fhir = await testFhir();
});
afterAll(async () => fhir.close());

const all = [grant('*', 'cruds')];
const get = async (url: string) => fhir.call(all, 'GET', url);
const subsetted = { system: 'http://terminology.hl7.org/CodeSystem/v3-ObservationValue', code: 'SUBSETTED' };
const div = '<div xmlns="http://www.w3.org/1999/xhtml">x</div>';

const patient = {
  resourceType: 'Patient', id: 'shaped', meta: { tag: [{ system: 'http://x', code: 'own' }] }, text: { status: 'generated', div },
  implicitRules: 'http://rules', active: true, name: [{ use: 'official', family: 'A', given: ['B'] }], birthDate: '2000-01-01', _birthDate: { id: 'b' },
  contact: [{ name: { family: 'C' } }], communication: [{ language: { text: 'en' } }],
};
const observation = {
  resourceType: 'Observation', id: 'shaped', text: { status: 'generated', div }, status: 'final', code: { text: 'x' }, subject: { reference: 'Patient/shaped' }, valueQuantity: { value: 1, unit: 'mg' }, method: { text: 'm' },
  component: [{ code: { text: 'y' }, valueInteger: 1, interpretation: [{ text: 'low' }] }],
};

beforeAll(async () => {
  expect((await fhir.call(all, 'PUT', 'Patient/shaped', patient)).status).toBe(201);
  expect((await fhir.call(all, 'PUT', 'Observation/shaped', observation)).status).toBe(201);
});

const names = (json: Record<string, unknown>) => Object.keys(json).sort();

test('_summary=true keeps the elements that the definitions mark, nested ones too', async () => {
  const { json } = await get('Patient/shaped?_summary=true');
  expect(names(json)).toEqual(['_birthDate', 'active', 'birthDate', 'id', 'implicitRules', 'meta', 'name', 'resourceType']);
  expect(json['meta']).toMatchObject({ tag: [{ code: 'own' }, subsetted] });
  const reduced = (await get('Observation/shaped?_summary=true')).json;
  expect(names(reduced)).toEqual(['code', 'component', 'id', 'meta', 'resourceType', 'status', 'subject', 'valueQuantity']);
  expect(reduced['component']).toEqual([{ code: { text: 'y' }, valueInteger: 1 }]);
  expect(reduced['meta']).toMatchObject({ versionId: '1', tag: [subsetted] });
});

test('_summary=text and data', async () => {
  expect(names((await get('Observation/shaped?_summary=text')).json)).toEqual(['code', 'id', 'meta', 'resourceType', 'status', 'text']);
  const data = (await get('Observation/shaped?_summary=data')).json;
  expect(names(data)).toEqual(names((await get('Observation/shaped')).json).filter((name) => name !== 'text'));
  expect(data['meta']).toMatchObject({ tag: [subsetted] });
});

test('_summary=false changes nothing', async () => {
  expect((await get('Patient/shaped?_summary=false')).json).toEqual((await get('Patient/shaped')).json);
});

test('_elements keeps what is named, mandatory or a modifier', async () => {
  expect(names((await get('Observation/shaped?_elements=value,component.code')).json)).toEqual(['code', 'component', 'id', 'meta', 'resourceType', 'status', 'valueQuantity']);
  const { json } = await get('Patient/shaped?_elements=name.family,Patient.birthDate');
  expect(names(json)).toEqual(['_birthDate', 'active', 'birthDate', 'id', 'implicitRules', 'meta', 'name', 'resourceType']);
  expect(json['name']).toEqual([{ use: 'official', family: 'A' }]);
});

test('of versions, histories and Bundle entries', async () => {
  expect(names((await get('Patient/shaped/_history/1?_elements=birthDate')).json)).not.toContain('name');
  const history = (await get('Patient/shaped/_history?_summary=true')).json as { entry: { resource: Record<string, unknown> }[] };
  expect(history.entry[0]!.resource['meta']).toMatchObject({ tag: [{ code: 'own' }, subsetted] });
  const batch = await fhir.call(all, 'POST', '', { resourceType: 'Bundle', type: 'batch', entry: [{ request: { method: 'GET', url: 'Patient/shaped?_elements=birthDate' } }] });
  expect(names((batch.json as { entry: { resource: Record<string, unknown> }[] }).entry[0]!.resource)).not.toContain('name');
});

interface Found {
  readonly total?: number;
  readonly link: { readonly relation: string; readonly url: string }[];
  readonly entry?: { readonly resource: Record<string, unknown>; readonly search: { readonly mode: string } }[];
}
const search = async (url: string): Promise<Found> => (await get(url)).json as unknown as Found;

test('of searches: included resources of other types stay whole unless named', async () => {
  const included = (found: Found) => found.entry!.find(({ search: { mode } }) => mode === 'include')!.resource;
  const found = await search('Observation?_id=shaped&_include=Observation:subject&_elements=status');
  expect(names(found.entry![0]!.resource)).toEqual(['code', 'id', 'meta', 'resourceType', 'status']);
  expect(names(included(found))).toContain('name');
  const both = await search('Observation?_id=shaped&_include=Observation:subject&_elements=status,Patient.birthDate');
  expect(names(included(both))).not.toContain('name');
});

test('page links keep it', async () => {
  await fhir.call(all, 'PUT', 'Patient/second', { resourceType: 'Patient', id: 'second', name: [{ family: 'A' }], birthDate: '2000-01-01' });
  const first = await search('Patient?_count=1&_elements=birthDate');
  const next = first.link.find(({ relation }) => relation === 'next')!.url;
  const second = await search(next.slice(next.indexOf('Patient?')));
  expect(second.entry).toHaveLength(1);
  expect(names(second.entry![0]!.resource)).not.toContain('name');
});

test('_summary=count and _count=0 give the total alone', async () => {
  for (const url of ['Patient?_summary=count', 'Patient?_count=0']) {
    const { total, entry, link } = await search(url);
    expect([url, total, entry, link.map(({ relation }) => relation)]).toEqual([url, 2, undefined, ['self']]);
  }
});

test('a request that cannot be understood is refused', async () => {
  for (const url of ['Patient/shaped?_summary=yes', 'Patient/shaped?_summary=count', 'Patient/shaped?_elements=a..b', 'Patient?_summary=true&_elements=name', 'Patient/shaped/_history?_summary=count']) {
    expect([url, (await get(url)).status]).toEqual([url, 400]);
  }
});

test('what was read in part cannot be written back', async () => {
  const { json } = await get('Patient/shaped?_summary=true');
  expect((await fhir.call(all, 'PUT', 'Patient/shaped', json)).status).toBe(422);
  expect((await fhir.call(all, 'POST', 'Patient', json)).status).toBe(422);
  expect((await fhir.call(all, 'POST', '', { resourceType: 'Bundle', type: 'transaction', entry: [{ resource: json, request: { method: 'PUT', url: 'Patient/shaped' } }] })).status).toBe(422);
  expect((await get('Patient/shaped')).json['contact']).toEqual(patient.contact);
});
