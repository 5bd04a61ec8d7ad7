import { verify, X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InterlockError } from '../../resources/outcome/error.ts';
import { authorityKeyIdentifier, extension, signatureAlgorithm, signedStructure, subjectOf, type Authority } from './certificate.ts';
import { children, content, decode, encode, integer, pem, sequence, smallInteger, tagged, time, timeOf, unpem, type Node } from './der.ts';
import { ensurePrivateDir, errnoCode } from './files.ts';

/** A revoked certificate. */
export interface Revocation {
  /** Upper-case hex. */
  readonly serial: string;
  readonly at: Date;
}

const crlNumberOid = '2.5.29.20';

/**
 * Signs a certificate revocation list, version 2 (RFC 5280, section 5).
 *
 * @param nextUpdate until when others may rely on it
 */
export function signRevocationList(authority: Authority, revoked: readonly Revocation[], thisUpdate: Date, nextUpdate: Date): string {
  const entries = revoked.map(({ serial, at }) => sequence(integer(Buffer.from(serial, 'hex')), time(at)));
  // The number must grow from list to list: the clock does, and needs no storage.
  const extensions = tagged(0, sequence(authorityKeyIdentifier(authority), extension(crlNumberOid, smallInteger(thisUpdate.getTime()))));
  const list: Node[] = entries.length === 0 ? [] : [sequence(...entries)];
  const tbs = sequence(smallInteger(1), signatureAlgorithm(), subjectOf(authority), time(thisUpdate), time(nextUpdate), ...list, extensions);
  return pem('X509 CRL', signedStructure(tbs, authority.key));
}

/** Reads a list that {@link signRevocationList} made. @throws InterlockError `integrity-failure` if the authority did not sign it */
export function readRevocationList(crlPem: string, authorityPem: string): { readonly revoked: readonly Revocation[]; readonly nextUpdate: Date } {
  const [tbs, , signature] = children(decode(unpem(crlPem)));
  const parts = children(tbs);
  const isSigned = verify('sha256', encode(tbs!), new X509Certificate(authorityPem).publicKey, content(signature).subarray(1));
  if (!isSigned) throw new InterlockError('integrity-failure', { detail: 'The revocation list is not signed by this authority.' });
  const entries = parts.length > 6 ? children(parts[5]) : [];
  const revoked = entries.map((entry) => {
    const [serial, at] = children(entry);
    return { serial: content(serial).toString('hex').toUpperCase(), at: timeOf(at) };
  });
  return { revoked, nextUpdate: timeOf(parts[4]) };
}

/**
 * Which certificates are revoked: a directory with one file per serial number. So processes that share it agree at
 * once, none can overwrite what another one revoked, and asking costs two system calls.
 */
export class RevokedSerials {
  readonly #directory: string;
  readonly #known = new Map<string, Date>();

  constructor(directory: string) {
    ensurePrivateDir(directory);
    this.#directory = directory;
    this.refresh();
  }

  /** True if the certificate was revoked by any process, and also if that cannot be found out. */
  has(serial: string): boolean {
    const name = fileNameOf(serial);
    if (name === undefined || this.#known.has(name)) return true;
    try {
      statSync(this.#directory);
      return existsSync(join(this.#directory, name));
    } catch {
      return true;
    }
  }

  /** Revokes for good. Repeating it changes nothing. @throws InterlockError `request-invalid` for what is no serial number */
  add(serial: string, at: Date): void {
    const name = fileNameOf(serial);
    if (name === undefined) throw new InterlockError('request-invalid', { detail: 'A certificate serial number is written in hexadecimal.' });
    try {
      writeFileSync(join(this.#directory, name), at.toISOString(), { mode: 0o600, flag: 'wx', flush: true });
    } catch (cause) {
      if (errnoCode(cause) !== 'EEXIST') throw cause;
    }
    this.refresh();
  }

  /** Takes up what other processes revoked. @returns the serial numbers that are new here */
  refresh(): string[] {
    const added = readdirSync(this.#directory).filter((name) => fileNameOf(name) === name && !this.#known.has(name));
    for (const name of added) {
      const path = join(this.#directory, name);
      const at = new Date(readFileSync(path, 'utf8'));
      // A file that a crash left empty still revokes; its own time stands in.
      this.#known.set(name, Number.isNaN(at.getTime()) ? statSync(path).mtime : at);
    }
    return added;
  }

  /** All that are known, in the order of their numbers. */
  list(): Revocation[] {
    return [...this.#known].map(([serial, at]) => ({ serial, at })).sort((a, b) => (a.serial < b.serial ? -1 : 1));
  }
}

/** Serial numbers as file names: upper-case hex without colons; undefined for anything else. */
function fileNameOf(serial: string): string | undefined {
  const plain = serial.replaceAll(':', '').toUpperCase();
  return /^[0-9A-F]{2,40}$/.test(plain) && plain.length % 2 === 0 ? plain : undefined;
}
