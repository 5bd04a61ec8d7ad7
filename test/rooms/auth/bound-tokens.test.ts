import { randomUUID } from 'node:crypto';
import https from 'node:https';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { dpopKey, proof } from './dpop-proof.ts';
import { addPerson, assertion, clientKey, launch, post, redirectUri, startAuth, type ClientKey, type TestAuth } from './support.ts';

let server: TestAuth;
let key: ClientKey;
beforeAll(async () => {
  server = await startAuth();
  key = await clientKey();
});
afterAll(() => server.close());

const bearerType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const url = (): string => `${server.fhirBaseUrl}/Patient/1`;
const add = async (more: object): Promise<string> => (await server.auth.clients.addClient({ name: 'Backend', type: 'jwks', scope: 'system/*.rs', jwks: key.jwks, ...more })).clientId;

/** Posts a form with a client certificate. */
function postWith(certificate: { certificatePem: string; keyPem: string }, form: Record<string, string>): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const body = new URLSearchParams(form).toString();
    const request = https.request(`${server.issuer}/token`, { method: 'POST', ca: server.caPem, cert: certificate.certificatePem, key: certificate.keyPem, agent: false, headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part)).on('end', () => resolve({ status: response.statusCode, ...(JSON.parse(text) as object) }));
    });
    request.on('error', reject).end(body);
  });
}

test('a DPoP-bound token counts with proofs of its key alone, each once', async () => {
  const clientId = await add({ requireDpop: true });
  const own = await dpopKey();
  const { status, body } = await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_assertion_type: bearerType, client_assertion: await assertion(server, clientId, key) }, { dpop: await proof(own, 'POST', `${server.issuer}/token`) });
  expect([status, body['token_type']]).toEqual([200, 'DPoP']);
  const token = String(body['access_token']);
  const { body: introspected } = await post(server, 'introspect', { token, client_assertion_type: bearerType, client_assertion: await assertion(server, clientId, key) });
  expect(introspected).toMatchObject({ active: true, token_type: 'DPoP', cnf: { jkt: expect.any(String) } });

  const use = (given: string | undefined, scheme: 'DPoP' | 'Bearer' = 'DPoP', method = 'GET') => server.auth.authenticateBearer(token, { scheme, method, url: `${url()}?_format=json`, ...(given === undefined ? {} : { proof: given }) });
  const good = await proof(own, 'GET', url(), { token });
  expect(await use(good)).toMatchObject({ clientId });
  const nowS = Math.floor(Date.now() / 1000);
  const refused: [string, string | undefined, string?][] = [
    ['replay', good], ['no proof', undefined],
    ['another key', await proof(await dpopKey(), 'GET', url(), { token })],
    ['htm', await proof(own, 'POST', url(), { token })],
    ['htu', await proof(own, 'GET', `${server.fhirBaseUrl}/Patient/2`, { token })],
    ['ath', await proof(own, 'GET', url(), { token: 'another' })],
    ['claims', await proof(own, 'GET', url())],
    ['iat', await proof(own, 'GET', url(), { token, claims: { iat: nowS - 120 } })],
    ['iat', await proof(own, 'GET', url(), { token, claims: { iat: nowS + 120 } })],
    ['nonce', await proof(own, 'GET', url(), { token, claims: { nonce: 'evil' } })],
    ['signature', await proof({ ...own, key: (await dpopKey()).key }, 'GET', url(), { token })],
    ['signature', await proof(own, 'GET', url(), { token, header: { typ: 'JWT' } })],
  ];
  for (const [reason, given] of refused) await expect(use(given)).rejects.toMatchObject({ code: 'token-invalid', options: { rule: `dpop: ${reason}`, challenge: expect.stringMatching(/^DPoP error="(?:invalid_dpop_proof|invalid_token|use_dpop_nonce)", algs="ES256 /) } });
  await expect(use(undefined, 'Bearer')).rejects.toMatchObject({ options: { rule: 'dpop: a bound token came as a bearer token' } });
  await expect(server.auth.authenticateBearer(token)).rejects.toMatchObject({ code: 'token-invalid' });

  // A clock that is off: with the nonce of the refusal the proof is good.
  const late = { iat: nowS - 120 };
  const { dpopNonce } = (await use(await proof(own, 'GET', url(), { token, claims: late })).catch((error: unknown) => (error as { options: object }).options)) as { dpopNonce: string };
  expect(await use(await proof(own, 'GET', url(), { token, claims: { ...late, nonce: dpopNonce } }))).toMatchObject({ clientId });
  // The authorization server takes the same nonce.
  const again = await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_assertion_type: bearerType, client_assertion: await assertion(server, clientId, key) }, { dpop: await proof(own, 'POST', `${server.issuer}/token`, { claims: { nonce: dpopNonce } }) });
  expect(again.status).toBe(200);
  // Of ten uses of a proof at once, one counts.
  const parallel = await proof(own, 'GET', url(), { token, claims: { jti: randomUUID() } });
  const answers = await Promise.allSettled(Array.from({ length: 10 }, () => use(parallel)));
  expect(answers.filter(({ status: outcome }) => outcome === 'fulfilled')).toHaveLength(1);
});

test('a token that is not bound is no DPoP token', async () => {
  const { clientId } = await server.auth.clients.addClient({ name: 'App', type: 'public', redirectUris: [redirectUri], scope: 'openid patient/*.rs' });
  const { tokens } = await launch(server, clientId, await addPerson(server), { scope: 'openid patient/Patient.rs' });
  const token = String(tokens.body['access_token']);
  await expect(server.auth.authenticateBearer(token, { scheme: 'DPoP', method: 'GET', url: url(), proof: await proof(await dpopKey(), 'GET', url(), { token }) })).rejects.toMatchObject({ options: { rule: 'dpop: the token is not bound to a key' } });
});

test('a token that is bound to a certificate counts on connections that show it alone; certificates authenticate clients', async () => {
  const certificate = server.pki.issuePartnerCertificate({ name: 'Example Lab' });
  const bound = await add({ requireMtls: true });
  const got = await postWith(certificate, { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_assertion_type: bearerType, client_assertion: await assertion(server, bound, key) });
  expect(got['status']).toBe(200);
  const token = String(got['access_token']);
  const { body } = await post(server, 'introspect', { token, client_assertion_type: bearerType, client_assertion: await assertion(server, bound, key) });
  const thumbprint = (body['cnf'] as Record<string, string>)['x5t#S256']!;
  const use = (more: { certificate?: string }) => server.auth.authenticateBearer(token, { scheme: 'Bearer', method: 'GET', url: url(), ...more });
  expect(await use({ certificate: thumbprint })).toMatchObject({ clientId: bound });
  for (const more of [{}, { certificate: 'x'.repeat(43) }]) await expect(use(more)).rejects.toMatchObject({ code: 'token-invalid', options: { rule: expect.stringContaining('mtls') } });

  const byName = await add({ type: 'tls', jwks: undefined, tlsSubject: 'CN=Example Lab,OU=partner,O=Interlock' });
  const info = await postWith(certificate, { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_id: byName });
  const other = await postWith(server.pki.issuePartnerCertificate({ name: 'Other Lab' }), { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_id: byName });
  const none = await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_id: byName });
  expect([info['status'], other['error'], none.body['error']]).toEqual([200, 'invalid_client', 'invalid_client']);
});

test('a client that must bind its tokens has none that are not', async () => {
  const clientId = await add({ requireDpop: true });
  const refused = await post(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_assertion_type: bearerType, client_assertion: await assertion(server, clientId, key) });
  expect([refused.status, refused.body['error']]).toEqual([400, 'invalid_grant']);
});
