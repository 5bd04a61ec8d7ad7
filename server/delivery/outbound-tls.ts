import { existsSync, readFileSync } from 'node:fs';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { InterlockError } from '../../resources/outcome/error.ts';
import { tlsBaseline } from '../pki/tls.ts';

export interface OutboundTlsOptions {
  /** Authorities beside the well-known ones, PEM: this installation's own. */
  readonly ca: readonly string[];
  /** A file with more of them, PEM. */
  readonly caFile?: string;
  /** Files of the certificate to show, if one is to be shown; asked for again from time to time, so that it may be renewed. */
  readonly clientCertificate?: () => { readonly certificateFile: string; readonly keyFile: string };
}

/** Whom this server trusts, and what it shows, where it is the client. */
export type OutboundTls = () => SecureContext;

const heldMs = 3600_000;

/**
 * Prepares TLS towards others: versions and ciphers as everywhere here, certificates always checked.
 * @throws InterlockError `config-invalid` if the file of authorities cannot be read
 */
export function outboundTls({ ca, caFile, clientCertificate }: OutboundTlsOptions): OutboundTls {
  if (caFile !== undefined && !(existsSync(caFile) && readFileSync(caFile, 'utf8').includes('BEGIN CERTIFICATE'))) {
    throw new InterlockError('config-invalid', { detail: 'INTERLOCK_OUTBOUND_CA_FILE must name a readable PEM file of certificates.' });
  }
  let held: { readonly context: SecureContext; readonly untilMs: number } | undefined;
  return () => {
    if (held === undefined || held.untilMs <= performance.now()) {
      const files = clientCertificate?.();
      const context = createSecureContext({
        minVersion: tlsBaseline.minVersion, maxVersion: tlsBaseline.maxVersion, ciphers: tlsBaseline.ciphers, ecdhCurve: tlsBaseline.ecdhCurve,
        ca: [...rootCertificates, ...ca, ...(caFile === undefined ? [] : [readFileSync(caFile, 'utf8')])],
        ...(files === undefined ? {} : { cert: readFileSync(files.certificateFile), key: readFileSync(files.keyFile) }),
      });
      held = { context, untilMs: performance.now() + heldMs };
    }
    return held.context;
  };
}
