import assert from 'node:assert/strict';
import type { webcrypto } from 'node:crypto';
import { createInterface } from 'node:readline/promises';
import * as oidc from 'openid-client';

/*
 * What an app does with openid-client, unchanged. FHIR_BASE, CLIENT_ID, REDIRECT_URI and SCOPE say where and as what, CLIENT_SECRET
 * or CLIENT_KEY (a JWK for ES384) how it authenticates, LAUNCH what an EHR launched it with, NODE_EXTRA_CA_CERTS whom to trust.
 * Prints where to send the browser, reads where the browser was sent back to.
 */
const { FHIR_BASE: base = '', CLIENT_ID: clientId = '', CLIENT_SECRET: secret, CLIENT_KEY: key, REDIRECT_URI: redirectUri = '', SCOPE: scope = '', LAUNCH: launch } = process.env;

async function authentication(): Promise<oidc.ClientAuth> {
  if (secret !== undefined) return oidc.ClientSecretBasic(secret);
  if (key === undefined) return oidc.None();
  const jwk = JSON.parse(key) as webcrypto.JsonWebKey & { readonly kid: string };
  return oidc.PrivateKeyJwt({ kid: jwk.kid, key: await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-384' }, false, ['sign']) });
}

const smart = (await (await fetch(`${base}/.well-known/smart-configuration`)).json()) as { readonly issuer: string };
const config = await oidc.discovery(new URL(smart.issuer), clientId, undefined, await authentication());
const [pkceCodeVerifier, expectedState, expectedNonce] = [oidc.randomPKCECodeVerifier(), oidc.randomState(), oidc.randomNonce()];
const url = oidc.buildAuthorizationUrl(config, {
  redirect_uri: redirectUri, scope, aud: base, state: expectedState, nonce: expectedNonce,
  code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256',
  ...(launch === undefined ? {} : { launch }),
});
process.stdout.write(`${url.href}\n`);
const callback = await createInterface({ input: process.stdin }).question('');

const tokens = await oidc.authorizationCodeGrant(config, new URL(callback), { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true });
assert.equal(tokens.claims()?.['fhirUser'], `${base}/Practitioner/s-doctor`);
const read = async ({ access_token: token }: oidc.TokenEndpointResponse, path: string): Promise<{ readonly id?: string; readonly total?: number }> => {
  const answer = await oidc.fetchProtectedResource(config, token, new URL(`${base}/${path}`), 'GET');
  assert.equal(answer.status, 200);
  return (await answer.json()) as { id?: string; total?: number };
};
const { patient } = tokens as { readonly patient?: string };
assert.ok(patient);
assert.equal((await read(tokens, `Patient/${patient}`)).id, patient);
assert.equal((await read(tokens, `Observation?patient=${patient}`)).total, 2);

const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token!);
assert.notEqual(refreshed.access_token, tokens.access_token);
assert.deepEqual([refreshed['patient'], refreshed.scope], [patient, tokens.scope]);
assert.equal((await read(refreshed, `Patient/${patient}`)).id, patient);
if (secret !== undefined || key !== undefined) assert.deepEqual([true, patient], [(await oidc.tokenIntrospection(config, refreshed.access_token)).active, (await oidc.tokenIntrospection(config, refreshed.access_token))['patient']]);
await oidc.tokenRevocation(config, refreshed.refresh_token!);
await assert.rejects(oidc.refreshTokenGrant(config, refreshed.refresh_token!), { error: 'invalid_grant' });
process.stdout.write('openid-client: launch, read and refresh as expected\n');
