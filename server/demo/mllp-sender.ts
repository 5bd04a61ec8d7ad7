import { connect, type TLSSocket } from 'node:tls';

const startBlock = 0x0b;
const endBlock = 0x1c;
const carriageReturn = 0x0d;

/** Where to send to and as whom. */
export interface MllpSenderOptions {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
  readonly timeoutMs?: number;
}

/**
 * A plain MLLP sender over TLS (HL7 Transport Specification: MLLP, Release 2): messages in, acknowledgements out, in order.
 * Several may be under way at once.
 */
export class MllpSender {
  readonly #socket: TLSSocket;
  readonly #timeoutMs: number;
  readonly #waiting: { resolve: (ack: string) => void; reject: (error: Error) => void; timer: NodeJS.Timeout }[] = [];
  #buffer = Buffer.alloc(0);

  private constructor(socket: TLSSocket, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the connection was closed')));
  }

  /** Connects. @throws if the handshake fails */
  static async connect(options: MllpSenderOptions): Promise<MllpSender> {
    const { host, port, ca, cert, key, timeoutMs = 30_000 } = options;
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, ca, ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }), servername: 'localhost' });
      socket.once('error', reject);
      socket.once('secureConnect', () => {
        socket.off('error', reject);
        resolve(new MllpSender(socket, timeoutMs));
      });
    });
  }

  /** Sends one message. @returns the acknowledgement; @throws if none comes in time or the connection ends */
  async send(message: string | Buffer): Promise<string> {
    const body = typeof message === 'string' ? Buffer.from(message) : message;
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed || this.#socket.writableEnded) {
        reject(new Error('the connection was closed'));
        return;
      }
      const timer = setTimeout(() => this.#socket.destroy(new Error('no acknowledgement in time')), this.#timeoutMs);
      this.#waiting.push({ resolve, reject, timer });
      this.#socket.write(Buffer.concat([Buffer.from([startBlock]), body, Buffer.from([endBlock, carriageReturn])]));
    });
  }

  close(): void {
    this.#socket.end();
  }

  #receive(chunk: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    for (;;) {
      const end = this.#buffer.indexOf(endBlock);
      if (end < 0) return;
      const begin = this.#buffer.indexOf(startBlock);
      const ack = this.#buffer.subarray(begin + 1, end).toString();
      this.#buffer = this.#buffer.subarray(this.#buffer[end + 1] === carriageReturn ? end + 2 : end + 1);
      const waiting = this.#waiting.shift();
      clearTimeout(waiting?.timer);
      waiting?.resolve(ack);
    }
  }

  #fail(error: Error): void {
    for (const { reject, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer);
      reject(error);
    }
  }
}
