import { mongo } from 'mongoose';
import type { Block } from './block.ts';
import { isDuplicateKey } from '../mongo/errors.ts';

/** `foreign`: another block stands under one of these ids. `given-up`: the caller said so; whether it was written is not known. */
export type InsertOutcome = 'durable' | 'foreign' | 'given-up';

export interface InsertRequest {
  readonly db: mongo.Db;
  readonly collection: mongo.Collection<Block>;
  /** Consecutive blocks of one stream. */
  readonly blocks: readonly Block[];
  readonly attemptTimeoutMs: number;
  readonly maxRetryDelayMs: number;
  /** Asked before each further attempt. */
  readonly goOn: () => boolean;
  readonly onFailure: (attempt: number, errorName: string) => void;
}

const writeConcern = { w: 'majority', j: true } as const;
const firstRetryDelayMs = 50;
// Attempts that hang hold a connection each until its socket times out.
const maxHanging = 4;

/**
 * Inserts blocks until they are durable (majority, journaled). After a failure nobody knows whether they arrived, so the
 * same blocks are sent again: a block that is there already, with the same hash, has arrived.
 */
export async function insertBlocks(request: InsertRequest): Promise<InsertOutcome> {
  const hanging = new Set<Promise<InsertOutcome>>();
  for (let attempt = 1; ; attempt += 1) {
    if (hanging.size < maxHanging) {
      const started = insertOnce(request).finally(() => hanging.delete(started));
      hanging.add(started);
    }
    try {
      const outcome = await within(request.attemptTimeoutMs, Promise.race(hanging));
      if (outcome !== undefined) return outcome;
      request.onFailure(attempt, 'timeout');
    } catch (error) {
      request.onFailure(attempt, error instanceof Error ? error.name : 'unknown');
    }
    if (!request.goOn()) return 'given-up';
    const delayMs = Math.min(firstRetryDelayMs * 2 ** Math.min(attempt, 10), request.maxRetryDelayMs) * (0.5 + Math.random() / 2);
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    if (!request.goOn()) return 'given-up';
  }
}

async function insertOnce({ db, collection, blocks }: InsertRequest): Promise<InsertOutcome> {
  if (await insertNew(db, collection.collectionName, blocks)) return 'durable';
  // Some are there: perhaps from an attempt whose answer was lost.
  for (const block of blocks) {
    try {
      await collection.insertOne(block, { writeConcern });
    } catch (error) {
      if (!isDuplicateKey(error)) throw error;
      const stored = await collection.findOne({ _id: block._id }, { promoteBuffers: true, projection: { hash: 1 }, readConcern: 'majority' });
      if (stored === null) throw error;
      if (!block.hash.equals(stored.hash)) return 'foreign';
    }
  }
  return 'durable';
}

/**
 * One plain command. Of writes that the driver may repeat MongoDB keeps account, which is a second write; here the ids say
 * what has arrived.
 * @returns false if one of the ids is taken
 */
async function insertNew(db: mongo.Db, collection: string, blocks: readonly Block[]): Promise<boolean> {
  const reply: { readonly writeErrors?: readonly { readonly code: number }[] } = await db.command({ insert: collection, documents: blocks, ordered: true, writeConcern });
  const code = reply.writeErrors?.[0]?.code;
  if (code === undefined) return true;
  const error = new mongo.MongoServerError({ message: 'write failed', code });
  if (isDuplicateKey(error)) return false;
  throw error;
}

/** @returns undefined if it takes longer */
async function within<T>(timeoutMs: number, work: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
