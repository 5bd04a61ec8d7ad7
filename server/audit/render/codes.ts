/** A FHIR Coding. */
export interface Coding {
  readonly system: string;
  readonly code: string;
  readonly display?: string;
}

const dcm = 'http://dicom.nema.org/resources/ontology/DCM';
const participation = 'http://terminology.hl7.org/CodeSystem/v3-ParticipationType';
const entityType = 'http://terminology.hl7.org/CodeSystem/audit-entity-type';
const objectRole = 'http://terminology.hl7.org/CodeSystem/object-role';

/** Events and commands that no published code system names. */
export const interlockEvent = 'urn:interlock:audit-event';
/** Roles of this installation's users. */
export const interlockRole = 'urn:interlock:role';
/** Kinds of actors that are no persons. */
export const interlockActor = 'urn:interlock:actor';
export const restfulInteraction = 'http://hl7.org/fhir/restful-interaction';
export const resourceTypes = 'http://hl7.org/fhir/resource-types';
export const purposeOfUse = 'http://terminology.hl7.org/CodeSystem/v3-ActReason';

/** Types of events: AuditEvent.type. */
export const eventType = {
  rest: { system: 'http://terminology.hl7.org/CodeSystem/audit-event-type', code: 'rest', display: 'RESTful Operation' },
  applicationActivity: { system: dcm, code: '110100', display: 'Application Activity' },
  export: { system: dcm, code: '110106', display: 'Export' },
  import: { system: dcm, code: '110107', display: 'Import' },
  securityAlert: { system: dcm, code: '110113', display: 'Security Alert' },
  userAuthentication: { system: dcm, code: '110114', display: 'User Authentication' },
} as const satisfies Record<string, Coding>;

/** Subtypes that are not RESTful interactions. */
export const eventSubtype = {
  applicationStart: { system: dcm, code: '110120', display: 'Application Start' },
  applicationStop: { system: dcm, code: '110121', display: 'Application Stop' },
  disclose: { system: 'http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle', code: 'disclose', display: 'Disclose Record Lifecycle Event' },
  login: { system: dcm, code: '110122', display: 'Login' },
  logout: { system: dcm, code: '110123', display: 'Logout' },
  restrictedFunction: { system: dcm, code: '110132', display: 'Use of Restricted Function' },
  getAccessToken: { system: 'urn:ihe:event-type-code', code: 'ITI-71', display: 'Get Access Token' },
} as const satisfies Record<string, Coding>;

/** What part an agent played: AuditEvent.agent.type. */
export const agentType = {
  application: { system: dcm, code: '110150', display: 'Application' },
  destination: { system: dcm, code: '110152', display: 'Destination Role ID' },
  source: { system: dcm, code: '110153', display: 'Source Role ID' },
  custodian: { system: 'http://terminology.hl7.org/CodeSystem/provenance-participant-type', code: 'custodian', display: 'Custodian' },
  authorizationServer: { system: 'http://terminology.hl7.org/CodeSystem/extra-security-role-type', code: 'authserver', display: 'authorization server' },
  author: { system: participation, code: 'AUT', display: 'author (originator)' },
  recipient: { system: participation, code: 'IRCP', display: 'information recipient' },
  responsible: { system: participation, code: 'RESP', display: 'responsible party' },
} as const satisfies Record<string, Coding>;

/** What kind of thing an entity is: AuditEvent.entity.type. */
export const entityKind = {
  person: { system: entityType, code: '1', display: 'Person' },
  systemObject: { system: entityType, code: '2', display: 'System Object' },
  other: { system: entityType, code: '4', display: 'Other' },
  requestId: { system: 'https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType', code: 'XrequestId' },
} as const satisfies Record<string, Coding>;

/** What part an entity played: AuditEvent.entity.role. */
export const entityRole = {
  patient: { system: objectRole, code: '1', display: 'Patient' },
  domainResource: { system: objectRole, code: '4', display: 'Domain Resource' },
  securityUser: { system: objectRole, code: '11', display: 'Security User Entity' },
  securityResource: { system: objectRole, code: '13', display: 'Security Resource' },
  job: { system: objectRole, code: '20', display: 'Job' },
  query: { system: objectRole, code: '24', display: 'Query' },
} as const satisfies Record<string, Coding>;

/** AuditEvent.source.type of a server. */
export const applicationServer: Coding = { system: 'http://terminology.hl7.org/CodeSystem/security-source-type', code: '4', display: 'Application Server' };

/** AuditEvent.agent.network.type: https://hl7.org/fhir/R4/valueset-network-type.html */
export const networkType = { machineName: '1', ipAddress: '2', uri: '5' } as const;
