import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Grant } from '../../../../server/access/context.ts';
import { grant, testFhir, type TestFhir } from '../support.ts';

let fhir: TestFhir;
let patientId: string;
const all = [grant('*', 'cruds')];
const usCore = 'http://hl7.org/fhir/us/core/StructureDefinition/';
const own = 'https://example.org/StructureDefinition/own';

const patient = { resourceType: 'Patient', identifier: [{ system: 'urn:example:mrn', value: '1' }], name: [{ family: 'Example' }], gender: 'female' };

/** A profile of Patient as a user posts it, with a differential unless told otherwise. */
function definition(url: string, element: readonly Record<string, unknown>[], more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    resourceType: 'StructureDefinition', url, name: 'Own', status: 'active', kind: 'resource', abstract: false, type: 'Patient', derivation: 'constraint',
    baseDefinition: 'http://hl7.org/fhir/StructureDefinition/Patient', differential: { element }, ...more,
  };
}

beforeAll(async () => {
  fhir = await testFhir();
  patientId = await create(patient);
  await create(definition(own, [{ id: 'Patient', path: 'Patient', constraint: [{ key: 'own-1', severity: 'error', human: 'A photo', expression: 'photo.exists()' }] }, { id: 'Patient.telecom', path: 'Patient.telecom', min: 1 }]));
  await create(definition(`${own}-derived`, [{ id: 'Patient.photo', path: 'Patient.photo', max: '0' }], { baseDefinition: own }));
  await create(definition(`${own}-bound`, [{ id: 'Patient.maritalStatus', path: 'Patient.maritalStatus', binding: { strength: 'required', valueSet: 'https://example.org/states' } }]));
  await create(definition(`${own}-unknown`, [{ id: 'Patient.maritalStatus', path: 'Patient.maritalStatus', binding: { strength: 'required', valueSet: 'https://example.org/none' } }]));
  await create({ resourceType: 'ValueSet', url: 'https://example.org/states', status: 'active', compose: { include: [{ system: 'urn:s', concept: [{ code: 'a' }] }] } });
}, 60_000);
afterAll(async () => fhir.close());

async function create(resource: Record<string, unknown>): Promise<string> {
  const answer = await fhir.call(all, 'POST', String(resource['resourceType']), resource);
  expect(answer.status).toBe(201);
  return String(answer.json['id']);
}

interface Issue {
  readonly severity: string;
  readonly code: string;
  readonly details: { readonly text: string };
  readonly expression?: readonly string[];
}

async function issues(url: string, body?: unknown, grants: readonly Grant[] = all): Promise<readonly Issue[]> {
  const answer = await fhir.call(grants, body === undefined ? 'GET' : 'POST', url, body);
  expect(answer).toMatchObject({ status: 200, json: { resourceType: 'OperationOutcome' } });
  return answer.json['issue'] as readonly Issue[];
}

const errors = async (...args: Parameters<typeof issues>) => (await issues(...args)).filter(({ severity }) => severity === 'error').map(({ code, expression = [], details }) => [code, expression.join(), details.text].join(' | '));

const parameters = (values: Record<string, unknown>) => ({ resourceType: 'Parameters', parameter: Object.entries(values).map(([name, value]) => (name === 'resource' ? { name, resource: value } : { name, [name === 'mode' ? 'valueCode' : 'valueUri']: value })) });

describe('forms', () => {
  test('the resource itself, Parameters, the instance as stored, GET and POST', async () => {
    expect((await issues('Patient/$validate', patient))[0]).toEqual({ severity: 'information', code: 'informational', details: { text: 'No errors were found.' } });
    expect(await errors(`Patient/$validate?profile=${usCore}us-core-patient`, patient)).toEqual([]);
    expect(await errors('Patient/$validate', parameters({ resource: patient, profile: `${usCore}us-core-patient|6.1.0`, mode: 'create' }))).toEqual([]);
    expect(await errors(`Patient/${patientId}/$validate`)).toEqual([]);
    expect(await errors(`Patient/${patientId}/$validate?mode=profile&profile=${usCore}us-core-patient`)).toEqual([]);
  });

  test('what is not valid is answered with 200 too: structure, bindings, invariants of R4', async () => {
    expect(await errors('Patient/$validate', { resourceType: 'Patient', gender: 'x', unknown: 1 })).toEqual([
      'code-invalid | Patient.gender | The code is not in the required value set.',
      'structure | Patient | It has an element that is not defined here.',
    ]);
    expect(await errors('Patient/$validate', { resourceType: 'Patient', contact: [{ gender: 'male' }] })).toEqual([expect.stringContaining('invariant | Patient.contact[0] | SHALL at least contain')]);
    expect(await errors('Patient/$validate', { resourceType: 'Observation', status: 'final', code: { text: 'x' } })).toEqual(['structure |  | The resource is not of the type in the URL.']);
    expect(await errors(`Patient/$validate?profile=${usCore}us-core-patient`, { ...patient, identifier: undefined })).toEqual(['required | Patient | The profile requires identifier.']);
  });

  test('claims in meta.profile are checked, also in entries of a Bundle', async () => {
    const claiming = { ...patient, name: undefined, meta: { profile: [`${usCore}us-core-patient`] } };
    expect(await errors('Patient/$validate', claiming)).toEqual(['required | Patient | The profile requires name.']);
    expect(await errors('Bundle/$validate', { resourceType: 'Bundle', type: 'collection', entry: [{ fullUrl: 'urn:uuid:00000000-0000-0000-0000-000000000001', resource: claiming }] })).toEqual(['required | Bundle.entry[0].resource | The profile requires name.']);
  });

  test('an unknown profile is told', async () => {
    expect(await errors('Patient/$validate?profile=https://example.org/none', patient)).toEqual([expect.stringContaining('not-found | ')]);
  });

  test('requests that make no sense are refused', async () => {
    const status = async (method: string, url: string, body?: unknown) => (await fhir.call(all, method, url, body)).status;
    expect(await status('POST', 'Patient/$validate', parameters({}))).toBe(400);
    expect(await status('POST', 'Patient/$validate?mode=other', patient)).toBe(400);
    expect(await status('POST', 'Patient/$validate?mode=profile', patient)).toBe(400);
    expect(await status('GET', 'Patient/$validate?mode=delete')).toBe(400);
    expect(await status('GET', 'Patient/none/$validate')).toBe(404);
    expect(await status('POST', 'Patient/$validate', { ...patient, name: [{ text: 'x'.repeat(1_100_000) }] })).toBe(413);
  });
});

describe('modes', () => {
  test('update wants the id of the URL', async () => {
    expect(await errors(`Patient/${patientId}/$validate?mode=update`, { ...patient, id: patientId })).toEqual([]);
    expect(await errors(`Patient/${patientId}/$validate?mode=update`, { ...patient, id: 'other' })).toEqual(['value | Patient.id | The id in the resource is not that in the URL.']);
  });

  test('what the caller may not do would not be accepted', async () => {
    const reader = [grant('Patient', 'rs')];
    expect(await errors('Patient/$validate?mode=create', patient, reader)).toEqual(['forbidden |  | The caller is not permitted to do this.']);
    expect(await errors(`Patient/${patientId}/$validate?mode=delete`, undefined, reader)).toEqual(['forbidden |  | The caller is not permitted to do this.']);
    expect(await errors(`Patient/${patientId}/$validate?mode=delete`)).toEqual([]);
    expect((await fhir.call(all, 'GET', `Patient/${patientId}`)).status).toBe(200);
  });
});

describe('profiles that users posted', () => {
  test('are found by URL, with the profiles that they are derived from', async () => {
    const expected = ['required | Patient | The profile requires telecom.', 'invariant | Patient | Invariant own-1 of the profile does not hold.'];
    expect((await errors(`Patient/$validate?profile=${own}`, patient)).sort()).toEqual([...expected].sort());
    expect(await errors(`Patient/$validate?profile=${own}-derived`, { ...patient, photo: [{ url: 'urn:x' }], telecom: [{ value: '1', system: 'phone' }] })).toEqual(['structure | Patient | The profile does not permit photo.']);
  });

  test('only by a caller who may search them', async () => {
    expect(await errors(`Patient/$validate?profile=${own}`, patient, [grant('Patient', 'cruds')])).toEqual([expect.stringContaining('not-found | ')]);
  });

  test('their value sets are terminology\'s; one that is not known is no fault', async () => {
    const status = (code: string) => ({ ...patient, maritalStatus: { coding: [{ system: 'urn:s', code }] } });
    expect(await errors(`Patient/$validate?profile=${own}-bound`, status('a'))).toEqual([]);
    expect(await errors(`Patient/$validate?profile=${own}-bound`, status('b'))).toEqual(['code-invalid | Patient.maritalStatus | No code is in the required value set.']);
    const unknown = await issues(`Patient/$validate?profile=${own}-unknown`, status('b'));
    expect(unknown.filter(({ expression, severity }) => severity !== 'warning' && expression?.[0] === 'Patient.maritalStatus')).toMatchObject([{ severity: 'information', code: 'not-supported' }]);
  });

  test('an invariant that never ends is given up, and the next validation works', async () => {
    const hostile = `${own}-hostile`;
    await create(definition(hostile, [{ id: 'Patient', path: 'Patient', constraint: [{ key: 'own-2', severity: 'error', human: 'x', expression: "name.text.matches('^(([a-z])+.)+[A-Z]([a-z])+$')" }] }]));
    const started = performance.now();
    const answer = await fhir.call(all, 'POST', `Patient/$validate?profile=${hostile}`, { ...patient, name: [{ text: 'a'.repeat(60) }] });
    expect(answer.error?.code).toBe('too-costly');
    expect(performance.now() - started).toBeLessThan(15_000);
    expect(await errors('Patient/$validate', patient)).toEqual([]);
  }, 30_000);
});

test('what is said holds nothing of the content, and each call is on record', async () => {
  fhir.records.length = 0;
  const answer = await fhir.call(all, 'POST', `Patient/$validate?profile=${usCore}us-core-patient`, { ...patient, gender: 'canary1', name: [{ family: 1, text: 'canary2' }], canary3: 'x', extension: [{ url: 'urn:canary4' }] });
  expect(JSON.stringify(answer.json)).not.toMatch(/canary/);
  expect(fhir.records.map(({ kind, ...record }) => (kind === 'rest' ? (record as { interaction: string }).interaction : kind))).toEqual(['$validate']);
});
