import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTestServer, type TestServer } from '../support/server.ts';
import { raceCreates } from './conditional-creates.ts';
import { standStill } from './outage.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
}, 120_000);

afterAll(async () => server?.remove());

test('of eight parallel conditional creates, one is stored and all are told so', async () => {
  const results = await raceCreates(server, 10);
  expect(results).toEqual(results.map(() => ({ answered: { 200: 7, 201: 1 }, stored: 1 })));
  expect(results).toHaveLength(10);
}, 120_000);

test('while the audit store stands still, nothing is disclosed; afterwards the server goes on by itself and nothing is lost', async () => {
  // As long as the driver takes to give up on a database that does not answer (its heartbeat and one more selection).
  const { during, disclosed, lost, auditIntact } = await standStill(server, 25_000);
  expect(Object.keys(during).filter((status) => status !== '503')).toEqual([]);
  expect(during['503']).toBeGreaterThan(0);
  expect(disclosed).toBe(0);
  expect(lost).toEqual([]);
  expect(auditIntact).toBe(true);
}, 180_000);
