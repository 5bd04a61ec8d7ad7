import { randomInt } from 'node:crypto';
import { generateAuthenticationOptions, generateRegistrationOptions, verifyAuthenticationResponse, verifyRegistrationResponse, type AuthenticationResponseJSON, type RegistrationResponseJSON } from '@simplewebauthn/server';
import { Secret, TOTP } from 'otpauth';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Account, Accounts, Passkey } from './accounts.ts';

/** What shows a second factor: a code as text, or a passkey's answer to a challenge that was made for this sign-in. */
export type Proof = string | { readonly challenge: string; readonly answer: unknown };

export interface SecondFactorsOptions {
  readonly accounts: Accounts;
  readonly keyring: Keyring;
  readonly nowMs: () => number;
  /** The origin of the sign-in pages, such as `https://ehr.example`; its host name is what passkeys are made for. */
  readonly origin: string;
}

const periodSeconds = 30;
const recoveryCodes = 10;
const recoveryAlphabet = 'ABCDEFGHJKLMNPQRSTUVWXYZ23456789';
const maxPasskeys = 20;
const passkeyTimeoutMs = 300_000;

/** A person's second factors: authenticator app, passkeys, recovery codes. Each use is a compare-and-set. */
export class SecondFactors {
  readonly #options: SecondFactorsOptions;

  constructor(options: SecondFactorsOptions) {
    this.#options = options;
  }

  get #rpId(): string {
    return new URL(this.#options.origin).hostname;
  }

  /**
   * Checks a second factor and marks it as used; earlier failures are forgotten with it.
   * @param alone the passkey is all there is, so it must have verified its user
   * @returns methods (RFC 8176) that were proved, or undefined
   */
  async prove(id: string, account: Account, proof: Proof, alone: boolean): Promise<readonly string[] | undefined> {
    if (typeof proof !== 'string') return this.#provePasskey(id, account, proof, alone);
    const text = proof.replaceAll(/[\s-]/g, '').toUpperCase();
    const done = /^\d{6}$/.test(text) ? await this.#proveTotp(id, account, text) : await this.#proveRecovery(id, text);
    return done ? ['otp', 'mfa'] : undefined;
  }

  /** Whose passkey answered: the user handle that it was made with. */
  personOf(proof: Exclude<Proof, string>): string | undefined {
    const handle = (proof.answer as Partial<AuthenticationResponseJSON> | null)?.response?.userHandle;
    const id = typeof handle === 'string' ? Buffer.from(handle, 'base64url').toString('latin1') : '';
    return /^(?:user|sso)-[0-9a-f]{24}$/.test(id) ? id : undefined;
  }

  /**
   * Sets the authenticator app up, or replaces it, once a code shows that it works.
   * @param first true: only for somebody who has no second factor at all
   * @throws InterlockError `credentials-invalid`
   */
  async setTotp(id: string, totpSecret: string, code: string, first: boolean): Promise<void> {
    const totpStep = stepOf(totpSecret, code.replaceAll(/\s/g, ''), this.#options.nowMs());
    const done = totpStep === undefined ? undefined : await this.#options.accounts.change(id, (account) => (account.disabled || (first && hasSecondFactor(account)) ? undefined : { ...account, totpSecret, totpStep }));
    if (done === undefined) throw new InterlockError('credentials-invalid');
  }

  /** Makes ten recovery codes; earlier ones are void. @returns the codes, which are stored nowhere */
  async makeRecoveryCodes(id: string): Promise<string[]> {
    const codes = Array.from({ length: recoveryCodes }, () => [0, 0].map(() => Array.from({ length: 5 }, () => recoveryAlphabet[randomInt(recoveryAlphabet.length)]!).join('')).join('-'));
    const recovery = codes.map((code) => this.#recoveryHash(id, code.replace('-', '')));
    await this.#options.accounts.change(id, (account) => ({ ...account, recovery }));
    return codes;
  }

  /** What a browser needs to ask for a passkey. No credential is named: that would tell who exists. */
  async passkeyRequest(): Promise<{ readonly challenge: string; readonly options: object }> {
    const options = await generateAuthenticationOptions({ rpID: this.#rpId, userVerification: 'preferred', timeout: passkeyTimeoutMs });
    return { challenge: options.challenge, options };
  }

  /** What a browser needs to make a passkey. */
  async passkeyCreation(id: string, username: string): Promise<{ readonly challenge: string; readonly options: object }> {
    const account = await this.#options.accounts.get(id);
    const options = await generateRegistrationOptions({
      rpName: 'Interlock', rpID: this.#rpId, userName: username, userDisplayName: username, userID: Uint8Array.from(Buffer.from(id, 'latin1')), timeout: passkeyTimeoutMs, attestationType: 'none',
      authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'preferred' },
      excludeCredentials: (account?.passkeys ?? []).map((passkey) => ({ id: passkey.id })),
    });
    return { challenge: options.challenge, options };
  }

  /** Adds a passkey that was made for a challenge of {@link passkeyCreation}. @throws InterlockError `credentials-invalid`, `business-rule` */
  async addPasskey(id: string, name: string, proof: Exclude<Proof, string>): Promise<void> {
    const label = name.trim().slice(0, 64);
    if (label === '') throw new InterlockError('business-rule', { expression: 'name', detail: 'A passkey has a name.' });
    const { origin, nowMs, accounts } = this.#options;
    const checked = await verifyRegistrationResponse({ response: proof.answer as RegistrationResponseJSON, expectedChallenge: proof.challenge, expectedOrigin: origin, expectedRPID: this.#rpId, requireUserVerification: false }).catch(() => undefined);
    if (checked?.verified !== true) throw new InterlockError('credentials-invalid');
    const { credential } = checked.registrationInfo;
    const passkey: Passkey = {
      id: credential.id, publicKey: Buffer.from(credential.publicKey).toString('base64url'), counter: credential.counter, name: label, createdAtMs: nowMs(),
      ...(credential.transports === undefined ? {} : { transports: credential.transports }),
    };
    const done = await accounts.change(id, (account) => (account.disabled || account.passkeys.length >= maxPasskeys || account.passkeys.some((one) => one.id === passkey.id) ? undefined : { ...account, passkeys: [...account.passkeys, passkey], notices: [...account.notices, { kind: 'passkey-added', atMs: nowMs() }] }));
    if (done === undefined) throw new InterlockError('business-rule', { expression: 'passkey', detail: `A passkey is added once, and there are at most ${maxPasskeys}.` });
  }

  /** Removes a passkey. @throws InterlockError `business-rule` if it is the last second factor */
  async removePasskey(id: string, passkeyId: string): Promise<void> {
    let isLast = false;
    await this.#options.accounts.change(id, (account) => {
      const passkeys = account.passkeys.filter((one) => one.id !== passkeyId);
      isLast = !hasSecondFactor({ ...account, passkeys });
      return isLast ? undefined : { ...account, passkeys };
    });
    if (isLast) throw new InterlockError('business-rule', { expression: 'passkey', detail: 'This is your last second factor. Set up an authenticator app or another passkey first.' });
  }

  async #proveTotp(id: string, { totpSecret }: Account, code: string): Promise<boolean> {
    const step = stepOf(totpSecret ?? decoySecret, code, this.#options.nowMs());
    if (step === undefined || totpSecret === undefined) return false;
    return (await this.#options.accounts.change(id, (now) => (now.disabled || now.totpSecret !== totpSecret || now.totpStep >= step ? undefined : { ...now, totpStep: step, failures: 0 }))) !== undefined;
  }

  async #proveRecovery(id: string, code: string): Promise<boolean> {
    const hash = this.#recoveryHash(id, code);
    const { accounts, nowMs } = this.#options;
    return (await accounts.change(id, (now) => (now.disabled || now.recovery?.includes(hash) !== true ? undefined : { ...now, recovery: now.recovery.filter((one) => one !== hash), failures: 0, notices: [...now.notices, { kind: 'recovery-code-used', atMs: nowMs() }] }))) !== undefined;
  }

  async #provePasskey(id: string, account: Account, proof: Exclude<Proof, string>, alone: boolean): Promise<readonly string[] | undefined> {
    const answer = proof.answer as AuthenticationResponseJSON;
    const passkey = account.passkeys.find((one) => one.id === (answer as Partial<AuthenticationResponseJSON> | null)?.id);
    if (passkey === undefined || (this.personOf(proof) ?? id) !== id) return undefined;
    const checked = await verifyAuthenticationResponse({
      response: answer, expectedChallenge: proof.challenge, expectedOrigin: this.#options.origin, expectedRPID: this.#rpId, requireUserVerification: alone,
      credential: { id: passkey.id, publicKey: Uint8Array.from(Buffer.from(passkey.publicKey, 'base64url')), counter: passkey.counter },
    }).catch(() => undefined);
    if (checked?.verified !== true) return undefined;
    const { newCounter, userVerified } = checked.authenticationInfo;
    const used = { ...passkey, counter: newCounter, usedAtMs: this.#options.nowMs() };
    // A counter that does not go up is that of a copy; the same answer twice is one, too.
    const done = await this.#options.accounts.change(id, (now) => (now.disabled || !now.passkeys.some((one) => one.id === passkey.id && one.counter === passkey.counter) ? undefined : { ...now, failures: 0, passkeys: now.passkeys.map((one) => (one.id === passkey.id ? used : one)) }));
    return done === undefined ? undefined : ['hwk', ...(userVerified ? ['user'] : []), 'mfa'];
  }

  #recoveryHash(id: string, code: string): string {
    return this.#options.keyring.mac('people-token', ['recovery', id, code], 32).toString('base64url');
  }
}

/** True if there is more than a password. Recovery codes stand in for what there is, and are nothing by themselves. */
export function hasSecondFactor(account: Pick<Account, 'totpSecret' | 'passkeys'>): boolean {
  return account.totpSecret !== undefined || account.passkeys.length > 0;
}

/** A secret for an authenticator app: 160 bits, base32. */
export function makeTotpSecret(): string {
  return new Secret({ size: 20 }).base32;
}

/** https://github.com/google/google-authenticator/wiki/Key-Uri-Format */
export function otpauthUrl(username: string, secret: string): string {
  return totp(username, secret).toString();
}

const decoySecret = makeTotpSecret();

/** The time step that a code belongs to: this one or a neighbour (RFC 6238, section 5.2); undefined if the code is wrong. */
function stepOf(secret: string, code: string, nowMs: number): number | undefined {
  const delta = totp('', secret).validate({ token: code, window: 1, timestamp: nowMs });
  return delta === null ? undefined : Math.floor(nowMs / 1000 / periodSeconds) + delta;
}

function totp(label: string, secret: string): TOTP {
  return new TOTP({ issuer: 'Interlock', label, algorithm: 'SHA1', digits: 6, period: periodSeconds, secret: Secret.fromBase32(secret) });
}
