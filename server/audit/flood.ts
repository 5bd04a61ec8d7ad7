import type { AuditRecord, AuditTrail } from './record.ts';

export interface FloodGuardOptions {
  readonly trail: Pick<AuditTrail, 'record' | 'assertAvailable' | 'prepare' | 'appendCommitted'>;
  /** Entries of its own that an address gets per minute: default 60. */
  readonly perMinute?: number;
  /** How often what was counted is recorded: default 5,000. */
  readonly flushIntervalMs?: number;
  /** Addresses that are counted apart; the rest share one count: default 5,000. */
  readonly maxAddresses?: number;
  readonly nowMs?: () => number;
}

/** Keeps floods of unauthenticated requests from flooding the trail. */
export interface FloodGuard {
  /**
   * Records a refusal of someone unauthenticated. The first of a minute from an address are recorded one by one, durable
   * when this resolves. Further ones, which disclose nothing either, are counted, and recorded together some seconds later.
   * @throws InterlockError `audit-unavailable`
   */
  record(record: AuditRecord): Promise<void>;
  /** Records what was counted so far; while the trail is down it stays counted. */
  flush(): Promise<void>;
  /** Stops the timer and flushes. */
  close(): Promise<void>;
}

interface Counted {
  /** The latest of the alike. */
  record: AuditRecord;
  count: number;
}

const minuteMs = 60_000;
/** Address of those who are counted together. */
export const manyAddresses = 'many';

/** Makes the guard, and starts its timer. */
export function openFloodGuard(options: FloodGuardOptions): FloodGuard {
  const { trail, perMinute = 60, flushIntervalMs = 5_000, maxAddresses = 5_000, nowMs = Date.now } = options;
  let minute = 0;
  const seen = new Map<string, number>();
  const counted = new Map<string, Counted>();

  const count = (record: AuditRecord, address: string): void => {
    const named = counted.has(keyOf(record, address)) || counted.size < maxAddresses ? address : manyAddresses;
    const key = keyOf(record, named);
    const entry = counted.get(key);
    if (entry === undefined) counted.set(key, { record: named === address ? record : { ...record, actor: { ...record.actor, address: named } }, count: 1 });
    else {
      entry.count += 1;
      if (named === address) entry.record = record;
    }
  };

  const flush = async (): Promise<void> => {
    if (counted.size === 0) return;
    try {
      trail.assertAvailable();
    } catch {
      return;
    }
    const due = [...counted.values()].map((entry) => trail.prepare({ ...entry.record, count: entry.count }));
    counted.clear();
    // Should the trail fail just now, it keeps these entries itself until they are durable.
    await trail.appendCommitted(due).catch(() => undefined);
  };
  const timer = setInterval(() => void flush(), flushIntervalMs);
  timer.unref();

  return {
    async record(record) {
      const current = Math.floor(nowMs() / minuteMs);
      if (current !== minute) {
        minute = current;
        seen.clear();
      }
      const address = record.actor.address ?? '';
      const known = seen.has(address) || seen.size < maxAddresses ? address : manyAddresses;
      const before = seen.get(known) ?? 0;
      seen.set(known, before + 1);
      if (before < perMinute) return trail.record(record);
      trail.assertAvailable();
      count(record, address);
    },
    flush,
    async close() {
      clearInterval(timer);
      await flush();
    },
  };
}

function keyOf(record: AuditRecord, address: string): string {
  return [address, record.kind, record.interaction, record.outcome, record.error ?? ''].join('|');
}
