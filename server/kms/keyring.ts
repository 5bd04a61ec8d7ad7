import { createHmac, createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { KeyAccessListener, KeyProvider, KeyStore, WrappedKey } from './provider.ts';
import { open, seal } from './seal.ts';

/** What a sealing key is for. Content of different purposes never shares a key. */
export const sealPurposes = ['resource', 'columns', 'audit', 'inbox', 'file', 'people', 'oauth', 'partner', 'cursor', 'alert'] as const;
export type SealPurpose = (typeof sealPurposes)[number];

/** What a keyed hash is for: logical ids, search tokens, claims, whole-document MACs, and the same for other stores. */
export const macPurposes = ['id', 'token', 'claim', 'document', 'audit-token', 'audit-block', 'inbox-token', 'people-token', 'oauth-token', 'partner-token', 'alert-token'] as const;
export type MacPurpose = (typeof macPurposes)[number];

/** The tenant of an installation that has only one. */
export const defaultTenant = 'main';

/** A sealing key in use. `id` is stored beside what it seals. */
export interface SealKey {
  readonly id: string;
  readonly key: KeyObject;
}

interface HeldKey extends SealKey {
  readonly createdAtMs: number;
  seals: number;
}

const maxAgeMs = 24 * 3600_000;
const maxSeals = 2 ** 30;

/**
 * The data keys of this process, unwrapped once and held as `KeyObject`s. One sealing key per tenant and purpose is
 * current for at most 24 hours or 2^30 seals; older ones stay readable. Keyed-hash keys live as long as their index.
 */
export class Keyring {
  readonly #provider: KeyProvider;
  readonly #store: KeyStore;
  readonly #onAccess: KeyAccessListener;
  readonly #nowMs: () => number;
  readonly #byId = new Map<string, KeyObject>();
  readonly #current = new Map<string, HeldKey>();
  readonly #macs = new Map<string, KeyObject>();
  #renewal: NodeJS.Timeout | undefined;

  private constructor(options: KeyringOptions) {
    this.#provider = options.provider;
    this.#store = options.store;
    this.#onAccess = options.onAccess ?? (() => undefined);
    this.#nowMs = options.nowMs ?? Date.now;
  }

  /**
   * Unwraps every stored key, makes those that are missing, and keeps the current ones fresh until {@link close}.
   * @throws InterlockError `key-missing` or `key-wrong` when the provider cannot open the stored keys
   */
  static async open(options: KeyringOptions): Promise<Keyring> {
    const keyring = new Keyring(options);
    for (const stored of await keyring.#store.list()) await keyring.#admit(stored);
    await keyring.#renew(options.tenants ?? [defaultTenant]);
    keyring.#renewal = setInterval(() => {
      // A failure here shows up as soon as a seal would overuse its key, which is refused.
      keyring.#renew(options.tenants ?? [defaultTenant]).catch(() => undefined);
    }, 3600_000);
    keyring.#renewal.unref();
    return keyring;
  }

  /** The key to seal with now. @throws InterlockError `unavailable` if none may be used any longer */
  sealKey(purpose: SealPurpose, tenant: string = defaultTenant): SealKey {
    const held = this.#current.get(`${tenant}|${purpose}`);
    if (held === undefined || held.seals >= maxSeals || this.#nowMs() - held.createdAtMs > 2 * maxAgeMs) {
      throw new InterlockError('unavailable', { detail: 'No sealing key is available.' });
    }
    held.seals += 1;
    return held;
  }

  /** A key that sealed something earlier. @throws InterlockError `key-missing` if it is not held; see {@link load} */
  keyById(id: string): KeyObject {
    const key = this.#byId.get(id);
    if (key === undefined) throw new InterlockError('key-missing', { detail: 'A data key is not held by this process.' });
    return key;
  }

  /** True if {@link keyById} would answer. */
  holds(id: string): boolean {
    return this.#byId.has(id);
  }

  /** Fetches and unwraps a key that another process made. @throws InterlockError `key-missing`, `key-wrong` */
  async load(id: string): Promise<void> {
    if (this.#byId.has(id)) return;
    const stored = await this.#store.get(id);
    if (stored === undefined) throw new InterlockError('key-missing', { detail: 'A data key does not exist.' });
    await this.#admit(stored);
  }

  /** The keyed-hash key of a purpose. */
  macKey(purpose: MacPurpose, tenant: string = defaultTenant): KeyObject {
    const key = this.#macs.get(`${tenant}|${purpose}`);
    if (key === undefined) throw new InterlockError('key-missing', { detail: 'A keyed-hash key is not held.' });
    return key;
  }

  /** HMAC-SHA256 under a purpose's key, cut to `sizeBytes`. Parts are length-prefixed, so `['ab','c']` and `['a','bc']` differ. */
  mac(purpose: MacPurpose, parts: readonly (string | Uint8Array)[], sizeBytes = 16, tenant: string = defaultTenant): Buffer {
    const hmac = createHmac('sha256', this.macKey(purpose, tenant));
    for (const part of parts) {
      hmac.update(`${typeof part === 'string' ? Buffer.byteLength(part) : part.length}:`);
      hmac.update(part);
    }
    return hmac.digest().subarray(0, sizeBytes);
  }

  /** Seals bytes into a blob that names its own key: length of id (1 byte), id, then as {@link seal}. */
  sealBlob(purpose: SealPurpose, plaintext: Uint8Array, aad: string, tenant: string = defaultTenant): Buffer {
    const { id, key } = this.sealKey(purpose, tenant);
    return Buffer.concat([Buffer.from([id.length]), Buffer.from(id, 'latin1'), seal(key, plaintext, `${tenant}|${purpose}|${aad}`)]);
  }

  /** Opens what {@link sealBlob} made, fetching its key if another process made it. @throws InterlockError `integrity-failure`, `key-missing` */
  async openBlob(purpose: SealPurpose, blob: Uint8Array, aad: string, tenant: string = defaultTenant): Promise<Buffer> {
    const idBytes = blob[0] ?? 0;
    const id = Buffer.from(blob.subarray(1, 1 + idBytes)).toString('latin1');
    if (!this.holds(id)) await this.load(id);
    return open(this.keyById(id), blob.subarray(1 + idBytes), `${tenant}|${purpose}|${aad}`);
  }

  /** Forgets every key. */
  close(): void {
    clearInterval(this.#renewal);
    this.#byId.clear();
    this.#current.clear();
    this.#macs.clear();
  }

  async #renew(tenants: readonly string[]): Promise<void> {
    for (const tenant of tenants) {
      for (const purpose of macPurposes) {
        if (!this.#macs.has(`${tenant}|${purpose}`)) await this.#make('mac', tenant, purpose, `${tenant}/${purpose}/1`);
      }
      for (const purpose of sealPurposes) {
        const held = this.#current.get(`${tenant}|${purpose}`);
        if (held !== undefined && held.seals < maxSeals / 2 && this.#nowMs() - held.createdAtMs < maxAgeMs) continue;
        await this.#make('seal', tenant, purpose, randomBytes(8).toString('base64url'));
      }
    }
  }

  async #make(kind: 'seal' | 'mac', tenant: string, purpose: string, id: string): Promise<void> {
    const dataKey = randomBytes(32);
    const wrapped = await this.#provider.wrap(dataKey, wrapContext({ _id: id, kind, tenant, purpose }));
    const createdAt = new Date(this.#nowMs());
    await this.#admit(await this.#store.putIfAbsent({ _id: id, tenant, purpose, kind, kekId: this.#provider.kekId, wrapped, createdAt }));
  }

  async #admit(stored: WrappedKey): Promise<void> {
    const event = { keyId: stored._id, purpose: stored.purpose, tenant: stored.tenant };
    let key: KeyObject;
    try {
      key = createSecretKey(await this.#provider.unwrap(stored.kekId, stored.wrapped, wrapContext(stored)));
    } catch (cause) {
      this.#onAccess({ ...event, outcome: 'failed' });
      throw cause;
    }
    this.#onAccess({ ...event, outcome: 'ok' });
    const slot = `${stored.tenant}|${stored.purpose}`;
    if (stored.kind === 'mac') {
      this.#macs.set(slot, key);
      return;
    }
    this.#byId.set(stored._id, key);
    const createdAtMs = stored.createdAt.getTime();
    if (createdAtMs >= (this.#current.get(slot)?.createdAtMs ?? 0)) this.#current.set(slot, { id: stored._id, key, createdAtMs, seals: 0 });
  }
}

export interface KeyringOptions {
  readonly provider: KeyProvider;
  readonly store: KeyStore;
  readonly tenants?: readonly string[];
  readonly onAccess?: KeyAccessListener;
  readonly nowMs?: () => number;
}

function wrapContext(key: { _id: string; kind: string; tenant: string; purpose: string }): string {
  return `interlock-data-key|${key._id}|${key.kind}|${key.tenant}|${key.purpose}`;
}
