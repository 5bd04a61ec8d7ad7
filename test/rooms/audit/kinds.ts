import type { AuditRecord } from '../../../server/audit/record.ts';

export const practitioner = { type: 'Practitioner', id: 'p9', versionId: 1 };
export const query = 'GET /fhir/R4/Observation?patient=pat-1&code=x';
export const search = { interaction: 'search-type', action: 'E', query } as const;
/** An Observation of some patients. */
export const observation = (id: string, ...patients: string[]): NonNullable<AuditRecord['entities']>[number] => ({ type: 'Observation', id, versionId: 2, patients });
const partner = { kind: 'partner', id: 'lab-1', display: 'Laboratory', address: '192.0.2.20' } as const;
const anonymous = { kind: 'anonymous', id: 'anonymous', address: '2001:db8::1' } as const;
const channel = { id: 'hl7v2', messageId: 'm-1', messageType: 'ADT^A01', controlId: 'C1' };
const none = { entities: [], patients: [] };

/** An event of a kind: its record, and what is rendered from it. */
export interface Kind {
  readonly name: string;
  readonly record: Partial<AuditRecord>;
  /** Last parts of the names of the profiles that its events claim. */
  readonly profiles: readonly string[];
  /** Codes. */
  readonly type?: string;
  readonly subtype?: string;
}

/** Every kind of event that the server records. */
export const kinds: readonly Kind[] = [
  { name: 'read', record: {}, profiles: ['PatientRead'], subtype: 'read' },
  { name: 'read without a patient', record: { entities: [practitioner], patients: [] }, profiles: ['Read'] },
  { name: 'read of a Patient', record: { entities: [{ type: 'Patient', id: 'pat-1', versionId: 3 }], patients: ['pat-1'] }, profiles: ['PatientRead'] },
  { name: 'read of what concerns two patients', record: { entities: [{ ...observation('o1', 'pat-1', 'pat-2'), type: 'Appointment' }] }, profiles: ['PatientRead', 'PatientRead'] },
  { name: 'vread by a backend service', record: { interaction: 'vread', actor: { kind: 'client', id: 'svc-1', display: 'Service', address: '192.0.2.3' } }, profiles: ['PatientRead'], subtype: 'vread' },
  { name: 'create', record: { interaction: 'create', action: 'C', entities: [{ ...observation('o1', 'pat-1'), hash: 'ab'.repeat(32) }] }, profiles: ['PatientCreate'] },
  { name: 'create with the criteria of a conditional create', record: { interaction: 'create', action: 'C', query: 'If-None-Exist: identifier=1' }, profiles: ['PatientCreate'] },
  { name: 'create out of a channel', record: { interaction: 'create', action: 'C', actor: partner, channel }, profiles: ['PatientCreate'] },
  { name: 'update', record: { interaction: 'update', action: 'U' }, profiles: ['PatientUpdate'] },
  { name: 'patch', record: { interaction: 'patch', action: 'U' }, profiles: ['PatientUpdate'] },
  { name: 'delete by an operator', record: { interaction: 'delete', action: 'D', actor: { kind: 'operator', id: 'operator:root' } }, profiles: ['PatientDelete'] },
  { name: 'delete without a patient by a job', record: { interaction: 'delete', action: 'D', entities: [practitioner], patients: [], actor: { kind: 'job', id: 'retention' } }, profiles: ['Delete'] },
  { name: 'search that discloses two patients', record: { ...search, entities: [observation('o1', 'pat-1'), observation('o2', 'pat-2'), practitioner], patients: ['pat-1', 'pat-2'] }, profiles: ['PatientQuery', 'PatientQuery'] },
  { name: 'search that finds nothing', record: { ...search, ...none }, profiles: ['Query'] },
  { name: 'system search', record: { ...search, ...none, interaction: 'search-system' }, profiles: ['Query'], subtype: 'search-system' },
  { name: 'history', record: { interaction: 'history-instance' }, profiles: ['interaction'], subtype: 'history-instance' },
  { name: 'transaction', record: { ...none, interaction: 'transaction', action: 'E' }, profiles: ['interaction'] },
  { name: 'operation', record: { interaction: '$everything', action: 'E', query: 'GET /Patient/pat-1/$everything' }, profiles: ['interaction'], subtype: 'operation' },
  { name: 'refused read', record: { outcome: '4', error: 'forbidden', rule: 'scope: no read of Observation' }, profiles: ['refusal'] },
  { name: 'refused search', record: { ...search, ...none, outcome: '4', error: 'forbidden' }, profiles: ['refusal'] },
  { name: 'unauthenticated request', record: { ...none, outcome: '4', error: 'login-required', actor: anonymous, count: 12 }, profiles: ['refusal'] },
  { name: 'break-glass', record: { purposeOfUse: ['BTG'], breakGlassReason: 'unconscious' }, profiles: ['PatientRead'] },
  { name: 'on behalf of a person', record: { actor: { kind: 'client', id: 'svc-1', onBehalfOf: 'Practitioner/p1', launchId: 'l1', userAgent: 'app/1.0' } }, profiles: ['PatientRead'] },
  { name: 'login', record: { ...none, kind: 'login', interaction: 'password+totp', action: 'E' }, profiles: ['authentication'], type: '110114', subtype: '110122' },
  { name: 'failed login', record: { ...none, kind: 'login', interaction: 'password', action: 'E', outcome: '4', actor: anonymous }, profiles: ['refusal'], type: '110114' },
  { name: 'logout', record: { ...none, kind: 'logout', interaction: 'idle', action: 'E' }, profiles: ['authentication'], type: '110114', subtype: '110123' },
  { name: 'token grant', record: { ...none, kind: 'token', interaction: 'grant', action: 'E', client: { id: 'app-1', grantType: 'client_credentials', scope: 'system/*.rs' } }, profiles: ['authentication'], type: '110114', subtype: 'ITI-71' },
  { name: 'channel message', record: { ...none, kind: 'channel', interaction: 'message-received', action: 'C', actor: partner, channel }, profiles: ['exchange'], type: '110107', subtype: 'message-received' },
  { name: 'command', record: { ...none, kind: 'command', interaction: 'client add', action: 'E', command: 'client add --name --scope', actor: { kind: 'operator', id: 'operator:root' } }, profiles: ['command'], type: '110100' },
  { name: 'fax', record: { ...none, kind: 'channel', interaction: 'message-received', action: 'C', actor: partner, channel: { id: 'fax', messageId: 'm-2', messageType: 'fax' } }, profiles: ['exchange'], type: '110107' },
  { name: 'refused SCRIPT message', record: { ...none, kind: 'channel', interaction: 'message-refused', action: 'C', outcome: '4', error: 'forbidden', actor: partner, channel: { id: 'script', messageId: 'm-3' } }, profiles: ['refusal'], type: '110107' },
  { name: 'export of one patient\'s audit', record: { entities: [], kind: 'command', interaction: 'audit-export', action: 'R', command: 'audit export --patient', query: 'AuditEvent?patient=pat-1', actor: { kind: 'operator', id: 'operator:root' } }, profiles: ['PrivacyDisclosure.Source'], type: '110106', subtype: 'disclose' },
  { name: 'export of the audit', record: { ...none, kind: 'command', interaction: 'audit-export', action: 'R', command: 'audit export', query: 'AuditEvent?', actor: { kind: 'operator', id: 'operator:root' } }, profiles: ['export'], type: '110106' },
  { name: 'accounting of disclosures', record: { entities: [], kind: 'command', interaction: 'accounting-of-disclosures', action: 'R', command: 'audit accounting --patient', actor: { kind: 'operator', id: 'operator:root' } }, profiles: ['PrivacyDisclosure.Source'] },
  { name: 'write that failed', record: { interaction: 'update', action: 'U', outcome: '8', error: 'internal' }, profiles: ['refusal'] },
  { name: 'use of a key', record: { ...none, kind: 'key', interaction: 'unwrap', action: 'E', actor: { kind: 'job', id: 'server' } }, profiles: ['key'], type: '110113', subtype: '110132' },
  { name: 'server start', record: { ...none, kind: 'server', interaction: 'start', action: 'E', actor: { kind: 'job', id: 'server' } }, profiles: ['server'], type: '110100', subtype: '110120' },
  { name: 'server stop', record: { ...none, kind: 'server', interaction: 'stop', action: 'E', actor: { kind: 'job', id: 'server' } }, profiles: ['server'], type: '110100', subtype: '110121' },
];
