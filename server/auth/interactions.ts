import { timingSafeEqual } from 'node:crypto';
import express, { type Request, type RequestHandler, type Response, type Router } from 'express';
import type Provider from 'oidc-provider';
import { errors } from 'oidc-provider';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { FloodGuard } from '../audit/flood.ts';
import type { AuditTrail } from '../audit/record.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Log } from '../observe/log.ts';
import { anonymousActor, requestFacts } from './audit.ts';
import type { Authorizations } from './authorization.ts';
import { consent, showConsent } from './consent.ts';
import { contentSecurityPolicy, problemPage, type FormFacts } from './pages.ts';
import type { Passport } from './passport.ts';
import type { People, Person } from './people.ts';
import { pick, showPicker } from './picker.ts';
import type { PersonalRecords } from './records.ts';
import { showSignIn, signIn, type SignInOptions } from './sign-in.ts';
import type { FailureThrottle } from './throttle.ts';

export interface InteractionOptions {
  readonly provider: Provider;
  readonly people: People;
  readonly authorizations: Authorizations;
  readonly records: PersonalRecords;
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
export interface Waiting {
  readonly details: Details;
  readonly form: FormFacts;
  readonly client: { readonly clientId: string; readonly clientName: string };
}

/** The pages on which people sign in, choose a patient and consent: `GET` and `POST /interaction/:uid`. */
export function interactionRouter(options: SignInOptions): Router {
  const router = express.Router();
  const step =
    (work: (waiting: Waiting, request: Request, response: Response) => Promise<void>): RequestHandler =>
    async (request, response) => {
      try {
        await work(await waitingFor(options, request, response), request, response);
      } catch (cause) {
        await recordRefusal(options, request, cause);
        answerProblem(options, request, response, cause);
      }
    };
  router.get('/interaction/:uid', step((waiting, request, response) => (waiting.details.prompt.name === 'login' ? showSignIn(options, waiting, request, response) : showNext(options, waiting, request, response))));
  router.post('/interaction/:uid', express.urlencoded({ extended: false, limit: '64kb', parameterLimit: 1_000 }), step(async (waiting, request, response) => {
      const body = request.body as Readonly<Record<string, unknown>> | undefined;
      if (!sameText(body?.['csrf'], waiting.form.csrf)) throw new InterlockError('forbidden');
      if (body?.['decision'] === 'cancel') return options.provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'the person declined' }, { mergeWithLastSubmission: false });
      return waiting.details.prompt.name === 'login' ? signIn(options, waiting, request, response) : proceed(options, waiting, request, response);
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
    form: { action: `${request.baseUrl}/interaction/${uid}`, csrf: options.keyring.mac('oauth-token', ['csrf', uid], 32).toString('base64url'), appName: clientName, appHost: redirect === null ? '' : redirect.host === '' ? redirect.protocol : redirect.host },
    client: { clientId: client.clientId, clientName },
  };
}

async function signedInPerson(options: InteractionOptions, { details: { session } }: Waiting): Promise<Person> {
  const person = session === undefined ? undefined : await options.people.get(session.accountId);
  if (person === undefined || person.disabled) throw new errors.SessionNotFound('nobody is signed in');
  return person;
}

/** What comes next after signing in: choosing a patient or an encounter, consent, or nothing if the same was answered before. */
async function showNext(options: InteractionOptions, waiting: Waiting, request: Request, response: Response): Promise<void> {
  const { authorizations, provider } = options;
  const { details, client, form } = waiting;
  const person = await signedInPerson(options, waiting);
  const asked = await authorizations.asked(details.params, person, await authorizations.picked(details.uid));
  const asker = { person, client, facts: requestFacts(request) };
  if (asked.needs !== undefined) return showPicker(options, { form, asker, asked }, response);
  const registered = await provider.Client.find(client.clientId);
  const { prompt } = details.params;
  const granted = (typeof prompt === 'string' && prompt.split(' ').includes('consent')) || registered === undefined ? undefined : await authorizations.remembered(registered, details.params['redirect_uri'], person, asked);
  if (granted === undefined || granted.length === 0) return showConsent(options, { form, asker, asked }, request, response);
  const grantId = await authorizations.grant(provider, client, person, asked, granted);
  return provider.interactionFinished(request, response, { consent: { grantId } }, { mergeWithLastSubmission: true });
}

/** A choice, a search for one, or the answer to the consent page. */
async function proceed(options: InteractionOptions, waiting: Waiting, request: Request, response: Response): Promise<void> {
  const { authorizations } = options;
  const { details, client, form } = waiting;
  const person = await signedInPerson(options, waiting);
  const picked = await authorizations.picked(details.uid);
  const asked = await authorizations.asked(details.params, person, picked);
  const asker = { person, client, facts: requestFacts(request) };
  if (asked.needs === undefined) return consent(options, { form, asker, asked }, request, response);
  const chosen = await pick(options, { form, asker, asked }, request, response);
  if (chosen === undefined) return undefined;
  await authorizations.pick(details.uid, { ...picked, ...chosen });
  response.redirect(303, form.action);
}

/** What is refused before it is anybody's sign-in or consent: forged forms, those of another browser, too many attempts. */
async function recordRefusal({ flood, nowMs }: InteractionOptions, request: Request, cause: unknown): Promise<void> {
  const error = cause instanceof errors.SessionNotFound ? 'request-invalid' : cause instanceof InterlockError && cause.status < 500 ? cause.code : undefined;
  if (error === undefined) return;
  const facts = requestFacts(request);
  await flood.record({ at: nowMs(), kind: 'login', interaction: 'login', action: 'E', outcome: '4', error, rule: 'sign-in page: form, session or rate', requestId: facts.requestId, actor: anonymousActor(facts) }).catch(() => undefined);
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
