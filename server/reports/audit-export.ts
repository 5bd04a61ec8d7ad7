import { queryRecords, type RecordFilter } from '../audit/query.ts';
import type { AuditReader } from '../audit/reader.ts';
import type { AuditRecord } from '../audit/record.ts';
import type { AuditEventJson } from '../audit/render/event.ts';
import { csvRow } from './csv.ts';

/** `ndjson`: FHIR AuditEvents; `csv`: one row for each of them. */
export type ExportFormat = 'ndjson' | 'csv';

const columns = [
  'AuditEvent', 'recorded (UTC)', 'kind', 'event', 'action', 'outcome', 'why', 'user or system', 'name', 'role', 'FHIR user', 'application', 'application name',
  'on behalf of', 'launch', 'address', 'user agent', 'purpose of use', 'break-glass reason', 'patient', 'resources', 'query', 'channel', 'message', 'command', 'request',
];

/**
 * AuditEvents of the entries that meet a filter, oldest first, as lines with their line ends; nothing is held but what is
 * being read.
 * @param onEvent called after each event
 */
export async function* exportAudit(reader: AuditReader, filter: RecordFilter, format: ExportFormat, onEvent: () => void = () => undefined): AsyncGenerator<string> {
  if (format === 'csv') yield csvRow(columns);
  for await (const entry of queryRecords(reader, { ...filter, limit: Infinity, ascending: true })) {
    for (const event of reader.render(entry)) {
      yield format === 'ndjson' ? `${JSON.stringify(event)}\n` : csvRow(rowOf(entry.record, event));
      onEvent();
    }
  }
}

function rowOf(record: AuditRecord, event: AuditEventJson): (string | undefined)[] {
  const { actor, channel } = record;
  const references = (event['entity'] as readonly { readonly what?: { readonly reference?: string }; readonly role?: { readonly code: string } }[]).filter(({ what }) => what?.reference !== undefined);
  const isPatient = ({ role }: { readonly role?: { readonly code: string } }): boolean => role?.code === '1';
  return [
    event.id, new Date(record.at).toISOString(), record.kind, record.interaction, record.action, outcomes[record.outcome], event['outcomeDesc'] as string | undefined,
    actor.id, actor.display, actor.role, actor.fhirUser, actor.clientId ?? record.client?.id, actor.clientName, actor.onBehalfOf, actor.launchId, actor.address, actor.userAgent,
    record.purposeOfUse?.join(' '), record.breakGlassReason, references.find(isPatient)?.what?.reference, references.filter((one) => !isPatient(one)).map(({ what }) => what?.reference).join(' '),
    record.query, channel?.id, channel?.messageId, record.command, record.requestId,
  ];
}

const outcomes = { '0': 'success', '4': 'refused', '8': 'failed', '12': 'failed badly' } as const;
