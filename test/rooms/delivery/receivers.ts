import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTls, TLSSocket } from 'node:tls';
import { outboundTls, type OutboundTls } from '../../../server/delivery/outbound-tls.ts';
import { createAuthority, issueCertificate } from '../../../server/pki/certificate.ts';

const authority = createAuthority({ commonName: 'Receivers', validDays: 2 });
const identity = issueCertificate(authority, { commonName: 'localhost', usages: ['server'], hosts: ['localhost', '127.0.0.1'], validDays: 2 });

/** Trusts the receivers here. */
export const trusting: OutboundTls = outboundTls({ ca: [authority.certificatePem] });
/** Trusts the well-known authorities only. */
export const distrusting: OutboundTls = outboundTls({ ca: [] });
export const authorityPem = authority.certificatePem;

/** Trusts the receivers and shows a certificate of their authority. */
export function showing(): { readonly tls: OutboundTls; remove(): void } {
  const directory = mkdtempSync(join(tmpdir(), 'interlock-client-'));
  const issued = issueCertificate(authority, { commonName: 'interlock', organizationalUnit: 'service', usages: ['client'], validDays: 2 });
  const files = { certificateFile: join(directory, 'client.crt'), keyFile: join(directory, 'client.key') };
  writeFileSync(files.certificateFile, issued.certificatePem);
  writeFileSync(files.keyFile, issued.keyPem);
  return { tls: outboundTls({ ca: [authority.certificatePem], clientCertificate: () => files }), remove: () => rmSync(directory, { recursive: true }) };
}

/** Receivers that are open; a test that fails leaves some. */
const open = new Set<Receiver>();

export async function closeReceivers(): Promise<void> {
  for (const receiver of open) await receiver.close();
}

interface Receiver {
  readonly port: number;
  /** Ends it; a new one may listen on the same port. */
  close(): Promise<void>;
}

export interface SyslogReceiver extends Receiver {
  /** Whole messages, in the order of their arrival. */
  readonly messages: string[];
  /** Common names of the clients that connected. */
  readonly clients: (string | undefined)[];
  /** Connections are cut after so many messages. */
  cutAfter: number | undefined;
}

/**
 * A syslog receiver over TLS, which reads frames by their octet counts (RFC 5425, section 4.3), however they come.
 * @param silent it ends connections without a close_notify, as some receivers do
 */
export async function syslogReceiver({ port = 0, clientCertificates = false, silent = false, version }: { port?: number; clientCertificates?: boolean; silent?: boolean; version?: 'TLSv1.2' | 'TLSv1.3' } = {}): Promise<SyslogReceiver> {
  const sockets = new Set<Duplex>();
  const messages: string[] = [];
  const clients: (string | undefined)[] = [];
  const server = createTls({ allowHalfOpen: silent, maxVersion: version ?? 'TLSv1.3', cert: identity.certificatePem, key: identity.keyPem, ca: authority.certificatePem, requestCert: clientCertificates, rejectUnauthorized: clientCertificates }, (socket: TLSSocket) => {
    clients.push(clientCertificates ? commonNameOf(socket) : undefined);
    let buffered: Buffer = Buffer.alloc(0);
    socket.on('error', () => undefined);
    if (silent) socket.on('end', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      for (;;) {
        const space = buffered.indexOf(0x20);
        if (space < 0) return;
        const length = Number(buffered.subarray(0, space).toString('latin1'));
        if (!Number.isSafeInteger(length) || length < 1) throw new Error('not an octet count');
        if (buffered.length < space + 1 + length) return;
        if (receiver.cutAfter !== undefined && messages.length >= receiver.cutAfter) {
          socket.destroy();
          return;
        }
        messages.push(buffered.subarray(space + 1, space + 1 + length).toString('utf8'));
        buffered = buffered.subarray(space + 1 + length);
      }
    });
  });
  server.on('connection', (socket) => sockets.add(socket.once('close', () => sockets.delete(socket))));
  server.on('tlsClientError', () => undefined);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const receiver: SyslogReceiver = { port: (server.address() as AddressInfo).port, messages, clients, cutAfter: undefined, close: async () => closed(receiver, server, sockets) };
  open.add(receiver);
  return receiver;
}

export interface HttpsReceiver extends Receiver {
  readonly requests: { readonly path: string; readonly headers: IncomingHttpHeaders; readonly body: string; readonly client: string | undefined }[];
  /** How it answers from now on. */
  answer: (request: { readonly path: string; readonly body: string }) => { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string };
}

/** An HTTPS server that keeps what is posted. */
export async function httpsReceiver({ port = 0, clientCertificates = false } = {}): Promise<HttpsReceiver> {
  const sockets = new Set<Duplex>();
  const server = createHttps({ cert: identity.certificatePem, key: identity.keyPem, ca: authority.certificatePem, requestCert: clientCertificates, rejectUnauthorized: clientCertificates }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const client = clientCertificates && request.socket instanceof TLSSocket ? commonNameOf(request.socket) : undefined;
      receiver.requests.push({ path: request.url ?? '', headers: request.headers, body, client });
      const { status, headers = {}, body: answer = '' } = receiver.answer({ path: request.url ?? '', body });
      response.writeHead(status, headers).end(answer);
    });
  });
  server.on('connection', (socket) => sockets.add(socket.once('close', () => sockets.delete(socket))));
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const receiver: HttpsReceiver = { port: (server.address() as AddressInfo).port, requests: [], answer: () => ({ status: 204 }), close: async () => closed(receiver, server, sockets) };
  open.add(receiver);
  return receiver;
}

function commonNameOf(socket: TLSSocket): string | undefined {
  return socket.getPeerX509Certificate()?.toLegacyObject().subject.CN as string | undefined;
}

async function closed(receiver: Receiver, server: { close(callback: () => void): unknown }, sockets: ReadonlySet<Duplex>): Promise<void> {
  if (!open.delete(receiver)) return;
  const done = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const socket of sockets) socket.destroy();
  await done;
}

/** Waits until something holds. */
export async function until(holds: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
