import { afterAll, beforeAll, expect, test } from '@jest/globals';
import request from 'supertest';
import { routeTable } from '../../server/fhir/routes.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
}, 120_000);

afterAll(async () => {
  await server.remove();
});

/** What strangers may see: the software describes itself, says how it is and how to sign in. */
const open = ['/fhir/R4/metadata', '/fhir/R4/.well-known/smart-configuration', '/oauth2/.well-known/openid-configuration', '/oauth2/jwks', '/healthz', '/readyz'];

test.each(open)('%s is open to strangers', async (path) => {
  const answer = await request(server.baseUrl).get(path).ca(server.ca);
  expect([answer.status, answer.type]).toEqual([200, expect.stringMatching(/json$/)]);
});

const closed = routeTable
  .filter(({ interaction }) => interaction !== 'capabilities')
  .map(({ method, path }) => [method, `/fhir/R4/${path.replace(':type', 'Patient').replace(':id', 'a').replace(':vid', '1')}`] as const);

test.each([...closed, ['GET', '/fhir/R4/AuditEvent'], ['GET', '/fhir/R4/NoSuchType/1'], ['POST', '/channels/fax'], ['POST', '/channels/script'], ['POST', '/admin/commands']] as const)('%s %s is closed to strangers', async (method, path) => {
  const client = request(server.baseUrl);
  const asked = method === 'GET' ? client.get(path) : method === 'POST' ? client.post(path) : method === 'PUT' ? client.put(path) : client.delete(path);
  const answer = await asked.ca(server.ca);
  expect(answer.status).toBe(401);
  expect(answer.text).not.toContain('Bundle');
});

test('metrics are for this machine, and name nothing of a request', async () => {
  const answer = await request(server.baseUrl).get('/metrics').ca(server.ca);
  expect(answer.status).toBe(200);
  expect(answer.text).toContain('interlock_http_requests_total{route="fhir",status="401"}');
  expect(answer.text).not.toContain('Patient');
});

test('a stranger is in the audit trail, too', async () => {
  const answer = await request(server.baseUrl).get('/fhir/R4/Patient').ca(server.ca);
  const rows = await server.cliJson<{ outcome: string }[]>(['audit', 'query', '--request', String(answer.headers['x-request-id'])]);
  expect(rows.map(({ outcome }) => outcome)).toEqual(['failed (login-required)']);
});
