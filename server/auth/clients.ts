import { hash as digest, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Connection } from 'mongoose';
import type { ClientMetadata, JWKS } from 'oidc-provider';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';
import { parseScope } from '../access/scopes.ts';
import type { Keyring } from '../kms/keyring.ts';

/** How a client authenticates: not at all, with a secret, or with a key pair (https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html). */
export type ClientType = 'public' | 'confidential-secret' | 'jwks';

export interface NewClient {
  /** Shown to people on the consent page. */
  readonly name: string;
  readonly type: ClientType;
  /** Compared exactly. `https:`, `http:` on the loopback, or a private-use scheme that holds a dot. */
  readonly redirectUris?: readonly string[];
  /** Space-separated patterns of what may be granted, such as `system/*.cruds` or `launch/patient patient/*.rs`. */
  readonly scope: string;
  /** Public keys, of type `jwks`; RSA for RS384 or P-384 for ES384. */
  readonly jwks?: unknown;
  /** Or where they are published (https). */
  readonly jwksUri?: string;
}

/** A registered client as it is listed: no secret, no keys. */
export interface ClientInfo {
  readonly clientId: string;
  readonly name: string;
  readonly type: ClientType;
  readonly redirectUris: readonly string[];
  readonly scope: string;
  readonly disabled: boolean;
}

interface Registration extends Omit<ClientInfo, 'clientId' | 'disabled'> {
  readonly jwks?: JWKS;
  readonly jwksUri?: string;
  /** SHA-256 of the secret, which is 256 random bits: nothing slower is needed, and nothing readable is kept. */
  readonly secretHash?: string;
}

interface Row {
  readonly _id: string;
  readonly body: Buffer;
  readonly disabled: boolean;
  readonly createdAt: Date;
}

const jwkSchema = z.union([
  z.object({ kty: z.literal('RSA'), n: z.string().min(340), e: z.string() }),
  z.object({ kty: z.literal('EC'), crv: z.literal('P-384'), x: z.string(), y: z.string() }),
]);
const keySetSchema = z.object({ keys: z.array(jwkSchema.and(z.looseObject({ kid: z.string().optional(), d: z.undefined().optional(), k: z.undefined().optional() }))).min(1).max(20) });

interface ClientsOptions {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly nowMs: () => number;
  readonly onChange?: (clientId: string) => void;
  /** Public clients that are pages of this server itself, by id. */
  readonly own?: ReadonlyMap<string, Pick<ClientInfo, 'name' | 'redirectUris' | 'scope'>>;
}

/** The registered OAuth clients. Ids are random and public; everything else is sealed. */
export class Clients {
  readonly #options: ClientsOptions;

  constructor(options: ClientsOptions) {
    this.#options = options;
  }

  get #rows() {
    return this.#options.app.collection<Row>('clients');
  }

  /**
   * Registers a client.
   *
   * @returns its id, and its secret if it has one: the only time it is seen
   * @throws InterlockError `business-rule`
   */
  async addClient(input: NewClient): Promise<{ readonly clientId: string; readonly clientSecret?: string }> {
    const registration = checked(input);
    const clientId = `app-${randomBytes(12).toString('hex')}`;
    const clientSecret = input.type === 'confidential-secret' ? randomBytes(32).toString('base64url') : undefined;
    const body: Registration = { ...registration, ...(clientSecret === undefined ? {} : { secretHash: secretHash(clientSecret) }) };
    await this.#rows.insertOne(
      { _id: clientId, body: this.#options.keyring.sealBlob('oauth', Buffer.from(JSON.stringify(body)), clientId), disabled: false, createdAt: new Date(this.#options.nowMs()) }
    );
    return { clientId, ...(clientSecret === undefined ? {} : { clientSecret }) };
  }

  /** Every client, oldest first. */
  async list(): Promise<ClientInfo[]> {
    const clients: ClientInfo[] = [];
    for await (const row of this.#rows.find({}, { promoteBuffers: true }).sort({ createdAt: 1 })) clients.push(info(row, await this.#open(row)));
    return clients;
  }

  /** Ends all access of a client: its requests and its tokens are refused. @throws InterlockError `not-found` */
  async disable(clientId: string): Promise<void> {
    const { matchedCount } = await this.#rows.updateOne({ _id: clientId }, { $set: { disabled: true } });
    if (matchedCount === 0) throw new InterlockError('not-found', { detail: 'There is no such client.' });
    this.#options.onChange?.(clientId);
  }

  /** A client that may act; undefined if unknown or disabled. */
  async get(clientId: string): Promise<ClientInfo | undefined> {
    const own = this.#own(clientId);
    if (own !== undefined) return { clientId, ...own, disabled: false };
    const row = await this.#active(clientId);
    return row === null ? undefined : info(row, await this.#open(row));
  }

  /** A client that may act, as oidc-provider's metadata; `client_secret` holds the secret's hash. See {@link secretMatches}. */
  async metadata(clientId: string): Promise<ClientMetadata | undefined> {
    const own = this.#own(clientId);
    if (own !== undefined) return metadataOf(clientId, own);
    const row = await this.#active(clientId);
    return row === null ? undefined : metadataOf(clientId, await this.#open(row));
  }

  #own(clientId: string): Registration | undefined {
    const own = this.#options.own?.get(clientId);
    return own === undefined ? undefined : { ...own, type: 'public' };
  }

  #active(clientId: string): Promise<Row | null> {
    return this.#rows.findOne({ _id: clientId, disabled: false }, { promoteBuffers: true });
  }

  async #open(row: Row): Promise<Registration> {
    return JSON.parse((await this.#options.keyring.openBlob('oauth', row.body, row._id)).toString()) as Registration;
  }
}

/** Compares a presented secret with a stored hash in constant time. */
export function secretMatches(storedHash: string, presented: string): boolean {
  const actual = Buffer.from(secretHash(presented));
  const expected = Buffer.from(storedHash);
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}

function secretHash(secret: string): string {
  return digest('sha256', secret, 'base64url');
}

function info(row: Row, registration: Registration): ClientInfo {
  const { name, type, redirectUris, scope } = registration;
  return { clientId: row._id, name, type, redirectUris, scope, disabled: row.disabled };
}

function checked(input: NewClient): Registration {
  const refuse = (expression: string, detail: string): never => {
    throw new InterlockError('business-rule', { expression, detail });
  };
  const { type, redirectUris = [] } = input;
  const name = input.name.normalize('NFKC').trim();
  // Control and formatting characters could make a name look like another one on the consent page.
  if (!/^[^\p{C}]{1,100}$/u.test(name)) refuse('name', 'A name has 1 to 100 visible characters.');
  const scopes = [...new Set(input.scope.split(/\s+/).filter(Boolean))];
  const parsed = scopes.map((text) => parseScope(text) ?? refuse('scope', 'A scope is not in SMART v1 or v2 syntax, or names no R4 type.'));
  if (parsed.length === 0 || parsed.length > 500) refuse('scope', 'A client has 1 to 500 scopes.');
  const forItself = parsed.some((scope) => scope.kind === 'resource' && scope.level === 'system');
  const forPeople = parsed.some((scope) => scope.kind !== 'resource' || scope.level !== 'system');
  if (type === 'public' && forItself) refuse('scope', 'A public client has no identity of its own, so it can hold no system scope.');
  if (forPeople && redirectUris.length === 0) refuse('redirectUris', 'Scopes other than system/ need a redirect URI.');
  if (redirectUris.length > 20 || !redirectUris.every(isRedirectUri)) refuse('redirectUris', 'A redirect URI is https, http on the loopback, or has a private-use scheme with a dot, and no fragment.');
  const common = { name, type, redirectUris, scope: scopes.join(' ') };
  if (type !== 'jwks') return common;
  if ((input.jwks === undefined) === (input.jwksUri === undefined)) refuse('jwks', 'Give either a key set or the URL of one.');
  if (input.jwksUri !== undefined) {
    const url = URL.parse(input.jwksUri);
    if (url?.protocol !== 'https:' || url.username !== '' || url.hash !== '') refuse('jwksUri', 'A key set URL is https.');
    return { ...common, jwksUri: input.jwksUri };
  }
  const keys = keySetSchema.safeParse(input.jwks);
  if (!keys.success) return refuse('jwks', 'A key set holds 1 to 20 public keys: RSA of at least 2048 bits, or EC on P-384.');
  return { ...common, jwks: keys.data };
}

function isRedirectUri(uri: string): boolean {
  const url = URL.parse(uri);
  if (url === null || uri.includes('#') || uri.length > 500 || url.username !== '') return false;
  if (url.protocol === 'https:') return true;
  if (url.protocol === 'http:') return ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  return url.protocol.includes('.');
}

function metadataOf(clientId: string, registration: Registration): ClientMetadata {
  const { name, type, redirectUris, scope, jwks, jwksUri, secretHash: hash } = registration;
  const interactive = redirectUris.length > 0;
  const forItself = type !== 'public' && scope.split(' ').some((text) => text.startsWith('system/'));
  return {
    client_id: clientId,
    client_name: name,
    application_type: redirectUris.some((uri) => !/^https?:/.test(uri)) ? 'native' : 'web',
    redirect_uris: [...redirectUris],
    response_types: interactive ? ['code'] : [],
    grant_types: [...(interactive ? ['authorization_code', 'refresh_token'] : []), ...(forItself ? ['client_credentials'] : [])],
    token_endpoint_auth_method: type === 'public' ? 'none' : type === 'jwks' ? 'private_key_jwt' : 'client_secret_basic',
    ...(hash === undefined ? {} : { client_secret: hash }),
    ...(jwks === undefined ? {} : { jwks }),
    ...(jwksUri === undefined ? {} : { jwks_uri: jwksUri }),
  };
}
