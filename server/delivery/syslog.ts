import { hostname } from 'node:os';
import { isIP } from 'node:net';
import { connect } from 'node:tls';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { OutboundTls } from './outbound-tls.ts';
import { WatchedStream } from './watched-stream.ts';

/** A message for a syslog server (RFC 5424, section 6). */
export interface SyslogMessage {
  /** Section 6.2.1: 10 is security, 13 audit. */
  readonly facility: number;
  /** Section 6.2.1: 0 (emergency) to 7 (debug). */
  readonly severity: number;
  readonly atMs: number;
  /** Section 6.2.7: 1 to 32 printable ASCII characters. */
  readonly msgId: string;
  readonly text: string;
}

export interface SyslogServer {
  /** `host:port`; an IPv6 address in brackets. */
  readonly address: string;
  readonly tls: OutboundTls;
  /** Longest time for one batch: 30,000. */
  readonly timeoutMs?: number;
}

const self = hostname().replaceAll(/[^\x21-\x7e]/g, '').slice(0, 255) || '-';
const byteOrderMark = '\uFEFF';

/** Writes a message, without framing. */
export function formatSyslog({ facility, severity, atMs, msgId, text }: SyslogMessage): string {
  return `<${facility * 8 + severity}>1 ${new Date(atMs).toISOString()} ${self} Interlock ${process.pid} ${msgId} - ${byteOrderMark}${text}`;
}

/**
 * Sends messages over TLS with octet counting (RFC 5425, section 4.3), and closes the connection. Syslog knows no acknowledgement,
 * but a receiver that has read everything answers the sender's close_notify with its own (section 4.4). Only then does this resolve.
 * Of a receiver that never does so, which an empty connection shows, the end of the connection has to be enough.
 *
 * @throws InterlockError `unavailable` unless the receiver has read it all
 */
export async function sendSyslog(server: SyslogServer, messages: readonly string[], signal?: AbortSignal): Promise<void> {
  const deadline = AbortSignal.timeout(server.timeoutMs ?? 30_000);
  const stop = signal === undefined ? deadline : AbortSignal.any([deadline, signal]);
  try {
    if ((await exchange(server, Buffer.concat(messages.map(frame)), stop)) === 'notified') return;
    if ((await exchange(server, Buffer.alloc(0), stop)) === 'notified') throw new Error('cut off');
  } catch (cause) {
    throw new InterlockError('unavailable', { cause });
  }
}

/** Connects, writes, ends. @returns how the receiver ended: with a close_notify, or just so */
async function exchange({ address, tls }: SyslogServer, bytes: Buffer, stop: AbortSignal): Promise<'notified' | 'ended'> {
  const { host, port } = parseAddress(address);
  stop.throwIfAborted();
  const carrier = new WatchedStream(host, port);
  const socket = connect({ socket: carrier, secureContext: tls(), host, ...(isIP(host) === 0 ? { servername: host } : {}) });
  const abort = (): void => void socket.destroy(new Error('aborted'));
  stop.addEventListener('abort', abort, { once: true });
  try {
    return await new Promise((resolve, reject) => {
      let finished = false;
      carrier.on('error', reject);
      socket.on('error', reject);
      socket.on('close', () => reject(new Error('closed early')));
      socket.once('secureConnect', () => {
        socket.once('finish', () => (finished = true));
        socket.end(bytes);
      });
      socket.once('end', () => (finished ? resolve(carrier.endedByAlert ? 'notified' : 'ended') : reject(new Error('closed early'))));
      socket.resume();
    });
  } finally {
    stop.removeEventListener('abort', abort);
    socket.destroy();
    carrier.destroy();
  }
}

/** @throws InterlockError `config-invalid` */
export function parseAddress(address: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) throw new InterlockError('config-invalid', { detail: 'A syslog server is named as host:port.' });
  return { host: match[1] ?? match[2]!, port };
}

function frame(message: string): Buffer {
  const bytes = Buffer.from(message);
  return Buffer.concat([Buffer.from(`${bytes.length} `), bytes]);
}
