import assert from 'node:assert/strict';
import { Client } from 'fhir-kit-client';

/*
 * What an app does with fhir-kit-client, unchanged: FHIR_BASE and FHIR_TOKEN say where and as whom, NODE_EXTRA_CA_CERTS whom to trust.
 */
const client = new Client({ baseUrl: process.env['FHIR_BASE']!, bearerToken: process.env['FHIR_TOKEN']! });

interface Answer {
  readonly id: string;
  readonly resourceType: string;
  readonly meta: { readonly versionId: string };
  readonly active?: boolean;
  readonly total?: number;
  readonly link?: { relation: string; url: string }[];
  readonly entry?: { readonly resource?: Answer; readonly response?: { readonly status: string } }[];
  readonly [element: string]: unknown;
}
const as = (answer: unknown): Answer => answer as Answer;
const value = `kit-${process.pid}`;
const identifier = [{ system: 'urn:example:client', value }];

assert.equal(as(await client.capabilityStatement()).resourceType, 'CapabilityStatement');
const created = as(await client.create({ resourceType: 'Patient', body: { resourceType: 'Patient', identifier, name: [{ family: 'Kit' }] } }));
assert.equal(created.meta.versionId, '1');
assert.equal(as(await client.read({ resourceType: 'Patient', id: created.id })).id, created.id);
const updated = as(await client.update({ resourceType: 'Patient', id: created.id, body: { ...created, active: true } }));
assert.equal(updated.meta.versionId, '2');
const patched = as(await client.patch({ resourceType: 'Patient', id: created.id, jsonPatch: [{ op: 'replace', path: '/active', value: false }] }));
assert.equal(patched.active, false);
assert.equal(as(await client.vread({ resourceType: 'Patient', id: created.id, version: '1' })).meta.versionId, '1');
assert.equal(as(await client.history({ resourceType: 'Patient', id: created.id })).entry?.length, 3);

for (let n = 0; n < 3; n++) await client.create({ resourceType: 'Observation', body: { resourceType: 'Observation', status: 'final', code: { text: 'x' }, subject: { reference: `Patient/${created.id}` } } });
const found = as(await client.search({ resourceType: 'Patient', searchParams: { 'identifier': `urn:example:client|${value}`, '_revinclude': 'Observation:subject' } }));
assert.equal(found.total, 1);
assert.equal(found.entry?.length, 4);
const first = as(await client.compartmentSearch({ resourceType: 'Observation', compartment: { resourceType: 'Patient', id: created.id }, searchParams: { _count: 2 } }));
assert.equal(first.entry?.length, 2);
assert.equal(as(await client.nextPage({ bundle: first as never })).entry?.length, 1);

const transaction = as(await client.transaction({ body: { resourceType: 'Bundle', type: 'transaction', entry: [{ resource: { resourceType: 'Patient' }, request: { method: 'POST', url: 'Patient' } }] } }));
assert.match(transaction.entry?.[0]?.response?.status ?? '', /^201/);
const everything = as(await client.operation({ resourceType: 'Patient', id: created.id, name: 'everything', method: 'GET' }));
assert.equal(everything.entry?.length, 4);
for (const entry of found.entry ?? []) if (entry.resource?.resourceType === 'Observation') await client.delete({ resourceType: 'Observation', id: entry.resource.id });
await client.delete({ resourceType: 'Patient', id: created.id });
await assert.rejects(client.read({ resourceType: 'Patient', id: created.id }), (error: { response?: { status?: number } }) => error.response?.status === 410);
process.stdout.write('fhir-kit-client: all calls as expected\n');
