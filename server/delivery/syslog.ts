import { hostname } from 'node:os';
import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { OutboundTls } from './outbound-tls.ts';

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
 * but a receiver closes its side (section 4.4) when it has read everything up to the sender's end. Only then does this resolve: a
 * connection that is cut with something unread is reset.
 *
 * @throws InterlockError `unavailable` unless the receiver has read it all
 */
export async function sendSyslog({ address, tls, timeoutMs = 30_000 }: SyslogServer, messages: readonly string[], signal?: AbortSignal): Promise<void> {
  const { host, port } = parseAddress(address);
  const deadline = AbortSignal.timeout(timeoutMs);
  const stop = signal === undefined ? deadline : AbortSignal.any([deadline, signal]);
  let socket: TLSSocket | undefined;
  const abort = (): void => void socket?.destroy(new Error('aborted'));
  try {
    await new Promise<void>((resolve, reject) => {
      stop.throwIfAborted();
      stop.addEventListener('abort', abort, { once: true });
      const opened = (socket = connect({ host, port, secureContext: tls(), ...(isIP(host) === 0 ? { servername: host } : {}) }));
      let finished = false;
      opened.on('error', reject);
      opened.on('close', () => reject(new Error('closed early')));
      opened.once('secureConnect', () => {
        opened.once('finish', () => (finished = true));
        opened.end(Buffer.concat(messages.map(frame)));
      });
      opened.once('end', () => (finished ? resolve() : reject(new Error('closed early'))));
      opened.resume();
    });
  } catch (cause) {
    throw new InterlockError('unavailable', { cause });
  } finally {
    stop.removeEventListener('abort', abort);
    socket?.destroy();
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
