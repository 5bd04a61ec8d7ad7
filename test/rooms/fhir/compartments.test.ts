import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Grant } from '../../../server/access/context.ts';
import { grant, testFhir, type TestFhir } from './support.ts';

let fhir: TestFhir;
const all = [grant('*', 'cruds')];
const reference = (to: string) => ({ reference: to });
const coded = { text: 'x' };

beforeAll(async () => {
  fhir = await testFhir();
  const put = async (type: string, id: string, more: Record<string, unknown> = {}) => {
    const { status } = await fhir.call(all, 'PUT', `${type}/${id}`, { resourceType: type, id, ...more });
    expect([type, id, status]).toEqual([type, id, 201]);
  };
  for (const id of ['a', 'b']) {
    await put('Patient', id);
    await put('Encounter', `e-${id}`, { status: 'finished', class: { code: 'AMB' }, subject: reference(`Patient/${id}`) });
    await put('Practitioner', `p-${id}`);
    await put('Device', `d-${id}`, { patient: reference(`Patient/${id}`) });
    await put('RelatedPerson', `r-${id}`, { patient: reference(`Patient/${id}`) });
    await put('Observation', `o-${id}`, { status: 'final', code: coded, subject: reference(`Patient/${id}`), encounter: reference(`Encounter/e-${id}`), performer: [reference(`Practitioner/p-${id}`)], device: reference(`Device/d-${id}`) });
    await put('Observation', `bare-${id}`, { status: 'final', code: coded, subject: reference(`Patient/${id}`) });
    await put('Appointment', `ap-${id}`, { status: 'booked', participant: [{ actor: reference(`RelatedPerson/r-${id}`), status: 'accepted' }] });
  }
});
afterAll(async () => fhir.close());

interface Found {
  readonly total?: number;
  readonly link: { readonly relation: string; readonly url: string }[];
  readonly entry?: { readonly resource: { resourceType: string; id: string } }[];
}

async function search(path: string, grants: readonly Grant[] = all): Promise<Found> {
  const answer = await fhir.call(grants, 'GET', path);
  expect([path, answer.status]).toEqual([path, 200]);
  return answer.json as unknown as Found;
}
const ids = ({ entry = [] }: Found) => entry.map(({ resource: { resourceType, id } }) => `${resourceType}/${id}`).sort();

test.each([
  ['Patient/a/Observation', ['Observation/bare-a', 'Observation/o-a']],
  ['Patient/a/Patient', ['Patient/a']],
  ['Patient/a/*', ['Encounter/e-a', 'Observation/bare-a', 'Observation/o-a', 'Patient/a', 'RelatedPerson/r-a']],
  ['Patient/a/%2A?_type=Encounter', ['Encounter/e-a']],
  ['Patient/a/*?_type=Medication', []],
  ['Patient/a/Observation?_id=o-a,o-b', ['Observation/o-a']],
  ['Encounter/e-a/Observation', ['Observation/o-a']],
  ['Encounter/e-a/*', ['Encounter/e-a', 'Observation/o-a']],
  ['Practitioner/p-a/Observation', ['Observation/o-a']],
  ['Device/d-a/Observation', ['Observation/o-a']],
  ['RelatedPerson/r-a/Appointment', ['Appointment/ap-a']],
  ['Patient/nobody/Observation', []],
])('%s', async (path, expected) => {
  expect(ids(await search(path))).toEqual(expected);
});

test('by POST, with links of its own', async () => {
  const { json } = await fhir.call(all, 'POST', 'Patient/a/Observation/_search?_count=1');
  const first = json as unknown as Found;
  expect(first.link.map(({ relation }) => relation)).toEqual(['self', 'first', 'next']);
  expect(first.link[0]!.url).toMatch(/\/Patient\/a\/Observation\?_count=1$/);
  const next = first.link[2]!.url;
  const path = next.slice(next.indexOf('Patient/a'));
  expect([...ids(first), ...ids(await search(path))].sort()).toEqual(['Observation/bare-a', 'Observation/o-a']);
  // A link is good for its own compartment only.
  expect((await fhir.call(all, 'GET', path.replace('Patient/a', 'Patient/b'))).status).toBe(404);
});

test('shows a caller what it may see alone, and nothing of whether the rest exists', async () => {
  const ofA = [grant('Patient', 'rs', 'a'), grant('Observation', 'rs', 'a'), grant('Encounter', 'rs', 'a')];
  expect(ids(await search('Patient/a/*', ofA))).toEqual(['Encounter/e-a', 'Observation/bare-a', 'Observation/o-a', 'Patient/a']);
  for (const kind of ['Observation', '*']) {
    const hidden = await search(`Patient/b/${kind}`, ofA);
    const absent = await search(`Patient/c/${kind}`, ofA);
    expect(hidden.entry).toBeUndefined();
    expect(JSON.stringify(hidden).replaceAll('Patient/b', 'Patient/c')).toBe(JSON.stringify(absent));
  }
  expect(ids(await search('Encounter/e-b/Observation', ofA))).toEqual([]);
  expect((await fhir.call([grant('Encounter', 'rs')], 'GET', 'Patient/a/Observation')).status).toBe(403);
  expect((await fhir.call([grant('Medication', 'rs')], 'GET', 'Patient/a/*')).status).toBe(403);
});

test('types that are in no such compartment, and other methods, are refused', async () => {
  expect((await fhir.call(all, 'GET', 'Patient/a/Medication')).status).toBe(404);
  expect((await fhir.call(all, 'GET', 'Observation/o-a/Patient')).status).toBe(404);
  expect((await fhir.call(all, 'DELETE', 'Patient/a/Observation')).status).toBe(405);
});
