import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliCompressSync, brotliDecompressSync, deflateSync, gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import express from 'express';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { fhirRouter } from '../../../server/fhir/http.ts';
import { acceptsFhir, bodyFormatOf, formatOf } from '../../../server/fhir/negotiation.ts';
import { prettyJson } from '../../../server/fhir/pretty.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { tenant } from '../storage/support.ts';
import { grant, testFhir, type TestFhir } from './support.ts';

describe('negotiation', () => {
  test.each([
    [{}, 'json'],
    [{ accept: '' }, 'json'],
    [{ accept: '*/*' }, 'json'],
    [{ accept: 'application/fhir+xml' }, 'xml'],
    [{ accept: 'text/xml' }, 'xml'],
    [{ accept: 'application/json' }, 'json'],
    [{ accept: 'application/fhir+xml, application/fhir+json' }, 'json'],
    [{ accept: 'application/fhir+xml;q=0.9, application/fhir+json;q=0.8' }, 'xml'],
    [{ accept: 'application/fhir+json;q=0.1, */*' }, 'xml'],
    [{ accept: 'application/fhir+json;q=0, */*;q=0.2' }, 'xml'],
    [{ accept: 'text/html, */*;q=0.1' }, 'json'],
    [{ accept: 'application/fhir+json; fhirVersion=4.0' }, 'json'],
    [{ accept: 'application/fhir+xml; fhirVersion="4.0"; charset=utf-8' }, 'xml'],
    [{ accept: 'application/fhir+json; fhirVersion=3.0' }, undefined],
    [{ accept: 'application/fhir+json; fhirVersion=5.0, application/fhir+xml' }, 'xml'],
    [{ accept: 'application/fhir+turtle' }, undefined],
    [{ accept: 'application/json;q=0' }, undefined],
    [{ accept: 'application/fhir+json', format: 'xml' }, 'xml'],
    [{ accept: 'text/html', format: 'json' }, 'json'],
    [{ accept: 'application/fhir+xml', format: '' }, 'xml'],
    [{ format: 'application/fhir xml' }, 'xml'],
    [{ format: 'text/xml' }, 'xml'],
    [{ format: 'application/fhir+json;fhirVersion=4.3' }, undefined],
    [{ accept: '*/*', format: 'ttl' }, undefined],
    [{ format: 'html/json' }, undefined],
  ])('of %j is %s', (asked, format) => {
    expect(formatOf(asked)).toBe(format);
  });

  test.each([
    ['application/fhir+json', 'json'], ['application/json; charset=UTF-8', 'json'], ['Application/FHIR+XML', 'xml'], ['text/xml;charset="utf-8"', 'xml'],
    ['application/fhir+json; fhirVersion=4.0', 'json'], ['application/fhir+json; fhirVersion=3.0', undefined], ['application/fhir+json; charset=utf-16', undefined],
    ['text/plain', undefined], ['json', undefined], [undefined, undefined],
  ])('a body of %s is %s', (contentType, format) => {
    expect(bodyFormatOf(contentType)).toBe(format);
  });

  test('a Binary is meant as a resource where FHIR\'s types are asked for', () => {
    expect(['application/fhir+xml', '*/*', 'application/pdf, application/json', undefined].map(acceptsFhir)).toEqual([true, true, true, true]);
    expect(['application/pdf', 'application/xml', 'image/*', 'application/pdf, */*;q=0'].map(acceptsFhir)).toEqual([false, false, false, false]);
  });

  test('JSON is indented without a change of its digits', () => {
    const json = '{"a":1.00,"b":[],"c":{},"d":["x: {,}\\"",{"e":null}]}';
    expect(prettyJson(json)).toBe('{\n  "a": 1.00,\n  "b": [],\n  "c": {},\n  "d": [\n    "x: {,}\\"",\n    {\n      "e": null\n    }\n  ]\n}');
    expect(prettyJson(prettyJson(json))).toBe(prettyJson(json));
  });
});

let fhir: TestFhir;
let server: Server;
let port: number;

beforeAll(async () => {
  fhir = await testFhir();
  const app = express();
  app.use('/fhir', fhirRouter({
    services: fhir.services,
    authenticate: async (request, requestId) => {
      if (request.get('authorization') === undefined) throw new InterlockError('login-required');
      return { tenant, requestId, actor: { kind: 'client', id: 'app' }, grants: [grant('*', 'cruds')], purposeOfUse: [] };
    },
    recordUnauthenticated: async () => undefined,
    smartConfiguration: () => ({}),
    log: silentLog,
  }));
  server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
afterAll(async () => {
  server.close();
  await fhir.close();
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

async function call(method: string, path: string, headers: Record<string, string> = {}, body?: string | Buffer): Promise<Answer> {
  const sent = httpRequest({ port, host: '127.0.0.1', path: `/fhir/${path}`, method, headers: { Authorization: 'Bearer x', ...headers } });
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [NodeJS.ReadableStream & { statusCode: number; headers: IncomingHttpHeaders }];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(Buffer.from(chunk));
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) };
}

const xml = { 'Content-Type': 'application/fhir+xml', Accept: 'application/fhir+xml' };
const json = { 'Content-Type': 'application/fhir+json' };

describe('XML', () => {
  test('is stored digit for digit and read as JSON and XML', async () => {
    const sent = '<Observation xmlns="http://hl7.org/fhir"><status value="final"/><code><text value="x"/></code><valueQuantity><value value="1.00"/></valueQuantity></Observation>';
    const created = await call('POST', 'Observation', xml, sent);
    expect(created.status).toBe(201);
    expect(created.headers['content-type']).toBe('application/fhir+xml; charset=utf-8');
    expect(created.body.toString()).toContain('<valueQuantity><value value="1.00"/></valueQuantity>');
    const [, id = ''] = /<id value="([^"]+)"/.exec(created.body.toString())!;
    const asJson = await call('GET', `Observation/${id}`);
    expect(asJson.headers['content-type']).toBe('application/fhir+json; charset=utf-8');
    expect(asJson.body.toString()).toContain('"value":1.00');
    expect((await call('GET', `Observation/${id}?_pretty=true`)).body.toString()).toContain('\n  "valueQuantity": {\n    "value": 1.00\n  }');
    expect((await call('GET', `Observation/${id}?_format=xml`)).body.toString()).toBe(created.body.toString());
    const found = await call('POST', 'Observation/_search', { 'Content-Type': 'application/x-www-form-urlencoded' }, `_id=${id}&_format=xml&_pretty=true`);
    expect(found.body.toString()).toContain('\n  <total value="1"/>');
    const head = await call('HEAD', `Observation/${id}`, { Accept: 'application/fhir+xml' });
    expect(head.body).toHaveLength(0);
    expect(head.headers['content-length']).toBe(String(created.body.length));
  });

  test('of a transaction', async () => {
    const bundle = '<Bundle xmlns="http://hl7.org/fhir"><type value="transaction"/><entry><resource><Patient><active value="true"/></Patient></resource><request><method value="POST"/><url value="Patient"/></request></entry></Bundle>';
    const answer = await call('POST', '', xml, bundle);
    expect(answer.status).toBe(200);
    expect(answer.body.toString()).toContain('<status value="201"/>');
  });

  test('that is not well-formed or declares entities is refused, in XML', async () => {
    for (const content of ['<Patient', '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Patient xmlns="http://hl7.org/fhir"><id value="&x;"/></Patient>']) {
      const answer = await call('POST', 'Patient', xml, content);
      expect(answer.status).toBe(400);
      expect(answer.body.toString()).toMatch(/^<\?xml[^>]*>\n<OperationOutcome xmlns="http:\/\/hl7.org\/fhir"><issue><severity value="error"\/><code value="structure"\/>/);
    }
  });
});

describe('errors', () => {
  test('come in the negotiated format', async () => {
    const stranger = httpRequest({ port, host: '127.0.0.1', path: '/fhir/Patient/1', headers: { Accept: 'application/fhir+xml' } }).end();
    const [response] = (await once(stranger, 'response')) as [NodeJS.ReadableStream & { statusCode: number; headers: IncomingHttpHeaders }];
    expect([response.statusCode, response.headers['content-type'], response.headers['www-authenticate']]).toEqual([401, 'application/fhir+xml; charset=utf-8', 'Bearer']);
    for (const [method, path, status] of [['GET', 'Patient/unknown?_format=xml', 404], ['GET', 'nothing/here/at/all?_format=xml', 404], ['GET', 'Patient?_count=x&_format=xml', 400], ['DELETE', 'metadata?_format=xml', 405]] as const) {
      const answer = await call(method, path);
      expect([path, answer.status, answer.headers['content-type']]).toEqual([path, status, 'application/fhir+xml; charset=utf-8']);
      expect(answer.body.toString()).toContain('<OperationOutcome');
    }
    expect((await call('DELETE', 'metadata')).headers['allow']).toBe('GET, HEAD');
  });

  test('of formats are 406 and 415, as JSON', async () => {
    for (const [method, path, headers, status] of [
      ['GET', 'Patient', { Accept: 'text/html' }, 406], ['GET', 'Patient?_format=ttl', {}, 406], ['GET', 'metadata', { Accept: 'application/fhir+json; fhirVersion=3.0' }, 406],
      ['POST', 'Patient', { 'Content-Type': 'text/plain' }, 415], ['POST', 'Patient', { 'Content-Type': 'application/fhir+json; fhirVersion=5.0' }, 415], ['POST', 'Patient/_search', json, 415],
    ] as const) {
      const answer = await call(method, path, headers, method === 'POST' ? '{}' : undefined);
      expect([path, answer.status, answer.headers['content-type']]).toEqual([path, status, 'application/fhir+json; charset=utf-8']);
      expect((JSON.parse(answer.body.toString()) as { resourceType: string }).resourceType).toBe('OperationOutcome');
    }
  });
});

describe('compression', () => {
  const patient = { resourceType: 'Patient', name: Array.from({ length: 100 }, (_, index) => ({ family: `Family ${index}` })) };

  test.each([['gzip', gzipSync], ['deflate', deflateSync], ['br', brotliCompressSync]] as const)('of bodies by %s', async (encoding, pack) => {
    const answer = await call('POST', 'Patient', { ...json, 'Content-Encoding': encoding }, pack(JSON.stringify(patient)));
    expect(answer.status).toBe(201);
  });

  test('of answers only where asked for and worth it', async () => {
    const created = await call('POST', 'Patient', json, JSON.stringify(patient));
    const path = `Patient/${(JSON.parse(created.body.toString()) as { id: string }).id}`;
    const plain = await call('GET', path);
    expect(plain.headers['content-encoding']).toBeUndefined();
    expect(plain.headers['vary']).toBe('Accept, Accept-Encoding');
    for (const [encoding, unpack] of [['gzip', gunzipSync], ['br', brotliDecompressSync]] as const) {
      const answer = await call('GET', path, { 'Accept-Encoding': `${encoding}, identity;q=0.5` });
      expect(answer.headers['content-encoding']).toBe(encoding);
      expect(answer.body.length).toBeLessThan(plain.body.length / 2);
      expect(unpack(answer.body).equals(plain.body)).toBe(true);
    }
    expect((await call('GET', path, { 'Accept-Encoding': 'identity' })).headers['content-encoding']).toBeUndefined();
    expect((await call('GET', 'Patient/unknown', { 'Accept-Encoding': 'gzip' })).headers['content-encoding']).toBeUndefined();
  });
});
