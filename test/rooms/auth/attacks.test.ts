import { createHmac, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { exportSPKI, importJWK, type CryptoKey } from 'jose';
import { addPerson, allow, assertion, authorizationUrl, backendToken, Browser, clientKey, fetchWith, launch, patientScopes, post, redeem, redirectUri, signIn, startAuth, type ClientKey, type TestAuth, type TestPerson } from './support.ts';

let server: TestAuth;
let publicApp: string;
let otherApp: string;
let person: TestPerson;
let key: ClientKey;
let backend: string;
let hosted: { origin: string };

beforeAll(async () => {
  server = await startAuth({ maxFailuresPerMinute: 1_000 });
  hosted = { origin: 'https://keys.example' };
  const scope = 'openid fhirUser launch/patient offline_access patient/Observation.rs patient/Patient.read';
  ({ clientId: publicApp } = await server.auth.clients.addClient({ name: 'App', type: 'public', redirectUris: [redirectUri, 'http://127.0.0.1:4567/cb'], scope }));
  ({ clientId: otherApp } = await server.auth.clients.addClient({ name: 'Other App', type: 'public', redirectUris: [redirectUri], scope }));
  key = await clientKey('RS384');
  ({ clientId: backend } = await server.auth.clients.addClient({ name: 'Backend', type: 'jwks', scope: 'system/*.rs', jwks: key.jwks }));
  person = await addPerson(server);
});
afterAll(() => server.close());

/** The next code of the person: a code counts once, so the clock is moved on. */
function moveOn(): void {
  server.clock.offsetMs += 30_000;
}

describe('authorization requests that are refused', () => {
  const challenge = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
  test.each<[string, Record<string, string | undefined>, string]>([
    ['no PKCE', { code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request'],
    ['plain PKCE', { code_challenge: challenge, code_challenge_method: 'plain' }, 'invalid_request'],
    ['PKCE without a method, which would mean plain', { code_challenge_method: undefined }, 'invalid_request'],
    ['a challenge that is no hash', { code_challenge: 'short' }, 'invalid_request'],
    ['no aud', { aud: undefined }, 'invalid_request'],
    ['another aud', { aud: 'https://evil.example/fhir' }, 'invalid_request'],
    ['an aud that begins like ours', { aud: 'BASE.evil.example' }, 'invalid_request'],
    ['another resource', { resource: 'https://evil.example/fhir' }, 'invalid_target'],
    ['implicit flow', { response_type: 'token' }, 'unsupported_response_type'],
    ['hybrid flow', { response_type: 'code id_token', nonce: 'n' }, 'unsupported_response_type'],
    ['only scopes that are not allowed', { scope: 'user/Patient.rs system/Patient.rs' }, 'invalid_scope'],
    ['no scope', { scope: undefined }, 'invalid_scope'],
    ['a request object', { request: 'eyJhbGciOiJub25lIn0.e30.' }, 'request_not_supported'],
    ['a request by reference', { request_uri: 'https://evil.example/r' }, 'request_uri_not_supported'],
    ['silently, with nobody signed in', { prompt: 'none' }, 'login_required'],
  ])('%s', async (_name, changes, error) => {
    const { url, state } = await authorizationUrl(server, publicApp, { ...changes, ...(changes['aud'] === 'BASE.evil.example' ? { aud: `${server.fhirBaseUrl}.evil.example` } : {}) });
    const answer = await server.browser().follow(url);
    expect(answer.url.origin).toBe('https://app.example');
    const parameters = new URLSearchParams(answer.url.search || answer.url.hash.slice(1));
    expect([parameters.get('error'), parameters.get('state'), parameters.get('iss'), parameters.get('code')]).toEqual([error, state, server.issuer, null]);
    expect((await server.records()).at(-1)).toMatchObject({ kind: 'token', interaction: 'authorize', outcome: '4', error: 'grant-refused', client: { id: publicApp } });
  });

  test.each<[string, Record<string, string | undefined>]>([
    ['a redirect URI that is not registered', { redirect_uri: 'https://evil.example/callback' }],
    ['one that only begins like it', { redirect_uri: `${redirectUri}/../evil` }],
    ['one with a query more', { redirect_uri: `${redirectUri}?next=https://evil.example` }],
    ['one with another case', { redirect_uri: 'https://app.example/Callback' }],
    ['a loopback address with another port', { redirect_uri: 'http://127.0.0.1:9999/cb' }],
    ['no redirect URI', { redirect_uri: undefined }],
    ['an unknown client', { client_id: 'app-000000000000000000000000' }],
    ['no client', { client_id: undefined }],
  ])('without any redirect: %s', async (_name, changes) => {
    const { url } = await authorizationUrl(server, publicApp, changes);
    const response = await server.browser().request(url);
    expect(response.status).toBe(400);
    expect(response.headers.get('location')).toBeNull();
    const page = await response.text();
    expect(page).not.toContain('evil.example');
    expect(page).toContain('Reference:');
    expect((await server.records()).at(-1)).toMatchObject({ kind: 'token', interaction: 'authorize', outcome: '4' });
  });

  test('a parameter given twice', async () => {
    const { url } = await authorizationUrl(server, publicApp);
    url.searchParams.append('aud', 'https://evil.example');
    expect((await server.browser().follow(url)).url.searchParams.get('error')).toBe('invalid_request');
  });
});

describe('codes', () => {
  test('a code counts once; the second use ends what the first one got', async () => {
    moveOn();
    const { tokens, code, verifier } = await launch(server, publicApp, person);
    await server.auth.authenticateBearer(String(tokens.body['access_token']));
    const replayed = await redeem(server, publicApp, code, verifier);
    expect([replayed.status, replayed.body['error']]).toEqual([400, 'invalid_grant']);
    await expect(server.auth.authenticateBearer(String(tokens.body['access_token']))).rejects.toMatchObject({ code: 'token-invalid' });
    expect((await post(server, 'token', { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']), client_id: publicApp })).body['error']).toBe('invalid_grant');
  });

  test('of ten uses at once, at most one gets tokens, and they are void', async () => {
    moveOn();
    const browser = server.browser();
    const { url, verifier } = await authorizationUrl(server, publicApp);
    const code = (await allow(browser, await signIn(browser, url, person))).searchParams.get('code')!;
    const answers = await Promise.all(Array.from({ length: 10 }, () => redeem(server, publicApp, code, verifier)));
    const winners = answers.filter(({ status }) => status === 200);
    expect(winners.length).toBeLessThanOrEqual(1);
    for (const { body } of winners) await expect(server.auth.authenticateBearer(String(body['access_token']))).rejects.toMatchObject({ code: 'token-invalid' });
  });

  test.each<[string, (verifier: string, challenge: string) => string | undefined]>([
    ['no verifier', () => undefined],
    ['an empty verifier', () => ''],
    ['another verifier', () => 'x'.repeat(43)],
    ['the challenge itself', (_verifier, challenge) => challenge],
  ])('%s', async (_name, change) => {
    moveOn();
    const browser = server.browser();
    const { url, verifier } = await authorizationUrl(server, publicApp);
    const code = (await allow(browser, await signIn(browser, url, person))).searchParams.get('code')!;
    const refused = await redeem(server, publicApp, code, change(verifier, url.searchParams.get('code_challenge')!));
    expect(refused.status).toBe(400);
    expect(refused.body['access_token']).toBeUndefined();
  });

  test('another client, another redirect URI', async () => {
    moveOn();
    const browser = server.browser();
    const { url, verifier } = await authorizationUrl(server, publicApp);
    const code = (await allow(browser, await signIn(browser, url, person))).searchParams.get('code')!;
    expect((await redeem(server, otherApp, code, verifier)).body['error']).toBe('invalid_grant');
    expect((await post(server, 'token', { grant_type: 'authorization_code', client_id: publicApp, code, redirect_uri: 'http://127.0.0.1:4567/cb', code_verifier: verifier })).body['error']).toBe('invalid_grant');
    expect((await redeem(server, publicApp, 'x'.repeat(43), verifier)).status).toBe(400);
  });
});

describe('refresh tokens', () => {
  test('reuse ends the grant', async () => {
    moveOn();
    const { tokens } = await launch(server, publicApp, person);
    const first = { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']), client_id: publicApp };
    const second = await post(server, 'token', first);
    expect(second.status).toBe(200);
    expect((await post(server, 'token', first)).body['error']).toBe('invalid_grant');
    await expect(server.auth.authenticateBearer(String(second.body['access_token']))).rejects.toMatchObject({ code: 'token-invalid' });
    expect((await post(server, 'token', { ...first, refresh_token: String(second.body['refresh_token']) })).body['error']).toBe('invalid_grant');
  });

  test('without a client_id only those of public clients count, and reuse ends the grant as well', async () => {
    moveOn();
    const { tokens } = await launch(server, publicApp, person);
    const first = { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']) };
    const second = await post(server, 'token', first);
    expect([second.status, second.body['scope']]).toEqual([200, tokens.body['scope']]);
    expect((await post(server, 'token', first)).body['error']).toBe('invalid_grant');
    await expect(server.auth.authenticateBearer(String(second.body['access_token']))).rejects.toMatchObject({ code: 'token-invalid' });

    moveOn();
    const { clientId, clientSecret } = await server.auth.clients.addClient({ name: 'Chart', type: 'confidential-secret', redirectUris: [redirectUri], scope: patientScopes });
    const browser = server.browser();
    const { url, verifier } = await authorizationUrl(server, clientId);
    const code = (await allow(browser, await signIn(browser, url, person))).searchParams.get('code')!;
    const basic = { authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret!}`).toString('base64')}` };
    const { body } = await redeem(server, clientId, code, verifier, basic);
    const form = { grant_type: 'refresh_token', refresh_token: String(body['refresh_token']) };
    expect((await post(server, 'token', form)).status).toBe(400);
    expect((await post(server, 'token', { ...form, client_id: clientId })).status).toBe(401);
    expect((await post(server, 'token', { ...form, refresh_token: 'x'.repeat(43) })).status).toBe(400);
    expect((await post(server, 'token', form, basic)).status).toBe(200);
  });

  test('of ten uses at once, at most one gets tokens, and they are void', async () => {
    moveOn();
    const { tokens } = await launch(server, publicApp, person);
    const answers = await Promise.all(Array.from({ length: 10 }, () => post(server, 'token', { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']), client_id: publicApp })));
    const winners = answers.filter(({ status }) => status === 200);
    expect(winners.length).toBeLessThanOrEqual(1);
    for (const { body } of winners) await expect(server.auth.authenticateBearer(String(body['access_token']))).rejects.toMatchObject({ code: 'token-invalid' });
  });

  test('another client, or more scopes than were granted', async () => {
    moveOn();
    const { tokens } = await launch(server, publicApp, person, { prompt: 'consent' }, (scope) => scope !== 'patient/Patient.read');
    const form = { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']), client_id: publicApp };
    expect((await post(server, 'token', { ...form, client_id: otherApp })).body['error']).toBe('invalid_grant');
    for (const scope of ['patient/Patient.read', 'patient/Observation.cruds', 'system/*.rs']) expect((await post(server, 'token', { ...form, scope })).body['error']).toBe('invalid_scope');
    // A refresh token is no access token.
    await expect(server.auth.authenticateBearer(form.refresh_token)).rejects.toMatchObject({ code: 'token-invalid' });
  });
});

describe('client assertions that are refused', () => {
  const cases: readonly [string, (own: ClientKey) => Promise<string>][] = [
    ['alg none', async () => `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claimsOf())}.`],
    ['HS256 with the public key as secret', async (own) => {
      const pem = await exportSPKI((await importJWK(own.jwks.keys[0]!, 'RS384', { extractable: true })) as CryptoKey);
      const signed = `${encode({ alg: 'HS256', typ: 'JWT', kid: own.kid })}.${encode(claimsOf())}`;
      return `${signed}.${createHmac('sha256', pem).update(signed).digest('base64url')}`;
    }],
    ['the key of somebody else', async () => assertion(server, backend, { ...(await clientKey('RS384')), kid: key.kid })],
    ['another audience', async (own) => assertion(server, backend, own, { claims: { aud: 'https://evil.example/token' } })],
    ['no audience', async (own) => assertion(server, backend, own, { claims: { aud: undefined } })],
    ['expired', async (own) => assertion(server, backend, own, { expiresInS: -60 })],
    ['exp more than five minutes ahead', async (own) => assertion(server, backend, own, { expiresInS: 330 })],
    ['exp next year', async (own) => assertion(server, backend, own, { expiresInS: 365 * 86_400 })],
    ['no exp', async (own) => assertion(server, backend, own, { claims: { exp: undefined } })],
    ['no jti', async (own) => assertion(server, backend, own, { claims: { jti: undefined } })],
    ['another iss', async (own) => assertion(server, backend, own, { claims: { iss: 'somebody-else' } })],
    ['another sub', async (own) => assertion(server, backend, own, { claims: { sub: publicApp } })],
    ['not yet valid', async (own) => assertion(server, backend, own, { claims: { nbf: Math.floor(Date.now() / 1000) + 120 } })],
    ['a key set URL of its own', async (own) => assertion(server, backend, own, { header: { jku: `${hosted.origin}/jwks.json` } })],
    ['altered claims', async (own) => (await assertion(server, backend, own)).split('.').map((part, i) => (i === 1 ? encode(claimsOf()) : part)).join('.')],
  ];
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claimsOf = (): object => ({ iss: backend, sub: backend, aud: `${server.issuer}/token`, jti: randomUUID(), exp: Math.floor(Date.now() / 1000) + 200 });

  test.each(cases)('%s', async (_name, make) => {
    const refused = await backendToken(server, await make(key));
    expect([refused.status, refused.body['error']]).toEqual([401, 'invalid_client']);
    expect((await server.records()).at(-1)).toMatchObject({ kind: 'token', interaction: 'client_credentials', outcome: '4', error: 'credentials-invalid', actor: { kind: 'anonymous' } });
  });

  test('the same assertion twice, also ten times at once', async () => {
    const once = await assertion(server, backend, key);
    expect((await backendToken(server, once)).status).toBe(200);
    expect((await backendToken(server, once)).body['error']).toBe('invalid_client');
    const parallel = await assertion(server, backend, key);
    const answers = await Promise.all(Array.from({ length: 10 }, () => backendToken(server, parallel)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(9);
  });

  test('an assertion for another server, with that server as Host', async () => {
    const stolen = await assertion(server, backend, key, { claims: { aud: 'https://evil.example/oauth2/token' } });
    const body = new URLSearchParams({ grant_type: 'client_credentials', scope: 'system/Patient.rs', client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: stolen });
    const response = await fetchWith(server.caPem)(`${server.issuer}/token`, { method: 'POST', headers: { host: 'evil.example', 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' }, body });
    expect(response.status).toBe(401);
  });

  test('scopes: more than allowed, for people, none', async () => {
    for (const scope of ['system/Patient.cruds', 'patient/Patient.rs', 'user/Patient.rs', 'openid', 'nonsense', undefined]) {
      const refused = await post(server, 'token', { grant_type: 'client_credentials', scope, client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: await assertion(server, backend, key) });
      expect([scope, refused.status, refused.body['error']]).toEqual([scope, 400, 'invalid_scope']);
    }
  });

  test('other grants, other ways to authenticate', async () => {
    const proof = { client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: await assertion(server, backend, key) };
    expect((await post(server, 'token', { grant_type: 'password', username: person.username, password: person.password, ...proof })).status).toBe(400);
    expect((await post(server, 'token', { grant_type: 'not_a_grant_type', ...proof })).body['error']).toMatch(/unsupported_grant_type|invalid_client/);
    expect((await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_id: backend })).status).toBe(401);
    expect((await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_id: publicApp })).status).toBe(400);
    expect((await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_id: 'unknown' })).status).toBe(401);
    expect((await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', ...proof, client_assertion_type: 'not_an_assertion_type' })).status).toBe(400);
  });
});

describe('sign-in', () => {
  test('password or code wrong, name unknown: the same answer', async () => {
    const victim = await addPerson(server);
    const { url } = await authorizationUrl(server, publicApp);
    const answers = [];
    for (const attempt of [{ ...victim, password: 'Wrong-Horse-7-Staple' }, { ...victim, code: () => '000000' }, { ...victim, username: 'nobody-here' }]) {
      const { response } = await signIn(server.browser(), url, attempt);
      answers.push([response.status, (await response.text()).replace(/interaction\/[\w-]+|name="csrf" value="[^"]+"|required value="[^"]+"|challenge&quot;:&quot;[\w-]+/g, '')]);
    }
    expect(answers[0]![0]).toBe(401);
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
    expect((await server.records()).slice(-3).map(({ kind, outcome, rule }) => [kind, outcome, rule])).toEqual([['login', '4', 'sign-in: password'], ['login', '4', 'sign-in: code'], ['login', '4', 'sign-in: unknown-user']]);
  });

  test('a form from elsewhere is refused', async () => {
    const browser = server.browser();
    const { url } = await authorizationUrl(server, publicApp);
    const shown = await browser.follow(url);
    for (const csrf of [undefined, '', 'x'.repeat(43)]) {
      const form = new URLSearchParams({ username: person.username, password: person.password, code: person.code(), decision: 'sign-in', ...(csrf === undefined ? {} : { csrf }) });
      expect((await browser.request(shown.url, { form })).status).toBe(403);
    }
    // Without the cookie of this request there is nothing to submit to.
    expect((await server.browser().request(shown.url, { form: new URLSearchParams({ csrf: 'x' }) })).status).toBe(400);
  });

  test('pages cannot be framed, run no script but one file of their own, load nothing from elsewhere, and are not stored', async () => {
    const { url } = await authorizationUrl(server, publicApp);
    const { response } = await server.browser().follow(url);
    const policy = response.headers.get('content-security-policy')!;
    expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-[^']+'; form-action 'self' https:\/\/app\.example; frame-ancestors 'none'; base-uri 'none'; script-src https:\/\/localhost:\d+\/oauth2\/passkey\.js$/);
    expect(response.headers.get('x-frame-options')).toBe('DENY');
    expect(response.headers.get('cache-control')).toContain('no-store');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(await response.text()).not.toMatch(/<script(?! src="https:\/\/localhost:\d+\/oauth2\/passkey\.js"><\/script>)|https?:\/\/(?!localhost)/);
  });

  test('what an app calls itself cannot become markup', async () => {
    const { clientId } = await server.auth.clients.addClient({ name: '<img src=x onerror=alert(1)> "&\'', type: 'public', redirectUris: [redirectUri], scope: 'patient/Patient.rs' });
    const { url } = await authorizationUrl(server, clientId, { scope: 'patient/Patient.rs' });
    expect(await (await server.browser().follow(url)).response.text()).not.toContain('<img');
  });

  test('the session gets a new id at sign-in', async () => {
    moveOn();
    const { browser } = await launch(server, publicApp, person, { prompt: 'consent' });
    const ids = new Set(browser.setCookies.filter((cookie) => cookie.startsWith('__Host-interlock-session=')).map((cookie) => cookie.split(';')[0]));
    expect(ids.size).toBeGreaterThanOrEqual(2);
  });

  test('a consent page grants nothing that was not asked for', async () => {
    moveOn();
    const browser = server.browser();
    const { url, verifier } = await authorizationUrl(server, publicApp, { scope: 'openid patient/Patient.read' });
    const consent = await signIn(browser, url, person);
    const { action, fields } = Browser.form(await consent.response.text());
    for (const scope of ['patient/Observation.rs', 'system/*.cruds', 'offline_access']) fields.append('scope', scope);
    fields.set('decision', 'allow');
    const { url: callback } = await browser.follow(new URL(action, consent.url), { form: fields });
    const tokens = await redeem(server, publicApp, callback.searchParams.get('code')!, verifier);
    expect(tokens.body['scope']).toBe('openid patient/Patient.read');
  });
});

describe('endpoints', () => {
  test('another origin may call for a public client, but with a secret it may not, and never with cookies', async () => {
    const open = await redeem(server, publicApp, 'x', 'y'.repeat(43), { origin: 'https://any.example' });
    expect([open.headers.get('access-control-allow-origin'), open.headers.get('access-control-allow-credentials')]).toEqual(['https://any.example', null]);
    const closed = await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: await assertion(server, backend, key) }, { origin: 'https://any.example' });
    expect([closed.status, closed.headers.get('access-control-allow-origin')]).toEqual([400, null]);
  });

  test('introspection and revocation need a client, and tokens of others cannot be revoked', async () => {
    moveOn();
    const { tokens } = await launch(server, publicApp, person);
    const token = String(tokens.body['access_token']);
    expect((await post(server, 'introspect', { token })).status).toBe(400);
    expect((await post(server, 'introspect', { token, client_id: otherApp })).body).toEqual({ active: false });
    expect((await post(server, 'revoke', { token, client_id: otherApp })).status).toBe(400);
    await server.auth.authenticateBearer(token);
  });

  test.each(['', 'x', 'x'.repeat(43), `${'x'.repeat(21)}\n${'x'.repeat(21)}`, '../../etc/passwd', '{"$ne":null}', 'x'.repeat(100_000)])('no token: %.20j', async (token) => {
    await expect(server.auth.authenticateBearer(token)).rejects.toMatchObject({ code: 'token-invalid' });
  });

  test('bodies that are too long or broken', async () => {
    const long = await fetchWith(server.caPem)(`${server.issuer}/authorize`, { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: `scope=${'x'.repeat(100_000)}` });
    expect([long.status, (await long.text()).includes('at ')]).toEqual([413, false]);
    const longToken = await fetchWith(server.caPem)(`${server.issuer}/token`, { method: 'POST', headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' }, body: `scope=${'x'.repeat(100_000)}` });
    expect([longToken.status, (await longToken.json()) as object]).toEqual([400, { error: 'invalid_request', error_description: 'failed to parse the request body' }]);
    const json = await fetchWith(server.caPem)(`${server.issuer}/token`, { method: 'POST', headers: { accept: 'application/json', 'content-type': 'application/json' }, body: '{"grant_type":"client_credentials"}' });
    expect(json.status).toBe(400);
    expect((await fetchWith(server.caPem)(`${server.issuer}/nothing-here`)).status).toBe(404);
  });

  test('an address that fails too often has to wait', async () => {
    const one = await startAuth({ maxFailuresPerMinute: 5 });
    try {
      for (let i = 0; i < 5; i += 1) await redeem(one, 'unknown', 'x', 'y');
      const refused = await redeem(one, 'unknown', 'x', 'y');
      expect(refused.status).toBe(429);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      one.clock.offsetMs += 61_000;
      expect((await redeem(one, 'unknown', 'x', 'y')).status).toBe(401);
    } finally {
      await one.close();
    }
  });
});
