import { createPublicKey, verify as verifySignature, type KeyObject } from 'node:crypto';
import { fingerprint, grow, hashOf, hashOfCheckpoint, hex, isSignedBy, leafOfBatch, leafOfBlock, leafOfEntry, markBytes, rootOf, same, sha256, sizeOfBatch, streamPattern, tombstoneBytes, zeros, type Checkpoint, type LogBlock, type LogRecord, type Tombstone, type Tree } from './format.ts';

/** One thing that is wrong, and where. */
export interface Fault {
  readonly code: 'line-altered' | 'entry-altered' | 'entry-missing' | 'entry-inserted' | 'entries-reordered' | 'block-altered' | 'block-missing' | 'block-inserted' | 'block-misplaced' | 'block-rewritten' | 'chain-broken'
    | 'checkpoint-altered' | 'checkpoint-forged' | 'checkpoint-missing' | 'checkpoint-rewritten' | 'rolled-back' | 'export-incomplete' | 'tombstone-forged' | 'tombstone-wrong' | 'purged-early';
  readonly text: string;
  readonly checkpoint?: number;
  readonly stream?: string;
  readonly block?: number;
  /** Place within the block, from 0. */
  readonly entry?: number;
  /** When what is meant happened: ISO 8601. */
  readonly from?: string;
  readonly to?: string;
}
type Place = Omit<Fault, 'code' | 'text'>;
export interface Report {
  readonly ok: boolean;
  readonly checkpoints: number;
  readonly blocks: number;
  readonly entries: number;
  /** What follows the last checkpoint: it could have been cut or written anew by who has the keys of the trail. */
  readonly unanchored: { readonly blocks: number; readonly entries: number };
  readonly last?: { readonly n: number; readonly at: string };
  /** What was removed because it was due, with a tombstone each. */
  readonly purged: readonly { readonly from: number; readonly to: number; readonly entries: number; readonly until: string; readonly at: string; readonly retentionDays: number; readonly basis: string }[];
  /** The first is the first bad place. At most {@link maxFaults}. */
  readonly faults: readonly Fault[];
}
interface Batch { readonly checkpoint: Checkpoint; readonly marks: Buffer; marksAt: number; range: number; n: number; readonly tree: Tree; readonly faultsBefore: number }
interface Purge { readonly tombstone: Tombstone; readonly batches: Tree; blocks: number }
/** All that the verifier remembers: plain data, so that it can be copied. */
interface State {
  tenant?: string; tree: Tree; batch?: Batch; last?: Checkpoint; key?: string; tail: boolean; ended: boolean; purge?: Purge; readonly purged: Tombstone[]; readonly seenKeys: Set<string>;
  readonly streams: Map<string, { n: number; hash: Buffer; at: number }>;
  checkpoints: number; blocks: number; entries: number; tailBlocks: number; tailEntries: number; readonly faults: Fault[];
}

export const maxFaults = 100;
const dayMs = 86_400_000;
const keyOf = (spki: string): KeyObject => createPublicKey({ key: Buffer.from(spki, 'base64'), type: 'spki', format: 'der' });
const iso = (ms: number | undefined): string | undefined => (ms !== undefined && ms <= 8.64e15 ? new Date(ms).toISOString() : undefined);

/** Checks the lines of an export in their order, in memory that does not grow with it. */
export class LogVerifier {
  readonly state: State;
  readonly #keys: readonly KeyObject[];
  readonly #witnesses: readonly Checkpoint[];

  constructor(keys: readonly KeyObject[], witnesses: readonly Checkpoint[] = [], state?: State) {
    [this.#keys, this.#witnesses] = [keys, witnesses];
    this.state = state ?? { tree: { size: 0, peaks: [] }, tail: false, ended: false, purged: [], seenKeys: new Set(), streams: new Map(), checkpoints: 0, blocks: 0, entries: 0, tailBlocks: 0, tailEntries: 0, faults: [] };
    for (const one of witnesses) if (state === undefined && !keys.some((key) => isSignedBy(one, key))) this.#fault('checkpoint-forged', 'The checkpoint that was given is not signed with this key, or was altered.', { checkpoint: one.n });
  }

  accept(record: LogRecord): void {
    const { state } = this;
    if (state.ended || (state.tenant === undefined) !== 'header' in record) this.#fault('line-altered', 'The line does not belong here.');
    if ('header' in record) this.#header(record.header);
    else if ('tombstone' in record) this.#tombstone(record.tombstone);
    else if ('checkpoint' in record) this.#checkpoint(record.checkpoint, record.marks);
    else if ('block' in record) this.#block(record.block);
    else if ('unreadable' in record) this.#fault('line-altered', record.unreadable, state.last === undefined ? {} : { checkpoint: state.last.n });
    else if ('end' in record) {
      this.#closeBatch();
      state.ended = true;
      if (record.end.blocks !== state.blocks || record.end.checkpoints !== state.checkpoints) this.#fault('export-incomplete', 'The export has not as many lines as it says.');
    } else {
      this.#closeBatch();
      delete state.purge;
      state.tail = true;
    }
  }

  finish(): Report {
    const { state } = this;
    if (!state.ended || !state.tail) this.#fault('export-incomplete', 'The export ends early.');
    for (const one of state.purged) {
      // Only now every key is known: a later one than the first that was given may have signed.
      const known = [...this.#keys, ...[...state.seenKeys].map(keyOf)];
      const isSigned = known.some((key) => fingerprint(key) === one.key && verifySignature(null, tombstoneBytes(one), key, Buffer.from(one.signature, 'base64')));
      if (!isSigned || one.tenant !== state.tenant) this.#fault('tombstone-forged', 'The tombstone is not signed with a key of the trail, or was altered.', { checkpoint: one.from, to: one.until });
    }
    const { last, faults, checkpoints, blocks, entries } = state;
    for (const { n, at } of this.#witnesses) if (n > (last?.n ?? 0)) this.#fault('rolled-back', `The trail ends with checkpoint ${last?.n ?? 0}; ${n} was made before it was cut or set back.`, { checkpoint: n, to: at, ...(last === undefined ? {} : { from: last.at }) });
    return { ok: faults.length === 0, checkpoints, blocks, entries, unanchored: { blocks: state.tailBlocks, entries: state.tailEntries }, ...(last === undefined ? {} : { last: { n: last.n, at: last.at } }), purged: state.purged.map(({ from, to, entries: gone, until, at, retentionDays, basis }) => ({ from, to, entries: gone, until, at, retentionDays, basis })), faults };
  }

  #fault(code: Fault['code'], text: string, place: Place = {}): void {
    if (this.state.faults.length < maxFaults) this.state.faults.push({ code, text, ...place });
  }

  #header({ tenant, after }: Extract<LogRecord, { header: unknown }>['header']): void {
    const { state } = this;
    state.tenant = tenant;
    if (after === null) return;
    const key = this.#keys.find((one) => isSignedBy(after.checkpoint, one));
    state.tree = { size: after.checkpoint.n, peaks: after.peaks.map(hex) };
    if (key === undefined || rootOf(state.tree).toString('hex') !== after.checkpoint.root) this.#fault('checkpoint-forged', 'The checkpoint before this part is not signed with this key, or was altered.', { checkpoint: after.checkpoint.n });
    state.last = after.checkpoint;
    state.key = key?.export({ type: 'spki', format: 'der' }).toString('base64') ?? '';
  }

  #checkpoint(c: Checkpoint, marks: Buffer): void {
    this.#closeBatch();
    const { state } = this;
    const { last } = state;
    const place = { checkpoint: c.n, to: c.at };
    state.checkpoints += 1;
    if (state.tail || c.n !== (last?.n ?? 0) + 1) this.#fault('checkpoint-missing', `Checkpoint ${c.n} follows ${last?.n ?? 0}: some are missing, or stand elsewhere.`, { ...place, checkpoint: (last?.n ?? 0) + 1 });
    const expected = last === undefined ? this.#keys : [keyOf(last.next ?? state.key ?? '')];
    const key = expected.find((one) => fingerprint(one) === c.key);
    if (key === undefined) this.#fault('checkpoint-forged', 'The checkpoint names a key that is not that of the trail.', place);
    else if (!isSignedBy(c, key) || c.tenant !== state.tenant) this.#fault('checkpoint-altered', 'The checkpoint is not what was signed.', place);
    else if (c.prev !== (last === undefined ? zeros : hashOfCheckpoint(last))) this.#fault('checkpoint-rewritten', 'The checkpoint does not follow the one before it.', place);
    for (const witness of this.#witnesses) if (witness.n === c.n && hashOfCheckpoint(witness) !== hashOfCheckpoint(c)) this.#fault('checkpoint-rewritten', 'Another checkpoint of this number was given: the trail was written anew.', place);
    if (sha256(marks).toString('hex') !== c.marks) this.#fault('checkpoint-altered', 'What is kept beside the checkpoint was altered.', place);
    grow(state.tree, leafOfBatch(c.batch, sizeOfBatch(c)));
    if (key !== undefined && rootOf(state.tree).toString('hex') !== c.root) this.#fault('checkpoint-rewritten', 'The tree of the checkpoint does not continue the one before it.', place);
    state.key = key?.export({ type: 'spki', format: 'der' }).toString('base64') ?? state.key ?? this.#keys[0]!.export({ type: 'spki', format: 'der' }).toString('base64');
    state.last = c;
    state.seenKeys.add(state.key);
    const { purge } = state;
    if (purge !== undefined && c.n >= purge.tombstone.from && c.n <= purge.tombstone.to) {
      this.#removed(purge, c);
      return;
    }
    delete state.purge;
    state.batch = { checkpoint: c, marks, marksAt: 0, range: 0, n: c.blocks[0]?.[1] ?? 0, tree: { size: 0, peaks: [] }, faultsBefore: state.faults.length };
  }

  #tombstone(tombstone: Tombstone): void {
    this.#closeBatch();
    const { state } = this;
    if (state.tail || tombstone.from <= (state.purged.at(-1)?.to ?? 0) || (state.last !== undefined && tombstone.from > state.last.n + 1)) this.#fault('tombstone-wrong', 'The tombstone does not belong here.', { checkpoint: tombstone.from });
    state.purge = { tombstone, batches: { size: 0, peaks: [] }, blocks: 0 };
    state.purged.push(tombstone);
  }

  /** Takes a checkpoint in whose blocks were removed: what it says of them has to be what the tombstone says. */
  #removed(purge: Purge, c: Checkpoint): void {
    const { tombstone, batches } = purge;
    const place = { checkpoint: c.n, to: c.at };
    grow(batches, leafOfBatch(c.batch, sizeOfBatch(c)));
    purge.blocks += sizeOfBatch(c);
    // The streams go on after what was removed.
    for (const [stream, , last, head] of c.blocks) this.state.streams.set(stream, { n: last, hash: hex(head), at: Date.parse(c.at) });
    if (Date.parse(tombstone.at) < Date.parse(c.at) + tombstone.retentionDays * dayMs) this.#fault('purged-early', `What the checkpoint names was removed before ${tombstone.retentionDays} days had passed.`, place);
    // A part of the log may begin within what was removed.
    const isWhole = batches.size === c.n - tombstone.from + 1;
    if ((c.n === tombstone.from && hashOfCheckpoint(c) !== tombstone.first)
      || (c.n === tombstone.to && (hashOfCheckpoint(c) !== tombstone.last || c.at !== tombstone.until || (isWhole && (rootOf(batches).toString('hex') !== tombstone.batches || purge.blocks !== tombstone.blocks))))) this.#fault('tombstone-wrong', 'The tombstone is not that of these checkpoints.', place);
  }

  #block(block: LogBlock): void {
    const { state } = this;
    const at = block.id.lastIndexOf(':');
    const [stream, n] = [block.id.slice(0, at), Number(block.id.slice(at + 1))];
    const leaves = block.e.map(leafOfEntry);
    const entries: Tree = { size: 0, peaks: [] };
    for (const leaf of leaves) grow(entries, leaf);
    const root = rootOf(entries);
    const own = hashOf(state.tenant ?? '', stream, block, block.e.length, root);
    const from = iso(block.e[0]?.i.readUIntBE(0, 6) ?? block.to);
    const to = iso(block.to);
    const place: Place = { stream, block: n, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }), ...(state.tail || state.last === undefined ? {} : { checkpoint: state.last.n }) };
    const before = state.streams.get(stream);
    state.blocks += 1;
    state.entries += block.e.length;
    if (block.id !== `${stream}:${String(n).padStart(10, '0')}` || !streamPattern.test(stream)) {
      this.#fault('block-inserted', 'The block has an id that is none.', place);
      return;
    }
    const { batch } = state;
    const faults = state.faults.length;
    if (state.purge !== undefined) {
      this.#fault('block-inserted', 'The block stands where a tombstone says that it was removed.', place);
      return;
    }
    if (batch === undefined) {
      state.tailBlocks += 1;
      state.tailEntries += block.e.length;
      if (before !== undefined && n <= before.n) {
        this.#fault('block-inserted', 'The block is none of those that the checkpoints name.', place);
        return;
      }
      if (n > (before?.n ?? -1) + 1) this.#fault('block-missing', `Blocks ${(before?.n ?? -1) + 1} to ${n - 1} are missing.`, { stream, block: (before?.n ?? -1) + 1, ...(to === undefined ? {} : { to }) });
    } else if (!this.#skipTo(batch, stream, n)) {
      this.#fault('block-inserted', 'The block is none of those that the checkpoint names.', place);
      return;
    }
    const mark = batch === undefined ? undefined : nextMark(batch);
    const isOwn = own.equals(block.hash);
    const elsewhere = isOwn && block.n === n ? undefined : [stream, ...state.streams.keys()].find((other) => (other !== stream || block.n !== n) && hashOf(state.tenant ?? '', other, block, block.e.length, root).equals(block.hash));
    if (elsewhere !== undefined) this.#fault('block-misplaced', `It is block ${block.n} of stream ${elsewhere}.`, place);
    else if (mark !== undefined && !mark.hash.equals(own.subarray(0, markBytes))) this.#differs(leaves.map((leaf) => leaf.toString('latin1', 0, markBytes)), mark.entries, isOwn, place);
    else if (!isOwn) this.#fault('block-altered', 'The block is not what its hash says.', place);
    else if (mark === undefined && n > 0 && n === (before?.n ?? -1) + 1 && !block.prev.equals(before!.hash)) this.#fault('chain-broken', 'The block does not follow the block before it.', place);
    const range = batch?.checkpoint.blocks[batch.range];
    if (batch !== undefined && range !== undefined) {
      grow(batch.tree, leafOfBlock(own));
      if (n === range[2] && own.toString('hex') !== range[3] && state.faults.length === faults) this.#fault('block-rewritten', 'It is not the block that the checkpoint names.', place);
      advance(batch);
    }
    state.streams.set(stream, { n, hash: block.hash, at: block.at });
  }

  /** Tells from the marks what was done to a block. */
  #differs(actual: readonly string[], expected: readonly string[], isOwn: boolean, place: Place): void {
    const how = isOwn ? ' Its hash was computed anew, but the checkpoint cannot be.' : '';
    const entry = Array.from({ length: Math.max(actual.length, expected.length) }, (_, at) => at).find((at) => actual[at] !== expected[at]);
    if (entry === undefined) this.#fault(isOwn ? 'block-rewritten' : 'block-altered', `Its time, its place in the chain or what it says of other streams was changed.${how}`, place);
    else if (same([...actual].sort(), [...expected].sort())) this.#fault('entries-reordered', `The entries are in another order.${how}`, { ...place, entry });
    else if (actual.length === expected.length) this.#fault('entry-altered', `The entry was changed.${how}`, { ...place, entry });
    else this.#fault(actual.length < expected.length ? 'entry-missing' : 'entry-inserted', `The block has ${actual.length} entries, not ${expected.length}; here they begin to differ.${how}`, { ...place, entry });
  }

  /** Goes on to a block that the checkpoint names; those passed over are missing. @returns false if it names none */
  #skipTo(batch: Batch, stream: string, n: number): boolean {
    const { blocks } = batch.checkpoint;
    const range = blocks.findIndex(([name, first, last], at) => at >= batch.range && name === stream && n >= (at === batch.range ? batch.n : first) && n <= last);
    if (range < 0) return false;
    while (batch.range < range || batch.n < n) this.#missing(batch);
    return true;
  }

  #missing(batch: Batch): void {
    const [stream] = batch.checkpoint.blocks[batch.range]!;
    const from = iso(this.state.streams.get(stream)?.at);
    this.#fault('block-missing', 'The block is missing.', { stream, block: batch.n, checkpoint: batch.checkpoint.n, ...(from === undefined ? {} : { from }), to: batch.checkpoint.at });
    nextMark(batch);
    advance(batch);
  }

  #closeBatch(): void {
    const { batch, faults } = this.state;
    if (batch === undefined) return;
    while (batch.range < batch.checkpoint.blocks.length && faults.length < maxFaults) this.#missing(batch);
    if (faults.length === batch.faultsBefore && rootOf(batch.tree).toString('hex') !== batch.checkpoint.batch) this.#fault('block-rewritten', 'The blocks are not those of the checkpoint.', { checkpoint: batch.checkpoint.n });
    delete this.state.batch;
  }
}

/** The first bytes of the hashes of the next block and of its entries. */
function nextMark(batch: Batch): { hash: Buffer; entries: string[] } {
  const { marks, marksAt } = batch;
  const count = marksAt + 4 <= marks.length ? Math.min(marks.readUInt32BE(marksAt), marks.length) : 0;
  const at = marksAt + 4 + markBytes;
  batch.marksAt = at + count * markBytes;
  return { hash: marks.subarray(at - markBytes, at), entries: Array.from({ length: count }, (_, i) => marks.toString('latin1', at + i * markBytes, at + (i + 1) * markBytes)) };
}

function advance(batch: Batch): void {
  batch.n += 1;
  if (batch.n <= batch.checkpoint.blocks[batch.range]![2]) return;
  batch.range += 1;
  batch.n = batch.checkpoint.blocks[batch.range]?.[1] ?? 0;
}
