import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { grant, testFhir, type Answer, type TestFhir } from '../support.ts';

let fhir: TestFhir;
const all = [grant('*', 'cruds')];
const system = 'https://example.org/animals';
const set = 'https://example.org/dogs';

beforeAll(async () => {
  fhir = await testFhir();
  const concept = [{ code: 'mammal', concept: [{ code: 'dog', concept: [{ code: 'poodle' }] }, { code: 'bat' }] }];
  for (const resource of [
    { resourceType: 'CodeSystem', url: system, status: 'active', content: 'complete', concept },
    { resourceType: 'ValueSet', url: set, status: 'active', compose: { include: [{ system, filter: [{ property: 'concept', op: 'is-a', value: 'dog' }] }] } },
    ...['mammal', 'dog', 'poodle', 'bat', 'stone'].map((code) => ({ resourceType: 'Basic', id: code, code: { coding: [{ system, code }] } })),
    { resourceType: 'Patient', id: 'woman', gender: 'female' },
    { resourceType: 'Patient', id: 'nobody' },
  ]) expect((await fhir.call(all, 'id' in resource ? 'PUT' : 'POST', 'id' in resource ? `${resource.resourceType}/${resource.id}` : resource.resourceType, resource)).status).toBeLessThan(300);
});
afterAll(async () => fhir.close());

function ids({ json }: Answer): string {
  return ((json['entry'] ?? []) as { resource: { id: string } }[]).map(({ resource }) => resource.id).sort().join(' ');
}

test('searches by value set and by hierarchy, of posted and shipped terminology', async () => {
  const find = async (query: string) => ids(await fhir.call(all, 'GET', query));
  expect(await find(`Basic?code:in=${set}`)).toBe('dog poodle');
  expect(await find(`Basic?code:not-in=${set}`)).toBe('bat mammal stone');
  expect(await find(`Basic?code:below=${system}|dog`)).toBe('dog poodle');
  expect(await find(`Basic?code:above=${system}|dog`)).toBe('dog mammal');
  expect(await find('Patient?gender:in=http://hl7.org/fhir/ValueSet/administrative-gender')).toBe('woman');
  expect(await fhir.call(all, 'GET', 'Basic?code:in=urn:none')).toMatchObject({ status: 400 });
  expect(await fhir.call(all, 'GET', 'Basic?code:in=http://hl7.org/fhir/ValueSet/condition-code')).toMatchObject({ status: 422, error: { code: 'not-enumerable' } });
});

test('a value set that the caller may not search does not exist for its searches', async () => {
  const own = [grant('Basic', 'rs')];
  expect((await fhir.call(own, 'GET', `Basic?code:in=${set}`)).status).toBe(400);
  expect((await fhir.call(own, 'GET', `Basic?code:not-in=${set}`)).status).toBe(400);
  expect(ids(await fhir.call(own, 'GET', `Basic?code:below=${system}|dog`))).toBe('dog');
  expect(ids(await fhir.call([...own, grant('ValueSet', 'rs'), grant('CodeSystem', 'rs')], 'GET', `Basic?code:in=${set}`))).toBe('dog poodle');
});
