import type { LiveRow } from '../inbox/work.ts';

/** Processes vanished under a message this often without recording anything: it is taken for their cause. */
export const maxAbandoned = 10;

export interface Choice {
  /** Heads of their lanes, due now, in the order of recording. */
  readonly heads: readonly LiveRow[];
  /** Lanes in which nothing can be taken now. */
  readonly blocked: ReadonlySet<string>;
  /** When the next waiting head is due. */
  readonly nextDueMs: number;
}

/**
 * Chooses what can be worked on now. A message is the head of its lanes if no earlier live one shares any of them. What
 * waits (for its next attempt, in somebody's hands, or held) blocks all its lanes, and so does what it blocks: a merge that
 * cannot go yet holds both patients.
 *
 * @param rows live rows in the order of recording
 * @param busy lanes that this process works in
 * @param room free places by channel
 */
export function chooseHeads(rows: readonly LiveRow[], busy: ReadonlySet<string>, nowMs: number, room: ReadonlyMap<string, number>): Choice {
  const blocked = new Set(busy);
  const heads: LiveRow[] = [];
  const taken = new Map<string, number>();
  let nextDueMs = Infinity;
  for (const row of rows) {
    const free = (room.get(row.channel) ?? 0) - (taken.get(row.channel) ?? 0);
    const isBlocked = row.keys.some((key) => blocked.has(key));
    const dueMs = Math.max(row.nextAttemptAt?.getTime() ?? 0, row.lease?.until.getTime() ?? 0);
    for (const key of row.keys) blocked.add(key);
    if (isBlocked || row.holds === true || row.state === 'failed') continue;
    if (dueMs > nowMs) {
      nextDueMs = Math.min(nextDueMs, dueMs);
      continue;
    }
    if (free <= 0) continue;
    heads.push(row);
    taken.set(row.channel, (taken.get(row.channel) ?? 0) + 1);
  }
  return { heads, blocked, nextDueMs };
}
