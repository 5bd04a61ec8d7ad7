import type { Connection } from 'mongoose';
import type { Log } from '../observe/log.ts';
import type { SealedAuditEntry } from './contract.ts';
import { findBatch, majority } from './driver.ts';
import type { Epoch, EpochDocument } from './epochs.ts';

/** What a sweep asks of the audit trail: the part of `AuditTrail` that has these names. */
export interface AuditRepair {
  missing(ids: readonly Buffer[]): Promise<Buffer[]>;
  appendRecovered(entries: readonly SealedAuditEntry[]): Promise<void>;
}

export interface RepairOptions {
  readonly app: Connection;
  readonly epoch: Epoch;
  readonly audit: AuditRepair;
  readonly log: Log;
}

const batch = 500;
const maxEpochsAtOnce = 100;
/** After the first sweep of a fenced epoch: a process that was only paused may still finish a write. */
const laterSweepsMs = [60_000, 600_000, 3_600_000];

/**
 * Gives every committed write its audit entry: fences epochs whose lease ran out and sweeps them, again later for processes
 * that were only paused, and settles this process's own writes of which the outcome is unknown.
 *
 * @param alone no other process can be alive: every other epoch is fenced at once
 * @returns how many entries were missing and are now appended
 */
export async function repair({ app, epoch, audit, log }: RepairOptions, alone = false): Promise<number> {
  const epochs = app.collection<EpochDocument>('epochs');
  const expired = { $expr: { $lt: ['$beatAt', { $subtract: ['$$NOW', epoch.leaseMs] }] } };
  const fenced = await epochs.updateMany(
    { live: true, _id: { $ne: epoch.id }, ...(alone ? {} : expired) },
    [{ $set: { live: false, sweeps: 0, nextSweepAt: '$$NOW' } }],
    { writeConcern: majority },
  );
  if (fenced.modifiedCount > 0) log.info('Fenced epochs of processes that are gone', { count: fenced.modifiedCount });
  const due = { live: false, doneAt: { $exists: false }, $expr: { $lte: ['$nextSweepAt', '$$NOW'] } };
  let recovered = 0;
  for (const ended of await epochs.find(due, { useBigInt64: true, limit: maxEpochsAtOnce }).toArray()) {
    recovered += await sweep(app, audit, { w: ended._id, o: { $gte: ended.auditedBelow } });
    const sweeps = ended.sweeps ?? 0;
    const nextMs = laterSweepsMs[sweeps];
    const later = nextMs === undefined ? { doneAt: '$$NOW' } : { nextSweepAt: { $add: ['$$NOW', nextMs] } };
    await epochs.updateOne({ _id: ended._id, live: false }, [{ $set: { sweeps: sweeps + 1, ...later } }], { writeConcern: majority });
  }
  recovered += await settleOwn(app, audit, epoch);
  if (recovered > 0) log.warn('Appended audit entries of writes that had none', { count: recovered });
  return recovered;
}

async function settleOwn(app: Connection, audit: AuditRepair, epoch: Epoch): Promise<number> {
  let recovered = 0;
  const byEpoch = Map.groupBy(epoch.unsettled(), ([, w]) => w);
  for (const [w, writes] of byEpoch) {
    for (let from = 0; from < writes.length; from += batch) {
      const orders = writes.slice(from, from + batch).map(([order]) => order);
      recovered += await sweep(app, audit, { w, o: { $in: orders } });
      epoch.resolved(orders);
    }
  }
  return recovered;
}

/** Current versions first: one leaves them only after it has arrived among the past ones. */
async function sweep(app: Connection, audit: AuditRepair, which: { readonly w: string; readonly o: object }): Promise<number> {
  let recovered = 0;
  for (const collection of ['resources', 'versions']) {
    let after: bigint | undefined;
    for (;;) {
      const filter = after === undefined ? which : { $and: [which, { o: { $gt: after } }] };
      const found = await findBatch<{ readonly o: bigint; readonly audit: Buffer }>(app, collection, { filter, projection: { o: 1, audit: 1 }, sort: { o: 1 }, limit: batch });
      const entries = new Map(found.map(({ audit: sealed }) => [sealed.toString('latin1', 0, 16), { id: sealed.subarray(0, 16), sealed }]));
      if (entries.size > 0) {
        const missing = await audit.missing([...entries.values()].map(({ id }) => id));
        if (missing.length > 0) await audit.appendRecovered(missing.map((id) => entries.get(id.toString('latin1'))!));
        recovered += missing.length;
      }
      if (found.length < batch) break;
      after = found.at(-1)!.o;
    }
  }
  return recovered;
}
