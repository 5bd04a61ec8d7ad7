import https from 'node:https';
import { rootCertificates } from 'node:tls';
import express, { type Request, type Response, type Router } from 'express';
import * as oidc from 'openid-client';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { FloodGuard } from '../audit/flood.ts';
import type { AuditTrail } from '../audit/record.ts';
import type { Log } from '../observe/log.ts';
import type { OAuthRows } from './adapter.ts';
import { anonymousActor, personActor, requestFacts } from './audit.ts';
import { problemPage } from './pages.ts';
import { authenticate, type Passport } from './passport.ts';
import type { People, Person } from './people.ts';
import { signedOnElsewhere } from './sign-in.ts';
import type { SsoSettings } from './sso-file.ts';

/** Somebody whom the hospital's sign-on vouched for. */
export interface SsoIdentity {
  /** The interaction in which the sign-in began. */
  readonly uid: string;
  readonly person: Person;
  /** Methods in terms of RFC 8176, with `mfa` only if the sign-on claims it. */
  readonly amr: readonly string[];
}

export interface SsoOptions {
  readonly settings: SsoSettings;
  /** URL of the authorization server here. */
  readonly issuer: string;
  readonly rows: OAuthRows;
  readonly people: People;
  readonly audit: AuditTrail;
  readonly flood: FloodGuard;
  readonly log: Log;
  readonly nowMs: () => number;
}

interface Begun {
  readonly uid: string;
  readonly nonce: string;
  readonly verifier: string;
}

const cookieName = '__Secure-interlock-sso';
const lifetimeS = 600;
const discoveryLifetimeMs = 3600_000;
const timeoutMs = 10_000;
const maxAnswerBytes = 1_000_000;

/** Sign-in through an external OpenID provider (https://openid.net/specs/openid-connect-core-1_0.html, code flow with PKCE, state and nonce). */
export class Sso {
  readonly #options: SsoOptions;
  #discovered: { readonly config: oidc.Configuration; readonly atMs: number } | undefined;

  constructor(options: SsoOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.settings.name;
  }

  get #callback(): string {
    return `${this.#options.issuer}/sso/callback`;
  }

  /** Sends a browser to the provider. @throws InterlockError `unavailable` if it cannot be reached */
  async begin(uid: string, response: Response): Promise<void> {
    const { settings, rows } = this.#options;
    const config = await this.#config();
    const [state, nonce, verifier] = [oidc.randomState(), oidc.randomNonce(), oidc.randomPKCECodeVerifier()];
    await rows.put('SsoBegun', state, { uid, nonce, verifier } satisfies Begun, lifetimeS);
    const url = oidc.buildAuthorizationUrl(config, {
      redirect_uri: this.#callback, scope: settings.scope, state, nonce, code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
      ...(settings.mfa.acr.length === 0 ? {} : { acr_values: settings.mfa.acr.join(' ') }),
    });
    // Binds the answer to this browser.
    response.cookie(cookieName, state, { httpOnly: true, secure: true, sameSite: 'lax', path: `${new URL(this.#options.issuer).pathname}/sso`, maxAge: lifetimeS * 1000 });
    // Browsers hold the redirects that follow a form against its policy.
    response.set('Content-Security-Policy', String(response.get('Content-Security-Policy')).replace("form-action 'self'", `form-action 'self' ${url.origin}`));
    response.redirect(303, url.href);
  }

  /**
   * Checks the provider's answer and finds, or makes, the account. For Passport's strategy `sso`.
   * @throws InterlockError `credentials-invalid` with the rule that refused; `forbidden` if no role fits
   */
  async identify(request: Request): Promise<SsoIdentity> {
    const { settings, rows, people } = this.#options;
    const { state } = request.query;
    const sent = /(?:^|; )__Secure-interlock-sso=([\w-]{20,100})(?:;|$)/.exec(request.headers.cookie ?? '')?.[1];
    if (typeof state !== 'string' || state !== sent) throw refused('state is not that of this browser');
    const begun = await rows.take<Begun>('SsoBegun', state);
    if (begun === undefined) throw refused('state was used or is too old');
    const url = new URL(this.#callback);
    url.search = new URL(request.originalUrl, this.#options.issuer).search;
    const config = await this.#config();
    const tokens = await oidc.authorizationCodeGrant(config, url, { expectedState: state, expectedNonce: begun.nonce, pkceCodeVerifier: begun.verifier, idTokenExpected: true }).catch((cause: unknown) => {
      throw refused(cause instanceof Error && 'code' in cause ? String(cause.code).slice(0, 100) : 'the answer does not hold', cause);
    });
    const claims = tokens.claims()! as Readonly<Record<string, unknown>> & { sub: string };
    const rule = settings.roles.find(({ claim, equals }) => [claims[claim]].flat().includes(equals));
    if (rule === undefined) throw new InterlockError('forbidden', { rule: 'sign-on: no role rule fits' });
    const idIn = (claim: string | undefined): string | undefined => (claim !== undefined && typeof claims[claim] === 'string' ? claims[claim] : undefined);
    const [patientId, practitionerId] = [rule.role === 'patient' ? idIn(settings.patientClaim) : undefined, rule.role === 'patient' ? undefined : idIn(settings.practitionerClaim)];
    const person = await people.provision({
      issuer: settings.issuer, subject: claims.sub, role: rule.role, name: idIn(settings.usernameClaim) ?? 'person',
      ...(patientId === undefined ? {} : { patientId }), ...(practitionerId === undefined ? {} : { practitionerId }),
    });
    const hasMfa = [claims['amr']].flat().some((value) => settings.mfa.amr.includes(value as string)) || (typeof claims['acr'] === 'string' && settings.mfa.acr.includes(claims['acr']));
    return { uid: begun.uid, person, amr: ['ext', ...(hasMfa ? ['mfa'] : [])] };
  }

  /** Where the provider answers: `GET /sso/callback`. */
  router(passport: Passport): Router {
    const { issuer, rows, audit, flood, log, nowMs } = this.#options;
    const router = express.Router();
    router.get('/sso/callback', async (request, response) => {
      const facts = requestFacts(request);
      response.set('Cache-Control', 'no-store');
      const entry = { at: nowMs(), kind: 'login', interaction: 'sign-on', action: 'E', requestId: facts.requestId } as const;
      try {
        audit.assertAvailable();
        response.clearCookie(cookieName, { secure: true, httpOnly: true, path: `${new URL(issuer).pathname}/sso` });
        const identity = await authenticate(passport, 'sso', request, response);
        if (identity === undefined) throw refused('no answer');
        const { uid, person, amr } = identity;
        if (person.disabled || person.locked) {
          await audit.record({ ...entry, actor: personActor(person, facts), outcome: '4', error: 'credentials-invalid', rule: `sign-on: ${person.disabled ? 'disabled' : 'locked'}` });
          throw new InterlockError('forbidden');
        }
        await audit.record({ ...entry, interaction: amr.includes('mfa') ? 'login' : 'login-first-factor', actor: personActor(person, facts), outcome: '0' });
        await signedOnElsewhere(rows, uid, person.id, amr);
        response.redirect(303, `${issuer}/interaction/${uid}`);
      } catch (cause) {
        const known = cause instanceof InterlockError ? cause : new InterlockError('internal', { cause });
        if (known.code === 'internal') log.error('sign-on failed', { requestId: facts.requestId, errorName: cause instanceof Error ? cause.name : 'unknown' });
        const { rule } = known.options;
        if (rule !== undefined) await flood.record({ ...entry, actor: anonymousActor(facts), outcome: '4', error: known.code, rule });
        const text = known.code === 'forbidden' ? 'Your hospital’s sign-on knows you, but you have no access here. Ask your IT department.' : 'The answer of your hospital’s sign-on could not be used. Start again from the app.';
        response.status(known.status).type('html').send(problemPage('This did not work', text, facts.requestId));
      }
    });
    return router;
  }

  async #config(): Promise<oidc.Configuration> {
    const { settings, nowMs } = this.#options;
    if (this.#discovered !== undefined && nowMs() - this.#discovered.atMs < discoveryLifetimeMs) return this.#discovered.config;
    const ca = settings.caPem === undefined ? undefined : [settings.caPem];
    const fetchOverTls: oidc.CustomFetch = (url, init) => fetchFrom(url, init, ca);
    const config = await oidc.discovery(new URL(settings.issuer), settings.clientId, settings.clientSecret, undefined, { [oidc.customFetch]: fetchOverTls, timeout: timeoutMs / 1000 }).catch((cause: unknown) => {
      throw new InterlockError('unavailable', { cause });
    });
    // The signature of the id_token counts, and not only that it came over TLS.
    oidc.enableNonRepudiationChecks(config);
    this.#discovered = { config, atMs: nowMs() };
    return config;
  }
}

function refused(rule: string, cause?: unknown): InterlockError {
  return new InterlockError('credentials-invalid', { rule: `sign-on: ${rule}`, ...(cause === undefined ? {} : { cause }) });
}

/** `fetch` with authorities of its own, and bounds in time and size; https only, and no redirects. */
function fetchFrom(url: string, init: oidc.CustomFetchOptions, ca: readonly string[] | undefined): Promise<globalThis.Response> {
  return new Promise((resolve, reject) => {
    const body = init.body === undefined || init.body === null ? undefined : init.body instanceof URLSearchParams ? init.body.toString() : typeof init.body === 'string' ? init.body : undefined;
    const request = https.request(url, { method: init.method, headers: { ...init.headers, ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }) }, ca: ca === undefined ? [...rootCertificates] : [...ca], agent: false, signal: AbortSignal.timeout(timeoutMs) }, (answer) => {
      const chunks: Buffer[] = [];
      let size = 0;
      answer.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxAnswerBytes) request.destroy(new Error('the answer is too long'));
        else chunks.push(chunk);
      });
      answer.on('error', reject);
      answer.on('end', () => {
        const headers = new Headers();
        for (const [name, value] of Object.entries(answer.headers)) if (value !== undefined) headers.set(name, [value].flat().join(', '));
        const status = answer.statusCode ?? 502;
        resolve(new globalThis.Response(status === 204 || status === 304 ? null : Buffer.concat(chunks), { status, headers }));
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}
