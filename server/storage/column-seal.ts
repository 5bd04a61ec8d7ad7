import { createCipheriv, randomBytes, type KeyObject } from 'node:crypto';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';

const nonceBytes = 12;
const blockBytes = 16;

/**
 * Seals columns with AES-256-CTR (NIST SP 800-38A) under a random nonce of their own. CTR, so that the columns of many
 * documents open with one cipher call; that they are unaltered, the document's MAC says when it is opened.
 *
 * @returns length of the key id (1 byte), key id, nonce (12), ciphertext
 */
export function sealColumns(keyring: Keyring, tenant: string, columns: Buffer): Buffer {
  const { id, key } = keyring.sealKey('columns', tenant);
  const nonce = nextNonce();
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.concat([nonce, Buffer.alloc(4)]));
  return Buffer.concat([Buffer.from([id.length]), Buffer.from(id, 'latin1'), nonce, cipher.update(columns)]);
}

/** Opens the columns of many documents; keys that another process made are fetched. @throws InterlockError `integrity-failure`, `key-missing` */
export async function openColumns(keyring: Keyring, sealed: readonly Buffer[]): Promise<Buffer[]> {
  const byKey = new Map<string, number[]>();
  for (const [index, blob] of sealed.entries()) {
    if (blob.length < 1 + blob[0]! + nonceBytes) throw new InterlockError('integrity-failure');
    const id = blob.toString('latin1', 1, 1 + blob[0]!);
    const own = byKey.get(id);
    if (own === undefined) byKey.set(id, [index]);
    else own.push(index);
  }
  const opened = new Array<Buffer>(sealed.length);
  for (const [id, indexes] of byKey) {
    if (!keyring.holds(id)) await keyring.load(id);
    openUnder(keyring.keyById(id), 1 + id.length, sealed, indexes, opened);
  }
  return opened;
}

/** One call of the bare cipher over all counter blocks gives the key stream of all documents. */
function openUnder(key: KeyObject, headBytes: number, sealed: readonly Buffer[], indexes: readonly number[], opened: Buffer[]): void {
  const contentBytes = (index: number): number => sealed[index]!.length - headBytes - nonceBytes;
  let blocks = 0;
  for (const index of indexes) blocks += Math.ceil(contentBytes(index) / blockBytes);
  const counters = Buffer.alloc(blocks * blockBytes);
  let at = 0;
  for (const index of indexes) {
    const count = Math.ceil(contentBytes(index) / blockBytes);
    for (let counter = 0; counter < count; counter += 1, at += blockBytes) {
      sealed[index]!.copy(counters, at, headBytes, headBytes + nonceBytes);
      counters.writeUInt32BE(counter, at + nonceBytes);
    }
  }
  const cipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
  const stream = cipher.update(counters);
  at = 0;
  for (const index of indexes) {
    const bytes = contentBytes(index);
    const content = stream.subarray(at, at + bytes);
    const blob = sealed[index]!;
    const from = headBytes + nonceBytes;
    for (let offset = 0; offset < bytes; offset += 1) content[offset]! ^= blob[from + offset]!;
    opened[index] = content;
    at += Math.ceil(bytes / blockBytes) * blockBytes;
  }
}

// Random nonces are drawn from a pool: one system call for many.
let pool = Buffer.alloc(0);
let poolOffset = 0;

function nextNonce(): Buffer {
  if (poolOffset >= pool.length) {
    pool = randomBytes(nonceBytes * 512);
    poolOffset = 0;
  }
  poolOffset += nonceBytes;
  return pool.subarray(poolOffset - nonceBytes, poolOffset);
}
