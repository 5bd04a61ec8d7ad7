import { randomUUID } from 'node:crypto';
import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AuditReader } from '../audit/reader.ts';
import type { AuditTrail } from '../audit/record.ts';
import { DeliveryQueue, failureName, type DeliveryOptions, type Target } from '../delivery/queue.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Log } from '../observe/log.ts';
import { AlertEngine, type NamesOf, type Recorded } from './engine.ts';
import { Familiar } from './familiar.ts';
import type { NetworkOf } from './networks.ts';
import { noticeOf, type AlertNotice } from './notices.ts';
import { AlertRegister, type Alert, type Finding } from './register.ts';
import { shippedRules } from './rules.ts';
import type { RuleSet } from './rules-file.ts';
import { bounded } from './windows.ts';

export interface AlertsOptions {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly audit: AuditTrail;
  readonly reader: Pick<AuditReader, 'entries'>;
  readonly log: Log;
  readonly nowMs: () => number;
  readonly ruleSet: RuleSet;
  readonly zone: string;
  readonly networkOf: NetworkOf;
  readonly targets: readonly Target[];
  /** Page on which alerts are looked into. */
  readonly pageUrl: string;
  readonly delivery?: Pick<DeliveryOptions, 'firstRetryMs' | 'maxRetryMs' | 'maxAgeMs' | 'maxWaiting'>;
}

/** How often records are looked at, and how often the count of one alert is written. */
const turnMs = 250;
const recountMs = 5_000;
const maxPending = 20_000;
const maxUnkept = 1_000;
const watchMs = 5_000;
const unavailableMs = 10_000;
const replayedMs = 3600_000;
const maxReplayed = 200_000;
const replayedPerTurn = 200;

/** Watches the trail, keeps what the rules find, and tells who has to know. */
export class Alerts {
  readonly register: AlertRegister;
  readonly ruleSet: RuleSet;
  readonly #options: AlertsOptions;
  readonly #engine: AlertEngine;
  readonly #queue: DeliveryQueue;
  #pending: Recorded[] = [];
  /** Found, but not written: by rule, subject and time. */
  readonly #unkept = new Map<string, Finding>();
  readonly #writtenAt = new Map<string, number>();
  #turning: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #watch: NodeJS.Timeout | undefined;
  #replaying: Promise<void> = Promise.resolve();
  #isClosed = false;

  private constructor(options: AlertsOptions, queue: DeliveryQueue) {
    this.#options = options;
    this.#queue = queue;
    this.ruleSet = options.ruleSet;
    this.register = new AlertRegister(options);
    this.#engine = new AlertEngine({ ...options, familiar: new Familiar(options.app, options.keyring), keep: (finding) => this.#keep(finding) });
  }

  /** Takes up what waits for delivery. Records count from now on; those of the last hour after {@link start}. */
  static async open(options: AlertsOptions): Promise<Alerts> {
    const opened: { alerts?: Alerts } = {};
    const queue = await DeliveryQueue.open({ ...options, ...options.delivery, onDead: (target) => opened.alerts?.signal('delivery-failed', target) });
    return (opened.alerts = new Alerts(options, queue));
  }

  /** Reads the trail's last hour again, so that a restart loses no count; tells of alerts that a crash kept from being told; watches over the trail. */
  async start(namesOf: NamesOf): Promise<void> {
    this.#engine.compareNames(namesOf);
    await this.register.migrate(shippedRules.find(({ id }) => id === 'break-glass')!);
    for (const alert of await this.register.untold()) await this.#tell(alert);
    this.#replaying = this.#replay().catch((error: unknown) => this.#failed(error));
    let sinceMs: number | undefined;
    this.#watch = setInterval(() => {
      const isDown = !isAvailable(this.#options.audit);
      sinceMs = isDown ? (sinceMs ?? performance.now()) : undefined;
      if (sinceMs !== undefined && performance.now() - sinceMs >= unavailableMs) this.signal('audit-unavailable', '');
    }, watchMs).unref();
  }

  /** Takes records that became durable. Costs next to nothing: they are looked at soon after. */
  take(records: readonly Recorded[]): void {
    for (const recorded of records) this.#pending.push(recorded);
    if (this.#pending.length > maxPending) this.#evaluate();
    this.#soon();
  }

  /** Takes what no record tells. @param rule id of a rule without condition @param what names what it is about: words and names of parts, nothing of a patient */
  signal(rule: string, what: string): void {
    const found = this.ruleSet.rules.find(({ id }) => id === rule);
    if (found === undefined) return;
    this.#found({ rule: found, subject: found.per === 'all' ? '' : what, atMs: this.#options.nowMs(), count: 1, about: what === '' ? {} : { what } });
    this.#soon();
  }

  /** Resolves when everything that was taken is counted, and kept if it made an alert. @throws InterlockError `unavailable` if it cannot be kept now */
  async flush(): Promise<void> {
    await this.#turn(true);
    if (this.#unkept.size > 0) throw new InterlockError('unavailable', { detail: 'An alert cannot be kept.' });
  }

  /** Resolves when the last hour is read again, and what needed comparing is compared. */
  async settled(): Promise<void> {
    await this.#replaying;
    await this.flush();
    await this.#engine.settled();
  }

  /** Sends a test notice to each target, at once. */
  async test(): Promise<{ readonly target: string; readonly error?: string }[]> {
    const notice: AlertNotice = { type: 'test', id: randomUUID(), rule: 'test', kind: 'test', severity: 'low', title: 'This is a test', at: new Date(this.#options.nowMs()).toISOString(), count: 1, url: this.#options.pageUrl };
    return Promise.all(this.#queue.targets.map(async (target) => this.#queue.sendNow(target, { id: notice.id, body: JSON.stringify(notice) }).then(() => ({ target }), (error: unknown) => ({ target, error: failureName(error) }))));
  }

  /** The targets and what waits for them. */
  async deliveries(): Promise<Awaited<ReturnType<DeliveryQueue['status']>>> {
    return this.#queue.status();
  }

  /** Keeps what was taken, if that can be done soon, and ends. */
  async close(): Promise<void> {
    clearInterval(this.#watch);
    this.#isClosed = true;
    await this.flush().catch((error: unknown) => this.#failed(error));
    clearTimeout(this.#timer);
    await this.#queue.close();
  }

  #soon(delayMs = turnMs): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#turn(false);
    }, delayMs).unref();
  }

  #evaluate(): void {
    const records = this.#pending;
    this.#pending = [];
    for (const recorded of records) for (const finding of this.#engine.evaluate(recorded)) this.#found(finding);
  }

  #found(finding: Finding): void {
    const key = keyOf(finding);
    const before = this.#unkept.get(key);
    if (before === undefined && this.#unkept.size >= maxUnkept) {
      this.#options.log.error('alerts: more than can be held');
      return;
    }
    // The first says when and about what, the latest how many.
    this.#unkept.set(key, before === undefined ? finding : { ...before, count: Math.max(before.count, finding.count) });
  }

  async #turn(everything: boolean): Promise<void> {
    this.#turning = this.#turning.then(async () => {
      this.#evaluate();
      for (const [key, finding] of this.#unkept) {
        // A count that grows with each request is not written with each.
        if (!everything && performance.now() - (this.#writtenAt.get(key) ?? -Infinity) < recountMs) continue;
        this.#unkept.delete(key);
        try {
          await this.#keep(finding);
          bounded(this.#writtenAt, key, performance.now());
        } catch (error) {
          this.#found(finding);
          this.#failed(error);
          break;
        }
      }
      if (this.#unkept.size > 0 && !this.#isClosed) this.#soon(recountMs / 5);
    });
    await this.#turning;
  }

  async #keep(finding: Finding): Promise<void> {
    const alert = await this.register.keep(finding);
    if (alert !== undefined) await this.#tell(alert);
  }

  async #tell(alert: Alert): Promise<void> {
    const body = JSON.stringify(noticeOf(alert, shippedRules, this.#options.pageUrl));
    this.#options.log.warn('alert', { reason: alert.rule, state: alert.severity });
    for (const target of this.#queue.targets) {
      // What cannot be delivered there is not told there.
      if (alert.rule === 'delivery-failed' && alert.about.what === target) continue;
      await this.#queue.enqueue(target, body).catch((error: unknown) => this.#failed(error));
    }
    await this.register.told(alert.id);
  }

  async #replay(): Promise<void> {
    const untilMs = this.#options.nowMs();
    let count = 0;
    for await (const entry of this.#options.reader.entries({ hints: [], fromMs: untilMs - replayedMs, untilMs }, false)) {
      for (const finding of this.#engine.evaluate(entry)) this.#found(finding);
      count += 1;
      if (count % replayedPerTurn === 0) await new Promise(setImmediate);
      if (count >= maxReplayed || this.#isClosed) break;
    }
    this.#soon();
  }

  #failed(error: unknown): void {
    this.#options.log.error('alerts: not kept or not told', { errorName: error instanceof Error ? error.name : 'unknown' });
  }
}

function keyOf({ rule, subject, atMs }: Finding): string {
  return `${rule.id}|${subject}|${Math.floor(atMs / (rule.quietS * 1000))}`;
}

function isAvailable(audit: AuditTrail): boolean {
  try {
    audit.assertAvailable();
    return true;
  } catch {
    return false;
  }
}
