import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import sharp from 'sharp';
import { HttpClient, type HttpAnswer } from '../../server/demo/http-client.ts';
import { backendKey, backendToken } from '../../server/demo/smart-client.ts';
import { multiPageTiff, pdfFax, tiffBomb, tiffFax, withOpenAction } from '../support/faxes.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

type Json = Record<string, unknown>;

let server: TestServer;
let partner: HttpClient;
let faxOnly: HttpClient;
let stranger: HttpClient;
let api: HttpClient;
let token = '';

const fixture = (name: string): string => readFileSync(new URL(`../fixtures/script/${name}.xml`, import.meta.url), 'utf8');
const xml = { 'Content-Type': 'application/xml' };

async function addPartner(name: string, channels: readonly string[]): Promise<{ client: HttpClient; serial: string }> {
  await server.cliJson(['partner', 'add', '--name', name, '--baa-expires', '2099-12-31', ...channels.flatMap((id) => ['--channel', id])]);
  const out = join(server.directory, name);
  const { serial } = await server.cliJson<{ serial: string }>(['partner', 'issue-cert', name, '--out', out]);
  const read = (file: string): string => readFileSync(join(out, file), 'utf8');
  return { client: new HttpClient({ ca: read('ca.crt'), cert: read('client.crt'), key: read('client.key') }), serial };
}

const post = async (client: HttpClient, channel: string, body: string | Buffer, headers: Record<string, string>): Promise<HttpAnswer> =>
  await client.call(`${server.baseUrl}/channels/${channel}`, { method: 'POST', headers, body });

async function search(query: string): Promise<Json[]> {
  const answer = await api.call(`${server.fhirUrl}/${query}`, { headers: { Authorization: `Bearer ${token}` } });
  expect(answer.status).toBe(200);
  return ((answer.json() as { entry?: { resource: Json }[] }).entry ?? []).map(({ resource }) => resource);
}

/** Searches until there is what is looked for: messages are stored after they were acknowledged. */
async function found(query: string, isThere: (resources: Json[]) => boolean = ({ length }) => length > 0): Promise<Json[]> {
  for (const endMs = Date.now() + 15_000; ;) {
    const resources = await search(query);
    if (isThere(resources)) return resources;
    if (Date.now() > endMs) throw new Error(`Nothing came of it within 15 s: ${query.split('?')[0] ?? ''}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const order = (number: string): string => `MedicationRequest?identifier=${encodeURIComponent(`urn:interlock:unqualified:script:D:6301875277001:order|${number}`)}`;
const element = (answer: HttpAnswer, name: string): string => new RegExp(`<${name}[^>]*>([^<]*)</${name}>`).exec(answer.body.toString())?.[1] ?? '';

beforeAll(async () => {
  server = await startTestServer();
  partner = (await addPartner('clinic', ['fax', 'script'])).client;
  faxOnly = (await addPartner('faxline', ['fax'])).client;
  stranger = new HttpClient({ ca: server.ca });
  api = new HttpClient({ ca: server.ca });
  const key = await backendKey();
  const jwks = join(server.directory, 'jwks.json');
  writeFileSync(jwks, JSON.stringify(key.jwks));
  const { client_id: clientId } = await server.cliJson<{ client_id: string }>(['client', 'add', '--name', 'Reader', '--jwks', jwks, '--scope', 'system/*.rs']);
  token = (await backendToken(api, `${server.baseUrl}/oauth2/token`, clientId, key, 'system/*.rs')).access_token;
}, 120_000);

afterAll(async () => {
  for (const client of [partner, faxOnly, stranger, api]) client.close();
  await server.remove();
}, 30_000);

describe('prescriptions by NCPDP SCRIPT', () => {
  test('NewRx becomes a MedicationRequest with patient, prescriber, pharmacy and its source', async () => {
    const answer = await post(partner, 'script', fixture('new-rx'), xml);
    expect([answer.status, element(answer, 'Code'), element(answer, 'RelatesToMessageID'), element(answer, 'To'), element(answer, 'From')]).toEqual([200, '010', 'a1b2c3d4e5f60001', '6301875277001', '7701630']);
    expect(answer.headers['content-type']).toMatch(/^application\/xml/);
    const [request] = await found(`${order('RX-900-17')}&_include=MedicationRequest:subject`);
    expect(request).toMatchObject({ status: 'active', intent: 'order', authoredOn: '2026-03-02', requester: { display: 'Ada Muster MD' } });
    const included = await search(`${order('RX-900-17')}&_include=MedicationRequest:subject&_include=MedicationRequest:requester&_revinclude=Provenance:target`);
    expect(included.map(({ resourceType }) => resourceType).sort()).toEqual(['MedicationRequest', 'Patient', 'Practitioner', 'Provenance']);
    const provenance = included.find(({ resourceType }) => resourceType === 'Provenance') as { entity: { what: { reference: string } }[] };
    const source = await api.call(`${server.fhirUrl}/${provenance.entity[0]!.what.reference}`, { headers: { Authorization: `Bearer ${token}`, Accept: 'application/fhir+json' } });
    expect(source.json()).toMatchObject({ resourceType: 'Binary', contentType: 'application/xml', data: Buffer.from(fixture('new-rx')).toString('base64') });
  });

  test('the same message again gets the same answer and has no second effect', async () => {
    const [first, second] = [await post(partner, 'script', fixture('new-rx'), xml), await post(partner, 'script', fixture('new-rx'), xml)];
    expect(second.body.equals(first.body)).toBe(true);
    const [request, ...others] = await found(order('RX-900-17'));
    expect([others.length, (request!.meta as Json).versionId]).toEqual([0, '1']);
  });

  test('CancelRx cancels the prescription that it names', async () => {
    expect((await post(partner, 'script', fixture('cancel-rx'), xml)).status).toBe(200);
    const [request] = await found(order('RX-900-17'), ([one]) => one?.status === 'cancelled');
    expect(request).toMatchObject({ intent: 'order', medicationCodeableConcept: { text: 'Lisinopril 10 mg oral tablet' } });
  });

  test('a cancel of what is not on record invents nothing', async () => {
    const unknown = fixture('cancel-rx').replace('a1b2c3d4e5f60002', 'c-unknown').replace('a1b2c3d4e5f60001', 'never-came').replace('RX-900-17', 'RX-NOWHERE');
    expect((await post(partner, 'script', unknown, xml)).status).toBe(200);
    for (;;) {
      const [status] = await server.cliJson<{ counts: { received: number; mapped: number } }[]>(['channel', 'status', 'script']);
      if (status!.counts.received + status!.counts.mapped === 0) break;
    }
    expect(await search(order('RX-NOWHERE'))).toEqual([]);
  });

  test('version 10.6 is understood', async () => {
    expect((await post(partner, 'script', fixture('new-rx-10-6'), xml)).status).toBe(200);
    const [request] = await found(`MedicationRequest?identifier=${encodeURIComponent('urn:interlock:unqualified:script:D:6301875277001:message|old-0001')}`);
    expect(request).toMatchObject({ dosageInstruction: [{ text: '1 capsule twice daily' }], dispenseRequest: { quantity: { value: 20.5 }, numberOfRepeatsAllowed: 1 } });
  });

  test.each<[string, string | Buffer, number, string, string]>([
    ['nothing', '', 400, '900', ''],
    ['no XML', 'MSH|^~\\&|', 400, '900', ''],
    ['XML that breaks off', fixture('new-rx').slice(0, 900), 400, '900', 'a1b2c3d4e5f60001'],
    ['an external entity', fixture('new-rx').replace('<Message', '<!DOCTYPE Message [<!ENTITY x SYSTEM "file:///etc/passwd">]><Message').replace('Sample EHR', '&x;'), 400, '900', 'a1b2c3d4e5f60001'],
    ['another transaction', fixture('new-rx').replaceAll('NewRx>', 'RxRenewalRequest>'), 422, '601', 'a1b2c3d4e5f60001'],
    ['a prescription without directions', fixture('new-rx').replace(/<Sig>.*<\/Sig>/, ''), 422, '900', 'a1b2c3d4e5f60001'],
    ['more than the channel takes', Buffer.concat([Buffer.from(fixture('new-rx')), Buffer.alloc(2_000_000, 0x20)]), 413, '900', 'a1b2c3d4e5f60001'],
  ])('refuses %s', async (_what, body, status, code, relatesTo) => {
    const answer = await post(partner, 'script', body, xml);
    expect([answer.status, element(answer, 'Code'), element(answer, 'RelatesToMessageID')]).toEqual([status, code, relatesTo]);
    expect(answer.body.toString()).toContain('<Error>');
    // Nothing but the header comes back.
    expect(answer.body.toString()).not.toMatch(/Specimen|Lisinopril|root:/);
  });

  test('refuses another content type, compression and other methods', async () => {
    expect((await post(partner, 'script', fixture('new-rx'), { 'Content-Type': 'application/json' })).status).toBe(415);
    const compressed = await post(partner, 'script', fixture('new-rx'), { ...xml, 'Content-Encoding': 'gzip' });
    expect(compressed.status).toBe(415);
    expect(await server.cliJson(['audit', 'query', '--request', String(compressed.headers['x-request-id'])])).toMatchObject([{ event: expect.stringContaining('message-refused') as unknown }]);
    expect((await partner.call(`${server.baseUrl}/channels/script`)).status).toBe(405);
  });
});

describe('faxes', () => {
  test.each<[string, () => Promise<Buffer>, string, string]>([
    ['a TIFF with pages of different sizes', async () => await multiPageTiff([1100, 2200, 900]), 'image/tiff', 'Fax, 3 pages'],
    ['a PDF', async () => await pdfFax(2), 'application/pdf', 'Fax, 2 pages'],
  ])('%s becomes a DocumentReference to the Binary that holds it', async (_what, make, contentType, description) => {
    const fax = await make();
    const answer = await post(partner, 'fax', fax, { 'Content-Type': contentType, 'X-Message-Id': `fax-${contentType}` });
    expect([answer.status, answer.json()]).toEqual([202, { messageId: answer.headers['x-request-id'], status: 'accepted' }]);
    const [document] = await found(`DocumentReference?identifier=${encodeURIComponent(`fax-${contentType}`)}`);
    expect(document).toMatchObject({ status: 'current', description, content: [{ attachment: { contentType, size: fax.length } }] });
    expect(document).not.toHaveProperty('subject');
    const { url } = (document as { content: { attachment: { url: string } }[] }).content[0]!.attachment;
    const binary = await api.call(`${server.fhirUrl}/${url}`, { headers: { Authorization: `Bearer ${token}`, Accept: 'application/fhir+json' } });
    expect(binary.json()).toMatchObject({ resourceType: 'Binary', contentType, data: fax.toString('base64') });
    const [provenance] = await search(`Provenance?target=DocumentReference/${String(document!.id)}`);
    expect(provenance).toMatchObject({ entity: [{ what: { reference: url } }] });
  });

  test('the largest fax that is taken can be stored', async () => {
    const noise = randomBytes(2500 * 2990);
    const fax = await sharp(noise, { raw: { width: 2500, height: 2990, channels: 1 } }).toColourspace('b-w').tiff({ compression: 'none' }).toBuffer();
    expect(fax.length).toBeGreaterThan(7_400_000);
    expect((await post(partner, 'fax', fax, { 'Content-Type': 'image/tiff', 'X-Message-Id': 'largest' })).status).toBe(202);
    const [document] = await found('DocumentReference?identifier=largest');
    expect(document).toMatchObject({ content: [{ attachment: { size: fax.length } }] });
  });

  test('the same fax again gets the same answer and is stored once', async () => {
    const fax = await tiffFax(800, 500);
    const [first, second] = [await post(faxOnly, 'fax', fax, { 'Content-Type': 'image/tiff' }), await post(faxOnly, 'fax', fax, { 'Content-Type': 'image/tiff' })];
    expect([second.status, second.body.equals(first.body)]).toEqual([202, true]);
    await found('DocumentReference?_count=50', (all) => all.some(({ content }) => (content as { attachment: { size: number } }[])[0]!.attachment.size === fax.length));
    expect((await search('DocumentReference?_count=50')).filter(({ content }) => (content as { attachment: { size: number } }[])[0]!.attachment.size === fax.length)).toHaveLength(1);
  });

  test.each<[string, () => Promise<Buffer> | Buffer, string, number]>([
    ['nothing', () => Buffer.alloc(0), 'image/tiff', 400],
    ['a TIFF that breaks off', async () => (await tiffFax()).subarray(0, 400), 'image/tiff', 400],
    ['a TIFF that asks for far too many pixels', tiffBomb, 'image/tiff', 422],
    ['a PDF that breaks off', async () => (await pdfFax()).subarray(0, 500), 'application/pdf', 400],
    ['a PDF with a script', async () => await pdfFax(1, withOpenAction('JavaScript')), 'application/pdf', 422],
    ['a PDF that calls itself TIFF', async () => await pdfFax(), 'image/tiff', 415],
    ['something else', () => Buffer.from('GIF89a'), 'image/gif', 415],
    ['more than the channel takes', () => Buffer.alloc(9_000_000, 0x20), 'image/tiff', 413],
  ])('refuses %s', async (_what, make, contentType, status) => {
    const answer = await post(partner, 'fax', await make(), { 'Content-Type': contentType });
    expect([answer.status, answer.json()]).toMatchObject([status, { status: 'refused' }]);
  });
});

describe('who may come in', () => {
  test('without a certificate: 401 in the form of the channel', async () => {
    const [script, fax] = [await post(stranger, 'script', fixture('new-rx'), xml), await post(stranger, 'fax', await tiffFax(), { 'Content-Type': 'image/tiff' })];
    expect([script.status, element(script, 'Code'), element(script, 'RelatesToMessageID')]).toEqual([401, '900', '']);
    expect([fax.status, fax.json()]).toMatchObject([401, { status: 'refused', code: 'certificate-required' }]);
  });

  test('a partner of another channel: 403', async () => {
    expect((await post(faxOnly, 'script', fixture('new-rx'), xml)).status).toBe(403);
  });

  test('a revoked certificate is refused at once, on open connections too', async () => {
    const { client, serial } = await addPartner('former', ['fax']);
    expect((await post(client, 'fax', await tiffFax(400, 300), { 'Content-Type': 'image/tiff' })).status).toBe(202);
    await server.cliJson(['partner', 'revoke-cert', 'former', serial]);
    const answer = await post(client, 'fax', await tiffFax(400, 301), { 'Content-Type': 'image/tiff' }).catch(() => undefined);
    expect([undefined, 401, 403]).toContain(answer?.status);
    client.close();
  });

  test('a body that stops halfway keeps nobody and leaves no message', async () => {
    const out = join(server.directory, 'clinic');
    await expect(new Promise((resolve, reject) => {
      const sent = httpsRequest(`${server.baseUrl}/channels/fax`, { method: 'POST', ca: server.ca, cert: readFileSync(join(out, 'client.crt')), key: readFileSync(join(out, 'client.key')), headers: { 'Content-Type': 'image/tiff', 'Content-Length': '5000' } }, resolve);
      sent.on('error', reject);
      sent.write(Buffer.alloc(100));
      setTimeout(() => sent.destroy(new Error('gone')), 200);
    })).rejects.toThrow('gone');
    expect((await post(partner, 'fax', await tiffFax(500, 400), { 'Content-Type': 'image/tiff' })).status).toBe(202);
  });

  test('every refusal and every message is in the audit trail', async () => {
    const rows = await server.cliJson<{ event: string; agent: string }[]>(['audit', 'query', '--limit', '1000']);
    const events = rows.map((row) => JSON.stringify(row)).join('\n');
    for (const event of ['message-received', 'message-repeated', 'message-refused', 'connection-refused']) expect(events).toContain(event);
    expect(events).not.toMatch(/Specimen|Lisinopril/);
  });
});

describe('the command line', () => {
  test('sends a file as if a partner had', async () => {
    const file = join(server.directory, 'page.tif');
    writeFileSync(file, await tiffFax(640, 480));
    expect(await server.cliJson(['channel', 'send', file, '--channel', 'fax'])).toMatchObject([{ kind: 'accepted' }]);
    const prescription = join(server.directory, 'rx.xml');
    writeFileSync(prescription, fixture('new-rx').replace('a1b2c3d4e5f60001', 'by-hand').replace('RX-900-17', 'RX-HAND'));
    expect(await server.cliJson(['channel', 'send', prescription, '--channel', 'script'])).toMatchObject([{ kind: 'accepted' }]);
    await found(order('RX-HAND'));
    const dead = await Promise.all(['fax', 'script'].map(async (id) => (await server.cliJson<{ acknowledged: string }[]>(['channel', 'dead-letters', id])).filter(({ acknowledged }) => acknowledged === 'accepted')));
    expect(dead).toEqual([[], []]);
  });
});
