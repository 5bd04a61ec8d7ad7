import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';

/** Types and lengths of TLS records (RFC 8446, sections 5.1 and 5.2): an alert in TLS 1.2, and one sealed in TLS 1.3 with a tag of 16 bytes. */
const alertType = 21;
const sealedType = 23;
const sealedAlertBytes = 2 + 1 + 16;
const headerBytes = 5;

/** Carries TLS, and sees, by the lengths of records alone, whether the last that came was an alert: of a connection without error, a close_notify. */
export class WatchedStream extends Duplex {
  readonly #socket: Socket;
  /** Of the record that is coming. */
  #header = Buffer.alloc(0);
  #left = 0;
  #endedByAlert = false;

  constructor(host: string, port: number) {
    super();
    this.#socket = connect({ host, port });
    this.#socket.on('data', (chunk: Buffer) => {
      this.#watch(chunk);
      if (!this.push(chunk)) this.#socket.pause();
    });
    this.#socket.on('end', () => this.push(null));
    this.#socket.on('error', (error) => this.destroy(error));
    this.#socket.on('close', () => this.destroy());
  }

  get endedByAlert(): boolean {
    return this.#endedByAlert;
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  #watch(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at);
        this.#left -= taken;
        at += taken;
        continue;
      }
      const taken = chunk.subarray(at, at + headerBytes - this.#header.length);
      this.#header = Buffer.concat([this.#header, taken]);
      at += taken.length;
      if (this.#header.length < headerBytes) return;
      this.#left = this.#header.readUInt16BE(3);
      this.#endedByAlert = this.#header[0] === alertType || (this.#header[0] === sealedType && this.#left === sealedAlertBytes);
      this.#header = Buffer.alloc(0);
    }
  }
}
