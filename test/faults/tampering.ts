import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { Checkpoints } from '../../server/audit/checkpoints.ts';
import { lineOf, logRecords } from '../../server/audit/log-records.ts';
import { proveConsistency, proveInclusion } from '../../server/audit/proofs.ts';
import { fingerprint, grow, hashOf, hashOfCheckpoint, keysOf, leafOfBatch, leafOfBlock, leafOfEntry, parseLine, rootOf, sha256, signedBytes, sizeOfBatch, zeros, type Checkpoint, type Entry, type LogBlock, type LogRecord, type Tree } from '../../server/audit/standalone/format.ts';
import { LogVerifier, type Fault, type Report } from '../../server/audit/standalone/log.ts';
import { checkProof } from '../../server/audit/standalone/proof.ts';
import { openAuditTrail } from '../../server/audit/trail.ts';
import { silentLog } from '../../server/observe/log.ts';
import { fill, recordOf, tenant, testKeyring } from '../rooms/audit/support.ts';
import { testMongo } from '../support/mongo.ts';
import type { Random } from './random.ts';

/** A real trail, as it leaves a real store. */
export interface SoundTrail {
  readonly lines: readonly string[];
  readonly keys: readonly KeyObject[];
  readonly newest: Checkpoint;
  readonly proofs: readonly object[];
}

/** Writes a trail of three processes with a checkpoint after each few blocks, the signing key rotated once. */
export async function soundTrail(blocksPerStream: number): Promise<SoundTrail> {
  const [mongo, keys] = await Promise.all([testMongo(), testKeyring()]);
  try {
    const { keyring, keysDir } = keys;
    const open = { audit: mongo.audit, keyring, tenant, log: silentLog };
    const checkpoints = await Checkpoints.open({ ...open, keysDir, intervalMs: 0 });
    for (const epochId of ['a', 'b', 'c']) {
      const trail = await openAuditTrail({ ...open, epochId });
      for (let n = 1; n < blocksPerStream; n += 1) {
        await trail.append(Array.from({ length: 1 + (n % 5) }, () => trail.prepare(recordOf())));
        if (n % 4 === 3) await checkpoints.make();
      }
      if (epochId === 'b') await checkpoints.rotate();
      if (epochId === 'c') await checkpoints.make();
      if (epochId === 'c') await fill(trail, 2);
      await trail.close();
    }
    const lines: string[] = [];
    const proofs: object[] = [];
    for await (const record of logRecords(mongo.audit, tenant)) {
      lines.push(lineOf(record));
      const entry = 'block' in record && record.block.e.length > 0 && proofs.length < 8 ? record.block.e.at(-1) : undefined;
      if (entry !== undefined) proofs.push(await proveInclusion(mongo.audit, tenant, entry.i));
    }
    const newest = checkpoints.last!;
    for (const n of [1, 2, newest.n - 1]) proofs.push(await proveConsistency(mongo.audit, n, newest.n));
    return { lines, keys: keysOf(checkpoints.signer.publicKeys()), newest, proofs };
  } finally {
    keys.close();
    await mongo.drop();
  }
}

/** What the separate verifier says of an export. */
export function verifyLines(sound: Pick<SoundTrail, 'keys'>, records: readonly LogRecord[], witnesses: readonly Checkpoint[] = []): Report {
  const verifier = new LogVerifier(sound.keys, witnesses);
  for (const record of records) verifier.accept(record);
  return verifier.finish();
}

interface Tampered {
  readonly kind: string;
  readonly records: LogRecord[];
  /** What the first fault has to name. */
  readonly at: { readonly stream?: string; readonly block?: number; readonly entry?: number; readonly checkpoint?: number };
  /** Seen only beside a checkpoint that was kept elsewhere. */
  readonly needsWitness?: true;
}

type Attack = (records: LogRecord[], random: Random) => Tampered | undefined;

const blockAt = (records: readonly LogRecord[], at: number): LogBlock => (records[at] as { block: LogBlock }).block;
const rehash = (block: LogBlock, stream = streamOf(block)): LogBlock => {
  const tree: Tree = { size: 0, peaks: [] };
  for (const entry of block.e) grow(tree, leafOfEntry(entry));
  return { ...block, hash: hashOf(tenant, stream, block, block.e.length, rootOf(tree)) };
};
const streamOf = (block: LogBlock): string => block.id.slice(0, block.id.lastIndexOf(':'));
const placeOf = (block: LogBlock): { stream: string; block: number } => ({ stream: streamOf(block), block: Number(block.id.slice(-10)) });
const flipped = (bytes: Buffer, random: Random): Buffer => {
  const copy = Buffer.from(bytes);
  const at = random.below(copy.length);
  copy[at] = copy[at]! ^ (1 << random.below(8));
  return copy;
};

/** Places of the blocks that a checkpoint names; with entries, if asked for. */
function anchored(records: readonly LogRecord[], least = 0): number[] {
  const end = records.findIndex((record) => 'unanchored' in record);
  return records.flatMap((record, at) => ('block' in record && at < end && record.block.e.length >= least ? [at] : []));
}

const pick = <T>(from: readonly T[], random: Random): T => from[random.below(from.length)]!;

/** Changes one block; with or without its hash computed anew, and the chain after it, as far as that needs no signing key. */
function changing(kind: string, least: number, change: (block: LogBlock, random: Random) => { block: LogBlock; entry?: number }): Attack {
  return (records, random) => {
    const at = pick(anchored(records, least), random);
    const was = blockAt(records, at);
    const { block, entry } = change(was, random);
    const how = random.below(3);
    records[at] = { block: how === 0 ? block : rehash(block) };
    if (how === 2) rechain(records, at);
    return { kind: `${kind}${['', ', rehashed', ', re-chained'][how]!}`, records, at: { ...placeOf(was), ...(entry === undefined ? {} : { entry }) } };
  };
}

/** Computes the chain of the stream anew after a block. */
function rechain(records: LogRecord[], from: number): void {
  let previous = blockAt(records, from);
  for (let at = from + 1; at < records.length; at += 1) {
    const record = records[at]!;
    if (!('block' in record) || streamOf(record.block) !== streamOf(previous)) continue;
    previous = rehash({ ...record.block, prev: previous.hash });
    records[at] = { block: previous };
  }
}

const withEntry = (block: LogBlock, at: number, change: Partial<Entry>): LogBlock => ({ ...block, e: block.e.map((entry, i) => (i === at ? { ...entry, ...change } : entry)) });

const attacks: readonly Attack[] = [
  changing('a bit of a record flipped', 1, (block, random) => { const entry = random.below(block.e.length); return { block: withEntry(block, entry, { b: flipped(block.e[entry]!.b, random) }), entry }; }),
  changing('an id changed', 1, (block, random) => { const entry = random.below(block.e.length); return { block: withEntry(block, entry, { i: flipped(block.e[entry]!.i, random) }), entry }; }),
  changing('a token changed', 1, (block, random) => { const entry = random.below(block.e.length); return { block: withEntry(block, entry, { x: block.e[entry]!.x.map((token) => flipped(token, random)) }), entry }; }),
  changing('an entry deleted', 1, (block, random) => { const entry = random.below(block.e.length); return { block: { ...block, e: block.e.toSpliced(entry, 1) }, entry }; }),
  changing('an entry inserted', 1, (block, random) => { const entry = random.below(block.e.length + 1); return { block: { ...block, e: block.e.toSpliced(entry, 0, { ...pick(block.e, random), b: Buffer.from(random.word(80)) }) }, entry }; }),
  changing('entries reordered', 2, (block, random) => { const entry = random.below(block.e.length - 1); const e = [...block.e]; [e[entry], e[entry + 1]] = [e[entry + 1]!, e[entry]!]; return { block: { ...block, e }, entry }; }),
  changing('a time changed', 0, (block, random) => ({ block: { ...block, at: block.at - 1 - random.below(1e6) } })),
  (records, random) => {
    const at = pick(anchored(records), random);
    const [gone] = records.splice(at, 1) as [{ block: LogBlock }];
    return { kind: 'a block deleted', records, at: placeOf(gone.block) };
  },
  (records, random) => {
    const at = pick(anchored(records), random);
    const block = blockAt(records, at);
    const id = `${streamOf(block)}:${random.word(11, '0123456789')}`;
    records.splice(at, 0, { block: rehash({ ...block, id }) });
    return { kind: 'a block inserted', records, at: { stream: streamOf(block), block: Number(id.split(':')[1]) } };
  },
  (records, random) => {
    const [one, other] = [pick(anchored(records, 1), random), pick(anchored(records, 1), random)].sort((a, b) => a - b) as [number, number];
    if (one === other) return undefined;
    const [a, b] = [blockAt(records, one), blockAt(records, other)];
    records[one] = { block: { ...b, id: a.id } };
    records[other] = { block: { ...a, id: b.id } };
    return { kind: streamOf(a) === streamOf(b) ? 'two blocks swapped' : 'blocks swapped between streams', records, at: placeOf(a) };
  },
  (records, random) => {
    const [one, other] = [pick(anchored(records, 1), random), pick(anchored(records, 1), random)];
    const [a, b] = [blockAt(records, one), blockAt(records, other)];
    if (streamOf(a) === streamOf(b)) return undefined;
    records[one] = { block: rehash(withEntry(a, 0, b.e[0]!)) };
    return { kind: 'an entry of another stream put in', records, at: { ...placeOf(a), entry: 0 } };
  },
  (records, random) => {
    const at = pick(records.flatMap((record, place) => ('checkpoint' in record ? [place] : [])), random);
    const { checkpoint, marks } = records[at] as { checkpoint: Checkpoint; marks: Buffer };
    const changes: Partial<Checkpoint>[] = [{ at: '2020-01-01T00:00:00.000Z' }, { entries: checkpoint.entries + 1 }, { root: checkpoint.prev === zeros ? checkpoint.batch : checkpoint.prev }, { batch: checkpoint.root === checkpoint.batch ? zeros : checkpoint.root }, { tenant: 'other' }, { signature: flipped(Buffer.from(checkpoint.signature, 'base64'), random).toString('base64') }, { prev: '1'.repeat(64) }];
    records[at] = { checkpoint: { ...checkpoint, ...pick(changes, random) }, marks };
    return { kind: 'a checkpoint altered', records, at: { checkpoint: checkpoint.n } };
  },
  (records, random) => {
    const at = pick(records.flatMap((record, place) => ('checkpoint' in record && record.marks.length > 0 ? [place] : [])), random);
    const { checkpoint, marks } = records[at] as { checkpoint: Checkpoint; marks: Buffer };
    records[at] = { checkpoint, marks: flipped(marks, random) };
    return { kind: 'marks altered', records, at: { checkpoint: checkpoint.n } };
  },
  (records, random) => {
    const at = pick(records.flatMap((record, place) => ('checkpoint' in record ? [place] : [])), random);
    const { checkpoint } = records[at] as { checkpoint: Checkpoint };
    const end = records.findIndex((record, place) => place > at && !('block' in record));
    records.splice(at, end - at);
    // Without its last one, the trail looks as it did before: only a checkpoint kept elsewhere tells.
    return { kind: 'a checkpoint and its blocks cut out', records, at: { checkpoint: checkpoint.n }, needsWitness: true };
  },
  (records, random) => {
    const places = records.flatMap((record, place) => ('checkpoint' in record ? [place] : []));
    const at = places[1 + random.below(places.length - 1)]!;
    const { checkpoint } = records[at] as { checkpoint: Checkpoint };
    return { kind: 'rolled back', records: [...records.slice(0, at), { unanchored: true }, { end: count(records.slice(0, at)) }], at: { checkpoint: checkpoint.n }, needsWitness: true };
  },
  forgeChain,
];

/** Everything written anew from a checkpoint on, and signed with another key; with the name of the right one, or its own. */
function forgeChain(records: LogRecord[], random: Random): Tampered {
  const places = records.flatMap((record, place) => ('checkpoint' in record ? [place] : []));
  const from = pick(places, random);
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const keepsName = random.below(2) === 0;
  const tree: Tree = { size: 0, peaks: [] };
  let previous: Checkpoint | undefined;
  for (const [at, record] of records.entries()) {
    if (!('checkpoint' in record)) continue;
    const c = record.checkpoint;
    if (at < from) {
      grow(tree, leafOfBatch(c.batch, sizeOfBatch(c)));
      previous = c;
      continue;
    }
    const batch: Tree = { size: 0, peaks: [] };
    let last = '';
    for (let next = at + 1; 'block' in records[next]!; next += 1) {
      const block = rehash({ ...blockAt(records, next), e: blockAt(records, next).e.slice(1) });
      records[next] = { block };
      grow(batch, leafOfBlock(block.hash));
      last = block.hash.toString('hex');
    }
    grow(tree, leafOfBatch(rootOf(batch).toString('hex'), sizeOfBatch(c)));
    const unsigned = { ...c, blocks: c.blocks.map(([stream, first, end]) => [stream, first, end, last] as const), batch: rootOf(batch).toString('hex'), marks: sha256().toString('hex'), root: rootOf(tree).toString('hex'), prev: previous === undefined ? zeros : hashOfCheckpoint(previous), key: keepsName ? c.key : fingerprint(publicKey) };
    previous = { ...unsigned, signature: sign(null, signedBytes(unsigned), privateKey).toString('base64') };
    records[at] = { checkpoint: previous, marks: Buffer.alloc(0) };
  }
  return { kind: 'written anew and signed with another key', records, at: { checkpoint: (records[from] as { checkpoint: Checkpoint }).checkpoint.n } };
}

function count(records: readonly LogRecord[]): { blocks: number; checkpoints: number } {
  return { blocks: records.filter((record) => 'block' in record).length, checkpoints: records.filter((record) => 'checkpoint' in record).length };
}

/** What a run found; everything but `cases` and `kinds` has to be empty. */
export interface TamperingReport {
  readonly cases: number;
  readonly kinds: Readonly<Record<string, number>>;
  readonly undetected: readonly string[];
  readonly misplaced: readonly string[];
}

/** Tampers with copies of a trail, as whoever has all rights on the database but not the keys can, and has each verified. */
export function tamper(sound: SoundTrail, cases: number, random: Random): TamperingReport {
  const kinds: Record<string, number> = {};
  const undetected: string[] = [];
  const misplaced: string[] = [];
  // Attacks replace records and change none.
  const parsed = sound.lines.map(parseLine);
  for (let done = 0; done < cases; ) {
    const made = attacks[done % attacks.length]!([...parsed], random);
    if (made === undefined) continue;
    done += 1;
    kinds[made.kind] = (kinds[made.kind] ?? 0) + 1;
    // The exporter counts what it finds: the number of lines is no help.
    const records = made.records.map((record): LogRecord => ('end' in record ? { end: count(made.records) } : record));
    const { ok, faults } = verifyLines(sound, records, made.needsWitness === true ? [sound.newest] : []);
    if (ok) undetected.push(made.kind);
    else if (!(made.needsWitness === true ? faults : faults.slice(0, 1)).some((fault) => names(fault, made.at))) misplaced.push(`${made.kind}: ${JSON.stringify(made.at)} but ${JSON.stringify(faults[0])}`);
  }
  return { cases, kinds, undetected, misplaced };
}

function names(fault: Fault, at: Tampered['at']): boolean {
  // Of what was set back, the newest checkpoint that is missing is named, and where the trail ends now.
  if (fault.code === 'rolled-back') return at.checkpoint !== undefined && fault.checkpoint! >= at.checkpoint && fault.text.includes(`checkpoint ${at.checkpoint - 1};`);
  return Object.entries(at).every(([field, value]) => fault[field as keyof Fault] === value);
}

/** Flips a bit of every byte of an export, line by line. @returns the offsets at which nobody noticed */
export function flipEveryByte(sound: SoundTrail, upToBytes: number, random: Random): { readonly bytes: number; readonly unnoticed: readonly number[] } {
  const before = new LogVerifier(sound.keys);
  const unnoticed: number[] = [];
  let bytes = 0;
  for (const [number, line] of sound.lines.entries()) {
    const own = Buffer.from(`${line}\n`);
    for (let at = 0; at < own.length && bytes < upToBytes; at += 1, bytes += 1) {
      const changed = Buffer.from(own);
      changed[at] = changed[at]! ^ (1 << random.below(8));
      const after = new LogVerifier(sound.keys, [], structuredClone(before.state, { transfer: [] }));
      restore(after.state);
      // A line feed that is gone joins this line with the next; one that is new makes two of it.
      const parts = at === own.length - 1 ? [`${changed.toString()}${sound.lines[number + 1] ?? ''}`] : changed.subarray(0, -1).toString().split('\n');
      for (const part of parts) after.accept(parseLine(part));
      if (after.state.faults.length === before.state.faults.length) for (const rest of sound.lines.slice(number + (at === own.length - 1 ? 2 : 1))) after.accept(parseLine(rest));
      if (after.finish().ok) unnoticed.push(bytes);
    }
    before.accept(parseLine(line));
  }
  return { bytes, unnoticed };
}

/** A structured clone has plain byte arrays where there were Buffers. */
function restore(state: LogVerifier['state']): void {
  const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  state.tree.peaks = state.tree.peaks.map(buffer);
  for (const stream of state.streams.values()) stream.hash = buffer(stream.hash);
  if (state.batch === undefined) return;
  state.batch.tree.peaks = state.batch.tree.peaks.map(buffer);
  Object.assign(state.batch, { marks: buffer(state.batch.marks) });
}

/** Forges proofs out of real ones. @returns those that were accepted, which must be none */
export function forgeProofs(sound: SoundTrail, cases: number, random: Random): { readonly cases: number; readonly accepted: readonly string[] } {
  const accepted: string[] = [];
  const foreign = generateKeyPairSync('ed25519');
  for (let done = 0; done < cases; done += 1) {
    const proof = structuredClone(pick(sound.proofs, random)) as Record<string, unknown>;
    const original = JSON.stringify(proof);
    const donor = structuredClone(pick(sound.proofs, random)) as Record<string, unknown>;
    const leaves = leavesOf(proof);
    switch (done % 4) {
      case 0: change(pick(leaves, random), random); break;
      case 1: for (const key of Object.keys(proof)) if (random.below(2) === 0 && key in donor) proof[key] = donor[key]; break;
      case 2: { const path = pick(leaves.filter(({ of }) => Array.isArray(of) && of.length > 0), random).of as unknown[]; if (random.below(2) === 0) path.pop(); else path.push(path[0]); break; }
      default: { change(pick(leaves, random), random); const c = proof['checkpoint'] ?? proof['to']; resign(c as Checkpoint, foreign, random.below(2) === 0); }
    }
    if (JSON.stringify(proof) !== original && checkProof(proof, sound.keys).ok && !isOtherSound(proof, sound)) accepted.push(JSON.stringify(proof).slice(0, 500));
  }
  return { cases, accepted };
}

/** Parts of sound proofs can make another sound one: the same statement with another checkpoint of the trail. */
function isOtherSound(proof: object, sound: SoundTrail): boolean {
  return sound.proofs.some((one) => JSON.stringify(one) === JSON.stringify(proof));
}

function resign(checkpoint: Checkpoint, { privateKey, publicKey }: { privateKey: KeyObject; publicKey: KeyObject }, asItself: boolean): void {
  if (asItself) Object.assign(checkpoint, { key: fingerprint(publicKey) });
  Object.assign(checkpoint, { signature: sign(null, signedBytes(checkpoint), privateKey).toString('base64') });
}

interface Leaf { readonly of: Record<string, unknown> | unknown[]; readonly key: string }

function leavesOf(value: unknown): Leaf[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => (typeof inner === 'object' && inner !== null ? leavesOf(inner) : [{ of: value as Leaf['of'], key }]));
}

function change({ of, key }: Leaf, random: Random): void {
  const holder = of as Record<string, unknown>;
  const value = holder[key];
  if (typeof value === 'number') holder[key] = value + 1 + random.below(3);
  else if (typeof value === 'string' && value !== '') { const at = random.below(value.length); holder[key] = value.slice(0, at) + (value[at] === 'a' ? 'b' : 'a') + value.slice(at + 1); }
  else holder[key] = 'x';
}
