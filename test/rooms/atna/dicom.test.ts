import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RelaxNGValidator, XmlDocument } from 'libxml2-wasm';
import { describe, expect, test } from '@jest/globals';
import { dicomMessages } from '../../../server/atna/dicom.ts';
import { newEntryId } from '../../../server/audit/entry.ts';
import type { AuditRecord } from '../../../server/audit/record.ts';
import { renderEvents } from '../../../server/audit/render/event.ts';
import { recordOf, site } from '../audit/support.ts';

// eslint-disable-next-line @typescript-eslint/no-deprecated -- DICOM publishes its schema in RELAX NG only
const schema = RelaxNGValidator.fromDoc(XmlDocument.fromString(readFileSync(join(import.meta.dirname, '../../fixtures/dicom-audit/audit-message.rng'), 'utf8')));
const atMs = Date.UTC(2026, 4, 6, 7, 8, 9);

/** The messages of a record, each well-formed and valid. */
function messagesOf(changes: Partial<AuditRecord>): XmlDocument[] {
  return renderEvents(newEntryId(atMs), recordOf({ at: atMs, ...changes }), site).flatMap(dicomMessages).map((xml) => {
    const parsed = XmlDocument.fromString(xml);
    schema.validate(parsed);
    return parsed;
  });
}

/** Values at an XPath, in the order of the document. */
function at(message: XmlDocument, path: string): string[] {
  return message.find(path).map((node) => node.content);
}

const plain = { entities: [], patients: [] } as const;
const operator = { kind: 'operator', id: 'operator:root', display: 'root' } as const;

describe('DICOM audit messages', () => {
  test.each<[string, Partial<AuditRecord>, string, string]>([
    ['read of a patient\'s resource', {}, '110110', 'Patient Record'],
    ['read of another resource', { entities: [{ type: 'Organization', id: 'o1', patients: [] }], patients: [] }, 'rest', 'RESTful Operation'],
    ['create', { interaction: 'create', action: 'C' }, '110110', 'Patient Record'],
    ['delete', { interaction: 'delete', action: 'D' }, '110110', 'Patient Record'],
    ['search', { interaction: 'search-type', query: 'GET Observation?code=x' }, '110112', 'Query'],
    ['history of a type', { interaction: 'history-type', ...plain }, '110112', 'Query'],
    ['transaction', { interaction: 'transaction', action: 'E' }, '110110', 'Patient Record'],
    ['operation', { interaction: 'everything', action: 'E' }, '110110', 'Patient Record'],
    ['export', { interaction: 'export', action: 'E', ...plain }, '110106', 'Export'],
    ['sign-in', { kind: 'login', interaction: 'login', action: 'E', ...plain }, '110114', 'User Authentication'],
    ['token', { kind: 'token', interaction: 'client_credentials', action: 'E', ...plain, client: { id: 'app-1', grantType: 'client_credentials', scope: 'system/*.rs' } }, '110114', 'User Authentication'],
    ['message', { kind: 'channel', interaction: 'ADT^A01', action: 'E', channel: { id: 'hl7v2', messageId: 'm1', messageType: 'ADT^A01', controlId: 'c1' }, actor: { kind: 'partner', id: 'Lab' } }, '110107', 'Import'],
    ['command', { kind: 'command', interaction: 'command', action: 'E', ...plain, actor: operator, command: 'user add --role' }, '110100', 'Application Activity'],
    ['use of a key', { kind: 'key', interaction: 'unwrap audit', action: 'R', ...plain, actor: { kind: 'job', id: 'interlock' } }, '110113', 'Security Alert'],
    ['start', { kind: 'server', interaction: 'start', action: 'E', ...plain, actor: { kind: 'job', id: 'interlock' } }, '110100', 'Application Activity'],
    ['stranger', { kind: 'rest', interaction: 'get', action: 'E', outcome: '8', error: 'login-required', ...plain, actor: { kind: 'anonymous', id: 'anonymous', address: '192.0.2.1' }, count: 7 }, 'rest', 'RESTful Operation'],
  ])('%s', (_name, changes, code, meaning) => {
    const messages = messagesOf(changes);
    expect(messages).toHaveLength(1);
    expect(at(messages[0]!, '//EventID/@csd-code')).toEqual([code]);
    expect(at(messages[0]!, '//EventID/@originalText')).toEqual([meaning]);
    expect(at(messages[0]!, '//ActiveParticipant[@UserIsRequestor="true"]/@UserID')).toHaveLength(1);
  });

  test('say who, what, when, from where, why and how it ended', () => {
    const [message] = messagesOf({ outcome: '4', error: 'forbidden', rule: 'scope' }) as [XmlDocument];
    expect(at(message, '//EventIdentification/@*')).toEqual(['R', '2026-05-06T07:08:09.000Z', '4']);
    expect(at(message, '//EventOutcomeDescription')).toEqual(['forbidden: scope']);
    expect(at(message, '//EventTypeCode/@csd-code')).toEqual(['read', 'TREAT']);
    expect(at(message, '//EventTypeCode/@codeSystemName')).toEqual(['http://hl7.org/fhir/restful-interaction', 'http://terminology.hl7.org/CodeSystem/v3-ActReason']);
    expect(at(message, '//ActiveParticipant/@UserIsRequestor')).toEqual(['false', 'false', 'true']);
    expect(at(message, '//ActiveParticipant[1]/@UserID')).toEqual(['app-1']);
    expect(at(message, '//ActiveParticipant[1]/@NetworkAccessPointID')).toEqual(['192.0.2.10']);
    expect(at(message, '//ActiveParticipant[1]/@NetworkAccessPointTypeCode')).toEqual(['2']);
    expect(at(message, '//ActiveParticipant[1]/RoleIDCode/@csd-code')).toEqual(['110152']);
    expect(at(message, '//ActiveParticipant[1]/RoleIDCode/@codeSystemName')).toEqual(['DCM']);
    expect(at(message, '//ActiveParticipant[3]/@UserID')).toHaveLength(1);
    expect(at(message, '//AuditSourceIdentification/@*')).toEqual(['Example Hospital', 'Interlock']);
    expect(at(message, '//AuditSourceTypeCode/@csd-code')).toEqual(['4']);
    const patient = '//ParticipantObjectIdentification[@ParticipantObjectTypeCodeRole="1"]';
    expect([...at(message, `${patient}/@ParticipantObjectID`), ...at(message, `${patient}/@ParticipantObjectTypeCode`), ...at(message, `${patient}/ParticipantObjectIDTypeCode/@csd-code`)]).toEqual(['Patient/pat-1', '1', '2']);
    expect(at(message, '//ParticipantObjectIdentification[@ParticipantObjectTypeCodeRole="4"]/@ParticipantObjectID')[0]).toMatch(/^Observation\/o\d+\/_history\/1$/);
  });

  test('a query stands there as it was asked', () => {
    const [message] = messagesOf({ interaction: 'search-type', query: 'GET Patient?name=<O\'Brien> & "co"' }) as [XmlDocument];
    const [query] = at(message, '//ParticipantObjectQuery');
    expect(Buffer.from(query!, 'base64').toString()).toBe('GET Patient?name=<O\'Brien> & "co"');
  });

  test('whatever a caller sends, the message is well-formed and says nothing else', () => {
    const nasty = '"/><EventID csd-code="1"/>&\u0000\u0007\ud800]]>\n\t<!--';
    const [message] = messagesOf({ actor: { kind: 'user', id: nasty, display: nasty, clientId: nasty, clientName: nasty, address: '192.0.2.1', userAgent: nasty }, rule: nasty, outcome: '4' }) as [XmlDocument];
    expect(at(message, '//EventID')).toHaveLength(1);
    expect(at(message, '//ActiveParticipant[1]/@UserName')[0]).toBe(nasty.replaceAll(/[\u0000\u0007\ud800]/g, '\uFFFD'));
  });

  test('an event with very many resources becomes several messages', () => {
    const entities = Array.from({ length: 120 }, (_, index) => ({ type: 'Observation', id: `o${index}`, versionId: 1, patients: ['pat-1'] }));
    const messages = messagesOf({ interaction: 'search-type', query: 'GET Observation', entities });
    expect(messages).toHaveLength(3);
    const named = messages.flatMap((message) => at(message, '//ParticipantObjectIdentification[@ParticipantObjectTypeCodeRole="4"]/@ParticipantObjectID'));
    expect(named).toEqual(entities.map(({ id }) => `Observation/${id}/_history/1`));
    for (const message of messages) expect(at(message, '//ParticipantObjectIdentification[@ParticipantObjectTypeCodeRole="1"]/@ParticipantObjectID')).toEqual(['Patient/pat-1']);
    for (const message of messages) expect(message.toString().length).toBeLessThan(32_768);
  });
});
