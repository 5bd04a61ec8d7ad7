import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import { writeFileAtomic } from '../pki/files.ts';
import { fingerprint, keysOf } from './standalone/format.ts';

/** A key that signs checkpoints (Ed25519, RFC 8032). */
export interface SigningKey {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** SHA-256 of the public key (SPKI, DER), hex. */
  readonly fingerprint: string;
}

const keyFileName = 'audit-signing.key';
const nextFileName = 'audit-signing-next.key';
const publicFileName = 'audit-signing.pub';
const keyAad = 'checkpoint-signing-key';

/**
 * The installation's signing keys in the keys directory: `audit-signing.key` (sealed), during a rotation
 * `audit-signing-next.key`, and `audit-signing.pub`: every public key there ever was, PEM, oldest first.
 */
export class Signer {
  readonly #keysDir: string;
  readonly #keyring: Keyring;
  readonly #tenant: string;
  #current: SigningKey | undefined;

  constructor(options: { readonly keysDir: string; readonly keyring: Keyring; readonly tenant: string }) {
    this.#keysDir = options.keysDir;
    this.#keyring = options.keyring;
    this.#tenant = options.tenant;
  }

  /** Every public key, PEM, oldest first. */
  publicKeys(): string {
    return readFileSync(this.#path(publicFileName), 'utf8');
  }

  /**
   * The key to sign with.
   * @param expected fingerprint of the key that the last checkpoint names; undefined before the first: then one is made
   * @throws InterlockError `key-wrong` if none in the keys directory is that key
   */
  async key(expected: string | undefined): Promise<SigningKey> {
    if (this.#current !== undefined && (expected ?? this.#current.fingerprint) === this.#current.fingerprint) return this.#current;
    if (expected === undefined && !existsSync(this.#path(keyFileName))) this.#make(keyFileName);
    for (const name of [keyFileName, nextFileName]) {
      if (!existsSync(this.#path(name))) continue;
      const key = await this.#open(name);
      if ((expected ?? key.fingerprint) !== key.fingerprint) continue;
      // The checkpoint that announces it is stored: from here on the old one signs nothing.
      if (name === nextFileName) renameSync(this.#path(nextFileName), this.#path(keyFileName));
      this.#publish(key.publicKey);
      this.#current = key;
      return key;
    }
    throw new InterlockError('key-wrong', { detail: 'The keys directory does not hold the key that the last checkpoint of the audit trail names.' });
  }

  /** The key that takes over with the next checkpoint but one; made now, or left by a rotation that did not come to its end. */
  async next(): Promise<SigningKey> {
    if (!existsSync(this.#path(nextFileName))) this.#make(nextFileName);
    return this.#open(nextFileName);
  }

  #make(name: string): void {
    const { privateKey } = generateKeyPairSync('ed25519');
    writeFileAtomic(this.#path(name), this.#keyring.sealBlob('audit', privateKey.export({ type: 'pkcs8', format: 'der' }), keyAad, this.#tenant));
  }

  async #open(name: string): Promise<SigningKey> {
    try {
      const privateKey = createPrivateKey({ key: await this.#keyring.openBlob('audit', readFileSync(this.#path(name)), keyAad, this.#tenant), type: 'pkcs8', format: 'der' });
      const publicKey = createPublicKey(privateKey);
      return { privateKey, publicKey, fingerprint: fingerprint(publicKey) };
    } catch (cause) {
      throw new InterlockError('key-wrong', { detail: `${name} does not open.`, cause });
    }
  }

  #publish(publicKey: KeyObject): void {
    const file = this.#path(publicFileName);
    const known = existsSync(file) ? readFileSync(file, 'utf8') : '';
    if (keysOf(known).some((one) => one.equals(publicKey))) return;
    writeFileAtomic(file, known + publicKey.export({ type: 'spki', format: 'pem' }).toString(), 0o644);
  }

  #path(name: string): string {
    return join(this.#keysDir, name);
  }
}
