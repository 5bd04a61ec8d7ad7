import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { rolesFrom } from '../../../server/access/roles-file.ts';
import { setCustomRoles } from '../../../server/access/roles.ts';
import type { TokenFacts } from '../../../server/access/context.ts';
import { testFhir, type TestFhir } from '../fhir/support.ts';
import { askAs, personToken, type Json } from './support.ts';

const secret = 'tel-5550147';
const admin: TokenFacts = { clientId: 'backend', scope: 'system/*.cruds', expiresAtMs: Date.now() + 600_000 };
const clerk = personToken('desk', 'user/*.cruds');

let fhir: TestFhir;
let counter = 0;

async function patient(more: Json = {}): Promise<string> {
  const body = { resourceType: 'Patient', text: { status: 'generated', div: `<div xmlns="http://www.w3.org/1999/xhtml">${secret}</div>` }, name: [{ family: `Mask${(counter += 1)}`, given: ['Ada'] }], gender: 'female', telecom: [{ system: 'phone', value: secret }], contact: [{ name: { family: 'Kin' }, telecom: [{ value: secret }] }, { telecom: [{ value: secret }] }], ...more };
  return (await askAs(fhir, admin, 'POST', 'Patient', { body })).json['id'] as string;
}

function isSubsetted(resource: Json): boolean {
  const { tag = [] } = (resource['meta'] ?? {}) as { tag?: { code?: string }[] };
  return tag.filter(({ code }) => code === 'SUBSETTED').length === 1;
}

beforeAll(async () => {
  fhir = await testFhir();
  setCustomRoles(rolesFrom({
    roles: {
      desk: {
        summary: 'Front desk', purposes: ['TREAT', 'HOPERAT'],
        rows: [{ types: ['Patient'], interactions: 'cruds', masks: ['telecom', 'contact.telecom'] }, { types: ['Observation'], interactions: 'crus', masks: ['value[x]'] }, { types: ['Appointment', 'Encounter', 'Bundle'], interactions: 'crus' }],
      },
    },
  }));
});

afterAll(async () => {
  setCustomRoles({});
  await fhir.close();
});

describe('masked elements', () => {
  test('are in no representation, and each says that it is a part', async () => {
    const id = await patient();
    const visit = await askAs(fhir, admin, 'POST', 'Encounter', { body: { resourceType: 'Encounter', status: 'finished', class: { code: 'AMB' }, subject: { reference: `Patient/${id}` } } });
    const inBatch = { resourceType: 'Bundle', type: 'batch', entry: [{ request: { method: 'GET', url: `Patient/${id}` } }] };
    const answers = [
      await askAs(fhir, clerk, 'GET', `Patient/${id}`),
      await askAs(fhir, clerk, 'GET', `Patient/${id}/_history/1`),
      await askAs(fhir, clerk, 'GET', `Patient/${id}/_history`),
      await askAs(fhir, clerk, 'GET', 'Patient/_history'),
      await askAs(fhir, clerk, 'GET', '_history'),
      await askAs(fhir, clerk, 'GET', `Patient?_id=${id}`),
      await askAs(fhir, clerk, 'GET', `Patient?_id=${id}&_elements=telecom,contact`),
      await askAs(fhir, clerk, 'GET', `Patient/${id}?_summary=true`),
      await askAs(fhir, clerk, 'GET', `Encounter?_id=${visit.json['id'] as string}&_include=Encounter:subject`),
      await askAs(fhir, clerk, 'GET', `Encounter?_id=${visit.json['id'] as string}&_include=*`),
      await askAs(fhir, clerk, 'GET', `Patient?_id=${id}&_revinclude=Encounter:subject`),
      await askAs(fhir, clerk, 'GET', `Patient/${id}/$everything`),
      await askAs(fhir, clerk, 'GET', `Patient/${id}/$diff`),
      await askAs(fhir, clerk, 'GET', `Patient/${id}/*`),
      await askAs(fhir, clerk, 'POST', '', { body: inBatch }),
      await askAs(fhir, clerk, 'POST', '', { body: { ...inBatch, type: 'transaction' } }),
      await askAs(fhir, clerk, 'POST', `Patient/${id}/$meta-add`, { body: { resourceType: 'Parameters', parameter: [{ name: 'meta', valueMeta: { tag: [{ system: 'urn:x', code: 'vip' }] } }] } }),
      await askAs(fhir, clerk, 'POST', 'Patient', { body: { resourceType: 'Patient', telecom: [{ value: secret }] } }),
      await askAs(fhir, clerk, 'POST', 'Patient', { body: { resourceType: 'Patient' }, headers: { ifNoneExist: `_id=${id}` } }),
    ];
    for (const [index, { status, text }] of answers.entries()) {
      expect([index, [200, 201].includes(status), text.includes(secret)]).toEqual([index, true, false]);
      if (index !== 12) expect(text).toContain('SUBSETTED');
    }
    expect(isSubsetted(answers[0]!.json)).toBe(true);
    expect(isSubsetted(answers[7]!.json)).toBe(true);
    expect(answers[0]!.json['contact']).toEqual([{ name: { family: 'Kin' } }]);
    expect(answers[0]!.json['text']).toBeUndefined();
    // Whoever has no mask still gets all of it, and what was added meanwhile.
    const whole = (await askAs(fhir, admin, 'GET', `Patient/${id}`)).text;
    expect(whole.split(secret)).toHaveLength(5);
    expect(whole).toContain('"vip"');
    expect(whole).not.toContain('SUBSETTED');
  });

  test('are tagged whether they are there or not', async () => {
    const bare = (await askAs(fhir, admin, 'POST', 'Patient', { body: { resourceType: 'Patient' } })).json['id'] as string;
    expect(isSubsetted((await askAs(fhir, clerk, 'GET', `Patient/${bare}`)).json)).toBe(true);
  });

  test('are cut out of contained resources, of documents and of every form of a choice', async () => {
    const contained = { resourceType: 'Patient', id: 'p', telecom: [{ value: secret }] };
    const visit = await askAs(fhir, admin, 'POST', 'Encounter', { body: { resourceType: 'Encounter', status: 'finished', class: { code: 'AMB' }, extension: [{ url: 'urn:x', valueReference: { reference: '#c' } }], contained: [contained, { resourceType: 'Coverage', id: 'c', status: 'active', beneficiary: { display: secret }, payor: [{ display: 'x' }] }], subject: { reference: '#p' } } });
    expect(visit.error?.options ?? visit.status).toBe(201);
    const read = await askAs(fhir, clerk, 'GET', `Encounter/${visit.json['id'] as string}`);
    expect([read.status, read.text.includes(secret), (read.json['contained'] as unknown[]).length, isSubsetted(read.json)]).toEqual([200, false, 1, true]);
    const stored = await askAs(fhir, admin, 'POST', 'Bundle', { body: { resourceType: 'Bundle', type: 'collection', entry: [{ resource: contained }, { fullUrl: 'urn:uuid:6d3bd4f0-5bd8-4d5e-9d43-0dd8a1b2c3d4', resource: { resourceType: 'Claim', status: 'active', use: 'claim', type: { text: secret }, patient: { display: 'x' }, created: '2024-01-01', provider: { display: 'x' }, priority: { text: 'x' }, insurance: [{ sequence: 1, focal: true, coverage: { display: 'x' } }] } }] } });
    expect(stored.error?.message ?? stored.status).toBe(201);
    const bundle = await askAs(fhir, clerk, 'GET', `Bundle/${stored.json['id'] as string}`);
    expect([bundle.status, bundle.text.includes(secret), isSubsetted(bundle.json)]).toEqual([200, false, true]);
    for (const value of [{ valueString: secret }, { valueQuantity: { value: 5550147.0, unit: secret } }, { _valueString: { extension: [{ url: 'urn:x', valueString: secret }] } }]) {
      const made = await askAs(fhir, admin, 'POST', 'Observation', { body: { resourceType: 'Observation', status: 'final', code: { text: 'x' }, ...value } });
      const seen = await askAs(fhir, clerk, 'GET', `Observation/${made.json['id'] as string}`);
      expect([made.status, seen.status, seen.text.includes('5550147')]).toEqual([201, 200, false]);
    }
  });

  test('cannot be searched, chained, sorted or included by', async () => {
    const id = await patient();
    const refused = [
      `Patient?telecom=${secret}`, `Patient?phone=${secret}`, `Patient?telecom:missing=true`, `Patient?telecom:not=${secret}`, `Patient?_filter=phone eq ${secret}`, `Patient?_text=${secret}`, `Patient?_content=${secret}`, `Encounter?_content=${secret}`, `Patient?_sort=phone`,
      `Encounter?subject:Patient.phone=${secret}`, `Encounter?patient.telecom=${secret}`, `Patient?_has:Observation:patient:value-string=x`, `Observation?value-quantity=5`, `Observation?code-value-quantity=x$5`, `Observation?combo-value-quantity=5`,
      `Patient/${id}/Observation?value-string=x`, `Patient?_contained=true&phone=${secret}`,
    ];
    for (const url of refused) {
      const answer = await askAs(fhir, clerk, 'GET', url);
      expect([url, answer.status, answer.error?.options.rule?.split(':')[0]]).toEqual([url, 403, 'mask']);
    }
    for (const url of [`Patient?name=mask`, `Patient?_id=${id}&gender=female`, 'Observation?code=x', `Patient?_has:Encounter:patient:status=finished`]) expect([url, (await askAs(fhir, clerk, 'GET', url)).status]).toEqual([url, 200]);
    for (const headers of [{ ifNoneExist: `phone=${secret}` }]) expect((await askAs(fhir, clerk, 'POST', 'Patient', { body: { resourceType: 'Patient' }, headers })).status).toBe(403);
    for (const [method, body] of [['PUT', { resourceType: 'Patient' }], ['DELETE', undefined]] as const) expect((await askAs(fhir, clerk, method, `Patient?phone=${secret}`, { body })).status).toBe(403);
  });

  test('cannot be replaced; a patch of others leaves them as they are, and one of them is refused', async () => {
    const id = await patient({ multipleBirthInteger: 2, extension: [{ url: 'urn:x', valueDecimal: 1 }] });
    expect((await askAs(fhir, clerk, 'PUT', `Patient/${id}`, { body: { resourceType: 'Patient', id } })).error?.options.rule).toMatch(/^mask:/);
    expect((await askAs(fhir, clerk, 'PUT', 'Patient/another-id', { body: { resourceType: 'Patient', id: 'another-id' } })).status).toBe(403);
    const patch = async (operations: unknown, form = 'application/json-patch+json') => askAs(fhir, clerk, 'PATCH', `Patient/${id}`, { body: operations, contentType: form });
    expect((await patch([{ op: 'replace', path: '/gender', value: 'male' }])).status).toBe(200);
    const whole = (await askAs(fhir, admin, 'GET', `Patient/${id}`)).json;
    expect([whole['gender'], (whole['telecom'] as Json[])[0]?.['value'], (whole['contact'] as Json[]).length, JSON.stringify(whole).includes('SUBSETTED')]).toEqual(['male', secret, 2, false]);
    const statuses = [];
    for (const operations of [
      [{ op: 'test', path: '/telecom/0/value', value: secret }], [{ op: 'remove', path: '/telecom' }], [{ op: 'add', path: '/telecom', value: [{ value: '1' }] }],
      [{ op: 'replace', path: '/contact/0/name/family', value: 'Other' }], [{ op: 'copy', from: '/telecom', path: '/identifier' }], [{ op: 'add', path: '/text', value: { status: 'generated', div: '<div xmlns="http://www.w3.org/1999/xhtml">x</div>' } }],
    ]) statuses.push((await patch(operations)).status);
    expect(statuses.map((status) => status === 403 || status === 422 || status === 400)).toEqual(statuses.map(() => true));
    // The outcome of a patch with a condition on a hidden element does not depend on it.
    const conditional = (value: string) => ({ resourceType: 'Parameters', parameter: [{ name: 'operation', part: [{ name: 'type', valueCode: 'delete' }, { name: 'path', valueString: `Patient.where(telecom.value='${value}').gender` }] }] });
    expect((await patch(conditional(secret), 'application/fhir+json')).status).toBe((await patch(conditional('other'), 'application/fhir+json')).status);
    expect((await askAs(fhir, admin, 'GET', `Patient/${id}`)).json['gender']).toBe('male');
    const inBundle = { resourceType: 'Bundle', type: 'transaction', entry: [{ resource: { resourceType: 'Parameters', parameter: [{ name: 'operation', part: [{ name: 'type', valueCode: 'replace' }, { name: 'path', valueString: 'Patient.gender' }, { name: 'value', valueCode: 'other' }] }] }, request: { method: 'PATCH', url: `Patient/${id}` } }] };
    const done = await askAs(fhir, clerk, 'POST', '', { body: inBundle });
    expect([done.status, done.text.includes(secret)]).toEqual([200, false]);
    const after = (await askAs(fhir, admin, 'GET', `Patient/${id}`)).json;
    expect([after['gender'], (after['telecom'] as Json[])[0]?.['value'], JSON.stringify(after).includes('SUBSETTED')]).toEqual(['other', secret, false]);
  });
});
