import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import express, { type Request, type Response, type Router } from 'express';
import { parseScope, type Scope } from '../access/scopes.ts';
import type { AuditTrail } from '../audit/record.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { AppAccess, AppAccessEntry } from './app-access.ts';
import { personActor, requestFacts } from './audit.ts';
import type { ClientInfo } from './clients.ts';
import { html, page, problemPage, type Html } from './pages.ts';
import type { Person } from './people.ts';
import { wordingOf } from './wording.ts';

/** The page as a client of the authorization server: it wants to know who is signed in, and nothing else. */
export const appsClientId = 'interlock-apps';

export function appsClient(issuer: string): Pick<ClientInfo, 'name' | 'redirectUris' | 'scope'> {
  return { name: 'Apps with access', redirectUris: [`${issuer}/apps`], scope: 'openid' };
}

export interface AppsPageOptions {
  readonly issuer: string;
  readonly fhirBaseUrl: string;
  readonly apps: AppAccess;
  readonly audit: AuditTrail;
  readonly keyring: Keyring;
  readonly nowMs: () => number;
  readonly signedIn: (request: Request, response: Response) => Promise<Person | undefined>;
}

/** Where people see which apps have access, and end it: `GET` and `POST /apps`. */
export function appsRouter(options: AppsPageOptions): Router {
  const { issuer, apps, audit, keyring, nowMs } = options;
  const here = `${issuer}/apps`;
  // Bound to the person, and so worth nothing to anybody else.
  const csrfOf = (person: Person): string => keyring.mac('oauth-token', ['csrf-apps', person.id], 32).toString('base64url');
  const router = express.Router();
  router.use('/apps', (_request, response, next) => {
    response.set('Cache-Control', 'no-store');
    next();
  });
  router.get('/apps', async (request, response) => {
    const person = await options.signedIn(request, response);
    const isReturn = request.query['code'] !== undefined || request.query['error'] !== undefined;
    // The session is all that was wanted: the code is never redeemed, and nobody else can.
    if (isReturn && person !== undefined) response.redirect(303, here);
    else if (isReturn) response.status(403).type('html').send(problemPage('Nobody is signed in', 'Start again, and allow cookies of this server.', undefined));
    else if (person === undefined) response.redirect(303, signInUrl(options));
    else response.type('html').send(appsPage(here, `${new URL(issuer).pathname}/logout`, csrfOf(person), person, await apps.list({ accountId: person.id })));
  });
  router.post('/apps', express.urlencoded({ extended: false, limit: '4kb', parameterLimit: 10 }), async (request, response) => {
    const person = await options.signedIn(request, response);
    const facts = requestFacts(request);
    const { csrf, client } = (request.body ?? {}) as Readonly<Record<string, unknown>>;
    if (person === undefined || typeof client !== 'string' || !sameText(csrf, csrfOf(person))) {
      if (person !== undefined) await audit.record({ at: nowMs(), kind: 'token', interaction: 'revoke-access', action: 'E', outcome: '4', error: 'forbidden', requestId: facts.requestId, actor: personActor(person, facts) });
      response.status(403).type('html').send(problemPage('This did not work', 'This page is too old. Open it again.', facts.requestId));
      return;
    }
    audit.assertAvailable();
    await apps.revoke(client, person.id);
    await audit.record({ at: nowMs(), kind: 'token', interaction: 'revoke-access', action: 'E', outcome: '0', requestId: facts.requestId, actor: personActor(person, facts), client: { id: client.slice(0, 100) } });
    response.redirect(303, here);
  });
  return router;
}

function signInUrl({ issuer, fhirBaseUrl }: AppsPageOptions): string {
  const challenge = createHash('sha256').update(randomBytes(32)).digest('base64url');
  const query = { client_id: appsClientId, response_type: 'code', scope: 'openid', redirect_uri: `${issuer}/apps`, aud: fhirBaseUrl, state: randomBytes(16).toString('base64url'), code_challenge: challenge, code_challenge_method: 'S256' };
  return `${issuer}/authorize?${new URLSearchParams(query).toString()}`;
}

function appsPage(action: string, signOutUrl: string, csrf: string, person: Person, entries: readonly AppAccessEntry[]): string {
  return page(
    'Apps with access',
    html`<p>You are signed in as <strong>${person.username}</strong>.</p>
<p class="links"><a href="${action.replace(/apps$/, 'account')}">Security settings</a> <a href="${signOutUrl}">Sign out</a></p>
${entries.length === 0 ? html`<p role="status">No app has access.</p>` : html`<ul class="apps">${entries.map((entry) => appItem(action, csrf, entry))}</ul>`}`,
  );
}

function appItem(action: string, csrf: string, { clientId, clientName, since, lastUsed, until, scopes }: AppAccessEntry): Html {
  const parsed = scopes.map(parseScope).filter((scope) => scope !== undefined);
  const isRecord = ({ kind }: Scope): boolean => kind === 'resource';
  const lines = [...new Set([...parsed.filter(isRecord), ...parsed.filter((scope) => !isRecord(scope))].map((scope) => {
    const { title, detail } = wordingOf(scope);
    return detail === undefined ? title : `${title}: ${detail[0]!.toLowerCase()}${detail.slice(1)}`;
  }))];
  return html`<li>
<h2>${clientName}</h2>
<dl><dt>Since</dt><dd>${day(since)}</dd><dt>Last used</dt><dd>${lastUsed === undefined ? 'not yet' : `${day(lastUsed)}, ${lastUsed.toISOString().slice(11, 16)} UTC`}</dd><dt>Asks again</dt><dd>${day(until)}</dd></dl>
<details><summary>What it may do</summary><ul>${lines.map((line) => html`<li>${line}</li>`)}</ul></details>
<form method="post" action="${action}">
<input type="hidden" name="csrf" value="${csrf}">
<button name="client" value="${clientId}" class="quiet" aria-label="End access of ${clientName}">End access</button>
</form>
</li>`;
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}

function sameText(actual: unknown, expected: string): boolean {
  if (typeof actual !== 'string') return false;
  const [a, b] = [Buffer.from(actual), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
