import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { v2Format } from '../../channels/mllp/v2-format.ts';
import { readHeader } from '../../mappings/v2/message.ts';
import type { Plan } from '../../mappings/engine/plan.ts';
import { renderTable } from '../../server/cli/render.ts';
import type { MllpSender } from '../../server/demo/mllp-sender.ts';
import { ackCode, addPartner, mllpSender, untilRouted, type PartnerCertificate } from '../support/callers.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

/*
 * `npm run corpus -- DIR`: sends every .hl7 file below a directory to a real server over MLLP with mutual TLS and shows by
 * message type what became of them. Ends with 1 if a message got no acknowledgement in time or the server ended.
 */

/** A message is answered within this time, or it counts as unanswered. */
const patienceMs = 5_000;
const connections = 4;
const slowest = 5;

interface Sent {
  readonly file: string;
  readonly type: string;
  readonly bytes: Buffer;
  readonly plan: Plan | undefined;
  /** MSA-1; `none` if nothing came in time. */
  code: string;
  tookMs: number;
  /** MSH-10 of the acknowledgement: the end of the message's id, by which dead letters are found. */
  ackId: string;
}

interface DeadLetter {
  readonly messageId: string;
  readonly acknowledged: string;
  readonly failure?: { readonly code: string; readonly cause?: string };
}

/** The messages of a directory, batches split; each with what its map makes of it. */
function readCorpus(directory: string): Sent[] {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.hl7')).sort();
  return files.flatMap((name) => v2Format.split!(readFileSync(join(directory, name))).map((bytes): Sent => {
    const header = readHeader(bytes.subarray(0, 4096).toString('latin1').split(/[\r\n]/).find((line) => line.includes('MSH'))?.replace(/^.*?MSH/, 'MSH') ?? '');
    const type = header === undefined || header.code === '' ? '(none)' : `${header.code}^${header.trigger}`;
    return { file: relative('.', join(directory, name)), type, bytes, plan: planOf(bytes), code: 'none', tookMs: patienceMs, ackId: '' };
  }));
}

function planOf(bytes: Buffer): Plan | undefined {
  try {
    const plan = v2Format.decode(bytes, { channelId: 'hl7v2', zone: 'UTC', attributes: {} }).plan();
    return plan instanceof Promise ? undefined : plan;
  } catch {
    return undefined;
  }
}

/** Sends all messages over several connections, each in order; one that gets no answer costs its connection only. */
async function sendAll(server: TestServer, partner: PartnerCertificate, messages: readonly Sent[]): Promise<void> {
  const queue = messages.values();
  let done = 0;
  const work = async (): Promise<void> => {
    let sender: MllpSender | undefined;
    for (const message of queue) {
      sender ??= await mllpSender(server, partner, patienceMs);
      const beganMs = performance.now();
      try {
        const ack = await sender.send(message.bytes);
        message.code = ackCode(ack);
        message.ackId = ack.split('\r')[0]?.split(ack[3] ?? '|')[9] ?? '';
      } catch {
        // A late answer must not be taken for one to the next message.
        sender = undefined;
      }
      message.tookMs = performance.now() - beganMs;
      progress(`${(done += 1)} of ${messages.length} messages sent`);
    }
    sender?.close();
  };
  await Promise.all(Array.from({ length: connections }, work));
}

/** Every dead letter of the channel, over all pages. */
async function deadLetters(server: TestServer): Promise<DeadLetter[]> {
  const all: DeadLetter[] = [];
  for (;;) {
    const after = all.at(-1)?.messageId;
    const page = await server.cliJson<DeadLetter[]>(['channel', 'dead-letters', 'hl7v2', ...(after === undefined ? [] : ['--after', after])]);
    if (page.length === 0) return all;
    all.push(...page);
  }
}

const accepted = new Set(['AA', 'CA']);

function summary(messages: readonly Sent[], dead: ReadonlyMap<string, DeadLetter>): string {
  const groups = [...Map.groupBy(messages, ({ type }) => type)].sort(([left], [right]) => left.localeCompare(right));
  const row = ([type, sent]: [string, readonly Sent[]]): string[] => {
    const coded = (...codes: string[]): string => String(sent.filter(({ code }) => codes.includes(code)).length || '');
    const taken = sent.filter(({ code }) => accepted.has(code));
    const times = sent.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
    const failed = taken.filter(({ ackId }) => dead.has(ackId)).length;
    const unmapped = counted(sent.flatMap(({ plan }) => plan?.unmapped.map(({ path }) => path) ?? []));
    const untranslated = counted(sent.flatMap(({ plan }) => plan?.untranslated.map(({ path }) => path) ?? []));
    return [
      type, String(sent.length), coded('AA', 'CA'), coded('AE', 'CE'), coded('AR', 'CR'), coded('none', ''), times[Math.ceil(times.length * 0.95) - 1]?.toFixed(0) ?? '', times.at(-1)?.toFixed(0) ?? '',
      String(taken.length - failed), String(failed || ''), sumUp(unmapped), sumUp(untranslated),
    ];
  };
  const rows = groups.map(row);
  if (groups.length > 1) rows.push(row(['all', messages]));
  return renderTable(['type', 'sent', 'AA', 'AE', 'AR', 'no ack', 'p95 ms', 'max ms', 'stored', 'dead', 'unmapped fields', 'codes kept as they came'], rows);
}

function counted(names: readonly string[]): [string, number][] {
  return [...Map.groupBy(names, (name) => name)].map(([name, all]): [string, number] => [name, all.length]).sort(([, left], [, right]) => right - left);
}

/** Such as `17: PID-22 ×9, PV2-3 ×4`. */
function sumUp(counts: readonly [string, number][]): string {
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  return total === 0 ? '' : `${total}: ${counts.slice(0, 3).map(([name, count]) => `${name} ×${count}`).join(', ')}`;
}

/** What deserves a look: messages without an answer, those refused or failed, and the slowest. */
function remarkable(messages: readonly Sent[], dead: ReadonlyMap<string, DeadLetter>): string {
  const why = (message: Sent): string => {
    const { failure } = dead.get(message.ackId) ?? {};
    return [failure?.code, failure?.cause].filter(Boolean).join(' ');
  };
  const rows = messages
    .filter(({ code, ackId }) => (!accepted.has(code) && code !== 'quiet') || dead.has(ackId))
    .map((message) => [message.code || 'unreadable', message.type, why(message), message.tookMs.toFixed(0), message.file]);
  for (const { tookMs, type, file } of messages.filter(({ code }) => code !== 'quiet').sort((left, right) => right.tookMs - left.tookMs).slice(0, slowest)) rows.push(['slowest', type, '', tookMs.toFixed(0), file]);
  // Files last and on lines of their own length: they are what the reader opens next.
  return rows.map(([what = '', type = '', reason = '', ms = '', file = '']) => `${what.padEnd(10)}  ${type.padEnd(10)}  ${reason.padEnd(40)}  ${ms.padStart(5)} ms  ${file}`).join('\n');
}

function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${line}\u001b[K`);
}

async function main(directory: string): Promise<number> {
  if (!existsSync(directory)) {
    console.error(`There is no directory ${directory}: npm run corpus -- DIR`);
    return 1;
  }
  const messages = readCorpus(directory);
  if (messages.length === 0) {
    console.error(`There is no .hl7 file below ${directory}`);
    return 1;
  }
  const server = await startTestServer();
  try {
    const partner = await addPartner(server, 'corpus');
    const pid = server.pid();
    await sendAll(server, partner, messages);
    const { counts } = await untilRouted(server, 300_000, (waiting) => progress(`${waiting} messages wait to be stored`));
    progress('');
    const dead = new Map((await deadLetters(server)).map((letter) => [letter.messageId.replaceAll('-', '').slice(-20), letter]));
    console.log(summary(messages, dead));
    console.log(`\n${remarkable(messages, dead)}`);
    const repeated = messages.filter(({ code }) => accepted.has(code)).length - new Set(messages.filter(({ code }) => accepted.has(code)).map(({ ackId }) => ackId)).size;
    const unanswered = messages.filter(({ code }) => code === 'none' || code === '').length;
    const alive = server.pid() === pid && (await server.cli(['channel', 'status'])).code === 0 && isAlive(pid);
    console.log(`\n${messages.length} messages: ${messages.length - unanswered} answered within ${patienceMs / 1000} s, ${counts.stored + counts.delivered} stored, ${repeated} of them sent more than once, ${counts.failed} refused or failed. The server ${alive ? 'is alive' : 'ENDED'}.`);
    if (!alive) console.log(server.output());
    return unanswered === 0 && alive ? 0 : 1;
  } finally {
    await server.remove();
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

process.exitCode = await main(process.argv[2] ?? '../shared/data/hl7v2');
