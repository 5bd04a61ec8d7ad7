import type { AuditActor, AuditRecord } from '../audit/record.ts';
import { eventId } from '../audit/render/event.ts';
import type { Log } from '../observe/log.ts';
import { deviceOf, type Familiar } from './familiar.ts';
import type { NetworkOf } from './networks.ts';
import type { Finding } from './register.ts';
import type { Rule, WorkingHours } from './rules.ts';
import type { RuleSet } from './rules-file.ts';
import { bounded, DistinctWindow, EventWindow } from './windows.ts';

/** A record that has become durable. */
export interface Recorded {
  readonly id: Buffer;
  readonly record: AuditRecord;
}

/** Tells, by keyed tokens, how a person and a patient are called; undefined if that is not known. */
export type NamesOf = (reference: string) => Promise<NameTokens | undefined>;

export interface NameTokens {
  /** Of each family name. */
  readonly families: readonly string[];
  /** Of each family name with its first given name. */
  readonly persons: readonly string[];
  /** Of the date of birth. */
  readonly born?: string;
}

export interface EngineOptions {
  readonly ruleSet: RuleSet;
  /** IANA time zone of the working hours. */
  readonly zone: string;
  readonly networkOf: NetworkOf;
  readonly familiar: Familiar;
  readonly log: Log;
  /** Keeps what was found. */
  readonly keep: (finding: Finding) => Promise<void>;
}

type Counter = { readonly rule: Rule } & ({ readonly events: EventWindow } | { readonly distinct: DistinctWindow } | { readonly compares: true });

const maxComparisons = 5_000;
const quarterMs = 900_000;
const hourMs = 3600_000;

/** Evaluates the rules over records. Counting is done at once; comparisons, which need a look elsewhere, one after the other behind it. */
export class AlertEngine {
  readonly #options: EngineOptions;
  readonly #byKind = new Map<AuditRecord['kind'], Counter[]>();
  readonly #compared = new Map<string, number>();
  readonly #offHours = new Map<string, boolean>();
  readonly #clock: Intl.DateTimeFormat;
  #namesOf: NamesOf = async () => undefined;
  #comparing: Promise<void> = Promise.resolve();
  #waiting = 0;
  #isFull = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#clock = new Intl.DateTimeFormat('en-GB', { timeZone: options.zone, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
    for (const rule of options.ruleSet.rules) {
      if (rule.when === undefined) continue;
      const counter = counterOf(rule);
      for (const kind of rule.when.kinds) this.#byKind.set(kind, [...(this.#byKind.get(kind) ?? []), counter]);
    }
  }

  /** Lets names be compared from now on. */
  compareNames(namesOf: NamesOf): void {
    this.#namesOf = namesOf;
  }

  /** @returns what was found; comparisons that are to be made go to {@link settled} */
  evaluate({ id, record }: Recorded): Finding[] {
    const counters = this.#byKind.get(record.kind);
    if (counters === undefined) return [];
    const found: Finding[] = [];
    const patients = patientsOf(record);
    for (const counter of counters) {
      const { rule } = counter;
      if (!this.#meets(record, rule, patients)) continue;
      const finding = (count: number, subject: string): Finding => ({ rule, subject, atMs: record.at, count, about: { who: whoOf(record.actor), ...(record.actor.address === undefined ? {} : { address: record.actor.address }), auditEvent: eventId(id, 0) } });
      const subject = subjectOf(record, rule);
      if ('compares' in counter) this.#compare(record, rule, patients, (more) => finding(1, `${subject}${more}`));
      else {
        const count = 'events' in counter ? counter.events.add(subject, record.at, record.count ?? 1) : counter.distinct.add(subject, record.at, patients);
        if (count !== undefined) found.push(finding(count, subject));
      }
    }
    return found;
  }

  /** Resolves when all comparisons so far are made. */
  async settled(): Promise<void> {
    await this.#comparing;
  }

  #meets(record: AuditRecord, { when }: Rule, patients: readonly string[]): boolean {
    const { actor, outcome } = record;
    if (when === undefined) return false;
    return (when.outcome === undefined || (outcome === '0') === (when.outcome === 'ok'))
      && (when.actors === undefined || when.actors.includes(actor.kind))
      && (when.interactions === undefined || when.interactions.includes(record.interaction))
      && (when.exceptRoles === undefined || !when.exceptRoles.includes(actor.role ?? ''))
      && (when.commands === undefined || when.commands.some((name) => record.command === name || record.command?.startsWith(`${name} `) === true))
      && (when.maxPatients === undefined || (patients.length > 0 && patients.length <= when.maxPatients))
      && (when.recovered === undefined || record.recovered === true)
      && (when.offHours === undefined || this.#isOffHours(record.at));
  }

  #isOffHours(atMs: number): boolean {
    const slot = String(Math.floor(atMs / quarterMs));
    let off = this.#offHours.get(slot);
    if (off === undefined) {
      off = isOffHours(this.#clock, this.#options.ruleSet.hours, atMs);
      bounded(this.#offHours, slot, off, 100);
    }
    return off;
  }

  #compare(record: AuditRecord, rule: Rule, patients: readonly string[], finding: (more: string) => Finding): void {
    const { actor, at } = record;
    const { keep, familiar, networkOf } = this.#options;
    const later = (key: string, work: () => Promise<void>): void => {
      const heldMs = this.#compared.get(key);
      // Once an hour is enough for the same pair.
      if (heldMs !== undefined && at - heldMs < hourMs) return;
      bounded(this.#compared, key, at);
      this.#later(work);
    };
    if (rule.measure === 'new-device' || rule.measure === 'new-network') {
      const { measure } = rule;
      const value = measure === 'new-device' ? deviceOf(actor.userAgent ?? '') : networkOf(actor.address ?? '');
      if (value !== '') later(`${rule.id}|${actor.id}|${value}`, () => familiar.meet(actor.id, measure, value, at, () => keep(finding(`|${value}`))));
      return;
    }
    const { fhirUser } = actor;
    if (fhirUser === undefined) return;
    for (const patient of patients) {
      later(`${rule.id}|${fhirUser}|${patient}`, async () => {
        const [own, theirs] = await Promise.all([this.#namesOf(fhirUser), this.#namesOf(`Patient/${patient}`)]);
        if (own !== undefined && theirs !== undefined && (rule.measure === 'self' ? isSame(own, theirs) : shares(own.families, theirs.families) && !isSame(own, theirs))) await keep(finding(`|${patient}`));
      });
    }
  }

  #later(work: () => Promise<void>): void {
    if (this.#waiting >= maxComparisons) {
      if (!this.#isFull) this.#options.log.warn('alerts: more to compare than can be held');
      this.#isFull = true;
      return;
    }
    this.#isFull = false;
    this.#waiting += 1;
    this.#comparing = this.#comparing.then(work).catch((error: unknown) => this.#options.log.error('alerts: a comparison failed', { errorName: error instanceof Error ? error.name : 'unknown' })).finally(() => (this.#waiting -= 1));
  }
}

function counterOf(rule: Rule): Counter {
  const windowMs = rule.windowS * 1000;
  if (rule.measure === 'events') return { rule, events: new EventWindow(rule.threshold, windowMs) };
  if (rule.measure === 'patients') return { rule, distinct: new DistinctWindow(rule.threshold, windowMs) };
  return { rule, compares: true };
}

function subjectOf({ actor, requestId }: AuditRecord, { per }: Rule): string {
  switch (per) {
    case 'actor':
      return actor.kind === 'anonymous' ? `address ${actor.address ?? ''}` : `${actor.kind} ${actor.id}`;
    case 'address':
      return `address ${actor.address ?? ''}`;
    case 'request':
      return requestId;
    case 'all':
      return '';
  }
}

function whoOf({ kind, id, display, role }: AuditActor): NonNullable<Finding['about']['who']> {
  return { kind, id, ...(display === undefined ? {} : { display }), ...(role === undefined ? {} : { role }) };
}

function patientsOf(record: AuditRecord): readonly string[] {
  if (record.entities === undefined) return record.patients ?? [];
  const all = new Set(record.patients);
  for (const { type, id, patients } of record.entities) {
    if (patients !== undefined) for (const patient of patients) all.add(patient);
    else if (type === 'Patient') all.add(id);
  }
  return [...all];
}

function shares(some: readonly string[], others: readonly string[]): boolean {
  return some.some((one) => others.includes(one));
}

/** The same family and first name, and no other date of birth. */
function isSame(a: NameTokens, b: NameTokens): boolean {
  return shares(a.persons, b.persons) && (a.born === undefined || b.born === undefined || a.born === b.born);
}

const weekdays = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

function isOffHours(clock: Intl.DateTimeFormat, { from, to, days }: WorkingHours, atMs: number): boolean {
  const part = Object.fromEntries(clock.formatToParts(atMs).map(({ type, value }) => [type, value]));
  const time = `${part['hour'] ?? ''}:${part['minute'] ?? ''}`;
  // Hours that end before they begin go over midnight.
  const working = from <= to ? time >= from && time < to : time >= from || time < to;
  return !working || !days.includes(weekdays.indexOf(part['weekday'] ?? '') + 1);
}
