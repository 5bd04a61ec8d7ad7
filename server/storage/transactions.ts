import { setTimeout as pause } from 'node:timers/promises';
import { mongo, type ClientSession, type Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { StoreTransaction } from './contract.ts';
import { hasLabel, readFailure } from './driver.ts';
import type { ClaimQueue } from './claim-queue.ts';
import type { Epoch } from './epochs.ts';
import type { Files } from './files.ts';
import { Prepared } from './prepare.ts';
import type { Links } from './links.ts';
import type { Reader } from './reads.ts';
import type { Searcher } from './search.ts';
import { LostRace, type Writer } from './writes.ts';
import { isDuplicateKey } from '../mongo/errors.ts';

interface Parts {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  readonly epoch: Epoch;
  readonly reader: Reader;
  readonly searcher: Searcher;
  readonly links: Links;
  readonly writer: Writer;
  readonly claims: ClaimQueue;
  readonly files: Files;
}

const durable = new mongo.WriteConcern('majority', undefined, true);
const maxAttempts = 24;
const maxMs = 30_000;
const longestPauseMs = 200;

/** See `Store.transaction`. */
export async function runTransaction<T>(parts: Parts, work: (tx: StoreTransaction) => Promise<T>): Promise<T> {
  const deadline = performance.now() + maxMs;
  const session = await parts.app.startSession();
  try {
    for (let attempt = 0; attempt < maxAttempts && performance.now() < deadline; attempt += 1) {
      const orders = parts.writer.collect(session);
      const leaves: (() => void)[] = [];
      session.startTransaction({ readConcern: { level: 'snapshot' }, writeConcern: durable });
      try {
        const result = await work(transactionOf(parts, session, leaves));
        await commit(parts.epoch, session, orders, deadline);
        return result;
      } catch (cause) {
        if (session.inTransaction()) await session.abortTransaction().catch(() => undefined);
        if (!(cause instanceof InterlockError && cause.code === 'outcome-unknown')) for (const order of orders) parts.epoch.abandoned(order);
        if (!isRepeatable(cause)) throw readFailure(cause);
      } finally {
        for (const leave of leaves) leave();
      }
      // Jittered, so that those who met do not meet again.
      await pause(Math.random() * Math.min(longestPauseMs, 8 * 2 ** Math.min(attempt, 10)));
    }
  } finally {
    await session.endSession();
  }
  throw new InterlockError('unavailable', { detail: 'Too many requests change the same resources.', retryAfterSeconds: 1 });
}

/** @param leaves gets what must be called when the attempt ends */
function transactionOf({ app, keyring, tenant, reader, searcher, writer, claims, files, links }: Parts, session: ClientSession, leaves: (() => void)[]): StoreTransaction {
  const held = new Set<string>();
  return {
    session,
    read: (type, id) => reader.read(type, id, session),
    readMany: (refs) => reader.readMany(refs, session),
    vread: (type, id, versionId) => reader.vread(type, id, versionId, session),
    search: (request) => searcher.search(request, session),
    standing: (keys) => links.standing(keys, session),
    referrers: (keys, limit) => links.referrers(keys, limit, session),
    pointersTo: (ids, limit) => links.pointersTo(ids, limit, session),
    async write(prepared, audit, options = {}) {
      if (prepared instanceof Prepared && prepared.file !== undefined) await files.keep(prepared.file, session);
      return writer.write(prepared, audit, options, session);
    },
    remove: (type, id, audit, options = {}) => writer.remove(type, id, audit, options, session),
    createMany: (prepared, audit) => writer.createMany(prepared, audit, session),
    updateMany: (updates, audit) => writer.updateMany(updates, audit, session),
    readBefore: (current) => reader.readBefore(current, session),
    async claim(keys) {
      const fresh = [...new Set(keys)].filter((key) => !held.has(key));
      for (const key of fresh) held.add(key);
      const ids = fresh.map((key) => keyring.mac('claim', [tenant, key], 16, tenant)).sort((a, b) => a.compare(b));
      leaves.push(await claims.enter(ids.map((id) => id.toString('latin1'))));
      if (ids.length === 0) return;
      // In the same order everywhere, so that no two wait for each other.
      const updates = ids.map((_id) => ({ updateOne: { filter: { _id }, update: { $inc: { n: 1 }, $currentDate: { at: true as const } }, upsert: true } }));
      await app.db!.collection<{ _id: Buffer; n: number; at: Date }>('claims').bulkWrite(updates, { ordered: true, session });
    },
  };
}

/** Commits; asks again where the answer was lost. @throws InterlockError `outcome-unknown` if it stays unknown */
async function commit(epoch: Epoch, session: ClientSession, orders: readonly bigint[], deadline: number): Promise<void> {
  for (;;) {
    try {
      await session.commitTransaction();
      for (const order of orders) epoch.committed(order);
      return;
    } catch (cause) {
      if (!hasLabel(cause, 'UnknownTransactionCommitResult')) throw cause;
      if (performance.now() < deadline) {
        await pause(50);
        continue;
      }
      for (const order of orders) epoch.uncertain(order);
      throw new InterlockError('outcome-unknown', { cause });
    }
  }
}

function isRepeatable(cause: unknown): boolean {
  return cause instanceof LostRace || hasLabel(cause, 'TransientTransactionError') || isDuplicateKey(cause);
}
