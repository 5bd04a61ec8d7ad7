import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { HttpClient } from '../../server/demo/http-client.ts';
import { runScript, type ClientTarget } from '../clients/run.ts';
import { backendToken } from '../support/fhir.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let http: HttpClient;
let target: ClientTarget;

beforeAll(async () => {
  server = await startTestServer();
  http = new HttpClient({ ca: server.ca });
  target = { fhirUrl: server.fhirUrl, token: await backendToken(server, http, 'system/*.cruds'), ca: server.ca, directory: server.directory };
}, 60_000);

afterAll(async () => {
  http.close();
  await server.stop();
});

// `npm run clients` runs those of Python and Java too.
test.each(['fhir-kit-client', 'MedplumClient'] as const)('%s works unchanged', async (script) => {
  expect(await runScript(target, script)).toContain('all calls as expected');
}, 60_000);
