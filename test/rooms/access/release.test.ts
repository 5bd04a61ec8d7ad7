import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ConsentRegistry } from '../../../server/access/consent-registry.ts';
import { GuardedRepository } from '../../../server/access/guard.ts';
import type { AccessContext } from '../../../server/access/context.ts';
import { testFhir, type TestFhir } from '../fhir/support.ts';
import { observation, patient, tenant } from '../storage/support.ts';

let fhir: TestFhir;
const permitting = (of: string, ...actions: readonly string[]) => ({
  resourceType: 'Consent', status: 'active', scope: { coding: [{ code: 'patient-privacy' }] }, category: [{ text: 'privacy' }], patient: { reference: `Patient/${of}` },
  policyRule: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'OPTOUT' }] },
  provision: { type: 'permit', action: actions.map((code) => ({ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentaction', code }] })) },
});

beforeAll(async () => {
  fhir = await testFhir();
  for (const id of ['looked-at', 'handed-on', 'silent']) {
    await fhir.on.put(patient(), id);
    await fhir.on.put(observation(id), `of-${id}`);
  }
  await fhir.on.put(permitting('looked-at', 'access'), 'one');
  await fhir.on.put(permitting('handed-on', 'access', 'disclose'), 'two');
});
afterAll(() => fhir.close());

test('what may be looked at is not released to others unless the consent permits that too', async () => {
  const consents = new ConsentRegistry({ store: fhir.on.store, values: fhir.services.values, nowMs: Date.now, otherwise: 'permit', organizations: new Map() });
  const context: AccessContext = { tenant, requestId: 'r', actor: { kind: 'client', id: 'app' }, grants: [{ type: '*', permissions: new Set(['r', 's']) }], purposeOfUse: ['TREAT'] };
  const guard = new GuardedRepository({ ...fhir.services, consents }, context);
  const versions = [];
  for (const id of ['looked-at', 'handed-on', 'silent']) versions.push(await guard.read('Observation', `of-${id}`));
  expect((await consents.limitFor(context).releasable(versions)).map(({ id }) => id)).toEqual(['of-handed-on', 'of-silent']);
});
