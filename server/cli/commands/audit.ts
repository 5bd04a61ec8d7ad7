import { InterlockError } from '../../../resources/outcome/error.ts';
import { exportNdjson, queryRecords, toRow, type RecordFilter } from '../../audit/query.ts';
import { text, type Command, type CommandInput, type CommandOption } from '../command.ts';

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
      return { table: { columns: ['time (UTC)', 'agent', 'client', 'event', 'outcome', 'resources', 'address', 'AuditEvent'], rows }, json };
    },
  },
  {
    name: 'audit export',
    summary: 'write AuditEvents as NDJSON; holds patient data: keep it sealed',
    options: [...filterOptions, { flags: '--out <file>', description: 'file to write', required: true, local: true }],
    run: async ({ auditReader }, input, tell) => {
      const lines: string[] = [];
      for await (const line of exportNdjson(auditReader, filterOf(input))) {
        if (lines.length >= maxExported) throw new InterlockError('too-costly', { detail: `One export holds ${maxExported} events; narrow it by time.` });
        if (lines.push(line) % 500 === 0) tell(lines.length);
      }
      const content = Buffer.from(lines.join(''));
      return { lines: [`${lines.length} AuditEvents`], json: { events: lines.length }, files: [{ name: '', contentBase64: content.toString('base64'), mode: 0o600 }] };
    },
  },
];

/** One export is held in memory on its way. */
const maxExported = 100_000;
const maxListed = 10_000;

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

function timeOf(input: CommandInput, name: string): number | undefined {
  const given = text(input, name);
  if (given === undefined) return undefined;
  const at = Date.parse(given);
  if (Number.isNaN(at)) throw new InterlockError('request-invalid', { detail: `--${name} is an ISO 8601 date or time.` });
  return at;
}
