import { mongo, type Connection } from 'mongoose';
import { majority } from './driver.ts';
import { SharedCalls } from './shared-calls.ts';
import { isDuplicateKey } from '../mongo/errors.ts';

type Write = mongo.AnyBulkWriteOperation<{ _id: Buffer }>;

/** Writes that share one command: few enough that none waits long for the others. */
const limits = { maxItems: 100, maxUnderWay: 1 } as const;

/**
 * Single-document writes of one kind to one collection, outside transactions: those that come while others are under way
 * share a command and its journal flush. Each succeeds or fails on its own.
 */
export class SharedWrites {
  readonly #calls: SharedCalls<Write, Error | undefined>;

  constructor(app: Connection, collection: string) {
    this.#calls = new SharedCalls((writes) => writeAll(app.db!.collection<{ _id: Buffer }>(collection), writes), limits);
  }

  /** @returns false if the document's id is taken @throws whatever else went wrong, as the driver throws it */
  async write(write: Write): Promise<boolean> {
    const failure = await this.#calls.call(write);
    if (failure === undefined) return true;
    if (isDuplicateKey(failure)) return false;
    throw failure;
  }
}

/** @returns what went wrong with each, if anything */
async function writeAll(collection: mongo.Collection<{ _id: Buffer }>, writes: readonly Write[]): Promise<readonly (Error | undefined)[]> {
  try {
    await collection.bulkWrite(writes, { ordered: false, writeConcern: majority });
    return writes.map(() => undefined);
  } catch (cause) {
    if (!(cause instanceof mongo.MongoBulkWriteError)) throw cause;
    // Done, but a majority did not confirm it: without a code, so that the outcome of each counts as unknown.
    if (cause.result.getWriteConcernError() !== undefined) throw new mongo.MongoError('not confirmed by a majority', { cause });
    const failed = [cause.writeErrors].flat();
    if (failed.length === 0) throw cause;
    const failures = new Map(failed.map(({ index, code }) => [index, new mongo.MongoServerError({ message: 'write failed', code })]));
    return writes.map((_write, index) => failures.get(index));
  }
}
