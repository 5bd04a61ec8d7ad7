import { randomUUID } from 'node:crypto';
import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AuditActor, AuditRecord, AuditTrail } from '../audit/record.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { AccessContext, BrokenGlass, Grant } from './context.ts';
import { roleOf } from './roles.ts';

/** A person's access to one patient's record beyond consents and the own patients, for a while. */
export interface Breaking extends BrokenGlass {
  readonly person: string;
  readonly personName?: string;
  readonly client: string;
  readonly atMs: number;
  readonly endedAtMs?: number;
  readonly review?: { readonly by: string; readonly atMs: number; readonly note: string };
}

/** What is told at once when somebody breaks the glass; free of PHI but for who and for which review. */
export interface BreakGlassAlert {
  readonly id: string;
  readonly atMs: number;
}

export interface BreakGlassOptions {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly audit: Pick<AuditTrail, 'record'>;
  readonly nowMs: () => number;
  /** How long ago the person may have signed in with both factors; 15 minutes unless told otherwise. */
  readonly maxSignInAgeMs?: number;
  /** Takes alerts to whoever has to know. It is told before the access is given. */
  readonly onAlert: (alert: BreakGlassAlert) => Promise<void> | void;
}

interface Row {
  readonly _id: string;
  readonly expiresAt: Date;
  readonly isReviewed: boolean;
  readonly version: number;
  readonly sealed: Buffer;
}

/** What people are told wherever they have emergency access. */
export const emergencyBanner = 'Emergency access: every access is recorded as such and will be reviewed.';

const maxMinutes = 60;
const maxActive = 1_000;
const maxListed = 1_000;
const staleAfterMs = 1_000;
/** http://terminology.hl7.org/CodeSystem/v3-ActReason */
const emergencies = new Set(['BTG', 'ETREAT']);

/**
 * Breaking the glass: a person whose role may, with a reason and an emergency as purpose, gets one patient's record for at most an hour.
 * Each time is announced, stands in every audit entry of it, and waits for somebody else's review.
 */
export class BreakGlass {
  readonly #options: BreakGlassOptions;
  #active: readonly Breaking[] = [];
  #readAt = -Infinity;

  constructor(options: BreakGlassOptions) {
    this.#options = options;
  }

  /**
   * Gives a caller a patient's record.
   * @throws InterlockError `forbidden` for who may not; `sign-in-too-old` with the challenge of RFC 9470; `request-invalid` without a reason, an emergency, or for longer than an hour
   */
  async begin(context: AccessContext, asked: { readonly patient: string; readonly reason: string; readonly purpose: string; readonly minutes: number }): Promise<Breaking> {
    const { actor } = context;
    if (actor.kind !== 'user' || actor.clientId === undefined) throw new InterlockError('forbidden', { rule: 'break-glass: only people break the glass' });
    if (roleOf(actor.role ?? '')?.breaksGlass !== true) throw new InterlockError('forbidden', { rule: `role: ${actor.role ?? 'none'} may not break the glass` });
    this.#assertFresh(context);
    if (!emergencies.has(asked.purpose)) throw new InterlockError('request-invalid', { detail: 'The purpose of use must be BTG or ETREAT.' });
    if (asked.reason.trim().length < 10 || asked.reason.length > 2_000) throw new InterlockError('request-invalid', { detail: 'A reason of 10 to 2,000 characters is required.' });
    if (!(asked.minutes >= 1 && asked.minutes <= maxMinutes)) throw new InterlockError('request-invalid', { detail: `The time is 1 to ${maxMinutes} minutes.` });
    const atMs = this.#options.nowMs();
    const breaking: Breaking = {
      id: randomUUID(), patient: asked.patient, purpose: asked.purpose, reason: asked.reason, untilMs: atMs + asked.minutes * 60_000, atMs, person: actor.id, client: actor.clientId,
      ...(actor.display === undefined ? {} : { personName: actor.display }),
    };
    await this.#rows.insertOne({ ...this.#rowOf(breaking, 1), _id: breaking.id }, { writeConcern: { w: 'majority', j: true } });
    await this.#record(context, 'break-glass-begin', breaking);
    await this.#options.onAlert({ id: breaking.id, atMs });
    this.#readAt = -Infinity;
    return breaking;
  }

  /** What a person has at present in an app, by emergencies. */
  async of(person: string, client: string): Promise<readonly BrokenGlass[]> {
    return (await this.#current()).filter((one) => one.person === person && one.client === client);
  }

  /** When the first of a person's emergencies in an app ends, as it was known a second ago at most to who has just asked {@link of}. */
  untilMs(person: string, client: string): number | undefined {
    const nowMs = this.#options.nowMs();
    const ends = this.#active.flatMap((one) => (one.person === person && one.client === client && one.untilMs > nowMs ? [one.untilMs] : []));
    return ends.length === 0 ? undefined : Math.min(...ends);
  }

  /** Ends what the caller began for a patient; 0 if there was nothing. */
  async end(context: AccessContext, patient: string): Promise<number> {
    const own = (await this.#current()).filter((one) => isOf(one, context) && one.patient === patient);
    for (const one of own) {
      await this.#change(one.id, (now) => ({ ...now, untilMs: Math.min(now.untilMs, this.#options.nowMs()), endedAtMs: this.#options.nowMs() }));
      await this.#record(context, 'break-glass-end', one);
    }
    this.#readAt = -Infinity;
    return own.length;
  }

  /** The context with what the caller broke the glass for: the role's own types and elements, of these patients too. */
  async apply(context: AccessContext): Promise<AccessContext> {
    if (context.actor.kind !== 'user') return context;
    const own = (await this.#current()).filter((one) => isOf(one, context));
    if (own.length === 0) return context;
    const added = own.flatMap(({ patient }) => context.grants.flatMap((grant): Grant[] => {
      // Only who is confined to patients in care is let further; a launch stays with its patient.
      if (grant.careOf === undefined || (grant.patient !== undefined && grant.patient !== patient)) return [];
      const { careOf: _careOf, patients: _patients, ...rest } = grant;
      return [{ ...rest, patient }];
    }));
    return { ...context, grants: [...context.grants, ...added], brokenGlass: own.map(({ id, patient, purpose, reason, untilMs }) => ({ id, patient, purpose, reason, untilMs })) };
  }

  /** What was broken, oldest first. @param open only what nobody has reviewed */
  async list(open: boolean): Promise<readonly Breaking[]> {
    const rows = await this.#rows.find(open ? { isReviewed: false } : {}, { sort: { expiresAt: 1 }, limit: maxListed, promoteBuffers: true }).toArray();
    return Promise.all(rows.map(async (row) => this.#open(row)));
  }

  /**
   * Closes a review.
   * @param reviewer user name or id, never that of the person who broke the glass
   * @param persons ids of the accounts that are the reviewer's, whatever they are called now
   * @throws InterlockError `not-found`, `forbidden` for the same person, `request-invalid` without a note
   */
  async review(id: string, reviewer: AuditActor, note: string, requestId: string, persons: readonly string[] = []): Promise<void> {
    if (note.trim().length === 0 || note.length > 2_000) throw new InterlockError('request-invalid', { detail: 'A note of up to 2,000 characters is required.' });
    const row = await this.#rows.findOne({ _id: id }, { promoteBuffers: true });
    if (row === null) throw new InterlockError('not-found');
    const breaking = await this.#open(row);
    const facts = { at: this.#options.nowMs(), kind: 'command', interaction: 'break-glass-review', action: 'U', requestId, actor: reviewer, patients: [breaking.patient] } as const;
    const own = [breaking.person, breaking.personName].flatMap((name) => (name === undefined ? [] : [normal(name)]));
    if ([reviewer.id, reviewer.display, ...persons].some((name) => name !== undefined && own.includes(normal(name)))) {
      await this.#options.audit.record({ ...facts, outcome: '4', error: 'forbidden', rule: 'break-glass: nobody reviews the own access' });
      throw new InterlockError('forbidden', { detail: 'Somebody else must review it.', rule: 'break-glass: nobody reviews the own access' });
    }
    await this.#change(id, (now) => ({ ...now, review: { by: reviewer.id, atMs: this.#options.nowMs(), note } }));
    await this.#options.audit.record({ ...facts, outcome: '0' });
  }

  get #rows() {
    return this.#options.app.collection<Row>('break_glass');
  }

  /** A screen that somebody left open breaks no glass (https://www.rfc-editor.org/rfc/rfc9470). */
  #assertFresh({ signedIn }: AccessContext): void {
    const { nowMs, maxSignInAgeMs = 900_000 } = this.#options;
    if (signedIn?.amr.includes('mfa') === true && nowMs() - signedIn.atMs <= maxSignInAgeMs) return;
    throw new InterlockError('sign-in-too-old', {
      rule: 'break-glass: the second factor is not fresh',
      challenge: `Bearer error="insufficient_user_authentication", error_description="Sign in again with both factors", max_age="${Math.floor(maxSignInAgeMs / 1000)}"`,
    });
  }

  async #current(): Promise<readonly Breaking[]> {
    const nowMs = this.#options.nowMs();
    if (performance.now() - this.#readAt >= staleAfterMs) {
      const startedAt = performance.now();
      const rows = await this.#rows.find({ expiresAt: { $gt: new Date(nowMs) } }, { limit: maxActive, promoteBuffers: true }).toArray();
      this.#active = await Promise.all(rows.map(async (row) => this.#open(row)));
      this.#readAt = startedAt;
    }
    return this.#active.filter(({ untilMs }) => untilMs > nowMs);
  }

  async #change(id: string, change: (now: Breaking) => Breaking): Promise<void> {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const row = await this.#rows.findOne({ _id: id }, { promoteBuffers: true });
      if (row === null) throw new InterlockError('not-found');
      const { _id: _, ...changed } = this.#rowOf(change(await this.#open(row)), row.version + 1);
      const { matchedCount } = await this.#rows.updateOne({ _id: id, version: row.version }, { $set: changed }, { writeConcern: { w: 'majority', j: true } });
      if (matchedCount === 1) return;
    }
    throw new InterlockError('version-conflict');
  }

  #rowOf(breaking: Breaking, version: number): Row {
    const { id, untilMs, review } = breaking;
    return { _id: id, expiresAt: new Date(untilMs), isReviewed: review !== undefined, version, sealed: this.#options.keyring.sealBlob('people', Buffer.from(JSON.stringify(breaking)), `break-glass|${id}|${version}`) };
  }

  async #open({ _id, version, sealed }: Row): Promise<Breaking> {
    return JSON.parse((await this.#options.keyring.openBlob('people', sealed, `break-glass|${_id}|${version}`)).toString()) as Breaking;
  }

  async #record({ actor, requestId }: AccessContext, interaction: string, { patient, purpose, reason }: Breaking): Promise<void> {
    await this.#options.audit.record({ at: this.#options.nowMs(), kind: 'rest', interaction, action: 'E', outcome: '0', requestId, actor, purposeOfUse: [purpose], breakGlassReason: reason, patients: [patient] });
  }
}

/** The record of an access, with the emergency as its purpose if it concerns a patient for whom the glass was broken. */
export function underBrokenGlass<T extends Pick<AuditRecord, 'patients' | 'purposeOfUse'>>(record: T, { brokenGlass = [] }: AccessContext): T {
  const used = brokenGlass.find(({ patient }) => record.patients?.includes(patient) === true);
  if (used === undefined) return record;
  return { ...record, purposeOfUse: [...new Set(['BTG', used.purpose, ...(record.purposeOfUse ?? [])])], breakGlassReason: used.reason };
}

function normal(name: string): string {
  return name.normalize('NFKC').trim().toLowerCase();
}

function isOf(breaking: Breaking, { actor }: AccessContext): boolean {
  return breaking.person === actor.id && breaking.client === actor.clientId;
}
