import { hash as digest, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Connection } from 'mongoose';
import { errors, type ClientMetadata } from 'oidc-provider';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import { checkedClient, checkedKeys, metadataOf, type ClientType, type NewClient, type Registration } from './client-rules.ts';

export type { ClientType, NewClient } from './client-rules.ts';

/** `pending`: registered by itself, and waits for approval. Only `active` clients may act. */
export type ClientStatus = 'pending' | 'active' | 'disabled';

/** A registered client as it is listed: no secret, no keys. */
export interface ClientInfo {
  readonly clientId: string;
  readonly name: string;
  readonly type: ClientType;
  readonly redirectUris: readonly string[];
  readonly scope: string;
  readonly status: ClientStatus;
  readonly grantTypes: readonly string[];
  readonly jwksUri?: string;
  readonly requireDpop: boolean;
  readonly requireMtls: boolean;
  /** Who vouched for it, if it registered itself with a software statement. */
  readonly softwareIssuer?: string;
  /** FHIR instant. Absent: a page of this server itself. */
  readonly registeredAt?: string;
}

/** Sealed as one: neither keys nor standing of a client can be changed in the database alone. */
interface Kept extends Registration {
  readonly status: ClientStatus;
  readonly softwareIssuer?: string;
}

interface Row {
  readonly _id: string;
  readonly body: Buffer;
  readonly createdAt: Date;
}

interface ClientsOptions {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly nowMs: () => number;
  readonly onChange?: (clientId: string) => void;
  /** Refuses URLs that no key set is fetched from. @throws InterlockError `business-rule` */
  readonly assertKeySetUrl: (url: string) => void;
  /** Public clients that are pages of this server itself, by id. */
  readonly own?: ReadonlyMap<string, Pick<ClientInfo, 'name' | 'redirectUris' | 'scope'>>;
}

/** What oidc-provider answers for a client that waits. */
export const awaitsApproval = 'the app awaits approval';

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
   * @param review given: it waits for approval
   * @returns its id, and its secret if it has one: the only time it is seen
   * @throws InterlockError `business-rule`
   */
  async addClient(input: NewClient, review?: { readonly softwareIssuer?: string }): Promise<{ readonly clientId: string; readonly clientSecret?: string; readonly info: ClientInfo }> {
    const registration = checkedClient(input, this.#options.assertKeySetUrl);
    const _id = `app-${randomBytes(12).toString('hex')}`;
    const clientSecret = input.type === 'confidential-secret' ? newSecret() : undefined;
    const kept: Kept = { ...registration, status: review === undefined ? 'active' : 'pending', ...review, ...(clientSecret === undefined ? {} : { secretHash: secretHash(clientSecret) }) };
    const row: Row = { _id, body: this.#seal(_id, kept), createdAt: new Date(this.#options.nowMs()) };
    await this.#rows.insertOne(row);
    return { clientId: _id, ...(clientSecret === undefined ? {} : { clientSecret }), info: info(_id, kept, row.createdAt) };
  }

  /** @throws InterlockError `business-rule` if such a client would not be registered */
  assertAcceptable(input: NewClient): void {
    checkedClient(input, this.#options.assertKeySetUrl);
  }

  /** Every client, oldest first. */
  async list(): Promise<ClientInfo[]> {
    const clients: ClientInfo[] = [];
    for await (const row of this.#rows.find({}, { promoteBuffers: true }).sort({ createdAt: 1 })) clients.push(info(row._id, await this.#open(row), row.createdAt));
    return clients;
  }

  /** A client, whatever its standing. @throws InterlockError `not-found` */
  async show(clientId: string): Promise<ClientInfo> {
    const row = await this.#find(clientId);
    return info(row._id, await this.#open(row), row.createdAt);
  }

  /** Lets a client act that registered itself. @throws InterlockError `not-found`, `business-rule` if it does not wait */
  async approve(clientId: string): Promise<void> {
    await this.#change(clientId, (kept) => ({ ...pendingOnly(kept), status: 'active' }));
  }

  /** Removes a client that registered itself and was not approved. @throws InterlockError `not-found`, `business-rule` */
  async reject(clientId: string): Promise<void> {
    const row = await this.#find(clientId);
    pendingOnly(await this.#open(row));
    await this.#rows.deleteOne({ _id: clientId, body: row.body });
  }

  /** Ends all access of a client: its requests and its tokens are refused. @throws InterlockError `not-found` */
  async disable(clientId: string): Promise<void> {
    await this.#change(clientId, (kept) => ({ ...kept, status: 'disabled' }));
  }

  /** Gives a client a new secret; the old one counts no more. @throws InterlockError `not-found`, `business-rule` */
  async rotateSecret(clientId: string): Promise<string> {
    const clientSecret = newSecret();
    await this.#change(clientId, (kept) => {
      if (kept.type !== 'confidential-secret') throw new InterlockError('business-rule', { detail: 'This client has no secret.' });
      return { ...kept, secretHash: secretHash(clientSecret) };
    });
    return clientSecret;
  }

  /** Replaces the keys of a client, or where they are published. @throws InterlockError `not-found`, `business-rule` */
  async setKeys(clientId: string, keys: Pick<NewClient, 'jwks' | 'jwksUri'>): Promise<void> {
    await this.#change(clientId, ({ jwks: _, jwksUri: __, tlsSubject: ___, ...kept }) => ({ ...kept, ...checkedKeys({ type: kept.type, ...keys }, this.#options.assertKeySetUrl) }));
  }

  /** A client that may act; undefined if it is unknown, waits or is disabled. */
  async get(clientId: string): Promise<ClientInfo | undefined> {
    const own = this.#own(clientId);
    if (own !== undefined) return info(clientId, own);
    const row = await this.#rows.findOne({ _id: clientId }, { promoteBuffers: true });
    if (row === null) return undefined;
    const kept = await this.#open(row);
    return kept.status === 'active' ? info(clientId, kept, row.createdAt) : undefined;
  }

  /** A client that may act, as oidc-provider's metadata. See {@link secretMatches}. @throws errors.InvalidClient while it waits */
  async metadata(clientId: string): Promise<ClientMetadata | undefined> {
    const own = this.#own(clientId);
    if (own !== undefined) return metadataOf(clientId, own);
    const row = await this.#rows.findOne({ _id: clientId }, { promoteBuffers: true });
    if (row === null) return undefined;
    const kept = await this.#open(row);
    if (kept.status === 'pending') throw new errors.InvalidClient(awaitsApproval);
    return kept.status === 'active' ? metadataOf(clientId, kept) : undefined;
  }

  #own(clientId: string): Kept | undefined {
    const own = this.#options.own?.get(clientId);
    return own === undefined ? undefined : { ...own, type: 'public', status: 'active' };
  }

  async #find(clientId: string): Promise<Row> {
    const row = await this.#rows.findOne({ _id: clientId }, { promoteBuffers: true });
    if (row === null) throw new InterlockError('not-found', { detail: 'There is no such client.' });
    return row;
  }

  /** Replaces what is kept unless it has changed in between, in which case the change is tried on what it is now. */
  async #change(clientId: string, change: (kept: Kept) => Kept): Promise<void> {
    for (let attempts = 0; attempts < 5; attempts += 1) {
      const row = await this.#find(clientId);
      const body = this.#seal(clientId, change(await this.#open(row)));
      const { matchedCount } = await this.#rows.updateOne({ _id: clientId, body: row.body }, { $set: { body } });
      if (matchedCount === 0) continue;
      this.#options.onChange?.(clientId);
      return;
    }
    throw new InterlockError('version-conflict');
  }

  #seal(clientId: string, kept: Kept): Buffer {
    return this.#options.keyring.sealBlob('oauth', Buffer.from(JSON.stringify(kept)), clientId);
  }

  async #open(row: Row): Promise<Kept> {
    return JSON.parse((await this.#options.keyring.openBlob('oauth', row.body, row._id)).toString()) as Kept;
  }
}

/** Compares a presented secret with a stored hash in constant time. */
export function secretMatches(storedHash: string, presented: string): boolean {
  const actual = Buffer.from(secretHash(presented));
  const expected = Buffer.from(storedHash);
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}

function newSecret(): string {
  return randomBytes(32).toString('base64url');
}

function secretHash(secret: string): string {
  return digest('sha256', secret, 'base64url');
}

function pendingOnly(kept: Kept): Kept {
  if (kept.status !== 'pending') throw new InterlockError('business-rule', { detail: 'This client does not wait for approval.' });
  return kept;
}

function info(clientId: string, kept: Kept, createdAt?: Date): ClientInfo {
  const { name, type, redirectUris, scope, status, jwksUri, softwareIssuer, requireDpop = false, requireMtls = false } = kept;
  return {
    clientId, name, type, redirectUris, scope, status, requireDpop, requireMtls,
    grantTypes: metadataOf(clientId, kept).grant_types ?? [],
    ...(jwksUri === undefined ? {} : { jwksUri }),
    ...(softwareIssuer === undefined ? {} : { softwareIssuer }),
    ...(createdAt === undefined ? {} : { registeredAt: createdAt.toISOString() }),
  };
}
