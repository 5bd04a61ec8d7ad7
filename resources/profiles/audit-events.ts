import type { Profile, ProfileElement, Slicing } from './types.ts';

/*
 * Profiles of AuditEvents, as facts: those of IHE Basic Audit Log Patterns (BALP, https://profiles.ihe.net/ITI/BALP/artifacts.html)
 * that a FHIR server needs, and our own for what BALP has no profile for, under `urn:interlock:audit-profile:`.
 */

type Code = readonly [system: string, code: string];
/** Facts of an element, by its id without the type. */
type Facts = Omit<ProfileElement, 'id'>;
type Elements = Readonly<Record<string, Facts>>;

const version = '1.1.4';
const balp = 'https://profiles.ihe.net/ITI/BALP/';
const balpProfile = `${balp}StructureDefinition/IHE.BasicAudit.`;
/** Beginning of the canonical URLs of our own profiles. */
const ownProfile = 'urn:interlock:audit-profile:';
const base = 'http://hl7.org/fhir/StructureDefinition/';
const terminology = 'http://terminology.hl7.org/CodeSystem/';
const dcm = 'http://dicom.nema.org/resources/ontology/DCM';
const interaction = 'http://hl7.org/fhir/restful-interaction';

const dataSources = `${balp}ValueSet/DataSources`;
const restObjectRoles = `${balp}ValueSet/RestObjectRoles`;

/** BALP's own small value sets: codes by system. */
const valueSets: Readonly<Record<string, readonly [system: string, ...codes: string[]]>> = {
  [dataSources]: [`${terminology}v3-ParticipationType`, 'AUT', 'INF', 'CST'],
  [restObjectRoles]: [`${terminology}object-role`, '4', '3', '20'],
};

/** Codes by system of BALP's own value sets; undefined for others. */
export function auditEventCodings(valueSet: string): ReadonlyMap<string, ReadonlySet<string>> | undefined {
  const set = Object.hasOwn(valueSets, valueSet) ? valueSets[valueSet] : undefined;
  return set === undefined ? undefined : new Map([[set[0], new Set(set.slice(1))]]);
}

const roles = {
  application: [dcm, '110150'],
  destination: [dcm, '110152'],
  source: [dcm, '110153'],
  custodian: [`${terminology}provenance-participant-type`, 'custodian'],
  recipient: [`${terminology}v3-ParticipationType`, 'IRCP'],
  oauthUser: [`${balp}CodeSystem/UserAgentTypes`, 'UserOauthAgent'],
} as const satisfies Record<string, Code>;

const absent = { max: '0' } as const;
const one = { min: 1, max: '1' } as const;
const byPattern = (path: string): Slicing => ({ discriminators: [{ type: 'pattern', path }], rules: 'open' });
const coding = ([system, code]: Code): Facts => ({ pattern: { system, code } });
const concept = (code: Code): Facts => ({ min: 1, pattern: { coding: [{ system: code[0], code: code[1] }] } });

/** Facts about a part, put under its path. */
function under(path: string, facts: Elements): Elements {
  return Object.fromEntries(Object.entries(facts).map(([id, fact]) => [id === '' ? path : `${path}.${id}`, fact]));
}

/** A machine that takes part: known by name and by address. */
const machine = (slice: string, type: Code, more: Elements = {}): Elements => under(`agent:${slice}`, { '': one, 'type': concept(type), 'who': { min: 1 }, 'network': { min: 1 }, 'media': absent, ...more });

/** The person on whose account it happens, who is no device. */
const user = (type: Facts, more: Elements = {}): Elements => under('agent:user', { '': { max: '1' }, 'type': { min: 1, ...type }, 'who': { min: 1 }, 'requestor': { pattern: true }, 'media': absent, 'network': absent, ...more });

const author: Facts = { binding: { strength: 'required', valueSet: dataSources } };
const recipient: Facts = concept(roles.recipient);
const agents: Elements = { agent: { min: 2, slicing: byPattern('type') } };
const entities: Elements = { entity: { min: 1, slicing: byPattern('type') } };
const request: Elements = under('entity:transaction', { '': { max: '1' }, 'type': coding([`${balp}CodeSystem/BasicAuditEntityType`, 'XrequestId']), 'what.identifier.value': { min: 1 } });
const systemObject: Code = [`${terminology}audit-entity-type`, '2'];
const data = (more: Elements = {}): Elements => under('entity:data', { '': one, 'type': coding(systemObject), 'role': { min: 1, binding: { strength: 'required', valueSet: restObjectRoles } }, 'what': { min: 1 }, ...more });
const query: Elements = under('entity:query', { '': one, 'type': coding(systemObject), 'role': { min: 1, pattern: { system: `${terminology}object-role`, code: '24' } }, 'what': absent, 'lifecycle': absent, 'query': { min: 1 }, 'detail': absent });
const patient: Elements = under('entity:patient', {
  '': one, 'type': coding([`${terminology}audit-entity-type`, '1']), 'role': { min: 1, pattern: { system: `${terminology}object-role`, code: '1' } }, 'what': { min: 1, types: [{ code: 'Reference', targets: [`${base}Patient`] }] },
});

/** What every RESTful success has; one slice of subtypes for each way to say the interaction. */
function rest(action: string, interactions: readonly string[]): Elements {
  return {
    type: coding([`${terminology}audit-event-type`, 'rest']),
    subtype: { min: 1, slicing: { discriminators: [{ type: 'value', path: '$this' }], rules: 'open' } },
    ...Object.assign({}, ...interactions.map((code): Elements => ({ [`subtype:${code}`]: { max: '1', ...(interactions.length === 1 ? { min: 1 } : {}), pattern: { system: interaction, code } } }))) as Elements,
    action: { min: 1, pattern: action },
    outcome: { min: 1, pattern: '0' },
    ...agents,
    ...entities,
    ...request,
  };
}

const bare: Elements = { role: absent, altId: absent, name: absent, location: absent, policy: absent, purposeOfUse: absent };

const balpProfiles: Readonly<Record<string, Elements>> = {
  Create: { ...rest('C', ['create']), ...machine('client', roles.source), ...machine('server', roles.destination), ...user(author), ...data() },
  Read: { ...rest('R', ['read', 'vread']), ...machine('client', roles.destination), ...machine('server', roles.source), ...user(recipient), ...data() },
  Update: { ...rest('U', ['update', 'patch']), ...machine('client', roles.source), ...machine('server', roles.destination), ...user(author), ...data() },
  Delete: { ...rest('D', ['delete']), ...machine('client', roles.application), ...machine('server', roles.custodian), ...user(author), ...data() },
  Query: { ...rest('E', ['search', 'search-type', 'search-system']), ...machine('client', roles.source), ...machine('server', roles.destination), ...user(recipient), ...query },
};

const disclosed: Elements = {
  'modifierExtension': absent,
  'subtype': { min: 1, slicing: { discriminators: [{ type: 'value', path: '$this' }], rules: 'open' } },
  'subtype:disclosure': { min: 1, pattern: { system: `${terminology}iso-21089-lifecycle`, code: 'disclose' } },
  'outcome': { min: 1 },
  ...agents,
  'entity': { min: 2, slicing: byPattern('type') },
  ...patient,
};
const isObserver: Facts = { ...one, constraints: [{ key: 'val-audit-source', severity: 'error', human: 'The agent is the one that recorded the event.', expression: '$this.who = %resource.source.observer' }] };

const disclosures: Readonly<Record<string, Elements>> = {
  'PrivacyDisclosure.Source': { ...disclosed, 'type': coding([dcm, '110106']), 'action': { min: 1, pattern: 'R' }, ...machine('source', roles.source), 'agent:source': isObserver, ...machine('recipient', roles.destination) },
  'PrivacyDisclosure.Recipient': { ...disclosed, 'type': coding([dcm, '110107']), 'action': { min: 1, pattern: 'C' }, ...machine('source', roles.source), ...machine('recipient', roles.destination), 'agent:recipient': isObserver },
  'OAUTHaccessTokenUse.Opaque': { agent: { min: 1, slicing: byPattern('type') }, ...under('agent:user', { '': { min: 1 }, 'type': concept(roles.oauthUser), 'requestor': { pattern: true }, 'policy': one }) },
  'OAUTHaccessTokenUse.Minimal': { agent: { min: 1, max: '2', slicing: byPattern('type') }, ...machine('client', roles.application, bare), ...user(recipient, { altId: absent, location: absent, policy: absent }) },
};

/** What each of our own events has: who asked, from where, by which request. */
const traced: Elements = {
  'subtype': { min: 1 },
  'action': { min: 1 },
  'outcome': { min: 1 },
  'agent': { min: 2 },
  'agent.who': { min: 1 },
  'source.site': { min: 1 },
  ...entities,
  ...under('entity:transaction', { '': one, 'type': coding([`${balp}CodeSystem/BasicAuditEntityType`, 'XrequestId']), 'what.identifier.value': { min: 1 }, 'detail': { min: 1 } }),
};
const ofType = (system: string, code: string): Elements => ({ ...traced, type: coding([system, code]) });
const object = (slice: string, type: Code, more: Elements): Elements => under(`entity:${slice}`, { '': one, 'type': coding(type), ...more });
const other: Code = [`${terminology}audit-entity-type`, '4'];

const ownProfiles: Readonly<Record<string, Elements>> = {
  /** A RESTful interaction for which BALP has no profile: histories, batches, transactions, operations. */
  'interaction': { ...ofType(`${terminology}audit-event-type`, 'rest'), outcome: { min: 1, pattern: '0' } },
  /** A refused or failed request: says why. */
  'refusal': { ...traced, '': { constraints: [{ key: 'interlock-refused', severity: 'error', human: 'The outcome is no success.', expression: "outcome != '0'" }] }, 'outcomeDesc': { min: 1 } },
  /** A message of a partner: HL7v2, fax, NCPDP SCRIPT. */
  'exchange': { ...ofType(dcm, '110107'), ...machine('source', roles.source), ...machine('server', roles.destination), 'agent': { min: 2, slicing: byPattern('type') }, ...object('message', other, { 'what.identifier.value': { min: 1 }, 'detail': { min: 1 } }) },
  /** Signing in, signing off, and access tokens. */
  'authentication': { ...ofType(dcm, '110114'), '': { constraints: [{ key: 'interlock-authentication', severity: 'error', human: 'Somebody signs in or off, or gets an access token.', expression: "subtype.where(code in ('110122' | '110123' | 'ITI-71')).exists()" }] } },
  /** A command of an operator. */
  'command': { ...ofType(dcm, '110100'), ...object('command', other, { name: { min: 1 } }) },
  /** Use of a data key. */
  'key': ofType(dcm, '110113'),
  /** Start, stop and work of the server itself. */
  'server': ofType(dcm, '110100'),
  /** Data that left as a file and concern no single patient. */
  'export': { ...ofType(dcm, '110106'), action: { min: 1, pattern: 'R' } },
};

function profile(url: string, of: string, elements: Elements): Profile {
  const facts = Object.entries(elements).sort(([a], [b]) => order(a) - order(b));
  return { url, version, type: 'AuditEvent', base: of, elements: facts.map(([id, fact]) => ({ id: id === '' ? 'AuditEvent' : `AuditEvent.${id}`, ...fact })), isShipped: true };
}

/** Elements before their slices, and slices before what is in them. */
function order(id: string): number {
  return id === '' ? 0 : id.includes(':') ? (id.includes('.') ? 3 : 2) : 1;
}

let made: ReadonlyMap<string, Profile> | undefined;

/** The profiles of AuditEvents by `url|version`. */
export function auditEventProfiles(): ReadonlyMap<string, Profile> {
  made ??= new Map([
    ...Object.entries(balpProfiles).flatMap(([name, elements]) => [profile(`${balpProfile}${name}`, `${base}AuditEvent`, elements), profile(`${balpProfile}Patient${name}`, `${balpProfile}${name}|${version}`, patient)]),
    ...Object.entries(disclosures).map(([name, elements]) => profile(`${balpProfile}${name}`, `${base}AuditEvent`, elements)),
    ...Object.entries(ownProfiles).map(([name, elements]) => profile(`${ownProfile}${name}`, `${base}AuditEvent`, elements)),
  ].map((one) => [`${one.url}|${version}`, one] as const));
  return made;
}
