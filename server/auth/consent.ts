import type { Request, Response } from 'express';
import type Provider from 'oidc-provider';
import type { ResourceScope, Scope } from '../access/scopes.ts';
import type { AuditTrail } from '../audit/record.ts';
import { personActor } from './audit.ts';
import type { Authorizations } from './authorization.ts';
import { consentPage, type ConsentLine } from './consent-page.ts';
import { kindsOf } from './granular.ts';
import { ownPatients } from './launch.ts';
import type { Step } from './picker.ts';
import type { Asker, Count, PersonalRecords } from './records.ts';
import { wordingOf } from './wording.ts';

export interface ConsentOptions {
  readonly provider: Provider;
  readonly authorizations: Authorizations;
  readonly records: PersonalRecords;
  readonly audit: AuditTrail;
  readonly nowMs: () => number;
}

/** Counting stops here: a page that comes late helps nobody. */
const maxCountedScopes = 40;
const maxCountingMs = 2_000;

const isOptional = (scope: Scope): boolean => scope.kind === 'resource' || scope.text === 'offline_access';
const isRead = (scope: Scope): scope is ResourceScope => scope.kind === 'resource' && (scope.permissions.has('r') || scope.permissions.has('s'));

/** Shows who asks, for what, how much that is, and for how long. */
export async function showConsent(options: ConsentOptions, { form, asker, asked }: Step, request: Request, response: Response): Promise<void> {
  const { context, possible, withheld } = asked;
  const { person } = asker;
  const reads = possible.filter(isRead);
  const counts = await counted(options.records, asker, [...reads, ...reads.flatMap((scope) => kindsOf(scope).map((kind) => kind.scope))], context.patient);
  const line = (scope: Scope): ConsentLine => ({ scope: scope.text, ...wordingOf(scope), count: counts.get(scope.text), kinds: kindsOf(scope).map((kind) => ({ scope: kind.scope.text, title: kind.title, count: counts.get(kind.scope.text) })) });
  const own = ownPatients(person);
  const [lasting, whileSignedIn] = ['offline_access', 'online_access'].map((text) => possible.some((scope) => scope.text === text));
  const page = consentPage({
    ...form,
    username: person.username,
    signOutUrl: `${request.baseUrl}/logout`,
    appsUrl: `${request.baseUrl}/apps`,
    record: context.patient === undefined ? undefined : own?.length === 1 ? 'your own record' : await recordOf(options.records, asker, context.patient),
    purpose: own === undefined ? 'treatment of your patients' : own.length === 1 ? 'your own use of your record' : 'your use on behalf of the patient',
    duration: lasting === true ? 'until you or the hospital end it, also when you are away' : whileSignedIn === true ? 'while you are signed in' : 'for 15 minutes each time',
    optional: [...possible.filter(({ kind }) => kind === 'resource'), ...possible.filter((scope) => scope.kind !== 'resource' && isOptional(scope))].map(line),
    fixed: possible.filter((scope) => !isOptional(scope)).map(line),
    withheld: withheld.map(line),
  });
  response.status(200).type('html').send(page);
}

/** Takes the answer: what stayed ticked, narrowed to kinds where kinds were ticked. */
export async function consent({ provider, authorizations, audit, nowMs }: ConsentOptions, { asker, asked }: Step, request: Request, response: Response): Promise<void> {
  const { person, client, facts } = asker;
  const body = request.body as { scope?: string | string[]; kind?: string | string[] };
  const ticked = new Set([body.scope ?? []].flat());
  const narrowed = new Set([body.kind ?? []].flat());
  const granted = asked.possible.flatMap((scope) => {
    const kinds = kindsOf(scope).map((kind) => kind.scope.text).filter((text) => narrowed.has(text));
    return kinds.length > 0 ? kinds : !isOptional(scope) || ticked.has(scope.text) ? [scope.text] : [];
  });
  if (granted.length === 0) return provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'the person granted nothing' }, { mergeWithLastSubmission: false });
  const grantId = await authorizations.grant(provider, client, person, asked, granted);
  await audit.record({
    at: nowMs(), kind: 'token', interaction: 'consent', action: 'E', outcome: '0', requestId: facts.requestId,
    actor: personActor(person, facts, client),
    client: { id: client.clientId, scope: granted.join(' ').slice(0, 4000) },
    ...(asked.context.patient === undefined ? {} : { patients: [asked.context.patient] }),
  });
  return provider.interactionFinished(request, response, { consent: { grantId } }, { mergeWithLastSubmission: true });
}

async function counted(records: PersonalRecords, asker: Asker, scopes: readonly ResourceScope[], patient: string | undefined): Promise<ReadonlyMap<string, Count>> {
  const counts = new Map<string, Count>();
  const deadline = performance.now() + maxCountingMs;
  for (const scope of scopes.slice(0, maxCountedScopes)) {
    if (performance.now() > deadline) break;
    counts.set(scope.text, await records.count(asker, scope, patient));
  }
  return counts;
}

async function recordOf(records: PersonalRecords, asker: Asker, patient: string): Promise<string> {
  try {
    const { title, detail } = await records.patient(asker, patient);
    return detail === '' ? title : `${title}, ${detail}`;
  } catch {
    // Whoever may not see the patient gets nothing from the app either; the attempt is on record.
    return 'the record that was open when it was started';
  }
}
