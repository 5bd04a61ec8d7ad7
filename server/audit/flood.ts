import type { AuditRecord, AuditTrail } from './record.ts';

export interface FloodGuardOptions {
  readonly trail: Pick<AuditTrail, 'record' | 'assertAvailable'>;
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
  /** Records what was counted so far. What cannot be recorded now stays counted. */
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

  const count = (record: AuditRecord, address: string, alike: number): void => {
    const named = counted.has(keyOf(record, address)) || counted.size < maxAddresses ? address : manyAddresses;
    const key = keyOf(record, named);
    const entry = counted.get(key);
    if (entry === undefined) counted.set(key, { record: named === address ? record : { ...record, actor: { ...record.actor, address: named } }, count: alike });
    else {
      entry.count += alike;
      if (named === address) entry.record = record;
    }
  };

  const flush = async (): Promise<void> => {
    const due = [...counted.values()];
    counted.clear();
    for (const entry of due) {
      try {
        await trail.record({ ...entry.record, count: entry.count });
      } catch {
        // The trail reports its own failures; nothing that was counted gets lost by one.
        count(entry.record, entry.record.actor.address ?? '', entry.count);
      }
    }
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
      count(record, address, 1);
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
