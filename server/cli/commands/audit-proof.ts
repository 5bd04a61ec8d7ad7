import { InterlockError } from '../../../resources/outcome/error.ts';
import { checkTrail } from '../../audit/check.ts';
import { lineOf, logRecords } from '../../audit/log-records.ts';
import { proveConsistency, proveInclusion } from '../../audit/proofs.ts';
import { queryRecords } from '../../audit/query.ts';
import type { OpenedEntry } from '../../audit/reader.ts';
import { parseEventId } from '../../audit/render/event.ts';
import { maxDateMs } from '../../audit/scan.ts';
import { isCheckpoint, type Checkpoint } from '../../audit/standalone/format.ts';
import { flag, text, type Command, type CommandInput, type CommandResult } from '../command.ts';

/** Proof that the audit trail is what it was. */
export const auditProofCommands: readonly Command[] = [
  {
    name: 'audit verify',
    summary: 'check every block, entry and checkpoint of the trail; exit code 2 if anything is wrong',
    options: [{ flags: '--checkpoint <file>', description: 'a checkpoint that was kept elsewhere and that the trail must still agree with', readsFile: true }],
    run: async ({ auditConnection, keyring, tenant, checkpoints, retention: { archive }, nowMs }, input, tell) => {
      const beganMs = nowMs();
      const given = input.files['checkpoint'];
      const { ok, log, sealed, segments } = await checkTrail({ audit: auditConnection, keyring, tenant, checkpoints, archive, witnesses: given === undefined ? [] : [checkpointOf(given)], onProgress: tell });
      const seconds = Math.max(nowMs() - beganMs, 1) / 1000;
      const rows = [
        ...log.faults.map((one) => [one.code, one.stream ?? '', String(one.block ?? ''), String(one.entry ?? ''), one.checkpoint === undefined ? '' : String(one.checkpoint), one.from ?? '', one.to ?? '', one.text]),
        ...segments.map((one) => [one.code, one.stream ?? one.segment, String(one.block ?? ''), String(one.entry ?? ''), String(one.checkpoint ?? ''), one.from ?? '', one.to ?? '', `Segment ${one.segment}: ${one.text}`]),
        ...sealed.faults.map((one) => [one.code, one.stream, String(one.block ?? ''), one.entry ?? '', '', '', '', one.text]),
      ];
      return {
        ...(ok ? {} : { table: { columns: ['fault', 'stream', 'block', 'entry', 'checkpoint', 'from', 'until', 'what'], rows } }),
        lines: [
          `${ok ? 'unaltered' : 'ALTERED'}: ${sealed.entries} entries in ${sealed.blocks} blocks of ${sealed.streams} streams, ${sealed.recovered} recovered after a crash; ${Math.round(sealed.entries / seconds)} per second`,
          log.last === undefined ? 'no checkpoint yet' : `anchored: up to checkpoint ${log.last.n} of ${log.last.at}`,
          ...log.purged.map((one) => `purged: ${one.entries} entries of checkpoints ${one.from} to ${one.to}, none younger than ${one.until}, removed ${one.at} after ${one.retentionDays} days (${one.basis})`),
          `unanchored: ${log.unanchored.entries} entries that follow it`,
        ],
        json: { ok, log, sealed, segments },
        failed: !ok,
      };
    },
  },
  {
    name: 'audit checkpoint',
    summary: 'sign the trail as it stands now; keep the file elsewhere',
    options: [{ flags: '--out <file>', description: 'file to write', required: true, local: true }],
    run: async ({ checkpoints }) => {
      const checkpoint = await checkpoints.make();
      if (checkpoint === undefined) throw new InterlockError('not-found', { detail: 'The trail is empty.' });
      return fileResult(checkpoint, `checkpoint ${checkpoint.n}: ${checkpoint.entries} entries, signed by key ${checkpoint.key.slice(0, 16)}`);
    },
  },
  {
    name: 'audit prove',
    args: ['<id>'],
    summary: 'prove that an entry is in the trail: of an AuditEvent, or of a request by its X-Request-Id',
    options: [{ flags: '--out <file>', description: 'file to write', required: true, local: true }, { flags: '--opened', description: 'add what the entry says; holds patient data' }],
    run: async ({ auditConnection, auditReader, checkpoints, retention: { archive }, tenant }, input) => {
      const [id = ''] = input.args;
      const entryId = parseEventId(id)?.entryId;
      const entries = entryId === undefined ? queryRecords(auditReader, { requestId: id, limit: 1, ascending: true }) : auditReader.entries({ hints: [], fromMs: 0, untilMs: maxDateMs, entryIds: [entryId] }, false);
      const { value: found } = (await entries.next()) as { value: OpenedEntry | undefined };
      if (found === undefined) throw new InterlockError('not-found', { detail: 'There is no such entry.' });
      await checkpoints.make();
      const proof = await proveInclusion(auditConnection, tenant, found.id, archive);
      return fileResult({ ...proof, ...(flag(input, 'opened') ? { opened: found.record } : {}) }, `entry ${found.id.toString('hex')} is in checkpoint ${proof.checkpoint.n}`, 0o600);
    },
  },
  {
    name: 'audit consistency',
    args: ['<from>', '<to>'],
    summary: 'prove that what a checkpoint signed is unchanged in a later one',
    options: [{ flags: '--out <file>', description: 'file to write', required: true, local: true }],
    run: async ({ auditConnection }, input) => {
      const [from, to] = input.args.map((one) => numberOf(one, 'The checkpoints'));
      return fileResult(await proveConsistency(auditConnection, from!, to!), `checkpoint ${to!} continues checkpoint ${from!}`);
    },
  },
  {
    name: 'audit public-key',
    summary: 'the public keys that checkpoints are checked with, oldest first (PEM)',
    options: [{ flags: '--out <file>', description: 'file to write', local: true }],
    run: async ({ checkpoints }) => {
      const pem = checkpoints.signer.publicKeys();
      return { lines: pem.trim().split('\n'), json: { pem }, files: [{ name: '', contentBase64: Buffer.from(pem).toString('base64'), mode: 0o644 }] };
    },
  },
  {
    name: 'audit rotate-key',
    summary: 'make a new signing key; the old one signs it',
    run: async ({ checkpoints }) => {
      const { n, key } = await checkpoints.rotate();
      return { lines: [`checkpoint ${n}, signed by key ${key.slice(0, 16)}, names the new key; give its public part to those who verify`], json: { checkpoint: n } };
    },
  },
  {
    name: 'audit log',
    summary: 'write the sealed trail for the separate verifier; holds nothing readable',
    options: [
      { flags: '--out <file>', description: 'file to write', required: true, local: true },
      { flags: '--from <n>', description: 'first checkpoint' },
      { flags: '--until <n>', description: 'last checkpoint; else also what none names yet' },
    ],
    run: async ({ auditConnection, retention: { archive }, tenant }, input, tell) => {
      const [from, until] = ['from', 'until'].map((name) => (text(input, name) === undefined ? undefined : numberOf(text(input, name)!, `--${name}`)));
      const parts: Buffer[] = [];
      let bytes = 0;
      for await (const record of logRecords(auditConnection, tenant, { archive, ...(from === undefined ? {} : { from }), ...(until === undefined ? {} : { until }) })) {
        const line = Buffer.from(`${lineOf(record)}\n`);
        bytes += line.length;
        if (bytes > maxExportBytes) throw new InterlockError('too-costly', { detail: `One file holds ${maxExportBytes} bytes; write several with --from and --until.` });
        if (parts.push(line) % 500 === 0) tell(parts.length);
      }
      return { lines: [`${parts.length} lines, ${bytes} bytes`], json: { lines: parts.length, bytes }, files: [{ name: '', contentBase64: Buffer.concat(parts).toString('base64'), mode: 0o600 }] };
    },
  },
];

/** One export is held in memory on its way. */
const maxExportBytes = 200 * 2 ** 20;

function fileResult(value: object, line: string, mode = 0o644): CommandResult {
  return { lines: [line], json: value, files: [{ name: '', contentBase64: Buffer.from(`${JSON.stringify(value)}\n`).toString('base64'), mode }] };
}

function checkpointOf(contentBase64: string): Checkpoint {
  try {
    const value: unknown = JSON.parse(Buffer.from(contentBase64, 'base64').toString());
    if (isCheckpoint(value)) return value;
  } catch {
    // Told below.
  }
  throw new InterlockError('integrity-failure', { detail: 'The checkpoint is damaged.' });
}

function numberOf(given: CommandInput['args'][number], name: string): number {
  if (!/^[1-9][0-9]{0,11}$/.test(given)) throw new InterlockError('request-invalid', { detail: `${name} are given by their numbers.` });
  return Number(given);
}
