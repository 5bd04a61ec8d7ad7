import type { Connection } from 'mongoose';
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify, type JSONWebKeySet } from 'jose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { KeySets } from './key-sets.ts';

/** Someone who vouches for apps by software statements (RFC 7591, section 2.3). */
export interface SoftwareIssuer {
  /** `iss` of the statements. */
  readonly issuer: string;
  readonly jwks?: JSONWebKeySet;
  readonly jwksUri?: string;
}

interface Row {
  readonly _id: Buffer;
  readonly body: Buffer;
}

export interface SoftwareIssuersOptions {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly keySets: KeySets;
  readonly nowMs: () => number;
}

const algorithms = ['RS256', 'RS384', 'PS256', 'ES256', 'ES384'];
const maxIssuers = 50;

/** Whose software statements are believed; sealed rows. */
export class SoftwareIssuers {
  readonly #options: SoftwareIssuersOptions;

  constructor(options: SoftwareIssuersOptions) {
    this.#options = options;
  }

  get #rows() {
    return this.#options.app.collection<Row>('software_issuers');
  }

  /** Trusts an issuer from now on, by these keys. @throws InterlockError `business-rule` */
  async trust(entry: SoftwareIssuer): Promise<void> {
    const { keyring, keySets } = this.#options;
    const refuse = (detail: string): never => {
      throw new InterlockError('business-rule', { detail });
    };
    if (URL.parse(entry.issuer)?.protocol !== 'https:' || entry.issuer.length > 500) refuse('An issuer is an https URL.');
    if ((entry.jwks === undefined) === (entry.jwksUri === undefined)) refuse('Give either a key set or the URL of one.');
    if (entry.jwksUri !== undefined) keySets.assertUrl(entry.jwksUri);
    const keys: unknown = entry.jwks?.keys ?? [{ kty: 'EC' }];
    if (!Array.isArray(keys) || keys.length === 0 || keys.length > 20 || !keys.every((key: unknown) => isPublicKey(key))) refuse('A key set holds 1 to 20 public keys.');
    if ((await this.#rows.countDocuments()) >= maxIssuers) refuse('There are too many issuers.');
    const _id = this.#key(entry.issuer);
    await this.#rows.updateOne({ _id }, { $set: { body: keyring.sealBlob('oauth', Buffer.from(JSON.stringify(entry)), _id.toString('hex')) } }, { upsert: true });
  }

  /** @throws InterlockError `not-found` */
  async distrust(issuer: string): Promise<void> {
    const { deletedCount } = await this.#rows.deleteOne({ _id: this.#key(issuer) });
    if (deletedCount === 0) throw new InterlockError('not-found', { detail: 'There is no such issuer.' });
  }

  async list(): Promise<SoftwareIssuer[]> {
    const issuers: SoftwareIssuer[] = [];
    for await (const row of this.#rows.find({}, { promoteBuffers: true })) issuers.push(await this.#open(row));
    return issuers.sort((a, b) => (a.issuer < b.issuer ? -1 : 1));
  }

  /**
   * What a software statement says: client metadata that counts before what the app says itself.
   * @returns undefined if its issuer is not trusted
   * @throws if it is not valid
   */
  async verify(statement: string, audiences: readonly string[]): Promise<Readonly<Record<string, unknown>> | undefined> {
    const { iss } = decodeJwt(statement);
    const row = iss === undefined ? null : await this.#rows.findOne({ _id: this.#key(iss) }, { promoteBuffers: true });
    if (row === null) return undefined;
    const { jwks, jwksUri } = await this.#open(row);
    const keys = jwks?.keys ?? (await this.#options.keySets.keysFor(jwksUri!, decodeProtectedHeader(statement).kid));
    const { payload } = await jwtVerify(statement, createLocalJWKSet({ keys: keys as JSONWebKeySet['keys'] }), { algorithms, requiredClaims: ['exp'], clockTolerance: 10, currentDate: new Date(this.#options.nowMs()) });
    if (payload.aud !== undefined && ![payload.aud].flat().some((aud) => audiences.includes(aud))) throw new InterlockError('request-invalid', { rule: 'software statement: aud' });
    return payload;
  }

  #key(issuer: string): Buffer {
    return this.#options.keyring.mac('oauth-token', ['SoftwareIssuer', issuer]);
  }

  async #open(row: Row): Promise<SoftwareIssuer> {
    return JSON.parse((await this.#options.keyring.openBlob('oauth', row.body, row._id.toString('hex'))).toString()) as SoftwareIssuer;
  }
}

function isPublicKey(key: unknown): boolean {
  const parts = key as { readonly kty?: unknown; readonly d?: unknown } | null;
  return (parts?.kty === 'RSA' || parts?.kty === 'EC') && parts.d === undefined;
}
