import { randomUUID } from 'node:crypto';
import { InterlockError } from '../../../resources/outcome/error.ts';
import type { Hold, HoldScope } from '../../audit/archive-holds.ts';
import type { AuditRecord } from '../../audit/record.ts';
import { flag, text, type Command, type CommandInput, type CommandServices } from '../command.ts';

/** How long the audit trail is kept, and where. */
export const auditArchiveCommands: readonly Command[] = [
  {
    name: 'audit archive',
    summary: 'move what is older than the policy says from the database into segment files; the server does so each day',
    options: [{ flags: '--dry-run', description: 'only say what would be done' }],
    run: async ({ retention: { archiver } }, input, tell) => {
      const dryRun = flag(input, 'dryRun');
      const { written, entries, removed, waiting } = await archiver.archive(dryRun, tell);
      return {
        lines: [
          dryRun ? `${entries} entries are due` : `${written.length} segments written with ${entries} entries`,
          ...(dryRun ? [] : [`${removed.length} segments removed from the database`]),
          ...(waiting === 0 ? [] : [archiver.mayRemove ? `${waiting} segments are in the database as well: removed by a run at least an hour after they were written` : `${waiting} segments stay in the database as well: no user is configured that may remove them (INTERLOCK_AUDIT_ARCHIVE_MONGODB_URI)`]),
        ],
        json: { dryRun, written, entries, removed, waiting },
      };
    },
  },
  {
    name: 'audit purge',
    summary: 'remove segments that are older than the policy says and under no hold; a signed tombstone stays of each',
    options: [{ flags: '--dry-run', description: 'only say what would be done' }],
    run: async ({ retention: { archiver } }, input, tell) => {
      const dryRun = flag(input, 'dryRun');
      const { purged, kept } = await archiver.purge(dryRun, tell);
      const rows = [
        ...purged.map(({ name, entries, untilMs }) => [name, String(entries), new Date(untilMs).toISOString().slice(0, 10), dryRun ? 'would be purged' : 'purged']),
        ...kept.map(({ name, entries, why }) => [name, String(entries), '', `kept: ${why}`]),
      ];
      const { retentionDays, basis } = archiver.policy;
      return { table: { columns: ['segment', 'entries', 'until', 'what'], rows }, lines: [`entries are kept ${retentionDays} days (${basis})`], json: { dryRun, purged, kept } };
    },
  },
  {
    name: 'audit segments',
    summary: 'segment files of the archive, and what was purged',
    run: async ({ retention: { archive, archiver } }) => {
      const { segments, tombstones, damaged } = await archive.catalogue.state(true);
      const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
      const unlisted = damaged.length > 0 ? [] : await archiver.unlisted();
      return {
        table: {
          columns: ['segment', 'checkpoints', 'entries', 'from', 'until', 'bytes', 'state'],
          rows: [
            ...tombstones.map(({ from, to, entries, until, at }) => ['', `${from} to ${to}`, String(entries), '', until.slice(0, 10), '', `purged ${at.slice(0, 10)}`]),
            ...segments.map((one) => [one.name, `${one._id} to ${one.to}`, String(one.entries), day(one.oldestMs), day(one.untilMs), String(one.bytes), one.place]),
            ...unlisted.map((name) => [name, '', '', '', '', '', 'not in the catalogue: left by a run that was cut off']),
          ],
        },
        ...(damaged.length === 0 ? {} : { lines: [`ALTERED: ${damaged.length} rows of the catalogue are not what this system wrote; interlock audit verify tells more`] }),
        json: { segments: segments.map(({ mac: _mac, ...facts }) => facts), tombstones, damaged, unlisted },
        failed: damaged.length > 0,
      };
    },
  },
  {
    name: 'audit hold add',
    summary: 'keep what concerns a patient, a user, or a time from being purged',
    options: [
      { flags: '--patient <id>', description: 'logical id of a Patient' },
      { flags: '--user <id>', description: 'user id, client_id, partner, operator or Practitioner/…' },
      { flags: '--since <time>', description: 'ISO 8601 date or time, inclusive; with --until' },
      { flags: '--until <time>', description: 'ISO 8601 date or time, exclusive; with --since' },
      { flags: '--reason <text>', description: 'why: the matter, who asked for it', required: true },
    ],
    run: async (services, input) => {
      const scope = scopeOf(input);
      const hold = await services.retention.holds.place(scope, { reason: reasonOf(input), by: input.operator, atMs: services.nowMs() });
      await services.audit.record(holdRecord(services, input, 'hold-add', hold));
      return { lines: [`hold ${hold.id} is in force`], json: hold };
    },
  },
  {
    name: 'audit hold list',
    summary: 'legal holds in force',
    run: async ({ retention: { holds } }) => {
      const list = await holds.list();
      return { table: { columns: ['hold', 'keeps', 'since', 'placed by', 'reason'], rows: list.map((hold) => [hold.id, wordsOf(hold.scope), new Date(hold.atMs).toISOString().slice(0, 10), hold.by, hold.reason]) }, json: list };
    },
  },
  {
    name: 'audit hold lift',
    args: ['<id>'],
    summary: 'end a legal hold',
    options: [{ flags: '--reason <text>', description: 'why', required: true }],
    run: async (services, input) => {
      const hold = await services.retention.holds.lift(input.args[0] ?? '', { reason: reasonOf(input), by: input.operator, atMs: services.nowMs() });
      await services.audit.record(holdRecord(services, input, 'hold-lift', hold));
      return { lines: [`hold ${hold.id} is lifted`], json: hold };
    },
  },
];

function scopeOf(input: CommandInput): HoldScope {
  const [patient, user, since, until] = ['patient', 'user', 'since', 'until'].map((name) => text(input, name));
  const [fromMs, untilMs] = [since, until].map((one) => (one === undefined ? undefined : Date.parse(one)));
  const given = [patient, user, since ?? until].filter((one) => one !== undefined).length;
  if (given === 1 && patient !== undefined) return { patient: patient.replace(/^Patient\//, '') };
  if (given === 1 && user !== undefined) return { user };
  if (given === 1 && fromMs !== undefined && untilMs !== undefined && fromMs < untilMs) return { fromMs, untilMs };
  throw new InterlockError('request-invalid', { detail: 'A hold is of one of --patient, --user, or --since with --until.' });
}

function reasonOf(input: CommandInput): string {
  const reason = text(input, 'reason')?.trim() ?? '';
  if (reason === '' || reason.length > 500) throw new InterlockError('request-invalid', { detail: '--reason has 1 to 500 characters.' });
  return reason;
}

function wordsOf(scope: HoldScope): string {
  if ('patient' in scope) return `patient ${scope.patient}`;
  if ('user' in scope) return `user ${scope.user}`;
  return `${new Date(scope.fromMs).toISOString()} to ${new Date(scope.untilMs).toISOString()}`;
}

/** Beside the command's own entry: whom it concerns and why, so that it is found with the patient or the user. */
function holdRecord(services: CommandServices, input: CommandInput, interaction: 'hold-add' | 'hold-lift', hold: Hold): AuditRecord {
  return {
    at: services.nowMs(), kind: 'command', interaction, action: 'E', outcome: '0', requestId: randomUUID(), actor: { kind: 'operator', id: input.operator },
    command: `audit hold ${hold.id}`, query: `${wordsOf(hold.scope)}: ${reasonOf(input)}`,
    ...('patient' in hold.scope ? { patients: [hold.scope.patient] } : {}),
  };
}
