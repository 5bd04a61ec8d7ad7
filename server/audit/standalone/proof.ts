import type { KeyObject } from 'node:crypto';
import { entryOf, grow, hashOf, hex, isCheckpoint, isConsistent, isCount, isHash, isSignedBy, leafOfBatch, leafOfBlock, leafOfEntry, rootFromPath, rootOf, same, streamPattern, type Checkpoint } from './format.ts';

/** Proves that an entry stands in the trail that a checkpoint signs, without opening it and without anything else of the trail. */
export interface InclusionProof {
  readonly format: 'interlock-audit-proof-1';
  /** Id, tokens and sealed record (base64), 1 if a sweep wrote it. */
  readonly entry: readonly [id: string, tokens: string, sealed: string, recovered: 0 | 1];
  /** The block without its entries: their number, the place of this one, and the path from its leaf to their root. */
  readonly block: { readonly stream: string; readonly n: number; readonly at: number; readonly to: number; readonly heads: readonly (readonly [string, number, string])[] | null; readonly prev: string; readonly size: number; readonly index: number; readonly path: readonly string[] };
  /** From the block to the batch of the checkpoint that first had it. */
  readonly batch: { readonly size: number; readonly index: number; readonly path: readonly string[] };
  /** From the batch to the root of the checkpoint below: its number is the tree's size. */
  readonly tree: { readonly index: number; readonly path: readonly string[] };
  readonly checkpoint: Checkpoint;
  /** The record as whoever has the keys reads it; not part of what is proved. */
  readonly opened?: unknown;
}

/** Proves that what a checkpoint signed is still the beginning of what a later one signs. */
export interface ConsistencyProof {
  readonly format: 'interlock-audit-consistency-1';
  readonly from: Checkpoint;
  readonly to: Checkpoint;
  readonly path: readonly string[];
}

const maxPath = 64;
const isPath = (value: unknown): value is string[] => Array.isArray(value) && value.length <= maxPath && value.every(isHash);
const has = (value: unknown, ...fields: string[]): boolean => typeof value === 'object' && value !== null && same(Object.keys(value), fields);

/** Checks either kind of proof. Only what was made by the server, byte for byte, is accepted. */
export function checkProof(value: unknown, keys: readonly KeyObject[]): { readonly ok: boolean; readonly text: string } {
  try {
    const { format } = value as { format?: unknown };
    if (format === 'interlock-audit-proof-1') return inclusion(value as InclusionProof, keys);
    if (format === 'interlock-audit-consistency-1') return consistency(value as ConsistencyProof, keys);
  } catch {
    // Of another form.
  }
  return refused('it is none, or damaged');
}

function refused(why: string): { ok: false; text: string } {
  return { ok: false, text: `NOT PROVED: ${why}.` };
}

function isVouched(checkpoint: unknown, keys: readonly KeyObject[]): checkpoint is Checkpoint {
  return isCheckpoint(checkpoint) && keys.some((key) => isSignedBy(checkpoint, key));
}

function inclusion(proof: InclusionProof, keys: readonly KeyObject[]): { ok: boolean; text: string } {
  const { entry: given, block, batch, tree, checkpoint, opened } = proof;
  const formed = has(proof, 'format', 'entry', 'block', 'batch', 'tree', 'checkpoint', ...(opened === undefined ? [] : ['opened']))
    && has(block, 'stream', 'n', 'at', 'to', 'heads', 'prev', 'size', 'index', 'path') && streamPattern.test(block.stream) && isHash(block.prev)
    && has(batch, 'size', 'index', 'path') && has(tree, 'index', 'path')
    && [block.n, block.at, block.to, block.size, block.index, batch.size, batch.index, tree.index].every(isCount) && [block.path, batch.path, tree.path].every(isPath);
  const entry = formed ? entryOf(given) : undefined;
  if (entry === undefined) return refused('it is damaged');
  if (!isVouched(checkpoint, keys)) return refused('its checkpoint is not signed with this key, or was altered');
  const entries = rootFromPath(leafOfEntry(entry), block.index, block.size, block.path.map(hex));
  const own = entries && hashOf(checkpoint.tenant, block.stream, { ...block, prev: hex(block.prev) }, block.size, entries);
  const batchRoot = own && rootFromPath(leafOfBlock(own), batch.index, batch.size, batch.path.map(hex));
  const root = batchRoot && rootFromPath(leafOfBatch(batchRoot.toString('hex'), batch.size), tree.index, checkpoint.n, tree.path.map(hex));
  if (root?.toString('hex') !== checkpoint.root) return refused('the entry is not in the tree of the checkpoint');
  const at = new Date(entry.i.readUIntBE(0, 6)).toISOString();
  return { ok: true, text: `proved: entry ${entry.i.toString('hex')} of ${at} (stream ${block.stream}, block ${block.n}, entry ${block.index}) is in checkpoint ${checkpoint.n} of ${checkpoint.at}.` };
}

function consistency(proof: ConsistencyProof, keys: readonly KeyObject[]): { ok: boolean; text: string } {
  const { from, to, path } = proof;
  if (!has(proof, 'format', 'from', 'to', 'path') || !isPath(path)) return refused('it is damaged');
  if (!isVouched(from, keys) || !isVouched(to, keys)) return refused('a checkpoint is not signed with this key, or was altered');
  const consistent = from.tenant === to.tenant && isConsistent(from.n, hex(from.root), to.n, hex(to.root), path.map(hex));
  return consistent ? { ok: true, text: `proved: everything in checkpoint ${from.n} of ${from.at} is unchanged in checkpoint ${to.n} of ${to.at}.` } : refused('the later checkpoint does not continue the earlier one');
}

/** Inclusion path of a leaf (RFC 9162, section 2.1.3.1). */
export function pathOf(leaves: readonly Buffer[], index: number): string[] {
  return siblings(leaves, index, 0, leaves.length).map((node) => node.toString('hex'));
}

function siblings(leaves: readonly Buffer[], index: number, from: number, to: number): Buffer[] {
  if (to - from <= 1) return [];
  const middle = from + split(to - from);
  return index < middle ? [...siblings(leaves, index, from, middle), range(leaves, middle, to)] : [...siblings(leaves, index, middle, to), range(leaves, from, middle)];
}

/** Consistency path from the first `earlier` leaves to all (RFC 9162, section 2.1.4.1). */
export function consistencyPath(leaves: readonly Buffer[], earlier: number): string[] {
  const walk = (count: number, from: number, to: number, whole: boolean): Buffer[] => {
    if (count === to - from) return whole ? [] : [range(leaves, from, to)];
    const middle = from + split(to - from);
    if (count <= middle - from) return [...walk(count, from, middle, whole), range(leaves, middle, to)];
    return [...walk(count - (middle - from), middle, to, false), range(leaves, from, middle)];
  };
  return walk(earlier, 0, leaves.length, true).map((node) => node.toString('hex'));
}

/** Largest power of two below a number. */
function split(size: number): number {
  return 2 ** Math.ceil(Math.log2(size) - 1);
}

function range(leaves: readonly Buffer[], from: number, to: number): Buffer {
  const tree = { size: 0, peaks: [] as Buffer[] };
  for (let at = from; at < to; at += 1) grow(tree, leaves[at]!);
  return rootOf(tree);
}
