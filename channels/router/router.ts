import type { ClientSession } from 'mongoose';
import type { ChannelReading } from '../ingest.ts';
import { LeaseLost, type TakenMessage, type Work } from '../inbox/work.ts';
import { failureOf, failures, type FailureCode } from '../inbox/states.ts';
import type { Audit, Clock, Log, Sink } from '../ports.ts';
import { chooseHeads, maxAbandoned } from './lanes.ts';
import type { RecentPlans } from './recent-plans.ts';
import { decide } from './retry.ts';

export interface RouterOptions {
  readonly work: Work;
  readonly plans: RecentPlans;
  readonly sink: Sink;
  readonly audit: Audit;
  readonly log: Log;
  readonly clock: Clock;
  /** Channels to route now, by id; asked for at every look, so that pausing acts soon. */
  readonly channels: () => ReadonlyMap<string, ChannelReading>;
  readonly leaseMs: number;
  /** How long the router sleeps at most when nothing wakes it. */
  readonly pollMs: number;
}

/** Messages that one look reads at most before it leaves the blocked lanes out. */
const maxWindow = 4096;
/** An attempt that takes longer is no longer covered by renewed leases: another process may try. */
const maxLeaseRenewals = 20;

interface InHand {
  readonly taken: TakenMessage;
  readonly startedMs: number;
  renewals: number;
}

/**
 * Takes messages from the inbox to the record: in order within every ordering key, in parallel across keys. Any number of
 * processes may run one; whoever holds the lease of a message works on it, and only its commit counts.
 */
export class Router {
  readonly #options: RouterOptions;
  readonly #inHand = new Map<string, InHand>();
  readonly #attempts = new Set<Promise<void>>();
  #awake = true;
  #rouse: (() => void) | undefined;
  #stopping = false;
  #window = 0;
  #loop: Promise<void> | undefined;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** Messages that are being worked on. */
  get inHand(): number {
    return this.#inHand.size;
  }

  start(): void {
    this.#heartbeat = setInterval(() => void this.#renew(), this.#options.leaseMs / 3);
    this.#heartbeat.unref();
    this.#loop = this.#run();
  }

  /** Says that there may be something to do. */
  wake(): void {
    this.#awake = true;
    this.#rouse?.();
  }

  /** Takes nothing more and waits for what is in hand, at most `deadlineMs`; the rest is taken up again when its lease ends. */
  async stop(deadlineMs: number): Promise<void> {
    this.#stopping = true;
    this.wake();
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => timer = setTimeout(resolve, deadlineMs));
    await Promise.race([deadline, (async () => {
      await this.#loop;
      await Promise.allSettled(this.#attempts);
    })()]);
    clearTimeout(timer);
    clearInterval(this.#heartbeat);
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      let sleepMs = this.#options.pollMs;
      this.#awake = false;
      try {
        sleepMs = await this.#turn();
      } catch (error) {
        this.#options.log.warn('inbox not readable', { ...(error instanceof Error ? { errorName: error.name } : {}) });
      }
      if (sleepMs > 0) await this.#sleep(Math.min(sleepMs, this.#options.pollMs));
    }
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#awake || this.#stopping) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#rouse = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#rouse = undefined;
  }

  /** One look: chooses heads, takes them, starts them. @returns how long nothing new is to be expected, ms */
  async #turn(): Promise<number> {
    const { work, clock, channels } = this.#options;
    const reading = channels();
    const room = new Map([...reading].map(([id, { definition }]) => [id, definition.concurrency]));
    let total = 0;
    const busy = new Set<string>();
    for (const { taken } of this.#inHand.values()) {
      room.set(taken.row.channel, (room.get(taken.row.channel) ?? 0) - 1);
      for (const key of taken.keys) busy.add(key);
    }
    for (const [id, free] of room) {
      if (free > 0) total += free;
      else room.delete(id);
    }
    if (total === 0) return this.#options.pollMs;
    const ids = [...room.keys()];
    let except: ReadonlySet<string> = new Set();
    let nextDueMs = Infinity;
    // The window starts as wide as it had to be last time.
    let limit = Math.max(total * 2 + 32, this.#window >> 1);
    for (;;) {
      const rows = await work.look(ids, except, limit);
      const choice = chooseHeads(rows.filter(({ _id }) => !this.#inHand.has(_id)), busy.union(except), clock.nowMs(), room);
      nextDueMs = Math.min(nextDueMs, choice.nextDueMs);
      this.#window = limit;
      if (choice.heads.length > 0) {
        if (this.#stopping) return 0;
        const taken = await work.take(choice.heads.map(({ _id }) => _id));
        for (const message of taken) this.#begin(message, reading.get(message.row.channel)!);
        // Whatever ends or arrives wakes the router; only a full window may hide more that can go now.
        if (taken.length > 0 && rows.length >= limit && choice.heads.length < total) return 0;
        break;
      }
      if (rows.length < limit || except.size > 0) break;
      if (limit < maxWindow) {
        limit = Math.min(limit * 8, maxWindow);
        continue;
      }
      // Many messages wait behind few lanes (held ones, say): the others must not wait for them.
      const tied = await work.tiedTo(choice.blocked);
      if (tied === undefined) break;
      except = tied;
    }
    return Number.isFinite(nextDueMs) ? Math.max(1, nextDueMs - clock.nowMs()) : this.#options.pollMs;
  }

  #begin(taken: TakenMessage, channel: ChannelReading): void {
    const inHand: InHand = { taken, startedMs: this.#options.clock.nowMs(), renewals: 0 };
    this.#inHand.set(taken.row._id, inHand);
    const attempt = this.#attempt(taken, channel).catch((error: unknown) => {
      // Not even the failure could be recorded: the lease ends by itself.
      this.#options.log.error('outcome not recorded', { channel: taken.row.channel, ...(error instanceof Error ? { errorName: error.name } : {}) });
    }).finally(() => {
      this.#inHand.delete(taken.row._id);
      this.#attempts.delete(attempt);
      this.wake();
    });
    this.#attempts.add(attempt);
  }

  /** One attempt at one message: map, commit, and what to do when that fails. */
  async #attempt(taken: TakenMessage, { definition, format }: ChannelReading): Promise<void> {
    const { row, facts, body } = taken;
    const { work, sink } = this.#options;
    if (row.attempts - row.failures > maxAbandoned) {
      await this.#bury(taken, definition.deadLetters, 'abandoned', undefined);
      return;
    }
    let plan;
    try {
      plan = this.#options.plans.take(row._id) ?? await format.decode(body, { channelId: row.channel, zone: definition.zone, attributes: facts.attributes ?? {}, receivedAtMs: facts.receivedAtMs }).plan();
    } catch (error) {
      await this.#bury(taken, definition.deadLetters, 'map-failed', error instanceof Error ? error.name : undefined);
      return;
    }
    try {
      await sink.commit({
        channelId: row.channel, partner: facts.partner, messageId: row._id, receivedAtMs: facts.receivedAtMs, plan,
        ...(facts.controlId === undefined ? {} : { controlId: facts.controlId }),
        source: { contentType: plan.contentType ?? format.contentType, bytes: body },
        advance: async (session, stored) => await work.advance(taken, session as ClientSession, stored),
      });
    } catch (error) {
      if (error instanceof LeaseLost) {
        this.#options.log.warn('lease lost', { channel: row.channel });
        return;
      }
      const { code, cause } = failureOf(error);
      if (failures[code].retry === 'ambiguous' && await work.stateOf(row._id) === 'stored') return;
      const nowMs = this.#options.clock.nowMs();
      const verdict = decide(definition.retry, code, row.failures, row.firstFailedAt?.getTime() ?? nowMs, nowMs);
      if (verdict.kind === 'bury') {
        await this.#bury(taken, definition.deadLetters, verdict.code, cause);
        return;
      }
      this.#options.log.warn('message to be tried again', { channel: row.channel, code, attempt: row.attempts, ...(cause === undefined ? {} : { reason: cause }) });
      await work.postpone(taken, code, cause, verdict.atMs, true);
    }
  }

  /** Makes a dead letter: first its audit entry, so that none is missing; a repeated entry does no harm. */
  async #bury(taken: TakenMessage, policy: 'continue' | 'holdKey', code: FailureCode, cause: string | undefined): Promise<void> {
    const { row, facts } = taken;
    this.#options.log.error('message failed', { channel: row.channel, code, attempt: row.attempts, ...(cause === undefined ? {} : { reason: cause }) });
    await this.#options.audit.record({
      interaction: 'message-failed', outcome: '8', channelId: row.channel, partner: facts.partner, messageId: row._id, rule: code,
      ...(facts.controlId === undefined ? {} : { controlId: facts.controlId }), ...(facts.messageType === undefined ? {} : { messageType: facts.messageType }),
    });
    await this.#options.work.bury(taken, code, cause, policy === 'holdKey');
  }

  async #renew(): Promise<void> {
    const old = this.#options.clock.nowMs() - this.#options.leaseMs / 3;
    const due = [...this.#inHand.values()].filter((inHand) => inHand.startedMs <= old && (inHand.renewals += 1) <= maxLeaseRenewals);
    try {
      await this.#options.work.renew(due.map(({ taken }) => ({ id: taken.row._id, claim: taken.claim })));
    } catch (error) {
      this.#options.log.warn('leases not renewed', { count: due.length, ...(error instanceof Error ? { errorName: error.name } : {}) });
    }
  }
}
