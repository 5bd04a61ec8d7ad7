import { hash, hkdfSync } from 'node:crypto';
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { OAuthRows } from './adapter.ts';

/** How DPoP proofs may be signed. */
export const dpopAlgorithms = ['ES256', 'ES384', 'Ed25519', 'EdDSA'] as const;

export interface DpopOptions {
  readonly rows: OAuthRows;
  /** 32 bytes; the same as oidc-provider's, so that a nonce of one is good at the other. */
  readonly nonceSecret: Buffer;
  /** True: every proof needs a nonce of the server. */
  readonly requireNonce: boolean;
  readonly nowMs: () => number;
}

/** What a proof has to be about. */
export interface DpopTarget {
  readonly method: string;
  /** The URL of the request, without query. */
  readonly url: string;
  readonly token: string;
}

/** How far the clocks of clients may be off, unless they use a nonce. */
const iatWindowS = 60;
const nonceStepS = 60;
/** Longer than any proof is good for. */
const replayLifetimeS = 600;

const claimsSchema = z.object({ htm: z.string(), htu: z.string(), iat: z.number(), jti: z.string().min(1).max(256), ath: z.string(), nonce: z.string().max(256).optional() });

/** Checks DPoP proofs at the resource server (https://www.rfc-editor.org/rfc/rfc9449#section-4.3, section 7). */
export class DpopProofs {
  readonly #options: DpopOptions;

  constructor(options: DpopOptions) {
    this.#options = options;
  }

  /**
   * Checks a proof; each counts once, in all processes together.
   * @returns the thumbprint of its key (RFC 7638)
   * @throws InterlockError `token-invalid` with the challenge that tells why
   */
  async verify(proof: string, target: DpopTarget): Promise<string> {
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, { algorithms: [...dpopAlgorithms], typ: 'dpop+jwt', currentDate: new Date(this.#options.nowMs()) }).catch((cause: unknown) => refuse('proof', 'signature', cause));
    const { jwk } = protectedHeader;
    const parsed = claimsSchema.safeParse(payload);
    if (!parsed.success || jwk === undefined) return refuse('proof', 'claims');
    const { htm, htu, iat, jti, ath, nonce } = parsed.data;
    if (htm !== target.method) refuse('proof', 'htm');
    if (withoutQuery(htu) !== withoutQuery(target.url)) refuse('proof', 'htu');
    if (ath !== hash('sha256', target.token, 'base64url')) refuse('proof', 'ath');
    const nowS = this.#options.nowMs() / 1000;
    if (nonce === undefined && (this.#options.requireNonce || Math.abs(nowS - iat) > iatWindowS)) this.#askForNonce(this.#options.requireNonce ? 'no nonce' : 'iat');
    if (nonce !== undefined && !this.#nonces(-2).includes(nonce)) this.#askForNonce('nonce');
    const thumbprint = await calculateJwkThumbprint(jwk);
    if (!(await this.#options.rows.insert('DpopProof', `${thumbprint}:${jti}`, {}, replayLifetimeS))) refuse('proof', 'replay');
    return thumbprint;
  }

  #askForNonce(reason: string): never {
    return refuse('nonce', reason, undefined, this.#nonces(1)[0]);
  }

  /** oidc-provider's nonces, from a step of a minute to the next: they are computed, not stored. */
  #nonces(fromStep: number): string[] {
    const current = Math.floor(this.#options.nowMs() / 1000 / nonceStepS);
    return Array.from({ length: 3 - fromStep }, (_, i) => {
      const step = Buffer.alloc(8);
      step.writeBigInt64BE(BigInt(current + fromStep + i));
      return Buffer.from(hkdfSync('sha256', this.#options.nonceSecret, step, 'DPoP', 32)).toString('base64url');
    });
  }
}

/** Refuses a request whose token or proof does not fit. @param what wrong: the proof, the token, or that a nonce is missing */
export function refuse(what: 'proof' | 'token' | 'nonce', reason: string, cause?: unknown, dpopNonce?: string): never {
  const error = { proof: 'invalid_dpop_proof', token: 'invalid_token', nonce: 'use_dpop_nonce' }[what];
  throw new InterlockError('token-invalid', { rule: `dpop: ${reason}`, challenge: `DPoP error="${error}", algs="${dpopAlgorithms.join(' ')}"`, ...(dpopNonce === undefined ? {} : { dpopNonce }), ...(cause === undefined ? {} : { cause }) });
}

function withoutQuery(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null) return undefined;
  url.search = '';
  url.hash = '';
  return url.href;
}
