import { createServer, type SecureContextOptions, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import type { AddressInfo, Socket } from 'node:net';
import { constants } from 'node:crypto';
import type { IngestResult } from '../ingest.ts';
import type { Audit, Log, PartnerIdentity, Partners } from '../ports.ts';
import { block, Framer } from './framing.ts';

export interface MllpServerOptions {
  readonly channelId: string;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** The listener's own key and certificate, and the authority whose clients it accepts. That these must show a certificate is not up to the options. */
  readonly tls: TlsOptions;
  readonly partners: Partners;
  readonly audit: Audit;
  readonly log: Log;
  /** Takes what one block holds; the answers are sent when it resolves, each in a block of its own. */
  readonly ingest: (partner: PartnerIdentity, bytes: Buffer) => Promise<readonly IngestResult[]>;
  readonly refuseOversize: (partner: PartnerIdentity, head: Buffer) => Promise<IngestResult>;
  readonly maxMessageBytes: number;
  readonly limits?: Partial<MllpLimits>;
}

/** Bounds of a listener. */
export interface MllpLimits {
  /** Open connections, those in their handshake included. */
  readonly maxConnections: number;
  readonly maxConnectionsPerPartner: number;
  /** Memory that the unfinished messages of all connections may hold. */
  readonly maxHeldBytes: number;
  readonly handshakeTimeoutMs: number;
  /** From the start of a block to its end. */
  readonly blockTimeoutMs: number;
  /** Without the start of a block. */
  readonly idleTimeoutMs: number;
  /** Until the peer has read an answer. */
  readonly answerTimeoutMs: number;
}

const defaultLimits: MllpLimits = {
  maxConnections: 1024, maxConnectionsPerPartner: 64, maxHeldBytes: 256 * 2 ** 20,
  handshakeTimeoutMs: 10_000, blockTimeoutMs: 60_000, idleTimeoutMs: 3600_000, answerTimeoutMs: 30_000,
};

const headBytes = 4096;
const maxNoiseBytes = 1024;
/** After a last answer: time for the peer to read it before the connection is cut. */
const lingerMs = 2000;
const handshakeAuditMs = 5000;

/**
 * MLLP over mutual TLS. Nothing of a message is read before the certificate chain and the partner behind it are accepted,
 * and the partner is asked for again before every message. One message of a connection is worked on at a time, in order,
 * and the socket is not read meanwhile.
 */
export class MllpServer {
  readonly #options: MllpServerOptions;
  readonly #limits: MllpLimits;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #byPartner = new Map<string, number>();
  readonly #handshaking = new Set<string>();
  readonly #refusedHandshakes = new Map<string, number>();
  #handshakeAudit: NodeJS.Timeout | undefined;
  #heldBytes = 0;

  constructor(options: MllpServerOptions) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#server = createServer({
      minVersion: 'TLSv1.2', ...options.tls, requestCert: true, rejectUnauthorized: true,
      handshakeTimeout: this.#limits.handshakeTimeoutMs,
      // A resumed session would bring back a certificate that may have been revoked meanwhile.
      secureOptions: constants.SSL_OP_NO_TICKET, sessionTimeout: 1,
      // Some senders half-close after their last message and still wait for its answer.
      allowHalfOpen: true, noDelay: true, keepAlive: true, highWaterMark: 64 * 1024,
    });
    this.#server.maxConnections = this.#limits.maxConnections;
    // A socket that failed its handshake no longer knows its peer, so peers are kept until they have passed or gone.
    this.#server.on('connection', (socket: Socket) => {
      const peer = peerOf(socket);
      this.#handshaking.add(peer);
      socket.once('close', () => {
        if (this.#handshaking.delete(peer)) this.#noteRefusedHandshake(peer.slice(0, peer.lastIndexOf(' ')));
      });
    });
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy());
    this.#server.on('secureConnection', (socket) => {
      this.#handshaking.delete(peerOf(socket));
      void this.#serve(socket);
    });
  }

  /** Starts to listen. @returns the address that was bound @throws when the port is taken */
  async listen(): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#options.port, this.#options.host, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#server.on('error', (error: Error) => this.#options.log.error('listener failed', { channel: this.#options.channelId, errorName: error.name }));
    return this.#server.address() as AddressInfo;
  }

  /** Replaces certificates and revocation list for new connections. */
  setTls(tls: SecureContextOptions): void {
    this.#server.setSecureContext({ minVersion: 'TLSv1.2', ...tls, secureOptions: constants.SSL_OP_NO_TICKET });
  }

  /** Stops accepting; messages under way are finished and answered, then connections are closed, at the latest after `deadlineMs`. */
  async stop(deadlineMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#connections) connection.drain();
    const timer = setTimeout(() => {
      for (const connection of this.#connections) connection.socket.destroy();
    }, deadlineMs);
    await closed;
    clearTimeout(timer);
    clearTimeout(this.#handshakeAudit);
    await this.#auditHandshakes();
  }

  async #serve(socket: TLSSocket): Promise<void> {
    const connection = new Connection(socket, this.#limits);
    this.#connections.add(connection);
    try {
      const partner = await this.#admit(connection);
      if (partner === undefined || !this.#countIn(partner)) {
        socket.destroy();
        return;
      }
      try {
        await this.#converse(connection, partner);
      } finally {
        this.#countOut(partner);
      }
    } catch (error) {
      // Broken connections are everyday: the sender sends again what was not acknowledged.
      if (!connection.draining) this.#options.log.warn('connection ended', { channel: this.#options.channelId, ...(error instanceof Error ? { errorName: error.name } : {}) });
    } finally {
      this.#heldBytes -= connection.heldBytes;
      connection.close();
      this.#connections.delete(connection);
    }
  }

  /** Answers message after message until the peer, a limit or {@link stop} ends it. */
  async #converse(connection: Connection, partner: PartnerIdentity): Promise<void> {
    const { socket } = connection;
    const framer = new Framer({ maxMessageBytes: this.#options.maxMessageBytes, headBytes, maxNoiseBytes });
    connection.busy = false;
    if (connection.draining) return;
    connection.waitFor('idle');
    for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      connection.busy = true;
      for (const frame of framer.push(chunk)) {
        connection.waitFor('nothing');
        // Asked for again: an agreement may have ended, or a certificate been revoked, since the last message.
        const admitted = await this.#admit(connection);
        if (admitted === undefined) return;
        if (frame.kind === 'noise') {
          await this.#options.audit.record({ interaction: 'connection-refused', outcome: '4', channelId: this.#options.channelId, partner: admitted, messageId: '', rule: 'framing' });
          return;
        }
        const results = frame.kind === 'message' ? await this.#options.ingest(admitted, frame.bytes) : [await this.#options.refuseOversize(admitted, frame.head)];
        for (const { ack } of results) if (ack.length > 0) await connection.answer(block(ack));
        if (frame.kind === 'oversize' || connection.draining) return;
      }
      connection.busy = false;
      if (connection.draining) return;
      this.#heldBytes += framer.heldBytes - connection.heldBytes;
      connection.heldBytes = framer.heldBytes;
      if (this.#heldBytes > this.#limits.maxHeldBytes) {
        this.#options.log.warn('connection closed: too much unfinished', { channel: this.#options.channelId, partner: partner.name });
        return;
      }
      connection.waitFor(framer.inBlock ? 'block' : 'idle');
    }
  }

  async #admit({ fingerprint, address }: Connection): Promise<PartnerIdentity | undefined> {
    // With rejectUnauthorized there is always a certificate; should there be none, it is refused all the same.
    if (fingerprint === undefined) return undefined;
    const admitted = await this.#options.partners.admit(fingerprint, this.#options.channelId, address);
    return 'partner' in admitted ? admitted.partner : undefined;
  }

  #countIn(partner: PartnerIdentity): boolean {
    const open = this.#byPartner.get(partner.name) ?? 0;
    if (open >= this.#limits.maxConnectionsPerPartner) {
      this.#options.log.warn('connection refused: too many', { channel: this.#options.channelId, partner: partner.name, count: open });
      return false;
    }
    this.#byPartner.set(partner.name, open + 1);
    return true;
  }

  #countOut(partner: PartnerIdentity): void {
    const open = (this.#byPartner.get(partner.name) ?? 1) - 1;
    if (open === 0) this.#byPartner.delete(partner.name);
    else this.#byPartner.set(partner.name, open);
  }

  /** Handshakes without a valid certificate cost the peer nothing, so they are counted and audited together. */
  #noteRefusedHandshake(address: string): void {
    if (this.#refusedHandshakes.size < 1000 || this.#refusedHandshakes.has(address)) this.#refusedHandshakes.set(address, (this.#refusedHandshakes.get(address) ?? 0) + 1);
    this.#handshakeAudit ??= setTimeout(() => void this.#auditHandshakes(), handshakeAuditMs);
  }

  async #auditHandshakes(): Promise<void> {
    this.#handshakeAudit = undefined;
    const counts = [...this.#refusedHandshakes];
    this.#refusedHandshakes.clear();
    for (const [address, count] of counts) {
      await this.#options.audit.record({ interaction: 'connection-refused', outcome: '8', channelId: this.#options.channelId, messageId: '', rule: 'certificate', address, count })
        .catch((error: unknown) => this.#options.log.error('refused handshakes not recorded', { channel: this.#options.channelId, count, ...(error instanceof Error ? { errorName: error.name } : {}) }));
    }
  }
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress ?? ''} ${socket.remotePort ?? ''}`;
}

/** One connection: its timer, its answers and how it ends. */
class Connection {
  readonly socket: TLSSocket;
  /** SHA-256 of the peer's certificate, lower-case hex. Read once: it costs more than all else that is done per message. */
  readonly fingerprint: string | undefined;
  readonly address: string;
  readonly #limits: MllpLimits;
  #timer: NodeJS.Timeout | undefined;
  #waiting: 'nothing' | 'idle' | 'block' = 'nothing';
  heldBytes = 0;
  busy = true;
  draining = false;

  constructor(socket: TLSSocket, limits: MllpLimits) {
    this.socket = socket;
    const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined;
    this.fingerprint = certificate?.fingerprint256.replaceAll(':', '').toLowerCase();
    this.address = socket.remoteAddress ?? '';
    this.#limits = limits;
    // Errors surface where the socket is read or written; without a listener they would end the process.
    socket.on('error', () => undefined);
  }

  /** Runs the clock for what is waited for; it is not restarted by bytes, so that a trickle does not keep a connection alive. */
  waitFor(what: 'nothing' | 'idle' | 'block'): void {
    if (what === this.#waiting) return;
    clearTimeout(this.#timer);
    this.#waiting = what;
    if (what !== 'nothing') this.#timer = setTimeout(() => this.socket.destroy(), what === 'block' ? this.#limits.blockTimeoutMs : this.#limits.idleTimeoutMs);
  }

  async answer(bytes: Buffer): Promise<void> {
    const timer = setTimeout(() => this.socket.destroy(), this.#limits.answerTimeoutMs);
    try {
      await new Promise<void>((resolve, reject) => this.socket.write(bytes, (error) => error ? reject(error) : resolve()));
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the connection once what is under way is answered; at once if nothing is. */
  drain(): void {
    this.draining = true;
    if (!this.busy) this.socket.destroy();
  }

  /** Ends the sending side and skips what still comes in for a moment, so that the last answer is not lost to a reset. */
  close(): void {
    clearTimeout(this.#timer);
    const { socket } = this;
    if (socket.destroyed) return;
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    socket.once('close', () => clearTimeout(timer));
    socket.end();
    socket.resume();
  }
}
