import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { HttpClient } from '../../server/demo/http-client.ts';
import { clientKey, type ClientKey } from '../rooms/auth/support.ts';
import { assertionFor } from '../support/client-assertion.ts';
import { backendCaller } from '../support/fhir.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { SmartSite, type Answer, type App, type User } from '../support/smart.ts';
import { categories, loadSmartFixtures } from './smart-fixtures.ts';

const registered = 'openid fhirUser launch/patient offline_access patient/*.cruds user/*.cruds system/*.cruds';

/** The types of US Core 7.0.0's profiles. */
const usCoreTypes = [
  'AllergyIntolerance', 'CarePlan', 'CareTeam', 'Condition', 'Coverage', 'Device', 'DiagnosticReport', 'DocumentReference', 'Encounter', 'Goal', 'Immunization', 'Location', 'Medication', 'MedicationDispense',
  'MedicationRequest', 'Observation', 'Organization', 'Patient', 'Practitioner', 'PractitionerRole', 'Procedure', 'Provenance', 'QuestionnaireResponse', 'RelatedPerson', 'ServiceRequest', 'Specimen',
];

let server: TestServer;
let site: SmartSite;
let http: HttpClient;
let ada: User;
let app: App;
let service: App;
let key: ClientKey;

beforeAll(async () => {
  server = await startTestServer();
  http = new HttpClient({ ca: server.ca });
  site = new SmartSite(server);
  await loadSmartFixtures(await backendCaller(server, http, 'system/*.cruds'));
  ada = await site.addUser('patient', '--patient', 's-ada');
  key = await clientKey();
  app = await site.addApp('confidential-secret', registered);
  service = await site.addApp({ jwks: key.jwks }, 'openid system/Patient.rs system/*.read');
}, 300_000);

afterAll(async () => {
  http.close();
  await server.stop();
});

const scopesOf = ({ body }: Answer): string[] => String(body['scope']).split(' ');
const idsIn = ({ body }: Answer, mode = 'match'): string[] => ((body['entry'] ?? []) as { resource: { id: string }; search: { mode: string } }[]).filter(({ search }) => search.mode === mode).map(({ resource }) => resource.id).sort();
const basic = (): Record<string, string> => ({ authorization: `Basic ${Buffer.from(`${app.clientId}:${app.clientSecret!}`).toString('base64')}` });

describe('H. Scopes, restricted and granular', () => {
  test('smart-65 smart-66 smart-67 a type that the person unticks is not granted, and refused', async () => {
    const launched = await site.launch(ada, app, 'launch/patient patient/Patient.rs patient/Observation.rs patient/Condition.rs', { prompt: 'consent' }, { keep: (scope) => !scope.includes('Condition') });
    expect(scopesOf(launched)).toEqual(['launch/patient', 'patient/Patient.rs', 'patient/Observation.rs']);
    const token = launched.body['access_token'];
    expect((await site.fhir('Condition?patient=s-ada', token)).status).toBe(403);
    expect((await site.fhir('Condition/s-ada-problem', token)).status).toBe(403);
    expect(await site.fhir('Observation?patient=s-ada', token)).toMatchObject({ status: 200, body: { total: 2 } });
  });
  test('smart-68 smart-69 v1 is answered in v1, v2 in v2', async () => {
    for (const scope of ['patient/Patient.read patient/Observation.*', 'patient/Patient.rs patient/Observation.cruds', 'patient/Patient.r patient/Patient.s']) expect(scopesOf(await site.launch(ada, app, `launch/patient ${scope}`))).toEqual(['launch/patient', ...scope.split(' ')]);
    await expect(site.launch(ada, app, 'patient/Patient.sr')).rejects.toThrow('invalid_scope');
  });
  test('smart-70 smart-71 smart-72 the person picks kinds of Condition and Observation instead of all', async () => {
    const launched = await site.launch(ada, app, 'launch/patient patient/Patient.rs patient/Condition.rs patient/Observation.rs', { prompt: 'consent' }, { kinds: (scope) => scope.endsWith('|problem-list-item') || scope.endsWith('|laboratory') });
    expect(scopesOf(launched)).toEqual(['launch/patient', 'patient/Patient.rs', `patient/Condition.rs?category=${categories.problemList}`, `patient/Observation.rs?category=${categories.laboratory}`]);
    const token = launched.body['access_token'];
    expect(idsIn(await site.fhir('Observation', token))).toEqual(['s-ada-lab']);
    expect(idsIn(await site.fhir('Condition', token))).toEqual(['s-ada-problem']);
    // The same question is answered the same way, without being asked.
    expect(scopesOf(await site.launch(ada, app, 'launch/patient patient/Patient.rs patient/Condition.rs patient/Observation.rs'))).toEqual(scopesOf(launched));
    expect(site.pages).toEqual([]);
    const { url } = site.request(app, 'launch/patient patient/Condition.rs patient/Observation.rs', { prompt: 'consent' });
    const page = await (await ada.browser.follow(url)).response.text();
    for (const [type, codes] of [['Condition', ['encounter-diagnosis', 'problem-list-item', 'health-concern']], ['Observation', ['laboratory', 'social-history', 'vital-signs', 'survey', 'sdoh']]] as const) {
      for (const code of codes) expect(page).toMatch(new RegExp(`name="kind" value="patient/${type}\\.rs\\?category=http[^"]*\\|${code}"`));
    }
  });
  test('smart-73 smart-74 smart-75 smart-76 granular scopes come back verbatim and hold for search, read, _id and _revinclude', async () => {
    const scope = `launch/patient patient/Patient.rs patient/Provenance.rs patient/Observation.rs?category=${categories.laboratory}`;
    const launched = await site.launch(ada, app, scope);
    expect(launched.body['scope']).toBe(scope);
    const token = launched.body['access_token'];
    const form = { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'patient=s-ada' };
    for (const found of [await site.fhir('Observation?patient=s-ada', token), await site.fhir('Observation/_search', token, form)]) {
      expect(idsIn(found)).toEqual(['s-ada-lab']);
      expect(found.body['total']).toBe(1);
    }
    expect((await site.fhir('Observation/s-ada-lab', token)).status).toBe(200);
    expect((await site.fhir('Observation/s-ada-vital', token)).status).toBe(404);
    expect(idsIn(await site.fhir('Observation?_id=s-ada-lab,s-ada-vital', token))).toEqual(['s-ada-lab']);
    const included = await site.fhir('Observation?patient=s-ada&_revinclude=Provenance:target', token);
    expect([idsIn(included), idsIn(included, 'include')]).toEqual([['s-ada-lab'], ['s-ada-lab-provenance', 's-ada-provenance']]);
  });
  test('smart-77 resource scopes at patient, user and system level', async () => {
    const asked = usCoreTypes.flatMap((type) => [`patient/${type}.rs`, `user/${type}.rs`]);
    expect(scopesOf(await site.launch(ada, app, `launch/patient ${asked.join(' ')}`))).toEqual(['launch/patient', ...asked]);
    const system = usCoreTypes.map((type) => `system/${type}.rs`).join(' ');
    expect((await site.post('token', { grant_type: 'client_credentials', scope: system }, basic())).body['scope']).toBe(system);
  });
  test('smart-78 update covers update-as-create, and entries of a batch are checked one by one', async () => {
    const { body } = await site.post('token', { grant_type: 'client_credentials', scope: 'system/Patient.ru' }, basic());
    const headers = { 'content-type': 'application/fhir+json' };
    expect((await site.fhir('Patient/s-new', body['access_token'], { method: 'PUT', headers, body: JSON.stringify({ resourceType: 'Patient', id: 's-new' }) })).status).toBe(201);
    const batch = { resourceType: 'Bundle', type: 'batch', entry: [{ request: { method: 'GET', url: 'Patient/s-new' } }, { request: { method: 'GET', url: 'Observation/s-ada-lab' } }, { request: { method: 'POST', url: 'Patient' }, resource: { resourceType: 'Patient' } }] };
    const answer = await site.fhir('', body['access_token'], { method: 'POST', headers, body: JSON.stringify(batch) });
    expect((answer.body['entry'] as { response: { status: string } }[]).map(({ response }) => response.status.slice(0, 3))).toEqual(['200', '403', '403']);
  });
});

describe('J. Token introspection', () => {
  test('smart-87 to smart-91 scope, context and identity equal those of the token response', async () => {
    const { body } = await site.launch(ada, app, 'openid fhirUser launch/patient offline_access patient/Patient.rs');
    const { status, body: told } = await site.post('introspect', { token: String(body['access_token']) }, basic());
    expect(status).toBe(200);
    expect(told).toMatchObject({ active: true, client_id: app.clientId, scope: body['scope'], patient: 's-ada', need_patient_banner: body['need_patient_banner'], smart_style_url: body['smart_style_url'], iss: site.issuer, sub: ada.id, fhirUser: `${server.fhirUrl}/Patient/s-ada` });
    expect(Number(told['exp'])).toBeGreaterThan(Date.now() / 1000);
  });
  test('smart-92 smart-93 an invalid token is inactive and nothing else; strangers are refused', async () => {
    expect((await site.post('introspect', { token: 'invalid' }, basic())).body).toEqual({ active: false });
    expect((await site.post('introspect', { token: 'invalid' })).status).toBeGreaterThanOrEqual(400);
  });
});

describe('K. Backend services', () => {
  const ask = async (scope = 'system/Patient.rs', changes: Parameters<typeof assertionFor>[3] = {}, more: Record<string, string> = {}): Promise<Answer> => site.post('token', { grant_type: 'client_credentials', scope, ...(await assertionFor(site.issuer, service.clientId, key, changes)), ...more });
  test('smart-94 smart-95 a token that lasts five minutes at most', async () => {
    const { status, body } = await ask();
    expect(status).toBe(200);
    expect(body).toMatchObject({ access_token: expect.any(String), token_type: expect.stringMatching(/^bearer$/i), expires_in: expect.any(Number), scope: 'system/Patient.rs' });
    expect(body['expires_in']).toBeLessThanOrEqual(300);
  });
  test('smart-96 smart-97 bad grant type, bad assertion type', async () => {
    expect(await ask(undefined, {}, { grant_type: 'nonsense' })).toMatchObject({ status: 400, body: { error: 'unsupported_grant_type' } });
    expect([400, 401]).toContain((await ask(undefined, {}, { client_assertion_type: 'nonsense' })).status);
  });
  const nowS = (): number => Math.floor(Date.now() / 1000);
  test.each([
    ['another audience', { claims: { aud: 'https://evil.example/token' } }],
    ['expired', { claims: { exp: 1 } }],
    ['exp beyond five minutes', { claims: { exp: nowS() + 900 } }],
    ['iss is not the client', { claims: { iss: 'app-other' } }],
    ['sub is not the client', { claims: { sub: 'app-other' } }],
    ['no jti', { claims: { jti: undefined } }],
    ['jku that is not registered', { header: { jku: 'https://evil.example/jwks.json' } }],
  ])('smart-98 smart-99 smart-101 refused: %s', async (_, changes) => {
    expect(await ask(undefined, changes)).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });
  test('smart-99a smart-100 another key, and an assertion used twice', async () => {
    const stranger = await assertionFor(site.issuer, service.clientId, { ...(await clientKey()), kid: key.kid });
    expect((await ask(undefined, {}, stranger)).status).toBe(401);
    const once = await assertionFor(site.issuer, service.clientId, key);
    expect([(await ask(undefined, {}, once)).status, (await ask(undefined, {}, once)).status]).toEqual([200, 401]);
  });
  test('smart-103 smart-104 scopes beyond what is registered, and both syntaxes', async () => {
    expect(await ask('system/Patient.cruds')).toMatchObject({ status: 400, body: { error: 'invalid_scope' } });
    for (const scope of ['system/Patient.rs', 'system/*.read']) {
      const { body } = await ask(scope);
      expect(body['scope']).toBe(scope);
      expect((await site.fhir('Patient/s-ada', body['access_token'])).status).toBe(200);
    }
  });
  test('smart-105 a token that is none', async () => expect((await site.fhir('Patient/s-ada', 'x'.repeat(43))).status).toBe(401));
});
