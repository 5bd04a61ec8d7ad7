import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { observation, patient } from '../storage/support.ts';
import { grant, testFhir, type Answer, type TestFhir } from './support.ts';

let fhir: TestFhir;
beforeAll(async () => {
  fhir = await testFhir();
  for (const id of ['p', 'other']) await fhir.on.put(patient(), id);
});
afterAll(() => fhir.close());

const all = [grant('*', 'cruds')];
const jsonType = 'application/json-patch+json';
const fhirType = 'application/fhir+json';

let count = 0;
/** A patient of its own for each case. */
async function stored(resource: Record<string, unknown>): Promise<string> {
  const id = `patched-${count++}`;
  await fhir.on.put({ resourceType: 'Patient', ...resource }, id);
  return `Patient/${id}`;
}

async function patched(url: string, operations: unknown, contentType = jsonType, headers: Record<string, string> = {}, grants = all): Promise<Answer> {
  return fhir.call(grants, 'PATCH', url, operations, headers, contentType);
}

async function textOf(url: string): Promise<string> {
  const [type, id] = url.split('/');
  return (await fhir.on.store.read(type!, id!))!.bytes.toString();
}

describe('JSON Patch', () => {
  test('changes what it names, makes a version, and leaves the digits of other numbers', async () => {
    const id = `decimal-${count++}`;
    const bytes = Buffer.from('{"resourceType":"Observation","status":"final","code":{"text":"x"},"component":[{"code":{"text":"a"},"valueQuantity":{"value":1.00}},{"code":{"text":"b"},"valueQuantity":{"value":2e1}}]}');
    await fhir.on.store.write(fhir.on.store.prepare(JSON.parse(bytes.toString()) as never, id, bytes), fhir.on.auditOf);
    const answer = await patched(`Observation/${id}`, [
      { op: 'test', path: '/component/0/valueQuantity/value', value: 1 },
      { op: 'replace', path: '/status', value: 'amended' },
      { op: 'copy', from: '/component/0', path: '/component/-' },
      { op: 'add', path: '/component/0/valueQuantity/unit', value: 'g' },
      { op: 'move', from: '/component/1', path: '/component/0' },
    ]);
    expect([answer.status, answer.headers['ETag']]).toEqual([200, 'W/"2"']);
    expect(await textOf(`Observation/${id}`)).toContain('"component":[{"code":{"text":"b"},"valueQuantity":{"value":2e1}},{"code":{"text":"a"},"valueQuantity":{"value":1.00,"unit":"g"}},{"code":{"text":"a"},"valueQuantity":{"value":1.00}}]');
  });

  test.each([
    ['a test that is not met', [{ op: 'test', path: '/gender', value: 'male' }]],
    ['a path that is missing', [{ op: 'replace', path: '/birthDate', value: '2000' }]],
    ['a removal of nothing', [{ op: 'remove', path: '/name/3' }]],
    ['a parent that is missing', [{ op: 'add', path: '/contact/0/gender', value: 'male' }]],
    ['an index beyond the end', [{ op: 'add', path: '/name/7', value: { text: 'x' } }]],
    ['a property of arrays', [{ op: 'replace', path: '/name/length', value: 1 }]],
    ['a property of objects', [{ op: 'add', path: '/__proto__/x', value: 1 }]],
    ['a property of strings', [{ op: 'add', path: '/gender/x', value: 1 }]],
    ['a move into itself', [{ op: 'move', from: '/name', path: '/name/0/given' }]],
    ['another id', [{ op: 'replace', path: '/id', value: 'x' }]],
    ['another type', [{ op: 'replace', path: '/resourceType', value: 'Group' }]],
    ['a code that does not exist', [{ op: 'replace', path: '/gender', value: 'none' }]],
  ])('of %s is refused by 422, and nothing changes', async (_name, operations) => {
    const url = await stored({ gender: 'female', name: [{ text: 'Canaryname' }] });
    const answer = await patched(url, [{ op: 'add', path: '/active', value: true }, ...operations]);
    expect([answer.status, answer.error?.message.includes('Canaryname')]).toEqual([422, false]);
    if (answer.error?.code === 'patch-failed') expect(answer.error.message).toContain('Operation 1');
    expect(await textOf(url)).not.toContain('active');
  });

  test.each([
    ['no array', { op: 'add', path: '/active', value: true }],
    ['an unknown operation', [{ op: 'put', path: '/active', value: true }]],
    ['no value', [{ op: 'add', path: '/active' }]],
    ['a path that is no pointer', [{ op: 'remove', path: 'active' }]],
    ['an element that does not exist', [{ op: 'add', path: '/nothing', value: true }]],
  ])('with %s is refused by 400', async (_name, body) => {
    expect((await patched(await stored({}), body)).status).toBe(400);
  });

  test('cannot grow by copying copies', async () => {
    const started = performance.now();
    const copies = Array.from({ length: 900 }, (_, at) => ({ op: 'copy', from: '/extension', path: `/extension/${at % 2}/extension` }));
    expect((await patched(await stored({ extension: [{ url: 'urn:a', valueString: 'x'.repeat(1_000) }, { url: 'urn:b' }] }), copies)).status).toBe(413);
    expect((await patched('Patient/p', Array.from({ length: 1_001 }, () => ({ op: 'test', path: '', value: 1 })))).status).toBe(413);
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});

/** An operation of a FHIRPath Patch. */
function operation(type: string, path: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  const parts = Object.entries(more).map(([name, value]) => ({ name, ...(typeof value === 'number' ? { valueInteger: value } : name === 'name' ? { valueString: value } : (value as object)) }));
  return { name: 'operation', part: [{ name: 'type', valueCode: type }, { name: 'path', valueString: path }, ...parts] };
}

const identifiers = (...values: string[]) => values.map((value) => ({ system: 'urn:x', value }));

/** What HL7's test cases for FHIRPath Patch check, on data of our own. */
const cases: readonly (readonly [string, Record<string, unknown>, readonly unknown[], Record<string, unknown> | 'refused'])[] = [
  ['nothing', { birthDate: '1920-01-01' }, [], { birthDate: '1920-01-01' }],
  ['a primitive replaced', { birthDate: '1920-01-01' }, [operation('replace', 'Patient.birthDate', { value: { valueDate: '1930-01-01' } })], { birthDate: '1930-01-01' }],
  ['a primitive deleted with its extensions', { birthDate: '1920-01-01', _birthDate: { id: 'b' }, active: true }, [operation('delete', 'Patient.birthDate')], { active: true }],
  ['a primitive added', {}, [operation('add', 'Patient', { name: 'birthDate', value: { valueDate: '1930-01-01' } })], { birthDate: '1930-01-01' }],
  ['what is there already added', { birthDate: '1920-01-01' }, [operation('add', 'Patient', { name: 'birthDate', value: { valueDate: '1930-01-01' } })], 'refused'],
  ['a nested primitive replaced', { contact: [{ name: { text: 'a' }, gender: 'male' }] }, [operation('replace', 'Patient.contact[0].gender', { value: { valueCode: 'female' } })], { contact: [{ name: { text: 'a' }, gender: 'female' }] }],
  ['a level that becomes empty', { contact: [{ name: { text: 'a' }, gender: 'male' }] }, [operation('delete', 'Patient.contact[0].name.text')], { contact: [{ gender: 'male' }] }],
  ['levels and lists that become empty', { active: true, contact: [{ name: { given: ['a'] } }] }, [operation('delete', 'Patient.contact.name.given[0]')], { active: true }],
  ['a complex element replaced', { maritalStatus: { id: '1', text: 'a' } }, [operation('replace', 'Patient.maritalStatus', { value: { valueCodeableConcept: { id: '2', text: 'b' } } })], { maritalStatus: { id: '2', text: 'b' } }],
  ['an element without a type of its own', {}, [operation('add', 'Patient', { name: 'contact', value: { part: [{ name: 'name', valueHumanName: { text: 'a' } }, { name: 'relationship', valueCodeableConcept: { text: 'r' } }] } })], { contact: [{ name: { text: 'a' }, relationship: [{ text: 'r' }] }] }],
  ['such an element deleted', { active: true, contact: [{ gender: 'male' }] }, [operation('delete', 'Patient.contact[0]')], { active: true }],
  ['an insert at the end', { identifier: identifiers('1', '2') }, [operation('insert', 'Patient.identifier', { index: 2, value: { valueIdentifier: identifiers('3')[0] } })], { identifier: identifiers('1', '2', '3') }],
  ['an insert in the middle', { identifier: identifiers('1', '2') }, [operation('insert', 'Patient.identifier', { index: 1, value: { valueIdentifier: identifiers('3')[0] } })], { identifier: identifiers('1', '3', '2') }],
  ['an insert into nothing', {}, [operation('insert', 'Patient.identifier', { index: 0, value: { valueIdentifier: identifiers('3')[0] } })], { identifier: identifiers('3') }],
  ['an insert beyond the end', { identifier: identifiers('1') }, [operation('insert', 'Patient.identifier', { index: 2, value: { valueIdentifier: identifiers('3')[0] } })], 'refused'],
  ['a deletion from a list', { identifier: identifiers('1', '2', '3') }, [operation('delete', 'Patient.identifier[1]')], { identifier: identifiers('1', '3') }],
  ['a deletion of several', { identifier: identifiers('1', '2') }, [operation('delete', 'Patient.identifier')], 'refused'],
  ['a deletion of nothing', { active: true }, [operation('delete', 'Patient.birthDate')], { active: true }],
  ['a move forward', { identifier: identifiers('1', '2', '3', '4') }, [operation('move', 'Patient.identifier', { source: 0, destination: 3 })], { identifier: identifiers('2', '3', '4', '1') }],
  ['a move back', { identifier: identifiers('1', '2', '3', '4') }, [operation('move', 'Patient.identifier', { source: 3, destination: 1 })], { identifier: identifiers('1', '4', '2', '3') }],
  ['two moves', { identifier: identifiers('1', '2', '3', '4') }, [operation('move', 'Patient.identifier', { source: 1, destination: 0 }), operation('move', 'Patient.identifier', { source: 2, destination: 1 })], { identifier: identifiers('2', '3', '1', '4') }],
  ['a move beyond the end', { identifier: identifiers('1') }, [operation('move', 'Patient.identifier', { source: 0, destination: 1 })], 'refused'],
  ['an addition to what is missing', { identifier: identifiers('1') }, [operation('add', "Patient.identifier.where(use = 'official').period", { name: 'end', value: { valueDate: '2021-12-01' } })], 'refused'],
  ['an addition to what a condition finds', { identifier: [{ use: 'official', value: '1', period: { start: '2020' } }] }, [operation('add', "Patient.identifier.where(use = 'official').period", { name: 'end', value: { valueDate: '2021-12-01' } })], { identifier: [{ use: 'official', value: '1', period: { start: '2020', end: '2021-12-01' } }] }],
  ['a choice of another type', { deceasedBoolean: false }, [operation('replace', 'Patient.deceased', { value: { valueDateTime: '2020-01-01' } })], { deceasedDateTime: '2020-01-01' }],
  ['a second type of a choice', { deceasedBoolean: false }, [operation('add', 'Patient', { name: 'deceased', value: { valueDateTime: '2020-01-01' } })], 'refused'],
  ['an extension', {}, [operation('add', 'Patient', { name: 'extension', value: { valueExtension: { url: 'urn:x', valueString: 'a' } } })], 'refused'],
  ['primitives of a list and their companions', { name: [{ given: ['a', 'b'], _given: [null, { id: 'x' }] }] }, [operation('move', 'Patient.name[0].given', { source: 1, destination: 0 })], { name: [{ given: ['b', 'a'], _given: [{ id: 'x' }, null] }] }],
  ['a value of the wrong type', {}, [operation('add', 'Patient', { name: 'birthDate', value: { valueHumanName: { text: 'x' } } })], 'refused'],
  ['the resource itself', {}, [operation('replace', 'Patient', { value: { valueString: 'x' } })], 'refused'],
  ['another type of resource', {}, [operation('delete', 'Observation.status'), operation('add', 'Observation', { name: 'active', value: { valueBoolean: true } })], 'refused'],
  ['a path that is none', {}, [operation('delete', 'Patient..')], 'refused'],
  ['a path that looks elsewhere', { managingOrganization: { reference: 'Organization/1' } }, [operation('delete', 'Patient.managingOrganization.resolve().name')], 'refused'],
  ['a path that takes long', {}, [operation('delete', 'Patient.descendants().where(descendants().exists())')], 'refused'],
  ['a variable', {}, [operation('delete', '%resource.name')], 'refused'],
  ['a literal', {}, [operation('delete', "'x'")], 'refused'],
];

describe('FHIRPath Patch', () => {
  test.each(cases)('%s', async (name, before, parameter, after) => {
    const url = await stored(before);
    const answer = await patched(url, { resourceType: 'Parameters', ...(parameter.length === 0 ? {} : { parameter }) }, fhirType);
    const { resourceType: _type, id: _id, meta: _meta, ...rest } = JSON.parse(await textOf(url)) as Record<string, unknown>;
    if (after === 'refused') {
      expect([name, [400, 422].includes(answer.status), rest]).toEqual([name, true, before]);
    } else {
      expect([answer.error?.message, answer.status]).toEqual([undefined, 200]);
      expect(rest).toEqual(after);
    }
  });

  test('names the operation that failed, and leaves the digits of numbers', async () => {
    const id = `decimal-${count++}`;
    const bytes = Buffer.from('{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.00,"unit":"g"}}');
    await fhir.on.store.write(fhir.on.store.prepare(JSON.parse(bytes.toString()) as never, id, bytes), fhir.on.auditOf);
    const refused = await patched(`Observation/${id}`, { resourceType: 'Parameters', parameter: [operation('delete', 'Observation.issued'), operation('replace', 'Observation.issued', { value: { valueInstant: '2020-01-01T00:00:00Z' } })] }, fhirType);
    expect([refused.status, refused.error?.options.expression]).toEqual([422, 'Parameters.parameter[1]']);
    expect((await patched(`Observation/${id}`, { resourceType: 'Parameters', parameter: [operation('replace', 'Observation.value.unit', { value: { valueString: 'mg' } })] }, fhirType)).status).toBe(200);
    expect(await textOf(`Observation/${id}`)).toContain('"valueQuantity":{"value":1.00,"unit":"mg"}');
  });

  test('is bounded', async () => {
    const many = Array.from({ length: 201 }, () => operation('delete', 'Patient.birthDate'));
    expect((await patched('Patient/p', { resourceType: 'Parameters', parameter: many }, fhirType)).status).toBe(413);
    expect((await patched('Patient/p', { resourceType: 'Patient' }, fhirType)).status).toBe(400);
  });
});

describe('a patch', () => {
  const activate = [{ op: 'add', path: '/active', value: true }];

  test('of another media type is refused by 415', async () => {
    for (const type of ['application/xml-patch+xml', 'text/plain', '']) expect([type, (await patched('Patient/p', activate, type)).status]).toEqual([type, 415]);
  });

  test('honours If-Match', async () => {
    const url = await stored({});
    expect((await patched(url, activate, jsonType, { ifMatch: 'W/"2"' })).status).toBe(412);
    expect((await patched(url, activate, jsonType, { ifMatch: 'W/"1"' })).status).toBe(200);
    expect((await patched(url, activate, jsonType, { ifMatch: 'one' })).status).toBe(400);
  });

  test('of what is absent or deleted is refused', async () => {
    expect((await patched('Patient/absent', activate)).status).toBe(404);
    const url = await stored({});
    await fhir.call(all, 'DELETE', url);
    expect((await patched(url, activate)).status).toBe(410);
  });

  test('loses none of many at once', async () => {
    const url = await stored({ extension: [{ url: 'urn:first', valueBoolean: true }] });
    const answers = await Promise.all(Array.from({ length: 8 }, (_, at) => patched(url, [{ op: 'add', path: '/extension/-', value: { url: `urn:${at}`, valueBoolean: true } }])));
    const done = answers.filter(({ status }) => status === 200).length;
    expect(answers.every(({ status }) => status === 200 || status === 409)).toBe(true);
    expect((JSON.parse(await textOf(url)) as { extension: unknown[] }).extension).toHaveLength(done + 1);
    expect(done).toBeGreaterThan(4);
  });

  test('needs the right to update and to read, and what is hidden is absent', async () => {
    await fhir.on.put(observation('p'), 'mine');
    await fhir.on.put(observation('other'), 'hidden');
    const amend = [{ op: 'replace', path: '/status', value: 'amended' }];
    const mine = [grant('Observation', 'cruds', 'p')];
    expect((await patched('Observation/mine', amend, jsonType, {}, mine)).status).toBe(200);
    const [hidden, absent] = [await patched('Observation/hidden', amend, jsonType, {}, mine), await patched('Observation/none', amend, jsonType, {}, mine)];
    expect([hidden.status, hidden.error?.message]).toEqual([404, absent.error?.message]);
    for (const permissions of ['u', 'crds']) expect((await patched('Observation/mine', amend, jsonType, {}, [grant('Observation', permissions)])).status).toBe(403);
    const out = [{ op: 'replace', path: '/subject/reference', value: 'Patient/other' }];
    expect((await patched('Observation/mine', out, jsonType, {}, mine)).status).toBe(403);
    expect((await patched('AuditEvent/x', amend)).status).toBe(405);
  });

  test('by criteria concerns exactly one', async () => {
    const value = `by-${count++}`;
    const url = `Patient?identifier=urn:by|${value}`;
    expect((await patched(url, activate)).status).toBe(404);
    await stored({ identifier: [{ system: 'urn:by', value }] });
    expect((await patched(url, activate)).status).toBe(200);
    await stored({ identifier: [{ system: 'urn:by', value }] });
    expect((await patched(url, activate)).error?.code).toBe('multiple-matches');
    expect((await patched('Patient?', activate)).status).toBe(412);
    expect((await patched('Patient?nothing=x', activate)).status).toBe(400);
  });
});
