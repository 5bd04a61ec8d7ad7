import { createPrivateKey, createPublicKey, X509Certificate, type KeyObject } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';
import { createAuthority, type Authority } from './certificate.ts';
import { ensurePrivateDir, writeFileAtomic } from './files.ts';

/** Seals private keys for storage; the key providers of `kms` are made so. */
export interface KeyProtection {
  /** Id of the master key that wraps from now on. */
  readonly kekId: string;
  wrap(key: Buffer, context: string): Promise<Buffer>;
  unwrap(kekId: string, wrapped: Buffer, context: string): Promise<Buffer>;
}

const authorityValidDays = 3650;
const sealedSchema = z.object({ certificate: z.string(), kekId: z.string(), wrapped: z.string() });

/** A certificate and its sealed private key in one file, so that they cannot fall apart. */
export interface StoredPair {
  readonly certificatePem: string;
  readonly key: KeyObject;
}

/** Reads a pair; undefined if there is none. Seals it anew if the master key has changed. @throws InterlockError `key-wrong`, `key-missing` */
export async function readPair(path: string, context: string, protect: KeyProtection): Promise<StoredPair | undefined> {
  if (!existsSync(path)) return undefined;
  chmodSync(path, 0o600);
  let stored: z.infer<typeof sealedSchema>;
  try {
    stored = sealedSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new InterlockError('key-wrong', { detail: 'A file in pki/ of the keys directory is damaged.', cause });
  }
  const der = await protect.unwrap(stored.kekId, Buffer.from(stored.wrapped, 'base64'), context);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  if (!new X509Certificate(stored.certificate).checkPrivateKey(key)) throw new InterlockError('key-wrong', { detail: 'A certificate in pki/ of the keys directory does not fit its key.' });
  if (stored.kekId !== protect.kekId) await writePair(path, context, protect, stored.certificate, key);
  return { certificatePem: stored.certificate, key };
}

/** Stores a pair, the key sealed, mode 0600. */
export async function writePair(path: string, context: string, protect: KeyProtection, certificatePem: string, key: KeyObject): Promise<void> {
  const wrapped = await protect.wrap(key.export({ type: 'pkcs8', format: 'der' }), context);
  writeFileAtomic(path, `${JSON.stringify({ certificate: certificatePem, kekId: protect.kekId, wrapped: wrapped.toString('base64') })}\n`);
}

/**
 * Opens the internal authority, or makes it on a first start, and publishes its certificate as `pki/ca.crt` in the data
 * directory.
 *
 * @throws InterlockError `key-missing` if there is data of an authority whose key is gone; `key-wrong` if the key belongs to another
 */
export async function openAuthority(dataDir: string, keysDir: string, protect: KeyProtection): Promise<Authority> {
  ensurePrivateDir(join(keysDir, 'pki'));
  mkdirSync(join(dataDir, 'pki'), { recursive: true, mode: 0o700 });
  const sealedFile = join(keysDir, 'pki', 'ca.json');
  const publicFile = join(dataDir, 'pki', 'ca.crt');
  const context = 'interlock-pki|ca';
  const published = existsSync(publicFile) ? readFileSync(publicFile, 'utf8') : undefined;
  const stored = await readPair(sealedFile, context, protect);
  if (stored === undefined) {
    if (published !== undefined) throw new InterlockError('key-missing', { detail: 'Expected pki/ca.json in the keys directory.' });
    const made = createAuthority({ commonName: 'Interlock internal CA', validDays: authorityValidDays });
    await writePair(sealedFile, context, protect, made.certificatePem, made.key);
    writeFileAtomic(publicFile, made.certificatePem, 0o644);
    return made;
  }
  if (published === undefined) writeFileAtomic(publicFile, stored.certificatePem, 0o644);
  else if (!isSameKey(published, stored.certificatePem)) throw new InterlockError('key-wrong', { detail: 'pki/ca.crt in the data directory belongs to another authority.' });
  return stored;
}

function isSameKey(onePem: string, otherPem: string): boolean {
  try {
    return createPublicKey(onePem).equals(createPublicKey(otherPem));
  } catch {
    return false;
  }
}
