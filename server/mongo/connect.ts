import mongoose, { type Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';

/** Settings of one connection pool. */
export interface PoolOptions {
  /** Sockets of this process to MongoDB; 50 unless told otherwise. */
  readonly maxPoolSize?: number | undefined;
  /** How long an operation waits for a primary before it fails; 5,000 unless told otherwise. */
  readonly serverSelectionTimeoutMs?: number | undefined;
}

/**
 * Opens a connection whose writes are acknowledged by a majority and from the journal, and whose reads see only what a
 * majority holds: what was read or acknowledged once cannot be rolled back.
 *
 * @throws InterlockError `mongo-unreachable`
 */
export async function openMongoose(uri: string, options: PoolOptions = {}): Promise<Connection> {
  try {
    return await mongoose
      .createConnection(uri, {
        writeConcern: { w: 'majority', j: true, wtimeoutMS: 30_000 },
        readConcernLevel: 'majority',
        retryWrites: true,
        retryReads: true,
        readPreference: 'primary',
        maxPoolSize: options.maxPoolSize ?? 50,
        serverSelectionTimeoutMS: options.serverSelectionTimeoutMs ?? 5_000,
        connectTimeoutMS: 5_000,
        waitQueueTimeoutMS: 10_000,
        autoIndex: false,
        autoCreate: false,
        bufferCommands: false,
        appName: 'interlock',
      })
      .asPromise();
  } catch (cause) {
    throw new InterlockError('mongo-unreachable', { cause });
  }
}
