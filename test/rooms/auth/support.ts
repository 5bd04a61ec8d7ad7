import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import { Secret, TOTP } from 'otpauth';
import { BreakGlass } from '../../../server/access/break-glass.ts';
import type { GuardServices } from '../../../server/access/guard.ts';
import { OwnPatients } from '../../../server/access/own-patients.ts';
import type { Block } from '../../../server/audit/block.ts';
import { openEntry } from '../../../server/audit/entry.ts';
import { AuditReader } from '../../../server/audit/reader.ts';
import type { AuditRecord } from '../../../server/audit/record.ts';
import { auditCollection, openAuditTrail, type OpenAuditTrail } from '../../../server/audit/trail.ts';
import { createAuth, type Auth, type AuthOptions } from '../../../server/auth/auth.ts';
import { Keyring } from '../../../server/kms/keyring.ts';
import { LocalKeyProvider } from '../../../server/kms/local-provider.ts';
import { MongoKeyStore } from '../../../server/mongo/key-store.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { Pki } from '../../../server/pki/pki.ts';
import { Epoch } from '../../../server/storage/epochs.ts';
import { openStore } from '../../../server/storage/store.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';

/** An authorization server as in production: real mongod, audit trail, keys and TLS. */
export interface TestAuth {
  readonly auth: Auth;
  /** The record behind it. */
  readonly guard: GuardServices & { readonly breakGlass: BreakGlass };
  readonly origin: string;
  readonly issuer: string;
  readonly fhirBaseUrl: string;
  readonly caPem: string;
  readonly pki: Pki;
  readonly mongo: TestMongo;
  readonly trail: OpenAuditTrail;
  readonly keyring: Keyring;
  /** Moves the clock that codes and lifetimes of people are read from. */
  readonly clock: { offsetMs: number };
  /** Everything in the audit trail, in order. */
  records(): Promise<AuditRecord[]>;
  browser(): Browser;
  close(): Promise<void>;
}

export async function startAuth(options: Partial<AuthOptions> = {}): Promise<TestAuth> {
  const directory = mkdtempSync(join(tmpdir(), 'interlock-auth-'));
  const keysDir = join(directory, 'keys');
  const mongo = await testMongo();
  const protect = LocalKeyProvider.open(keysDir, true);
  const keyring = await Keyring.open({ provider: protect, store: new MongoKeyStore(mongo.app) });
  const epoch = await Epoch.open({ app: mongo.app, log: silentLog });
  const trail = await openAuditTrail({ audit: mongo.audit, keyring, tenant: 'main', epochId: 'test', log: silentLog });
  const pki = await Pki.open({ dataDir: join(directory, 'data'), keysDir, hosts: [], protect, log: silentLog });
  const app = express();
  const server = https.createServer(pki.tlsOptions('optional'), app);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `https://localhost:${(server.address() as AddressInfo).port}`;
  const issuer = `${origin}/oauth2`;
  const fhirBaseUrl = `${origin}/fhir/R4`;
  const clock = { offsetMs: 0 };
  const values = { baseUrl: fhirBaseUrl, zone: 'UTC' };
  const store = openStore({ app: mongo.app, keyring, tenant: 'main', epoch, audit: trail, log: silentLog, values });
  const breakGlass = new BreakGlass({ app: mongo.app, keyring, audit: trail, nowMs: () => Date.now() + clock.offsetMs, onAlert: () => undefined });
  const guard: GuardServices & { breakGlass: BreakGlass } = { store, audit: trail, auditEvents: new AuditReader({ audit: mongo.audit, keyring, tenant: 'main', site: { baseUrl: fhirBaseUrl, site: 'localhost' } }), nowMs: Date.now, values, ownPatients: new OwnPatients({ store, nowMs: Date.now, values }), breakGlass };
  const auth = await createAuth({ app: mongo.app, keyring, audit: trail, guard, issuer, fhirBaseUrl, log: silentLog, nowMs: () => Date.now() + clock.offsetMs, pki, ...options });
  app.use('/oauth2', auth.router);
  return {
    auth, guard, origin, issuer, fhirBaseUrl, caPem: pki.caPem, pki, mongo, trail, keyring, clock,
    async records() {
      const records: AuditRecord[] = [];
      for await (const block of mongo.auditRoot.collection<Block>(auditCollection).find({}, { promoteBuffers: true, sort: { _id: 1 } })) {
        for (const entry of block.e) records.push(await openEntry(keyring, 'main', entry.i, entry.b));
      }
      return records;
    },
    browser: () => new Browser(pki.caPem),
    async close() {
      await auth.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      pki.close();
      await store.close();
      await epoch.close();
      await trail.close();
      keyring.close();
      await mongo.drop();
      rmSync(directory, { recursive: true });
    },
  };
}

/** `fetch` over node:https that trusts one authority and follows no redirects. */
export function fetchWith(caPem: string): (url: string | URL, init?: { method?: string; headers?: Record<string, string>; body?: unknown }) => Promise<Response> {
  return (url, init = {}) =>
    new Promise((resolve, reject) => {
      const body = typeof init.body === 'string' ? init.body : init.body instanceof URLSearchParams ? init.body.toString() : undefined;
      const request = https.request(url, { method: init.method ?? 'GET', headers: { ...init.headers, ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }) }, ca: caPem, servername: 'localhost', agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const headers = new Headers();
          for (let i = 0; i < response.rawHeaders.length; i += 2) headers.append(response.rawHeaders[i]!, response.rawHeaders[i + 1]!);
          const status = response.statusCode!;
          resolve(new Response(status === 204 ? null : Buffer.concat(chunks), { status, headers }));
        });
      });
      request.on('error', reject);
      request.end(body);
    });
}

/** A scripted browser: keeps cookies by path as browsers do, submits forms, follows redirects on request. */
export class Browser {
  readonly #fetch: ReturnType<typeof fetchWith>;
  readonly #cookies = new Map<string, { value: string; path: string }>();
  /** Attributes of every cookie that was set. */
  readonly setCookies: string[] = [];

  constructor(caPem: string) {
    this.#fetch = fetchWith(caPem);
  }

  async request(url: string | URL, init: { method?: string; headers?: Record<string, string>; form?: URLSearchParams } = {}): Promise<Response> {
    const { pathname } = new URL(url);
    const cookie = [...this.#cookies].filter(([, { path }]) => pathname === path || pathname.startsWith(path.endsWith('/') ? path : `${path}/`)).map(([key, { value }]) => `${key.split('|')[0]!}=${value}`).join('; ');
    const response = await this.#fetch(url, {
      method: init.method ?? (init.form === undefined ? 'GET' : 'POST'),
      headers: { accept: 'text/html,*/*', ...(cookie === '' ? {} : { cookie }), ...(init.form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }), ...init.headers },
      ...(init.form === undefined ? {} : { body: init.form.toString() }),
    });
    for (const line of response.headers.getSetCookie()) {
      this.setCookies.push(line);
      const [pair, ...attributes] = line.split('; ');
      const [name, value] = [pair!.slice(0, pair!.indexOf('=')), pair!.slice(pair!.indexOf('=') + 1)];
      const path = attributes.find((attribute) => attribute.startsWith('path='))?.slice(5) ?? '/';
      if (value === '' || attributes.some((attribute) => attribute.startsWith('expires=Thu, 01 Jan 1970'))) this.#cookies.delete(`${name}|${path}`);
      else this.#cookies.set(`${name}|${path}`, { value, path });
    }
    return response;
  }

  /** Follows redirects within the origin of `url`. @returns the last answer, and the URL it came from or the foreign URL it points to */
  async follow(url: string | URL, init: { form?: URLSearchParams; method?: string } = {}): Promise<{ response: Response; url: URL }> {
    let at = new URL(url);
    let response = await this.request(at, init);
    for (let hops = 0; hops < 10 && response.headers.has('location'); hops += 1) {
      const next = new URL(response.headers.get('location')!, at);
      if (next.origin !== at.origin) return { response, url: next };
      at = next;
      response = await this.request(at);
    }
    return { response, url: at };
  }

  /** The hidden fields, ticked boxes and action of a page's first form. */
  static form(wholePage: string): { action: string; fields: URLSearchParams } {
    const pageText = /<form.*?<\/form>/s.exec(wholePage)?.[0] ?? wholePage;
    const action = /<form[^>]* action="([^"]*)"/.exec(pageText)?.[1];
    if (action === undefined) throw new Error(`no form on the page: ${pageText.replace(/<style>.*<\/style>/s, '').slice(0, 800)}`);
    const fields = new URLSearchParams();
    for (const [, name, value] of pageText.matchAll(/<input type="(?:hidden" name="([^"]*)" value="([^"]*)"|checkbox" name="([^"]*)" value="([^"]*)" checked)/g).map(([, ...parts]) => [undefined, ...parts.filter((part) => part !== undefined)])) fields.append(name!, unescape(value!));
    return { action, fields };
  }
}

function unescape(text: string): string {
  return text.replace(/&(amp|lt|gt|quot|#39);/g, (_, name: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" })[name]!);
}

/** Someone who can sign in. */
export interface TestPerson {
  readonly id: string;
  readonly username: string;
  readonly password: string;
  /** The code of the time step `steps` away. */
  code(steps?: number): string;
}

export async function addPerson(test: TestAuth, more: { role?: string; patientId?: string; practitionerId?: string } = {}): Promise<TestPerson> {
  const username = `person-${randomBytes(4).toString('hex')}`;
  const secret = new Secret({ size: 20 });
  const password = 'Correct-Horse-7-Staple';
  const identity = more.role === undefined || more.role === 'patient' ? { role: 'patient', patientId: more.patientId ?? 'pat-1' } : { role: more.role, ...(more.practitionerId === undefined ? {} : { practitionerId: more.practitionerId }) };
  const { id } = await test.auth.people.addUser({ username, password, totpSecret: secret.base32, ...identity });
  const totp = new TOTP({ secret, algorithm: 'SHA1', digits: 6, period: 30 });
  return { id, username, password, code: (steps = 0) => totp.generate({ timestamp: Date.now() + test.clock.offsetMs + steps * 30_000 }) };
}

export const redirectUri = 'https://app.example/callback';
export const patientScopes = 'openid fhirUser launch/patient offline_access patient/Observation.rs patient/Patient.read';

/** An authorization request with everything that is demanded. */
export async function authorizationUrl(test: TestAuth, clientId: string, changes: Record<string, string | undefined> = {}): Promise<{ url: URL; verifier: string; state: string }> {
  const verifier = randomBytes(32).toString('base64url');
  const challenge = Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(verifier))).toString('base64url');
  const state = randomUUID();
  const url = new URL(`${test.issuer}/authorize`);
  const params: Record<string, string | undefined> = { response_type: 'code', client_id: clientId, redirect_uri: redirectUri, scope: patientScopes, state, aud: test.fhirBaseUrl, code_challenge: challenge, code_challenge_method: 'S256', ...changes };
  for (const [name, value] of Object.entries(params)) if (value !== undefined) url.searchParams.set(name, value);
  return { url, verifier, state };
}

/** Signs in on the page that `url` leads to. */
export async function signIn(browser: Browser, url: string | URL, person: TestPerson, code = person.code()): Promise<{ response: Response; url: URL }> {
  const shown = await browser.follow(url);
  const { action, fields } = Browser.form(await shown.response.text());
  for (const [name, value] of Object.entries({ username: person.username, password: person.password, code, decision: 'sign-in' })) fields.set(name, value);
  return browser.follow(new URL(action, shown.url), { form: fields });
}

/** Submits the form of a page with further entries. */
export async function submit(browser: Browser, shown: { response: Response; url: URL }, entries: Readonly<Record<string, string>>): Promise<{ response: Response; url: URL }> {
  const { action, fields } = Browser.form(await shown.response.clone().text());
  for (const [name, value] of Object.entries(entries)) fields.append(name, value);
  return browser.follow(new URL(action, shown.url), { form: fields });
}

/** Submits a consent page, unless the same was answered before. @param keep which of the offered scopes stay ticked */
export async function allow(browser: Browser, consent: { response: Response; url: URL }, keep: (scope: string) => boolean = () => true): Promise<URL> {
  if (consent.response.headers.has('location')) return consent.url;
  const { action, fields } = Browser.form(await consent.response.text());
  const scopes = fields.getAll('scope').filter(keep);
  fields.delete('scope');
  for (const scope of scopes) fields.append('scope', scope);
  fields.set('decision', 'allow');
  return (await browser.follow(new URL(action, consent.url), { form: fields })).url;
}

export interface TokenAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Posts a form to an endpoint. */
export async function post(test: TestAuth, path: string, form: Record<string, string | undefined>, headers: Record<string, string> = {}): Promise<TokenAnswer> {
  const body = new URLSearchParams(Object.entries(form).filter((entry): entry is [string, string] => entry[1] !== undefined));
  const response = await fetchWith(test.caPem)(`${test.issuer}/${path}`, { method: 'POST', headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded', ...headers }, body });
  const answer = await response.text();
  return { status: response.status, headers: response.headers, body: answer === '' ? {} : (JSON.parse(answer) as Record<string, unknown>) };
}

/** A whole launch of a public app, by default for a patient. @returns the token response and what led there */
export async function launch(test: TestAuth, clientId: string, person: TestPerson, changes: Record<string, string | undefined> = {}, keep?: (scope: string) => boolean): Promise<{ tokens: TokenAnswer; code: string; verifier: string; browser: Browser; callback: URL }> {
  const browser = test.browser();
  const { url, verifier } = await authorizationUrl(test, clientId, changes);
  const callback = await allow(browser, await signIn(browser, url, person), keep);
  const code = callback.searchParams.get('code');
  if (code === null) throw new Error(`no code: ${callback.href}`);
  return { tokens: await redeem(test, clientId, code, verifier), code, verifier, browser, callback };
}

export async function redeem(test: TestAuth, clientId: string, code: string, verifier: string | undefined, headers?: Record<string, string>, redirect = redirectUri): Promise<TokenAnswer> {
  return post(test, 'token', { grant_type: 'authorization_code', client_id: clientId, code, redirect_uri: redirect, code_verifier: verifier }, headers);
}

/** A key pair of a client, with its public set. */
export interface ClientKey {
  readonly key: CryptoKey;
  readonly kid: string;
  readonly alg: string;
  readonly jwks: { keys: JWK[] };
}

export async function clientKey(alg: 'RS384' | 'ES384' = 'ES384'): Promise<ClientKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  return { key: privateKey, kid, alg, jwks: { keys: [{ ...jwk, kid, alg, use: 'sig' }] } };
}

/** A client assertion (RFC 7523), changed as an attacker would. */
export async function assertion(test: TestAuth, clientId: string, key: ClientKey, changes: { claims?: Record<string, unknown>; header?: Record<string, unknown>; expiresInS?: number } = {}): Promise<string> {
  const nowS = Math.floor(Date.now() / 1000);
  return new SignJWT({ iss: clientId, sub: clientId, aud: `${test.issuer}/token`, jti: randomUUID(), exp: nowS + (changes.expiresInS ?? 240), ...changes.claims })
    .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: 'JWT', ...changes.header })
    .sign(key.key);
}

export async function backendToken(test: TestAuth, clientAssertion: string, scope: string | undefined = 'system/Patient.rs'): Promise<TokenAnswer> {
  return post(test, 'token', { grant_type: 'client_credentials', scope, client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: clientAssertion });
}
