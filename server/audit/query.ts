import type { AuditReader, OpenedEntry } from './reader.ts';
import type { AuditRecord } from './record.ts';
import { eventId } from './render/event.ts';
import { maxDateMs, type Hint } from './scan.ts';
import { denseInteractions, selectiveActions, term } from './tokens.ts';

/** What an operator asks the trail. All conditions must hold. */
export interface RecordFilter {
  /** Logical id of a patient who was disclosed, affected, or acted. */
  readonly patient?: string;
  /** User id, client id, partner, or `Type/id` of a person: whoever had a part as an agent. */
  readonly agent?: string;
  /** `Type/id` of a resource. */
  readonly entity?: string;
  readonly requestId?: string;
  readonly messageId?: string;
  readonly address?: string;
  readonly kind?: AuditRecord['kind'];
  readonly interaction?: string;
  readonly action?: AuditRecord['action'];
  /** `refused`: anything but success. */
  readonly outcome?: AuditRecord['outcome'] | 'refused';
  /** Events in [sinceMs, untilMs). */
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** Default: newest first. */
  readonly ascending?: boolean;
  /** Default 100. */
  readonly limit?: number;
}

/** Records that meet a filter, in the order of time. @throws InterlockError `integrity-failure` at an altered entry */
export async function* queryRecords(reader: AuditReader, filter: RecordFilter): AsyncGenerator<OpenedEntry> {
  const plan = { hints: hintsOf(filter), fromMs: filter.sinceMs ?? 0, untilMs: filter.untilMs ?? maxDateMs };
  let left = filter.limit ?? 100;
  if (left <= 0) return;
  for await (const entry of reader.entries(plan, filter.ascending !== true)) {
    if (!meets(entry.record, filter)) continue;
    yield entry;
    left -= 1;
    if (left === 0) return;
  }
}

/** A record as a row of a table: strings only. */
export interface RecordRow {
  readonly time: string;
  readonly agent: string;
  readonly client: string;
  readonly event: string;
  readonly outcome: string;
  readonly patients: string;
  readonly entities: string;
  readonly address: string;
  readonly requestId: string;
  /** Id of the first AuditEvent. */
  readonly id: string;
}

const outcomeNames = { '0': 'ok', '4': 'refused', '8': 'failed', '12': 'failed badly' } as const;
const shownInRow = 3;

/** Lays a record out for a table. */
export function toRow({ id, record }: OpenedEntry): RecordRow {
  const { actor } = record;
  return {
    time: new Date(record.at).toISOString(),
    agent: actor.display ?? actor.id,
    client: actor.clientName ?? actor.clientId ?? record.client?.id ?? '',
    event: record.kind === 'rest' ? record.interaction : `${record.kind} ${record.command ?? record.interaction}`,
    outcome: [outcomeNames[record.outcome], record.error === undefined ? undefined : `(${record.error})`, (record.count ?? 1) === 1 ? undefined : `× ${record.count ?? 1}`].filter((part) => part !== undefined).join(' '),
    patients: shorten(patientsOf(record)),
    entities: shorten((record.entities ?? []).map((entity) => `${entity.type}/${entity.id}`)),
    address: actor.address ?? '',
    requestId: record.requestId,
    id: eventId(id, 0),
  };
}

function shorten(values: readonly string[]): string {
  const more = values.length - shownInRow;
  return values.slice(0, shownInRow).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function hintsOf(filter: RecordFilter): Hint[] {
  const { patient, agent, entity, requestId, messageId, address, kind, interaction, action, outcome } = filter;
  const hints: Hint[] = [];
  const anchored = (...terms: string[]): void => void hints.push({ terms, daily: false });
  const daily = (...terms: string[]): void => void hints.push({ terms, daily: true });
  if (requestId !== undefined) anchored(term.request(requestId));
  if (messageId !== undefined) anchored(term.message(messageId));
  if (patient !== undefined) anchored(term.reference('Patient', patient), term.agent(`Patient/${patient}`));
  if (entity !== undefined) anchored(term.entity(entity));
  if (agent !== undefined) anchored(term.agent(agent));
  if (address !== undefined) daily(term.address(address));
  if (outcome === 'refused') daily(term.outcome('4'), term.outcome('8'), term.outcome('12'));
  else if (outcome !== undefined && outcome !== '0') daily(term.outcome(outcome));
  if (action !== undefined && selectiveActions.has(action)) daily(term.action(action));
  if (kind !== undefined && kind !== 'rest') daily(term.kind(kind));
  if (kind !== undefined && interaction !== undefined && !denseInteractions.has(`${kind}|${interaction}`)) daily(term.interaction(kind, interaction));
  return hints;
}

function meets(record: AuditRecord, filter: RecordFilter): boolean {
  const { actor } = record;
  const { patient, agent, entity, sinceMs = 0, untilMs = maxDateMs } = filter;
  const same = <T>(asked: T | undefined, value: T | undefined): boolean => asked === undefined || asked === value;
  return record.at >= sinceMs && record.at < untilMs
    && (patient === undefined || patientsOf(record).includes(patient) || actor.fhirUser === `Patient/${patient}`)
    && (agent === undefined || [actor.id, actor.clientId, actor.fhirUser, actor.onBehalfOf, record.client?.id].includes(agent))
    && (entity === undefined || (record.entities ?? []).some(({ type, id }) => `${type}/${id}` === entity))
    && same(filter.requestId, record.requestId)
    && same(filter.messageId, record.channel?.messageId)
    && same(filter.address, actor.address)
    && same(filter.kind, record.kind)
    && same(filter.interaction, record.interaction)
    && same(filter.action, record.action)
    && (filter.outcome === 'refused' ? record.outcome !== '0' : same(filter.outcome, record.outcome));
}

function patientsOf(record: AuditRecord): string[] {
  const entities = record.entities ?? [];
  const own = entities.filter(({ type }) => type === 'Patient').map(({ id }) => id);
  return [...new Set([...(record.patients ?? []), ...entities.flatMap((entity) => entity.patients ?? []), ...own])];
}
