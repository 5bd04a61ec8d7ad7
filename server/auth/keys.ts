import { generateKeyPair, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { calculateJwkThumbprint } from 'jose';
import type { JWK } from 'oidc-provider';
import type { OAuthRows } from './adapter.ts';

/** The authorization server's own keys. */
export interface ServerKeys {
  /** Private keys for id_tokens, the first in use. */
  readonly signing: readonly JWK[];
  /** Secrets that cookies are signed with, the first in use. */
  readonly cookies: readonly string[];
}

/** Fetches the keys, or makes them if this is the first start: all processes share one sealed row. */
export async function serverKeys(rows: OAuthRows): Promise<ServerKeys> {
  const stored = await rows.get<ServerKeys>('ServerKeys', 'current');
  if (stored !== undefined) return stored;
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 3072 });
  const jwk = privateKey.export({ format: 'jwk' }) as JWK;
  const kid = await calculateJwkThumbprint({ kty: 'RSA', n: jwk.n!, e: jwk.e! });
  const made: ServerKeys = { signing: [{ ...jwk, kid, alg: 'RS256', use: 'sig' }], cookies: [randomBytes(32).toString('base64url')] };
  if (await rows.insert('ServerKeys', 'current', made, undefined)) return made;
  // Another process was first.
  return (await rows.get<ServerKeys>('ServerKeys', 'current'))!;
}
