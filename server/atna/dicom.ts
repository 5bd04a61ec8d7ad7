import type { AuditEventJson } from '../audit/render/event.ts';

interface Coding {
  readonly system?: string;
  readonly code?: string;
  readonly display?: string;
}

interface Concept {
  readonly coding?: readonly Coding[];
}

interface Reference {
  readonly reference?: string;
  readonly identifier?: { readonly value?: string };
  readonly display?: string;
}

/** The part of an AuditEvent that goes into the message (https://hl7.org/fhir/R4/auditevent.html). */
interface Event {
  readonly id: string;
  readonly type: Coding;
  readonly subtype?: readonly Coding[];
  readonly action: string;
  readonly recorded: string;
  readonly outcome: string;
  readonly outcomeDesc?: string;
  readonly purposeOfEvent?: readonly Concept[];
  readonly agent: readonly { readonly type?: Concept; readonly role?: readonly Concept[]; readonly who?: Reference; readonly altId?: string; readonly name?: string; readonly requestor: boolean; readonly network?: { readonly address?: string; readonly type?: string } }[];
  readonly source: { readonly site?: string; readonly observer: Reference; readonly type?: readonly Coding[] };
  readonly entity?: readonly Entity[];
}

interface Entity {
  readonly what?: Reference;
  readonly type?: Coding;
  readonly role?: Coding;
  readonly name?: string;
  readonly query?: string;
  readonly detail?: readonly { readonly type: string; readonly valueString?: string; readonly valueBase64Binary?: string }[];
}

/** DICOM CID 400 (https://dicom.nema.org/medical/dicom/current/output/chtml/part16/sect_CID_400.html). */
const eventIds = {
  export: ['110106', 'Export'],
  patientRecord: ['110110', 'Patient Record'],
  query: ['110112', 'Query'],
} as const;

/** EventID by FHIR interaction: with a patient, and without. What is not listed keeps its FHIR code, as CID 400 may be extended. */
const byInteraction: Readonly<Record<string, { readonly patient?: keyof typeof eventIds; readonly other?: keyof typeof eventIds }>> = {
  'read': { patient: 'patientRecord' },
  'vread': { patient: 'patientRecord' },
  'create': { patient: 'patientRecord' },
  'update': { patient: 'patientRecord' },
  'patch': { patient: 'patientRecord' },
  'delete': { patient: 'patientRecord' },
  'batch': { patient: 'patientRecord' },
  'transaction': { patient: 'patientRecord' },
  'history-instance': { patient: 'patientRecord', other: 'query' },
  'history-type': { patient: 'query', other: 'query' },
  'history-system': { patient: 'query', other: 'query' },
  'search': { patient: 'query', other: 'query' },
  'search-type': { patient: 'query', other: 'query' },
  'search-system': { patient: 'query', other: 'query' },
  'operation': { patient: 'patientRecord' },
  'export': { patient: 'export', other: 'export' },
};

const dcm = 'http://dicom.nema.org/resources/ontology/DCM';
/** Names of code systems in DICOM's messages. */
const systemNames: Readonly<Record<string, string>> = { [dcm]: 'DCM', 'urn:ihe:event-type-code': 'IHE Transactions' };

/** ParticipantObjectIDTypeCode (RFC 3881, section 5.5.4). */
const idTypes = {
  patient: ['2', 'Patient Number'],
  query: ['10', 'Search Criteria'],
  user: ['11', 'User Identifier'],
  resource: ['12', 'URI'],
  report: ['9', 'Report Number'],
} as const;

/** Objects in one message: about 20 kB of the 32 kB that a repository has to take (ITI TF-2: 3.20.4.1.2). */
const maxObjects = 50;

/**
 * An AuditEvent as DICOM audit messages (https://dicom.nema.org/medical/dicom/current/output/chtml/part15/sect_A.5.html): one, or
 * more of the same event if it names very many resources.
 */
export function dicomMessages(event: AuditEventJson): string[] {
  const facts = event as unknown as Event;
  const entities = facts.entity ?? [];
  const resources = entities.filter(({ what, role }) => role?.code === '4' && what?.reference !== undefined);
  const others = entities.filter((entity) => !resources.includes(entity));
  const messages: string[] = [];
  for (let at = 0; at === 0 || at < resources.length; at += maxObjects) {
    const objects = [...others, ...resources.slice(at, at + maxObjects)].map((entity) => participantObject(entity, facts.id));
    messages.push(`<?xml version="1.0" encoding="UTF-8"?><AuditMessage>${identification(facts)}${facts.agent.map(participant).join('')}${source(facts)}${objects.join('')}</AuditMessage>`);
  }
  return messages;
}

function identification({ type, subtype = [], action, recorded, outcome, outcomeDesc, purposeOfEvent = [], entity = [] }: Event): string {
  const hasPatient = entity.some(({ role }) => role?.code === '1');
  const mapped = type.code === 'rest' ? subtype.map(({ code }) => byInteraction[code ?? '']?.[hasPatient ? 'patient' : 'other']).findLast((one) => one !== undefined) : undefined;
  const id = mapped === undefined ? type : { system: dcm, code: eventIds[mapped][0], display: eventIds[mapped][1] };
  // The schema has no element for purposes of use: they are types of the event.
  const types = [...subtype, ...purposeOfEvent.flatMap(({ coding = [] }) => coding)];
  const described = outcomeDesc === undefined ? '' : element('EventOutcomeDescription', {}, text(outcomeDesc));
  return element('EventIdentification', { EventActionCode: action, EventDateTime: recorded, EventOutcomeIndicator: outcome }, coded('EventID', id) + types.map((one) => coded('EventTypeCode', one)).join('') + described);
}

function participant({ type, role = [], who, altId, name, requestor, network }: Event['agent'][number]): string {
  const id = who?.identifier?.value ?? who?.reference ?? altId ?? who?.display ?? name ?? 'unknown';
  const roles = [...(type?.coding ?? []), ...role.flatMap(({ coding = [] }) => coding)].map((one) => coded('RoleIDCode', one)).join('');
  return element('ActiveParticipant', {
    UserID: id, ...(altId === undefined || altId === id ? {} : { AlternativeUserID: altId }), ...(name ?? who?.display) === undefined ? {} : { UserName: (name ?? who?.display)! },
    UserIsRequestor: String(requestor), ...(network?.address === undefined || network.type === undefined ? {} : { NetworkAccessPointID: network.address, NetworkAccessPointTypeCode: network.type }),
  }, roles);
}

function source({ source: { site, observer, type = [] } }: Event): string {
  const types = type.map(({ code = '4' }) => element('AuditSourceTypeCode', { 'csd-code': code })).join('');
  return element('AuditSourceIdentification', { ...(site === undefined ? {} : { AuditEnterpriseSiteID: site }), AuditSourceID: observer.display ?? 'Interlock' }, types);
}

function participantObject({ what, type, role, name, query, detail = [] }: Entity, eventId: string): string {
  const id = what?.reference ?? what?.identifier?.value ?? name ?? eventId;
  const kind = role?.code === '1' ? idTypes.patient : query !== undefined ? idTypes.query : role?.code === '13' ? idTypes.user : what?.reference === undefined ? idTypes.report : idTypes.resource;
  const idType = type?.code === 'XrequestId' ? coded('ParticipantObjectIDTypeCode', type) : coded('ParticipantObjectIDTypeCode', { system: 'RFC-3881', code: kind[0], display: kind[1] });
  const named = query === undefined ? element('ParticipantObjectName', {}, text(name ?? id)) : element('ParticipantObjectQuery', {}, query);
  const details = detail.map((one) => element('ParticipantObjectDetail', { type: one.type, value: one.valueBase64Binary ?? Buffer.from(one.valueString ?? '').toString('base64') })).join('');
  return element('ParticipantObjectIdentification', {
    ParticipantObjectID: id, ParticipantObjectTypeCode: /^[1-4]$/.test(type?.code ?? '') ? type!.code! : what?.reference === undefined ? '4' : '2', ...(role?.code === undefined ? {} : { ParticipantObjectTypeCodeRole: role.code }),
  }, idType + named + details);
}

function coded(name: string, { system = '', code = '', display }: Coding): string {
  return element(name, { 'csd-code': code, codeSystemName: systemNames[system] ?? system, originalText: display ?? code });
}

function element(name: string, attributes: Readonly<Record<string, string>>, content = ''): string {
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}="${text(value)}"`).join('');
  return content === '' ? `<${name}${written}/>` : `<${name}${written}>${content}</${name}>`;
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\t': '&#9;', '\n': '&#10;', '\r': '&#13;' };

/** What XML 1.0 cannot hold becomes the replacement character. */
function text(value: string): string {
  return value.toWellFormed().replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\uFFFD').replaceAll(/[&<>"\t\n\r]/g, (letter) => entities[letter]!);
}
