import { createCipheriv, createDecipheriv, randomFillSync, type KeyObject } from 'node:crypto';
import { InterlockError } from '../../resources/outcome/error.ts';

const nonceBytes = 12;
const tagBytes = 16;

/** Bytes that {@link seal} adds to a plaintext. */
export const sealOverheadBytes = nonceBytes + tagBytes;

// Random nonces are drawn from a pool: one system call for many seals.
const pool = Buffer.alloc(nonceBytes * 512);
let poolOffset = pool.length;

function nextNonce(): Buffer {
  if (poolOffset === pool.length) {
    randomFillSync(pool);
    poolOffset = 0;
  }
  const nonce = Buffer.from(pool.subarray(poolOffset, poolOffset + nonceBytes));
  poolOffset += nonceBytes;
  return nonce;
}

/**
 * Seals bytes with AES-256-GCM under a fresh random nonce (NIST SP 800-38D, section 8.2.2).
 *
 * @returns nonce (12 bytes), ciphertext, tag (16 bytes)
 */
export function seal(key: KeyObject, plaintext: Uint8Array, aad: string | Uint8Array): Buffer {
  const nonce = nextNonce();
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(typeof aad === 'string' ? Buffer.from(aad) : aad);
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/**
 * Opens what {@link seal} made.
 *
 * @throws InterlockError `integrity-failure` when key, additional data or ciphertext do not belong together
 */
export function open(key: KeyObject, sealed: Uint8Array, aad: string | Uint8Array): Buffer {
  if (sealed.length < sealOverheadBytes) throw new InterlockError('integrity-failure');
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, nonceBytes));
  decipher.setAAD(typeof aad === 'string' ? Buffer.from(aad) : aad);
  decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes));
  const head = decipher.update(sealed.subarray(nonceBytes, sealed.length - tagBytes));
  try {
    decipher.final();
  } catch (cause) {
    throw new InterlockError('integrity-failure', { cause });
  }
  return head;
}
