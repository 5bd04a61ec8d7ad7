import { InterlockError } from '../../../resources/outcome/error.ts';
import { queryRecords, toRow, type RecordFilter } from '../../audit/query.ts';
import { exportAudit } from '../../reports/audit-export.ts';
import { bytesOf, sealStream } from '../../reports/sealed-file.ts';
import { text, timeOf, type Command, type CommandFacts, type CommandInput, type CommandOption } from '../command.ts';
import { sealOf, sealOptions } from '../sealing.ts';

const filterOptions: readonly CommandOption[] = [
  { flags: '--patient <id>', description: 'who was disclosed or affected: logical id of the Patient' },
  { flags: '--agent <id>', description: 'who acted: user id, client_id, partner, operator or Practitioner/…' },
  { flags: '--entity <reference>', description: 'Type/id of a resource' },
  { flags: '--request <id>', description: 'the X-Request-Id of an answer' },
  { flags: '--address <ip>', description: 'where the request came from' },
  { flags: '--outcome <outcome>', description: 'ok, or refused (anything but success)' },
  { flags: '--since <time>', description: 'ISO 8601 date or time, inclusive' },
  { flags: '--until <time>', description: 'ISO 8601 date or time, exclusive' },
];

/** Questions to the audit trail. */
export const auditCommands: readonly Command[] = [
  {
    name: 'audit query',
    summary: 'who saw or changed what, when, from where: newest first',
    options: [...filterOptions, { flags: '--limit <n>', description: 'at most so many entries (default 100)' }],
    run: async ({ auditReader }, input) => {
      const rows: string[][] = [];
      const json: unknown[] = [];
      for await (const entry of queryRecords(auditReader, { ...filterOf(input), limit: limitOf(input) })) {
        const row = toRow(entry);
        rows.push([row.time.replace('T', ' ').slice(0, 19), row.agent, row.client, row.event, row.outcome, row.entities, row.address, row.id]);
        json.push({ ...row, record: entry.record });
      }
      return { table: { columns: ['time (UTC)', 'agent', 'client', 'event', 'outcome', 'resources', 'address', 'AuditEvent'], rows }, json, about: aboutOf(input) };
    },
  },
  {
    name: 'audit export',
    summary: 'write AuditEvents, oldest first, as NDJSON (FHIR) or CSV; holds patient data',
    options: [
      ...filterOptions,
      { flags: '--format <format>', description: 'ndjson (default) or csv' },
      { flags: '--out <file>', description: 'file to write; must not exist yet', required: true, local: true, isNew: true },
      ...sealOptions,
    ],
    run: async ({ auditReader, nowMs }, input, tell, { record, send }) => {
      const format = text(input, 'format') ?? 'ndjson';
      if (format !== 'ndjson' && format !== 'csv') throw new InterlockError('request-invalid', { detail: '--format is ndjson or csv.' });
      // What happens from now on is not in it: neither this export, nor a busy day that never ends.
      const filter = { untilMs: nowMs(), ...filterOf(input) };
      const seal = sealOf(input);
      const about = aboutOf(input);
      let events = 0;
      const count = (): void => {
        events += 1;
        if (events % 500 === 0) tell(events);
      };
      const plain = bytesOf(exportAudit(auditReader, filter, format, count));
      const content = seal === undefined ? plain : await sealStream(plain, seal);
      await record('audit-export', about);
      // An empty file is a file, too.
      await send('', new Uint8Array());
      for await (const chunk of content) await send('', chunk);
      return {
        lines: [`${events} AuditEvents`, ...(seal === undefined ? ['NOT SEALED: the file is readable by whoever gets it. Use --passphrase-file or --recipient.'] : [])],
        json: { events, sealed: seal !== undefined },
        about: { ...about, query: `${about.query}&_format=${format}&events=${events}` },
      };
    },
  },
];

const maxListed = 10_000;

/** What the audit says of a question to the audit: its conditions, and the patient whom it was about. */
function aboutOf(input: CommandInput): CommandFacts & { readonly query: string } {
  const conditions = ['patient', 'agent', 'entity', 'request', 'address', 'outcome', 'since', 'until'].flatMap((name): [string, string][] => (text(input, name) === undefined ? [] : [[name, text(input, name)!]]));
  const { patient } = filterOf(input);
  return { query: `AuditEvent?${new URLSearchParams(conditions).toString()}`, ...(patient === undefined ? {} : { patients: [patient] }) };
}

function filterOf(input: CommandInput): RecordFilter {
  const [patient, agent, entity, requestId, address, outcome] = ['patient', 'agent', 'entity', 'request', 'address', 'outcome'].map((name) => text(input, name));
  if (outcome !== undefined && outcome !== 'ok' && outcome !== 'refused') throw new InterlockError('request-invalid', { detail: '--outcome is ok or refused.' });
  const [sinceMs, untilMs] = [timeOf(input, 'since'), timeOf(input, 'until')];
  return {
    ...(patient === undefined ? {} : { patient: patient.replace(/^Patient\//, '') }),
    ...(agent === undefined ? {} : { agent }),
    ...(entity === undefined ? {} : { entity }),
    ...(requestId === undefined ? {} : { requestId }),
    ...(address === undefined ? {} : { address }),
    ...(outcome === undefined ? {} : { outcome: outcome === 'ok' ? '0' : 'refused' }),
    ...(sinceMs === undefined ? {} : { sinceMs }),
    ...(untilMs === undefined ? {} : { untilMs }),
  };
}

function limitOf(input: CommandInput): number {
  const given = text(input, 'limit') ?? '100';
  if (!/^[1-9][0-9]{0,5}$/.test(given)) throw new InterlockError('request-invalid', { detail: '--limit is a positive number.' });
  return Math.min(Number(given), maxListed);
}
