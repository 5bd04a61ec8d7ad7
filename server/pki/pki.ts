import { constants, createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Server as TlsServer, TlsOptions } from 'node:tls';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Log } from '../observe/log.ts';
import { openAuthority, readPair, writePair, type KeyProtection, type StoredPair } from './authority-store.ts';
import { issueCertificate, type Authority, type IssuedCertificate } from './certificate.ts';
import { assertKeysOutsideData, ensurePrivateDir, writeFileAtomic } from './files.ts';
import { RevokedSerials, signRevocationList, type Revocation } from './revocation.ts';
import { tlsBaseline, type ClientCertificates } from './tls.ts';

/** What the public key infrastructure of one installation needs. */
export interface PkiOptions {
  /** Gets `pki/ca.crt` and `pki/ca.crl`. */
  readonly dataDir: string;
  /** Gets `pki/`: keys, sealed; and `operator/`: the command line's certificate. */
  readonly keysDir: string;
  /** Names and addresses under which clients reach the server; loopback is always among them. */
  readonly hosts: readonly string[];
  readonly protect: KeyProtection;
  readonly log: Log;
  readonly nowMs?: () => number;
}

/** Files of a client certificate of this installation's own. */
export interface ClientCertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

const dayMs = 24 * 3600_000;
const serverValidDays = 397;
const clientValidDays = 365;
const renewBeforeMs = 30 * dayMs;
const crlValidMs = 7 * dayMs;
const watchMs = 1_000;
const maintainMs = 6 * 3600_000;
/** Common name of the command line's certificate. */
const operatorName = 'interlock-cli';

/** The internal authority, the certificates it gave out, and which of them are revoked. */
export class Pki {
  /** Certificate of the authority, PEM. */
  readonly caPem: string;
  readonly #options: PkiOptions;
  readonly #authority: Authority;
  readonly #revoked: RevokedSerials;
  readonly #changeListeners = new Set<() => void>();
  readonly #nowMs: () => number;
  readonly #timers: NodeJS.Timeout[] = [];
  #server: StoredPair;
  #crlPem = '';

  private constructor(options: PkiOptions, authority: Authority, server: StoredPair) {
    this.#options = options;
    this.#authority = authority;
    this.#server = server;
    this.#nowMs = options.nowMs ?? Date.now;
    this.caPem = authority.certificatePem;
    this.#revoked = new RevokedSerials(join(options.keysDir, 'pki', 'revoked'));
    this.#publishCrl();
    this.#timers.push(setInterval(() => this.#attempt('take up revocations', () => this.#takeUp()), watchMs));
    this.#timers.push(setInterval(() => void this.maintain().catch((error: unknown) => this.#report('renew certificates', error)), maintainMs));
    for (const timer of this.#timers) timer.unref();
  }

  /**
   * Opens or makes authority, server certificate and revocation list.
   *
   * @throws InterlockError `keys-inside-data`, `key-missing`, `key-wrong`, `disk-full`
   */
  static async open(options: PkiOptions): Promise<Pki> {
    assertKeysOutsideData(options.dataDir, options.keysDir);
    const authority = await openAuthority(options.dataDir, options.keysDir, options.protect);
    return new Pki(options, authority, await currentServerCertificate(options, authority));
  }

  /** The server's certificate, PEM, as it is now. */
  get serverCertificatePem(): string {
    return this.#server.certificatePem;
  }

  /**
   * Options for a TLS server: TLS 1.2 and 1.3, the server's certificate, and who may connect.
   * Client certificates are checked against the revocation list during the handshake; sessions are not resumed then,
   * because resuming would skip that check.
   */
  tlsOptions(clientCertificates: ClientCertificates): TlsOptions {
    return {
      ...tlsBaseline,
      cert: this.#server.certificatePem,
      key: this.#server.key.export({ type: 'pkcs8', format: 'pem' }).toString(),
      ...(clientCertificates === 'none' ? {} : { ca: this.caPem, crl: this.#crlPem, requestCert: true, rejectUnauthorized: clientCertificates === 'required', secureOptions: constants.SSL_OP_NO_TICKET }),
    };
  }

  /** Gives a running TLS server each new certificate and revocation list. @returns a function that ends this */
  keepFresh(server: Pick<TlsServer, 'setSecureContext'>, clientCertificates: ClientCertificates): () => void {
    return this.onChange(() => server.setSecureContext(this.tlsOptions(clientCertificates)));
  }

  /** Calls back after the server certificate or the revocation list has changed. @returns a function that ends this */
  onChange(listener: () => void): () => void {
    this.#changeListeners.add(listener);
    return () => this.#changeListeners.delete(listener);
  }

  /**
   * Makes a client certificate for a partner: the name as common name, `partner` as organizational unit.
   *
   * @returns the only copy of the key: it is kept nowhere
   * @throws InterlockError `request-invalid` for names of other than 1 to 64 letters, digits, spaces, dots, dashes and underscores
   */
  issuePartnerCertificate(request: { readonly name: string; readonly validDays?: number }): IssuedCertificate & { readonly caPem: string } {
    if (!/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$/.test(request.name)) throw new InterlockError('request-invalid', { detail: 'A name in a certificate has 1 to 64 letters, digits, spaces, dots, dashes and underscores.' });
    const issued = issueCertificate(this.#authority, { commonName: request.name, organizationalUnit: 'partner', usages: ['client'], validDays: request.validDays ?? clientValidDays });
    return { ...issued, caPem: this.caPem };
  }

  /** The command line's client certificate in `operator/` of the keys directory; made or renewed if need be. */
  issueOperatorCertificate(): ClientCertificateFiles {
    return this.#issueClientFiles('operator', operatorName);
  }

  /** The certificate that this server shows where it is the client, in `service/` of the keys directory; made or renewed if need be. It opens no door here. */
  issueServiceCertificate(): ClientCertificateFiles {
    return this.#issueClientFiles('service', 'interlock');
  }

  /** Revokes a certificate by serial number (hex), for this and every other process at once. @throws InterlockError `request-invalid` */
  revoke(serial: string): void {
    this.#revoked.add(serial, new Date(this.#nowMs()));
    this.#publishCrl();
    this.#announce();
  }

  /** True if the certificate with this serial number (hex) is revoked, by whatever process, or if that cannot be found out. */
  isRevoked(serial: string): boolean {
    return this.#revoked.has(serial);
  }

  /** Every revocation. */
  revocations(): Revocation[] {
    return this.#revoked.list();
  }

  /** Renews the server certificate if it is near its end, and the published revocation list. Runs by itself every six hours. */
  async maintain(): Promise<void> {
    this.#server = await currentServerCertificate(this.#options, this.#authority);
    this.#publishCrl();
    this.#announce();
  }

  /** Ends the watching. */
  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#changeListeners.clear();
  }

  #takeUp(): void {
    if (this.#revoked.refresh().length === 0) return;
    this.#publishCrl();
    this.#announce();
  }

  #publishCrl(): void {
    const now = this.#nowMs();
    this.#crlPem = signRevocationList(this.#authority, this.#revoked.list(), new Date(now), new Date(now + crlValidMs));
    writeFileAtomic(join(this.#options.dataDir, 'pki', 'ca.crl'), this.#crlPem, 0o644);
  }

  #announce(): void {
    for (const listener of this.#changeListeners) this.#attempt('tell of a change', listener);
  }

  #issueClientFiles(organizationalUnit: 'operator' | 'service', commonName: string): ClientCertificateFiles {
    const directory = join(this.#options.keysDir, organizationalUnit);
    ensurePrivateDir(directory);
    const files = { certificateFile: join(directory, 'client.crt'), keyFile: join(directory, 'client.key'), caFile: join(directory, 'ca.crt') };
    const isUsable = Object.values(files).every(existsSync) && this.#isCurrent(readFileSync(files.certificateFile, 'utf8'));
    if (!isUsable) {
      const issued = issueCertificate(this.#authority, { commonName, organizationalUnit, usages: ['client'], validDays: clientValidDays });
      writeFileAtomic(files.keyFile, issued.keyPem);
      writeFileAtomic(files.certificateFile, issued.certificatePem);
    }
    writeFileAtomic(files.caFile, this.caPem);
    return files;
  }

  #isCurrent(certificatePem: string): boolean {
    const certificate = new X509Certificate(certificatePem);
    return isSignedAndLasting(certificate, this.#authority, this.#nowMs()) && !this.isRevoked(certificate.serialNumber);
  }

  #attempt(step: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#report(step, error);
    }
  }

  #report(step: string, error: unknown): void {
    this.#options.log.error('pki upkeep failed', { step, errorName: error instanceof Error ? error.name : 'unknown' });
  }
}

/** The stored server certificate, or a new one if there is none, it ends soon, or the hosts have changed. */
async function currentServerCertificate(options: PkiOptions, authority: Authority): Promise<StoredPair> {
  const path = join(options.keysDir, 'pki', 'server.json');
  const context = 'interlock-pki|server';
  const hosts = hostsOf(options.hosts);
  const stored = await readPair(path, context, options.protect);
  const now = (options.nowMs ?? Date.now)();
  if (stored !== undefined) {
    const certificate = new X509Certificate(stored.certificatePem);
    const covers = hosts.every((host) => (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined);
    const isExact = (certificate.subjectAltName ?? '').split(', ').length === hosts.length;
    if (covers && isExact && isSignedAndLasting(certificate, authority, now)) return stored;
  }
  const issued = issueCertificate(authority, { commonName: hosts[0]!, organizationalUnit: 'server', usages: ['server'], hosts, validDays: serverValidDays });
  const pair = { certificatePem: issued.certificatePem, key: createPrivateKey(issued.keyPem) };
  await writePair(path, context, options.protect, pair.certificatePem, pair.key);
  return pair;
}

function isSignedAndLasting(certificate: X509Certificate, authority: Authority, nowMs: number): boolean {
  return certificate.verify(new X509Certificate(authority.certificatePem).publicKey) && certificate.validToDate.getTime() - nowMs > renewBeforeMs;
}

/** What the server is called: loopback always; where it listens on every interface, the machine's own name. */
function hostsOf(configured: readonly string[]): string[] {
  const named = configured.map((host) => host.replace(/^\[(.*)\]$/, '$1').toLowerCase()).flatMap((host) => (host === '0.0.0.0' || host === '::' ? [hostname().toLowerCase()] : [host]));
  return [...new Set(['localhost', '127.0.0.1', '::1', ...named])];
}
