import { createHmac } from 'node:crypto';
import type { Keyring } from '../kms/keyring.ts';

/** Bytes of a blind search token. */
export const tokenBytes = 12;

/** A blind token and the number it is ordered by. */
export interface HashedToken {
  readonly token: Buffer;
  readonly rank: number;
}

const generationSize = 40_000;

/**
 * Turns token texts into blind tokens. Those in frequent use are kept, in two generations: a bounded cache that costs one
 * look-up, where hashing costs a hundred times that.
 */
export class TokenHasher {
  readonly #keyring: Keyring;
  readonly #tenant: string;
  #young = new Map<string, HashedToken>();
  #old = new Map<string, HashedToken>();

  constructor(keyring: Keyring, tenant: string) {
    this.#keyring = keyring;
    this.#tenant = tenant;
  }

  hash(label: string): HashedToken {
    let hashed = this.#young.get(label);
    if (hashed !== undefined) return hashed;
    hashed = this.#old.get(label) ?? this.#compute(label);
    if (this.#young.size >= generationSize) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(label, hashed);
    return hashed;
  }

  #compute(label: string): HashedToken {
    const digest = createHmac('sha256', this.#keyring.macKey('token', this.#tenant)).update(`${this.#tenant}\n${label}`).digest();
    return { token: digest.subarray(0, tokenBytes), rank: digest.readUInt32BE(0) };
  }
}
