import { hash, randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';

/** A DPoP key of a client. */
export interface DpopKey {
  readonly key: CryptoKey;
  readonly jwk: JWK;
}

export async function dpopKey(): Promise<DpopKey> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { key: privateKey, jwk: await exportJWK(publicKey) };
}

/** A DPoP proof (RFC 9449, section 4.2), changed as an attacker would. */
export async function proof({ key, jwk }: DpopKey, method: string, url: string, changes: { token?: string; claims?: Record<string, unknown>; header?: Record<string, unknown> } = {}): Promise<string> {
  const { token, claims, header } = changes;
  return new SignJWT({ htm: method, htu: url, iat: Math.floor(Date.now() / 1000), jti: randomUUID(), ...(token === undefined ? {} : { ath: hash('sha256', token, 'base64url') }), ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk, ...header })
    .sign(key);
}
