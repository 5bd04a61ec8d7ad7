import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { writeExact } from '../../../../server/fhir/patch/exact-json.ts';
import { fhirPathPatch } from '../../../../server/fhir/patch/fhirpath-patch.ts';
import { grant, testFhir, type Answer, type TestFhir } from '../support.ts';

let fhir: TestFhir;
const all = [grant('*', 'cruds')];
const lab = 'http://loinc.org';

beforeAll(async () => {
  fhir = await testFhir();
});
afterAll(async () => fhir.close());

async function create(resource: { readonly resourceType: string; readonly [name: string]: unknown }): Promise<string> {
  const answer = await fhir.call(all, 'POST', resource.resourceType, resource);
  expect(answer.status).toBe(201);
  return String(answer.json['id']);
}

describe('$meta', () => {
  const red = { system: 'urn:colours', code: 'red' };
  const parameters = (meta: unknown) => ({ resourceType: 'Parameters', parameter: [{ name: 'meta', valueMeta: meta }] });
  const returned = ({ json }: Answer) => (json['parameter'] as { valueMeta: Record<string, unknown> }[] | undefined)?.[0]?.valueMeta ?? {};

  test('labels are added and removed by new versions that are on record, and only if something changes', async () => {
    const id = await create({ resourceType: 'Basic', code: { text: 'x' }, meta: { profile: ['urn:p'] } });
    const before = fhir.records.length;
    const one = await fhir.call(all, 'POST', `Basic/${id}/$meta-add`, parameters({ profile: ['urn:p', 'urn:q'], tag: [red], security: [{ ...red, display: 'Red' }] }));
    expect(returned(one)).toMatchObject({ versionId: '2', profile: ['urn:p', 'urn:q'], tag: [red], security: [{ ...red, display: 'Red' }] });
    expect(fhir.records.slice(before).map(({ interaction, outcome }) => [interaction, outcome])).toEqual([['read', '0'], ['update', '0'], ['$meta-add', '0']]);
    expect(returned(await fhir.call(all, 'POST', `Basic/${id}/$meta-add`, parameters({ tag: [{ ...red, display: 'again' }] })))).toMatchObject({ versionId: '2', tag: [red] });
    const gone = returned(await fhir.call(all, 'POST', `Basic/${id}/$meta-delete`, parameters({ profile: ['urn:q', 'urn:never'], tag: [red] })));
    expect(gone).toMatchObject({ versionId: '3', profile: ['urn:p'] });
    expect(gone).not.toHaveProperty('tag');
    expect(returned(await fhir.call(all, 'GET', `Basic/${id}/$meta`))).toEqual(gone);
    expect((await fhir.call(all, 'GET', `Basic/${id}`)).json).toMatchObject({ code: { text: 'x' }, meta: gone });
  });

  test('decimals keep their digits', async () => {
    // A number that is written with its digits.
    const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };
    const id = await create({ resourceType: 'Observation', status: 'final', code: { text: 'x' }, valueQuantity: { value: rawJSON('1.50') } });
    await fhir.call(all, 'POST', `Observation/${id}/$meta-add`, parameters({ tag: [red] }));
    const stored = await fhir.on.store.read('Observation', id);
    expect(stored?.bytes.toString()).toContain('"value":1.50');
    expect(stored?.versionId).toBe(2);
  });

  test('needs the permission to write; what is not a Meta is refused', async () => {
    const id = await create({ resourceType: 'Basic', code: { text: 'x' } });
    expect((await fhir.call([grant('Basic', 'rs')], 'POST', `Basic/${id}/$meta-add`, parameters({ tag: [red] }))).status).toBe(403);
    expect((await fhir.call(all, 'POST', `Basic/${id}/$meta-add`, parameters({ colour: 'red' }))).status).toBe(400);
    expect((await fhir.call(all, 'POST', `Basic/${id}/$meta-add`, parameters({ tag: ['red'] }))).status).toBe(400);
    expect((await fhir.call(all, 'POST', `Basic/${id}/$meta-add`, { resourceType: 'Parameters' })).status).toBe(400);
    expect((await fhir.call(all, 'GET', `Basic/${id}/$meta-add`)).status).toBe(405);
    expect((await fhir.call(all, 'POST', 'Basic/none/$meta-add', parameters({ tag: [red] }))).status).toBe(404);
  });

  test('of a type or of everything: what is in use, as far as the caller may search', async () => {
    await create({ resourceType: 'Flag', status: 'active', code: { text: 'x' }, subject: { display: 'x' }, meta: { tag: [{ system: 'urn:colours', code: 'blue' }] } });
    await create({ resourceType: 'Device', meta: { tag: [{ system: 'urn:colours', code: 'green' }], profile: ['urn:device'] } });
    expect(returned(await fhir.call(all, 'GET', 'Flag/$meta'))).toEqual({ tag: [{ system: 'urn:colours', code: 'blue' }] });
    const codes = async (grants: typeof all) => JSON.stringify(returned(await fhir.call(grants, 'GET', '$meta')));
    expect(await codes(all)).toMatch(/blue.*green|green.*blue/);
    expect(await codes([grant('Device', 'rs')])).toBe('{"profile":["urn:device"],"tag":[{"system":"urn:colours","code":"green"}]}');
    expect((await fhir.call([grant('Device', 'rs')], 'GET', 'Flag/$meta')).status).toBe(403);
  });
});

describe('$diff', () => {
  const first = {
    resourceType: 'Patient', active: true, gender: 'female', birthDate: '1970-01-01', deceasedBoolean: false,
    name: [{ family: 'Alpha', given: ['Anna', 'Berta'] }, { text: 'old' }], telecom: [{ system: 'phone', value: '1' }, { system: 'phone', value: '2' }, { system: 'phone', value: '3' }],
    contact: [{ name: { text: 'C' } }], extension: [{ url: 'urn:a', valueDecimal: 1.5 }], text: { status: 'generated', div: '<div xmlns="http://www.w3.org/1999/xhtml">a</div>' },
  };
  const second = {
    resourceType: 'Patient', active: true, gender: 'male', _birthDate: { extension: [{ url: 'urn:unknown', valueBoolean: true }] }, deceasedDateTime: '2020',
    name: [{ family: 'Alpha', given: ['Anna', 'Cora', 'Berta'] }], telecom: [{ system: 'phone', value: '2' }, { system: 'phone', value: '3' }, { system: 'email', value: 'x@example.org' }],
    contact: [{ gender: 'male' }, { name: { text: 'D' }, relationship: [{ text: 'friend' }] }], extension: [{ url: 'urn:a', valueDecimal: 2 }, { url: 'urn:b', extension: [{ url: 'c', valueCode: 'd' }] }],
    text: { status: 'generated', div: '<div xmlns="http://www.w3.org/1999/xhtml">b</div>' }, contained: [{ resourceType: 'Organization', id: 'o', name: 'O' }], managingOrganization: { reference: '#o' },
  };

  test('between versions, as a patch that can be applied', async () => {
    const id = await create(first);
    const whole = await fhir.call(all, 'GET', `Patient/${id}/$diff`);
    expect(whole.json).toMatchObject({ parameter: [{ name: 'operation', part: [{ valueCode: 'insert' }, { valueString: 'Patient' }, { resource: { id } }] }] });
    expect((await fhir.call(all, 'PUT', `Patient/${id}`, { ...second, id })).status).toBe(200);
    const patch = await fhir.call(all, 'GET', `Patient/${id}/$diff`);
    expect(patch.status).toBe(200);
    const part = (name: string, value: unknown) => expect.objectContaining({ part: expect.arrayContaining([expect.objectContaining({ name, ...(value as object) })]) });
    expect(patch.json['parameter']).toContainEqual({ name: 'operation', part: [{ name: 'type', valueCode: 'replace' }, { name: 'path', valueString: 'Patient.gender' }, { name: 'previousValue', valueCode: 'female' }, { name: 'value', valueCode: 'male' }] });
    expect(patch.json['parameter']).toContainEqual({ name: 'operation', part: [{ name: 'type', valueCode: 'insert' }, { name: 'path', valueString: 'Patient.name[0].given' }, { name: 'index', valueInteger: 1 }, { name: 'value', valueString: 'Cora' }] });
    expect(patch.json['parameter']).toContainEqual(part('path', { valueString: 'Patient.telecom[0]' }));
    expect(JSON.stringify(patch.json)).not.toContain('versionId');
    // A copy of the first version becomes the second by it.
    const copy = await create(first);
    const apply = fhirPathPatch(Buffer.from(JSON.stringify(patch.json)), { maxBytes: 100_000 });
    const patched = JSON.parse(writeExact(apply({ ...structuredClone(first), id: copy }))) as typeof second;
    expect(patched).toEqual({ ...second, id: copy });
    expect((await fhir.call(all, 'PUT', `Patient/${copy}`, patched)).status).toBe(200);
    expect((await fhir.call(all, 'GET', `$diff?from=Patient/${copy}&to=Patient/${id}`)).json).toEqual({ resourceType: 'Parameters' });
    expect((await fhir.call(all, 'GET', `$diff?from=Patient/${id}/_history/1&to=Patient/${copy}/_history/1`)).json).toEqual({ resourceType: 'Parameters' });
    expect((await fhir.call(all, 'GET', `Patient/${id}/$diff?fromVersion=2`)).json).toEqual({ resourceType: 'Parameters' });
    expect(JSON.stringify((await fhir.call(all, 'GET', `Patient/${id}/$diff?includeMeta=true`)).json)).toContain('Patient.meta.versionId');
  });

  test('only of what the caller may read', async () => {
    const [mine, other] = [await create({ resourceType: 'Patient' }), await create({ resourceType: 'Patient', active: true })];
    const own = [grant('Patient', 'rs', mine)];
    expect((await fhir.call(own, 'GET', `$diff?from=Patient/${mine}&to=Patient/${other}`)).status).toBe(404);
    expect((await fhir.call(own, 'GET', `Patient/${other}/$diff`)).status).toBe(404);
    expect((await fhir.call(own, 'GET', `Patient/${mine}/$diff`)).status).toBe(200);
    for (const query of ['', `?from=Patient/${mine}`, `?from=Patient/${mine}&to=Basic/x`, `?from=Patient/${mine}&to=nonsense`]) expect((await fhir.call(all, 'GET', `$diff${query}`)).status).toBe(400);
    expect((await fhir.call(all, 'GET', `Patient/${mine}/$diff?fromVersion=x`)).status).toBe(400);
    expect((await fhir.call(all, 'GET', `Patient/${mine}/$diff?fromVersion=9`)).status).toBe(404);
  });
});

describe('$lastn', () => {
  const observe = async (patient: string, day: number, ...codes: readonly string[]) =>
    create({ resourceType: 'Observation', status: 'final', subject: { reference: `Patient/${patient}` }, effectiveDateTime: `2024-01-${String(day).padStart(2, '0')}`, category: [{ coding: [{ system: 'urn:cat', code: 'lab' }] }], code: codes[0] === '' ? { text: 'Free  text' } : { coding: codes.map((code) => ({ system: lab, code })) } });
  const days = ({ json }: Answer) => ((json['entry'] ?? []) as { resource: { effectiveDateTime: string; code: { text?: string; coding?: { code: string }[] } } }[]).map(({ resource: { effectiveDateTime, code } }) => `${code.coding?.map((one) => one.code).join('+') ?? 'text'}@${Number(effectiveDateTime.slice(-2))}`);

  test('groups by code, translations joined, newest first', async () => {
    const patient = await create({ resourceType: 'Patient' });
    const stranger = await create({ resourceType: 'Patient' });
    for (const [day, ...codes] of [[3, 'a'], [1, 'a'], [5, 'b'], [2, 'b'], [4, 'c'], [6, 'a', 'c'], [7, ''], [8, '']] as const) await observe(patient, day, ...codes);
    await observe(stranger, 9, 'a');
    const ask = async (query: string, grants = all) => fhir.call(grants, 'GET', `Observation/$lastn?patient=${patient}&${query}`);
    expect(days(await ask('category=lab'))).toEqual(['text@8', 'a+c@6', 'b@5']);
    expect(days(await ask('category=urn:cat|lab&max=3'))).toEqual(['text@8', 'text@7', 'a+c@6', 'c@4', 'a@3', 'b@5', 'b@2']);
    expect(days(await ask(`code=${lab}|b&max=1&date=le2024-01-04`))).toEqual(['b@2']);
    const posted = await fhir.call(all, 'POST', 'Observation/$lastn', { resourceType: 'Parameters', parameter: [{ name: 'max', valuePositiveInt: 1 }, { name: 'subject', valueString: `Patient/${patient}` }, { name: 'code', valueString: 'a' }] });
    expect(days(posted)).toEqual(['a+c@6']);
    expect(posted.json).toMatchObject({ resourceType: 'Bundle', type: 'searchset', total: 1 });
    expect(days(await ask('category=lab', [grant('Observation', 'rs', stranger)]))).toEqual([]);
    expect((await ask('category=lab', [grant('Patient', 'rs')])).status).toBe(403);
    for (const query of ['max=1', 'category=lab&max=0', 'category=lab&_sort=date', 'category=lab&nonsense=1']) expect((await ask(query)).status).toBe(400);
    expect((await fhir.call(all, 'GET', 'Observation/$lastn?category=lab')).status).toBe(400);
  });
});
