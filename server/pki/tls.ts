import type { TLSSocket, TlsOptions } from 'node:tls';
import type { Pki } from './pki.ts';

/** Whether a TLS server asks for client certificates: not at all; asks and leaves the decision to the request; insists. */
export type ClientCertificates = 'none' | 'optional' | 'required';

/**
 * What every TLS server and client of this product allows: versions 1.2 and 1.3, forward secrecy and authenticated
 * encryption only (RFC 9325, section 4).
 */
export const tlsBaseline = {
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  ciphers: [
    'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-ECDSA-AES128-GCM-SHA256',
    // For partners' servers with RSA certificates; our own is ECDSA.
    'ECDHE-RSA-AES256-GCM-SHA384', 'ECDHE-RSA-CHACHA20-POLY1305', 'ECDHE-RSA-AES128-GCM-SHA256',
  ].join(':'),
  honorCipherOrder: true,
  ecdhCurve: 'X25519:P-256:P-384',
  handshakeTimeout: 10_000,
} as const satisfies TlsOptions;

/** Who is on the other end of a connection, by a certificate of ours. */
export interface Peer {
  readonly kind: 'partner' | 'operator';
  /** Common name: the partner's name. */
  readonly name: string;
  /** Upper-case hex. */
  readonly serial: string;
  /** SHA-256 of the certificate, upper-case hex with colons. */
  readonly fingerprint: string;
}

/** Why a connection has no usable client certificate. */
export type PeerRefusal = 'absent' | 'untrusted' | 'expired' | 'revoked';

/**
 * The holder of a connection's client certificate, or why there is none. Cheap enough for every request; asks anew
 * whether the certificate has expired or been revoked since the handshake.
 */
export function peerOf(pki: Pick<Pki, 'isRevoked'>, socket: TLSSocket, nowMs: number = Date.now()): Peer | PeerRefusal {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return 'absent';
  if (pki.isRevoked(certificate.serialNumber)) return 'revoked';
  if (certificate.validToDate.getTime() <= nowMs) return 'expired';
  if (!socket.authorized) return 'untrusted';
  const { CN: name, OU: kind } = certificate.toLegacyObject().subject;
  if ((kind !== 'partner' && kind !== 'operator') || typeof name !== 'string') return 'untrusted';
  return { kind, name, serial: certificate.serialNumber, fingerprint: certificate.fingerprint256 };
}
