import { hash } from 'node:crypto';
import type { Keyring } from '../kms/keyring.ts';

/** One audit entry as it stands in a block. */
export interface BlockEntry {
  /** Entry id: 16 bytes, ordered by the time of the event. */
  readonly i: Buffer;
  /** Blind search tokens, 12 bytes each. */
  readonly x: readonly Buffer[];
  /** The sealed record. */
  readonly b: Buffer;
  /** Written by a sweep in place of a process that had only prepared it. */
  readonly r?: true;
}

/** The last block of a stream. */
export interface Head {
  readonly stream: string;
  readonly n: number;
  /** SHA-256 of that block. */
  readonly hash: Buffer;
}

/** One flush (or a part of it) as it is stored: a link of its stream's hash chain. */
export interface Block {
  /** `<stream>:<n, 10 digits>`. */
  readonly _id: string;
  readonly n: number;
  /** When it was written. Never runs backwards within a stream. */
  readonly at: Date;
  /** Time of its newest entry; the oldest is at most {@link windowMs} older. */
  readonly to: Date;
  /** In the order of their ids. */
  readonly e: readonly BlockEntry[];
  /** Hash of the stream's previous block; zeros for the first. */
  readonly prev: Buffer;
  /** See {@link hashOfBlock}. */
  readonly hash: Buffer;
  /** HMAC over the hash: a chain cannot be computed anew without the key. */
  readonly mac: Buffer;
  /** Only in a stream's first block: the heads of streams that no earlier opening names at that position. */
  readonly heads?: readonly Head[];
}

/** What {@link sealBlock} completes. */
export type BlockContent = Pick<Block, 'n' | 'at' | 'to' | 'e' | 'prev' | 'heads'> & { readonly stream: string };

/** Longest time that the entries of one block span. */
export const windowMs = 10_000;

/** `prev` of a stream's first block. */
export const noBlock: Buffer = Buffer.alloc(32);

/** Names of streams: no separator, no sign that sorts between a stream and its blocks. */
export const streamPattern = /^[A-Za-z0-9_-]{1,64}$/;

export function blockId(stream: string, n: number): string {
  return `${stream}:${String(n).padStart(10, '0')}`;
}

export function streamOf(id: string): string {
  return id.slice(0, id.lastIndexOf(':'));
}

const leafPrefix = Buffer.from([0]);
const nodePrefix = Buffer.from([1]);
const flagsOriginal = Buffer.from([0]);
const flagsRecovered = Buffer.from([1]);

/** Leaf hash of an entry as it is stored (ciphertext), in the manner of RFC 9162, section 2.1.1. */
export function leafHash(entry: BlockEntry): Buffer {
  const count = Buffer.alloc(4);
  count.writeUInt32BE(entry.x.length);
  return hash('sha256', Buffer.concat([leafPrefix, entry.i, entry.r === true ? flagsRecovered : flagsOriginal, count, ...entry.x, entry.b]), 'buffer');
}

/** Merkle tree hash over leaf hashes (RFC 9162, section 2.1.1), so that one entry can be proved without its block. */
export function merkleRoot(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return hash('sha256', Buffer.alloc(0), 'buffer');
  let level = leaves;
  // Pairing neighbours and carrying an odd last one up gives the same tree as splitting at the largest power of two.
  while (level.length > 1) {
    const above: Buffer[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const left = level[i]!;
      const right = level[i + 1];
      above.push(right === undefined ? left : hash('sha256', Buffer.concat([nodePrefix, left, right]), 'buffer'));
    }
    level = above;
  }
  return level[0]!;
}

/** SHA-256 over everything in a block but its hash and MAC. Needs no key: ciphertext, ids, tokens and times are what is hashed. */
export function hashOfBlock(tenant: string, content: BlockContent): Buffer {
  const heads = content.heads?.map((head) => [head.stream, head.n, head.hash.toString('hex')]);
  const header = JSON.stringify(['interlock-audit-block-1', tenant, content.stream, content.n, content.at.getTime(), content.to.getTime(), content.e.length, heads ?? null]);
  return hash('sha256', Buffer.concat([Buffer.from(header), content.prev, merkleRoot(content.e.map(leafHash))]), 'buffer');
}

/** HMAC over a block's hash. */
export function macOfBlock(keyring: Keyring, tenant: string, blockHash: Buffer): Buffer {
  return keyring.mac('audit-block', [blockHash], 32, tenant);
}

/** Completes a block with its id, hash and MAC. */
export function sealBlock(keyring: Keyring, tenant: string, content: BlockContent): Block {
  const { stream, ...fields } = content;
  const blockHash = hashOfBlock(tenant, content);
  return { _id: blockId(stream, content.n), ...fields, hash: blockHash, mac: macOfBlock(keyring, tenant, blockHash) };
}
