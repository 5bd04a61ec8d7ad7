import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import express, { type Request, type Response, type Router } from 'express';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Alerts } from '../alerts/alerts.ts';
import type { Alert } from '../alerts/register.ts';
import { personActor, requestFacts } from '../auth/audit.ts';
import type { Auth } from '../auth/auth.ts';
import type { ClientInfo } from '../auth/clients.ts';
import { contentSecurityPolicy, html, page, problemPage, type Html } from '../auth/pages.ts';
import type { Person } from '../auth/people.ts';
import type { AuditTrail } from '../audit/record.ts';
import type { Keyring } from '../kms/keyring.ts';

const clientId = 'interlock-console';

/** The console as a client of the authorization server: it wants to know who is signed in, and nothing else. */
export function consoleClient(baseUrl: string): ReadonlyMap<string, Pick<ClientInfo, 'name' | 'redirectUris' | 'scope'>> {
  return new Map([[clientId, { name: 'Interlock console', redirectUris: [`${baseUrl}/console/alerts`], scope: 'openid' }]]);
}

export interface ConsoleOptions {
  readonly auth: Pick<Auth, 'signedIn'>;
  readonly alerts: Alerts;
  readonly audit: AuditTrail;
  readonly keyring: Keyring;
  readonly baseUrl: string;
  readonly nowMs: () => number;
}

/** Whom alerts are shown to. */
const roles = new Set(['security-admin', 'auditor']);
const maxShown = 100;

/** Where alerts are looked into and acknowledged: `GET` and `POST /alerts`, for security admins and auditors with both factors. Both are audited. */
export function consoleRouter(options: ConsoleOptions): Router {
  const { auth, alerts, audit, keyring, baseUrl, nowMs } = options;
  const here = `${baseUrl}/console/alerts`;
  // Bound to the person, and so worth nothing to anybody else.
  const csrfOf = (person: Person): string => keyring.mac('oauth-token', ['csrf-console', person.id], 32).toString('base64url');
  const record = async (person: Person, request: Request, refused?: InterlockError): Promise<void> => {
    const facts = requestFacts(request);
    await audit.record({ at: nowMs(), kind: 'command', interaction: 'alerts-viewed', action: 'R', requestId: facts.requestId, actor: personActor(person, facts), ...(refused === undefined ? { outcome: '0' } : { outcome: '4', error: refused.code, rule: refused.options.rule ?? 'alerts' }) });
  };
  const refuse = (response: Response, title: string, text: string, request: Request): void => {
    response.status(403).type('html').send(problemPage(title, text, requestFacts(request).requestId));
  };
  /** Whoever may look; otherwise the answer is given. */
  const admit = async (request: Request, response: Response): Promise<Person | undefined> => {
    const person = await auth.signedIn(request, response);
    const isReturn = request.query['code'] !== undefined || request.query['error'] !== undefined;
    if (person === undefined && isReturn) refuse(response, 'Nobody is signed in', 'Start again, and allow cookies of this server.', request);
    else if (person === undefined) response.redirect(303, signInUrl(baseUrl));
    else if (!roles.has(person.role)) {
      await record(person, request, new InterlockError('forbidden', { rule: 'role: alerts are for security admins and auditors' }));
      refuse(response, 'Not for your role', 'Alerts are shown to security admins and auditors.', request);
    } else if (isReturn) response.redirect(303, here);
    else return person;
    return undefined;
  };
  const show = async (person: Person, request: Request, response: Response, problem?: string): Promise<void> => {
    const all = request.query['all'] !== undefined;
    const list = await alerts.register.list(!all);
    await record(person, request);
    response.status(problem === undefined ? 200 : 422).type('html').send(alertsPage({ here, signOutUrl: `${baseUrl}/oauth2/logout`, csrf: csrfOf(person), person, list, all, titles: new Map(alerts.ruleSet.rules.map(({ id, title }) => [id, title])), problem }));
  };

  const router = express.Router();
  router.use((_request, response, next) => {
    response.set({ 'Content-Security-Policy': contentSecurityPolicy(), 'Cache-Control': 'no-store' });
    next();
  });
  router.get('/', (_request, response) => response.redirect(303, here));
  router.get('/alerts', async (request, response) => {
    audit.assertAvailable();
    const person = await admit(request, response);
    if (person !== undefined) await show(person, request, response);
  });
  router.post('/alerts', express.urlencoded({ extended: false, limit: '16kb', parameterLimit: 10 }), async (request, response) => {
    const person = await auth.signedIn(request, response);
    const { csrf, id, note } = (request.body ?? {}) as Readonly<Record<string, unknown>>;
    if (person === undefined || !roles.has(person.role) || !sameText(csrf, csrfOf(person)) || typeof id !== 'string' || typeof note !== 'string') {
      if (person !== undefined) await record(person, request, new InterlockError('forbidden', { rule: roles.has(person.role) ? 'form: not one that this page gave' : 'role: alerts are for security admins and auditors' }));
      refuse(response, 'This did not work', 'This page is too old. Open it again.', request);
      return;
    }
    const facts = requestFacts(request);
    try {
      await alerts.register.acknowledge(id, personActor(person, facts), note, facts.requestId);
      response.redirect(303, here);
    } catch (cause) {
      if (!(cause instanceof InterlockError) || cause.status >= 500) throw cause;
      await show(person, request, response, cause.options.detail ?? cause.message);
    }
  });
  return router;
}

function signInUrl(baseUrl: string): string {
  const challenge = createHash('sha256').update(randomBytes(32)).digest('base64url');
  const query = { client_id: clientId, response_type: 'code', scope: 'openid', redirect_uri: `${baseUrl}/console/alerts`, aud: `${baseUrl}/fhir/R4`, state: randomBytes(16).toString('base64url'), code_challenge: challenge, code_challenge_method: 'S256' };
  return `${baseUrl}/oauth2/authorize?${new URLSearchParams(query).toString()}`;
}

interface PageFacts {
  readonly here: string;
  readonly signOutUrl: string;
  readonly csrf: string;
  readonly person: Person;
  readonly list: readonly Alert[];
  readonly all: boolean;
  readonly titles: ReadonlyMap<string, string>;
  readonly problem?: string | undefined;
}

function alertsPage({ here, signOutUrl, csrf, person, list, all, titles, problem }: PageFacts): string {
  const other = all ? html`<a href="${here}">Open ones only</a>` : html`<a href="${here}?all">Acknowledged ones too</a>`;
  return page(
    'Alerts',
    html`<p>You are signed in as <strong>${person.username}</strong>. ${other} · <a href="${signOutUrl}">Sign out</a></p>
${problem !== undefined && html`<p class="problem" role="alert">${problem}</p>`}
${list.length === 0 ? html`<p role="status">There is nothing to look into.</p>` : html`<ul class="apps">${list.slice(0, maxShown).map((alert) => alertItem(here, csrf, alert, titles.get(alert.rule) ?? alert.rule))}</ul>`}
${list.length > maxShown && html`<p>And ${String(list.length - maxShown)} more: <code>interlock alerts list</code></p>`}`,
  );
}

function alertItem(here: string, csrf: string, { id, severity, at, last, count, about, state, acknowledged }: Alert, title: string): Html {
  const { who, address, what, auditEvent } = about;
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['Severity', severity], ['Since', time(at)], ['Times', count === 1 ? undefined : `${count}, latest ${time(last)}`],
    ['Who', who === undefined ? undefined : `${who.display ?? who.id}${who.role === undefined ? '' : `, ${who.role}`}`], ['Address', address], ['About', what], ['AuditEvent', auditEvent],
    ['Looked into', acknowledged === undefined ? undefined : `by ${acknowledged.by}, ${time(acknowledged.at)}`], ['Found', acknowledged?.note],
  ];
  return html`<li>
<h2>${title}</h2>
<dl>${facts.flatMap(([name, value]) => (value === undefined ? [] : [html`<dt>${name}</dt><dd>${value}</dd>`]))}</dl>
${state === 'open' && html`<form method="post" action="${here}">
<input type="hidden" name="csrf" value="${csrf}">
<label for="note-${id}">What came of it</label>
<input id="note-${id}" name="note" maxlength="2000" required autocomplete="off">
<div class="buttons"><button name="id" value="${id}" class="quiet" aria-label="Acknowledge: ${title}, ${time(at)}">Acknowledge</button></div>
</form>`}
</li>`;
}

function time(date: Date): string {
  return `${date.toISOString().slice(0, 16).replace('T', ', ')} UTC`;
}

function sameText(actual: unknown, expected: string): boolean {
  if (typeof actual !== 'string') return false;
  const [a, b] = [Buffer.from(actual), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
