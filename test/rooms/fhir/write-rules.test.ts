import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { WriteRules, type WriteRuleOptions } from '../../../server/fhir/write-rules.ts';
import { grant, testFhir, type Answer, type TestFhir } from './support.ts';

let fhir: TestFhir;
const all = [grant('*', 'cruds')];
const claim = { resourceType: 'Patient', meta: { profile: ['http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient'] }, gender: 'male' };
const noContact = { resourceType: 'Patient', contact: [{ gender: 'male' }] };

beforeAll(async () => {
  fhir = await testFhir();
});
afterAll(async () => fhir.close());

async function under(rules: WriteRuleOptions | undefined, method: string, url: string, resource: unknown, headers = {}, contentType?: string): Promise<Answer> {
  (fhir.services as { rules?: WriteRules | undefined }).rules = rules === undefined ? undefined : new WriteRules(rules);
  return fhir.call(all, method, url, resource, headers, contentType);
}

const enforced: WriteRuleOptions = { profiles: 'enforce', invariants: false };

describe('profiles that a resource claims', () => {
  test('are not looked at when off, nor on the way of an ordinary write when they warn', async () => {
    for (const profiles of ['off', 'warn'] as const) expect((await under({ profiles, invariants: false }, 'POST', 'Patient', claim)).status).toBe(201);
  });

  test('warn those who prefer an OperationOutcome', async () => {
    const answer = await under({ profiles: 'warn', invariants: false }, 'POST', 'Patient', claim, { prefer: 'return=OperationOutcome' });
    expect(answer).toMatchObject({ status: 201, json: { issue: [{ severity: 'information' }, { severity: 'warning', code: 'required', expression: ['Patient'] }, { severity: 'warning' }] } });
    expect((await under({ profiles: 'off', invariants: false }, 'POST', 'Patient', claim, { prefer: 'return=OperationOutcome' })).json['issue']).toHaveLength(1);
  });

  test('refuse with all issues when they are enforced: create, update, patch, transaction', async () => {
    const created = await under(enforced, 'POST', 'Patient', claim);
    expect(created.error?.options.issues).toEqual([
      { code: 'required-missing', expression: 'Patient', detail: 'The profile requires identifier.' },
      { code: 'required-missing', expression: 'Patient', detail: 'The profile requires name.' },
    ]);
    expect(created.status).toBe(422);
    expect((await under(enforced, 'PUT', 'Patient/claiming', { ...claim, id: 'claiming' })).status).toBe(422);
    const { json } = await under(enforced, 'POST', 'Patient', { ...claim, meta: undefined });
    expect((await under(enforced, 'PATCH', `Patient/${String(json['id'])}`, [{ op: 'add', path: '/meta/profile', value: claim.meta.profile }], {}, 'application/json-patch+json')).status).toBe(422);
    const entry = [{ fullUrl: 'urn:uuid:00000000-0000-0000-0000-000000000001', resource: claim, request: { method: 'POST', url: 'Patient' } }];
    expect((await under(enforced, 'POST', '', { resourceType: 'Bundle', type: 'transaction', entry })).status).toBe(422);
    expect((await under(enforced, 'POST', 'Patient', { ...claim, identifier: [{ system: 'urn:x', value: '1' }], name: [{ family: 'Example' }] })).status).toBe(201);
  });

  test('that are not shipped are stored', async () => {
    expect((await under(enforced, 'POST', 'Patient', { ...claim, meta: { profile: ['https://example.org/other'] } })).status).toBe(201);
  });
});

test('invariants of R4 hold on writes where that is wanted', async () => {
  expect((await under(enforced, 'POST', 'Patient', noContact)).status).toBe(201);
  expect((await under({ profiles: 'off', invariants: true }, 'POST', 'Patient', noContact)).error).toMatchObject({ code: 'business-rule', options: { issues: [{ expression: 'Patient.contact[0]' }] } });
  expect((await under({ profiles: 'off', invariants: true }, 'POST', 'Patient', claim)).status).toBe(201);
});
