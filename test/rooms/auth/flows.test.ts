import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose';
import * as client from 'openid-client';
import { addPerson, allow, assertion, authorizationUrl, backendToken, clientKey, fetchWith, launch, patientScopes, post, redirectUri, signIn, startAuth, submit, type TestAuth } from './support.ts';

let server: TestAuth;
let publicApp: string;

beforeAll(async () => {
  server = await startAuth();
  ({ clientId: publicApp } = await server.auth.clients.addClient({ name: 'Growth Chart', type: 'public', redirectUris: [redirectUri], scope: 'openid fhirUser profile launch launch/patient launch/encounter offline_access online_access patient/*.cruds user/*.rs' }));
});
afterAll(() => server.close());

describe('discovery', () => {
  test('smart-configuration and OpenID configuration agree and list nothing that is refused', async () => {
    const smart = server.auth.smartConfiguration();
    const response = await fetchWith(server.caPem)(`${server.issuer}/.well-known/openid-configuration`, { headers: { origin: 'https://app.example' } });
    const openid = (await response.json()) as Record<string, unknown>;
    expect(response.status).toBe(200);
    expect(response.headers.get('access-control-allow-origin')).toBe('https://app.example');
    expect(response.headers.get('access-control-allow-credentials')).toBeNull();
    for (const name of ['issuer', 'jwks_uri', 'authorization_endpoint', 'token_endpoint', 'introspection_endpoint', 'revocation_endpoint', 'end_session_endpoint']) expect([name, openid[name]]).toEqual([name, smart[name]]);
    expect(smart).toMatchObject({ issuer: server.issuer, code_challenge_methods_supported: ['S256'], token_endpoint_auth_signing_alg_values_supported: ['RS384', 'ES384'] });
    expect(openid).toMatchObject({ code_challenge_methods_supported: ['S256'], response_types_supported: ['code'], id_token_signing_alg_values_supported: ['RS256'], token_endpoint_auth_signing_alg_values_supported: ['RS384', 'ES384'] });
    expect(openid['pushed_authorization_request_endpoint']).toBeUndefined();
    expect(openid['userinfo_endpoint']).toBeUndefined();
  });

  test('what is published does not follow the Host header', async () => {
    const response = await fetchWith(server.caPem)(`${server.issuer}/.well-known/openid-configuration`, { headers: { host: 'evil.example' } });
    expect(await response.text()).not.toContain('evil.example');
  });
});

describe('backend services', () => {
  test.each(['ES384', 'RS384'] as const)('client_credentials with %s', async (alg) => {
    const key = await clientKey(alg);
    const { clientId, clientSecret } = await server.auth.clients.addClient({ name: 'Registry', type: 'jwks', scope: 'system/*.rs', jwks: key.jwks });
    expect(clientSecret).toBeUndefined();
    const { status, headers, body } = await backendToken(server, await assertion(server, clientId, key), 'system/Observation.read system/Patient.rs?_id=1 system/Patient.cruds user/Patient.rs openid nonsense');
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toContain('no-store');
    expect(headers.get('pragma')).toBe('no-cache');
    // What the client may not have, or is not a backend's, is left out; the rest is verbatim.
    expect(body).toEqual({ access_token: expect.stringMatching(/^[\w-]{43}$/), expires_in: 300, scope: 'system/Observation.read system/Patient.rs?_id=1', token_type: 'Bearer' });
    const facts = await server.auth.authenticateBearer(String(body['access_token']));
    expect(facts).toEqual({ clientId, clientName: 'Registry', scope: body['scope'], expiresAtMs: expect.any(Number) });
    expect(facts.expiresAtMs - Date.now()).toBeLessThanOrEqual(300_000);
    expect((await server.records()).at(-1)).toMatchObject({ kind: 'token', interaction: 'client_credentials', outcome: '0', actor: { kind: 'client', id: clientId, display: 'Registry', address: '127.0.0.1' }, client: { id: clientId, grantType: 'client_credentials', scope: body['scope'] } });
  });

  test('a client with a secret', async () => {
    const { clientId, clientSecret } = await server.auth.clients.addClient({ name: 'Warehouse', type: 'confidential-secret', scope: 'system/Patient.rs' });
    const basic = `Basic ${Buffer.from(`${clientId}:${clientSecret!}`).toString('base64')}`;
    expect((await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs' }, { authorization: basic })).status).toBe(200);
    expect((await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_id: clientId, client_secret: clientSecret })).status).toBe(200);
    const wrong = await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_id: clientId, client_secret: `${clientSecret!}x` });
    expect([wrong.status, wrong.body['error']]).toEqual([401, 'invalid_client']);
    // The stored hash must not do as a secret.
    const metadata = await server.auth.clients.metadata(clientId);
    expect((await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_id: clientId, client_secret: metadata!.client_secret })).status).toBe(401);
  });
});

describe('a patient and an app', () => {
  test('standalone launch, refresh, introspection, revocation', async () => {
    const person = await addPerson(server, { patientId: 'pat-7' });
    const { tokens, callback, browser } = await launch(server, publicApp, person);
    expect(callback.searchParams.get('iss')).toBe(server.issuer);
    expect(tokens.status).toBe(200);
    expect(tokens.headers.get('pragma')).toBe('no-cache');
    expect(tokens.body).toMatchObject({ token_type: 'Bearer', expires_in: 900, patient: 'pat-7', need_patient_banner: false, refresh_token: expect.any(String) });
    expect(new Set(String(tokens.body['scope']).split(' '))).toEqual(new Set(patientScopes.split(' ')));
    for (const cookie of browser.setCookies) expect(cookie).toMatch(/httponly/i);
    for (const cookie of browser.setCookies) expect(cookie).toMatch(/; secure/i);
    for (const cookie of browser.setCookies) expect(cookie).toMatch(/samesite=lax/i);

    const facts = await server.auth.authenticateBearer(String(tokens.body['access_token']));
    expect(facts).toMatchObject({ clientId: publicApp, clientName: 'Growth Chart', scope: tokens.body['scope'], user: { id: person.id, username: person.username, role: 'patient', fhirUser: 'Patient/pat-7' }, launch: { patient: 'pat-7' } });

    const jwks = createRemoteJWKSet(new URL(`${server.issuer}/jwks`), { [customFetch]: (url, init) => fetchWith(server.caPem)(url, { method: init.method, headers: Object.fromEntries(init.headers) }) });
    const { payload } = await jwtVerify(String(tokens.body['id_token']), jwks, { issuer: server.issuer, audience: publicApp, algorithms: ['RS256'] });
    expect(payload).toMatchObject({ sub: person.id, fhirUser: `${server.fhirBaseUrl}/Patient/pat-7` });

    const introspected = await post(server, 'introspect', { token: String(tokens.body['access_token']), client_id: publicApp });
    expect(introspected.body).toMatchObject({ active: true, client_id: publicApp, scope: tokens.body['scope'], patient: 'pat-7', need_patient_banner: false, iss: server.issuer, sub: person.id, fhirUser: payload['fhirUser'] });
    expect((await post(server, 'introspect', { token: 'x'.repeat(43), client_id: publicApp })).body).toEqual({ active: false });

    const refreshed = await post(server, 'token', { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']), client_id: publicApp });
    expect(refreshed.status).toBe(200);
    expect(refreshed.body).toMatchObject({ patient: 'pat-7', need_patient_banner: false, scope: tokens.body['scope'] });
    expect(refreshed.body['refresh_token']).not.toBe(tokens.body['refresh_token']);
    const narrower = await post(server, 'token', { grant_type: 'refresh_token', refresh_token: String(refreshed.body['refresh_token']), client_id: publicApp, scope: 'patient/Patient.read' });
    expect(narrower.body['scope']).toBe('patient/Patient.read');
    expect((await server.auth.authenticateBearer(String(narrower.body['access_token']))).scope).toBe('patient/Patient.read');

    expect((await post(server, 'revoke', { token: String(narrower.body['refresh_token']), client_id: publicApp })).status).toBe(200);
    await expect(server.auth.authenticateBearer(String(narrower.body['access_token']))).rejects.toMatchObject({ code: 'token-invalid' });
    expect((await post(server, 'token', { grant_type: 'refresh_token', refresh_token: String(narrower.body['refresh_token']), client_id: publicApp })).body['error']).toBe('invalid_grant');

    const own = (await server.records()).filter(({ actor }) => actor.id === person.id);
    expect(own.map(({ kind, interaction, outcome }) => `${kind} ${interaction} ${outcome}`)).toEqual([
      // The consent page counts what each scope would release, and each of the five kinds of observations.
      'login login 0', ...Array.from({ length: 7 }, () => 'rest search-type 0'), 'token consent 0', 'token authorize 0', 'token authorization_code 0', 'token refresh_token 0', 'token refresh_token 0',
    ]);
    expect(own.at(-1)).toMatchObject({ actor: { display: person.username, role: 'patient', fhirUser: 'Patient/pat-7', clientId: publicApp, clientName: 'Growth Chart' }, patients: ['pat-7'] });
  });

  test('the request may come by POST, whatever its length, and the state returns byte for byte', async () => {
    const person = await addPerson(server);
    const browser = server.browser();
    const state = 'ä b+c%20&=/?#"<';
    const manyScopes = Array.from({ length: 300 }, (_, i) => `patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|${i}`);
    const { url, verifier } = await authorizationUrl(server, publicApp, { state, scope: `launch/patient ${manyScopes.join(' ')}` });
    expect(url.href.length).toBeGreaterThan(20_000);
    const form = url.searchParams;
    const shown = await browser.follow(`${server.issuer}/authorize`, { form });
    expect(shown.url.pathname).toMatch(/\/interaction\//);
    const callback = await allow(browser, await signIn(browser, shown.url, person), (scope) => scope.endsWith('|7'));
    expect(callback.searchParams.get('state')).toBe(state);
    const tokens = await post(server, 'token', { grant_type: 'authorization_code', client_id: publicApp, code: callback.searchParams.get('code')!, redirect_uri: redirectUri, code_verifier: verifier });
    expect(tokens.body['scope']).toBe(`launch/patient ${manyScopes[7]!}`);
  });

  test('what is unticked is not granted, and no refresh token comes without offline_access', async () => {
    const { tokens } = await launch(server, publicApp, await addPerson(server), {}, (scope) => scope === 'patient/Patient.read');
    expect(tokens.body['scope']).toBe('openid fhirUser launch/patient patient/Patient.read');
    expect(tokens.body['refresh_token']).toBeUndefined();
    expect(tokens.body['patient']).toBe('pat-1');
  });

  test('the person may say no', async () => {
    const browser = server.browser();
    const { url, state } = await authorizationUrl(server, publicApp);
    const shown = await browser.follow(url);
    const csrf = /name="csrf" value="([^"]+)"/.exec(await shown.response.text())![1]!;
    const { url: callback } = await browser.follow(shown.url, { form: new URLSearchParams({ csrf, decision: 'cancel' }) });
    expect([callback.origin, callback.searchParams.get('error'), callback.searchParams.get('state'), callback.searchParams.get('code')]).toEqual(['https://app.example', 'access_denied', state, null]);
    expect((await server.records()).at(-1)).toMatchObject({ kind: 'token', interaction: 'authorize', outcome: '4', error: 'grant-refused' });
  });

  test('signing out ends the session and what depends on it', async () => {
    const person = await addPerson(server);
    const { tokens, browser } = await launch(server, publicApp, person, { scope: 'openid launch/patient online_access patient/Patient.rs' });
    expect(tokens.body['refresh_token']).toEqual(expect.any(String));
    await server.auth.authenticateBearer(String(tokens.body['access_token']));
    const asked = await browser.follow(`${server.issuer}/logout`);
    const page = await asked.response.text();
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(page)![1]!;
    await browser.follow(`${server.issuer}/logout/confirm`, { form: new URLSearchParams({ xsrf, logout: 'yes' }) });
    await expect(server.auth.authenticateBearer(String(tokens.body['access_token']))).rejects.toMatchObject({ code: 'token-invalid' });
    expect((await post(server, 'token', { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']), client_id: publicApp })).body['error']).toBe('invalid_grant');
    expect((await server.records()).filter(({ kind }) => kind === 'logout')).toHaveLength(1);
  });
});

describe('a clinician and an app', () => {
  test('EHR launch: patient, encounter and banner come from it, once, and only for whom it was made', async () => {
    const nurse = await addPerson(server, { role: 'nurse', practitionerId: 'prac-1' });
    const other = await addPerson(server, { role: 'nurse' });
    const value = await server.auth.createLaunch({ userId: nurse.id, patient: 'pat-9', encounter: 'enc-3', needPatientBanner: false });
    const scope = 'openid fhirUser launch patient/Observation.rs user/Patient.rs';
    await expect(launch(server, publicApp, other, { scope, launch: value })).rejects.toThrow('no form');
    const { tokens } = await launch(server, publicApp, nurse, { scope, launch: value });
    expect(tokens.body).toMatchObject({ patient: 'pat-9', encounter: 'enc-3', need_patient_banner: false, scope });
    expect(await server.auth.authenticateBearer(String(tokens.body['access_token']))).toMatchObject({ user: { role: 'nurse', fhirUser: 'Practitioner/prac-1' }, launch: { id: value, patient: 'pat-9', encounter: 'enc-3' } });
    server.clock.offsetMs += 60_000;
    await expect(launch(server, publicApp, nurse, { scope, launch: value })).rejects.toThrow('no form');
  });

  test('a patient gets no other record than their own, whatever an EHR prepared', async () => {
    const person = await addPerson(server, { patientId: 'pat-1' });
    const value = await server.auth.createLaunch({ userId: person.id, patient: 'pat-2' });
    await expect(launch(server, publicApp, person, { scope: 'launch patient/Observation.rs', launch: value })).rejects.toThrow('no form');
  });

  test('without a patient, what needs one is withheld and said so', async () => {
    const nurse = await addPerson(server, { role: 'nurse' });
    const browser = server.browser();
    const { url } = await authorizationUrl(server, publicApp, { scope: 'openid launch/patient patient/Observation.rs user/Patient.rs' });
    const consent = await submit(browser, await signIn(browser, url, nurse), { decision: 'skip' });
    const page = await consent.response.clone().text();
    expect(page).toContain('It will not get');
    const callback = await allow(browser, consent);
    const code = callback.searchParams.get('code')!;
    expect(code).toEqual(expect.any(String));
  });
});

test('openid-client discovers, runs a code flow with PKCE, and refreshes', async () => {
  const person = await addPerson(server, { patientId: 'pat-5' });
  const trusted = fetchWith(server.caPem);
  const config = await client.discovery(new URL(server.issuer), publicApp, undefined, client.None(), {
    [client.customFetch]: (url, options) => trusted(url, { method: options.method, headers: options.headers, body: options.body }),
  });
  const verifier = client.randomPKCECodeVerifier();
  const [state, nonce] = [client.randomState(), client.randomNonce()];
  const url = client.buildAuthorizationUrl(config, { redirect_uri: redirectUri, scope: patientScopes, aud: server.fhirBaseUrl, code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', state, nonce });
  const browser = server.browser();
  const callback = await allow(browser, await signIn(browser, url, person));
  const tokens = await client.authorizationCodeGrant(config, callback, { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce });
  expect(tokens['patient']).toBe('pat-5');
  expect(tokens.claims()).toMatchObject({ sub: person.id, fhirUser: `${server.fhirBaseUrl}/Patient/pat-5` });
  const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token!);
  expect(refreshed['patient']).toBe('pat-5');
});
