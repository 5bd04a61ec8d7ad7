import { randomBytes } from 'node:crypto';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { OAuthRows } from './adapter.ts';

const maxUses = 50;
const maxLifetimeS = 30 * 86_400;
const model = 'InitialAccessToken';

/** Initial access tokens (RFC 7591, section 3): whoever holds one may register an app. Each use is a row of its own, so that it counts once in all processes. */
export class InitialTokens {
  readonly #rows: OAuthRows;

  constructor(rows: OAuthRows) {
    this.#rows = rows;
  }

  /** @param uses 1 to 50 @param lifetimeS at most 30 days @throws InterlockError `business-rule` */
  async issue(uses: number, lifetimeS: number): Promise<string> {
    if (!Number.isInteger(uses) || uses < 1 || uses > maxUses) throw new InterlockError('business-rule', { detail: 'A token is good for 1 to 50 registrations.' });
    if (!Number.isInteger(lifetimeS) || lifetimeS < 60 || lifetimeS > maxLifetimeS) throw new InterlockError('business-rule', { detail: 'A token lasts one minute to 30 days.' });
    const token = randomBytes(32).toString('base64url');
    for (let use = 0; use < uses; use += 1) await this.#rows.insert(model, `${token}:${use}`, {}, lifetimeS);
    return token;
  }

  /** True if a token is good for one more registration. */
  async isUsable(token: string): Promise<boolean> {
    return (await this.#left(token)).length > 0;
  }

  /** Uses a token once. @returns false if it is unknown, used up or too old */
  async use(token: string): Promise<boolean> {
    for (const id of await this.#left(token)) if ((await this.#rows.take(model, id)) !== undefined) return true;
    return false;
  }

  async #left(token: string): Promise<string[]> {
    if (!/^[A-Za-z0-9_-]{43}$/.test(token)) return [];
    const ids = new Map(Array.from({ length: maxUses }, (_, use) => [this.#rows.key(model, `${token}:${use}`).toString('hex'), `${token}:${use}`]));
    const rows = await this.#rows.collection.find({ _id: { $in: [...ids.keys()].map((key) => Buffer.from(key, 'hex')) }, expiresAt: { $gt: new Date() } }, { promoteBuffers: true, projection: { _id: 1 } }).toArray();
    return rows.map(({ _id }) => ids.get(_id.toString('hex'))!);
  }
}
