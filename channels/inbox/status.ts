import type { Connection } from 'mongoose';
import { inboxCollection, type InboxRow } from './row.ts';
import { inboxStates, type InboxState } from './states.ts';

/** How a channel's inbox fares. */
export interface InboxStatus {
  readonly counts: Readonly<Record<InboxState, number>>;
  /** Failed messages that hold up others. */
  readonly holding: number;
  /** Age of the oldest message that waits to be stored, ms. */
  readonly oldestWaitingMs?: number;
  readonly receivedLastMinute: number;
  readonly receivedLastHour: number;
}

/** Counts a channel's messages; from indexes alone. */
export async function statusOf(connection: Connection, channelId: string, nowMs: number): Promise<InboxStatus> {
  const rows = connection.collection<InboxRow>(inboxCollection);
  // `seq` is the time of recording in microseconds.
  const since = (ms: number): Promise<number> => rows.countDocuments({ channel: channelId, state: { $in: [...inboxStates] }, seq: { $gte: (nowMs - ms) * 1000 } });
  const [groups, holding, oldest, receivedLastMinute, receivedLastHour] = await Promise.all([
    rows.aggregate<{ _id: InboxState; count: number }>([{ $match: { channel: channelId } }, { $group: { _id: '$state', count: { $sum: 1 } } }]).toArray(),
    rows.countDocuments({ channel: channelId, live: true, holds: true }),
    rows.findOne({ channel: channelId, live: true, state: { $in: ['received', 'mapped'] } }, { projection: { at: 1 }, sort: { seq: 1 } }),
    since(60_000), since(3600_000),
  ]);
  const counts = Object.fromEntries(inboxStates.map((state) => [state, groups.find(({ _id }) => _id === state)?.count ?? 0])) as Record<InboxState, number>;
  return { counts, holding, receivedLastMinute, receivedLastHour, ...(oldest === null ? {} : { oldestWaitingMs: Math.max(0, nowMs - oldest.at.getTime()) }) };
}

/** Removes what is content from messages stored before a time. The tokens that tell a repetition, and its answer, stay. @returns how many */
export async function purge(connection: Connection, beforeMs: number): Promise<number> {
  const rows = connection.collection<InboxRow>(inboxCollection);
  const result = await rows.updateMany({ state: { $in: ['stored', 'delivered'] }, storedAt: { $lt: new Date(beforeMs) } }, { $unset: { body: '', meta: '', storedAt: '' } }, { writeConcern: { w: 'majority', j: true } });
  return result.modifiedCount;
}
