import assert from 'node:assert/strict';
import { MedplumClient } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';

/*
 * What an app does with MedplumClient, unchanged: FHIR_BASE and FHIR_TOKEN say where and as whom, NODE_EXTRA_CA_CERTS whom to trust.
 */
const base = new URL(process.env['FHIR_BASE']!);
const medplum = new MedplumClient({ baseUrl: `${base.origin}/`, fhirUrlPath: base.pathname.slice(1), accessToken: process.env['FHIR_TOKEN']!, cacheTime: 0 });

const value = `medplum-${process.pid}`;
const system = 'urn:example:client';
const patient = await medplum.createResource<Patient>({ resourceType: 'Patient', identifier: [{ system, value }], name: [{ family: 'Plum', given: ['Ina'] }] });
assert.equal(patient.meta?.versionId, '1');
const again = await medplum.createResourceIfNoneExist({ resourceType: 'Patient' }, `identifier=${system}|${value}`);
assert.equal(again.id, patient.id);
const updated = await medplum.updateResource<Patient>({ ...patient, active: true });
assert.equal(updated.meta?.versionId, '2');
const patched = await medplum.patchResource('Patient', patient.id, [{ op: 'replace', path: '/active', value: false }]);
assert.equal(patched.active, false);
assert.equal((await medplum.readHistory('Patient', patient.id)).entry?.length, 3);
assert.equal((await medplum.readVersion('Patient', patient.id, '1')).meta?.versionId, '1');

for (let n = 0; n < 3; n++) await medplum.createResource({ resourceType: 'Observation', status: 'final', code: { text: 'x' }, subject: { reference: `Patient/${patient.id}` } });
assert.equal((await medplum.searchResources('Observation', { 'subject': `Patient/${patient.id}`, '_sort': '-_lastUpdated' })).length, 3);
assert.equal((await medplum.searchOne('Patient', { identifier: `${system}|${value}` }))?.id, patient.id);
let paged = 0;
for await (const page of medplum.searchResourcePages('Observation', { subject: `Patient/${patient.id}`, _count: 2 })) paged += page.length;
assert.equal(paged, 3);
assert.equal((await medplum.search('Observation', { 'subject:Patient.name': 'plum', '_total': 'accurate' })).total !== undefined, true);
assert.equal((await medplum.readPatientEverything(patient.id)).entry?.length, 4);

const batch = await medplum.executeBatch({ resourceType: 'Bundle', type: 'batch', entry: [{ request: { method: 'GET', url: `Patient/${patient.id}` } }, { request: { method: 'GET', url: 'Patient/c-nobody' } }] });
assert.deepEqual(batch.entry?.map(({ response }) => response?.status.slice(0, 3)), ['200', '404']);
assert.equal((await medplum.validateResource({ resourceType: 'Patient', gender: 'female' })).resourceType, 'OperationOutcome');
const binary = await medplum.createBinary({ data: 'plain words', filename: 'words.txt', contentType: 'text/plain' });
assert.equal(binary.contentType, 'text/plain');

for (const { id } of await medplum.searchResources('Observation', { subject: `Patient/${patient.id}` })) await medplum.deleteResource('Observation', id);
await medplum.deleteResource('Patient', patient.id);
await assert.rejects(medplum.readResource('Patient', patient.id));
process.stdout.write('MedplumClient: all calls as expected\n');
