import type { Connection } from 'mongoose';
import { errors, type Adapter, type AdapterPayload } from 'oidc-provider';
import type { Keyring } from '../kms/keyring.ts';
import type { Clients } from './clients.ts';
import { isDuplicateKey } from '../mongo/errors.ts';

/** A row of the collection `oauth`: what it is and belongs to shows only as keyed hashes. */
export interface OAuthRow {
  /** Keyed hash of model and id; tokens themselves are stored nowhere. */
  readonly _id: Buffer;
  readonly body: Buffer;
  /** Keyed hashes by which rows are also found. */
  readonly grant?: Buffer;
  readonly uid?: Buffer;
  /** Whose grant or session it is, and which app's. */
  readonly person?: Buffer;
  readonly client?: Buffer;
  /** When an app's access was last used, to the minute. */
  readonly usedAt?: Date;
  /** When it was used, seconds since 1970: outside the sealed body, so that using it can be a compare-and-set. */
  readonly consumed?: number;
  readonly expiresAt?: Date;
}

/** Models that are revoked with their grant. */
const grantable = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken']);
/** Models that are listed by person and by client. */
const listed = new Set(['Grant', 'AppAccess']);

/** Sealed rows in MongoDB under keyed hashes of model and id. */
export class OAuthRows {
  readonly #app: Connection;
  readonly #keyring: Keyring;

  constructor(app: Connection, keyring: Keyring) {
    this.#app = app;
    this.#keyring = keyring;
  }

  get collection() {
    return this.#app.collection<OAuthRow>('oauth');
  }

  /** `_id` of a row. */
  key(model: string, id: string): Buffer {
    return this.#keyring.mac('oauth-token', [model, id]);
  }

  /** Writes a row, or replaces it. @param expiresInS undefined: it stays */
  async put(model: string, id: string, payload: object, expiresInS: number | undefined): Promise<void> {
    const { _id, ...row } = this.#row(model, id, payload, expiresInS);
    await this.collection.updateOne({ _id }, { $set: row }, { upsert: true });
  }

  /** Writes a row unless it exists. @returns false if it does */
  async insert(model: string, id: string, payload: object, expiresInS: number | undefined): Promise<boolean> {
    try {
      await this.collection.insertOne(this.#row(model, id, payload, expiresInS));
      return true;
    } catch (cause) {
      if (isDuplicateKey(cause)) return false;
      throw cause;
    }
  }

  async get<T extends object>(model: string, id: string): Promise<T | undefined> {
    return this.open<T>(await this.collection.findOne({ _id: this.key(model, id) }, { promoteBuffers: true }));
  }

  async open<T extends object>(row: OAuthRow | null): Promise<T | undefined> {
    // MongoDB removes expired rows up to a minute late.
    if (row === null || (row.expiresAt !== undefined && row.expiresAt.getTime() <= Date.now())) return undefined;
    const body = await this.#keyring.openBlob('oauth', row.body, row._id.toString('hex'));
    return { ...(JSON.parse(body.toString()) as T), ...(row.consumed === undefined ? {} : { consumed: row.consumed }) };
  }

  /** Removes a row. @returns what it held */
  async take<T extends object>(model: string, id: string): Promise<T | undefined> {
    return this.open<T>(await this.collection.findOneAndDelete({ _id: this.key(model, id) }, { promoteBuffers: true }));
  }

  async remove(model: string, id: string): Promise<void> {
    await this.collection.deleteOne({ _id: this.key(model, id) });
  }

  /** Ends a grant: its tokens and codes are gone, and so is the grant itself, without which later ones are void too. */
  async revokeGrant(grantId: string): Promise<void> {
    await this.remove('Grant', grantId);
    await this.collection.deleteMany({ grant: this.key('grantId', grantId) });
  }

  #row(model: string, id: string, payload: object, expiresInS: number | undefined): OAuthRow {
    const _id = this.key(model, id);
    const { grantId, uid, accountId, clientId } = payload as AdapterPayload;
    return {
      _id,
      body: this.#keyring.sealBlob('oauth', Buffer.from(JSON.stringify(payload)), _id.toString('hex')),
      ...(grantId !== undefined && grantable.has(model) ? { grant: this.key('grantId', grantId) } : {}),
      ...(uid !== undefined && model === 'Session' ? { uid: this.key('uid', uid) } : {}),
      ...(accountId !== undefined && clientId !== undefined && listed.has(model) ? { person: this.key('person', accountId), client: this.key('client', clientId) } : {}),
      ...(accountId !== undefined && model === 'Session' ? { person: this.key('person', accountId) } : {}),
      ...(expiresInS === undefined ? {} : { expiresAt: new Date(Date.now() + expiresInS * 1000) }),
    };
  }
}

/**
 * oidc-provider's storage (https://github.com/panva/node-oidc-provider/blob/main/example/my_adapter.js). Two things are
 * stricter than the library's check-then-save: using a code or refresh token is a compare-and-set whose loser revokes the
 * grant, and a replayed assertion id fails on insert.
 */
export function createAdapter(rows: OAuthRows, clients: Clients): (model: string) => Adapter {
  return (model) => ({
    async upsert(id, payload, expiresInS) {
      if (model !== 'ReplayDetection') return rows.put(model, id, payload, expiresInS);
      if (!(await rows.insert(model, id, payload, expiresInS))) throw new errors.InvalidClientAuth('client assertion tokens must only be used once');
    },
    async find(id) {
      if (model === 'Client') return clients.metadata(id);
      return rows.get<AdapterPayload>(model, id);
    },
    async findByUid(uid) {
      return rows.open<AdapterPayload>(await rows.collection.findOne({ uid: rows.key('uid', uid) }, { promoteBuffers: true }));
    },
    // Only the device flow has user codes, and it is not offered.
    async findByUserCode() {
      return undefined;
    },
    async consume(id) {
      const { matchedCount } = await rows.collection.updateOne({ _id: rows.key(model, id), consumed: { $exists: false } }, { $set: { consumed: Math.floor(Date.now() / 1000) } });
      if (matchedCount === 1) return;
      const used = await rows.get<AdapterPayload>(model, id);
      if (used?.grantId !== undefined) await rows.revokeGrant(used.grantId);
      throw new errors.InvalidGrant('used more than once');
    },
    async destroy(id) {
      await rows.remove(model, id);
    },
    async revokeByGrantId(grantId) {
      await rows.collection.deleteMany({ grant: rows.key('grantId', grantId) });
    },
  });
}
