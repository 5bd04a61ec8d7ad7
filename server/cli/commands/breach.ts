import { InterlockError } from '../../../resources/outcome/error.ts';
import { addresseeReader, breachPdf, breachReport, patientsCsv, versionsCsv, type Addressee } from '../../reports/breach.ts';
import { isJurisdiction, notices, outside, plusDays, unknownState, type Deadline, type Notice } from '../../reports/breach-clock.ts';
import type { Breach, BreachChange } from '../../reports/breach-register.ts';
import { scopeOfBreach } from '../../reports/breach-scope.ts';
import { renderPdf } from '../../reports/pdf-table.ts';
import { bytesOf, sealStream } from '../../reports/sealed-file.ts';
import { flag, text, texts, timeOf, type Command, type CommandInput } from '../command.ts';
import { sealOf, sealOptions } from '../sealing.ts';

const countOptions = [
  { flags: '--affected <n>', description: 'patients affected' },
  { flags: '--state <code=n>', description: 'of them, residents of a state, such as CA=512', repeats: true },
] as const;

/** Breaches: whom they concern, and what has to be done until when. */
export const breachCommands: readonly Command[] = [
  {
    name: 'breach report',
    summary: 'whose data an application, person, address or device got: report as PDF, patients and versions as CSV, all sealed',
    options: [
      { flags: '--client <id>', description: 'client_id of an application' },
      { flags: '--user <id>', description: 'user id, or Practitioner/…' },
      { flags: '--address <ip>', description: 'where requests came from' },
      { flags: '--device <text>', description: 'part of the user agent' },
      { flags: '--since <time>', description: 'ISO 8601 date or time, inclusive' },
      { flags: '--until <time>', description: 'ISO 8601 date or time, exclusive; default: now' },
      { flags: '--discovered <day>', description: 'YYYY-MM-DD; default: today' },
      { flags: '--breach <id>', description: 'case of the register, which gets the numbers; its day of discovery counts' },
      { flags: '--out <directory>', description: 'directory to write, which must not exist yet: report.pdf, patients.csv, versions.csv', required: true, local: true, isNew: true },
      ...sealOptions,
      { flags: '--insecure-unsealed', description: 'write readable files' },
    ],
    run: async ({ auditReader, guard, breaches, nowMs, fhirBaseUrl }, input, tell, { record, send }) => {
      const seal = sealOf(input);
      if ((seal === undefined) !== flag(input, 'insecureUnsealed')) throw new InterlockError('request-invalid', { detail: 'Seal the files with --passphrase-file or --recipient, or write readable ones with --insecure-unsealed.' });
      const [client, user, address, device, breachId] = ['client', 'user', 'address', 'device', 'breach'].map((name) => text(input, name));
      if (client !== undefined && user !== undefined) throw new InterlockError('request-invalid', { detail: 'One report is of --client or of --user.' });
      const atMs = nowMs();
      const question = {
        ...(client === undefined ? {} : { client }), ...(user === undefined ? {} : { user }), ...(address === undefined ? {} : { address }), ...(device === undefined ? {} : { device }),
        sinceMs: timeOf(input, 'since') ?? 0, untilMs: timeOf(input, 'until') ?? atMs,
      };
      const discovered = breachId === undefined ? (dayOf(input, 'discovered') ?? new Date(atMs).toISOString().slice(0, 10)) : (await breaches.read(breachId)).discovered;
      const asked = { query: `breach-report?${new URLSearchParams(Object.entries(question).map(([name, value]): [string, string] => [name, String(value)])).toString()}` };
      await record('breach-report', asked);
      const scope = await scopeOfBreach(auditReader, question, tell);
      const addressees = new Map<string, Addressee>();
      const read = addresseeReader(guard, input.operator);
      for (const id of scope.patients.keys()) {
        addressees.set(id, await read(id));
        if (addressees.size % 100 === 0) tell(addressees.size, scope.patients.size);
      }
      const report = breachReport({ question, scope, addressees, discovered, site: new URL(fhirBaseUrl).host, atMs });
      const files = [['report.pdf', [await renderPdf(breachPdf(report))]], ['patients.csv', bytesOf(patientsCsv(report))], ['versions.csv', bytesOf(versionsCsv(report))]] as const;
      const patients = [...scope.patients.keys()];
      await record('breach-report-written', { ...asked, patients });
      for (const [name, content] of files) {
        const chunks = asStream(content);
        for await (const chunk of seal === undefined ? chunks : await sealStream(chunks, seal)) await send(seal === undefined ? name : `${name}.age`, chunk);
      }
      const { affected, states } = report.facts;
      if (breachId !== undefined) await breaches.update(breachId, { affected, states, note: 'numbers from a breach report' }, input.operator);
      return {
        lines: [`${affected} patients, ${scope.accesses} accesses, ${scope.versions.length} versions`, `states: ${Object.entries(states).map(([state, residents]) => `${state} ${residents}`).join(', ') || 'none'}`, ...(seal === undefined ? ['NOT SEALED: the files are readable by whoever gets them.'] : [])],
        json: { affected, states, accesses: scope.accesses, refused: scope.refused, versions: scope.versions.length, sealed: seal !== undefined },
        about: asked,
      };
    },
  },
  {
    name: 'breach open',
    summary: 'enter a case into the breach register; its clocks run from the day of discovery',
    options: [{ flags: '--title <text>', description: 'what happened, without patient data', required: true }, { flags: '--discovered <day>', description: 'YYYY-MM-DD', required: true }, ...countOptions],
    run: async ({ breaches, nowMs }, input) => {
      const discovered = dayOf(input, 'discovered')!;
      if (Date.parse(discovered) > nowMs()) throw new InterlockError('request-invalid', { detail: 'A breach was not discovered in the future.' });
      const breach = await breaches.open(wordsOf(input, 'title'), { discovered, ...countsOf(input) }, input.operator);
      return shown(breach, breaches.deadlines(breach));
    },
  },
  {
    name: 'breach list',
    summary: 'the breach register, nearest deadline first; exit code 2 if a deadline is over',
    run: async ({ breaches }) => {
      const list = (await breaches.list()).map((breach) => ({ breach, deadlines: breaches.deadlines(breach) }));
      const isOverdue = list.some(({ deadlines }) => deadlines.some(({ state }) => state === 'OVERDUE'));
      return {
        table: { columns: ['case', 'status', 'discovered', 'affected', ...notices, 'title'], rows: list.map(({ breach, deadlines }) => [breach.id, breach.status, breach.discovered, String(breach.affected ?? '?'), ...deadlines.map(cellOf), breach.title]) },
        ...(isOverdue ? { lines: ['OVERDUE: a last day has passed without the notice'] } : {}),
        json: list.map(({ breach, deadlines }) => ({ ...breach, deadlines })),
        failed: isOverdue,
      };
    },
  },
  {
    name: 'breach show',
    args: ['<id>'],
    summary: 'one case: its numbers, deadlines and steps',
    run: async ({ breaches }, input) => {
      const breach = await breaches.read(input.args[0] ?? '');
      return shown(breach, breaches.deadlines(breach));
    },
  },
  {
    name: 'breach update',
    args: ['<id>'],
    summary: 'note numbers, notices that were given, a delay that law enforcement asked for, or anything else',
    options: [
      ...countOptions,
      { flags: '--notified <whom>', description: 'individuals, media or hhs; with --on' },
      { flags: '--on <day>', description: 'YYYY-MM-DD' },
      { flags: '--delay-until <day>', description: 'law enforcement asked for delay (45 CFR 164.412); 30 days at most if only by word of mouth' },
      { flags: '--note <text>', description: 'what was done or found' },
    ],
    run: async ({ breaches, nowMs }, input) => {
      const [notified, on, delayUntil] = [text(input, 'notified'), dayOf(input, 'on'), dayOf(input, 'delayUntil')];
      if ((notified === undefined) !== (on === undefined) || (notified !== undefined && !notices.includes(notified as Notice)) || (on !== undefined && Date.parse(on) > nowMs())) throw new InterlockError('request-invalid', { detail: '--notified is individuals, media or hhs, with the day in --on, which is not in the future.' });
      const change: BreachChange = {
        ...countsOf(input), ...(delayUntil === undefined ? {} : { delayUntil }), ...(text(input, 'note') === undefined ? {} : { note: wordsOf(input, 'note') }),
        ...(notified === undefined || on === undefined ? {} : { notified: { notice: notified as Notice, on } }),
      };
      if (Object.keys(change).length === 0) throw new InterlockError('request-invalid', { detail: 'There is nothing to change.' });
      const breach = await breaches.update(input.args[0] ?? '', change, input.operator);
      return shown(breach, breaches.deadlines(breach));
    },
  },
  {
    name: 'breach close',
    args: ['<id>'],
    summary: 'end a case: all are notified, or an assessment showed a low probability of compromise',
    options: [{ flags: '--reason <text>', description: 'why nothing more is to be done', required: true }],
    run: async ({ breaches }, input) => {
      const breach = await breaches.close(input.args[0] ?? '', wordsOf(input, 'reason'), input.operator);
      return shown(breach, breaches.deadlines(breach));
    },
  },
];

async function* asStream(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

function cellOf({ state, due, daysLeft }: Deadline): string {
  return due === undefined ? state : state === 'open' ? `${due} (${daysLeft!} days)` : `${state} ${due}`;
}

function shown(breach: Breach, deadlines: readonly Deadline[]): { table: { columns: string[]; rows: string[][] }; lines: string[]; json: unknown } {
  const { id, title, status, discovered, affected, states = {}, delayUntil, steps } = breach;
  return {
    table: { columns: ['notice', 'last day', 'state', 'why'], rows: deadlines.map((one) => [one.notice, one.due ?? '', one.state === 'open' ? `${one.daysLeft!} days left` : one.state, one.why]) },
    lines: [
      `case ${id}: ${title} (${status}), discovered ${discovered}, ${affected ?? 'unknown number of'} patients affected${delayUntil === undefined ? '' : `, delayed until ${delayUntil}`}`,
      ...(Object.keys(states).length === 0 ? [] : [`states: ${Object.entries(states).map(([state, residents]) => `${state} ${residents}`).join(', ')}`]),
      ...steps.map(({ at, by, what }) => `${at.slice(0, 16).replace('T', ' ')} ${by}: ${what}`),
    ],
    json: { ...breach, deadlines },
  };
}

function dayOf(input: CommandInput, name: string): string | undefined {
  const given = text(input, name);
  if (given === undefined) return undefined;
  if (!/^\d{4}-\d{2}-\d{2}$/.test(given) || Number.isNaN(Date.parse(given)) || plusDays(given, 0) !== given) throw new InterlockError('request-invalid', { detail: 'Days are given as YYYY-MM-DD.' });
  return given;
}

function wordsOf(input: CommandInput, name: string): string {
  const words = text(input, name)?.trim() ?? '';
  if (words === '' || words.length > 1_000) throw new InterlockError('request-invalid', { detail: `--${name} has 1 to 1,000 characters.` });
  return words;
}

function countsOf(input: CommandInput): { affected?: number; states?: Record<string, number> } {
  const affected = text(input, 'affected');
  const states = texts(input, 'state').map((one) => /^(.+)=(\d{1,9})$/.exec(one));
  if ((affected !== undefined && !/^\d{1,9}$/.test(affected)) || states.some((one) => one === null || !(isJurisdiction(one[1]!) || one[1] === outside || one[1] === unknownState))) throw new InterlockError('request-invalid', { detail: '--affected is a number; --state is the code of a state with a number, such as CA=512.' });
  return { ...(affected === undefined ? {} : { affected: Number(affected) }), ...(states.length === 0 ? {} : { states: Object.fromEntries(states.map((one) => [one![1]!, Number(one![2])])) }) };
}
