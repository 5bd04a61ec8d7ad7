import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { HttpClient } from '../../server/demo/http-client.ts';
import { backendCaller, FhirCaller } from '../support/fhir.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { chapters } from './cases/index.ts';
import { loadFixtures } from './fixtures.ts';
import { play, type Callers } from './runner.ts';

let server: TestServer;
let http: HttpClient;
let callers: Callers;

beforeAll(async () => {
  server = await startTestServer();
  http = new HttpClient({ ca: server.ca });
  callers = {
    everyone: await backendCaller(server, http, 'system/*.cruds'),
    reader: await backendCaller(server, http, 'system/Patient.rs system/Encounter.rs'),
    other: await backendCaller(server, http, 'system/*.rs'),
    stranger: new FhirCaller(http, server.fhirUrl),
  };
  await loadFixtures(callers.everyone);
}, 120_000);

afterAll(async () => {
  http.close();
  await server.stop();
});

describe.each(chapters)('$name', ({ cases }) => {
  test.each(cases.map((one) => [`${one.id} ${one.title}`, one] as const))('%s', async (_, one) => {
    expect(await play(one, callers, server.fhirUrl)).toEqual([]);
  }, 30_000);
});
