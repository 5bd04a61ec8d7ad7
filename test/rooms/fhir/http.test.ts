import { once } from 'node:events';
import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import express from 'express';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { commandEndpoint, runCommand } from '../../../server/cli/endpoint.ts';
import type { CommandServices } from '../../../server/cli/command.ts';
import { fhirRouter } from '../../../server/fhir/http.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { tenant } from '../storage/support.ts';
import { grant, testFhir, type TestFhir } from './support.ts';

let fhir: TestFhir;
let server: Server;
let base: string;
const strangers: string[] = [];

beforeAll(async () => {
  fhir = await testFhir();
  const app = express();
  // What a stranger reaches of the endpoint for commands is its door alone.
  app.use('/admin', commandEndpoint({ audit: fhir.audit, nowMs: Date.now } as unknown as CommandServices));
  app.use('/fhir', fhirRouter({
    services: fhir.services,
    authenticate: async (request, requestId) => {
      if (request.get('authorization') === undefined) throw new InterlockError('login-required');
      return { tenant, requestId, actor: { kind: 'client', id: 'app' }, grants: [grant('*', 'cruds')], purposeOfUse: [] };
    },
    recordUnauthenticated: async (_facts, error) => {
      strangers.push(error instanceof InterlockError ? error.code : 'internal');
    },
    smartConfiguration: () => ({}),
    log: silentLog,
  }));
  server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.close();
  await fhir.close();
});

const known = { Authorization: 'Bearer x' };
const json = { 'Content-Type': 'application/fhir+json' };

test('a stranger is answered before the body is there', async () => {
  const sent = httpRequest(`${base}/fhir/Patient`, { method: 'POST', headers: { ...json, 'Content-Length': '1000000' } });
  sent.on('error', () => undefined);
  sent.write('{');
  const [response] = (await once(sent, 'response')) as [{ statusCode: number }];
  expect(response.statusCode).toBe(401);
  sent.destroy();
  expect(strangers.splice(0)).toEqual(['login-required']);
});

test('bodies are bounded by their path, unpacked, and refused under their caller', async () => {
  const zeros = Buffer.alloc(6_000_000, ' ');
  const before = fhir.records.length;
  for (const [path, body, headers] of [
    ['Patient', zeros.subarray(0, 1_000_001), json],
    ['', zeros, json],
    ['Patient', gzipSync(zeros), { ...json, 'Content-Encoding': 'gzip' }],
    ['Patient/_search', zeros.subarray(0, 1_100_000), { 'Content-Type': 'application/x-www-form-urlencoded' }],
  ] as const) {
    expect((await fetch(`${base}/fhir/${path}`, { method: 'POST', headers: { ...known, ...headers }, body: new Uint8Array(body) })).status).toBe(413);
  }
  expect((await fetch(`${base}/fhir/Patient`, { method: 'POST', headers: { ...known, ...json, 'Content-Encoding': 'nothing' }, body: '{}' })).status).toBe(415);
  expect(fhir.records.slice(before).map(({ actor, error }) => [actor.id, error])).toEqual([...Array.from({ length: 4 }, () => ['app', 'too-large']), ['app', 'media-type-unsupported']]);
  expect(strangers).toEqual([]);
});

test('a form of very many parameters is refused like any other', async () => {
  const form = { ...known, 'Content-Type': 'application/x-www-form-urlencoded' };
  expect((await fetch(`${base}/fhir/Patient/_search`, { method: 'POST', headers: form, body: 'a&'.repeat(60_000) })).status).toBe(413);
});

test('a caller\'s request id is echoed if it is short and plain', async () => {
  const idOf = async (given: string) => (await fetch(`${base}/fhir/metadata`, { headers: { 'X-Request-Id': given } })).headers.get('x-request-id');
  const uuid = '0f5b1c3e-5a3b-4b0e-9a37-0c2f6a1d0001';
  expect(await idOf(uuid)).toBe(uuid);
  expect(await idOf('trace.7_a')).toBe('trace.7_a');
  expect(await idOf('two words')).toMatch(/^[0-9a-f-]{36}$/);
  expect(await idOf('x'.repeat(65))).toMatch(/^[0-9a-f-]{36}$/);
});

test('paths that are none are not found', async () => {
  for (const path of ['//x', '//[', '/Patient//x', '/Patient/%zz']) {
    const sent = httpRequest(base, { path: `/fhir${path}`, headers: known });
    sent.end();
    const [response] = (await once(sent, 'response')) as [{ statusCode: number; resume(): void }];
    response.resume();
    expect([path, response.statusCode]).toEqual([path, 404]);
  }
});

test('nothing of a command is read without the operator\'s certificate, and the refusal is recorded', async () => {
  const before = fhir.records.length;
  const answer = await fetch(`${base}/admin/commands`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"Canaryname' });
  expect([answer.status, (await answer.text()).includes('Canaryname')]).toEqual([401, false]);
  expect(fhir.records.slice(before).map(({ kind, error }) => [kind, error])).toEqual([['command', 'certificate-required']]);
});

test('a command that does not exist is recorded too', async () => {
  const before = fhir.records.length;
  const services = { audit: fhir.audit, nowMs: Date.now } as unknown as CommandServices;
  await expect(runCommand(services, 'Canaryname', { operator: 'operator:x', args: [], options: {}, files: {} }, { tell: () => undefined, send: async () => Promise.resolve() })).rejects.toMatchObject({ code: 'request-invalid' });
  expect(fhir.records.slice(before)).toMatchObject([{ kind: 'command', command: 'unknown', outcome: '4', error: 'request-invalid' }]);
});
