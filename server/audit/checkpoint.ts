import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection } from 'mongoose';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Block } from './block.ts';
import { readHeads } from './heads.ts';
import { auditCollection } from './trail.ts';

const checkpointSchema = z.strictObject({
  format: z.literal('interlock-audit-checkpoint-1'),
  tenant: z.string(),
  at: z.iso.datetime(),
  heads: z.array(z.strictObject({ stream: z.string(), block: z.int().nonnegative(), hash: z.string().regex(/^[0-9a-f]{64}$/) })),
  /** SHA-256 of the signer's public key (SPKI, DER), hex. */
  key: z.string().regex(/^[0-9a-f]{64}$/),
  /** Ed25519, base64. */
  signature: z.string(),
});

/**
 * Where every stream of the trail stood at a time, signed. Kept elsewhere, it shows whether blocks were cut from the end, or the
 * whole trail was written anew, since: which the trail alone cannot show.
 */
export type Checkpoint = z.infer<typeof checkpointSchema>;

/** Signs checkpoints. The public key belongs with those who verify. */
export interface CheckpointSigner {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

const keyFileName = 'audit-signing.key';
const publicFileName = 'audit-signing.pub';
const keyAad = 'checkpoint-signing-key';

/**
 * The installation's signing key (Ed25519, RFC 8032), made on first use: `audit-signing.key` (sealed) and `audit-signing.pub`
 * (PEM) in the keys directory.
 * @throws InterlockError `key-wrong` if the file does not open
 */
export async function openCheckpointSigner(options: { readonly keysDir: string; readonly keyring: Keyring; readonly tenant: string }): Promise<CheckpointSigner> {
  const { keyring, keysDir, tenant } = options;
  const file = join(keysDir, keyFileName);
  if (!existsSync(file)) {
    const pair = generateKeyPairSync('ed25519');
    writeFileSync(join(keysDir, publicFileName), pair.publicKey.export({ type: 'spki', format: 'pem' }), { mode: 0o644 });
    const der = pair.privateKey.export({ type: 'pkcs8', format: 'der' });
    // Of two processes that start at once the second finds the first one's file.
    try {
      writeFileSync(file, keyring.sealBlob('audit', der, keyAad, tenant), { mode: 0o600, flag: 'wx' });
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
  }
  try {
    const privateKey = createPrivateKey({ key: await keyring.openBlob('audit', readFileSync(file), keyAad, tenant), type: 'pkcs8', format: 'der' });
    const publicKey = createPublicKey(privateKey);
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const publicFile = join(keysDir, publicFileName);
    if (!existsSync(publicFile) || readFileSync(publicFile, 'utf8') !== pem) writeFileSync(publicFile, pem, { mode: 0o644 });
    return { privateKey, publicKey };
  } catch (cause) {
    throw new InterlockError('key-wrong', { detail: `${keyFileName} does not open.`, cause });
  }
}

/** Notes where all streams stand now, and signs it. */
export async function makeCheckpoint(options: { readonly audit: Connection; readonly tenant: string; readonly signer: CheckpointSigner; readonly nowMs?: () => number }): Promise<Checkpoint> {
  const { heads } = await readHeads(options.audit.collection<Block>(auditCollection));
  const unsigned = {
    format: 'interlock-audit-checkpoint-1' as const,
    tenant: options.tenant,
    at: new Date((options.nowMs ?? Date.now)()).toISOString(),
    heads: heads.map((head) => ({ stream: head.stream, block: head.n, hash: head.hash.toString('hex') })),
    key: fingerprintOf(options.signer.publicKey),
  };
  return { ...unsigned, signature: sign(null, signedBytes(unsigned), options.signer.privateKey).toString('base64') };
}

/**
 * Reads a checkpoint from JSON and checks its signature.
 * @throws InterlockError `integrity-failure` if it is damaged, was signed by another key or was altered
 */
export function parseCheckpoint(json: string, publicKey: KeyObject): Checkpoint {
  let checkpoint: Checkpoint;
  try {
    checkpoint = checkpointSchema.parse(JSON.parse(json));
  } catch (cause) {
    throw new InterlockError('integrity-failure', { detail: 'The checkpoint is damaged.', cause });
  }
  if (checkpoint.key !== fingerprintOf(publicKey) || !verify(null, signedBytes(checkpoint), publicKey, Buffer.from(checkpoint.signature, 'base64'))) {
    throw new InterlockError('integrity-failure', { detail: 'The checkpoint was not signed by this key, or was altered.' });
  }
  return checkpoint;
}

/** What is signed: the fields in fixed order, so that layout and order of the file do not matter. */
function signedBytes(checkpoint: Omit<Checkpoint, 'signature'>): Buffer {
  const heads = checkpoint.heads.map((head) => [head.stream, head.block, head.hash]);
  return Buffer.from(JSON.stringify([checkpoint.format, checkpoint.tenant, checkpoint.at, heads, checkpoint.key]));
}

function fingerprintOf(publicKey: KeyObject): string {
  return createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('hex');
}
