import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { Secret, TOTP } from 'otpauth';
import { readSsoFile } from '../../../server/auth/sso-file.ts';
import { LocalKeyProvider } from '../../../server/kms/local-provider.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { Pki } from '../../../server/pki/pki.ts';
import { authorizationUrl, Browser, patientScopes, startAuth, type TestAuth } from './support.ts';

/** A hospital's sign-on: a real OpenID provider with certificates of its own. */
let hospital: https.Server;
let hospitalPki: Pki;
let hospitalIssuer: string;
/** Who signs in there next, and what is said of them. */
let claims: Record<string, unknown> & { sub: string };
let directory: string;
let server: TestAuth;
let app: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'interlock-sso-'));
  const keysDir = join(directory, 'keys');
  hospitalPki = await Pki.open({ dataDir: join(directory, 'data'), keysDir, hosts: [], protect: LocalKeyProvider.open(keysDir, true), log: silentLog });
  hospital = https.createServer(hospitalPki.tlsOptions('none'));
  await new Promise<void>((resolve) => hospital.listen(0, '127.0.0.1', resolve));
  hospitalIssuer = `https://localhost:${(hospital.address() as AddressInfo).port}`;
  writeFileSync(join(directory, 'ca.pem'), hospitalPki.caPem);
  writeFileSync(join(directory, 'secret'), 'a-secret-of-the-hospital-0123456789\n');
  writeFileSync(join(directory, 'sso.json'), JSON.stringify({
    name: 'St. Elsewhere', issuer: hospitalIssuer, clientId: 'interlock', clientSecretFile: 'secret', caFile: 'ca.pem', mfa: { amr: ['mfa'], acr: ['urn:two'] }, practitionerClaim: 'practitioner',
    roles: [{ claim: 'groups', equals: 'ward-nurses', role: 'nurse' }, { claim: 'groups', equals: 'doctors', role: 'physician' }],
  }));
  server = await startAuth({ sso: readSsoFile(join(directory, 'sso.json')), maxFailuresPerMinute: 10_000 });
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  const provider = new Provider(hospitalIssuer, {
    clients: [{ client_id: 'interlock', client_secret: 'a-secret-of-the-hospital-0123456789', redirect_uris: [`${server.issuer}/sso/callback`], token_endpoint_auth_method: 'client_secret_post' }],
    jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'RS256', use: 'sig', kid: 'one' }] },
    cookies: { keys: ['not-a-secret-of-anybody'] },
    claims: { openid: ['sub', 'groups', 'practitioner'], profile: ['preferred_username'], amr: null, acr: null },
    conformIdTokenClaims: false,
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx, interaction) => `/sign-in/${interaction.uid}` },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => claims }),
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ accountId: ctx.oidc.session!.accountId!, clientId: 'interlock' });
      grant.addOIDCScope('openid profile');
      await grant.save();
      return grant;
    },
  });
  const callback = provider.callback();
  hospital.on('request', (request, response) => {
    if (!request.url!.startsWith('/sign-in/')) return void callback(request, response);
    const { amr, acr } = claims as { amr?: string[]; acr?: string };
    provider.interactionFinished(request, response, { login: { accountId: claims.sub, ...(amr === undefined ? {} : { amr }), ...(acr === undefined ? {} : { acr }) } }).catch(() => response.destroy());
  });
  ({ clientId: app } = await server.auth.clients.addClient({ name: 'Growth Chart', type: 'public', redirectUris: ['https://app.example/callback'], scope: `${patientScopes} user/Patient.rs` }));
});
afterAll(async () => {
  await server.close();
  hospital.closeAllConnections();
  await new Promise((resolve) => hospital.close(resolve));
  hospitalPki.close();
  rmSync(directory, { recursive: true });
});

/** Presses the sign-on's button, signs in there, and comes back. @param tamper with the URL that leads back */
async function signOn(tamper: (url: URL) => URL = (url) => url): Promise<{ response: Response; url: URL; browser: Browser }> {
  const browser = server.browser();
  const { url } = await authorizationUrl(server, app, { scope: 'openid user/Patient.rs' });
  const shown = await browser.follow(url);
  const { action, fields } = Browser.form(await shown.response.text());
  fields.set('decision', 'sso');
  const there = await browser.follow(new URL(action, shown.url), { form: fields });
  expect(there.url.origin).toBe(hospitalIssuer);
  for (const name of ['state', 'nonce', 'code_challenge']) expect(there.url.searchParams.get(name)).toMatch(/^[\w-]{43}$/);
  const back = (await new Browser(hospitalPki.caPem).follow(there.url)).url;
  expect(back.href).toContain(`${server.issuer}/sso/callback`);
  return { ...(await browser.follow(tamper(back))), browser };
}
const nurse = { sub: 'n-1', preferred_username: 'Anna', groups: ['ward-nurses'], practitioner: 'prac-1', amr: ['pwd', 'mfa'] };
const everybody = async () => (await server.auth.people.list()).filter(({ id }) => id.startsWith('sso-'));

describe('sign-on by the hospital', () => {
  test('makes the account on first sight, by issuer and subject, with role and practitioner', async () => {
    await server.auth.people.addUser({ username: 'anna', role: 'billing' });
    claims = nurse;
    for (let i = 0; i < 2; i += 1) expect(await (await signOn()).response.text()).toContain('Growth Chart');
    expect(await everybody()).toMatchObject([{ username: expect.stringMatching(/^anna~[0-9a-f]{8}$/), role: 'nurse', fhirUser: 'Practitioner/prac-1', disabled: false }]);
    claims = { ...nurse, groups: ['others', 'doctors'] };
    await signOn();
    expect(await everybody()).toMatchObject([{ role: 'physician' }]);
    // The same name with another subject is somebody else.
    claims = { ...nurse, sub: 'n-2' };
    await signOn();
    expect(await everybody()).toHaveLength(2);
    expect((await server.records()).filter(({ actor, interaction }) => actor.id.startsWith('sso-') && interaction === 'login').length).toBeGreaterThanOrEqual(4);
  });

  test('acr counts as second factor, where it is named', async () => {
    claims = { ...nurse, sub: 'n-3', amr: ['pwd'], acr: 'urn:two' };
    expect(await (await signOn()).response.text()).toContain('Growth Chart');
  });

  test('without a second factor there, one here is asked for; with none, nobody gets in', async () => {
    claims = { ...nurse, sub: 'n-4', amr: ['pwd'] };
    const before = new Set((await everybody()).map(({ id }) => id));
    const refused = await signOn();
    expect([refused.response.status, (await refused.response.text()).includes('A second factor is needed')]).toEqual([403, true]);
    const { username } = (await everybody()).find(({ id }) => !before.has(id))!;
    const { otpauthUrl } = await server.auth.people.resetMfa(username);
    const asked = await signOn();
    const { action, fields } = Browser.form(await asked.response.text());
    fields.set('code', new TOTP({ secret: Secret.fromBase32(new URL(otpauthUrl!).searchParams.get('secret')!) }).generate());
    let shown = await asked.browser.follow(new URL(action, asked.url), { form: fields });
    // Told that the second factor was reset.
    const notice = Browser.form(await shown.response.text());
    shown = await asked.browser.follow(new URL(notice.action, shown.url), { form: notice.fields });
    expect(await shown.response.text()).toContain('Growth Chart');
  });

  test('who has no role there has no access here; who is disabled here stays out', async () => {
    claims = { ...nurse, sub: 'n-5', groups: ['cleaning'] };
    expect((await signOn()).response.status).toBe(403);
    claims = { ...nurse, sub: 'n-6' };
    const before = new Set((await everybody()).map(({ id }) => id));
    await signOn();
    await server.auth.people.disable((await everybody()).find(({ id }) => !before.has(id))!.username);
    expect((await signOn()).response.status).toBe(403);
  });

  test.each([
    ['another state', (url: URL) => changed(url, 'state', 'x'.repeat(43))], ['no state', (url: URL) => changed(url, 'state', undefined)],
    ['another code', (url: URL) => changed(url, 'code', 'x'.repeat(43))], ['another issuer', (url: URL) => changed(url, 'iss', 'https://evil.example')],
  ])('an answer with %s is refused', async (_name, tamper) => {
    claims = nurse;
    const { response } = await signOn(tamper);
    expect(response.status).toBe(401);
  });

  test('an answer counts once, and only in the browser that asked', async () => {
    claims = { ...nurse, sub: 'n-7' };
    let answer: URL | undefined;
    const { browser } = await signOn((url) => (answer = url));
    expect((await browser.request(answer!)).status).toBe(401);
    expect((await server.browser().request(answer!)).status).toBe(401);
    expect((await server.records()).filter(({ rule }) => rule?.startsWith('sign-on: state') === true).length).toBeGreaterThan(0);
  });
});

test('the file of the sign-on: mistakes are named, values are not', () => {
  const path = join(directory, 'bad.json');
  const good = { name: 'A', issuer: 'https://idp.example', clientId: 'c', clientSecretFile: 'secret', roles: [{ claim: 'g', equals: 'v', role: 'nurse' }], mfa: { amr: ['mfa'] } };
  for (const [change, words] of [[{ issuer: 'http://idp.example' }, 'issuer'], [{ roles: [{ claim: 'g', equals: 'v', role: 'wizard' }] }, 'roles.0.role'], [{ clientSecretFile: 'absent' }, 'clientSecretFile'], [{ mfa: {} }, 'mfa'], [{ extra: 1 }, 'documented']] as const) {
    writeFileSync(path, JSON.stringify({ ...good, ...change }));
    expect(() => readSsoFile(path)).toThrow(words);
  }
  writeFileSync(path, JSON.stringify(good));
  expect(readSsoFile(path).clientSecret).toBe('a-secret-of-the-hospital-0123456789');
});

function changed(url: URL, name: string, value: string | undefined): URL {
  const next = new URL(url);
  if (value === undefined) next.searchParams.delete(name);
  else next.searchParams.set(name, value);
  return next;
}
