import { Agent, request } from 'node:https';

/** An answer, read whole. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  json(): unknown;
}

/** How to reach a server. */
export interface HttpClientOptions {
  /** The CA to trust, PEM. */
  readonly ca: string;
  /** A client certificate, PEM. */
  readonly cert?: string;
  readonly key?: string;
  readonly maxSockets?: number;
}

export interface HttpCall {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

/** A small HTTPS client that keeps connections alive and does not follow redirects. */
export class HttpClient {
  readonly #agent: Agent;

  constructor(options: HttpClientOptions) {
    const { ca, cert, key, maxSockets = 64 } = options;
    this.#agent = new Agent({ keepAlive: true, maxSockets, ca, ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) });
  }

  /** Sends a request. @throws if there is no answer */
  async call(url: string, { method = 'GET', headers = {}, body }: HttpCall = {}): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) };
      const sent = request(url, { method, agent: this.#agent, headers: { ...length, ...headers } }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const bytes = Buffer.concat(chunks);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: bytes, json: (): unknown => JSON.parse(bytes.toString()) });
        });
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }

  /** Closes idle connections. */
  close(): void {
    this.#agent.destroy();
  }
}
