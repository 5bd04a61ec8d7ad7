import { hash } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import type { Client, KoaContextWithOIDC, MTLSConfiguration } from 'oidc-provider';
import type Provider from 'oidc-provider';
import type { Pki } from '../pki/pki.ts';
import { peerOf } from '../pki/tls.ts';
import type { KeySets, KeyStoreLike } from './key-sets.ts';

/** How a token came, as far as it can be bound to whoever sends it. */
export interface Presentation {
  /** Of `Authorization`. */
  readonly scheme: 'Bearer' | 'DPoP';
  /** The header `DPoP`. */
  readonly proof?: string;
  readonly method: string;
  /** Of the request, as clients see it. */
  readonly url: string;
  /** SHA-256 of the TLS client certificate, base64url. */
  readonly certificate?: string;
}

type Revocations = Pick<Pki, 'isRevoked'>;

/** What oidc-provider asks about client certificates (RFC 8705). @param revocations absent: certificates of our own authority are not accepted for sign-in */
export function mtlsFeature(revocations: Revocations | undefined): MTLSConfiguration {
  const socketOf = (ctx: KoaContextWithOIDC): TLSSocket | undefined => (ctx.req.socket instanceof TLSSocket ? ctx.req.socket : undefined);
  return {
    enabled: true,
    certificateBoundAccessTokens: true,
    tlsClientAuth: true,
    selfSignedTlsClientAuth: true,
    getCertificate: (ctx) => usable(socketOf(ctx), revocations)?.toString(),
    certificateAuthorized: (ctx) => {
      const socket = socketOf(ctx);
      const peer = socket === undefined || revocations === undefined ? undefined : peerOf(revocations, socket);
      return typeof peer === 'object' && peer.kind === 'partner';
    },
    certificateSubjectMatches: (ctx, property, expected) => {
      const subject = usable(socketOf(ctx), revocations)?.subject;
      return property === 'tls_client_auth_subject_dn' && subject !== undefined && rfc4514(subject) === expected;
    },
  };
}

/** The thumbprint of a connection's client certificate, whoever issued it, unless it has expired or been revoked. */
export function certificateThumbprint(socket: unknown, revocations: Revocations | undefined): string | undefined {
  const certificate = socket instanceof TLSSocket ? usable(socket, revocations) : undefined;
  return certificate === undefined ? undefined : hash('sha256', certificate.raw, 'base64url');
}

function usable(socket: TLSSocket | undefined, revocations: Revocations | undefined) {
  const certificate = socket?.getPeerX509Certificate();
  if (certificate === undefined || certificate.validToDate.getTime() <= Date.now() || certificate.validFromDate.getTime() > Date.now()) return undefined;
  return revocations?.isRevoked(certificate.serialNumber) === true ? undefined : certificate;
}

/** Node gives a subject line by line, in the order of the certificate; a distinguished name is written the other way round. */
function rfc4514(subject: string): string {
  return subject.split('\n').reverse().join(',');
}

/** Makes oidc-provider take published key sets of clients from `keySets` alone. */
export function followKeySets(provider: Provider, keySets: KeySets): void {
  const followed = new WeakSet<Client>();
  const find = provider.Client.find.bind(provider.Client);
  provider.Client.find = async (id) => {
    const client = await find(id);
    const url = client?.jwksUri;
    if (client !== undefined && url !== undefined && !followed.has(client)) {
      keySets.follow((client as unknown as { readonly asymmetricKeyStore: KeyStoreLike }).asymmetricKeyStore, url);
      followed.add(client);
    }
    return client;
  };
}
