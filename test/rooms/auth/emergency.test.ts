import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TokenFacts } from '../../../server/access/context.ts';
import { contextFromToken } from '../../../server/access/grants.ts';
import { addPerson, launch, post, redirectUri, startAuth, type TestAuth, type TestPerson } from './support.ts';

let server: TestAuth;
let app: string;
let person: TestPerson;

beforeAll(async () => {
  server = await startAuth();
  ({ clientId: app } = await server.auth.clients.addClient({ name: 'Chart', type: 'public', redirectUris: [redirectUri], scope: 'user/*.rs online_access offline_access' }));
  person = await addPerson(server, { role: 'physician', practitionerId: 'd-1' });
});
afterAll(() => server.close());

const asked = { patient: 'p-1', reason: 'unconscious in the emergency room', purpose: 'BTG', minutes: 2 };
const begin = async (facts: TokenFacts) => server.guard.breakGlass.begin(contextFromToken(facts, { requestId: 'r' }), asked);

test('the app is told of emergency access with each token, and its tokens end with it', async () => {
  const { tokens } = await launch(server, app, person, { scope: 'user/Patient.rs online_access' });
  expect(tokens.body).not.toHaveProperty('emergency_access');
  const { untilMs } = await begin(await server.auth.authenticateBearer(String(tokens.body['access_token'])));
  const refreshed = await post(server, 'token', { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']), client_id: app });
  expect(refreshed.body).toMatchObject({ emergency_access: [{ patient: 'p-1', until: new Date(untilMs).toISOString() }], emergency_banner: expect.stringContaining('Emergency access') });
  expect(refreshed.body['expires_in']).toBeLessThanOrEqual(120);
  expect((await server.auth.authenticateBearer(String(refreshed.body['access_token']))).expiresAtMs).toBeLessThanOrEqual(untilMs);
  // Another person's tokens are as ever.
  const other = await launch(server, app, await addPerson(server, { role: 'physician' }), { scope: 'user/Patient.rs' });
  expect([other.tokens.body['expires_in'], other.tokens.body['emergency_access']]).toEqual([900, undefined]);
});

test('a second factor from long ago breaks no glass; the answer says how to sign in again', async () => {
  const { tokens } = await launch(server, app, await addPerson(server, { role: 'physician' }), { scope: 'user/Patient.rs offline_access' });
  const facts = await server.auth.authenticateBearer(String(tokens.body['access_token']));
  server.clock.offsetMs += 901_000;
  try {
    await expect(begin(facts)).rejects.toMatchObject({ code: 'sign-in-too-old', status: 401, options: { challenge: expect.stringMatching(/^Bearer error="insufficient_user_authentication".*max_age="900"$/) } });
  } finally {
    server.clock.offsetMs -= 901_000;
  }
});

test.each(['people', 'clients', 'oauth', 'break_glass'])('what a row of %s shows without the keys is what the documents name', async (collection) => {
  const line = readFileSync('docs/compliance/leakage.md', 'utf8').split('\n').find((one) => one.includes(`| \`${collection}\`:`))!;
  const named = [...line.split('|')[2]!.matchAll(/`(\w+)`/g)].map(([, name]) => name);
  const rows = await server.mongo.app.db!.collection(collection).find().toArray();
  expect(rows.length).toBeGreaterThan(0);
  expect([...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => !named.includes(name))).toEqual([]);
});
