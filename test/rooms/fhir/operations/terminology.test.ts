import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { grant, testFhir, type Answer, type TestFhir } from '../support.ts';

let fhir: TestFhir;
const all = [grant('*', 'cruds')];
const nobody = [grant('Patient', 'r')];

const animals = {
  resourceType: 'CodeSystem', url: 'https://example.org/animals', version: '1', name: 'Animals', status: 'active', content: 'complete',
  concept: [{ code: 'mammal', display: 'Mammal', definition: 'Has hair', concept: [{ code: 'dog', display: 'Dog', designation: [{ language: 'de', value: 'Hund' }] }, { code: 'bat', display: 'Bat' }] }],
};
const mammals = { resourceType: 'ValueSet', url: 'https://example.org/mammals', version: '1', status: 'active', compose: { include: [{ system: animals.url, filter: [{ property: 'concept', op: 'is-a', value: 'mammal' }] }] } };
let mammalsId: string;
let animalsId: string;

beforeAll(async () => {
  fhir = await testFhir();
  animalsId = await create(animals);
  mammalsId = await create(mammals);
  await create({ ...mammals, version: '2', compose: { include: [{ valueSet: [`${mammals.url}|1`] }], exclude: [{ system: animals.url, concept: [{ code: 'bat' }] }] } });
  await create({ resourceType: 'ConceptMap', url: 'https://example.org/map', status: 'active', sourceUri: mammals.url, group: [{ source: animals.url, target: 'https://example.org/pets', element: [{ code: 'dog', target: [{ code: 'doggo', equivalence: 'equivalent' }] }] }] });
});
afterAll(async () => fhir.close());

async function create(resource: Readonly<Record<string, unknown>>): Promise<string> {
  const answer = await fhir.call(all, 'POST', String(resource['resourceType']), resource);
  expect(answer.status).toBe(201);
  return String(answer.json['id']);
}

function parameters(values: Readonly<Record<string, unknown>>): unknown {
  return { resourceType: 'Parameters', parameter: Object.entries(values).map(([key, value]) => (key === 'resource' ? { name: 'valueSet', resource: value } : { name: key.split(' ')[0], [key.split(' ')[1]!]: value })) };
}

function codes({ json }: Answer): string {
  return ((json['expansion'] as { contains?: { code: string }[] } | undefined)?.contains ?? []).map(({ code }) => code).join(' ');
}

/** Values of the output parameters by name. */
function out({ json }: Answer): Record<string, unknown> {
  const entries = (json['parameter'] as Record<string, unknown>[] | undefined) ?? [];
  return Object.fromEntries(entries.map(({ name, ...rest }) => [String(name), Object.values(rest)[0]]));
}

describe('$expand', () => {
  test('takes the latest version, the one that is named, the instance, or what is posted', async () => {
    expect(codes(await fhir.call(all, 'GET', `ValueSet/$expand?url=${mammals.url}`))).toBe('mammal dog');
    expect(codes(await fhir.call(all, 'GET', `ValueSet/$expand?url=${mammals.url}|1`))).toBe('mammal dog bat');
    expect(codes(await fhir.call(all, 'GET', `ValueSet/$expand?url=${mammals.url}&valueSetVersion=1&filter=do`))).toBe('dog');
    expect(codes(await fhir.call(all, 'POST', `ValueSet/${mammalsId}/$expand`, parameters({ 'offset valueInteger': 1, 'count valueInteger': 1 })))).toBe('dog');
    expect(codes(await fhir.call(all, 'POST', 'ValueSet/$expand', { ...mammals, url: undefined }))).toBe('mammal dog bat');
    const answer = await fhir.call(all, 'POST', 'ValueSet/$expand', parameters({ resource: mammals, 'includeDesignations valueBoolean': true, 'count valueInteger': 2 }));
    expect(answer.json).toMatchObject({ resourceType: 'ValueSet', url: mammals.url, expansion: { total: 3, offset: 0, parameter: [{ name: 'count', valueInteger: 2 }, { name: 'includeDesignations', valueBoolean: true }], contains: [{ code: 'mammal' }, { code: 'dog', display: 'Dog', designation: [{ value: 'Hund' }] }] } });
    expect(answer.json).not.toHaveProperty('compose');
  });

  test('refuses what is unknown, not enumerable, malformed or too costly', async () => {
    const status = async (url: string, body?: unknown) => (await fhir.call(all, body === undefined ? 'GET' : 'POST', url, body)).status;
    expect(await status('ValueSet/$expand?url=https://example.org/none')).toBe(404);
    expect(await status(`ValueSet/$expand?url=${mammals.url}|9`)).toBe(404);
    expect(await status('ValueSet/$expand')).toBe(400);
    expect(await status('ValueSet/$expand?url=x&nonsense=1')).toBe(400);
    expect(await status('ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/condition-code')).toBe(422);
    expect(await status('ValueSet/$expand', { resourceType: 'ValueSet', status: 'active', compose: { include: 'x' } })).toBe(400);
    expect(await status('ValueSet/$expand', { resourceType: 'ValueSet', status: 'active', compose: { include: Array.from({ length: 600 }, (_, index) => ({ valueSet: [`https://example.org/${index}`] })) } })).toBe(413);
    expect(await status('ValueSet/none/$expand')).toBe(404);
  });
});

test('$lookup', async () => {
  const answer = await fhir.call(all, 'GET', `CodeSystem/$lookup?system=${animals.url}&code=dog&displayLanguage=de`);
  expect(out(answer)).toMatchObject({ name: 'Animals', version: '1', display: 'Hund' });
  expect(answer.json['parameter']).toContainEqual({ name: 'property', part: [{ name: 'code', valueCode: 'parent' }, { name: 'value', valueCode: 'mammal' }, { name: 'description', valueString: 'Mammal' }] });
  const one = await fhir.call(all, 'POST', 'CodeSystem/$lookup', parameters({ 'coding valueCoding': { system: animals.url, code: 'mammal' }, 'property valueCode': 'definition' }));
  expect((one.json['parameter'] as unknown[]).slice(3)).toEqual([{ name: 'property', part: [{ name: 'code', valueCode: 'definition' }, { name: 'value', valueString: 'Has hair' }] }]);
  for (const query of [`system=${animals.url}&code=cat`, `system=${animals.url}&code=dog&version=7`, 'system=http://snomed.info/sct&code=1']) expect(await fhir.call(all, 'GET', `CodeSystem/$lookup?${query}`)).toMatchObject({ status: 404, error: { code: 'not-found' } });
  expect((await fhir.call(all, 'GET', 'CodeSystem/$lookup?code=dog')).status).toBe(400);
});

test('$validate-code', async () => {
  const result = async (url: string, body?: unknown) => out(await fhir.call(all, body === undefined ? 'GET' : 'POST', url, body));
  expect(await result(`CodeSystem/$validate-code?url=${animals.url}&code=dog&display=hund`)).toEqual({ result: true, display: 'Dog' });
  expect(await result(`CodeSystem/$validate-code?url=${animals.url}&code=dog&display=Cat`)).toMatchObject({ result: false, message: expect.any(String), display: 'Dog' });
  expect(await result(`CodeSystem/$validate-code?url=${animals.url}&code=cat`)).toMatchObject({ result: false, message: expect.any(String) });
  expect(await result(`CodeSystem/${animalsId}/$validate-code?code=bat`)).toMatchObject({ result: true });
  expect(await result('CodeSystem/$validate-code', parameters({ 'coding valueCoding': { system: animals.url, code: 'bat' } }))).toMatchObject({ result: true });
  expect(await result('CodeSystem/$validate-code', { resourceType: 'Parameters', parameter: [{ name: 'codeSystem', resource: { ...animals, url: undefined } }, { name: 'code', valueCode: 'dog' }] })).toMatchObject({ result: true });
  expect(await result(`ValueSet/$validate-code?url=${mammals.url}&system=${animals.url}&code=bat`)).toMatchObject({ result: false, message: expect.any(String) });
  expect(await result(`ValueSet/${mammalsId}/$validate-code?code=bat`)).toMatchObject({ result: true });
  expect(await result(`ValueSet/${mammalsId}/$validate-code`, parameters({ 'codeableConcept valueCodeableConcept': { coding: [{ system: 'urn:x', code: 'x' }, { system: animals.url, code: 'dog' }] } }))).toMatchObject({ result: true });
  expect((await fhir.call(all, 'GET', `ValueSet/${mammalsId}/$validate-code`)).status).toBe(400);
  expect((await fhir.call(all, 'POST', `ValueSet/${mammalsId}/$validate-code`, parameters({ 'coding valueCoding': { code: 7 } }))).status).toBe(400);
});

test('$translate and $subsumes', async () => {
  const match = async (query: string) => JSON.stringify((await fhir.call(all, 'GET', `ConceptMap/$translate?${query}`)).json);
  expect(await match(`url=https://example.org/map&system=${animals.url}&code=dog`)).toContain('doggo');
  expect(await match(`system=${animals.url}&code=dog`)).toContain('doggo');
  expect(await match(`system=${animals.url}&code=bat`)).toContain('"valueBoolean":false');
  expect(await match('system=https://example.org/pets&code=doggo&reverse=true')).toContain('"dog"');
  expect(await match('system=http://hl7.org/fhir/administrative-gender&code=male&targetsystem=http://terminology.hl7.org/CodeSystem/v3-AdministrativeGender')).toContain('"M"');
  expect((await fhir.call(all, 'GET', 'ConceptMap/$translate?url=urn:none&code=x')).status).toBe(404);
  const outcome = async (query: string) => out(await fhir.call(all, 'GET', query))['outcome'];
  expect(await outcome(`CodeSystem/$subsumes?system=${animals.url}&codeA=mammal&codeB=bat`)).toBe('subsumes');
  expect(await outcome(`CodeSystem/${animalsId}/$subsumes?codeA=bat&codeB=mammal`)).toBe('subsumed-by');
  expect((await fhir.call(all, 'GET', `CodeSystem/$subsumes?system=${animals.url}&codeA=mammal&codeB=cat`)).status).toBe(404);
  expect((await fhir.call(all, 'GET', 'CodeSystem/$subsumes?codeA=mammal&codeB=cat')).status).toBe(400);
});

describe('access', () => {
  test('a caller without posted terminology has what is shipped, and no more', async () => {
    const shipped = 'http://hl7.org/fhir/ValueSet/administrative-gender';
    expect(codes(await fhir.call(nobody, 'GET', `ValueSet/$expand?url=${shipped}`))).toBe('male female other unknown');
    expect(await fhir.call(nobody, 'GET', `ValueSet/$expand?url=${mammals.url}`)).toMatchObject({ status: 404, error: { code: 'not-found' } });
    expect((await fhir.call(nobody, 'GET', `CodeSystem/$lookup?system=${animals.url}&code=dog`)).status).toBe(404);
    expect((await fhir.call(nobody, 'GET', `ValueSet/${mammalsId}/$expand`)).status).toBe(403);
    // A value set of one's own does not open a hidden code system.
    expect((await fhir.call([grant('ValueSet', 'rs')], 'GET', `ValueSet/$expand?url=${mammals.url}`)).status).toBe(422);
    const narrow = [{ ...grant('ValueSet', 'rs'), criteria: [['version', '1']] as const }, grant('CodeSystem', 'rs')];
    expect(codes(await fhir.call(narrow, 'GET', `ValueSet/$expand?url=${mammals.url}`))).toBe('mammal dog bat');
  });

  test('each call is on record once, beside the searches that it made', async () => {
    const before = fhir.records.length;
    await fhir.call(nobody, 'GET', 'ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender');
    expect(fhir.records.slice(before).map(({ interaction }) => interaction)).toEqual(['$expand']);
    await fhir.call(all, 'GET', `ValueSet/$expand?url=${mammals.url}|1`);
    expect(fhir.records.slice(before + 1).map(({ interaction, entities }) => [interaction, entities?.length])).toEqual([['search-type', 2], ['search-type', 1], ['$expand', undefined]]);
    const failed = fhir.records.length;
    await fhir.call(nobody, 'GET', 'ValueSet/$expand?url=urn:none');
    expect(fhir.records.slice(failed).map(({ interaction, outcome, error }) => [interaction, outcome, error])).toEqual([['$expand', '4', 'not-found']]);
  });

  test('searches see posted terminology under the same rules', async () => {
    const context = (grants: typeof all) => ({ tenant: 't', requestId: 'r', actor: { kind: 'client' as const, id: 'app' }, grants, purposeOfUse: [] });
    const service = fhir.services.terminology;
    expect((await service.of(context(all)).codesOf(mammals.url)).map(({ code }) => code)).toEqual(['mammal', 'dog']);
    expect((await service.of(context(all)).descendantsOf(animals.url, 'mammal')).map(({ code }) => code)).toEqual(['mammal', 'dog', 'bat']);
    expect((await service.of(context(all)).ancestorsOf(animals.url, 'bat')).map(({ code }) => code)).toEqual(['bat', 'mammal']);
    expect(await service.of(context(nobody)).descendantsOf(animals.url, 'mammal')).toEqual([{ system: animals.url, code: 'mammal' }]);
    await expect(service.of(context(nobody)).codesOf(mammals.url)).rejects.toMatchObject({ code: 'not-found' });
    // A new version is used at once.
    await fhir.call(all, 'PUT', `CodeSystem/${animalsId}`, { ...animals, id: animalsId, concept: [...animals.concept, { code: 'fish' }] });
    expect(await service.of(context(all)).descendantsOf(animals.url, 'fish')).toEqual([{ system: animals.url, code: 'fish' }]);
    expect((await fhir.call(all, 'GET', `CodeSystem/$lookup?system=${animals.url}&code=fish`)).status).toBe(200);
  });
});
