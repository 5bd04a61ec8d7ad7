import type { AuditRecord } from '../audit/record.ts';
import { roleOf } from './roles.ts';

/** Why a request was refused, in words. */
export interface Explanation {
  /** ISO 8601. */
  readonly when: string;
  readonly who: string;
  readonly what: string;
  readonly outcome: 'permitted' | 'refused' | 'failed';
  /** Code of the error catalogue, as the caller saw it. */
  readonly error?: string;
  /** First word of the rule: `scope`, `role`, `compartment` … */
  readonly kind?: string;
  /** The rule as the sealed record has it. */
  readonly rule?: string;
  /** The rule in a sentence. */
  readonly why: string;
  /** What would have permitted it. */
  readonly permits?: string;
}

/** What a kind of rule means and what would lift it; by the first word of a rule. */
const kinds: Readonly<Record<string, readonly [why: string, permits: string]>> = {
  scope: ['The access token has no scope for this.', 'A token with a scope that covers it: allow the client the scope, and have the person consent to it.'],
  role: ['The role of the person does not include this, whatever the scopes say.', 'Another role for the person, or a row of the role for this type and interaction (interlock role show).'],
  purpose: ['The role includes this for another purpose of use only.', 'A request with a purpose of use that the role has (X-Purpose-Of-Use).'],
  compartment: ['The resource is outside what the caller may see, or the content outside what it may write; the caller was told that there is none.', 'A launch for that patient, or the patient in the care of the person (care team, general practitioner, current encounter); in an emergency, break-glass.'],
  mask: ['Elements that this reads or writes are hidden from the role.', 'A request that does not touch hidden elements, or a role without the mask.'],
  consent: ['The consent of the patient forbids it.', 'A change of the consent by the patient, another purpose of use that it permits, or in an emergency break-glass.'],
  'break-glass': ['Break-glass was asked for without the right, the reason or the purpose that it needs, or is over.', 'The right to break the glass, a reason and a purpose of use, renewed within the time box.'],
  partner: ['The partner may not connect, or not for this.', 'An agreement (BAA) that is valid today, and the channel allowed for the partner (interlock partner list).'],
  time: ['The time for which it was allowed is over, or has not begun.', 'A renewal: a new token, certificate or agreement.'],
  client: ['The application may not do this, or not now.', 'A registration that is active and allows it (interlock client list).'],
  token: ['The access token is unknown, over, revoked, or was not shown as it must be.', 'A new sign-in or token; with the proof of possession, where the client has to give one.'],
  cursor: ['The page link was made for another caller, or was altered.', 'The same search again, as this caller.'],
  audit: ['The audit trail cannot be changed by anybody.', 'Nothing.'],
  duties: ['Who administers access gets no access to patient data by it.', 'Somebody else who adds the account; administrators and clinicians are different accounts of different people.'],
  command: ['The command did not come with the operator certificate from this machine.', 'The command on the machine of the server, by who may read the keys directory.'],
};

const codes: Readonly<Record<string, readonly [why: string, permits?: string]>> = {
  'not-found': ['There is no such resource, and nothing was hidden.'],
  'deleted': ['The resource was deleted.', 'Its history holds earlier versions.'],
  'login-required': ['The request had no access token.', 'A token in the Authorization header.'],
  'token-invalid': kinds['token']!,
  'certificate-required': kinds['command']!,
  'throttled': ['The caller sent too many requests.', 'Waiting as long as Retry-After says.'],
  'audit-unavailable': ['The audit trail could not be written, so nothing was given.', 'An audit store that can be reached.'],
};

/** Explains one record of the trail. */
export function explain(record: AuditRecord): Explanation {
  const { rule, error, actor } = record;
  const kind = rule === undefined ? undefined : Object.keys(kinds).find((one) => rule === one || rule.startsWith(`${one}:`) || rule.startsWith(`${one} `));
  const outcome = record.outcome === '0' ? 'permitted' : record.outcome === '4' ? 'refused' : 'failed';
  const isKnown = error !== undefined && Object.hasOwn(codes, error);
  const [why, permits] = kind !== undefined ? kinds[kind]! : isKnown ? codes[error]! : [outcome === 'permitted' ? 'It was permitted.' : 'No rule of access refused it: the request itself failed.', undefined];
  return {
    when: new Date(record.at).toISOString(),
    who: whoOf(actor),
    what: whatOf(record),
    outcome,
    ...(error === undefined ? {} : { error }),
    ...(kind === undefined ? {} : { kind }),
    ...(rule === undefined ? {} : { rule }),
    why,
    ...(permits === undefined ? {} : { permits: permitsFor(kind, actor.role, permits) }),
  };
}

/** An explanation as lines of a story. */
export function storyOf(explanation: Explanation): string[] {
  const { when, who, what, outcome, error, rule, why, permits } = explanation;
  return [
    `when      ${when}`,
    `who       ${who}`,
    `what      ${what}`,
    `outcome   ${outcome}${error === undefined ? '' : ` (${error})`}`,
    ...(rule === undefined ? [] : [`rule      ${rule}`]),
    `why       ${why}`,
    ...(permits === undefined ? [] : [`permits   ${permits}`]),
  ];
}

function whoOf({ kind, id, display, role, fhirUser, clientId, clientName, address }: AuditRecord['actor']): string {
  const name = display === undefined || display === id ? id : `${display} (${id})`;
  const about = [role === undefined ? undefined : `role ${role}`, fhirUser, clientId === undefined ? undefined : `by the application ${clientName ?? clientId}`, address === undefined ? undefined : `from ${address}`];
  return [`${kind} ${name}`, ...about.filter((part) => part !== undefined)].join(', ');
}

function whatOf({ kind, interaction, command, entities = [], query, purposeOfUse = [], count = 1 }: AuditRecord): string {
  const targets = entities.slice(0, 5).map(({ type, id }) => `${type}/${id}`);
  const more = entities.length > targets.length ? ` and ${entities.length - targets.length} more` : '';
  const done = kind === 'rest' ? interaction : `${kind} ${command ?? interaction}`;
  return [done, ...(targets.length === 0 ? [] : [`of ${targets.join(', ')}${more}`]), ...(query === undefined ? [] : [`as ${query}`]), ...(purposeOfUse.length === 0 ? [] : [`for ${purposeOfUse.join(', ')}`]), ...(count === 1 ? [] : [`${count} times`])].join(' ');
}

function permitsFor(kind: string | undefined, roleName: string | undefined, permits: string): string {
  if (kind !== 'purpose' || roleName === undefined) return permits;
  return `${permits} It has: ${(roleOf(roleName)?.purposes ?? []).join(', ')}.`;
}
