import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import { roleNames, roleOf } from '../access/roles.ts';
import type { Keyring } from '../kms/keyring.ts';
import { Accounts, type Account, type Notice, type Passkey, type StoredAccount } from './accounts.ts';
import { assertPasswordPolicy, hashPassword, makePassword, passwordMatches } from './passwords.ts';
import type { SessionEntry } from './sessions.ts';
import { hasSecondFactor, makeTotpSecret, otpauthUrl, SecondFactors, type Proof } from './second-factors.ts';


/** A person as the rest of the server sees one: no credentials. */
export interface Person {
  readonly id: string;
  readonly username: string;
  readonly role: string;
  /** `Patient/…`, `RelatedPerson/…` or `Practitioner/…`. */
  readonly fhirUser?: string;
  /** Logical ids of further Patients for whom a patient acts. */
  readonly proxyFor?: readonly string[];
  readonly disabled: boolean;
  readonly locked: boolean;
  /** Seconds since 1970: sessions and grants from before are void, but for the session that is named. */
  readonly accessFromS?: number;
  readonly keptSession?: string;
}

/** A new person. Without a password or TOTP secret, one is made. */
export interface NewPerson {
  readonly username: string;
  readonly role: string;
  readonly patientId?: string;
  readonly practitionerId?: string;
  /** A parent or guardian, who acts for patients. */
  readonly relatedPersonId?: string;
  readonly proxyFor?: readonly string[];
  readonly password?: string;
  /** Base32, at least 16 characters. */
  readonly totpSecret?: string;
  /** True: the person chooses password and second factor at the first sign-in. */
  readonly setUpLater?: boolean;
}

/** What is shown once, to whoever creates a person or resets credentials. */
export interface Enrolment {
  readonly id: string;
  /** For authenticator apps: https://github.com/google/google-authenticator/wiki/Key-Uri-Format */
  readonly otpauthUrl?: string;
  /** Only if it was made here. */
  readonly password?: string;
}

/** Why a sign-in failed: for the audit trail, never for the page. */
export type SignInFailure = 'unknown-user' | 'disabled' | 'locked' | 'password' | 'code' | 'passkey';
/** `amr`: how the person was recognised (RFC 8176); without `mfa` a second factor has yet to be set up. */
export type SignIn =
  | { readonly person: Person; readonly amr: readonly string[]; readonly failure?: undefined }
  | { readonly failure: SignInFailure; readonly person?: Person; /** This failure was the last one that is allowed. */ readonly locks?: boolean };

const maxFailures = 5;
const minFailureMs = 300;
const idPattern = /^[A-Za-z0-9.-]{1,64}$/;
const usernamePattern = /^[\p{L}\p{N}][\p{L}\p{N}._@+-]{1,63}$/u;

export interface PeopleOptions {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly nowMs: () => number;
  /** Where passkeys are used; see {@link SecondFactors}. */
  readonly origin: string;
  /** Ends what a person has open: sessions, but for the one that is named, and grants. */
  readonly endAccess?: (id: string, keptSession?: string) => Promise<void>;
  /** The sessions that a person has open. */
  readonly openSessions?: (person: Person) => Promise<readonly SessionEntry[]>;
  /** Told of every change that may end someone's access. */
  readonly onChange?: (id: string) => void;
}

/** The people who may sign in. There is no default account, and none without a name of its own. */
export class People {
  readonly #options: PeopleOptions;
  readonly #accounts: Accounts;
  readonly #factors: SecondFactors;
  // Checked for names that do not exist.
  readonly #decoyHash = hashPassword(randomBytes(16).toString('hex'));

  constructor(options: PeopleOptions) {
    this.#options = options;
    this.#accounts = new Accounts(options.app, options.keyring);
    this.#factors = new SecondFactors({ accounts: this.#accounts, keyring: options.keyring, nowMs: options.nowMs, origin: options.origin });
    this.#decoyHash.catch(() => undefined);
  }

  /** TOTP, passkeys and recovery codes. */
  get factors(): SecondFactors {
    return this.#factors;
  }

  /** @throws InterlockError `business-rule` if name, role, password or secret are not acceptable, or the name is taken */
  async addUser(input: NewPerson): Promise<Enrolment> {
    const username = normalise(input.username);
    if (!usernamePattern.test(username)) refuse('username', 'A user name has 2 to 64 letters, digits or . _ @ + -');
    const identity = identityOf(input);
    const password = input.password ?? makePassword();
    assertPasswordPolicy(password, username);
    const totpSecret = input.setUpLater === true ? undefined : (input.totpSecret?.replaceAll(' ', '').toUpperCase() ?? makeTotpSecret());
    if (totpSecret !== undefined && !/^[A-Z2-7]{16,128}=*$/.test(totpSecret)) refuse('totpSecret', 'A TOTP secret is base32 of at least 80 bits.');
    const id = `user-${randomBytes(12).toString('hex')}`;
    const mustChangePassword = input.password === undefined || input.setUpLater === true;
    await this.#accounts.insert(id, { ...blank, ...identity, username, passwordHash: await hashPassword(password), mustChangePassword, ...(totpSecret === undefined ? {} : { totpSecret }) });
    return { id, ...(totpSecret === undefined ? {} : { otpauthUrl: otpauthUrl(username, totpSecret) }), ...(input.password === undefined ? { password } : {}) };
  }

  /**
   * The account of somebody whom a hospital's sign-on vouches for: made on first sight, brought up to date after. It is found by issuer
   * and subject alone, never by a name or an address.
   * @throws InterlockError `business-rule` if the role does not fit
   */
  async provision(input: { readonly issuer: string; readonly subject: string; readonly name: string; readonly role: string; readonly patientId?: string; readonly practitionerId?: string }): Promise<Person> {
    const id = `sso-${this.#options.keyring.mac('people-token', ['sso', input.issuer, input.subject], 12).toString('hex')}`;
    const { fhirUser, role, proxyFor: _, ...identity } = { fhirUser: undefined, ...identityOf(input) };
    const sso = { issuer: input.issuer };
    // No local user name holds a tilde.
    const username = `${normalise(input.name).replaceAll(/[^\p{L}\p{N}._@+-]/gu, '').slice(0, 48)}~${id.slice(-8)}`;
    const person = { ...identity, role, sso, ...(fhirUser === undefined ? {} : { fhirUser }) };
    const existing = await this.#accounts.get(id);
    if (existing === undefined) await this.#accounts.insert(id, { ...blank, ...person, username }).catch(async (cause: unknown) => {
      if ((await this.#accounts.get(id)) === undefined) throw cause;
    });
    else if (existing.role !== role || existing.fhirUser !== fhirUser) {
      const { fhirUser: __, ...rest } = existing;
      await this.#end(id, () => ({ ...rest, ...person }));
    }
    return personOf(id, (await this.#accounts.get(id))!);
  }

  /** Everyone, by user name. */
  async list(): Promise<Person[]> {
    const people: Person[] = [];
    for await (const { id, account } of this.#accounts.all()) people.push(personOf(id, account));
    return people.sort((a, b) => a.username.localeCompare(b.username));
  }

  /** The person with this id, if any. */
  async get(id: string): Promise<Person | undefined> {
    const account = await this.#accounts.get(id);
    return account === undefined ? undefined : personOf(id, account);
  }

  /** The person with this user name. @throws InterlockError `not-found` */
  async named(username: string): Promise<Person> {
    const { id, account } = await this.#named(username);
    return personOf(id, account);
  }

  /** What a person has still to do, and may be told, on signing in. */
  async obligations(id: string): Promise<{ readonly mustChangePassword: boolean; readonly notices: readonly Notice[]; readonly hasSecondFactor: boolean; readonly recoveryCodesLeft?: number } | undefined> {
    const account = await this.#accounts.get(id);
    if (account === undefined) return undefined;
    const { mustChangePassword, notices, recovery } = account;
    return { mustChangePassword, notices, hasSecondFactor: hasSecondFactor(account), ...(recovery === undefined ? {} : { recoveryCodesLeft: recovery.length }) };
  }

  /** What the person's own security page shows. */
  async security(id: string): Promise<{ readonly hasPassword: boolean; readonly hasTotp: boolean; readonly passkeys: readonly Passkey[]; readonly recoveryCodesLeft: number } | undefined> {
    const account = await this.#accounts.get(id);
    return account === undefined ? undefined : { hasPassword: account.passwordHash !== undefined, hasTotp: account.totpSecret !== undefined, passkeys: account.passkeys, recoveryCodesLeft: account.recovery?.length ?? 0 };
  }

  /** Forgets the notices up to a moment: they were shown. */
  async noticesShown(id: string, untilMs: number): Promise<void> {
    await this.#accounts.change(id, (account) => ({ ...account, notices: account.notices.filter(({ atMs }) => atMs > untilMs) }));
  }

  /** Ends all access of a person. @throws InterlockError `not-found` */
  async disable(username: string): Promise<Person> {
    return this.#endNamed(username, (account) => ({ ...account, disabled: true }));
  }

  /** Lifts a disabling; what was open before stays ended. @throws InterlockError `not-found` */
  async enable(username: string): Promise<Person> {
    return this.#endNamed(username, (account) => ({ ...account, disabled: false }));
  }

  /** The open sessions of a person. @throws InterlockError `not-found` */
  async sessions(username: string): Promise<readonly SessionEntry[]> {
    const person = await this.named(username);
    return (await this.#options.openSessions?.(person)) ?? [];
  }

  /** Ends all sessions and tokens of a person. @throws InterlockError `not-found` */
  async endSessions(username: string): Promise<Person> {
    return this.#endNamed(username, (account) => account);
  }

  /** Lifts the lock after failed sign-ins. @throws InterlockError `not-found` */
  async unlock(username: string): Promise<Person> {
    const { id } = await this.#named(username);
    const account = await this.#accounts.change(id, (before) => ({ ...before, failures: 0 }));
    return personOf(id, account!);
  }

  /** Gives a person another role, and ends what was open under the old one. @throws InterlockError `not-found`, `business-rule` */
  async setRole(username: string, change: Pick<NewPerson, 'role' | 'patientId' | 'practitionerId' | 'relatedPersonId' | 'proxyFor'>): Promise<Person> {
    const identity = identityOf(change);
    return this.#endNamed(username, ({ fhirUser: _, proxyFor: __, ...account }) => ({ ...account, ...identity }));
  }

  /** Gives a person a new TOTP secret; the old one, passkeys and recovery codes are void at once. @throws InterlockError `not-found` */
  async resetMfa(username: string): Promise<Enrolment> {
    const totpSecret = makeTotpSecret();
    const { id, username: name } = await this.#endNamed(username, ({ recovery: _, ...account }) => ({ ...account, totpSecret, totpStep: 0, failures: 0, passkeys: [], notices: [...account.notices, this.#notice('second-factor-reset')] }));
    return { id, otpauthUrl: otpauthUrl(name, totpSecret) };
  }

  /** Gives a person a password that they must change at the next sign-in. @throws InterlockError `not-found`, `business-rule` */
  async resetPassword(username: string, password?: string): Promise<Enrolment> {
    const { account } = await this.#named(username);
    if (account.passwordHash === undefined) refuse('username', 'This person signs in by the hospital’s sign-on and has no password here.');
    const next = password ?? makePassword();
    assertPasswordPolicy(next, account.username);
    const passwordHash = await hashPassword(next);
    const { id } = await this.#endNamed(username, (before) => ({ ...before, passwordHash, mustChangePassword: true, failures: 0, notices: [...before.notices, this.#notice('password-reset')] }));
    return { id, ...(password === undefined ? { password: next } : {}) };
  }

  /**
   * Changes the person's own password and ends all other sessions and every app's access. A wrong current password counts as a failed
   * sign-in.
   * @param keptSession the session that goes on
   * @throws InterlockError `credentials-invalid`, `business-rule` if the new one is not acceptable
   */
  async changePassword(id: string, current: string, next: string, keptSession?: string): Promise<void> {
    const floor = delay(minFailureMs);
    const counted = await this.#count(id);
    if (counted?.passwordHash === undefined || counted.disabled || !(await passwordMatches(counted.passwordHash, current))) {
      if (counted?.failures === maxFailures) await this.#accounts.change(id, (account) => ({ ...account, notices: [...account.notices, this.#notice('locked')] }));
      await floor;
      throw new InterlockError('credentials-invalid');
    }
    const used = counted.passwordHash;
    await this.#accounts.change(id, (account) => ({ ...account, failures: 0 }));
    assertPasswordPolicy(next, counted.username);
    if (await passwordMatches(used, next)) refuse('password', 'The new password is the one you have.');
    const passwordHash = await hashPassword(next);
    // Unless it was reset meanwhile.
    const done = await this.#end(id, (account) => (account.passwordHash === used ? { ...account, passwordHash, mustChangePassword: false, notices: [...account.notices, this.#notice('password-changed')] } : undefined), keptSession);
    if (done === undefined) throw new InterlockError('version-conflict');
  }

  /**
   * Checks password and second factor together, so that neither can be guessed alone. Every attempt is counted before it is
   * looked at; the fifth failure in a row locks. A code counts once. Every failure takes the same time, unknown names included.
   *
   * @param proof text: a code of the authenticator app or a recovery code; or a passkey's answer
   * @throws InterlockError `throttled`
   */
  async signIn(username: string, password: string, proof: Proof): Promise<SignIn> {
    return this.#timed(async () => {
      const found = await this.#accounts.find(normalise(username));
      const counted = found === undefined ? undefined : await this.#count(found.id);
      const hash = (counted ?? found?.account)?.passwordHash;
      const rightPassword = (await passwordMatches(hash ?? (await this.#decoyHash), password)) && hash !== undefined;
      if (found === undefined) return { failure: 'unknown-user' };
      return this.#judge(found, counted, rightPassword ? proof : undefined, ['pwd']);
    });
  }

  /** Signs in by a passkey alone, which must have verified its user. @throws InterlockError `throttled` */
  async signInByPasskey(proof: Exclude<Proof, string>): Promise<SignIn> {
    return this.#timed(async () => {
      const id = this.#factors.personOf(proof);
      const account = id === undefined ? undefined : await this.#accounts.get(id);
      if (id === undefined || account === undefined) return { failure: 'unknown-user' };
      const person = personOf(id, account);
      if (person.locked || account.disabled) return { failure: person.locked ? 'locked' : 'disabled', person };
      // Nobody can guess a signature, but anybody could lock others out if these failures counted.
      const amr = await this.#factors.prove(id, account, proof, true);
      return amr === undefined ? { failure: 'passkey', person } : { person, amr };
    });
  }

  /** Checks the second factor of somebody whom a hospital's sign-on vouched for. @throws InterlockError `throttled` */
  async proveSecondFactor(id: string, proof: Proof): Promise<SignIn> {
    return this.#timed(async () => {
      const account = await this.#accounts.get(id);
      if (account === undefined || !hasSecondFactor(account)) return { failure: 'unknown-user' };
      return this.#judge({ id, account }, await this.#count(id), proof, ['pwd']);
    });
  }

  async #judge({ id, account }: StoredAccount, counted: Account | undefined, proof: Proof | undefined, amr: readonly string[]): Promise<SignIn> {
    const person = personOf(id, account);
    if (counted === undefined) return { failure: 'locked', person };
    const fail = async (failure: SignInFailure): Promise<SignIn> => {
      if (counted.failures < maxFailures) return { failure, person };
      await this.#accounts.change(id, (before) => ({ ...before, notices: [...before.notices, this.#notice('locked')] }));
      return { failure, person, locks: true };
    };
    if (counted.disabled) return fail('disabled');
    if (proof === undefined) return fail('password');
    if (!hasSecondFactor(counted)) {
      const done = await this.#accounts.change(id, (before) => (before.disabled || hasSecondFactor(before) ? undefined : { ...before, failures: 0 }));
      return done === undefined ? fail('code') : { person: personOf(id, done), amr };
    }
    const proved = await this.#factors.prove(id, counted, proof, false);
    return proved === undefined ? fail('code') : { person: { ...person, locked: false }, amr: [...new Set([...amr, ...proved])] };
  }

  // Counting first means that no number of parallel guesses gets past the limit.
  async #count(id: string): Promise<Account | undefined> {
    return this.#accounts.change(id, (account) => (account.failures >= maxFailures ? undefined : { ...account, failures: account.failures + 1 }));
  }

  async #timed(work: () => Promise<SignIn>): Promise<SignIn> {
    const floor = delay(minFailureMs);
    const result = await work();
    if (result.failure !== undefined) await floor;
    return result;
  }

  async #named(username: string): Promise<StoredAccount> {
    const found = await this.#accounts.find(normalise(username));
    if (found === undefined) throw new InterlockError('not-found', { detail: 'There is no such user.' });
    return found;
  }

  async #endNamed(username: string, work: (account: Account) => Account): Promise<Person> {
    const { id } = await this.#named(username);
    return personOf(id, (await this.#end(id, work))!);
  }

  /** A change after which what was open before is void. */
  async #end(id: string, work: (account: Account) => Account | undefined, keptSession?: string): Promise<Account | undefined> {
    const done = await this.#accounts.change(id, (account) => {
      const next = work(account);
      if (next === undefined) return undefined;
      const { keptSession: _, ...rest } = next;
      // The clock that sessions and grants are dated by.
      return { ...rest, accessFromS: Math.floor(Date.now() / 1000), ...(keptSession === undefined ? {} : { keptSession }) };
    });
    if (done === undefined) return undefined;
    this.#options.onChange?.(id);
    await this.#options.endAccess?.(id, keptSession);
    return done;
  }

  #notice(kind: Notice['kind']): Notice {
    return { kind, atMs: this.#options.nowMs() };
  }
}

const blank = { disabled: false, failures: 0, mustChangePassword: false, totpStep: 0, passkeys: [], notices: [], accessFromS: 0 } as const satisfies Partial<Account>;

/** False for a session or a grant from before the person's access was last ended. Times in seconds since 1970. */
export function stillStands(person: Person, what: { readonly sinceS: number | undefined; readonly session?: string | undefined }): boolean {
  const { accessFromS = 0, keptSession } = person;
  return what.sinceS !== undefined && (what.sinceS >= accessFromS || (keptSession !== undefined && what.session === keptSession));
}

function identityOf(input: Pick<NewPerson, 'role' | 'patientId' | 'practitionerId' | 'relatedPersonId' | 'proxyFor'>): Pick<Account, 'role' | 'fhirUser' | 'proxyFor'> {
  const { role, patientId, practitionerId, relatedPersonId, proxyFor = [] } = input;
  if (roleOf(role) === undefined) refuse('role', `Roles are: ${roleNames().join(', ')}.`);
  if (relatedPersonId !== undefined && proxyFor.length === 0) refuse('proxyFor', 'A related person acts for at least one patient.');
  // A proxy, such as a parent, need not be a patient of this house.
  if ((role === 'patient') !== (patientId !== undefined || proxyFor.length > 0)) refuse('patient', 'The role patient, and only it, comes with the id of a Patient.');
  if (proxyFor.length > 20) refuse('proxyFor', 'A person acts for at most 20 patients.');
  for (const id of [patientId, practitionerId, relatedPersonId, ...proxyFor]) if (id !== undefined && !idPattern.test(id)) refuse('id', 'A logical id has up to 64 letters, digits, - or .');
  const fhirUser = patientId !== undefined ? `Patient/${patientId}` : relatedPersonId !== undefined ? `RelatedPerson/${relatedPersonId}` : practitionerId !== undefined ? `Practitioner/${practitionerId}` : undefined;
  return { role, ...(fhirUser === undefined ? {} : { fhirUser }), ...(proxyFor.length === 0 ? {} : { proxyFor }) };
}

function refuse(expression: string, detail: string): never {
  throw new InterlockError('business-rule', { expression, detail });
}

function normalise(username: string): string {
  return username.normalize('NFKC').trim().toLowerCase().slice(0, 200);
}

function personOf(id: string, account: Account): Person {
  const { username, role, fhirUser, proxyFor, disabled, failures, accessFromS, keptSession } = account;
  return { id, username, role, ...(fhirUser === undefined ? {} : { fhirUser }), ...(proxyFor === undefined ? {} : { proxyFor }), disabled, locked: failures >= maxFailures, accessFromS, ...(keptSession === undefined ? {} : { keptSession }) };
}
