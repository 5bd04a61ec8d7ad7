import type { Request, Response } from 'express';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AuditRecord } from '../audit/record.ts';
import type { OAuthRows } from './adapter.ts';
import { anonymousActor, personActor, requestFacts } from './audit.ts';
import type { InteractionOptions, Waiting } from './interactions.ts';
import { authenticate } from './passport.ts';
import type { Person, SignIn } from './people.ts';
import { problemPage } from './pages.ts';
import { makeTotpSecret, type Proof } from './second-factors.ts';
import { newPasswordPage, noticesPage, passkeyScriptPath, recoveryCodesPage, secondFactorPage, signInPage, totpSetUpPage, type SignInOffer } from './sign-in-pages.ts';
import type { Sso } from './sso.ts';

/** What a sign-in works with besides the interaction's own parts. */
export interface SignInOptions extends InteractionOptions {
  readonly rows: OAuthRows;
  readonly issuer: string;
  readonly sso?: Sso | undefined;
}

/** How far a sign-in has come: kept sealed, under the interaction that its browser holds the cookie of. */
interface Progress {
  readonly accountId: string;
  readonly amr: readonly string[];
  /** By the hospital's sign-on. */
  readonly isSso?: boolean;
  /** Of the authenticator app that is being set up. */
  readonly totpSecret?: string;
}

const progressLifetimeS = 900;
const challengeLifetimeS = 300;
const fewRecoveryCodes = 3;
const wrong = 'That did not match. Check user name, password and code. After five failures an account is locked.';
const wrongCode = 'That did not match. Check the time of your device, and use the newest code.';

/** Shows what comes next: the sign-in page, or what the person has to do before they are signed in. */
export async function showSignIn(options: SignInOptions, waiting: Waiting, request: Request, response: Response, problem?: string): Promise<void> {
  const progress = await options.rows.get<Progress>('SignIn', waiting.details.uid);
  if (progress !== undefined) return goOn(options, waiting, progress, request, response, problem);
  const offer = await offerOf(options, waiting, response);
  response.status(problem === undefined ? 200 : 401).type('html').send(signInPage(waiting.form, offer, problem, typedName(request)));
}

function typedName(request: Request): string {
  const { username } = (request.body ?? {}) as Readonly<Record<string, unknown>>;
  return typeof username === 'string' ? username.slice(0, 64) : '';
}

/** Takes the answer to any of these pages. */
export async function signIn(options: SignInOptions, waiting: Waiting, request: Request, response: Response): Promise<void> {
  const body = request.body as Readonly<Record<string, unknown>>;
  const { rows } = options;
  const { uid } = waiting.details;
  if (body['decision'] === 'sso' && options.sso !== undefined) return options.sso.begin(uid, response);
  const progress = await rows.get<Progress>('SignIn', uid);
  if (body['step'] === undefined) return credentials(options, waiting, request, response);
  if (progress === undefined) throw new InterlockError('request-invalid');
  const next = await takeStep(options, waiting, progress, request, response);
  if (next !== undefined) return goOn(options, waiting, next, request, response);
}

/** Somebody whom the hospital's sign-on vouched for goes on where they began. */
export async function signedOnElsewhere(rows: OAuthRows, uid: string, accountId: string, amr: readonly string[]): Promise<void> {
  await rows.put('SignIn', uid, { accountId, amr, isSso: true } satisfies Progress, progressLifetimeS);
}

async function credentials(options: SignInOptions, waiting: Waiting, request: Request, response: Response): Promise<void> {
  const result = await attempt(options, waiting, request, async (proof) => {
    const body = request.body as Record<string, unknown>;
    // Nobody else can put an object there: forms hold texts.
    body['proof'] = proof;
    const alone = typeof proof !== 'string' && (body['username'] === '' || body['password'] === '');
    return (await authenticate(options.passport, alone ? 'passkey' : 'person', request, response)) ?? { failure: 'unknown-user' };
  });
  if (result === undefined) return showSignIn(options, waiting, request, response, wrong);
  const progress: Progress = { accountId: result.person.id, amr: result.amr };
  return goOn(options, waiting, progress, request, response);
}

/** Checks credentials, slowed down by address and recorded, whatever comes of it. */
async function attempt(options: SignInOptions, waiting: Waiting, request: Request, check: (proof: Proof) => Promise<SignIn>): Promise<Extract<SignIn, { amr: unknown }> | undefined> {
  const facts = requestFacts(request);
  const address = facts.address ?? '';
  const retryAfterSeconds = options.throttle.retryAfterS(address);
  if (retryAfterSeconds !== undefined) throw new InterlockError('throttled', { retryAfterSeconds });
  options.audit.assertAvailable();
  const result = await check(await proofOf(options.rows, waiting.details.uid, request.body as Readonly<Record<string, unknown>>));
  const actor = result.person === undefined ? anonymousActor(facts, waiting.client.clientId) : personActor(result.person, facts, waiting.client);
  const entry = { ...about(options, request, waiting), actor } as const;
  if (result.failure !== undefined) {
    options.throttle.failed(address);
    await (actor.kind === 'anonymous' ? options.flood : options.audit).record({ ...entry, interaction: 'login', outcome: '4', error: 'credentials-invalid', rule: `sign-in: ${result.failure}` });
    if (result.locks === true) await options.audit.record({ ...entry, interaction: 'account-locked', outcome: '4', error: 'credentials-invalid', rule: 'sign-in: five failures in a row' });
    return undefined;
  }
  await options.audit.record({ ...entry, interaction: result.amr.includes('mfa') ? 'login' : 'login-first-factor', outcome: '0' });
  return result;
}

/** What was sent as second factor. A challenge counts once, and only for the sign-in that it was made for. */
async function proofOf(rows: OAuthRows, uid: string, { passkey, code, recovery }: Readonly<Record<string, unknown>>): Promise<Proof> {
  if (typeof passkey !== 'string' || passkey === '') return typeof recovery === 'string' && recovery !== '' ? recovery : typeof code === 'string' ? code : '';
  const made = await rows.take<{ challenge: string }>('PasskeyChallenge', uid);
  let answer: unknown;
  try {
    answer = JSON.parse(passkey);
  } catch {
    answer = undefined;
  }
  return { challenge: made?.challenge ?? '', answer };
}

/** The next thing to do, or the end of the sign-in. */
async function goOn(options: SignInOptions, waiting: Waiting, progress: Progress, request: Request, response: Response, problem?: string): Promise<void> {
  const { people, rows, provider } = options;
  const { form, details: { uid } } = waiting;
  const [person, duties] = await Promise.all([people.get(progress.accountId), people.obligations(progress.accountId)]);
  if (person === undefined || duties === undefined || person.disabled) throw new InterlockError('forbidden');
  const keep = (more: Partial<Progress> = {}): Promise<void> => rows.put('SignIn', uid, { ...progress, ...more }, progressLifetimeS);
  const send = (text: string): void => {
    response.status(problem === undefined ? 200 : 401).type('html').send(text);
  };
  if (!progress.amr.includes('mfa')) {
    if (duties.hasSecondFactor) {
      await keep();
      send(secondFactorPage(form, await offerOf(options, waiting, response), problem));
      return;
    }
    if (progress.isSso === true) return refuseSso(options, waiting, person, request, response);
    const totpSecret = progress.totpSecret ?? makeTotpSecret();
    await keep({ totpSecret });
    send(totpSetUpPage(form, 'set-up', person.username, totpSecret, problem));
    return;
  }
  if (duties.mustChangePassword && progress.isSso !== true) {
    await keep();
    send(newPasswordPage(form, person.username, problem));
    return;
  }
  const left = duties.recoveryCodesLeft;
  const few = left !== undefined && left <= fewRecoveryCodes ? left : undefined;
  const answered = (request.body as Readonly<Record<string, unknown>> | undefined)?.['step'] === 'notices';
  if (!answered && (duties.notices.length > 0 || few !== undefined)) {
    await keep();
    send(noticesPage(form, duties.notices, few));
    return;
  }
  await rows.remove('SignIn', uid);
  const login = { accountId: person.id, amr: [...progress.amr], remember: false };
  return provider.interactionFinished(request, response, { login }, { mergeWithLastSubmission: false });
}

/** @returns undefined if the answer was sent already */
async function takeStep(options: SignInOptions, waiting: Waiting, progress: Progress, request: Request, response: Response): Promise<Progress | undefined> {
  const { people, rows } = options;
  const { form, details: { uid } } = waiting;
  const { step, code, current, next, again } = request.body as Readonly<Record<string, unknown>>;
  const again401 = async (problem: string): Promise<undefined> => {
    await goOn(options, waiting, progress, request, response, problem);
    return undefined;
  };
  const id = progress.accountId;
  if (step === 'second-factor' && !progress.amr.includes('mfa')) {
    const result = await attempt(options, waiting, request, (proof) => people.proveSecondFactor(id, proof));
    return result === undefined ? again401(wrongCode) : { ...progress, amr: [...new Set([...progress.amr, ...result.amr])] };
  }
  if (step === 'set-up' && !progress.amr.includes('mfa') && progress.isSso !== true && progress.totpSecret !== undefined) {
    try {
      await people.factors.setTotp(id, progress.totpSecret, String(code), true);
    } catch (cause) {
      if (cause instanceof InterlockError && cause.code === 'credentials-invalid') return again401(wrongCode);
      throw cause;
    }
    const { totpSecret: _, ...rest } = progress;
    const proved: Progress = { ...rest, amr: [...new Set([...progress.amr, 'otp', 'mfa'])] };
    await rows.put('SignIn', uid, proved, progressLifetimeS);
    const codes = await people.factors.makeRecoveryCodes(id);
    await recordStep(options, waiting, request, id, 'second-factor-set-up');
    await recordStep(options, waiting, request, id, 'login');
    response.type('html').send(recoveryCodesPage(form, 'codes', codes));
    return undefined;
  }
  if (step === 'password') {
    if (next !== again) return again401('The two new passwords differ.');
    try {
      await people.changePassword(id, String(current), String(next));
    } catch (cause) {
      if (cause instanceof InterlockError && ['credentials-invalid', 'business-rule'].includes(cause.code)) return again401(cause.code === 'business-rule' ? (cause.options.detail ?? '') : 'The current password did not match.');
      throw cause;
    }
    await recordStep(options, waiting, request, id, 'password-changed');
    return progress;
  }
  if (step === 'notices') await people.noticesShown(id, options.nowMs());
  return progress;
}

async function recordStep(options: SignInOptions, waiting: Waiting, request: Request, id: string, interaction: string): Promise<void> {
  const person = await options.people.get(id);
  if (person !== undefined) await options.audit.record({ ...about(options, request, waiting), actor: personActor(person, requestFacts(request), waiting.client), interaction, outcome: '0' });
}

function about(options: SignInOptions, request: Request, { client }: Waiting): Pick<AuditRecord, 'at' | 'kind' | 'action' | 'requestId' | 'client'> {
  return { at: options.nowMs(), kind: 'login', action: 'E', requestId: requestFacts(request).requestId, client: { id: client.clientId } };
}

async function offerOf(options: SignInOptions, waiting: Waiting, response: Response): Promise<SignInOffer> {
  const { challenge, options: passkeyOptions } = await options.people.factors.passkeyRequest();
  await options.rows.put('PasskeyChallenge', waiting.details.uid, { challenge }, challengeLifetimeS);
  const scriptUrl = `${options.issuer}${passkeyScriptPath}`;
  response.set('Content-Security-Policy', `${String(response.get('Content-Security-Policy'))}; script-src ${scriptUrl}`);
  return { scriptUrl, passkeyOptions, ssoName: options.sso?.name };
}

async function refuseSso(options: SignInOptions, waiting: Waiting, person: Person, request: Request, response: Response): Promise<void> {
  const facts = requestFacts(request);
  await options.rows.remove('SignIn', waiting.details.uid);
  await options.audit.record({ ...about(options, request, waiting), actor: personActor(person, facts, waiting.client), interaction: 'login', outcome: '4', error: 'credentials-invalid', rule: 'sign-on: no second factor, neither there nor here' });
  response.status(403).type('html').send(problemPage('A second factor is needed', 'Your hospital’s sign-on did not say that you used a second factor, and you have none here. Sign in there with a second factor, or ask your IT department to set one up for you here.', facts.requestId, waiting.form.appName));
}
