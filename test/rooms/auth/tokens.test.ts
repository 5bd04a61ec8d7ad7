import { randomUUID } from 'node:crypto';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import express from 'express';
import { createAdapter, OAuthRows } from '../../../server/auth/adapter.ts';
import { createAuth } from '../../../server/auth/auth.ts';
import { authenticate } from '../../../server/auth/passport.ts';
import { auditCollection } from '../../../server/audit/trail.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { peerOf } from '../../../server/pki/tls.ts';
import { addPerson, assertion, authorizationUrl, backendToken, Browser, clientKey, fetchWith, launch, post, redirectUri, startAuth, type TestAuth } from './support.ts';

let server: TestAuth;
let app: string;

beforeAll(async () => {
  server = await startAuth();
  ({ clientId: app } = await server.auth.clients.addClient({ name: 'App', type: 'public', redirectUris: [redirectUri], scope: 'openid offline_access patient/*.rs' }));
});
afterAll(() => server.close());

const scope = 'openid offline_access patient/Patient.rs';

async function until(check: () => Promise<boolean>, timeoutMs = 5_000): Promise<number> {
  const startedAt = performance.now();
  while (!(await check())) {
    if (performance.now() - startedAt > timeoutMs) throw new Error('never came true');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return performance.now() - startedAt;
}

async function isAccepted(token: unknown, auth = server.auth): Promise<boolean> {
  return auth.authenticateBearer(String(token)).then(() => true, () => false);
}

/** Waits until a token is answered from memory: three times in a row faster than any database. */
async function untilHeld(token: unknown, auth: TestAuth['auth']): Promise<void> {
  let fast = 0;
  await until(async () => {
    const startedAt = performance.now();
    const accepted = await isAccepted(token, auth);
    fast = accepted && performance.now() - startedAt < 0.5 ? fast + 1 : 0;
    return fast >= 3;
  });
}

describe('access ends', () => {
  test('when the person is disabled: tokens, refresh, session', async () => {
    const person = await addPerson(server);
    const { tokens, browser } = await launch(server, app, person, { scope });
    expect(await isAccepted(tokens.body['access_token'])).toBe(true);
    await server.auth.people.disable(person.username);
    expect(await isAccepted(tokens.body['access_token'])).toBe(false);
    expect((await post(server, 'introspect', { token: String(tokens.body['access_token']), client_id: app })).body).toEqual({ active: false });
    expect((await post(server, 'token', { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']), client_id: app })).body['error']).toBe('invalid_grant');
    const { url } = await authorizationUrl(server, app, { scope });
    expect(await (await browser.follow(url)).response.text()).toContain('name="password"');
  });

  test('when the client is disabled: tokens, refresh, new requests, also of backend services', async () => {
    const { clientId } = await server.auth.clients.addClient({ name: 'App', type: 'public', redirectUris: [redirectUri], scope: 'openid offline_access patient/*.rs' });
    const { tokens } = await launch(server, clientId, await addPerson(server), { scope });
    const key = await clientKey();
    const { clientId: backend } = await server.auth.clients.addClient({ name: 'Backend', type: 'jwks', scope: 'system/*.rs', jwks: key.jwks });
    const own = await backendToken(server, await assertion(server, backend, key));
    expect([await isAccepted(tokens.body['access_token']), await isAccepted(own.body['access_token'])]).toEqual([true, true]);
    await server.auth.clients.disable(clientId);
    await server.auth.clients.disable(backend);
    expect([await isAccepted(tokens.body['access_token']), await isAccepted(own.body['access_token'])]).toEqual([false, false]);
    expect((await post(server, 'token', { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']), client_id: clientId })).body['error']).toBe('invalid_client');
    expect((await backendToken(server, await assertion(server, backend, key))).body['error']).toBe('invalid_client');
    const { url } = await authorizationUrl(server, clientId, { scope });
    expect((await server.browser().follow(url)).response.status).toBe(400);
    await expect(server.auth.clients.disable('app-unknown')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('in other processes as well, at once', async () => {
    const other = await startOther();
    try {
      const person = await addPerson(server);
      const { tokens } = await launch(server, app, person, { scope });
      const token = tokens.body['access_token'];
      await Promise.all([untilHeld(token, other), untilHeld(token, server.auth)]);
      await other.people.disable(person.username);
      expect(await until(async () => !(await isAccepted(token)))).toBeLessThan(5_000);
      await other.people.enable(person.username);
      expect(await isAccepted(token, other)).toBe(false);
      const { tokens: more } = await launch(server, app, await addPerson(server), { scope });
      await untilHeld(more.body['access_token'], other);
      await post(server, 'revoke', { token: String(more.body['refresh_token']), client_id: app });
      expect(await until(async () => !(await isAccepted(more.body['access_token'], other)))).toBeLessThan(5_000);
    } finally {
      await other.close();
    }
  });

  test('when it expires, by the second', async () => {
    const key = await clientKey();
    const { clientId } = await server.auth.clients.addClient({ name: 'Backend', type: 'jwks', scope: 'system/*.rs', jwks: key.jwks });
    const { body } = await backendToken(server, await assertion(server, clientId, key));
    const { expiresAtMs } = await server.auth.authenticateBearer(String(body['access_token']));
    const before = server.clock.offsetMs;
    server.clock.offsetMs = expiresAtMs - Date.now() - 2_000;
    expect(await isAccepted(body['access_token'])).toBe(true);
    server.clock.offsetMs = expiresAtMs - Date.now();
    expect(await isAccepted(body['access_token'])).toBe(false);
    server.clock.offsetMs = before;
  });

  async function startOther(): Promise<TestAuth['auth']> {
    return createAuth({ app: server.mongo.app, keyring: server.keyring, audit: server.trail, guard: server.guard, issuer: server.issuer, fhirBaseUrl: server.fhirBaseUrl, log: silentLog });
  }
});

test('a session without activity ends, and with it what rests on it', async () => {
  const idle = await startAuth({ lifetimes: { idleS: 2 } });
  try {
    const { clientId } = await idle.auth.clients.addClient({ name: 'App', type: 'public', redirectUris: [redirectUri], scope: 'online_access offline_access patient/*.rs' });
    const person = await addPerson(idle);
    const online = await launch(idle, clientId, person, { scope: 'online_access patient/Patient.rs' });
    idle.clock.offsetMs += 30_000;
    const offline = await launch(idle, clientId, person, { scope: 'offline_access patient/Patient.rs' });
    expect(await isAccepted(offline.tokens.body['access_token'], idle.auth)).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    idle.clock.offsetMs += 31_000;
    expect(await isAccepted(online.tokens.body['access_token'], idle.auth)).toBe(false);
    expect(await isAccepted(offline.tokens.body['access_token'], idle.auth)).toBe(true);
    expect((await post(idle, 'token', { grant_type: 'refresh_token', refresh_token: String(online.tokens.body['refresh_token']), client_id: clientId })).body['error']).toBe('invalid_grant');
    expect((await post(idle, 'token', { grant_type: 'refresh_token', refresh_token: String(offline.tokens.body['refresh_token']), client_id: clientId })).status).toBe(200);
    const { url } = await authorizationUrl(idle, clientId, { scope: 'patient/Patient.rs' });
    expect(await (await online.browser.follow(url)).response.text()).toContain('name="password"');
  } finally {
    await idle.close();
  }
});

test('access tokens cannot be configured to last longer than allowed', async () => {
  const { issuer, fhirBaseUrl } = server;
  await expect(createAuth({ app: server.mongo.app, keyring: server.keyring, audit: server.trail, guard: server.guard, issuer, fhirBaseUrl, log: silentLog, lifetimes: { appTokenS: 901 } })).rejects.toMatchObject({ code: 'config-invalid' });
});

test('a token that is held is looked up in microseconds', async () => {
  const { tokens } = await launch(server, app, await addPerson(server), { scope });
  const token = String(tokens.body['access_token']);
  await server.auth.authenticateBearer(token);
  for (let i = 0; i < 2_000; i += 1) await server.auth.authenticateBearer(token);
  const rounds = 20_000;
  const startedAt = performance.now();
  for (let i = 0; i < rounds; i += 1) await server.auth.authenticateBearer(token);
  const microseconds = ((performance.now() - startedAt) / rounds) * 1000;
  console.log(`held token: ${microseconds.toFixed(1)} µs`);
  expect(microseconds).toBeLessThan(100);
});

test('while the audit trail is down nothing is granted', async () => {
  const down = await startAuth();
  try {
    const key = await clientKey();
    const { clientId } = await down.auth.clients.addClient({ name: 'Backend', type: 'jwks', scope: 'system/*.rs', jwks: key.jwks });
    const { clientId: patientApp } = await down.auth.clients.addClient({ name: 'App', type: 'public', redirectUris: [redirectUri], scope });
    const person = await addPerson(down);
    const { url } = await authorizationUrl(down, patientApp, { scope });
    const browser = down.browser();
    const shown = await browser.follow(url);
    const { action, fields } = Browser.form(await shown.response.text());
    for (const [name, value] of Object.entries({ username: person.username, password: person.password, code: person.code(), decision: 'sign-in' })) fields.set(name, value);
    // The store refuses every block from now on, as a full or broken one would.
    await down.mongo.auditRoot.db!.command({ collMod: auditCollection, validator: { never: true }, validationLevel: 'strict', validationAction: 'error' });
    const refused = await backendToken(down, await assertion(down, clientId, key));
    expect([refused.status, refused.body]).toEqual([503, { error: 'temporarily_unavailable', error_description: 'the audit trail cannot be written' }]);
    const signedIn = await browser.request(new URL(action, shown.url), { form: fields });
    expect([signedIn.status, signedIn.headers.get('location'), signedIn.headers.getSetCookie()]).toEqual([503, null, []]);
    const asked = await browser.request(url);
    expect([asked.status, asked.headers.get('location'), asked.headers.getSetCookie()]).toEqual([503, null, []]);
    await down.mongo.auditRoot.db!.command({ collMod: auditCollection, validator: {}, validationLevel: 'off' });
  } finally {
    await down.close();
  }
});

test('the adapter refuses what may happen once, however close together', async () => {
  const adapter = createAdapter(new OAuthRows(server.mongo.app, server.keyring), server.auth.clients);
  const replays = await Promise.allSettled(Array.from({ length: 8 }, () => adapter('ReplayDetection').upsert('same', { iss: 'app' }, 60)));
  expect(replays.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  expect(replays.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { error: 'invalid_client' } });

  await adapter('Grant').upsert('grant', { accountId: 'person' }, 60);
  await adapter('AuthorizationCode').upsert('code', { grantId: 'grant' }, 60);
  await adapter('AccessToken').upsert('token', { grantId: 'grant' }, 60);
  const uses = await Promise.allSettled(Array.from({ length: 8 }, () => adapter('AuthorizationCode').consume('code')));
  expect(uses.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  expect(uses.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { error: 'invalid_grant' } });
  for (const [model, id] of [['Grant', 'grant'], ['AccessToken', 'token'], ['AuthorizationCode', 'code']] as const) expect(await adapter(model).find(id)).toBeUndefined();
});

test('passport strategies: bearer token, client certificate', async () => {
  const partners = express();
  const passport = await createAuth({
    app: server.mongo.app, keyring: server.keyring, audit: server.trail, guard: server.guard, issuer: server.issuer, fhirBaseUrl: server.fhirBaseUrl, log: silentLog,
    partnerOf: async (socket) => {
      const peer = peerOf(server.pki, socket);
      return typeof peer === 'string' ? undefined : peer.name;
    },
  });
  partners.get('/bearer', async (request, response) => void response.json((await authenticate(passport.passport, 'bearer', request, response).catch(() => undefined)) ?? null));
  partners.get('/certificate', async (request, response) => void response.json((await authenticate(passport.passport, 'certificate', request, response)) ?? null));
  const door = https.createServer(server.pki.tlsOptions('optional'), partners);
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  const origin = `https://localhost:${(door.address() as AddressInfo).port}`;
  try {
    const key = await clientKey();
    const { clientId } = await server.auth.clients.addClient({ name: 'Backend', type: 'jwks', scope: 'system/*.rs', jwks: key.jwks });
    const { body } = await backendToken(server, await assertion(server, clientId, key));
    const get = fetchWith(server.caPem);
    expect(await (await get(`${origin}/bearer`, { headers: { authorization: `Bearer ${String(body['access_token'])}` } })).json()).toMatchObject({ clientId });
    expect(await (await get(`${origin}/bearer`, { headers: { authorization: `Bearer ${randomUUID()}` } })).json()).toBeNull();
    expect(await (await get(`${origin}/bearer`)).json()).toBeNull();
    expect(await (await get(`${origin}/certificate`)).json()).toBeNull();
    const issued = server.pki.issuePartnerCertificate({ name: 'Example Lab' });
    const named = await new Promise<string>((resolve, reject) => {
      https.get(`${origin}/certificate`, { ca: server.caPem, cert: issued.certificatePem, key: issued.keyPem, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part)).on('end', () => resolve(text));
      }).on('error', reject);
    });
    expect(JSON.parse(named)).toBe('Example Lab');
  } finally {
    door.closeAllConnections();
    await new Promise((resolve) => door.close(resolve));
    await passport.close();
  }
});
