import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import type { Backend } from '../support/callers.ts';
import type { TestServer } from '../support/server.ts';

/** An answer, read whole and not looked into. */
export interface LeanAnswer {
  readonly status: number;
  readonly body: Buffer;
  json(): unknown;
}

const headEnd = Buffer.from('\r\n\r\n');

/**
 * HTTP/1.1 (RFC 9112) over TLS connections that are verified and kept, with as little work as that takes: the generator of
 * the load shares processors with what it measures. Answers have a Content-Length.
 */
export class LeanClient {
  readonly #backend: Backend;
  readonly #server: TestServer;
  readonly #idle: Line[] = [];

  /** @param backend whose access token is sent */
  constructor(backend: Backend, server: TestServer) {
    this.#backend = backend;
    this.#server = server;
  }

  /** Calls the FHIR API. @param path below the base, without leading slash @throws if the connection fails, or the answer has no length */
  async call(method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<LeanAnswer> {
    const { host, pathname } = new URL(this.#server.fhirUrl);
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
    const more = { ...(body === undefined ? {} : { 'Content-Type': 'application/fhir+json', 'Content-Length': String(Buffer.byteLength(text)) }), ...headers };
    const head = [`${method} ${pathname}${path === '' ? '' : '/'}${path} HTTP/1.1`, `Host: ${host}`, `Authorization: Bearer ${await this.#backend.token()}`, ...Object.entries(more).map(([name, value]) => `${name}: ${value}`)];
    const line = this.#free() ?? (await Line.open(this.#server));
    const answer = await line.ask(`${head.join('\r\n')}\r\n\r\n${text}`);
    this.#idle.push(line);
    return answer;
  }

  /** The server closes what is idle for long. */
  #free(): Line | undefined {
    const line = this.#idle.pop();
    return line?.isClosed === true ? this.#free() : line;
  }

  close(): void {
    for (const line of this.#idle) line.close();
  }
}

/** One connection, one request at a time. */
class Line {
  readonly #socket: TLSSocket;
  #received: Buffer[] = [];
  #size = 0;
  #expected: number | undefined;
  #waiting: { readonly resolve: (answer: LeanAnswer) => void; readonly reject: (cause: Error) => void } | undefined;

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (cause) => this.#fail(cause));
    socket.on('close', () => this.#fail(new Error('The server closed the connection.')));
  }

  static async open({ fhirUrl, ca }: TestServer): Promise<Line> {
    const { hostname, port } = new URL(fhirUrl);
    const socket = connect({ host: hostname, port: Number(port), ca });
    socket.setNoDelay();
    await once(socket, 'secureConnect');
    return new Line(socket);
  }

  get isClosed(): boolean {
    return this.#socket.destroyed;
  }

  async ask(request: string): Promise<LeanAnswer> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(request);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    this.#received.push(chunk);
    this.#size += chunk.length;
    if (this.#expected === undefined) {
      const all = this.#received.length === 1 ? chunk : Buffer.concat(this.#received);
      const end = all.indexOf(headEnd);
      if (end < 0) return;
      const length = /\r\ncontent-length: *([0-9]+)/i.exec(all.toString('latin1', 0, end))?.[1];
      const isEmpty = /^HTTP\/1\.1 (?:204|304)/.test(all.toString('latin1', 0, 12));
      if (length === undefined && !isEmpty) return void this.#socket.destroy(new Error('The answer has no Content-Length.'));
      this.#expected = end + headEnd.length + Number(length ?? 0);
    }
    if (this.#size < this.#expected) return;
    const all = this.#received.length === 1 ? this.#received[0]! : Buffer.concat(this.#received);
    const body = all.subarray(all.indexOf(headEnd) + headEnd.length);
    const { resolve } = this.#waiting!;
    [this.#received, this.#size, this.#expected, this.#waiting] = [[], 0, undefined, undefined];
    resolve({ status: Number(all.toString('latin1', 9, 12)), body, json: (): unknown => JSON.parse(body.toString()) });
  }

  #fail(cause: Error): void {
    this.#waiting?.reject(cause);
    this.#waiting = undefined;
  }
}
