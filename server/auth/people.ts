import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from 'mongoose';
import { Secret, TOTP } from 'otpauth';
import { InterlockError } from '../../resources/outcome/error.ts';
import { roleNames, roleOf } from '../access/roles.ts';
import type { Keyring } from '../kms/keyring.ts';
import { assertPasswordPolicy, hashPassword, makePassword, passwordMatches } from './passwords.ts';

/** A person as the rest of the server sees one: no credentials. */
export interface Person {
  readonly id: string;
  readonly username: string;
  readonly role: string;
  /** `Patient/…` or `Practitioner/…`. */
  readonly fhirUser?: string;
  readonly disabled: boolean;
  readonly locked: boolean;
}

/** A new person. Without a password or TOTP secret, one is made. */
export interface NewPerson {
  readonly username: string;
  readonly role: string;
  readonly patientId?: string;
  readonly practitionerId?: string;
  readonly password?: string;
  /** Base32, at least 16 characters. */
  readonly totpSecret?: string;
}

/** What is shown once, to whoever creates a person or resets the second factor. */
export interface Enrolment {
  readonly id: string;
  /** For authenticator apps: https://github.com/google/google-authenticator/wiki/Key-Uri-Format */
  readonly otpauthUrl: string;
  /** Only if it was made here. */
  readonly password?: string;
}

/** Why a sign-in failed: for the audit trail, never for the page. */
export type SignInFailure = 'unknown-user' | 'disabled' | 'locked' | 'password' | 'code';
export type SignIn = { readonly person: Person; readonly failure?: undefined } | { readonly failure: SignInFailure; readonly person?: Person };

interface Secrets {
  readonly username: string;
  readonly role: string;
  readonly fhirUser?: string;
  readonly passwordHash: string;
  readonly totpSecret: string;
}

interface Row {
  readonly _id: string;
  /** Keyed hash of the user name. */
  readonly name: Buffer;
  readonly body: Buffer;
  readonly disabled: boolean;
  /** Failed sign-ins since the last success. */
  readonly failures: number;
  /** The last TOTP time step that was used; a step counts once. */
  readonly totpStep: number;
  readonly createdAt: Date;
}

const maxFailures = 5;
const minFailureMs = 300;
const periodSeconds = 30;
const idPattern = /^[A-Za-z0-9.-]{1,64}$/;
const usernamePattern = /^[\p{L}\p{N}][\p{L}\p{N}._@+-]{1,63}$/u;

export interface PeopleOptions {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly nowMs: () => number;
  /** Told of every change that may end someone's access. */
  readonly onChange?: (id: string) => void;
}

/** The people who may sign in: sealed, found by keyed hash of the user name. There is no default account. */
export class People {
  readonly #options: PeopleOptions;
  // Checked for names that do not exist.
  readonly #decoyHash = hashPassword(randomBytes(16).toString('hex'));

  constructor(options: PeopleOptions) {
    this.#options = options;
    this.#decoyHash.catch(() => undefined);
  }

  get #rows() {
    return this.#options.app.collection<Row>('people');
  }

  /** @throws InterlockError `business-rule` if name, role, password or secret are not acceptable, or the name is taken */
  async addUser(input: NewPerson): Promise<Enrolment> {
    const username = normalise(input.username);
    const refuse = (expression: string, detail: string): never => {
      throw new InterlockError('business-rule', { expression, detail });
    };
    if (!usernamePattern.test(username)) refuse('username', 'A user name has 2 to 64 letters, digits or . _ @ + -');
    if (roleOf(input.role) === undefined) refuse('role', `Roles are: ${roleNames().join(', ')}.`);
    if ((input.role === 'patient') !== (input.patientId !== undefined)) refuse('patient', 'The role patient, and only it, comes with the id of a Patient.');
    for (const id of [input.patientId, input.practitionerId]) if (id !== undefined && !idPattern.test(id)) refuse('id', 'A logical id has up to 64 letters, digits, - or .');
    const password = input.password ?? makePassword();
    assertPasswordPolicy(password, username);
    const totpSecret = input.totpSecret?.replaceAll(' ', '').toUpperCase() ?? new Secret({ size: 20 }).base32;
    if (!/^[A-Z2-7]{16,128}=*$/.test(totpSecret)) refuse('totpSecret', 'A TOTP secret is base32 of at least 80 bits.');
    const fhirUser = input.patientId !== undefined ? `Patient/${input.patientId}` : input.practitionerId !== undefined ? `Practitioner/${input.practitionerId}` : undefined;
    const _id = `user-${randomBytes(12).toString('hex')}`;
    const secrets: Secrets = { username, role: input.role, ...(fhirUser === undefined ? {} : { fhirUser }), passwordHash: await hashPassword(password), totpSecret };
    try {
      await this.#rows.insertOne(
        { _id, name: this.#nameToken(username), body: this.#seal(_id, secrets), disabled: false, failures: 0, totpStep: 0, createdAt: new Date(this.#options.nowMs()) }
      );
    } catch (cause) {
      if (isDuplicate(cause)) refuse('username', 'This user name is taken.');
      throw cause;
    }
    return { id: _id, otpauthUrl: otpauthUrl(username, totpSecret), ...(input.password === undefined ? { password } : {}) };
  }

  /** Everyone, by user name. */
  async list(): Promise<Person[]> {
    const people: Person[] = [];
    for await (const row of this.#rows.find({}, { promoteBuffers: true })) people.push(person(row, await this.#open(row)));
    return people.sort((a, b) => a.username.localeCompare(b.username));
  }

  /** The person with this id, if any. */
  async get(id: string): Promise<Person | undefined> {
    const row = await this.#rows.findOne({ _id: id }, { promoteBuffers: true });
    return row === null ? undefined : person(row, await this.#open(row));
  }

  /** Ends all access of a person. @throws InterlockError `not-found` */
  async disable(username: string): Promise<Person> {
    return this.#change(username, { disabled: true });
  }

  /** Lifts the lock after failed sign-ins, and a disabling. @throws InterlockError `not-found` */
  async unlock(username: string): Promise<Person> {
    return this.#change(username, { disabled: false, failures: 0 });
  }

  /** Gives a person a new TOTP secret; the old one is void at once. @throws InterlockError `not-found` */
  async resetMfa(username: string): Promise<Enrolment> {
    const row = await this.#find(username);
    if (row === null) throw new InterlockError('not-found', { detail: 'There is no such user.' });
    const secrets = { ...(await this.#open(row)), totpSecret: new Secret({ size: 20 }).base32 };
    await this.#rows.updateOne({ _id: row._id }, { $set: { body: this.#seal(row._id, secrets), totpStep: 0, failures: 0 } });
    this.#options.onChange?.(row._id);
    return { id: row._id, otpauthUrl: otpauthUrl(secrets.username, secrets.totpSecret) };
  }

  /**
   * Checks password and TOTP code together, so that neither can be guessed alone. Every attempt is counted before it is
   * looked at; the fifth failure in a row locks. A code counts once. Every failure takes the same time, unknown names included.
   *
   * @throws InterlockError `throttled`
   */
  async signIn(username: string, password: string, code: string): Promise<SignIn> {
    const floor = delay(minFailureMs);
    const result = await this.#signIn(username, password, code);
    if (result.failure !== undefined) await floor;
    return result;
  }

  async #signIn(username: string, password: string, code: string): Promise<SignIn> {
    const found = await this.#find(username);
    // Counting first means that no number of parallel guesses gets past the limit.
    const row = found === null ? null : await this.#rows.findOneAndUpdate({ _id: found._id, failures: { $lt: maxFailures } }, { $inc: { failures: 1 } }, { returnDocument: 'after', promoteBuffers: true });
    const known = row ?? found;
    const secrets = known === null ? undefined : await this.#open(known);
    const rightPassword = await passwordMatches(secrets?.passwordHash ?? (await this.#decoyHash), password);
    const step = stepOf(secrets?.totpSecret ?? decoySecret, code, this.#options.nowMs());
    if (found === null || secrets === undefined) return { failure: 'unknown-user' };
    const who = person(row ?? found, secrets);
    if (row === null) return { failure: 'locked', person: who };
    if (row.disabled) return { failure: 'disabled', person: who };
    if (!rightPassword) return { failure: 'password', person: who };
    if (step === undefined) return { failure: 'code', person: who };
    const used = await this.#rows.updateOne({ _id: row._id, disabled: false, totpStep: { $lt: step } }, { $set: { totpStep: step, failures: 0 } });
    return used.matchedCount === 1 ? { person: { ...who, locked: false } } : { failure: 'code', person: who };
  }

  async #change(username: string, set: Partial<Pick<Row, 'disabled' | 'failures'>>): Promise<Person> {
    const row = await this.#rows.findOneAndUpdate({ name: this.#nameToken(normalise(username)) }, { $set: set }, { returnDocument: 'after', promoteBuffers: true });
    if (row === null) throw new InterlockError('not-found', { detail: 'There is no such user.' });
    this.#options.onChange?.(row._id);
    return person(row, await this.#open(row));
  }

  #find(username: string): Promise<Row | null> {
    return this.#rows.findOne({ name: this.#nameToken(normalise(username)) }, { promoteBuffers: true });
  }

  #nameToken(username: string): Buffer {
    return this.#options.keyring.mac('people-token', ['username', username]);
  }

  #seal(id: string, secrets: Secrets): Buffer {
    return this.#options.keyring.sealBlob('people', Buffer.from(JSON.stringify(secrets)), id);
  }

  async #open(row: Row): Promise<Secrets> {
    return JSON.parse((await this.#options.keyring.openBlob('people', row.body, row._id)).toString()) as Secrets;
  }
}

const decoySecret = new Secret({ size: 20 }).base32;

/** The time step that a code belongs to: this one or a neighbour (RFC 6238, section 5.2); undefined if the code is wrong. */
function stepOf(secret: string, code: string, nowMs: number): number | undefined {
  const delta = totp('', secret).validate({ token: code.replaceAll(/\s/g, ''), window: 1, timestamp: nowMs });
  return delta === null ? undefined : Math.floor(nowMs / 1000 / periodSeconds) + delta;
}

function totp(label: string, secret: string): TOTP {
  return new TOTP({ issuer: 'Interlock', label, algorithm: 'SHA1', digits: 6, period: periodSeconds, secret: Secret.fromBase32(secret) });
}

function otpauthUrl(username: string, secret: string): string {
  return totp(username, secret).toString();
}

function normalise(username: string): string {
  return username.normalize('NFKC').trim().toLowerCase().slice(0, 200);
}

function person(row: Row, secrets: Secrets): Person {
  const { username, role, fhirUser } = secrets;
  return { id: row._id, username, role, ...(fhirUser === undefined ? {} : { fhirUser }), disabled: row.disabled, locked: row.failures >= maxFailures };
}

/** True for MongoDB's duplicate key error. */
export function isDuplicate(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 11_000;
}
