import { createHmac, generateKeyPairSync, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { exportSPKI, importJWK, SignJWT, type CryptoKey } from 'jose';
import { dpopKey, proof } from '../rooms/auth/dpop-proof.ts';
import { addPerson, allow, assertion, authorizationUrl, backendToken, Browser, clientKey, fetchWith, launch, post, redirectUri, signIn, startAuth, type ClientKey, type TestAuth, type TestPerson } from '../rooms/auth/support.ts';

/**
 * Attacks on an authorization server: RFC 9700 (OAuth 2.0 Security Best Current Practice), RFC 6749, 7591, 7636, 8705, 9207 and
 * 9449, and SMART App Launch's own. Each must be refused, and the refusal must be in the audit trail under the request's id.
 */
interface World {
  readonly server: TestAuth;
  readonly app: string;
  readonly other: string;
  readonly secret: { readonly clientId: string; readonly clientSecret: string };
  readonly backend: string;
  readonly bound: string;
  readonly mtls: string;
  readonly key: ClientKey;
}

/** What the server answered to the attack itself. */
interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}
type Attack = (world: World) => Promise<Answer>;

const scope = 'openid fhirUser launch/patient offline_access patient/Observation.rs patient/Patient.read';
const bearerType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

async function world(): Promise<World> {
  const server = await startAuth({ maxFailuresPerMinute: 10_000 });
  const { clients } = server.auth;
  const key = await clientKey('RS384');
  const add = async (more: object): Promise<string> => (await clients.addClient({ name: 'App', type: 'public', redirectUris: [redirectUri, 'http://127.0.0.1:4567/cb'], scope, ...more })).clientId;
  const jwks = { type: 'jwks', redirectUris: [], scope: 'system/*.rs', jwks: key.jwks } as const;
  const secret = await clients.addClient({ name: 'Secret', type: 'confidential-secret', redirectUris: [redirectUri], scope });
  return { server, key, app: await add({}), other: await add({}), secret: { clientId: secret.clientId, clientSecret: secret.clientSecret! }, backend: await add(jwks), bound: await add({ ...jwks, requireDpop: true }), mtls: await add({ ...jwks, requireMtls: true }) };
}

async function answerOf(response: Response): Promise<Answer> {
  return { status: response.status, headers: response.headers, text: await response.text() };
}
const posted = async (server: TestAuth, path: string, form: Record<string, string | undefined>, headers: Record<string, string> = {}): Promise<Answer> => {
  const { status, headers: answered, body } = await post(server, path, form, headers);
  return { status, headers: answered, text: JSON.stringify(body) };
};
const authorize = (changes: Record<string, string | undefined> | ((w: World) => Record<string, string | undefined>), more: (url: URL) => void = () => undefined): Attack => async (w) => {
  const { url } = await authorizationUrl(w.server, w.app, typeof changes === 'function' ? changes(w) : changes);
  more(url);
  return answerOf(await w.server.browser().request(url));
};
/** A code of a fresh launch, not yet redeemed. */
async function codeOf({ server, app }: World, changes: Record<string, string> = {}): Promise<{ code: string; verifier: string; challenge: string; person: TestPerson }> {
  const [browser, person] = [server.browser(), await addPerson(server)];
  const { url, verifier } = await authorizationUrl(server, app, changes);
  const callback = await allow(browser, await signIn(browser, url, person));
  return { code: callback.searchParams.get('code')!, verifier, challenge: url.searchParams.get('code_challenge')!, person };
}
const redeemed = (w: World, code: string, verifier: string | undefined, changes: Record<string, string> = {}, headers: Record<string, string> = {}): Promise<Answer> =>
  posted(w.server, 'token', { grant_type: 'authorization_code', client_id: w.app, code, redirect_uri: redirectUri, code_verifier: verifier, ...changes }, headers);
const withCode = (change: (got: { verifier: string; challenge: string }, w: World) => { verifier?: string | undefined; form?: Record<string, string> }): Attack => async (w) => {
  const got = await codeOf(w);
  const { verifier, form } = { verifier: got.verifier, ...change(got, w) };
  return redeemed(w, got.code, verifier, form);
};
const withRefresh = (attack: (w: World, form: Record<string, string>, access: string) => Promise<Answer>): Attack => async (w) => {
  const { tokens } = await launch(w.server, w.app, await addPerson(w.server), {}, (one) => one !== 'patient/Patient.read');
  expect(tokens.status).toBe(200);
  return attack(w, { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']), client_id: w.app }, String(tokens.body['access_token']));
};
const asserted = (changes: Parameters<typeof assertion>[3]): Attack => async (w) => posted(w.server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_assertion_type: bearerType, client_assertion: await assertion(w.server, w.backend, w.key, changes) });
const withAssertion = (make: (w: World) => Promise<string>, form: Record<string, string> = {}): Attack => async (w) =>
  posted(w.server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_assertion_type: bearerType, client_assertion: await make(w), ...form });
const claimsOf = ({ server, backend }: World): object => ({ iss: backend, sub: backend, aud: `${server.issuer}/token`, jti: randomUUID(), exp: Math.floor(Date.now() / 1000) + 200 });
const register = (metadata: (w: World) => object, token?: (w: World) => Promise<string>): Attack => async (w) => {
  const authorization = `Bearer ${token === undefined ? await w.server.auth.initialTokens.issue(1, 600) : await token(w)}`;
  return answerOf(await fetchWith(w.server.caPem)(`${w.server.issuer}/register`, { method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body: JSON.stringify({ client_name: 'New', scope: 'patient/*.rs', token_endpoint_auth_method: 'none', redirect_uris: ['https://new.example/cb'], ...metadata(w) }) }));
};
/** A token request of the client whose tokens are bound by DPoP. */
const withProof = (make: (w: World, url: string) => Promise<string | undefined>): Attack => async (w) => {
  const given = await make(w, `${w.server.issuer}/token`);
  return posted(w.server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_assertion_type: bearerType, client_assertion: await assertion(w.server, w.bound, w.key) }, given === undefined ? {} : { dpop: given });
};
async function signInForm(w: World): Promise<{ browser: Browser; action: URL; fields: URLSearchParams }> {
  const browser = w.server.browser();
  const shown = await browser.follow((await authorizationUrl(w.server, w.app)).url);
  const { action, fields } = Browser.form(await shown.response.text());
  return { browser, action: new URL(action, shown.url), fields };
}
const signing = (entries: (person: TestPerson) => Record<string, string>, before: (w: World, person: TestPerson) => Promise<unknown> = async () => undefined): Attack => async (w) => {
  const person = await addPerson(w.server);
  await before(w, person);
  const { browser, action, fields } = await signInForm(w);
  for (const [name, value] of Object.entries({ decision: 'sign-in', username: person.username, password: person.password, code: person.code(), ...entries(person) })) fields.set(name, value);
  return answerOf(await browser.request(action, { form: fields }));
};
const parallel = async (count: number, attack: () => Promise<Answer>): Promise<Answer> => {
  const answers = await Promise.all(Array.from({ length: count }, attack));
  expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1);
  return answers.find(({ status }) => status !== 200)!;
};

const attacks: readonly (readonly [string, Attack])[] = [
  // Redirect URIs (RFC 9700, 4.1) and the authorization request
  ['redirect URI of somebody else', authorize({ redirect_uri: 'https://evil.example/callback' })],
  ['redirect URI with a longer path', authorize({ redirect_uri: `${redirectUri}/more` })],
  ['redirect URI that climbs', authorize({ redirect_uri: `${redirectUri}/../evil` })],
  ['redirect URI with a suffix to the host', authorize({ redirect_uri: 'https://app.example.evil.example/callback' })],
  ['redirect URI with user information', authorize({ redirect_uri: 'https://app.example@evil.example/callback' })],
  ['redirect URI with an encoded slash', authorize({ redirect_uri: 'https://app.example/%2e%2e/callback' })],
  ['redirect URI with a backslash', authorize({ redirect_uri: 'https://evil.example\\@app.example/callback' })],
  ['redirect URI with a fragment', authorize({ redirect_uri: `${redirectUri}#evil` })],
  ['redirect URI with a query that redirects on', authorize({ redirect_uri: `${redirectUri}?next=https://evil.example` })],
  ['redirect URI in another case', authorize({ redirect_uri: 'https://app.example/Callback' })],
  ['redirect URI on another port', authorize({ redirect_uri: 'https://app.example:8443/callback' })],
  ['redirect URI on another loopback port', authorize({ redirect_uri: 'http://127.0.0.1:9999/cb' })],
  ['redirect URI without TLS', authorize({ redirect_uri: 'http://app.example/callback' })],
  ['redirect URI that is script', authorize({ redirect_uri: 'javascript:alert(1)' })],
  ['redirect URI twice', authorize({}, (url) => url.searchParams.append('redirect_uri', 'https://evil.example/callback'))],
  ['no redirect URI', authorize({ redirect_uri: undefined })],
  ['no PKCE', authorize({ code_challenge: undefined, code_challenge_method: undefined })],
  ['plain PKCE', authorize({ code_challenge_method: 'plain' })],
  ['PKCE without a method, which would mean plain', authorize({ code_challenge_method: undefined })],
  ['a PKCE challenge that is no hash', authorize({ code_challenge: 'short' })],
  ['implicit flow', authorize({ response_type: 'token' })],
  ['hybrid flow', authorize({ response_type: 'code id_token', nonce: 'n' })],
  ['a response mode that is not offered', authorize({ response_mode: 'web_message' })],
  ['request object without signature', authorize({ request: 'eyJhbGciOiJub25lIn0.e30.' })],
  ['request by reference into the own network', authorize({ request_uri: 'https://169.254.169.254/latest/meta-data' })],
  ['aud of another server', authorize({ aud: 'https://evil.example/fhir' })],
  ['aud that begins like ours', authorize((w) => ({ aud: `${w.server.fhirBaseUrl}.evil.example` }))],
  ['no aud', authorize({ aud: undefined })],
  ['aud twice', authorize({}, (url) => url.searchParams.append('aud', 'https://evil.example'))],
  ['client_id twice', authorize({}, (url) => url.searchParams.append('client_id', 'app-000000000000000000000000'))],
  ['resource of somebody else', authorize({ resource: 'https://evil.example/fhir' })],
  ['scopes beyond those registered', authorize({ scope: 'user/*.cruds system/*.cruds' })],
  ['a client that nobody registered', authorize({ client_id: 'app-000000000000000000000000' })],
  ['silent sign-in of a stranger', authorize({ prompt: 'none' })],
  // Codes
  ['code used twice', async (w) => {
    const { code, verifier } = await codeOf(w);
    expect((await redeemed(w, code, verifier)).status).toBe(200);
    return redeemed(w, code, verifier);
  }],
  ['code used ten times at once', async (w) => {
    const { code, verifier } = await codeOf(w);
    return parallel(10, () => redeemed(w, code, verifier));
  }],
  ['code of another client', withCode((_got, w) => ({ form: { client_id: w.other } }))],
  ['code with another redirect URI', withCode(() => ({ form: { redirect_uri: 'http://127.0.0.1:4567/cb' } }))],
  ['code without verifier', withCode(() => ({ verifier: undefined }))],
  ['code with an empty verifier', withCode(() => ({ verifier: '' }))],
  ['code with another verifier', withCode(() => ({ verifier: 'x'.repeat(43) }))],
  ['code with its challenge as verifier', withCode(({ challenge }) => ({ verifier: challenge }))],
  ['code that is guessed', (w) => redeemed(w, 'x'.repeat(43), 'y'.repeat(43))],
  ['code bound to a DPoP key, without proof', async (w) => {
    const { code, verifier } = await codeOf(w, { dpop_jkt: 'a'.repeat(43) });
    return redeemed(w, code, verifier);
  }],
  // Refresh tokens
  ['refresh token used twice', withRefresh(async ({ server }, form) => {
    const second = await post(server, 'token', form);
    expect(second.status).toBe(200);
    const refused = await posted(server, 'token', form);
    await expect(server.auth.authenticateBearer(String(second.body['access_token']))).rejects.toMatchObject({ code: 'token-invalid' });
    return refused;
  })],
  ['refresh token used ten times at once', withRefresh(({ server }, form) => parallel(10, () => posted(server, 'token', form)))],
  ['refresh token of another client', withRefresh(({ server, other }, form) => posted(server, 'token', { ...form, client_id: other }))],
  ['refresh with a scope that was unticked', withRefresh(({ server }, form) => posted(server, 'token', { ...form, scope: 'patient/Patient.read' }))],
  ['refresh with more than was granted', withRefresh(({ server }, form) => posted(server, 'token', { ...form, scope: 'patient/*.cruds' }))],
  ['access token as refresh token', withRefresh(({ server }, form, access) => posted(server, 'token', { ...form, refresh_token: access }))],
  ['refresh token that was revoked', withRefresh(async ({ server, app }, form) => {
    await post(server, 'revoke', { token: form['refresh_token'], client_id: app });
    return posted(server, 'token', form);
  })],
  ['refresh by a client that was disabled', async (w) => {
    const { clientId } = await w.server.auth.clients.addClient({ name: 'Gone', type: 'public', redirectUris: [redirectUri], scope });
    return withRefresh(async ({ server }, form) => {
      await server.auth.clients.disable(clientId);
      return posted(server, 'token', form);
    })({ ...w, app: clientId });
  }],
  // Client authentication
  ['assertion with alg none', withAssertion(async (w) => `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claimsOf(w))}.`)],
  ['assertion with HS256 and the public key as secret', withAssertion(async (w) => {
    const pem = await exportSPKI((await importJWK(w.key.jwks.keys[0]!, 'RS384', { extractable: true })) as CryptoKey);
    const signed = `${encode({ alg: 'HS256', typ: 'JWT', kid: w.key.kid })}.${encode(claimsOf(w))}`;
    return `${signed}.${createHmac('sha256', pem).update(signed).digest('base64url')}`;
  })],
  ['assertion signed with the key of somebody else', withAssertion(async (w) => assertion(w.server, w.backend, { ...(await clientKey('RS384')), kid: w.key.kid }))],
  ['assertion with a key id that is not registered', asserted({ header: { kid: 'another' } })],
  ['assertion with a key that it brings along', withAssertion(async (w) => {
    const own = await clientKey('RS384');
    return assertion(w.server, w.backend, own, { header: { jwk: own.jwks.keys[0], kid: own.kid } });
  })],
  ['assertion that names a key set of its own', asserted({ header: { jku: 'https://evil.example/jwks.json' } })],
  ['assertion that names a certificate of its own', asserted({ header: { x5u: 'https://evil.example/cert.pem' } })],
  ['assertion with a critical extension that is not known', withAssertion(async (w) => assertion(w.server, w.backend, w.key).then((jwt) => [encode({ alg: 'RS384', kid: w.key.kid, crit: ['evil'], evil: true }), ...jwt.split('.').slice(1)].join('.')))],
  ['assertion with altered claims', withAssertion(async (w) => (await assertion(w.server, w.backend, w.key)).split('.').map((part, i) => (i === 1 ? encode(claimsOf(w)) : part)).join('.'))],
  ['assertion for another server', asserted({ claims: { aud: 'https://evil.example/token' } })],
  ['assertion without audience', asserted({ claims: { aud: undefined } })],
  ['assertion of another issuer', asserted({ claims: { iss: 'somebody-else' } })],
  ['assertion about another client', async (w) => asserted({ claims: { sub: w.app } })(w)],
  ['assertion that has expired', asserted({ expiresInS: -60 })],
  ['assertion without expiry', asserted({ claims: { exp: undefined } })],
  ['assertion that lasts too long', asserted({ expiresInS: 330 })],
  ['assertion that is not yet valid', asserted({ claims: { nbf: Math.floor(Date.now() / 1000) + 120 } })],
  ['assertion without jti', asserted({ claims: { jti: undefined } })],
  ['assertion used twice', async (w) => {
    const once = await assertion(w.server, w.backend, w.key);
    expect((await backendToken(w.server, once)).status).toBe(200);
    return withAssertion(async () => once)(w);
  }],
  ['assertion used ten times at once', async (w) => {
    const once = await assertion(w.server, w.backend, w.key);
    return parallel(10, () => withAssertion(async () => once)(w));
  }],
  ['assertion and secret at once', withAssertion(({ server, backend, key }) => assertion(server, backend, key), { client_secret: 'x' })],
  ['client with keys that shows none', ({ server, backend }) => posted(server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_id: backend })],
  ['wrong secret', ({ server, secret }) => posted(server, 'token', { grant_type: 'authorization_code', code: 'x'.repeat(43), redirect_uri: redirectUri, client_id: secret.clientId, client_secret: 'wrong' })],
  ['secret that was replaced', async ({ server, secret }) => {
    const { clientId, clientSecret } = await server.auth.clients.addClient({ name: 'Rotated', type: 'confidential-secret', redirectUris: [redirectUri], scope });
    await server.auth.clients.rotateSecret(clientId);
    expect(secret.clientId).not.toBe(clientId);
    return posted(server, 'token', { grant_type: 'authorization_code', code: 'x'.repeat(43), redirect_uri: redirectUri, client_id: clientId, client_secret: clientSecret });
  }],
  ['password grant', ({ server, app }) => posted(server, 'token', { grant_type: 'password', username: 'somebody', password: 'Correct-Horse-7-Staple', client_id: app })],
  ['system scopes for a public client', ({ server, app }) => posted(server, 'token', { grant_type: 'client_credentials', scope: 'system/*.rs', client_id: app })],
  ['more system scopes than registered', async (w) => posted(w.server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.cruds', client_assertion_type: bearerType, client_assertion: await assertion(w.server, w.backend, w.key) })],
  // Bound tokens (RFC 9449, RFC 8705)
  ['DPoP required, no proof', withProof(async () => undefined)],
  ['DPoP proof for another URL', withProof(async () => proof(await dpopKey(), 'POST', 'https://evil.example/oauth2/token'))],
  ['DPoP proof for another method', withProof(async (_w, url) => proof(await dpopKey(), 'GET', url))],
  ['DPoP proof that is old', withProof(async (_w, url) => proof(await dpopKey(), 'POST', url, { claims: { iat: Math.floor(Date.now() / 1000) - 3_600 } }))],
  ['DPoP proof of another type', withProof(async (_w, url) => proof(await dpopKey(), 'POST', url, { header: { typ: 'JWT' } }))],
  ['DPoP proof with a nonce of somebody else', withProof(async (_w, url) => proof(await dpopKey(), 'POST', url, { claims: { nonce: 'evil' } }))],
  ['DPoP proof signed with another key', withProof(async (_w, url) => proof({ ...(await dpopKey()), key: (await dpopKey()).key }, 'POST', url))],
  ['DPoP proof with a private key in it', withProof(async (_w, url) => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return new SignJWT({ htm: 'POST', htu: url, iat: Math.floor(Date.now() / 1000), jti: randomUUID() }).setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: privateKey.export({ format: 'jwk' }) }).sign(privateKey);
  })],
  ['DPoP proof used twice', async (w) => {
    const once = await proof(await dpopKey(), 'POST', `${w.server.issuer}/token`);
    expect((await withProof(async () => once)(w)).status).toBe(200);
    return withProof(async () => once)(w);
  }],
  ['refresh of a bound token with another key', async (w) => {
    const { code, verifier } = await codeOf(w);
    const url = `${w.server.issuer}/token`;
    const got = await redeemed(w, code, verifier, {}, { dpop: await proof(await dpopKey(), 'POST', url) });
    expect(JSON.parse(got.text)).toMatchObject({ token_type: 'DPoP' });
    return posted(w.server, 'token', { grant_type: 'refresh_token', refresh_token: (JSON.parse(got.text) as { refresh_token: string }).refresh_token, client_id: w.app }, { dpop: await proof(await dpopKey(), 'POST', url) });
  }],
  ['certificate required, none shown', async (w) => posted(w.server, 'token', { grant_type: 'client_credentials', scope: 'system/Patient.rs', client_assertion_type: bearerType, client_assertion: await assertion(w.server, w.mtls, w.key) })],
  // Strangers
  ['introspection by nobody', ({ server }) => posted(server, 'introspect', { token: 'x'.repeat(43) })],
  ['introspection with a wrong secret', ({ server, secret }) => posted(server, 'introspect', { token: 'x'.repeat(43), client_id: secret.clientId, client_secret: 'wrong' })],
  ['revocation of a token of another client', withRefresh(({ server, other }, form) => posted(server, 'revoke', { token: form['refresh_token'], client_id: other }))],
  // People
  ['sign-in with a wrong password', signing(() => ({ password: 'Wrong-Horse-7-Staple' }))],
  ['sign-in with a wrong code', signing(() => ({ code: '000000' }))],
  ['one-time code used twice', signing(() => ({}), async (w, person) => {
    const { url } = await authorizationUrl(w.server, w.app);
    expect((await signIn(w.server.browser(), url, person)).response.status).toBe(200);
  })],
  ['right password after five wrong ones', signing(() => ({}), async (w, person) => {
    for (let i = 0; i < 5; i += 1) {
      const { browser, action, fields } = await signInForm(w);
      for (const [name, value] of Object.entries({ decision: 'sign-in', username: person.username, password: `Wrong-Horse-${i}-Staple`, code: person.code() })) fields.set(name, value);
      await browser.request(action, { form: fields });
    }
  })],
  ['sign-in form without its token', signing(() => ({ csrf: '' }))],
  ['sign-in form with a token of another one', signing(() => ({ csrf: 'x'.repeat(43) }))],
  ['consent form without its token', async (w) => {
    const browser = w.server.browser();
    const consent = await signIn(browser, (await authorizationUrl(w.server, w.app)).url, await addPerson(w.server));
    const { action, fields } = Browser.form(await consent.response.text());
    fields.delete('csrf');
    fields.set('decision', 'allow');
    return answerOf(await browser.request(new URL(action, consent.url), { form: fields }));
  }],
  ['sign-in form of another browser', async (w) => {
    const { action, fields } = await signInForm(w);
    return answerOf(await w.server.browser().request(action, { form: fields }));
  }],
  // Registration (RFC 7591)
  ['registration without a token', register(() => ({}), async () => '')],
  ['registration with a token that is guessed', register(() => ({}), async () => 'x'.repeat(43))],
  ['registration with a token that was used up', register(() => ({}), async (w) => {
    const token = await w.server.auth.initialTokens.issue(1, 600);
    expect((await register(() => ({}), async () => token)(w)).status).toBe(201);
    return token;
  })],
  ['registration of a wildcard redirect URI', register(() => ({ redirect_uris: ['https://*.example/cb'] }))],
  ['registration of a script as redirect URI', register(() => ({ redirect_uris: ['javascript:alert(1)'] }))],
  ['registration of a redirect URI without TLS', register(() => ({ redirect_uris: ['http://new.example/cb'] }))],
  ['registration of a redirect URI with a fragment', register(() => ({ redirect_uris: ['https://new.example/cb#x'] }))],
  ['registration of a redirect URI that parsers read differently', register(() => ({ redirect_uris: ['https://new.example\\@evil.example/cb'] }))],
  ['registration of a key set in the own network', register(() => ({ token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'https://169.254.169.254/jwks' }))],
  ['registration of a key set on the loopback', register(() => ({ token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'https://localhost:8443/jwks' }))],
  ['registration of a key set without TLS', register(() => ({ token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'http://keys.example/jwks' }))],
  ['registration of system scopes for a public client', register(() => ({ scope: 'system/*.cruds' }))],
  ['registration with the statement of an issuer that nobody trusts', register(() => ({ software_statement: `${encode({ alg: 'RS256' })}.${encode({ iss: 'https://evil.example' })}.x` }))],
  ['a registered app before it is approved', async (w) => {
    const { client_id: clientId } = JSON.parse((await register(() => ({ redirect_uris: [redirectUri] }))(w)).text) as { client_id: string };
    return authorize({ client_id: clientId })(w);
  }],
  ['a token for a registered app before it is approved', async (w) => {
    const { client_id: clientId } = JSON.parse((await register(() => ({ redirect_uris: [redirectUri] }))(w)).text) as { client_id: string };
    return posted(w.server, 'token', { grant_type: 'authorization_code', code: 'x'.repeat(43), redirect_uri: redirectUri, code_verifier: 'y'.repeat(43), client_id: clientId });
  }],
];

// In parts, each with a server of its own: beyond a number per minute, refusals of strangers are recorded by count.
const partSize = 32;
const parts = Array.from({ length: Math.ceil(attacks.length / partSize) }, (_, i) => attacks.slice(i * partSize, (i + 1) * partSize).map(([name, attack], j) => [i * partSize + j + 1, name, attack] as const));

test('what the attacks vary is accepted as it is', async () => {
  const w = await world();
  try {
    expect((await authorize({})(w)).headers.get('location')).toMatch(/\/oauth2\/interaction\//);
    expect((await asserted({})(w)).status).toBe(200);
    expect((await withCode(() => ({}))(w)).status).toBe(200);
    expect((await withRefresh(({ server }, form) => posted(server, 'token', form))(w)).status).toBe(200);
    expect((await withProof(async (_w, url) => proof(await dpopKey(), 'POST', url))(w)).status).toBe(200);
    expect((await register(() => ({}))(w)).status).toBe(201);
    expect((await signing(() => ({}))(w)).status).toBeLessThan(400);
  } finally {
    await w.server.close();
  }
});

describe.each(parts.map((part, i) => [i + 1, part] as const))('attacks on the authorization server, part %i', (_number, part) => {
  let w: World;
  beforeAll(async () => {
    w = await world();
  });
  afterAll(() => w.server.close());

  test.each(part)('%i: %s', async (_id, _name, attack) => {
    const { status, headers, text } = await attack(w);
    const location = headers.get('location');
    if (location === null) expect(status).toBeGreaterThanOrEqual(400);
    else {
      const { origin, searchParams, hash } = new URL(location);
      expect([origin, searchParams.get('code') ?? new URLSearchParams(hash.slice(1)).get('code')]).toEqual(['https://app.example', null]);
      expect(searchParams.get('error') ?? new URLSearchParams(hash.slice(1)).get('error')).not.toBeNull();
      // Mix-up (RFC 9207): whose answer it is shows.
      expect(searchParams.get('iss') ?? new URLSearchParams(hash.slice(1)).get('iss')).toBe(w.server.issuer);
    }
    expect(text).not.toMatch(/"(?:access|refresh|id)_token"|evil\.example|"active":true/);
    const requestId = headers.get('x-request-id');
    const record = (await w.server.records()).find((one) => one.requestId === requestId);
    expect([record?.kind, record?.outcome, typeof record?.error, typeof record?.rule]).toEqual([expect.stringMatching(/^(?:token|login)$/), '4', 'string', 'string']);
  });
});
