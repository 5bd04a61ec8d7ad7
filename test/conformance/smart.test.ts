import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify, type JSONWebKeySet } from 'jose';
import { HttpClient } from '../../server/demo/http-client.ts';
import { clientKey, type ClientKey } from '../rooms/auth/support.ts';
import { backendCaller } from '../support/fhir.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertionFor } from '../support/client-assertion.ts';
import { SmartSite, type Answer, type App, type User } from '../support/smart.ts';
import { loadSmartFixtures } from './smart-fixtures.ts';

const patientScopes = 'launch/patient openid fhirUser offline_access patient/*.rs';
const ehrScopes = 'launch openid fhirUser offline_access user/Patient.rs user/Encounter.rs user/Observation.rs user/Practitioner.rs';
const registered = 'openid fhirUser profile launch launch/patient launch/encounter offline_access online_access patient/*.cruds user/*.cruds';

let server: TestServer;
let site: SmartSite;
let http: HttpClient;
let ada: User;
let doctor: User;
let app: App;
let secretApp: App;
let keyApp: App;
let key: ClientKey;
/** A standalone launch of the patient, as the public app. */
let standalone: Answer & { readonly code: string; readonly verifier: string };
/** An EHR launch of the physician, as the app with a secret. */
let ehr: Answer & { readonly code: string; readonly verifier: string };

beforeAll(async () => {
  server = await startTestServer();
  http = new HttpClient({ ca: server.ca });
  site = new SmartSite(server);
  await loadSmartFixtures(await backendCaller(server, http, 'system/*.cruds'));
  ada = await site.addUser('patient', '--patient', 's-ada');
  doctor = await site.addUser('physician', '--practitioner', 's-doctor');
  key = await clientKey();
  app = await site.addApp('public', registered);
  secretApp = await site.addApp('confidential-secret', `${registered} system/*.rs`);
  keyApp = await site.addApp({ jwks: key.jwks }, `${registered} system/Patient.rs system/*.read`);
  standalone = await site.launch(ada, app, patientScopes);
  ehr = await site.launch(doctor, secretApp, ehrScopes, { launch: await ehrLaunch() });
}, 300_000);

afterAll(async () => {
  http.close();
  await server.stop();
});

async function ehrLaunch(...more: readonly string[]): Promise<string> {
  return (await server.cliJson<{ launch: string }>(['client', 'launch', '--user', doctor.username, '--patient', 's-ada', '--encounter', 's-ada-visit', '--intent', 'reconcile-medications', ...more])).launch;
}

const list = (value: unknown): string[] => String(value).split(' ');
const configuration = async (headers: Record<string, string> = {}): Promise<Answer> => site.fhir('.well-known/smart-configuration', undefined, { headers });

describe('A. Discovery', () => {
  test('smart-1 is there without a token, as JSON, whatever Accept says', async () => {
    const { status, headers } = await configuration({ accept: 'application/xml' });
    expect(status).toBe(200);
    expect(headers.get('content-type')).toMatch(/^application\/json/);
  });
  test('smart-2 smart-3 every endpoint is an absolute URL', async () => {
    const { body } = await configuration();
    const endpoints = Object.entries(body).filter(([name]) => name.endsWith('_endpoint'));
    expect(endpoints.map(([name]) => name)).toEqual(expect.arrayContaining(['authorization_endpoint', 'token_endpoint', 'introspection_endpoint', 'revocation_endpoint', 'management_endpoint']));
    for (const [name, value] of endpoints) expect([name, URL.parse(String(value))?.protocol]).toEqual([name, 'https:']);
  });
  test('smart-4 to smart-7 capabilities, grant types, S256 and not plain', async () => {
    const { body } = await configuration();
    expect((body['capabilities'] as unknown[]).every((one) => typeof one === 'string')).toBe(true);
    expect(body['grant_types_supported']).toEqual(expect.arrayContaining(['authorization_code', 'client_credentials']));
    expect(body['code_challenge_methods_supported']).toEqual(['S256']);
  });
  test('smart-8 to smart-12 issuer, keys, scopes, introspection, private_key_jwt', async () => {
    const { body } = await configuration();
    expect(body).toMatchObject({ issuer: site.issuer, jwks_uri: expect.any(String), introspection_endpoint: expect.any(String) });
    expect(body['scopes_supported']).toEqual(expect.arrayContaining([expect.stringMatching(/^(patient|user|system|\*)\/([a-zA-Z*]+)\.([cruds]+)(\?.+)?$/)]));
    expect(body['token_endpoint_auth_methods_supported']).toContain('private_key_jwt');
    expect(body['token_endpoint_auth_signing_alg_values_supported']).toEqual(expect.arrayContaining(['RS384', 'ES384']));
  });
  test('smart-13 smart-14 the capabilities of both scenarios', async () => {
    expect((await configuration()).body['capabilities']).toEqual(expect.arrayContaining([
      'launch-standalone', 'launch-ehr', 'client-public', 'client-confidential-symmetric', 'client-confidential-asymmetric', 'sso-openid-connect', 'context-standalone-patient', 'context-banner', 'context-style',
      'context-ehr-patient', 'context-ehr-encounter', 'permission-offline', 'permission-patient', 'permission-user', 'authorize-post', 'permission-v1', 'permission-v2',
    ]));
  });
  test('smart-15 smart-16 any origin may read smart-configuration and metadata', async () => {
    for (const path of ['.well-known/smart-configuration', 'metadata']) expect((await site.fhir(path, undefined, { headers: { origin: 'https://app.example' } })).headers.get('access-control-allow-origin')).toMatch(/^(\*|https:\/\/app\.example)$/);
  });
  test('smart-17 nothing below TLS 1.2', async () => {
    const refused = new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: Number(new URL(server.baseUrl).port), ca: server.ca, servername: 'localhost', minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }, () => resolve('connected'));
      socket.once('error', () => resolve('refused'));
    });
    expect(await refused).toBe('refused');
  });
});

describe('C. Standalone launch', () => {
  test('smart-27 smart-29 GET leads to a code, and the state returns byte for byte', async () => {
    const { url, state } = site.request(app, patientScopes, { state: 'ä b+c%20&=/?#"<' });
    const callback = await site.walk(ada, url);
    expect(callback.searchParams.get('code')).toMatch(/\S/);
    expect([callback.searchParams.get('error'), callback.searchParams.get('state')]).toEqual([null, state]);
  });
  test('smart-28 the same by POST', async () => {
    const { url } = site.request(app, patientScopes);
    expect((await site.walk(ada, `${site.issuer}/authorize`, {}, url.searchParams)).searchParams.get('code')).toMatch(/\S/);
  });
  test('smart-30 query parameters that the server does not know do no harm', async () => {
    const { url } = site.request(app, patientScopes);
    url.searchParams.set('tenant', 'main');
    expect((await site.walk(ada, url)).searchParams.get('code')).toMatch(/\S/);
  });
  test('smart-31 smart-108 smart-109 the code is redeemed by public, symmetric and asymmetric clients', async () => {
    expect(standalone.status).toBe(200);
    expect((await site.launch(ada, secretApp, patientScopes)).status).toBe(200);
    const assertion = await assertionFor(site.issuer, keyApp.clientId, key);
    expect((await site.launch(ada, keyApp, patientScopes, {}, {}, assertion)).status).toBe(200);
  });
  test('smart-32 smart-33 the patient is in context and can be read with the token, not without', async () => {
    expect(standalone.body['patient']).toBe('s-ada');
    expect(await site.fhir('Patient/s-ada', standalone.body['access_token'])).toMatchObject({ status: 200, body: { resourceType: 'Patient', id: 's-ada' } });
    expect((await site.fhir('Patient/s-ada')).status).toBe(401);
    expect((await site.fhir('Patient/s-ben', standalone.body['access_token'])).status).toBe(404);
  });
  test('smart-34 smart-35 what was granted is literally what was asked', async () => {
    expect(new Set(list(standalone.body['scope']))).toEqual(new Set(list(patientScopes)));
  });
  test('smart-32a a physician searches the patient: by three letters, a birth date with two, or an identifier, never a list', async () => {
    const scope = 'launch/patient launch/encounter patient/Patient.rs patient/Encounter.rs';
    const { url } = site.request(app, scope);
    await site.walk(doctor, url, { patient: { name: 'sa' } });
    const { body } = await site.launch(doctor, app, scope, {}, { patient: { name: 'sam' }, encounter: true });
    expect(site.pages).toEqual(['Choose a patient', 'Choose a patient', 'Choose a visit', 'Choose a visit', 'Allow Growth Chart?']);
    expect(body).toMatchObject({ patient: 's-ada', encounter: 's-ada-visit' });
    expect((await site.fhir('Encounter/s-ada-visit', body['access_token'])).status).toBe(200);
    const again = await site.launch(doctor, app, scope, {}, { patient: { identifier: 'MRN-s-ben' } });
    expect(again.body).toMatchObject({ patient: 's-ben' });
  });
  test('smart-32b without a patient, patient scopes are not granted', async () => {
    const { body } = await site.launch(doctor, app, 'openid launch/patient patient/Observation.rs user/Patient.rs');
    expect(body['scope']).toBe('openid user/Patient.rs');
    expect(body['patient']).toBeUndefined();
  });
  test('smart-32c a proxy chooses among their own, and gets no others', async () => {
    const parent = await site.addUser('patient', '--patient', 's-ada', '--proxy-for', 's-ben');
    const { body } = await site.launch(parent, app, 'launch/patient patient/Patient.rs', { prompt: 'consent' });
    expect(['s-ada', 's-ben']).toContain(body['patient']);
    const other = body['patient'] === 's-ada' ? 's-ben' : 's-ada';
    expect((await site.fhir(`Patient/${String(body['patient'])}`, body['access_token'])).status).toBe(200);
    expect((await site.fhir(`Patient/${other}`, body['access_token'])).status).toBe(404);
  });
});

describe('D. EHR launch', () => {
  test('smart-36 the launch URL gets iss and launch', async () => {
    const { url } = await server.cliJson<{ url: string }>(['client', 'launch', '--user', doctor.username, '--launch-url', 'https://app.example/launch?x=1']);
    const { searchParams } = new URL(url);
    expect([searchParams.get('x'), searchParams.get('iss'), searchParams.get('launch')]).toEqual(['1', server.fhirUrl, expect.stringMatching(/\S/)]);
  });
  test('smart-37 smart-38 smart-39 launch alone brings patient, encounter, banner and style', async () => {
    expect(ehr.body).toMatchObject({ patient: 's-ada', encounter: 's-ada-visit', need_patient_banner: true, intent: 'reconcile-medications' });
    for (const path of ['Patient/s-ada', 'Encounter/s-ada-visit']) expect((await site.fhir(path, ehr.body['access_token'])).status).toBe(200);
    const style = await site.fetch(String(ehr.body['smart_style_url']), { headers: { origin: 'https://app.example' } });
    expect([style.status, style.headers.get('access-control-allow-origin')]).toEqual([200, '*']);
    expect(await style.json()).toMatchObject({ color_background: expect.any(String) });
  });
  test('smart-40 fhirContext comes as it was prepared; Patient and Encounter need a role of their own', async () => {
    const { writeFileSync } = await import('node:fs');
    const file = `${server.directory}/context.json`;
    const context = [{ reference: 'ImagingStudy/i-1' }, { canonical: 'http://example.org/Questionnaire/q' }, { reference: 'Patient/s-ben', role: 'https://example.org/donor' }];
    writeFileSync(file, JSON.stringify(context));
    const { body } = await site.launch(doctor, secretApp, ehrScopes, { launch: await ehrLaunch('--fhir-context', file, '--banner-shown') });
    expect(body).toMatchObject({ fhirContext: context, need_patient_banner: false });
    writeFileSync(file, JSON.stringify([{ reference: 'Patient/s-ben' }]));
    await expect(ehrLaunch('--fhir-context', file)).rejects.toThrow('business-rule');
  });
  test('smart-41 the scopes that were asked', async () => {
    expect(new Set(list(ehr.body['scope']))).toEqual(new Set(list(ehrScopes)));
  });
  test('smart-42 patient scopes get a patient in context', async () => {
    const { body } = await site.launch(doctor, secretApp, 'launch patient/Observation.rs', { launch: await ehrLaunch() });
    expect(body).toMatchObject({ patient: 's-ada', scope: 'launch patient/Observation.rs' });
  });
  test('smart-37a a launch is for one person and one use', async () => {
    const launch = await ehrLaunch();
    expect((await site.walk(ada, site.request(app, 'launch patient/Patient.rs', { launch }).url)).origin).toBe(server.baseUrl);
    await site.launch(doctor, secretApp, ehrScopes, { launch });
    expect((await site.walk(doctor, site.request(secretApp, ehrScopes, { launch }).url)).origin).toBe(server.baseUrl);
  });
});

describe('E. PKCE and invalid requests', () => {
  const redeem = async (change: (sent: { code: string; verifier: string; challenge: string }) => Record<string, string>, as = app): Promise<number> => {
    const { url, verifier } = site.request(app, patientScopes);
    const code = (await site.walk(ada, url)).searchParams.get('code')!;
    return (await site.token(as, { grant_type: 'authorization_code', redirect_uri: app.redirectUri, ...change({ code, verifier, challenge: url.searchParams.get('code_challenge')! }) })).status;
  };
  test('smart-43 no verifier', async () => expect([400, 401]).toContain(await redeem(({ code }) => ({ code }))));
  test('smart-44 blank verifier', async () => expect([400, 401]).toContain(await redeem(({ code }) => ({ code, code_verifier: '' }))));
  test('smart-45 wrong verifier', async () => expect([400, 401]).toContain(await redeem(({ code, verifier }) => ({ code, code_verifier: `x${verifier.slice(1)}y` }))));
  test('smart-46 the challenge as verifier', async () => expect([400, 401]).toContain(await redeem(({ code, challenge }) => ({ code, code_verifier: challenge }))));
  test('smart-48 bad code', async () => expect(await redeem(({ verifier }) => ({ code: 'BAD_CODE', code_verifier: verifier }))).toBe(400));
  test('smart-49 unknown client', async () => expect([400, 401]).toContain(await redeem(({ code, verifier }) => ({ code, code_verifier: verifier }), { ...app, clientId: 'app-unknown' })));
  test.each([['smart-47 plain', { code_challenge_method: 'plain' }], ['smart-47a no challenge', { code_challenge: undefined, code_challenge_method: undefined }], ['smart-50 another aud', { aud: 'https://evil.example/fhir' }], ['smart-50a no aud', { aud: undefined }]])('%s: no code', async (_, changes) => {
    const callback = await site.walk(ada, site.request(app, patientScopes, changes).url);
    expect([callback.searchParams.get('code'), callback.searchParams.get('error')]).toEqual([null, expect.any(String)]);
  });
});

describe('F. Token response', () => {
  test('smart-51 smart-52 smart-53 members and their types', () => {
    expect(standalone.body).toMatchObject({ access_token: expect.any(String), token_type: 'Bearer', expires_in: expect.any(Number), scope: expect.any(String), refresh_token: expect.any(String) });
    expect(standalone.body['expires_in']).toBeLessThanOrEqual(900);
  });
  test('smart-54 smart-55 not to be stored', () => {
    expect(standalone.headers.get('cache-control')).toContain('no-store');
    expect(standalone.headers.get('pragma')).toContain('no-cache');
  });
  test('smart-56 a public client calls from any origin', async () => {
    const { headers } = await site.token(app, { grant_type: 'authorization_code', code: 'x', redirect_uri: app.redirectUri, code_verifier: 'x' }, { origin: 'https://app.example' });
    expect(headers.get('access-control-allow-origin')).toMatch(/^(\*|https:\/\/app\.example)$/);
  });
  test('smart-57 scopes that the client may not have are absent', async () => {
    expect((await site.launch(ada, app, 'launch/patient patient/Patient.rs system/Patient.rs nonsense')).body['scope']).toBe('launch/patient patient/Patient.rs');
  });
});

describe('G. Refresh', () => {
  test('smart-58 to smart-62 smart-64 by each type of client, with and without scope, in context, by its own client', async () => {
    const assertion = async () => assertionFor(site.issuer, keyApp.clientId, key);
    for (const [as, authentication] of [[app, async () => ({})], [secretApp, async () => ({})], [keyApp, assertion]] as const) {
      const launched = await site.launch(ada, as, patientScopes, {}, {}, await authentication());
      const refresh = async (token: unknown, more = {}): Promise<Answer> => site.token(as, { grant_type: 'refresh_token', refresh_token: String(token), ...more, ...(await authentication()) });
      const first = await refresh(launched.body['refresh_token']);
      expect(first).toMatchObject({ status: 200, body: { access_token: expect.any(String), token_type: 'Bearer', expires_in: expect.any(Number), scope: launched.body['scope'], patient: 's-ada' } });
      expect([first.headers.get('cache-control'), first.headers.get('pragma')]).toEqual([expect.stringContaining('no-store'), 'no-cache']);
      const second = await refresh(first.body['refresh_token'], { scope: launched.body['scope'] });
      expect(second.status).toBe(200);
      expect((await site.fhir('Patient/s-ada', second.body['access_token'])).status).toBe(200);
      const thief = as === secretApp ? app : secretApp;
      expect((await site.token(thief, { grant_type: 'refresh_token', refresh_token: String(second.body['refresh_token']) })).status).toBe(400);
    }
  });
  test('smart-63 unknown refresh token', async () => expect([400, 401]).toContain((await site.token(app, { grant_type: 'refresh_token', refresh_token: 'unknown' })).status));
});

describe('I. OpenID Connect', () => {
  test('smart-79 to smart-84 the id_token is signed by a published RSA key and names issuer, client and person', async () => {
    const openid = await (await site.fetch(`${site.issuer}/.well-known/openid-configuration`)).json() as Record<string, unknown>;
    for (const name of ['issuer', 'authorization_endpoint', 'token_endpoint', 'jwks_uri', 'response_types_supported', 'subject_types_supported']) expect(openid[name]).toBeTruthy();
    expect(openid['id_token_signing_alg_values_supported']).toContain('RS256');
    const keys = await (await site.fetch(String(openid['jwks_uri']))).json() as JSONWebKeySet;
    expect(keys.keys.some(({ kty }) => kty === 'RSA')).toBe(true);
    const idToken = String(standalone.body['id_token']);
    expect(decodeProtectedHeader(idToken)).toMatchObject({ alg: 'RS256', kid: keys.keys[0]!.kid });
    const { payload } = await jwtVerify(idToken, createLocalJWKSet(keys), { issuer: site.issuer, audience: app.clientId });
    expect(payload).toMatchObject({ sub: ada.id, iat: expect.any(Number), fhirUser: `${server.fhirUrl}/Patient/s-ada` });
  });
  test('smart-85 smart-86 fhirUser can be read with the token, from any origin', async () => {
    const { status, headers } = await site.fhir('Practitioner/s-doctor', ehr.body['access_token'], { headers: { origin: 'https://app.example' } });
    expect([status, headers.get('access-control-allow-origin')]).toEqual([200, '*']);
  });
});

describe('prompt=none', () => {
  test('goes on where session, grant and context exist; otherwise says what is missing', async () => {
    const scope = 'openid launch/patient patient/Patient.rs';
    const { body } = await site.launch(doctor, app, scope, {}, { patient: { name: 'sample' } });
    const silent = await site.launch(doctor, app, scope, { prompt: 'none' });
    expect(site.pages).toEqual([]);
    expect(silent.body).toMatchObject({ patient: body['patient'], scope });
    expect((await site.walk(doctor, site.request(app, `${scope} user/Encounter.rs`, { prompt: 'none' }).url)).searchParams.get('error')).toMatch(/consent_required|interaction_required/);
    const nobody = await site.addUser('nurse');
    expect((await site.walk(nobody, site.request(app, scope, { prompt: 'none' }).url)).searchParams.get('error')).toBe('login_required');
  });
});

describe('L. Revocation and what is kept', () => {
  test('smart-106 smart-107 a patient ends an app: its tokens are refused at once, and it has to ask again', async () => {
    const eve = await site.addUser('patient', '--patient', 's-ada');
    const { body } = await site.launch(eve, app, patientScopes);
    expect(site.pages).toEqual(['Sign in', 'Allow Growth Chart?']);
    await site.launch(eve, app, patientScopes);
    expect(site.pages).toEqual([]);
    expect((await site.fhir('Patient/s-ada', body['access_token'])).status).toBe(200);
    const shown = await eve.browser.follow(`${site.issuer}/apps`);
    const page = await shown.response.text();
    expect(page).toContain('Growth Chart');
    const csrf = /name="csrf" value="([^"]+)"/.exec(page)![1]!;
    await eve.browser.follow(`${site.issuer}/apps`, { form: new URLSearchParams({ csrf, client: app.clientId }) });
    expect(await (await eve.browser.follow(`${site.issuer}/apps`)).response.text()).toContain('No app has access');
    expect((await site.fhir('Patient/s-ada', body['access_token'])).status).toBe(401);
    expect((await site.token(app, { grant_type: 'refresh_token', refresh_token: String(body['refresh_token']) })).status).toBe(400);
    await site.launch(eve, app, patientScopes);
    expect(site.pages).toEqual(['Allow Growth Chart?']);
  });
  test('smart-106a IT lists grants and ends them, of one person or all', async () => {
    const one = await site.addUser('patient', '--patient', 's-ben');
    const { body } = await site.launch(one, app, patientScopes);
    const grants = await server.cliJson<{ client_id: string; username: string; scopes: string[] }[]>(['client', 'grants', '--user', one.username]);
    expect(grants).toEqual([expect.objectContaining({ client_id: app.clientId, username: one.username, scopes: expect.arrayContaining(['patient/*.rs']) })]);
    expect(await server.cliJson(['client', 'revoke', app.clientId, '--user', one.username])).toEqual({ client_id: app.clientId, people: [one.id] });
    expect((await site.fhir('Patient/s-ben', body['access_token'])).status).toBe(401);
  });
  test('smart-110 refresh tokens last three months', async () => {
    const { body } = await site.post('introspect', { token: String(standalone.body['refresh_token']), client_id: app.clientId });
    expect(Number(body['exp']) - Date.now() / 1000).toBeGreaterThan(90 * 86_400);
  });
});

