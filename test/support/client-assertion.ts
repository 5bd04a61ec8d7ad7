import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import type { ClientKey } from '../rooms/auth/support.ts';

/** The form fields with which an asymmetric client authenticates (RFC 7523), changed as a test wants. */
export async function assertionFor(issuer: string, clientId: string, key: ClientKey, changes: { claims?: Readonly<Record<string, unknown>>; header?: Readonly<Record<string, unknown>> } = {}): Promise<Record<string, string>> {
  const claims = { iss: clientId, sub: clientId, aud: `${issuer}/token`, jti: randomUUID(), exp: Math.floor(Date.now() / 1000) + 240, ...changes.claims };
  const assertion = await new SignJWT(claims).setProtectedHeader({ alg: key.alg, kid: key.kid, typ: 'JWT', ...changes.header }).sign(key.key);
  return { client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: assertion };
}
