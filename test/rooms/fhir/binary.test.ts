import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Secret } from 'otpauth';
import { HttpClient } from '../../../server/demo/http-client.ts';
import { launchApp } from '../../../server/demo/smart-client.ts';
import { Backend, smartEndpoints } from '../../support/callers.ts';
import type { Bundle } from '../../support/fhir.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

let server: TestServer;
let http: HttpClient;
let backend: Backend;
let agent: Agent;

beforeAll(async () => {
  server = await startTestServer({ INTERLOCK_MAX_BINARY_SIZE_BYTES: '70000000' });
  http = new HttpClient({ ca: server.ca });
  agent = new Agent({ ca: server.ca, keepAlive: true });
  backend = await Backend.register(server, 'system/*.cruds');
}, 120_000);

afterAll(async () => {
  agent.destroy();
  backend.close();
  http.close();
  await server.remove();
});

interface Answer { readonly status: number; readonly headers: IncomingMessage['headers']; readonly body: Buffer; json(): Record<string, unknown> & { id: string } }

async function call(method: string, path: string, headers: Record<string, string> = {}, body?: Buffer, token?: string): Promise<Answer> {
  const authorization = `Bearer ${token ?? (await backend.token())}`;
  return new Promise((resolve, reject) => {
    const sent = request(`${server.fhirUrl}/${path}`, { method, agent, headers: { Authorization: authorization, ...headers } }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const whole = Buffer.concat(parts);
        resolve({ status: response.statusCode!, headers: response.headers, body: whole, json: () => JSON.parse(whole.toString()) as Answer['json'] extends () => infer T ? T : never });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const upload = async (bytes: Buffer, headers: Record<string, string> = {}, path = 'Binary', method = 'POST'): Promise<Answer> => call(method, path, { 'Content-Type': 'application/pdf', ...headers }, bytes);
const codeOf = (answer: Answer): string => (answer.json() as unknown as { issue: { details: { coding: { code: string }[] } }[] }).issue[0]!.details.coding[0]!.code;
const large = randomBytes(3_000_017);

describe.each([['small', randomBytes(1_000)], ['large', large], ['empty', Buffer.alloc(0)]])('A %s Binary in its own format', (_size, bytes) => {
  test('comes back as it was: by its own type, as anything, and as JSON', async () => {
    const created = await upload(bytes);
    expect([created.status, created.headers['etag']]).toEqual([201, 'W/"1"']);
    const { id: open } = created.json();
    expect(created.headers['location']).toBe(`${server.fhirUrl}/Binary/${open}/_history/1`);
    for (const accept of ['application/pdf', '*/*', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8']) {
      const read = await call('GET', `Binary/${open}`, { Accept: accept });
      expect([read.status, read.headers['content-type'], read.headers['content-length'], read.headers['content-disposition'], read.headers['x-content-type-options'], read.headers['accept-ranges'], read.headers['etag']]).toEqual([200, 'application/pdf', String(bytes.length), 'attachment', 'nosniff', 'bytes', '"1"']);
      expect(read.body.equals(bytes)).toBe(true);
    }
    const head = await call('HEAD', `Binary/${open}`, { Accept: 'application/pdf' });
    expect([head.status, head.headers['content-length'], head.body.length]).toEqual([200, String(bytes.length), 0]);
    const json = await call('GET', `Binary/${open}`, { Accept: 'application/fhir+json' });
    expect(json.status).toBe(200);
    expect(json.json()).toEqual({ resourceType: 'Binary', id: open, contentType: 'application/pdf', ...(bytes.length === 0 ? {} : { data: bytes.toString('base64') }), meta: { versionId: '1', lastUpdated: expect.stringMatching(/Z$/) as unknown as string } });
    expect((await call('GET', `Binary/${open}`, { Accept: 'image/png' })).status).toBe(406);
  });

  test('has versions, each with its content', async () => {
    const { id } = (await upload(bytes)).json();
    const second = Buffer.concat([bytes, Buffer.from('more')]);
    expect((await upload(second, { 'If-Match': 'W/"7"' }, `Binary/${id}`, 'PUT')).status).toBe(412);
    const updated = await upload(second, { 'Content-Type': 'text/plain; charset=utf-8', 'If-Match': 'W/"1"' }, `Binary/${id}`, 'PUT');
    expect([updated.status, updated.headers['etag']]).toEqual([200, 'W/"2"']);
    expect((await call('DELETE', `Binary/${id}`)).status).toBe(204);
    expect((await call('GET', `Binary/${id}`, { Accept: '*/*' })).status).toBe(410);
    expect((await call('GET', `Binary/${id}/_history/1`, { Accept: '*/*' })).body.equals(bytes)).toBe(true);
    const current = await call('GET', `Binary/${id}/_history/2`, { Accept: 'text/*' });
    expect(current.headers['content-type']).toBe('text/plain; charset=utf-8');
    expect(current.body.equals(second)).toBe(true);
  });

  test('is given in parts', async () => {
    const { id } = (await upload(bytes)).json();
    const part = async (range: string, more: Record<string, string> = {}): Promise<Answer> => call('GET', `Binary/${id}`, { Accept: '*/*', Range: range, ...more });
    if (bytes.length > 0) {
      for (const [range, from, to] of [['bytes=0-0', 0, 1], ['bytes=10-99', 10, 100], ['bytes=-17', bytes.length - 17, bytes.length], [`bytes=${bytes.length - 1}-`, bytes.length - 1, bytes.length], ['bytes=500-99999999', 500, bytes.length]] as const) {
        const answer = await part(range);
        expect([answer.status, answer.headers['content-range'], answer.headers['content-length']]).toEqual([206, `bytes ${from}-${to - 1}/${bytes.length}`, String(to - from)]);
        expect(answer.body.equals(bytes.subarray(from, to))).toBe(true);
      }
    }
    for (const range of [`bytes=${bytes.length}-`, 'bytes=-0']) {
      const answer = await part(range);
      expect([answer.status, answer.headers['content-range'], codeOf(answer)]).toEqual([416, `bytes */${bytes.length}`, 'range-unsatisfiable']);
    }
    for (const [range, more] of [['bytes=0-0,5-6', {}], ['lines=1-2', {}], ['bytes=9-3', {}], ['bytes=0-0', { 'If-Range': '"2"' }], ['bytes=0-0', { 'If-Range': 'W/"1"' }]] as const) {
      const answer = await part(range, more);
      expect([range, answer.status, answer.body.length]).toEqual([range, 200, bytes.length]);
    }
    if (bytes.length > 0) expect((await part('bytes=0-0', { 'If-Range': '"1"' })).status).toBe(206);
  });
});

describe('A large Binary', () => {
  test('may come as JSON; Bundles hold what is left of it, which cannot be written back', async () => {
    const created = await call('POST', 'Binary', { 'Content-Type': 'application/fhir+json' }, Buffer.from(JSON.stringify({ resourceType: 'Binary', contentType: 'image/png', data: large.toString('base64') })));
    expect(created.status).toBe(201);
    const { id } = created.json();
    expect((await call('GET', `Binary/${id}`, { Accept: 'image/*' })).body.equals(large)).toBe(true);
    const { entry } = (await call('GET', `Binary?_id=${id}`)).json() as unknown as Bundle;
    const [part] = entry!.map(({ resource }) => resource!);
    expect(part).toMatchObject({ contentType: 'image/png', meta: { tag: [{ code: 'SUBSETTED' }] } });
    expect(part).not.toHaveProperty('data');
    const back = await call('PUT', `Binary/${id}`, { 'Content-Type': 'application/fhir+json' }, Buffer.from(JSON.stringify(part)));
    expect([back.status, codeOf(back)]).toEqual([422, 'business-rule']);
    expect((await call('GET', `Binary/${id}`, { Accept: 'application/fhir+xml' })).status).toBe(406);
    const patched = await call('PATCH', `Binary/${id}`, { 'Content-Type': 'application/json-patch+json' }, Buffer.from(JSON.stringify([{ op: 'replace', path: '/contentType', value: 'image/gif' }])));
    expect(patched.status).toBe(200);
    const after = await call('GET', `Binary/${id}`, { Accept: 'image/gif' });
    expect([after.status, after.body.equals(large)]).toEqual([200, true]);
  });

  test('beyond the limit, of no media type, or compressed, is refused', async () => {
    expect(codeOf(await upload(large, { 'Content-Type': 'pdf' }))).toBe('media-type-unsupported');
    expect(codeOf(await upload(large, { 'Content-Encoding': 'gzip' }))).toBe('media-type-unsupported');
    expect(codeOf(await upload(large, { 'X-Security-Context': 'somebody' }))).toBe('request-invalid');
    expect(codeOf(await upload(large, { 'If-None-Exist': '_id=1' }))).toBe('request-invalid');
    expect(codeOf(await call('POST', 'Patient', { 'Content-Type': 'application/pdf' }, large))).toBe('media-type-unsupported');
    const tooLong = await new Promise<number>((resolve) => {
      const sent = request(`${server.fhirUrl}/Binary`, { method: 'POST', agent, headers: { 'Authorization': 'Bearer none', 'Content-Type': 'image/png', 'Content-Length': '70000001' } }, (response) => {
        resolve(response.statusCode!);
        response.destroy();
      });
      sent.on('error', () => undefined);
      sent.write('x');
    });
    expect(tooLong).toBe(401);
  });

  test('is not read before the caller is known and permitted', async () => {
    const reader = await Backend.register(server, 'system/Binary.rs system/Patient.rs');
    const before = await binaryCount();
    const answer = await call('POST', 'Binary', { 'Content-Type': 'image/png' }, large, await reader.token());
    expect([answer.status, codeOf(answer)]).toEqual([403, 'forbidden']);
    expect(await binaryCount()).toBe(before);
    reader.close();
  });

  test('of 64 MB streams in and out without being held in memory', async () => {
    const sizeBytes = 64_000_000;
    const piece = randomBytes(250_000);
    const [warmUp] = [await upload(large)];
    expect(warmUp.status).toBe(201);
    const before = peakBytes();
    const sent = createHash('sha256');
    const id = await new Promise<string>((resolve, reject) => {
      void backend.token().then((token) => {
        const stream = request(`${server.fhirUrl}/Binary`, { method: 'POST', agent, headers: { 'Authorization': `Bearer ${token}`, 'Content-Type': 'application/dicom', 'Prefer': 'return=minimal' } }, (response) => {
          response.resume();
          expect(response.statusCode).toBe(201);
          resolve(response.headers['location']!.split('/').at(-3)!);
        });
        stream.on('error', reject);
        const write = async (): Promise<void> => {
          for (let at = 0; at < sizeBytes; at += piece.length) {
            sent.update(piece);
            if (!stream.write(piece)) await new Promise((go) => stream.once('drain', go));
          }
          stream.end();
        };
        void write();
      }, reject);
    });
    const received = createHash('sha256');
    const token = await backend.token();
    for (const accept of ['application/dicom', 'application/fhir+json']) {
      await new Promise<void>((resolve, reject) => {
        request(`${server.fhirUrl}/Binary/${id}`, { agent, headers: { Authorization: `Bearer ${token}`, Accept: accept } }, (response) => {
          let length = 0;
          response.on('data', (part: Buffer) => {
            length += part.length;
            if (accept === 'application/dicom') received.update(part);
          });
          response.on('error', reject);
          response.on('end', () => (String(length) === response.headers['content-length'] ? resolve() : reject(new Error('cut off'))));
        }).on('error', reject).end();
      });
    }
    expect(received.digest('hex')).toBe(sent.digest('hex'));
    expect(peakBytes() - before).toBeLessThan(64_000_000);
  }, 120_000);
});

/** Largest resident memory of the server so far; Linux tells it. */
function peakBytes(): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid()}/status`, 'utf8'))![1]) * 1024;
}

async function binaryCount(): Promise<number> {
  return ((await call('GET', 'Binary?_summary=count')).json() as unknown as Bundle).total!;
}

describe('A document', () => {
  const binary = randomBytes(1_500_000);

  test('and its attachment are read by an app of its patient; to another patient\'s they do not exist', async () => {
    const patients = await Promise.all(['One', 'Two'].map(async (family) => ((await backend.call('POST', 'Patient', { resourceType: 'Patient', name: [{ family }] })).json() as { id: string }).id));
    const [one, two] = patients as [string, string];
    const { id } = (await upload(binary, { 'X-Security-Context': `Patient/${one}` })).json();
    const document = (await backend.call('POST', 'DocumentReference', {
      resourceType: 'DocumentReference', status: 'current', subject: { reference: `Patient/${one}` }, content: [{ attachment: { contentType: 'application/pdf', url: `Binary/${id}`, size: binary.length, hash: createHash('sha1').update(binary).digest('base64') } }],
    })).json() as { id: string };
    const redirectUri = 'https://app.example/callback';
    const scope = 'openid fhirUser launch/patient patient/Patient.rs patient/DocumentReference.rs patient/Binary.rs';
    const { client_id: clientId } = await server.cliJson<{ client_id: string }>(['client', 'add', '--name', 'Documents', '--public', '--redirect-uri', redirectUri, '--scope', scope]);
    const { authorization_endpoint: authorizeUrl, token_endpoint: tokenUrl } = await smartEndpoints(server, http);
    for (const [username, patient, expected] of [['ada', one, 200], ['bob', two, 404]] as const) {
      const password = 'Correct horse 4 staples!';
      const totpSecret = new Secret({ size: 20 }).base32;
      await server.cliJson(['user', 'add', '--username', username, '--role', 'patient', '--patient', patient, '--password-stdin', '--totp-secret', totpSecret], `${password}\n`);
      const { access_token: token } = await launchApp(http, { authorizeUrl, tokenUrl, fhirUrl: server.fhirUrl, clientId, redirectUri, scope, person: { username, password, totpSecret } });
      const read = await call('GET', `DocumentReference/${document.id}`, {}, undefined, token);
      expect(read.status).toBe(expected);
      const native = await call('GET', `Binary/${id}`, { Accept: 'application/pdf' }, undefined, token);
      expect(native.status).toBe(expected);
      if (expected === 200) {
        expect(native.body.equals(binary)).toBe(true);
        expect(native.headers['x-security-context']).toBe(`Patient/${one}`);
      }
      expect((await call('GET', `Binary/${id}`, { Accept: 'application/fhir+json' }, undefined, token)).status).toBe(expected);
      expect(((await call('GET', 'Binary?_total=accurate', {}, undefined, token)).json() as unknown as Bundle).total).toBe(expected === 200 ? 1 : 0);
    }
  });
});
