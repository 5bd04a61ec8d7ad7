import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LocalKeyProvider } from '../../../server/kms/local-provider.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { assertKeysOutsideData, writeFileAtomic } from '../../../server/pki/files.ts';
import { Pki } from '../../../server/pki/pki.ts';
import { readRevocationList } from '../../../server/pki/revocation.ts';

let directory: string;
let dataDir: string;
let keysDir: string;
const opened: Pki[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'interlock-pki-'));
  dataDir = join(directory, 'data');
  keysDir = join(directory, 'keys');
});

afterEach(() => {
  for (const pki of opened.splice(0)) pki.close();
  rmSync(directory, { recursive: true, force: true });
});

async function openPki(options: { hosts?: string[]; nowMs?: () => number } = {}): Promise<Pki> {
  const pki = await Pki.open({ dataDir, keysDir, hosts: options.hosts ?? ['fhir.example.org'], protect: LocalKeyProvider.open(keysDir, true), log: silentLog, ...(options.nowMs === undefined ? {} : { nowMs: options.nowMs }) });
  opened.push(pki);
  return pki;
}

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
const withOpenssl = hasOpenssl ? test : test.skip;

describe('certificates', () => {
  test('the server certificate names every host and stays the same over a restart', async () => {
    const first = await openPki();
    const certificate = new X509Certificate(first.serverCertificatePem);
    expect(certificate.checkHost('localhost')).toBe('localhost');
    expect(certificate.checkHost('fhir.example.org')).toBe('fhir.example.org');
    expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1');
    expect(certificate.checkIP('::1')).toBe('::1');
    expect(certificate.verify(new X509Certificate(first.caPem).publicKey)).toBe(true);
    const second = await openPki();
    expect(second.serverCertificatePem).toBe(first.serverCertificatePem);
    expect(second.caPem).toBe(readFileSync(join(dataDir, 'pki', 'ca.crt'), 'utf8'));
  });

  test('the server certificate is renewed when the hosts change, in both directions', async () => {
    const first = await openPki();
    const second = await openPki({ hosts: ['other.example.org', 'fhir.example.org'] });
    expect(second.serverCertificatePem).not.toBe(first.serverCertificatePem);
    expect(new X509Certificate(second.serverCertificatePem).checkHost('other.example.org')).toBeDefined();
    const third = await openPki();
    expect(new X509Certificate(third.serverCertificatePem).checkHost('other.example.org')).toBeUndefined();
    expect(third.caPem).toBe(first.caPem);
  });

  test('the server certificate is renewed before it ends, without a restart', async () => {
    let nowMs = Date.now();
    const pki = await openPki({ nowMs: () => nowMs });
    const before = pki.serverCertificatePem;
    await pki.maintain();
    expect(pki.serverCertificatePem).toBe(before);
    let told = 0;
    pki.onChange(() => (told += 1));
    nowMs = new X509Certificate(before).validToDate.getTime() - 29 * 24 * 3600_000;
    await pki.maintain();
    expect(pki.serverCertificatePem).not.toBe(before);
    expect(told).toBe(1);
  });

  test('a partner gets a client certificate of its own', async () => {
    const pki = await openPki();
    const issued = pki.issuePartnerCertificate({ name: 'general-hospital' });
    const certificate = new X509Certificate(issued.certificatePem);
    expect(certificate.serialNumber).toBe(issued.serial);
    expect(certificate.fingerprint256).toBe(issued.fingerprint);
    expect(certificate.checkPrivateKey(createPrivateKey(issued.keyPem))).toBe(true);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(() => pki.issuePartnerCertificate({ name: 'a\nOU=operator' })).toThrow(expect.objectContaining({ code: 'request-invalid' }));
  });

  test('the command line keeps its certificate until it is revoked', async () => {
    const pki = await openPki();
    const files = pki.issueOperatorCertificate();
    const before = readFileSync(files.certificateFile, 'utf8');
    expect(statSync(files.keyFile).mode & 0o777).toBe(0o600);
    pki.issueOperatorCertificate();
    expect(readFileSync(files.certificateFile, 'utf8')).toBe(before);
    pki.revoke(new X509Certificate(before).serialNumber);
    pki.issueOperatorCertificate();
    expect(readFileSync(files.certificateFile, 'utf8')).not.toBe(before);
  });

  withOpenssl('openssl accepts every certificate and the revocation list', async () => {
    const pki = await openPki();
    const [good, bad] = [pki.issuePartnerCertificate({ name: 'good' }), pki.issuePartnerCertificate({ name: 'bad' })];
    pki.revoke(bad.serial);
    const file = (name: string, text: string): string => {
      writeFileSync(join(directory, name), text);
      return join(directory, name);
    };
    const ca = join(dataDir, 'pki', 'ca.crt');
    const crl = join(dataDir, 'pki', 'ca.crl');
    const verify = (purpose: string, pem: string): string =>
      spawnSync('openssl', ['verify', '-x509_strict', '-purpose', purpose, '-crl_check', '-CRLfile', crl, '-CAfile', ca, file('c.pem', pem)], { encoding: 'utf8' }).output.join('');
    expect(verify('sslserver', pki.serverCertificatePem)).toContain('OK');
    expect(verify('sslclient', good.certificatePem)).toContain('OK');
    expect(verify('sslserver', good.certificatePem)).not.toContain('OK');
    expect(verify('sslclient', bad.certificatePem)).toContain('certificate revoked');
    const text = execFileSync('openssl', ['crl', '-in', crl, '-CAfile', ca, '-noout', '-text'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    expect(text).toContain('Version 2');
    expect(text).toContain(bad.serial);
  });
});

describe('revocation', () => {
  test('holds at once in this process and in others, and survives a restart', async () => {
    const [one, other] = [await openPki(), await openPki()];
    const { serial } = one.issuePartnerCertificate({ name: 'vendor' });
    expect(other.isRevoked(serial)).toBe(false);
    one.revoke(serial.toLowerCase());
    expect(one.isRevoked(serial)).toBe(true);
    expect(other.isRevoked(serial)).toBe(true);
    expect((await openPki()).isRevoked(serial)).toBe(true);
  });

  test('another process tells its listeners and publishes a complete list', async () => {
    const [one, other] = [await openPki(), await openPki()];
    const serials = [one.issuePartnerCertificate({ name: 'a' }).serial, one.issuePartnerCertificate({ name: 'b' }).serial];
    const told = new Promise<void>((resolve) => other.onChange(resolve));
    one.revoke(serials[0]!);
    other.revoke(serials[1]!);
    await told;
    const { revoked, nextUpdate } = readRevocationList(readFileSync(join(dataDir, 'pki', 'ca.crl'), 'utf8'), one.caPem);
    expect(revoked.map(({ serial }) => serial).sort()).toEqual([...serials].sort());
    expect(nextUpdate.getTime()).toBeGreaterThan(Date.now());
  });

  test('a watching process notices by itself', async () => {
    const [one, other] = [await openPki(), await openPki()];
    const told = new Promise<void>((resolve) => other.onChange(resolve));
    one.revoke(one.issuePartnerCertificate({ name: 'a' }).serial);
    await told;
    expect(other.revocations()).toHaveLength(1);
  });

  test('fails closed: a list that cannot be read and a number that is none count as revoked', async () => {
    const pki = await openPki();
    const { serial } = pki.issuePartnerCertificate({ name: 'vendor' });
    expect(pki.isRevoked('../../escape')).toBe(true);
    expect(() => pki.revoke('../../escape')).toThrow(expect.objectContaining({ code: 'request-invalid' }));
    rmSync(join(keysDir, 'pki', 'revoked'), { recursive: true });
    expect(pki.isRevoked(serial)).toBe(true);
  });

  test('a list that another authority signed, or that was altered, is not believed', async () => {
    const pki = await openPki();
    pki.revoke(pki.issuePartnerCertificate({ name: 'a' }).serial);
    const crl = readFileSync(join(dataDir, 'pki', 'ca.crl'), 'utf8');
    rmSync(directory, { recursive: true });
    const stranger = await openPki();
    expect(() => readRevocationList(crl, stranger.caPem)).toThrow(expect.objectContaining({ code: 'integrity-failure' }));
    expect(() => readRevocationList(crl, pki.caPem)).not.toThrow();
  });
});

describe('keys', () => {
  test('every file in the keys directory is private, and no private key lies there in the clear but the command line\'s', async () => {
    const pki = await openPki();
    pki.issueOperatorCertificate();
    for (const entry of readdirSync(keysDir, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      expect([entry.name, (statSync(path).mode & 0o777).toString(8)]).toEqual([entry.name, entry.isDirectory() ? '700' : '600']);
      if (entry.isFile() && entry.name !== 'client.key') expect(readFileSync(path, 'utf8')).not.toContain('PRIVATE KEY');
    }
    expect(readdirSync(join(dataDir, 'pki')).sort()).toEqual(['ca.crl', 'ca.crt']);
  });

  test('start is refused without the authority\'s key, with another master key, and with another installation\'s keys', async () => {
    (await openPki()).close();
    const master = readFileSync(join(keysDir, 'master-keys.json'), 'utf8');
    rmSync(join(keysDir, 'master-keys.json'));
    await expect(openPki()).rejects.toMatchObject({ code: 'key-wrong' });
    writeFileSync(join(keysDir, 'master-keys.json'), master);
    await expect(openPki()).resolves.toBeDefined();
    rmSync(join(keysDir, 'pki', 'ca.json'));
    await expect(openPki()).rejects.toMatchObject({ code: 'key-missing' });
    rmSync(keysDir, { recursive: true });
    const published = readFileSync(join(dataDir, 'pki', 'ca.crt'), 'utf8');
    rmSync(dataDir, { recursive: true });
    (await openPki()).close();
    writeFileSync(join(dataDir, 'pki', 'ca.crt'), published);
    await expect(openPki()).rejects.toMatchObject({ code: 'key-wrong' });
  });

  test('a keys directory that is or lies in the data directory is refused, through links as well', async () => {
    mkdirSync(join(directory, 'data', 'inner'), { recursive: true });
    symlinkSync(join(directory, 'data', 'inner'), join(directory, 'link'));
    const refused = expect.objectContaining({ code: 'keys-inside-data' });
    expect(() => assertKeysOutsideData(dataDir, dataDir)).toThrow(refused);
    expect(() => assertKeysOutsideData(dataDir, join(dataDir, 'not', 'yet', 'there'))).toThrow(refused);
    expect(() => assertKeysOutsideData(dataDir, join(directory, 'link'))).toThrow(refused);
    expect(() => assertKeysOutsideData(dataDir, join(directory, 'link', 'keys'))).toThrow(refused);
    expect(() => assertKeysOutsideData(dataDir, `${dataDir}-keys`)).not.toThrow();
    expect(() => assertKeysOutsideData(dataDir, join(dataDir, '..keys'))).toThrow(refused);
    keysDir = join(dataDir, 'keys');
    await expect(openPki()).rejects.toMatchObject({ code: 'keys-inside-data' });
  });

  test('a file is replaced as a whole and nothing is left beside it', () => {
    const path = join(directory, 'file');
    writeFileAtomic(path, 'one');
    writeFileAtomic(path, 'two');
    expect(readFileSync(path, 'utf8')).toBe('two');
    expect(readdirSync(directory)).toEqual(['file']);
  });
});
