import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AuditActor, AuditTrail } from '../audit/record.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { AlertKind, Rule, Severity } from './rules.ts';

/** What an alert is about. Is sealed; names no patient. */
export interface About {
  /** The person, application, partner or operator. */
  readonly who?: Pick<AuditActor, 'kind' | 'id' | 'display' | 'role'>;
  readonly address?: string;
  /** Id of the first AuditEvent of the entry that made it an alert. */
  readonly auditEvent?: string;
  /** Where there is no entry: what was found, or which emergency access. */
  readonly what?: string;
}

export interface Alert {
  readonly id: string;
  readonly rule: string;
  readonly kind: AlertKind;
  readonly severity: Severity;
  readonly at: Date;
  /** When the latest of the same came. */
  readonly last: Date;
  readonly count: number;
  readonly state: 'open' | 'acknowledged';
  readonly about: About;
  readonly acknowledged?: { readonly by: string; readonly at: Date; readonly note: string };
}

/** An alert to be: what a rule found. */
export interface Finding {
  readonly rule: Rule;
  /** What is counted apart: one alert for each in a while. */
  readonly subject: string;
  readonly atMs: number;
  readonly count: number;
  readonly about: About;
}

interface Row {
  readonly _id: string;
  readonly rule: string;
  readonly kind: AlertKind;
  readonly severity: Severity;
  readonly at: Date;
  readonly last: Date;
  readonly count: number;
  readonly state: Alert['state'];
  /** Present until its notices are kept for delivery. */
  readonly untold?: true;
  readonly sealed: Buffer;
  readonly acknowledgement?: Buffer;
  readonly purgeAt?: Date;
}

export interface RegisterOptions {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly audit: Pick<AuditTrail, 'prepare' | 'appendCommitted' | 'assertAvailable'>;
  readonly nowMs: () => number;
}

const writeConcern = { w: 'majority', j: true } as const;
/** Documentation is kept six years (45 CFR 164.316(b)(2)(i)). */
const keptMs = 6 * 366 * 86_400_000;
const maxListed = 1_000;

/** The alerts, as they are stored. Who they are about is sealed; what stands open are rule, severity, times and counts. */
export class AlertRegister {
  readonly #options: RegisterOptions;

  constructor(options: RegisterOptions) {
    this.#options = options;
  }

  /** Keeps a finding: as a new alert, or counted on the one of the same subject and time. @returns the alert if it is new */
  async keep({ rule, subject, atMs, count, about }: Finding): Promise<Alert | undefined> {
    const slot = Math.floor(atMs / (rule.quietS * 1000));
    const id = this.#options.keyring.mac('alert-token', [rule.id, subject, String(slot)], 10).toString('hex');
    const at = new Date(atMs);
    const { upsertedCount } = await this.#rows.updateOne({ _id: id }, {
      $max: { count, last: at },
      $setOnInsert: { rule: rule.id, kind: rule.kind, severity: rule.severity, at, state: 'open', untold: true, sealed: this.#seal(about, `alert|${id}`) },
    }, { upsert: true, writeConcern });
    return upsertedCount === 0 ? undefined : { id, rule: rule.id, kind: rule.kind, severity: rule.severity, at, last: at, count, state: 'open', about };
  }

  /** Alerts whose notices a crash may have prevented, oldest first. */
  async untold(): Promise<Alert[]> {
    return this.#read({ untold: true }, 1);
  }

  /** Its notices are kept for delivery. */
  async told(id: string): Promise<void> {
    await this.#rows.updateOne({ _id: id }, { $unset: { untold: true } }, { writeConcern });
  }

  /** Newest first, at most 1,000. @param open only what nobody has acknowledged */
  async list(open: boolean): Promise<Alert[]> {
    return this.#read(open ? { state: 'open' } : {}, -1);
  }

  async countOpen(): Promise<number> {
    return this.#rows.countDocuments({ state: 'open' }, { limit: maxListed });
  }

  /** @throws InterlockError `not-found` */
  async read(id: string): Promise<Alert> {
    const [alert] = await this.#read({ _id: id }, 1);
    if (alert === undefined) throw new InterlockError('not-found');
    return alert;
  }

  /**
   * Notes who looked into an alert and what came of it. That is audited.
   * @throws InterlockError `not-found`, `request-invalid` without a note, `business-rule` if it is acknowledged already
   */
  async acknowledge(id: string, by: AuditActor, note: string, requestId: string): Promise<void> {
    if (note.trim().length === 0 || note.length > 2_000) throw new InterlockError('request-invalid', { detail: 'A note of up to 2,000 characters is required.' });
    const { audit, nowMs } = this.#options;
    audit.assertAvailable();
    const acknowledgement = this.#seal({ by: by.display ?? by.id, at: new Date(nowMs()).toISOString(), note: note.trim() }, `alert-acknowledgement|${id}`);
    const { matchedCount } = await this.#rows.updateOne({ _id: id, state: 'open' }, { $set: { state: 'acknowledged', acknowledgement, purgeAt: new Date(nowMs() + keptMs) } }, { writeConcern });
    if (matchedCount === 0) {
      await this.read(id);
      throw new InterlockError('business-rule', { detail: 'The alert is acknowledged already.' });
    }
    // It has happened: should the audit fail now, the entry is kept until it is durable.
    await audit.appendCommitted([audit.prepare({ at: nowMs(), kind: 'command', interaction: 'alert-acknowledged', action: 'U', outcome: '0', requestId, actor: by, command: `alert ${id}` })]);
  }

  /** Gives alerts of the first form, `{kind, at, about}` about an emergency access, today's. Repeating it is harmless. */
  async migrate(rule: Rule): Promise<void> {
    const old = this.#options.app.collection<{ _id: unknown; kind: string; at: Date; about: string }>('alerts');
    for await (const { _id, at, about } of old.find({ rule: { $exists: false } }, { limit: 100_000 })) {
      await this.keep({ rule, subject: about, atMs: at.getTime(), count: 1, about: { what: about } });
      await old.deleteOne({ _id }, { writeConcern });
    }
  }

  get #rows() {
    return this.#options.app.collection<Row>('alerts');
  }

  async #read(where: Partial<Pick<Row, '_id' | 'state' | 'untold'>>, direction: 1 | -1): Promise<Alert[]> {
    const rows = await this.#rows.find(where, { sort: { at: direction }, limit: maxListed, promoteBuffers: true }).toArray();
    return Promise.all(rows.map(async ({ _id, rule, kind, severity, at, last, count, state, sealed, acknowledgement }): Promise<Alert> => {
      const about = await this.#open<About>(sealed, `alert|${_id}`);
      const noted = acknowledgement === undefined ? undefined : await this.#open<{ by: string; at: string; note: string }>(acknowledgement, `alert-acknowledgement|${_id}`);
      return { id: _id, rule, kind, severity, at, last, count, state, about, ...(noted === undefined ? {} : { acknowledged: { ...noted, at: new Date(noted.at) } }) };
    }));
  }

  #seal(content: object, aad: string): Buffer {
    return this.#options.keyring.sealBlob('alert', Buffer.from(JSON.stringify(content)), aad);
  }

  async #open<T>(sealed: Buffer, aad: string): Promise<T> {
    return JSON.parse((await this.#options.keyring.openBlob('alert', sealed, aad)).toString()) as T;
  }
}
