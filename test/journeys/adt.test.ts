import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { HttpClient } from '../../server/demo/http-client.ts';
import { MllpSender } from '../../server/demo/mllp-sender.ts';
import { backendCaller, type Bundle, type FhirCaller, type Json } from '../support/fhir.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

/*
 * What a hospital's messages do to the record over a stay: each test sends real messages over mutual TLS and looks at
 * the record through the FHIR API.
 */

let server: TestServer;
let http: HttpClient;
let record: FhirCaller;
let sender: MllpSender;
let sent = 0;

beforeAll(async () => {
  server = await startTestServer();
  http = new HttpClient({ ca: server.ca });
  record = await backendCaller(server, http, 'system/*.rs');
  const out = join(server.directory, 'partner');
  await server.cliJson(['partner', 'add', '--name', 'Ward', '--baa-expires', '2099-12-31']);
  await server.cliJson(['partner', 'issue-cert', 'Ward', '--out', out]);
  sender = await MllpSender.connect({ host: '127.0.0.1', port: server.mllpPort, ca: server.ca, cert: readFileSync(join(out, 'client.crt'), 'utf8'), key: readFileSync(join(out, 'client.key'), 'utf8') });
}, 120_000);

afterAll(async () => {
  sender.close();
  http.close();
  await server.remove();
});

const system = 'urn:oid:2.16.840.1.113883.19.5';

function adt(trigger: string, at: string, segments: readonly string[]): string {
  sent += 1;
  return [`MSH|^~\\&|ADT|WARD|X|Y|${at}||ADT^${trigger}|C${sent}|P|2.5.1`, `EVN|${trigger}|${at}`, ...segments, ''].join('\r');
}

const pid = (mrn: string, name: string, more = ''): string => `PID|1||${mrn}^^^W&2.16.840.1.113883.19.5&ISO^MR||${name}||19700101|F${more}`;
const pv1 = (visit: string, location: string): string => `PV1|1|I|${location}||||||||||||||||${visit}^^^W&2.16.840.1.113883.19.5&ISO^VN`;

/** Sends a message and waits until it is in the record. @returns MSA-1 */
async function send(message: string): Promise<string> {
  const ack = await sender.send(message);
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const [channel] = await server.cliJson<{ counts: { received: number; mapped: number } }[]>(['channel', 'status', 'hl7v2']);
    if (channel!.counts.received + channel!.counts.mapped === 0) break;
  }
  return /MSA\|([A-Z]{2})/.exec(ack)?.[1] ?? ack;
}

async function one(query: string): Promise<Json> {
  const { entry = [] } = await record.get<Bundle>(query);
  expect([query, entry.length]).toEqual([query, 1]);
  return entry[0]!.resource!;
}

test('a stay: admitted, moved, discharged, discharge cancelled; a cancelled admission', async () => {
  expect(await send(adt('A01', '20240101080000', [pid('S1', 'Roe^Jane'), pv1('V1', 'A^1^1')]))).toBe('AA');
  const patient = await one(`Patient?identifier=${system}|S1`);
  const encounter = async (): Promise<Json> => one(`Encounter?patient=${patient.id}`);
  expect(await encounter()).toMatchObject({ status: 'in-progress', class: { code: 'IMP' }, subject: { reference: `Patient/${patient.id}` } });
  await send(adt('A02', '20240101120000', [pid('S1', 'Roe^Jane'), pv1('V1', 'B^2^2')]));
  expect((await encounter())['location']).toHaveLength(2);
  await send(adt('A03', '20240102090000', [pid('S1', 'Roe^Jane'), `${pv1('V1', 'B^2^2')}${'|'.repeat(26)}20240102090000`]));
  expect(await encounter()).toMatchObject({ status: 'finished', class: { code: 'IMP' } });
  await send(adt('A13', '20240102100000', [pid('S1', 'Roe^Jane'), pv1('V1', 'B^2^2')]));
  expect(await encounter()).toMatchObject({ status: 'in-progress' });
  expect(JSON.stringify((await encounter())['period'] ?? {})).not.toContain('end');
  await send(adt('A11', '20240102110000', [pid('S1', 'Roe^Jane'), pv1('V1', 'B^2^2')]));
  expect(await encounter()).toMatchObject({ status: 'cancelled' });
}, 60_000);

test('"" deletes, nothing leaves, and an older message does not overwrite a newer one', async () => {
  await send(adt('A28', '20240201080000', [pid('S2', 'Doe^Ann', '|||1 Road^^Town^MA^01001||5551234')]));
  await send(adt('A31', '20240201100000', [pid('S2', 'Doe^Anna', '|||""')]));
  const patient = await one(`Patient?identifier=${system}|S2`);
  expect(patient['address']).toBeUndefined();
  expect(patient['telecom']).toBeDefined();
  expect(patient['name']).toMatchObject([{ given: ['Anna'] }]);
  await send(adt('A08', '20240201090000', [pid('S2', 'Older^News')]));
  expect((await one(`Patient?identifier=${system}|S2`))['name']).toMatchObject([{ family: 'Doe' }]);
}, 60_000);

test('a merge: one record lives on, what belonged to the other moves, and messages under the old number follow', async () => {
  await send(adt('A01', '20240301080000', [pid('S3', 'Poe^Old'), pv1('V3', 'A^1^1')]));
  await send(adt('A28', '20240301090000', [pid('S4', 'Poe^New')]));
  const [retired, survivor] = [await one(`Patient?identifier=${system}|S3`), await one(`Patient?identifier=${system}|S4`)];
  const merge = adt('A40', '20240301100000', [pid('S4', 'Poe^New'), 'MRG|S3^^^W&2.16.840.1.113883.19.5&ISO^MR']);
  expect(await send(merge)).toBe('AA');
  expect(await record.get(`Patient/${retired.id}`)).toMatchObject({ active: false, link: [{ type: 'replaced-by', other: { reference: `Patient/${survivor.id}` } }] });
  expect(await record.ids(`Encounter?patient=${survivor.id}`)).toHaveLength(1);
  expect(await record.ids(`Encounter?patient=${retired.id}`)).toEqual([]);
  await send(adt('A08', '20240301110000', [pid('S3', 'Poe^Renamed')]));
  expect((await record.get(`Patient/${survivor.id}`))['name']).toMatchObject([{ given: ['Renamed'] }]);
  const before = (await record.get(`Patient/${survivor.id}`))['meta'];
  await sender.send(merge);
  expect((await record.get(`Patient/${survivor.id}`))['meta']).toEqual(before);
}, 60_000);

test('a medication order is placed and discontinued; what is not understood is refused and kept for triage', async () => {
  const order = (control: string, at: string): string => {
    sent += 1;
    return [`MSH|^~\\&|CPOE|WARD|X|Y|${at}||RDE^O11^RDE_O11|C${sent}|P|2.5.1`, pid('S5', 'Moe^Max'), `ORC|${control}|P77^CPOE`, `RXE|^^^${at}|860975^Metformin 500 MG^RXNORM|500||mg|TAB`, ''].join('\r');
  };
  expect(await send(order('NW', '20240401080000'))).toBe('AA');
  const patient = await one(`Patient?identifier=${system}|S5`);
  expect(await one(`MedicationRequest?patient=${patient.id}`)).toMatchObject({ status: 'active', intent: 'order' });
  await send(order('DC', '20240401090000'));
  expect(await one(`MedicationRequest?patient=${patient.id}`)).toMatchObject({ status: 'stopped' });
  sent += 1;
  const unsupported = await sender.send([`MSH|^~\\&|S|WARD|X|Y|20240401||SIU^S12|C${sent}|P|2.5.1`, 'SCH|1', ''].join('\r'));
  expect(unsupported).toMatch(/MSA\|A[RE]\|C\d+/);
  expect(unsupported).toContain('\rERR|');
  const dead = await server.cliJson<{ messageId: string; messageType: string }[]>(['channel', 'dead-letters', 'hl7v2']);
  expect(dead.map(({ messageType }) => messageType)).toContain('SIU^S12');
  expect((await server.cli(['channel', 'show', dead[0]!.messageId])).stdout).toContain('SIU^S12');
}, 60_000);

test('every write has a Provenance that leads to the sealed message', async () => {
  const patient = await one(`Patient?identifier=${system}|S1`);
  const { entry = [] } = await record.get<Bundle>(`Provenance?target=Patient/${patient.id}&_count=50`);
  expect(entry.length).toBeGreaterThan(0);
  const source = (entry[0]!.resource as unknown as { entity: { what: { reference: string } }[] }).entity[0]!.what.reference;
  const binary = await record.get<Json & { data: string }>(source);
  expect(Buffer.from(binary.data, 'base64').toString()).toContain('ADT^A01');
});
