import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HttpClient, type HttpAnswer } from '../../server/demo/http-client.ts';
import { backendKey, backendToken as tokenOf } from '../../server/demo/smart-client.ts';
import type { TestServer } from './server.ts';

/** Any JSON that comes back from the FHIR API. */
export type Json = Record<string, unknown> & { readonly resourceType: string; readonly id: string };

export interface Bundle {
  readonly resourceType: 'Bundle';
  readonly type: string;
  readonly total?: number;
  readonly link?: readonly { readonly relation: string; readonly url: string }[];
  readonly entry?: readonly { readonly fullUrl?: string; readonly resource?: Json; readonly request?: Record<string, string>; readonly response?: Record<string, unknown>; readonly search?: { readonly mode: string } }[];
}

/** A caller of the FHIR API with a token of its own. */
export class FhirCaller {
  readonly #http: HttpClient;
  readonly #base: string;
  readonly #token: string | undefined;

  constructor(http: HttpClient, base: string, token?: string) {
    this.#http = http;
    this.#base = base;
    this.#token = token;
  }

  /** @param path below the FHIR base, or an absolute URL */
  async send(method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<HttpAnswer> {
    const url = path.startsWith('https://') ? path : path === '' ? this.#base : `${this.#base}/${path}`;
    const content: Record<string, string> = body === undefined ? {} : { 'Content-Type': 'application/fhir+json' };
    const authorization: Record<string, string> = this.#token === undefined ? {} : { Authorization: `Bearer ${this.#token}` };
    return this.#http.call(url, { method, headers: { ...authorization, ...content, ...headers }, ...(body === undefined ? {} : { body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body) }) });
  }

  /** GET, expecting 200. */
  async get<T = Json>(path: string): Promise<T> {
    // Named: of a Binary, its own bytes would be meant.
    const answer = await this.send('GET', path, undefined, { Accept: 'application/fhir+json' });
    if (answer.status !== 200) throw new Error(`GET was answered by ${answer.status}: ${answer.body.toString()}`);
    return answer.json() as T;
  }

  /** POST of a resource, expecting 201. */
  async create(resource: Record<string, unknown>): Promise<Json> {
    const answer = await this.send('POST', String(resource['resourceType']), resource);
    if (answer.status !== 201) throw new Error(`POST was answered by ${answer.status}: ${answer.body.toString()}`);
    return answer.json() as Json;
  }

  /** Logical ids of the matches of a search, over all pages. */
  async ids(path: string): Promise<string[]> {
    const ids: string[] = [];
    for (let next: string | undefined = path; next !== undefined; ) {
      const page: Bundle = await this.get<Bundle>(next);
      ids.push(...(page.entry ?? []).filter(({ search }) => search?.mode === 'match').map(({ resource }) => resource!.id));
      next = page.link?.find(({ relation }) => relation === 'next')?.url;
    }
    return ids;
  }
}

/** Registers a backend service and gets it a token. */
export async function backendCaller(server: TestServer, http: HttpClient, scope: string): Promise<FhirCaller> {
  return new FhirCaller(http, server.fhirUrl, await backendToken(server, http, scope));
}

/** The access token of a new backend service. */
export async function backendToken(server: TestServer, http: HttpClient, scope: string): Promise<string> {
  const key = await backendKey();
  const file = join(server.directory, `${key.kid}.jwks.json`);
  writeFileSync(file, JSON.stringify(key.jwks));
  const { client_id: clientId } = await server.cliJson<{ client_id: string }>(['client', 'add', '--name', 'Test backend', '--jwks', file, '--scope', scope]);
  return (await tokenOf(http, `${server.baseUrl}/oauth2/token`, clientId, key, scope)).access_token;
}
