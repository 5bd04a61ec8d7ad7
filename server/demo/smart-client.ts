import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { Secret, TOTP } from 'otpauth';
import type { HttpAnswer, HttpClient } from './http-client.ts';

/** What the token endpoint answers. */
export interface TokenAnswer {
  readonly access_token: string;
  readonly scope: string;
  readonly expires_in: number;
  readonly patient?: string;
  readonly refresh_token?: string;
  readonly id_token?: string;
}

/** A key pair of a backend service, and the JWK set to register. */
export interface BackendKey {
  readonly privateKey: CryptoKey;
  readonly kid: string;
  readonly jwks: { readonly keys: readonly unknown[] };
}

/** Makes a key pair for a backend service (ES384). */
export async function backendKey(): Promise<BackendKey> {
  const { privateKey, publicKey } = await generateKeyPair('ES384', { extractable: true });
  const kid = randomUUID();
  return { privateKey, kid, jwks: { keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'ES384', use: 'sig' }] } };
}

/** Gets a token as a backend service (https://hl7.org/fhir/smart-app-launch/backend-services.html). */
export async function backendToken(http: HttpClient, tokenUrl: string, clientId: string, key: BackendKey, scope: string): Promise<TokenAnswer> {
  const assertion = await new SignJWT()
    .setProtectedHeader({ alg: 'ES384', kid: key.kid, typ: 'JWT' })
    .setIssuer(clientId)
    .setSubject(clientId)
    .setAudience(tokenUrl)
    .setExpirationTime('4m')
    .setJti(randomUUID())
    .sign(key.privateKey);
  const answer = await postForm(http, tokenUrl, { grant_type: 'client_credentials', scope, client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: assertion });
  if (answer.status !== 200) throw new Error(`The token endpoint answered ${answer.status}: ${answer.body.toString()}`);
  return answer.json() as TokenAnswer;
}

/** A person at the browser. */
export interface Person {
  readonly username: string;
  readonly password: string;
  readonly totpSecret: string;
}

/** A public app that is launched standalone. */
export interface AppLaunch {
  readonly authorizeUrl: string;
  readonly tokenUrl: string;
  readonly fhirUrl: string;
  readonly clientId: string;
  readonly redirectUri: string;
  readonly scope: string;
  readonly person: Person;
}

/**
 * Launches an app standalone with PKCE (https://hl7.org/fhir/smart-app-launch/app-launch.html), playing the person too:
 * fills in each form that the server shows until it sends the browser back to the app.
 */
export async function launchApp(http: HttpClient, launch: AppLaunch): Promise<TokenAnswer> {
  const verifier = randomBytes(32).toString('base64url');
  const state = randomUUID();
  const query = new URLSearchParams({
    response_type: 'code', client_id: launch.clientId, redirect_uri: launch.redirectUri, scope: launch.scope, state, aud: launch.fhirUrl,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
  });
  const code = await browse(http, `${launch.authorizeUrl}?${query.toString()}`, launch, state);
  const answer = await postForm(http, launch.tokenUrl, { grant_type: 'authorization_code', code, redirect_uri: launch.redirectUri, client_id: launch.clientId, code_verifier: verifier });
  if (answer.status !== 200) throw new Error(`The token endpoint answered ${answer.status}: ${answer.body.toString()}`);
  return answer.json() as TokenAnswer;
}

/** Most pages and redirects of one launch. */
const maxSteps = 20;

async function browse(http: HttpClient, start: string, launch: AppLaunch, state: string): Promise<string> {
  const cookies = new Map<string, string>();
  const send = async (url: string, form?: [string, string][]): Promise<HttpAnswer> => {
    const headers = { Accept: 'text/html', ...(cookies.size === 0 ? {} : { Cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') }), ...(form === undefined ? {} : { 'Content-Type': 'application/x-www-form-urlencoded', Origin: new URL(url).origin }) };
    const answer = await http.call(url, form === undefined ? { headers } : { method: 'POST', headers, body: new URLSearchParams(form).toString() });
    for (const cookie of [answer.headers['set-cookie'] ?? []].flat()) {
      const [pair = ''] = cookie.split(';');
      const name = pair.slice(0, pair.indexOf('='));
      const value = pair.slice(pair.indexOf('=') + 1);
      if (value === '' || /expires=Thu, 01 Jan 1970/i.test(cookie)) cookies.delete(name);
      else cookies.set(name, value);
    }
    return answer;
  };
  let url = start;
  let answer = await send(url);
  for (let step = 0; step < maxSteps; step += 1) {
    const location = answer.headers['location'];
    if (typeof location === 'string') {
      url = new URL(location, url).toString();
      if (url.startsWith(launch.redirectUri)) return codeOf(url, state);
      answer = await send(url);
      continue;
    }
    const page = answer.body.toString();
    if (answer.status !== 200) throw new Error(`The authorization server answered ${answer.status}`);
    const action = /<form[^>]*action="([^"]*)"/.exec(page)?.[1];
    if (action === undefined) throw new Error('The authorization server showed a page without a form');
    url = new URL(unescaped(action), url).toString();
    answer = await send(url, filledIn(page, launch.person));
  }
  throw new Error('The launch did not come to an end');
}

/** The form of a page with its hidden fields, ticked boxes and first button as they are, and the person's own entries. */
function filledIn(page: string, person: Person): [string, string][] {
  const form: [string, string][] = [];
  const entries: Readonly<Record<string, string>> = { username: person.username, password: person.password, code: codeNow(person.totpSecret) };
  let pressed = false;
  for (const [tag] of page.matchAll(/<(?:input|button)\b[^>]*>/g)) {
    const attribute = (name: string) => new RegExp(`\\s${name}="([^"]*)"`).exec(tag)?.[1];
    const name = attribute('name');
    if (name === undefined || (attribute('type') === 'checkbox' && !/\schecked\b/.test(tag))) continue;
    if (tag.startsWith('<button')) {
      if (pressed) continue;
      pressed = true;
    }
    form.push([name, entries[name] ?? unescaped(attribute('value') ?? '')]);
  }
  return form;
}

/** The TOTP code of now. A code counts once: sign-ins of one person are half a minute apart. */
export function codeNow(totpSecret: string): string {
  return new TOTP({ secret: Secret.fromBase32(totpSecret), algorithm: 'SHA1', digits: 6, period: 30 }).generate();
}

function codeOf(url: string, state: string): string {
  const { searchParams } = new URL(url);
  const code = searchParams.get('code');
  if (code === null || searchParams.get('state') !== state) throw new Error(`The launch was refused: ${searchParams.get('error') ?? 'no code'}`);
  return code;
}

function unescaped(text: string): string {
  return text.replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
}

async function postForm(http: HttpClient, url: string, form: Record<string, string>): Promise<HttpAnswer> {
  return http.call(url, { method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded', Accept: 'application/json' }, body: new URLSearchParams(form).toString() });
}
