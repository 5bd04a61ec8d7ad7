import { randomUUID } from 'node:crypto';
import type { Connection, mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AuditTrail } from '../audit/record.ts';
import type { Keyring } from '../kms/keyring.ts';
import { isDuplicateKey } from '../mongo/errors.ts';
import { deadlinesOf, type BreachFacts, type Deadline, type Notice } from './breach-clock.ts';

/** Collection of the app database. */
export const breachCollection = 'breaches';

/** A breach, or what may be one: 45 CFR 164.402 asks for an assessment. */
export interface Breach extends BreachFacts {
  readonly id: string;
  readonly title: string;
  readonly status: 'open' | 'closed';
  readonly steps: readonly { readonly at: string; readonly by: string; readonly what: string }[];
}

/** What an update may say. */
export interface BreachChange {
  readonly affected?: number;
  readonly states?: Readonly<Record<string, number>>;
  readonly delayUntil?: string;
  readonly notified?: { readonly notice: Notice; readonly on: string };
  readonly note?: string;
}

interface Stored {
  readonly _id: string;
  readonly version: number;
  readonly sealed: Buffer;
  readonly mac: Buffer;
}

export interface BreachRegisterOptions {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  readonly audit: AuditTrail;
  readonly nowMs: () => number;
  /** Told of a deadline that is over: the breach's id and the notice. */
  readonly onOverdue?: (what: string) => void;
  /** How often deadlines are looked at; 0: only when asked. */
  readonly intervalMs: number;
}

const attempts = 5;
const maxBreaches = 10_000;
const maxSteps = 1_000;

/** The breach register: every case with its deadlines, sealed; each step is an entry of the audit trail. */
export class BreachRegister {
  readonly #options: BreachRegisterOptions;
  readonly #stored: mongo.Collection<Stored>;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(options: BreachRegisterOptions) {
    this.#options = options;
    this.#stored = options.app.db!.collection<Stored>(breachCollection);
    if (options.intervalMs > 0) this.#timer = setInterval(() => void this.watch().catch(() => undefined), options.intervalMs).unref();
  }

  /** @returns the new case */
  async open(title: string, facts: BreachFacts, by: string): Promise<Breach> {
    const breach: Breach = { id: randomUUID().slice(0, 8), title, status: 'open', ...facts, steps: [this.#step(by, 'opened')] };
    await this.#record('breach-open', breach.id, by);
    try {
      await this.#stored.insertOne(this.#seal(breach, 1), { writeConcern: { w: 'majority', j: true } });
    } catch (error) {
      if (!isDuplicateKey(error)) throw error;
      throw new InterlockError('version-conflict', { cause: error });
    }
    return breach;
  }

  /** Every case, those with the nearest deadline first. @throws InterlockError `integrity-failure` */
  async list(): Promise<Breach[]> {
    const rows = await this.#stored.find({}, { limit: maxBreaches, promoteBuffers: true, readConcern: 'majority' }).toArray();
    const breaches = await Promise.all(rows.map(async (row) => this.#unseal(row)));
    const next = (breach: Breach): string => this.deadlines(breach).filter(({ state }) => state === 'open' || state === 'OVERDUE').map(({ due }) => due!).sort()[0] ?? `9999 ${breach.discovered}`;
    return breaches.sort((a, b) => (next(a) < next(b) ? -1 : 1));
  }

  /** @throws InterlockError `not-found`, `integrity-failure` */
  async read(id: string): Promise<Breach> {
    return this.#unseal(await this.#find(id));
  }

  /** Deadlines as of now; a closed case has no open ones. */
  deadlines(breach: Breach): readonly Deadline[] {
    return deadlinesOf(breach, this.#options.nowMs()).map((one) => (breach.status === 'closed' && (one.state === 'open' || one.state === 'OVERDUE') ? { ...one, state: 'not due' as const, why: `${one.why}; closed` } : one));
  }

  /** @throws InterlockError `not-found`; `business-rule` if the case is closed */
  async update(id: string, change: BreachChange, by: string): Promise<Breach> {
    const { notified, note, ...facts } = change;
    const words = [...Object.keys(facts).map((name) => `${name} changed`), ...(notified === undefined ? [] : [`${notified.notice} notified on ${notified.on}`]), ...(note === undefined ? [] : [note])].join('; ');
    return this.#change(id, 'breach-update', by, (breach) => ({ ...breach, ...facts, ...(notified === undefined ? {} : { notified: { ...breach.notified, [notified.notice]: notified.on } }), steps: [...breach.steps, this.#step(by, words)] }));
  }

  /** @param reason why nothing more is to be done: all are notified, or a low probability of compromise was shown (164.402(2)) */
  async close(id: string, reason: string, by: string): Promise<Breach> {
    return this.#change(id, 'breach-close', by, (breach) => ({ ...breach, status: 'closed', steps: [...breach.steps, this.#step(by, `closed: ${reason}`)] }));
  }

  /** Tells of every deadline that is over. */
  async watch(): Promise<void> {
    for (const breach of await this.list()) {
      for (const { notice, state } of this.deadlines(breach)) if (state === 'OVERDUE') this.#options.onOverdue?.(`${breach.id} ${notice}`);
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #change(id: string, interaction: 'breach-update' | 'breach-close', by: string, change: (breach: Breach) => Breach): Promise<Breach> {
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const stored = await this.#find(id);
      const breach = await this.#unseal(stored);
      if (breach.status === 'closed') throw new InterlockError('business-rule', { detail: 'The case is closed; open another.' });
      if (breach.steps.length >= maxSteps) throw new InterlockError('too-large', { detail: 'A case has at most 1,000 steps.' });
      const changed = change(breach);
      if (attempt === 1) await this.#record(interaction, id, by);
      const { modifiedCount } = await this.#stored.replaceOne({ _id: id, version: stored.version }, this.#seal(changed, stored.version + 1), { writeConcern: { w: 'majority', j: true } });
      if (modifiedCount === 1) return changed;
    }
    throw new InterlockError('version-conflict');
  }

  async #find(id: string): Promise<Stored> {
    const stored = await this.#stored.findOne({ _id: id }, { promoteBuffers: true, readConcern: 'majority' });
    if (stored === null) throw new InterlockError('not-found', { detail: 'The register has no such case.' });
    return stored;
  }

  #seal(breach: Breach, version: number): Stored {
    const { keyring, tenant } = this.#options;
    const sealed = keyring.sealBlob('audit', Buffer.from(JSON.stringify(breach)), aadOf(breach.id, version), tenant);
    return { _id: breach.id, version, sealed, mac: this.#mac(breach.id, version, sealed) };
  }

  async #unseal({ _id, version, sealed, mac }: Stored): Promise<Breach> {
    const { keyring, tenant } = this.#options;
    if (!Buffer.isBuffer(sealed) || !Buffer.isBuffer(mac) || !this.#mac(_id, version, sealed).equals(mac)) throw new InterlockError('integrity-failure', { detail: 'A case of the breach register was altered.' });
    return JSON.parse((await keyring.openBlob('audit', sealed, aadOf(_id, version), tenant)).toString()) as Breach;
  }

  #mac(id: string, version: number, sealed: Buffer): Buffer {
    return this.#options.keyring.mac('audit-block', ['breach', id, String(version), sealed], 32, this.#options.tenant);
  }

  #step(by: string, what: string): Breach['steps'][number] {
    return { at: new Date(this.#options.nowMs()).toISOString(), by, what };
  }

  /** Before the step is taken. */
  async #record(interaction: string, id: string, by: string): Promise<void> {
    await this.#options.audit.record({ at: this.#options.nowMs(), kind: 'command', interaction, action: 'E', outcome: '0', requestId: randomUUID(), actor: { kind: 'operator', id: by }, command: `${interaction.replace('-', ' ')} ${id}` });
  }
}

function aadOf(id: string, version: number): string {
  return `breach|${id}|${version}`;
}
