import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import { isDuplicateKey } from '../mongo/errors.ts';

/** A passkey of a person (https://www.w3.org/TR/webauthn-3/#credential-record). */
export interface Passkey {
  /** Credential id, base64url. */
  readonly id: string;
  /** COSE key, base64url. */
  readonly publicKey: string;
  /** Signature counter; 0 throughout for authenticators that have none. */
  readonly counter: number;
  readonly transports?: readonly string[];
  /** Given by the person. */
  readonly name: string;
  readonly createdAtMs: number;
  readonly usedAtMs?: number;
}

/** Something that a person is told at the next sign-in. */
export interface Notice {
  readonly kind: 'locked' | 'password-reset' | 'second-factor-reset' | 'recovery-code-used' | 'passkey-added' | 'password-changed';
  readonly atMs: number;
}

/** Everything about a person who may sign in. Stored as one sealed text, so that nothing of it can be changed without the key. */
export interface Account {
  readonly username: string;
  readonly role: string;
  readonly fhirUser?: string;
  /** Logical ids of further Patients for whom a patient acts. */
  readonly proxyFor?: readonly string[];
  readonly disabled: boolean;
  /** Failed sign-ins since the last success. */
  readonly failures: number;
  /** Absent: signs in by the hospital's sign-on only. */
  readonly passwordHash?: string;
  readonly mustChangePassword: boolean;
  /** Base32; absent until the person sets it up. */
  readonly totpSecret?: string;
  /** The last TOTP time step that was used; a step counts once. */
  readonly totpStep: number;
  readonly passkeys: readonly Passkey[];
  /** Keyed hashes of the recovery codes that are left; absent: none were ever made. */
  readonly recovery?: readonly string[];
  readonly notices: readonly Notice[];
  /** Seconds since 1970: sessions and grants from before are void … */
  readonly accessFromS: number;
  /** … but for this session. */
  readonly keptSession?: string;
  /** Present: comes from a hospital's sign-on, which of them. */
  readonly sso?: { readonly issuer: string };
}

/** A stored account: its id beside what is sealed. */
export interface StoredAccount {
  readonly id: string;
  readonly account: Account;
}

interface Row {
  readonly _id: string;
  /** Keyed hash of the user name. */
  readonly name: Buffer;
  /** Goes up with each change; sealed into the body. */
  readonly rev: number;
  readonly body: Buffer;
}

const maxTries = 200;
const maxRemembered = 100_000;
const maxNotices = 10;

/** The collection `people`: sealed rows, changed by compare-and-set of their revision. */
export class Accounts {
  readonly #app: Connection;
  readonly #keyring: Keyring;
  // The newest revision this process saw of each: an older row that somebody put back is noticed.
  readonly #newest = new Map<string, number>();

  constructor(app: Connection, keyring: Keyring) {
    this.#app = app;
    this.#keyring = keyring;
  }

  get #rows() {
    return this.#app.collection<Row>('people');
  }

  /** @throws InterlockError `business-rule` if the user name is taken */
  async insert(id: string, account: Account): Promise<void> {
    try {
      await this.#rows.insertOne({ _id: id, name: this.#name(account.username), rev: 1, body: this.#seal(id, 1, account) });
    } catch (cause) {
      if (isDuplicateKey(cause)) throw new InterlockError('business-rule', { expression: 'username', detail: 'This user name is taken.' });
      throw cause;
    }
  }

  /** @throws InterlockError `integrity-failure` if the row was not written by this server */
  async get(id: string): Promise<Account | undefined> {
    const row = await this.#row({ _id: id });
    return row?.account;
  }

  async find(username: string): Promise<StoredAccount | undefined> {
    return this.#row({ name: this.#name(username) });
  }

  /** Everyone. */
  async *all(): AsyncGenerator<StoredAccount> {
    for await (const row of this.#rows.find({}, { promoteBuffers: true })) yield { id: row._id, account: await this.#open(row) };
  }

  /**
   * Changes an account, whatever others change at the same time.
   * @param work what it becomes; undefined: nothing is changed. Runs again if somebody else was faster.
   * @returns what it has become; undefined if nothing was changed or nobody has this id
   */
  async change(id: string, work: (account: Account) => Account | undefined): Promise<Account | undefined> {
    for (let tries = 0; tries < maxTries; tries += 1) {
      const row = await this.#row({ _id: id });
      const next = row === undefined ? undefined : work(row.account);
      if (row === undefined || next === undefined) return undefined;
      const bounded = { ...next, notices: next.notices.slice(-maxNotices) };
      const rev = row.rev + 1;
      const { matchedCount } = await this.#rows.updateOne({ _id: id, rev: row.rev }, { $set: { rev, body: this.#seal(id, rev, bounded) } });
      if (matchedCount === 1) {
        this.#remember(id, rev);
        return bounded;
      }
      await delay(Math.random() * 10);
    }
    throw new InterlockError('throttled', { retryAfterSeconds: 1 });
  }

  async #row(filter: { _id: string } | { name: Buffer }): Promise<(StoredAccount & { rev: number }) | undefined> {
    const row = await this.#rows.findOne(filter, { promoteBuffers: true, readConcern: { level: 'majority' } });
    return row === null ? undefined : { id: row._id, rev: row.rev, account: await this.#open(row) };
  }

  async #open(row: Row): Promise<Account> {
    // Read before this row was: a newer one that is seen meanwhile is no older one put back.
    const newest = this.#newest.get(row._id) ?? 0;
    const account = JSON.parse((await this.#keyring.openBlob('people', row.body, aad(row._id, row.rev))).toString()) as Account;
    if (!this.#name(account.username).equals(row.name)) throw new InterlockError('integrity-failure', { detail: 'A row of the people was changed outside this server.' });
    if (row.rev < newest && (await this.#isStillOlder(row._id, newest))) throw new InterlockError('integrity-failure', { detail: 'An earlier state of a person was put back outside this server.' });
    this.#remember(row._id, row.rev);
    return account;
  }

  // A read that was under way while the row changed is no older row put back.
  async #isStillOlder(id: string, newest: number): Promise<boolean> {
    const row = await this.#rows.findOne({ _id: id }, { projection: { rev: 1 } });
    return row !== null && row.rev < newest;
  }

  #remember(id: string, rev: number): void {
    if (rev <= (this.#newest.get(id) ?? 0)) return;
    if (this.#newest.size >= maxRemembered && !this.#newest.has(id)) this.#newest.delete(this.#newest.keys().next().value!);
    this.#newest.set(id, rev);
  }

  #name(username: string): Buffer {
    return this.#keyring.mac('people-token', ['username', username]);
  }

  #seal(id: string, rev: number, account: Account): Buffer {
    return this.#keyring.sealBlob('people', Buffer.from(JSON.stringify(account)), aad(id, rev));
  }
}

function aad(id: string, rev: number): string {
  return `${id}|${rev}`;
}
