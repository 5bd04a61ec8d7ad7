import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import express, { type Request, type Response, type Router } from 'express';
import type Provider from 'oidc-provider';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AuditTrail } from '../audit/record.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { OAuthRows } from './adapter.ts';
import { accountPage, passkeyPage } from './account-pages.ts';
import { personActor, requestFacts } from './audit.ts';
import type { ClientInfo } from './clients.ts';
import { contentSecurityPolicy, problemPage } from './pages.ts';
import { stillStands, type People, type Person } from './people.ts';
import { makeTotpSecret } from './second-factors.ts';
import type { Sessions } from './sessions.ts';
import { passkeyScript, passkeyScriptPath, recoveryCodesPage, totpSetUpPage } from './sign-in-pages.ts';
import type { FailureThrottle } from './throttle.ts';

/** The page as a client of the authorization server: it wants to know who is signed in, and nothing else. */
export const accountClientId = 'interlock-account';

export function accountClient(issuer: string): Pick<ClientInfo, 'name' | 'redirectUris' | 'scope'> {
  return { name: 'Security settings', redirectUris: [`${issuer}/account`], scope: 'openid' };
}

type Session = InstanceType<Provider['Session']>;

/** Somebody with a sign-in session that counts. */
export interface SignedIn {
  readonly person: Person;
  readonly session: Session;
}

/** The person, and session with its second factor, of a browser's request. */
export async function signedInBy(provider: Provider, people: People, request: Request, response: Response): Promise<SignedIn | undefined> {
  const session = await provider.Session.get(provider.createContext(request, response));
  const person = session.accountId === undefined || session.amr?.includes('mfa') !== true ? undefined : await people.get(session.accountId);
  return person?.disabled === false && stillStands(person, { sinceS: session.loginTs, session: session.uid }) ? { person, session } : undefined;
}

export interface AccountPageOptions {
  readonly issuer: string;
  readonly fhirBaseUrl: string;
  readonly provider: Provider;
  readonly people: People;
  readonly sessions: Sessions;
  readonly rows: OAuthRows;
  readonly audit: AuditTrail;
  readonly keyring: Keyring;
  readonly throttle: FailureThrottle;
  readonly lifetimes: { readonly idleS: number; readonly sessionS: number };
  readonly nowMs: () => number;
}

/** Changes of credentials need a sign-in that is no older. */
const freshS = 600;
const secretLifetimeS = 600;

type Work = (who: SignedIn, body: Readonly<Record<string, unknown>>, request: Request, response: Response) => Promise<string | undefined>;

/** Where people see and change what they sign in with: `GET` and `POST /account`. */
export function accountRouter(options: AccountPageOptions): Router {
  const { issuer, provider, people, sessions, rows, audit, keyring, throttle, lifetimes, nowMs } = options;
  const here = `${issuer}/account`;
  const csrfOf = ({ session }: SignedIn): string => keyring.mac('oauth-token', ['csrf-account', session.uid], 32).toString('base64url');
  const form = (who: SignedIn): { action: string; csrf: string } => ({ action: here, csrf: csrfOf(who) });
  const show = async (who: SignedIn, response: Response, problem?: string): Promise<void> => {
    const [security, list] = await Promise.all([people.security(who.person.id), sessions.list(who.person)]);
    if (security === undefined) throw new InterlockError('forbidden');
    response.status(problem === undefined ? 200 : 422).type('html').send(accountPage({ form: form(who), signOutUrl: `${issuer}/logout`, appsUrl: `${issuer}/apps`, username: who.person.username, security, sessions: list, own: who.session.uid, problem }));
  };
  const record = async ({ person }: SignedIn, request: Request, interaction: string, failed?: InterlockError): Promise<void> => {
    const facts = requestFacts(request);
    await audit.record({ at: nowMs(), kind: 'login', interaction, action: 'E', requestId: facts.requestId, actor: personActor(person, facts), ...(failed === undefined ? { outcome: '0' } : { outcome: '4', error: failed.code }) });
  };

  /** What the page can do; the text that a step returns is the audit's name for it. */
  const works: Readonly<Record<string, Work>> = {
    password: async ({ person, session }, { current, next, again }) => {
      if (next !== again) throw new InterlockError('business-rule', { detail: 'The two new passwords differ.' });
      await people.changePassword(person.id, String(current), String(next), session.uid);
      return 'password-changed';
    },
    'totp-start': async (who, _body, _request, response) => {
      const secret = makeTotpSecret();
      await rows.put('TotpSetUp', who.session.uid, { secret }, secretLifetimeS);
      response.type('html').send(totpSetUpPage(form(who), 'totp', who.person.username, secret));
      return undefined;
    },
    totp: async ({ person, session }, { code }) => {
      const begun = await rows.get<{ secret: string }>('TotpSetUp', session.uid);
      if (begun === undefined) throw new InterlockError('request-invalid');
      await people.factors.setTotp(person.id, begun.secret, String(code), false);
      await rows.remove('TotpSetUp', session.uid);
      return 'second-factor-set-up';
    },
    'passkey-start': async (who, _body, _request, response) => {
      const { challenge, options: creation } = await people.factors.passkeyCreation(who.person.id, who.person.username);
      await rows.put('PasskeyChallenge', `account ${who.session.uid}`, { challenge }, secretLifetimeS);
      const scriptUrl = `${issuer}${passkeyScriptPath}`;
      response.set('Content-Security-Policy', `${contentSecurityPolicy()}; script-src ${scriptUrl}`);
      response.type('html').send(passkeyPage(form(who), scriptUrl, creation));
      return undefined;
    },
    passkey: async ({ person, session }, { name, passkey }) => {
      const made = await rows.take<{ challenge: string }>('PasskeyChallenge', `account ${session.uid}`);
      if (made === undefined || typeof passkey !== 'string') throw new InterlockError('request-invalid');
      await people.factors.addPasskey(person.id, String(name), { challenge: made.challenge, answer: parsed(passkey) });
      return 'passkey-added';
    },
    'passkey-remove': async ({ person }, { id }) => {
      await people.factors.removePasskey(person.id, String(id));
      return 'passkey-removed';
    },
    codes: async (who, _body, request, response) => {
      const codes = await people.factors.makeRecoveryCodes(who.person.id);
      await record(who, request, 'recovery-codes-made');
      response.type('html').send(recoveryCodesPage(form(who), 'done', codes));
      return undefined;
    },
    done: async () => undefined,
    'session-end': async ({ person, session }, { id }) => {
      if (id === 'others') {
        for (const { uid } of await sessions.list(person)) if (uid !== session.uid) await sessions.end(person.id, uid);
      } else await sessions.end(person.id, String(id));
      return 'session-ended';
    },
  };
  const isOpen = new Set(['session-end', 'done']);

  const router = express.Router();
  router.get(passkeyScriptPath, (_request, response) => {
    response.set('Cache-Control', 'max-age=3600').type('js').send(passkeyScript);
  });
  router.use('/account', (_request, response, next) => {
    response.set('Cache-Control', 'no-store');
    next();
  });
  router.get('/account', async (request, response) => {
    const who = await signedInBy(provider, people, request, response);
    const isReturn = request.query['code'] !== undefined || request.query['error'] !== undefined;
    // The session is all that was wanted: the code is never redeemed, and nobody else can.
    if (isReturn && who !== undefined) response.redirect(303, here);
    else if (isReturn) response.status(403).type('html').send(problemPage('Nobody is signed in', 'Start again, and allow cookies of this server.', undefined));
    else if (who === undefined) response.redirect(303, signInUrl(options));
    else {
      await touch(who.session, lifetimes);
      await show(who, response);
    }
  });
  router.post('/account', express.urlencoded({ extended: false, limit: '64kb', parameterLimit: 20 }), async (request, response) => {
    const who = await signedInBy(provider, people, request, response);
    const body = (request.body ?? {}) as Readonly<Record<string, unknown>>;
    const step = String(body['step']);
    const work = Object.hasOwn(works, step) ? works[step] : undefined;
    if (who === undefined || work === undefined || !sameText(body['csrf'], csrfOf(who))) {
      if (who !== undefined) await record(who, request, 'account-form', new InterlockError('forbidden'));
      response.status(403).type('html').send(problemPage('This did not work', 'This page is too old. Open it again.', requestFacts(request).requestId));
      return;
    }
    const isStale = !isOpen.has(step) && (who.session.loginTs ?? 0) + freshS < Date.now() / 1000;
    if (body['decision'] === 'cancel' || isStale) {
      response.redirect(303, body['decision'] === 'cancel' ? here : signInUrl(options, true));
      return;
    }
    const address = requestFacts(request).address ?? '';
    try {
      if (throttle.retryAfterS(address) !== undefined) throw new InterlockError('throttled');
      audit.assertAvailable();
      await touch(who.session, lifetimes);
      const done = await work(who, body, request, response);
      if (typeof done === 'string') await record(who, request, done);
      if (!response.headersSent) response.redirect(303, here);
    } catch (cause) {
      if (!(cause instanceof InterlockError) || cause.status >= 500) throw cause;
      throttle.failed(address);
      await record(who, request, step, cause);
      await show(who, response, cause.code === 'credentials-invalid' ? 'That did not match.' : (cause.options.detail ?? cause.message));
    }
  });
  return router;
}

// What a person does here is activity; what apps do is not.
async function touch(session: Session, { idleS, sessionS }: AccountPageOptions['lifetimes']): Promise<void> {
  const nowS = Math.floor(Date.now() / 1000);
  await session.save(Math.max(1, Math.min(idleS, (session.loginTs ?? nowS) + sessionS - nowS)));
}

function signInUrl({ issuer, fhirBaseUrl }: AccountPageOptions, again = false): string {
  const challenge = createHash('sha256').update(randomBytes(32)).digest('base64url');
  const query = { client_id: accountClientId, response_type: 'code', scope: 'openid', redirect_uri: `${issuer}/account`, aud: fhirBaseUrl, state: randomBytes(16).toString('base64url'), code_challenge: challenge, code_challenge_method: 'S256', ...(again ? { prompt: 'login' } : {}) };
  return `${issuer}/authorize?${new URLSearchParams(query).toString()}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function sameText(actual: unknown, expected: string): boolean {
  if (typeof actual !== 'string') return false;
  const [a, b] = [Buffer.from(actual), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
