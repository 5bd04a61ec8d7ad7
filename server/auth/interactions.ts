import { timingSafeEqual } from 'node:crypto';
import express, { type Request, type RequestHandler, type Response, type Router } from 'express';
import type Provider from 'oidc-provider';
import { errors } from 'oidc-provider';
import { InterlockError } from '../../resources/outcome/error.ts';
import { parseScopes, type Scope } from '../access/scopes.ts';
import type { FloodGuard } from '../audit/flood.ts';
import type { AuditRecord, AuditTrail } from '../audit/record.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Log } from '../observe/log.ts';
import { anonymousActor, personActor, requestFacts } from './audit.ts';
import { fitsContext, ownContext, type LaunchContext, type Launches } from './launch.ts';
import { consentPage, contentSecurityPolicy, problemPage, signInPage, type ConsentLine, type FormFacts } from './pages.ts';
import { authenticate, type Passport } from './passport.ts';
import type { People, Person, SignIn } from './people.ts';
import { plainScopes } from './provider.ts';
import type { FailureThrottle } from './throttle.ts';
import { wordingOf } from './wording.ts';

export interface InteractionOptions {
  readonly provider: Provider;
  readonly fhirBaseUrl: string;
  readonly people: People;
  readonly launches: Launches;
  readonly passport: Passport;
  readonly audit: AuditTrail;
  readonly flood: FloodGuard;
  readonly keyring: Keyring;
  readonly throttle: FailureThrottle;
  readonly log: Log;
  readonly nowMs: () => number;
}

type Details = Awaited<ReturnType<Provider['interactionDetails']>>;

/** An authorization request that waits for its person. */
interface Waiting {
  readonly details: Details;
  readonly form: FormFacts;
  readonly client: { readonly clientId: string; readonly clientName: string };
}

const wrong = 'That did not match. Check user name, password and code. After five failures an account is locked.';

/** The pages on which people sign in and consent: `GET` and `POST /interaction/:uid`. */
export function interactionRouter(options: InteractionOptions): Router {
  const router = express.Router();
  const step =
    (work: (waiting: Waiting, request: Request, response: Response) => Promise<void>): RequestHandler =>
    async (request, response) => {
      try {
        await work(await waitingFor(options, request, response), request, response);
      } catch (cause) {
        answerProblem(options, request, response, cause);
      }
    };
  router.get('/interaction/:uid', step((waiting, request, response) => (waiting.details.prompt.name === 'login' ? showSignIn(waiting, response) : showConsent(options, waiting, request, response))));
  router.post('/interaction/:uid', express.urlencoded({ extended: false, limit: '64kb', parameterLimit: 1_000 }), step(async (waiting, request, response) => {
      const body = request.body as Readonly<Record<string, unknown>> | undefined;
      if (!sameText(body?.['csrf'], waiting.form.csrf)) throw new InterlockError('forbidden');
      if (body?.['decision'] === 'cancel') return options.provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'the person declined' }, { mergeWithLastSubmission: false });
      return waiting.details.prompt.name === 'login' ? signIn(options, waiting, request, response) : consent(options, waiting, request, response);
    }),
  );
  return router;
}

async function waitingFor(options: InteractionOptions, request: Request, response: Response): Promise<Waiting> {
  const details = await options.provider.interactionDetails(request, response);
  const { uid, params } = details;
  const client = await options.provider.Client.find(String(params['client_id']));
  if (uid !== request.params['uid'] || client === undefined) throw new errors.SessionNotFound('no such interaction');
  const clientName = client.clientName ?? client.clientId;
  // Submitting ends, after redirects, at the app: browsers want to be told.
  const redirect = URL.parse(String(params['redirect_uri']));
  response.set('Content-Security-Policy', contentSecurityPolicy(redirect === null ? undefined : redirect.protocol.startsWith('http') ? redirect.origin : redirect.protocol));
  response.set('Cache-Control', 'no-store');
  return {
    details,
    form: { action: `${request.baseUrl}/interaction/${uid}`, csrf: options.keyring.mac('oauth-token', ['csrf', uid], 32).toString('base64url'), appName: clientName },
    client: { clientId: client.clientId, clientName },
  };
}

async function showSignIn({ form }: Waiting, response: Response, problem?: string): Promise<void> {
  response.status(problem === undefined ? 200 : 401).type('html').send(signInPage(form, problem));
}

async function signIn(options: InteractionOptions, waiting: Waiting, request: Request, response: Response): Promise<void> {
  const facts = requestFacts(request);
  const address = facts.address ?? '';
  const retryAfterSeconds = options.throttle.retryAfterS(address);
  if (retryAfterSeconds !== undefined) throw new InterlockError('throttled', { retryAfterSeconds });
  options.audit.assertAvailable();
  const result: SignIn = (await authenticate(options.passport, 'person', request, response)) ?? { failure: 'unknown-user' };
  const actor = result.person === undefined ? anonymousActor(facts, waiting.client.clientId) : personActor(result.person, facts, waiting.client);
  const entry = { at: options.nowMs(), kind: 'login', interaction: 'login', action: 'E', requestId: facts.requestId, actor, client: { id: waiting.client.clientId } } as const satisfies Partial<AuditRecord>;
  if (result.failure !== undefined) {
    options.throttle.failed(address);
    await (actor.kind === 'anonymous' ? options.flood : options.audit).record({ ...entry, outcome: '4', error: 'credentials-invalid', rule: `sign-in: ${result.failure}` });
    return showSignIn(waiting, response, wrong);
  }
  await options.audit.record({ ...entry, outcome: '0' });
  const login = { accountId: result.person.id, amr: ['pwd', 'otp', 'mfa'], remember: false };
  return options.provider.interactionFinished(request, response, { login }, { mergeWithLastSubmission: false });
}

/** The person, the context, and what can be granted in it. */
async function consentFacts(options: InteractionOptions, { details }: Waiting): Promise<{ person: Person; context: LaunchContext; possible: Scope[]; withheld: Scope[] }> {
  const { session, params } = details;
  const person = session === undefined ? undefined : await options.people.get(session.accountId);
  if (person === undefined || person.disabled) throw new errors.SessionNotFound('nobody is signed in');
  const { scope, launch } = params;
  const scopes = parseScopes(typeof scope === 'string' ? scope : '');
  const context = typeof launch !== 'string' ? ownContext(person) : await options.launches.find(launch, person.id);
  const own = ownContext(person).patient;
  if (context === undefined || (own !== undefined && context.patient !== own)) throw new InterlockError('forbidden');
  return { person, context, possible: scopes.filter((asked) => fitsContext(asked, context)), withheld: scopes.filter((asked) => !fitsContext(asked, context)) };
}

const isOptional = (scope: Scope): boolean => scope.kind === 'resource' || scope.text === 'offline_access';
const line = (scope: Scope): ConsentLine => ({ scope: scope.text, ...wordingOf(scope) });

async function showConsent(options: InteractionOptions, waiting: Waiting, request: Request, response: Response): Promise<void> {
  const { person, context, possible, withheld } = await consentFacts(options, waiting);
  const page = consentPage({
    ...waiting.form,
    username: person.username,
    signOutUrl: `${request.baseUrl}/logout`,
    record: context.patient === undefined ? undefined : person.role === 'patient' ? 'your own record' : 'the record that was open when it was started',
    optional: [...possible.filter(({ kind }) => kind === 'resource'), ...possible.filter((scope) => scope.kind !== 'resource' && isOptional(scope))].map(line),
    fixed: possible.filter((scope) => !isOptional(scope)).map(line),
    withheld: withheld.map(line),
  });
  response.status(200).type('html').send(page);
}

async function consent(options: InteractionOptions, waiting: Waiting, request: Request, response: Response): Promise<void> {
  const { provider, audit, launches } = options;
  const facts = requestFacts(request);
  const { person, context, possible, withheld } = await consentFacts(options, waiting);
  const ticked = new Set([(request.body as { scope?: string | string[] }).scope ?? []].flat());
  const granted = possible.filter((scope) => !isOptional(scope) || ticked.has(scope.text)).map((scope) => scope.text);
  const declined = [...withheld, ...possible].map((scope) => scope.text).filter((scope) => !granted.includes(scope));
  if (granted.length === 0) return provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'the person granted nothing' }, { mergeWithLastSubmission: false });
  if (context.launchId !== undefined && !(await launches.use(context.launchId))) throw new InterlockError('forbidden');

  const grant = new provider.Grant({ accountId: person.id, clientId: waiting.client.clientId });
  const isPlain = (scope: string): boolean => (plainScopes as readonly string[]).includes(scope);
  grant.addResourceScope(options.fhirBaseUrl, granted.join(' '));
  if (granted.some(isPlain)) grant.addOIDCScope(granted.filter(isPlain).join(' '));
  if (declined.length > 0) grant.rejectResourceScope(options.fhirBaseUrl, declined.join(' '));
  if (declined.some(isPlain)) grant.rejectOIDCScope(declined.filter(isPlain).join(' '));
  const grantId = await grant.save();
  await launches.bind(grantId, context);
  await audit.record({
    at: options.nowMs(), kind: 'token', interaction: 'consent', action: 'E', outcome: '0', requestId: facts.requestId,
    actor: personActor(person, facts, waiting.client),
    client: { id: waiting.client.clientId, scope: granted.join(' ').slice(0, 4000) },
    ...(context.patient === undefined ? {} : { patients: [context.patient] }),
  });
  return provider.interactionFinished(request, response, { consent: { grantId } }, { mergeWithLastSubmission: true });
}

function answerProblem(options: InteractionOptions, request: Request, response: Response, cause: unknown): void {
  const { requestId } = requestFacts(request);
  const known = cause instanceof InterlockError ? cause : cause instanceof errors.SessionNotFound ? new InterlockError('request-invalid') : new InterlockError('internal', { cause });
  if (known.code === 'internal') options.log.error('sign-in page failed', { requestId, errorName: cause instanceof Error ? cause.name : 'unknown' });
  if (response.headersSent) return void response.end();
  const { retryAfterSeconds } = known.options;
  if (retryAfterSeconds !== undefined) response.set('Retry-After', String(retryAfterSeconds));
  const words: Readonly<Record<string, string>> = {
    'request-invalid': 'This page is too old. Start again from the app.',
    forbidden: 'This cannot be granted to you. Start again from the app.',
    throttled: 'There were too many failed attempts. Wait a minute, then start again from the app.',
  };
  response.removeHeader('Set-Cookie');
  response.status(known.status).type('html').set('Cache-Control', 'no-store').send(problemPage('This did not work', words[known.code] ?? 'Nobody can be signed in at the moment. Try again soon.', requestId));
}

function sameText(actual: unknown, expected: string): boolean {
  if (typeof actual !== 'string') return false;
  const [a, b] = [Buffer.from(actual), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
