import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Secret, TOTP } from 'otpauth';
import { Browser, fetchWith } from '../rooms/auth/support.ts';
import type { TestServer } from './server.ts';

/** Somebody with an account, and the browser they are (or will be) signed in with. */
export interface User {
  readonly id: string;
  readonly username: string;
  readonly password: string;
  readonly totpSecret: string;
  browser: Browser;
}

/** A registered app. */
export interface App {
  readonly clientId: string;
  readonly clientSecret?: string;
  readonly redirectUri: string;
}

/** What happens on the pages: defaults are to allow everything for the first patient found. */
export interface Choices {
  /** Which of the offered scopes stay ticked. */
  readonly keep?: (scope: string) => boolean;
  /** Which kinds are ticked. */
  readonly kinds?: (scope: string) => boolean;
  /** What patients are searched by; absent: none is picked. */
  readonly patient?: Readonly<Record<string, string>>;
  /** Whether the first encounter is picked. */
  readonly encounter?: boolean;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Readonly<Record<string, unknown>>;
}

/** SMART flows against a started server, as an app and as the person in front of it. */
export class SmartSite {
  readonly server: TestServer;
  readonly issuer: string;
  readonly fetch: ReturnType<typeof fetchWith>;
  /** Titles of the pages that the last flow showed. */
  pages: string[] = [];

  constructor(server: TestServer) {
    this.server = server;
    this.issuer = `${server.baseUrl}/oauth2`;
    this.fetch = fetchWith(server.ca);
  }

  async addUser(role: string, ...more: readonly string[]): Promise<User> {
    const username = `user-${randomBytes(4).toString('hex')}`;
    const password = 'Correct-Horse-7-Staple';
    const totpSecret = new Secret({ size: 20 }).base32;
    const { id } = await this.server.cliJson<{ id: string }>(['user', 'add', '--username', username, '--role', role, ...more, '--totp-secret', totpSecret, '--password-stdin'], `${password}\n`);
    return { id, username, password, totpSecret, browser: new Browser(this.server.ca) };
  }

  async addApp(kind: 'public' | 'confidential-secret' | { readonly jwks: unknown }, scope: string, redirectUri = 'https://app.example/callback', name = 'Growth Chart'): Promise<App> {
    const file = join(this.server.directory, `${randomUUID()}.json`);
    if (typeof kind === 'object') writeFileSync(file, JSON.stringify(kind.jwks));
    const { client_id: clientId, client_secret: clientSecret } = await this.server.cliJson<{ client_id: string; client_secret?: string }>(['client', 'add', '--name', name, '--scope', scope, '--redirect-uri', redirectUri, ...(typeof kind === 'object' ? ['--jwks', file] : [`--${kind}`])]);
    return { clientId, ...(clientSecret === undefined ? {} : { clientSecret }), redirectUri };
  }

  /** An authorization request with all that is demanded. */
  request(app: App, scope: string, changes: Readonly<Record<string, string | undefined>> = {}): { url: URL; verifier: string; state: string } {
    const verifier = randomBytes(32).toString('base64url');
    const state = changes['state'] ?? randomUUID();
    const url = new URL(`${this.issuer}/authorize`);
    const params = { response_type: 'code', client_id: app.clientId, redirect_uri: app.redirectUri, scope, state, aud: this.server.fhirUrl, code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256', ...changes };
    for (const [name, value] of Object.entries(params)) if (value !== undefined) url.searchParams.set(name, value);
    return { url, verifier, state };
  }

  /** Goes through the pages until the app is called back. @returns the callback, or the last page's URL if nothing leads on */
  async walk(user: User, start: string | URL, choices: Choices = {}, form?: URLSearchParams): Promise<URL> {
    const { browser } = user;
    this.pages = [];
    let at = await browser.follow(start, form === undefined ? {} : { form });
    for (let step = 0; step < 10; step += 1) {
      if (at.response.headers.has('location')) return at.url;
      const text = await at.response.text();
      const title = /<h1>([^<]*)<\/h1>/.exec(text)?.[1] ?? '';
      this.pages.push(title);
      const entries = entriesFor(title, text, user, choices);
      if (entries === undefined || at.response.status >= 400) return at.url;
      const { action, fields } = Browser.form(text);
      if (title.startsWith('Allow')) {
        const kept = fields.getAll('scope').filter(choices.keep ?? (() => true));
        fields.delete('scope');
        for (const scope of kept) fields.append('scope', scope);
        for (const [, kind] of text.matchAll(/name="kind" value="([^"]*)"/g)) if (choices.kinds?.(kind!) === true) fields.append('kind', kind!);
      }
      for (const [name, value] of Object.entries(entries)) fields.append(name, value);
      at = await browser.follow(new URL(action, at.url), { form: fields });
    }
    throw new Error('the pages come to no end');
  }

  /** Redeems a code, or refreshes. */
  async token(app: App, form: Readonly<Record<string, string>>, headers: Record<string, string> = {}): Promise<Answer> {
    const credentials: Record<string, string> = app.clientSecret === undefined ? {} : { authorization: `Basic ${Buffer.from(`${app.clientId}:${app.clientSecret}`).toString('base64')}` };
    return this.post('token', { ...(app.clientSecret === undefined && form['client_assertion'] === undefined ? { client_id: app.clientId } : {}), ...form }, { ...credentials, ...headers });
  }

  async post(path: string, form: Readonly<Record<string, string>>, headers: Record<string, string> = {}): Promise<Answer> {
    const response = await this.fetch(`${this.issuer}/${path}`, { method: 'POST', headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded', ...headers }, body: new URLSearchParams(form) });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) };
  }

  /** A whole launch. @returns the token response */
  async launch(user: User, app: App, scope: string, changes: Readonly<Record<string, string | undefined>> = {}, choices: Choices = {}, more: Readonly<Record<string, string>> = {}): Promise<Answer & { readonly code: string; readonly verifier: string }> {
    const { url, verifier, state } = this.request(app, scope, changes);
    const callback = await this.walk(user, url, choices);
    const code = callback.searchParams.get('code');
    if (code === null || callback.searchParams.get('state') !== state) throw new Error(`no code: ${callback.searchParams.get('error') ?? this.pages.join(', ')}`);
    return { ...(await this.token(app, { grant_type: 'authorization_code', code, redirect_uri: app.redirectUri, code_verifier: verifier, ...more })), code, verifier };
  }

  async fhir(path: string, token?: unknown, init: { method?: string; headers?: Record<string, string>; body?: unknown } = {}): Promise<Answer> {
    const response = await this.fetch(`${this.server.fhirUrl}/${path}`, { ...init, headers: { ...(typeof token === 'string' ? { authorization: `Bearer ${token}` } : {}), ...init.headers } });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) };
  }
}

function entriesFor(title: string, text: string, user: User, { patient, encounter }: Choices): Readonly<Record<string, string>> | undefined {
  if (title === 'Sign in') return { username: user.username, password: user.password, code: codeOf(user), decision: 'sign-in' };
  const found = /<button class="result" name="(patient|encounter)" value="([^"]*)"/.exec(text);
  if (title === 'Choose a patient' || title === 'Whose record?') {
    if (found !== null) return { patient: found[2]! };
    return patient === undefined || /role="(?:status|alert)"/.test(text) ? { decision: 'skip' } : { ...patient, decision: 'search' };
  }
  if (title === 'Choose a visit') {
    if (found !== null) return { encounter: found[2]! };
    return encounter === true && !text.includes('role="status"') ? { since: '2020-01-01', decision: 'search' } : { decision: 'skip' };
  }
  return title.startsWith('Allow') ? { decision: 'allow' } : undefined;
}

/** The code of now. It counts once: who signs in twice within half a minute needs two accounts. */
export function codeOf({ totpSecret }: Pick<User, 'totpSecret'>): string {
  return new TOTP({ secret: Secret.fromBase32(totpSecret), algorithm: 'SHA1', digits: 6, period: 30 }).generate();
}
