import type { AuditEntity, AuditRecord } from '../record.ts';
import { agentsOf, concept, type AuditSite } from './agents.ts';
import { applicationServer, entityKind, entityRole, purposeOfUse, resourceTypes } from './codes.ts';
import { patternOf, type Pattern } from './patterns.ts';

/** An AuditEvent as FHIR JSON. */
export interface AuditEventJson {
  readonly resourceType: 'AuditEvent';
  readonly id: string;
  readonly [element: string]: unknown;
}

/** What one event is about: at most one patient, and the resources that concern this patient (or none). */
interface Subject {
  readonly patient?: string;
  readonly entities: readonly AuditEntity[];
}

const idForm = /^([0-9a-f]{32})-(0|[1-9][0-9]{0,6})$/;

/** Id of an AuditEvent: the entry's id in hex, and which of its events. */
export function eventId(entryId: Buffer, index: number): string {
  return `${entryId.toString('hex')}-${index}`;
}

/** Takes an AuditEvent's id apart; undefined if it is none. */
export function parseEventId(id: string): { readonly entryId: Buffer; readonly index: number } | undefined {
  const match = idForm.exec(id);
  return match === null ? undefined : { entryId: Buffer.from(match[1]!, 'hex'), index: Number(match[2]) };
}

/** How many AuditEvents a record gives. */
export function countEvents(record: AuditRecord): number {
  return subjectsOf(record, patternOf(record)).length;
}

/**
 * Renders the AuditEvents of a record: one per patient who was disclosed or affected, and for each resource that was
 * read or written; laid out by IHE Basic Audit Log Patterns (https://profiles.ihe.net/ITI/BALP/). Its profiles are about
 * successes of five interactions and disclosures: all else has the same layout and claims a profile of our own.
 */
export function renderEvents(entryId: Buffer, record: AuditRecord, site: AuditSite): AuditEventJson[] {
  const pattern = patternOf(record);
  const agents = agentsOf(record, pattern, site);
  return subjectsOf(record, pattern).map((subject, index) => renderEvent(eventId(entryId, index), record, pattern, subject, agents, site));
}

function renderEvent(id: string, record: AuditRecord, pattern: Pattern, subject: Subject, agents: readonly object[], site: AuditSite): AuditEventJson {
  const recorded = new Date(record.at).toISOString();
  const why = outcomeText(record);
  return {
    resourceType: 'AuditEvent',
    id,
    meta: { versionId: '1', lastUpdated: recorded, profile: [profileOf(record, pattern, subject)] },
    type: pattern.type,
    subtype: pattern.subtype,
    action: record.action,
    recorded,
    outcome: record.outcome,
    ...(why === undefined ? {} : { outcomeDesc: why }),
    ...(record.purposeOfUse === undefined || record.purposeOfUse.length === 0 ? {} : { purposeOfEvent: record.purposeOfUse.map((code) => concept({ system: purposeOfUse, code })) }),
    agent: agents,
    source: { site: site.site, observer: { display: 'Interlock' }, type: [applicationServer] },
    entity: entitiesOf(record, pattern, subject),
  };
}

/** BALP's profile where it has one and the record tells all that it wants; else our own (resources/profiles/audit-events.ts). */
function profileOf(record: AuditRecord, { profile, ownProfile, entities }: Pattern, subject: Subject): string {
  if (record.outcome !== '0') return `${own}refusal`;
  const balp = `https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.`;
  if (profile === 'PrivacyDisclosure.Source') return subject.patient === undefined ? `${own}${ownProfile}` : `${balp}${profile}`;
  if (profile === undefined || (entities === 'data' ? subject.entities.length !== 1 : record.query === undefined)) return `${own}${ownProfile}`;
  return `${balp}${subject.patient === undefined ? '' : 'Patient'}${profile}`;
}

const own = 'urn:interlock:audit-profile:';

/** Through which door it happened. */
function doorOf({ kind, channel, actor }: AuditRecord): string {
  if (kind !== 'rest') return { login: 'sign-in', logout: 'sign-in', token: 'token endpoint', channel: 'channel', command: 'command line', key: 'key access', server: 'server' }[kind];
  return channel !== undefined ? 'channel' : actor.kind === 'operator' ? 'command line' : actor.kind === 'job' ? 'job' : 'API';
}

function outcomeText(record: AuditRecord): string | undefined {
  const why = [record.error, record.rule].filter((part) => part !== undefined);
  if (why.length === 0 && record.outcome !== '0') why.push(record.outcome === '4' ? 'refused' : 'failed');
  return [...why, ...(record.recovered === true ? ['entry recovered after a crash'] : [])].join(': ') || undefined;
}

function subjectsOf(record: AuditRecord, pattern: Pattern): Subject[] {
  const entities = record.entities ?? [];
  if (pattern.entities === 'data') {
    const subjects = entities.flatMap((entity): Subject[] => {
      const patients = unique(patientsOf(entity));
      return patients.length === 0 ? [{ entities: [entity] }] : patients.map((patient) => ({ patient, entities: [entity] }));
    });
    // Patients whom the record names without a resource, such as those of a refused request.
    const covered = new Set(subjects.map((subject) => subject.patient));
    const more = unique(record.patients ?? []).filter((patient) => !covered.has(patient));
    if (entities.length === 1 && more.length > 0 && covered.has(undefined)) return more.map((patient) => ({ patient, entities }));
    subjects.push(...more.map((patient) => ({ patient, entities: [] })));
    return subjects.length === 0 ? [{ entities: [] }] : subjects;
  }
  const patients = unique([...(record.patients ?? []), ...entities.flatMap(patientsOf)]);
  if (patients.length === 0) return [{ entities }];
  const own = new Map<string, AuditEntity[]>(patients.map((patient) => [patient, []]));
  const nobodys: AuditEntity[] = [];
  for (const entity of entities) {
    const theirs = unique(patientsOf(entity));
    if (theirs.length === 0) nobodys.push(entity);
    for (const patient of theirs) own.get(patient)?.push(entity);
  }
  // What concerns no patient is told once.
  return patients.map((patient, index) => ({ patient, entities: [...own.get(patient)!, ...(index === 0 ? nobodys : [])] }));
}

function patientsOf(entity: AuditEntity): readonly string[] {
  return entity.patients ?? (entity.type === 'Patient' ? [entity.id] : []);
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}

function entitiesOf(record: AuditRecord, pattern: Pattern, subject: Subject): object[] {
  const entities: object[] = [];
  if (subject.patient !== undefined) entities.push({ what: { reference: `Patient/${subject.patient}` }, type: entityKind.person, role: entityRole.patient });
  if (pattern.entities === 'data') entities.push(...subject.entities.map((entity) => resourceEntity(entity, true)));
  if (record.query !== undefined) {
    // Beside a resource, which is the one System Object that BALP allows there, the query is something else.
    entities.push({ type: pattern.entities === 'data' ? entityKind.other : entityKind.systemObject, role: entityRole.query, query: Buffer.from(record.query).toString('base64') });
  }
  // BALP gives a query just one System Object: what it disclosed is told by resource type.
  if (pattern.entities !== 'data') entities.push(...subject.entities.map((entity) => resourceEntity(entity, false)));
  const { channel, client, command } = record;
  if (channel !== undefined) {
    const detail = details({ channel: channel.id, messageType: channel.messageType, controlId: channel.controlId });
    entities.push({ what: { identifier: { value: channel.messageId } }, type: entityKind.other, role: entityRole.job, ...detail });
  }
  if (client !== undefined) {
    entities.push({ what: { identifier: { value: client.id } }, type: entityKind.other, role: entityRole.securityResource, ...details({ grantType: client.grantType, scope: client.scope }) });
  }
  if (command !== undefined) entities.push({ type: entityKind.other, role: entityRole.job, name: command });
  const { actor, breakGlassReason, count } = record;
  entities.push({
    what: { identifier: { value: record.requestId } },
    type: entityKind.requestId,
    ...details({ how: doorOf(record), breakGlassReason, launchId: actor.launchId, userAgent: actor.userAgent, count: count?.toString() }),
  });
  return entities;
}

function resourceEntity(entity: AuditEntity, single: boolean): object {
  const version = entity.versionId === undefined ? '' : `/_history/${entity.versionId}`;
  return {
    what: { reference: `${entity.type}/${entity.id}${version}` },
    type: single ? entityKind.systemObject : { system: resourceTypes, code: entity.type },
    role: entityRole.domainResource,
    ...details({ sha256: entity.hash }),
  };
}

function details(values: Readonly<Record<string, string | undefined>>): { readonly detail?: readonly object[] } {
  const detail = Object.entries(values).flatMap(([type, valueString]) => (valueString === undefined || valueString === '' ? [] : [{ type, valueString }]));
  return detail.length === 0 ? {} : { detail };
}
