#!/usr/bin/env node
/*
 * Checks an export of an audit trail, or a proof, with nothing but this folder, Node and the public key of the trail:
 *
 *   node verify.ts EXPORT --key PUBLIC.pem [--checkpoint FILE]...
 *   node verify.ts PROOF --key PUBLIC.pem
 *
 * Exit code 0: unaltered; 1: it could not be checked; 2: something is wrong.
 */
import { createReadStream, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { KeyObject } from 'node:crypto';
import { isCheckpoint, keysOf, parseLine, type Checkpoint } from './format.ts';
import { linesOf } from './lines.ts';
import { LogVerifier, type Fault, type Report } from './log.ts';
import { checkProof } from './proof.ts';

const maxProofBytes = 16 * 2 ** 20;
const progressEveryMs = 1_000;

async function checkExport(file: string, keys: readonly KeyObject[], witnesses: readonly Checkpoint[]): Promise<Report> {
  const verifier = new LogVerifier(keys, witnesses);
  const beganMs = performance.now();
  let toldMs = beganMs;
  for await (const line of linesOf(createReadStream(file, { highWaterMark: 2 ** 20 }))) {
    verifier.accept(parseLine(line));
    if (performance.now() - toldMs < progressEveryMs) continue;
    toldMs = performance.now();
    process.stderr.write(`${verifier.state.entries} entries, ${perSecond(verifier.state.entries, toldMs - beganMs)}\n`);
  }
  say(`${verifier.state.entries} entries checked, ${perSecond(verifier.state.entries, performance.now() - beganMs)}`);
  return verifier.finish();
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function perSecond(entries: number, ms: number): string {
  return `${Math.round((entries * 1000) / Math.max(ms, 1))} per second`;
}

function lineOf({ code, text, stream, block, entry, checkpoint, from, to }: Fault): string {
  const where = [stream === undefined ? '' : `stream ${stream}`, block === undefined ? '' : `block ${block}`, entry === undefined ? '' : `entry ${entry}`, checkpoint === undefined ? '' : `checkpoint ${checkpoint}`, from === undefined ? '' : `from ${from}`, to === undefined ? '' : `until ${to}`];
  return `${code}: ${where.filter((part) => part !== '').join(', ')}: ${text}`;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { key: { type: 'string' }, checkpoint: { type: 'string', multiple: true, default: [] } } });
  const [file] = positionals;
  const keys = values.key === undefined ? [] : keysOf(readFileSync(values.key, 'utf8'));
  if (file === undefined || keys.length === 0) throw new Error('node verify.ts EXPORT|PROOF --key PUBLIC.pem [--checkpoint FILE]...');
  const witnesses = values.checkpoint.map((path) => {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (!isCheckpoint(value)) throw new Error('What was given with --checkpoint is none.');
    return value;
  });
  for await (const first of linesOf(createReadStream(file, { highWaterMark: 2 ** 20 }))) {
    if (first.startsWith('{"header":')) break;
    const bytes = readFileSync(file);
    const { ok, text } = checkProof(bytes.length > maxProofBytes ? undefined : JSON.parse(bytes.toString()), keys);
    say(text);
    return ok ? 0 : 2;
  }
  const { ok, faults, checkpoints, blocks, entries, unanchored, last, purged } = await checkExport(file, keys, witnesses);
  for (const fault of faults) say(lineOf(fault));
  say(`${ok ? 'unaltered' : 'ALTERED'}: ${entries} entries in ${blocks} blocks, ${checkpoints} checkpoints${last === undefined ? '' : `, the last (${last.n}) of ${last.at}`}`);
  for (const one of purged) say(`purged: ${one.entries} entries of checkpoints ${one.from} to ${one.to}, none younger than ${one.until}, removed ${one.at} after ${one.retentionDays} days (${one.basis})`);
  say(`unanchored: ${unanchored.entries} entries in ${unanchored.blocks} blocks follow the last checkpoint; that none were cut off there is not proved`);
  return ok ? 0 : 2;
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : 'failed'}\n`);
  return 1;
});
