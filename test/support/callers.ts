import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HttpClient, type HttpAnswer } from '../../server/demo/http-client.ts';
import { MllpSender } from '../../server/demo/mllp-sender.ts';
import { backendKey, backendToken, type BackendKey } from '../../server/demo/smart-client.ts';
import type { TestServer } from './server.ts';

/** A resource as JSON, as loosely typed as it arrives. */
export type Json = Record<string, unknown>;

/** A FHIR search result as far as tests look at it. */
export interface SearchPage {
  readonly total?: number;
  readonly link?: readonly { readonly relation: string; readonly url: string }[];
  readonly entry?: readonly { readonly resource: Json & { readonly resourceType: string; readonly id: string; readonly meta: { readonly versionId: string } } }[];
}

/** The endpoints that a server names. */
export interface SmartEndpoints {
  readonly authorization_endpoint: string;
  readonly token_endpoint: string;
}

/** Asks a server for its endpoints. */
export async function smartEndpoints(server: TestServer, http: HttpClient): Promise<SmartEndpoints> {
  return (await http.call(`${server.fhirUrl}/.well-known/smart-configuration`)).json() as SmartEndpoints;
}

/** Tokens of backend services last five minutes. */
const renewAfterMs = 200_000;

/** A backend service that calls the FHIR API with a token of its own, which it renews. */
export class Backend {
  readonly clientId: string;
  readonly #server: TestServer;
  readonly #http: HttpClient;
  readonly #key: BackendKey;
  readonly #scope: string;
  #tokenUrl: string | undefined;
  #token: { readonly value: string; readonly atMs: number } | undefined;

  private constructor(server: TestServer, clientId: string, key: BackendKey, scope: string) {
    this.#server = server;
    this.#http = new HttpClient({ ca: server.ca });
    this.clientId = clientId;
    this.#key = key;
    this.#scope = scope;
  }

  /** Registers a service through the command line. */
  static async register(server: TestServer, scope = 'system/*.cruds'): Promise<Backend> {
    const key = await backendKey();
    const file = join(server.directory, `${key.kid}.jwks.json`);
    writeFileSync(file, JSON.stringify(key.jwks));
    const { client_id: clientId } = await server.cliJson<{ client_id: string }>(['client', 'add', '--name', 'Backend', '--jwks', file, '--scope', scope]);
    return new Backend(server, clientId, key, scope);
  }

  /** Calls the FHIR API. @param path below the base, without leading slash; or a whole URL */
  async call(method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<HttpAnswer> {
    const url = path.startsWith('https:') ? path : `${this.#server.fhirUrl}${path === '' ? '' : '/'}${path}`;
    return this.#http.call(url, {
      method,
      headers: { Authorization: `Bearer ${await this.token()}`, ...(body === undefined ? {} : { 'Content-Type': 'application/fhir+json' }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  }

  /** A valid access token. */
  async token(): Promise<string> {
    if (this.#token === undefined || Date.now() - this.#token.atMs > renewAfterMs) {
      this.#tokenUrl ??= (await smartEndpoints(this.#server, this.#http)).token_endpoint;
      const { access_token: value } = await backendToken(this.#http, this.#tokenUrl, this.clientId, this.#key, this.#scope);
      this.#token = { value, atMs: Date.now() };
    }
    return this.#token.value;
  }

  /** GET, which has to succeed. */
  async get<T>(path: string): Promise<T> {
    // Named: of a Binary, its own bytes would be meant.
    const answer = await this.call('GET', path, undefined, { Accept: 'application/fhir+json' });
    if (answer.status !== 200) throw new Error(`GET ${path.split('?')[0] ?? ''} was answered ${answer.status}`);
    return answer.json() as T;
  }

  /** Every match of a search or entry of a history, over all pages. */
  async all(path: string): Promise<NonNullable<SearchPage['entry']>[number]['resource'][]> {
    const found: NonNullable<SearchPage['entry']>[number]['resource'][] = [];
    for (let next: string | undefined = path; next !== undefined; ) {
      const page: SearchPage = await this.get<SearchPage>(next);
      found.push(...(page.entry ?? []).map(({ resource }) => resource));
      next = page.link?.find(({ relation }) => relation === 'next')?.url;
    }
    return found;
  }

  close(): void {
    this.#http.close();
  }
}

/** A partner's certificate. */
export interface PartnerCertificate {
  readonly directory: string;
  readonly serial: string;
  readonly cert: string;
  readonly key: string;
}

/** Registers a partner and gets it a certificate through the command line. */
export async function addPartner(server: TestServer, name: string): Promise<PartnerCertificate> {
  await server.cliJson(['partner', 'add', '--name', name, '--baa-expires', '2099-12-31']);
  return issueCertificate(server, name, join(server.directory, `partner-${name}`));
}

/** Gets a partner a (further) certificate. */
export async function issueCertificate(server: TestServer, name: string, directory: string): Promise<PartnerCertificate> {
  const { serial } = await server.cliJson<{ serial: string }>(['partner', 'issue-cert', name, '--out', directory]);
  return { directory, serial, cert: readFileSync(join(directory, 'client.crt'), 'utf8'), key: readFileSync(join(directory, 'client.key'), 'utf8') };
}

/** Opens a connection of a partner to the HL7v2 channel. */
export async function mllpSender(server: TestServer, { cert, key }: PartnerCertificate, timeoutMs = 30_000): Promise<MllpSender> {
  return MllpSender.connect({ host: '127.0.0.1', port: server.mllpPort, ca: server.ca, cert, key, timeoutMs });
}

/** How the HL7v2 channel fares. */
export interface ChannelStatus {
  readonly counts: Readonly<Record<'received' | 'mapped' | 'stored' | 'delivered' | 'failed', number>>;
}

export async function channelStatus(server: TestServer): Promise<ChannelStatus> {
  return (await server.cliJson<ChannelStatus[]>(['channel', 'status', 'hl7v2']))[0]!;
}

/** Waits until no message waits to be stored. */
export async function untilRouted(server: TestServer, timeoutMs = 60_000, tell: (waiting: number) => void = () => undefined): Promise<ChannelStatus> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const status = await channelStatus(server);
    const waiting = status.counts.received + status.counts.mapped;
    tell(waiting);
    if (waiting === 0) return status;
    if (Date.now() > deadline) throw new Error(`${waiting} messages still wait after ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** What tells one generated message from another. */
export interface Admission {
  readonly controlId: string;
  readonly mrn: string;
  readonly trigger?: string;
  readonly family?: string;
  readonly given?: string;
  readonly birthDate?: string;
  readonly street?: string;
  readonly phone?: string;
  readonly visit?: string;
}

/** Where the MRNs of generated messages come from, in FHIR. */
export const mrnSystem = 'urn:interlock:namespace:hl7v2:NORTH';

/** Writes an ADT message of version 2.5.1. */
export function admission({ controlId, mrn, trigger = 'A01', family = 'Sample', given = 'Ada', birthDate = '19700214', street = '12 Mill Lane', phone = '(216)555-0101', visit = `V${mrn}` }: Admission): string {
  return [
    String.raw`MSH|^~\&|ADT1|NORTHFIELD|INTERLOCK|HUB|20240510083500||ADT^${trigger}|${controlId}|P|2.5.1`,
    `EVN|${trigger}|20240510083500`,
    `PID|1||${mrn}^^^NORTH^MR||${family}^${given}||${birthDate}|F|||${street}^^Rivertown^OH^44101||${phone}`,
    `PV1|1|I|3W^301^A^NORTH${'|'.repeat(16)}${visit}^^^NORTH^VN`,
    '',
  ].join('\r');
}

/** MSA-1 of an acknowledgement, whatever separates its fields. */
export function ackCode(ack: string): string {
  return /(?:^|\r)MSA[^\w\r](\w\w)/.exec(ack)?.[1] ?? '';
}
