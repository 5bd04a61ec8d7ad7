import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type ConnectionOptions, type Server, type TLSSocket } from 'node:tls';
import { LocalKeyProvider } from '../../../server/kms/local-provider.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { createAuthority, issueCertificate } from '../../../server/pki/certificate.ts';
import { Pki } from '../../../server/pki/pki.ts';
import { peerOf, type ClientCertificates } from '../../../server/pki/tls.ts';

let directory: string;
let pki: Pki;
const servers: Server[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'interlock-tls-'));
  const keysDir = join(directory, 'keys');
  pki = await Pki.open({ dataDir: join(directory, 'data'), keysDir, hosts: [], protect: LocalKeyProvider.open(keysDir, true), log: silentLog });
});

afterAll(() => {
  for (const server of servers) server.close();
  pki.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A server that tells each client who it takes it for. */
async function serve(mode: ClientCertificates): Promise<number> {
  const server = createServer(pki.tlsOptions(mode), (socket) => {
    const peer = peerOf(pki, socket);
    socket.on('error', () => undefined).end(typeof peer === 'string' ? peer : `${peer.kind} ${peer.name}`);
  });
  server.on('tlsClientError', () => undefined);
  servers.push(server);
  pki.keepFresh(server, mode);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** What the server says, or the error's code. Node ends a refused connection right after the handshake: it says nothing then. */
function ask(port: number, options: ConnectionOptions = {}, onSocket?: (socket: TLSSocket) => void): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ca: pki.caPem, ...options }, () => onSocket?.(socket));
    socket.on('data', (chunk: Buffer) => (text += chunk.toString())).on('error', (error) => resolve((error as { code?: string }).code ?? error.message)).on('close', () => resolve(text));
  });
}

/** A closed connection, with or without a reset. */
const refused = /^(ECONNRESET|EPIPE)?$/;

const pair = (issued: { certificatePem: string; keyPem: string }): ConnectionOptions => ({ cert: issued.certificatePem, key: issued.keyPem });

describe('a server that insists on client certificates', () => {
  test('knows its partners', async () => {
    const port = await serve('required');
    expect(await ask(port, pair(pki.issuePartnerCertificate({ name: 'general-hospital' })))).toBe('partner general-hospital');
  });

  test('refuses a client without one, with a stranger\'s, and with one for servers', async () => {
    const port = await serve('required');
    expect(await ask(port)).toBe('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED');
    const stranger = createAuthority({ commonName: 'Interlock internal CA', validDays: 1 });
    const foreign = issueCertificate(stranger, { commonName: 'general-hospital', organizationalUnit: 'partner', usages: ['client'], validDays: 1 });
    expect(await ask(port, pair(foreign))).toMatch(refused);
    const server = pki.tlsOptions('none') as { cert: string; key: string };
    expect(await ask(port, server)).toMatch(refused);
  });

  test('refuses a revoked one from then on, without restart', async () => {
    const port = await serve('required');
    const issued = pki.issuePartnerCertificate({ name: 'vendor' });
    expect(await ask(port, pair(issued))).toBe('partner vendor');
    pki.revoke(issued.serial);
    expect(await ask(port, pair(issued))).toMatch(refused);
    expect(await ask(port, pair(pki.issuePartnerCertificate({ name: 'other' })))).toBe('partner other');
  });

  test('does not resume the session of a certificate that was revoked meanwhile', async () => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const port = await serve('required');
      const issued = pki.issuePartnerCertificate({ name: 'vendor' });
      let session: Buffer | undefined;
      expect(await ask(port, { ...pair(issued), maxVersion }, (socket) => socket.on('session', (ticket) => (session = ticket)))).toBe('partner vendor');
      pki.revoke(issued.serial);
      expect(await ask(port, { ...pair(issued), maxVersion, ...(session === undefined ? {} : { session }) })).toMatch(refused);
    }
  });
});

describe('a server that leaves the decision to the request', () => {
  test('tells absent, untrusted and revoked apart', async () => {
    const port = await serve('optional');
    expect(await ask(port)).toBe('absent');
    const issued = pki.issuePartnerCertificate({ name: 'clinic' });
    expect(await ask(port, pair(issued))).toBe('partner clinic');
    pki.revoke(issued.serial);
    expect(await ask(port, pair(issued))).toBe('revoked');
    const stranger = createAuthority({ commonName: 'Interlock internal CA', validDays: 1 });
    expect(await ask(port, pair(issueCertificate(stranger, { commonName: 'clinic', organizationalUnit: 'partner', usages: ['client'], validDays: 1 })))).toBe('untrusted');
  });

  test('sees a certificate expire on an open connection', async () => {
    const issued = pki.issuePartnerCertificate({ name: 'clinic', validDays: 2 });
    const later = Date.now() + 3 * 24 * 3600_000;
    let atHandshake: unknown;
    let afterwards: unknown;
    const server = createServer(pki.tlsOptions('required'), (socket) => {
      atHandshake = peerOf(pki, socket);
      afterwards = peerOf(pki, socket, later);
      socket.end();
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    await ask((server.address() as AddressInfo).port, pair(issued));
    expect(atHandshake).toMatchObject({ kind: 'partner', name: 'clinic' });
    expect(afterwards).toBe('expired');
  });
});

describe('protocol versions', () => {
  test('1.3 is taken where both can, 1.2 is possible, 1.1 is refused', async () => {
    const port = await serve('none');
    let version: string | null = null;
    const note = (socket: TLSSocket): void => {
      version = socket.getProtocol();
    };
    await ask(port, {}, note);
    expect(version).toBe('TLSv1.3');
    await ask(port, { maxVersion: 'TLSv1.2' }, note);
    expect(version).toBe('TLSv1.2');
    version = null;
    await ask(port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }, note);
    expect(version).toBeNull();
  });
});
