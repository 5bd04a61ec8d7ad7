import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { HttpClient } from '../../server/demo/http-client.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { ask, load } from './check.ts';
import { Random } from './random.ts';
import { searchersOf } from './searchers.ts';

let server: TestServer;
let http: HttpClient;

beforeAll(async () => {
  server = await startTestServer();
  http = new HttpClient({ ca: server.ca, maxSockets: 4 });
}, 60_000);

afterAll(async () => {
  http.close();
  await server.stop();
});

test('2,000 generated searches are answered as an in-memory oracle answers them: same ids, order and totals', async () => {
  const seed = 20_240_601;
  const searchers = await searchersOf(server, http);
  const world = await load(searchers[0].caller, new Random(seed), 1);
  const { differences, found } = await ask(searchers, world, { seed, count: 2_000, parallel: 4 });
  expect(differences).toEqual([]);
  // Searches that find nothing prove little.
  expect(found).toBeGreaterThan(600);
}, 240_000);
