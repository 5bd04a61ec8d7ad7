import { createHash, createPublicKey, hash, verify as verifySignature, type KeyObject } from 'node:crypto';

/*
 * The formats of the audit trail's proof, and the arithmetic behind them. This folder needs nothing but Node: it is the
 * separate verifier, and the server writes what it reads. Nothing is opened: what is hashed is what is stored, sealed.
 */

// Merkle trees: RFC 9162, section 2.1 (https://www.rfc-editor.org/rfc/rfc9162#section-2.1)

const leafPrefix = Buffer.from([0]);
const nodePrefix = Buffer.from([1]);
/** SHA-256 over bytes, one after the other. */
export const sha256 = (...parts: readonly Uint8Array[]): Buffer => hash('sha256', Buffer.concat(parts), 'buffer');
/** Hash of an inner node. */
export const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer => sha256(nodePrefix, left, right);

/** A tree of which only the roots of its complete subtrees are kept, largest first: one for each bit of `size`. */
export interface Tree {
  size: number;
  peaks: Buffer[];
}

/** Adds a leaf hash at the end. */
export function grow(tree: Tree, leaf: Buffer): void {
  let node = leaf;
  for (let size = tree.size; size % 2 === 1; size = (size - 1) / 2) node = nodeHash(tree.peaks.pop()!, node);
  tree.peaks.push(node);
  tree.size += 1;
}

/** Merkle tree hash of all leaves. */
export function rootOf(tree: Tree): Buffer {
  return tree.size === 0 ? sha256() : tree.peaks.reduceRight((right, left) => nodeHash(left, right));
}

/** Root that an inclusion path leads to (section 2.1.3.2); undefined if the path does not fit the place. */
export function rootFromPath(leaf: Buffer, index: number, size: number, path: readonly Buffer[]): Buffer | undefined {
  if (index >= size) return undefined;
  let [at, last, root] = [index, size - 1, leaf];
  for (const step of path) {
    if (last === 0) return undefined;
    if (at % 2 === 1 || at === last) {
      root = nodeHash(step, root);
      for (; at % 2 === 0 && at !== 0; at /= 2) last = Math.floor(last / 2);
    } else root = nodeHash(root, step);
    [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  }
  return last === 0 ? root : undefined;
}

/** Whether a path shows that the tree of `size` leaves begins with the tree of `earlier` leaves (section 2.1.4.2). */
export function isConsistent(earlier: number, earlierRoot: Buffer, size: number, root: Buffer, path: readonly Buffer[]): boolean {
  if (earlier < 1 || earlier > size) return false;
  if (earlier === size) return path.length === 0 && earlierRoot.equals(root);
  const steps = Number.isInteger(Math.log2(earlier)) ? [earlierRoot, ...path] : [...path];
  let [at, last] = [earlier - 1, size - 1];
  for (; at % 2 === 1; at = (at - 1) / 2) last = Math.floor(last / 2);
  const first = steps.shift();
  if (first === undefined) return false;
  let [before, after] = [first, first];
  for (const step of steps) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      [before, after] = [nodeHash(step, before), nodeHash(step, after)];
      for (; at % 2 === 0 && at !== 0; at /= 2) last = Math.floor(last / 2);
    } else after = nodeHash(after, step);
    [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  }
  return last === 0 && before.equals(earlierRoot) && after.equals(root);
}

// What is stored

/** An entry as it is stored: id (16 bytes), tokens (12 each), sealed record; `r` if a sweep wrote it. */
export interface Entry { readonly i: Buffer; readonly x: readonly Buffer[]; readonly b: Buffer; readonly r?: true }
/** A block as it is stored. */
export interface LogBlock {
  /** `<stream>:<number, 10 digits>`. */
  readonly id: string;
  readonly n: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly to: number;
  readonly heads: readonly (readonly [stream: string, n: number, hash: string])[] | null;
  readonly prev: Buffer;
  readonly hash: Buffer;
  readonly e: readonly Entry[];
}
/** A signed statement of everything that the trail held. Hashes and keys in hex. */
export interface Checkpoint {
  readonly format: 'interlock-audit-checkpoint-2';
  readonly tenant: string;
  /** Its number, from 1: also the size of the tree. */
  readonly n: number;
  readonly at: string;
  /** What came since the checkpoint before: blocks `first` to `last` of a stream, and the hash of the last. */
  readonly blocks: readonly (readonly [stream: string, first: number, last: number, hash: string])[];
  /** Merkle tree hash over those blocks: this checkpoint's leaf of the tree. */
  readonly batch: string;
  /** SHA-256 over the first bytes of their hashes, which are kept beside it to tell what was altered. */
  readonly marks: string;
  /** Entries up to here. */
  readonly entries: number;
  /** Merkle tree hash over the batches of all checkpoints up to this. */
  readonly root: string;
  /** SHA-256 of the checkpoint before. */
  readonly prev: string;
  /** SHA-256 of the signer's public key (SPKI, DER). */
  readonly key: string;
  /** The key (SPKI, DER, base64) that signs from the next checkpoint on. */
  readonly next: string | null;
  /** Ed25519 (RFC 8032), base64. */
  readonly signature: string;
}

/**
 * A signed statement that what checkpoints `from` to `to` name was removed because it was due. The checkpoints stay: each has
 * the root over its blocks, and the hash that the next block of each stream follows.
 */
export interface Tombstone {
  readonly format: 'interlock-audit-tombstone-1';
  readonly tenant: string;
  readonly from: number;
  readonly to: number;
  /** Hashes of checkpoints `from` and `to`. */
  readonly first: string;
  readonly last: string;
  /** Merkle tree hash over their batches. */
  readonly batches: string;
  readonly blocks: number;
  readonly entries: number;
  /** When checkpoint `to` was made: nothing that was removed is younger. */
  readonly until: string;
  /** SHA-256 of the segment file that was removed, which reads as an export. */
  readonly segment: string;
  /** How long entries are kept, on what ground, and when they were removed. */
  readonly retentionDays: number;
  readonly basis: string;
  readonly at: string;
  /** Legal holds in force then, none of which covers what was removed: their number, and SHA-256 over them. */
  readonly holds: readonly [count: number, hash: string];
  readonly key: string;
  /** Ed25519 (RFC 8032), base64. */
  readonly signature: string;
}

export const markBytes = 4;
export const zeros = '0'.repeat(64);
export const streamPattern = /^[A-Za-z0-9_-]{1,64}$/;
export const isHash = (value: unknown): boolean => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
export const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
export const same = (value: unknown, other: unknown): boolean => JSON.stringify(value) === JSON.stringify(other);
export const hex = (text: string): Buffer => Buffer.from(text, 'hex');

/** Leaf hash of an entry. */
export function leafOfEntry({ i, x, b, r }: Entry): Buffer {
  const head = Buffer.alloc(5);
  head[0] = r === true ? 1 : 0;
  head.writeUInt32BE(x.length, 1);
  return sha256(leafPrefix, i, head, ...x, b);
}

/** Hash of a block that has `entries` entries with this root. */
export function hashOf(tenant: string, stream: string, block: Pick<LogBlock, 'n' | 'at' | 'to' | 'heads' | 'prev'>, entries: number, entriesRoot: Buffer): Buffer {
  return sha256(Buffer.from(JSON.stringify(['interlock-audit-block-1', tenant, stream, block.n, block.at, block.to, entries, block.heads])), block.prev, entriesRoot);
}

/** Leaf of a block in its checkpoint's batch, and of a batch in the tree. */
export const leafOfBlock = (blockHash: Buffer): Buffer => sha256(leafPrefix, Buffer.from('block'), blockHash);
export const leafOfBatch = (batch: string, blocks: number): Buffer => sha256(leafPrefix, Buffer.from(`batch of ${blocks}:`), hex(batch));
export const sizeOfBatch = (c: Pick<Checkpoint, 'blocks'>): number => c.blocks.reduce((sum, [, first, last]) => sum + last - first + 1, 0);

/** What a checkpoint's signature is over: its fields in fixed order. */
export function signedBytes(c: Omit<Checkpoint, 'signature'>): Buffer {
  return Buffer.from(JSON.stringify([c.format, c.tenant, c.n, c.at, c.blocks, c.batch, c.marks, c.entries, c.root, c.prev, c.key, c.next]));
}

export const hashOfCheckpoint = (c: Checkpoint): string => sha256(signedBytes(c), Buffer.from(c.signature)).toString('hex');
export const fingerprint = (key: KeyObject): string => createHash('sha256').update(key.export({ type: 'spki', format: 'der' })).digest('hex');
export const isSignedBy = (c: Checkpoint, key: KeyObject): boolean => c.key === fingerprint(key) && verifySignature(null, signedBytes(c), key, Buffer.from(c.signature, 'base64'));

/** What a tombstone's signature is over. */
export function tombstoneBytes(t: Omit<Tombstone, 'signature'>): Buffer {
  return Buffer.from(JSON.stringify([t.format, t.tenant, t.from, t.to, t.first, t.last, t.batches, t.blocks, t.entries, t.until, t.segment, t.retentionDays, t.basis, t.at, t.holds, t.key]));
}

const tombstoneFields = ['format', 'tenant', 'from', 'to', 'first', 'last', 'batches', 'blocks', 'entries', 'until', 'segment', 'retentionDays', 'basis', 'at', 'holds', 'key', 'signature'];

/** Whether something has the form of a tombstone, whatever it says. */
export function isTombstone(value: unknown): value is Tombstone {
  if (typeof value !== 'object' || value === null || !same(Object.keys(value), tombstoneFields)) return false;
  const t = value as Tombstone;
  return t.format === 'interlock-audit-tombstone-1' && typeof t.tenant === 'string' && typeof t.basis === 'string' && [t.from, t.to, t.blocks, t.entries, t.retentionDays].every(isCount) && t.from > 0 && t.from <= t.to
    && [t.first, t.last, t.batches, t.segment, t.key].every(isHash) && [t.until, t.at].every(isTime) && Array.isArray(t.holds) && t.holds.length === 2 && isCount(t.holds[0]) && isHash(t.holds[1]) && isBase64(t.signature);
}

/** Every public key in a PEM file. */
export function keysOf(pem: string): KeyObject[] {
  return (pem.match(/-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g) ?? []).map((one) => createPublicKey(one));
}

const checkpointFields = ['format', 'tenant', 'n', 'at', 'blocks', 'batch', 'marks', 'entries', 'root', 'prev', 'key', 'next', 'signature'];

/** Whether something has the form of a checkpoint, whatever it says. */
export function isCheckpoint(value: unknown): value is Checkpoint {
  if (typeof value !== 'object' || value === null || !same(Object.keys(value), checkpointFields)) return false;
  const c = value as Checkpoint;
  return c.format === 'interlock-audit-checkpoint-2' && typeof c.tenant === 'string' && isCount(c.n) && c.n > 0 && isTime(c.at) && isCount(c.entries)
    && [c.batch, c.marks, c.root, c.prev, c.key].every(isHash) && (c.next === null || isBase64(c.next)) && isBase64(c.signature)
    && Array.isArray(c.blocks) && c.blocks.every((range: readonly unknown[]) => Array.isArray(range) && range.length === 4 && streamPattern.test(String(range[0])) && typeof range[0] === 'string' && isCount(range[1]) && isCount(range[2]) && Number(range[1]) <= Number(range[2]) && isHash(range[3]));
}

// The export: lines of JSON, each exactly as JSON.stringify writes it

/** One line of an export. A checkpoint stands before its blocks, a tombstone before the checkpoints whose blocks are gone; what follows `unanchored` is in none. */
export type LogRecord =
  | { readonly header: { readonly format: 'interlock-audit-export-1'; readonly tenant: string; readonly after: { readonly checkpoint: Checkpoint; readonly peaks: readonly string[] } | null } }
  | { readonly tombstone: Tombstone }
  | { readonly checkpoint: Checkpoint; readonly marks: Buffer }
  | { readonly block: LogBlock }
  | { readonly unanchored: true }
  | { readonly unreadable: string }
  | { readonly end: { readonly blocks: number; readonly checkpoints: number } };

/** Reads a line. Whatever is not exactly as it was written becomes `unreadable`. */
export function parseLine(line: string): LogRecord {
  try {
    const value = JSON.parse(line) as Record<string, unknown>;
    if (JSON.stringify(value) !== line) return { unreadable: 'The line is not as it was written.' };
    const { header, checkpoint, marks, block, end } = value as { header?: { format: string; tenant: string; after: { checkpoint: Checkpoint; peaks: string[] } | null }; checkpoint?: unknown; marks?: string; block?: unknown; end?: { blocks: number; checkpoints: number } };
    const is = (...fields: string[]): boolean => same(Object.keys(value), fields);
    if (is('header') && header?.format === 'interlock-audit-export-1' && typeof header.tenant === 'string' && (header.after === null || (isCheckpoint(header.after.checkpoint) && header.after.peaks.every(isHash)))) return value as LogRecord;
    if (is('checkpoint', 'marks') && isCheckpoint(checkpoint) && isBase64(marks)) return { checkpoint, marks: Buffer.from(marks!, 'base64') };
    if (is('tombstone') && isTombstone(value['tombstone'])) return { tombstone: value['tombstone'] };
    if (is('unanchored') && value['unanchored'] === true) return { unanchored: true };
    if (is('unreadable') && typeof value['unreadable'] === 'string') return { unreadable: value['unreadable'] };
    if (is('end') && isCount(end?.blocks) && isCount(end?.checkpoints)) return { end: end! };
    const read = is('block') ? blockOf(block) : undefined;
    if (read !== undefined) return { block: read };
  } catch {
    // Told below.
  }
  return { unreadable: 'The line is not as it was written.' };
}

const blockFields = ['id', 'n', 'at', 'to', 'heads', 'prev', 'hash', 'e'];

function blockOf(value: unknown): LogBlock | undefined {
  const { id, n, at, to, heads, prev, hash: own, e } = value as { [Field in Exclude<keyof LogBlock, 'e'>]: never } & { e: unknown };
  if (!same(Object.keys(value as object), blockFields) || typeof id !== 'string' || ![n, at, to].every(isCount) || !isHash(prev) || !isHash(own) || !Array.isArray(e)) return undefined;
  const entries = e.map(entryOf);
  return entries.includes(undefined) ? undefined : { id, n, at, to, heads, prev: hex(prev), hash: hex(own), e: entries as Entry[] };
}

/** `[id, tokens, sealed, recovered]`. */
export function entryOf(value: unknown): Entry | undefined {
  const [i, x, b, r, ...more] = value as [string, string, string, number];
  if (more.length > 0 || !/^[0-9a-f]{32}$/.test(i) || !isBase64(x) || !isBase64(b) || (r !== 0 && r !== 1)) return undefined;
  const tokens = Buffer.from(x, 'base64');
  if (tokens.length % 12 !== 0) return undefined;
  return { i: hex(i), x: Array.from({ length: tokens.length / 12 }, (_, at) => tokens.subarray(at * 12, at * 12 + 12)), b: Buffer.from(b, 'base64'), ...(r === 1 ? { r: true } : {}) };
}

const isTime = (text: unknown): boolean => typeof text === 'string' && !Number.isNaN(Date.parse(text)) && new Date(text).toISOString() === text;
const isBase64 = (text: unknown): boolean => typeof text === 'string' && Buffer.from(text, 'base64').toString('base64') === text;
