import { mongo, type ClientSession, type Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import { documentsIn, FetchedDocument } from './fetched.ts';

/** Binary as Buffer, 64-bit integers as bigint: how stored documents are read. */
const readOptions = { promoteBuffers: true, useBigInt64: true } as const;

export const majority = { w: 'majority', j: true } as const;

/** One batch of a find. `limit` bounds it; nothing more is fetched. */
export interface Find {
  readonly filter: object;
  readonly projection?: Readonly<Record<string, 0 | 1>>;
  readonly sort?: Readonly<Record<string, 1 | -1>>;
  readonly limit: number;
  /** MongoDB gives up after this; then {@link findBatch} throws `too-costly`. */
  readonly maxTimeMs?: number;
  readonly hint?: Readonly<Record<string, 1 | -1>>;
  /** `local` sees what is not yet acknowledged: for writes that build on what they find. */
  readonly level?: 'majority' | 'local';
}

/**
 * A find as one plain command, a third faster than the driver's cursor; a reply that would exceed MongoDB's 16 MB is fetched
 * by a cursor after all. Outside a transaction it sees what a majority has,
 * so that nothing is disclosed that a failover could undo.
 */
export async function findBatch<T>(app: Connection, collection: string, find: Find, session?: ClientSession): Promise<T[]> {
  try {
    const reply = await app.db!.command(commandOf(collection, find, session), { ...readOptions, ...(session === undefined ? {} : { session }) });
    const { cursor } = reply as unknown as { cursor: { id: bigint; firstBatch: T[] } };
    return cursor.id === 0n ? cursor.firstBatch : (await cursorOf(app, collection, find, session, readOptions).toArray()) as T[];
  } catch (cause) {
    throw session === undefined ? readFailure(cause) : cause;
  }
}

/** The same for versions, which are read without the driver's decoder: half of what a find of twenty costs. */
export async function findDocuments(app: Connection, collection: 'resources' | 'versions', find: Find, session?: ClientSession): Promise<FetchedDocument[]> {
  try {
    const reply = await app.db!.command(commandOf(collection, find, session), { raw: true, ...(session === undefined ? {} : { session }) });
    const documents = documentsIn(reply['cursor'] as Buffer);
    if (documents !== undefined) return documents;
    return (await cursorOf(app, collection, find, session, { raw: true }).toArray()).map((bytes) => new FetchedDocument(bytes as unknown as Buffer));
  } catch (cause) {
    throw session === undefined ? readFailure(cause) : cause;
  }
}

function commandOf(collection: string, find: Find, session: ClientSession | undefined) {
  return {
    find: collection, filter: find.filter, limit: find.limit, batchSize: find.limit,
    ...(find.projection === undefined ? {} : { projection: find.projection }),
    ...(find.sort === undefined ? {} : { sort: find.sort }),
    ...(find.maxTimeMs === undefined ? {} : { maxTimeMS: Math.max(1, Math.ceil(find.maxTimeMs)) }),
    ...(find.hint === undefined ? {} : { hint: find.hint }),
    ...(session === undefined ? { readConcern: { level: find.level ?? 'majority' } } : {}),
  };
}

function cursorOf(app: Connection, collection: string, { filter, projection, sort, limit, hint, level }: Find, session: ClientSession | undefined, options: typeof readOptions | { readonly raw: true }) {
  return app.db!.collection(collection).find(filter, {
    ...options, limit, ...(projection && { projection }), ...(sort && { sort }), ...(hint && { hint }),
    ...(session === undefined ? { readConcern: { level: level ?? 'majority' } } : { session }),
  });
}

/** Counts, up to `limit`. @throws InterlockError `too-costly` after `maxTimeMs` */
export async function countUpTo(app: Connection, collection: string, filter: object, limit: number, maxTimeMs: number, session?: ClientSession): Promise<number> {
  const pipeline = [{ $match: filter }, { $limit: limit }, { $count: 'n' }];
  const command = {
    aggregate: collection, pipeline, cursor: {}, maxTimeMS: Math.max(1, Math.ceil(maxTimeMs)),
    ...(session === undefined ? { readConcern: { level: 'majority' } } : {}),
  };
  try {
    const reply = await app.db!.command(command, session === undefined ? {} : { session });
    return (reply as unknown as { cursor: { firstBatch: { n: number }[] } }).cursor.firstBatch[0]?.n ?? 0;
  } catch (cause) {
    throw session === undefined ? readFailure(cause) : cause;
  }
}

/** MongoDB error code, where there is one. */
function mongoCode(error: unknown): number | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
}

/** True if the server certainly did not do the write: it answered with an error, other than one about acknowledging it. */
export function isDefiniteFailure(error: unknown): boolean {
  return mongoCode(error) !== undefined && !hasLabel(error, 'RetryableWriteError') && !(error instanceof Error && error.name === 'MongoWriteConcernError');
}

export function hasLabel(error: unknown, label: string): boolean {
  return error instanceof mongo.MongoError && error.hasErrorLabel(label);
}

/** What a failed read or an aborted transaction means to a caller. In a transaction the driver's own error decides first whether it is repeated. */
export function readFailure(cause: unknown): unknown {
  if (isTimeLimit(cause)) return new InterlockError('too-costly', { cause });
  return isUnreachable(cause) ? new InterlockError('unavailable', { cause, retryAfterSeconds: 1 }) : cause;
}

/** True if MongoDB could not be reached, or has no primary at the moment. */
export function isUnreachable(error: unknown): boolean {
  return error instanceof mongo.MongoNetworkError || error instanceof mongo.MongoServerSelectionError || error instanceof mongo.MongoNotConnectedError
    || error instanceof mongo.MongoTopologyClosedError || hasLabel(error, 'RetryableWriteError');
}

function isTimeLimit(error: unknown): boolean {
  return mongoCode(error) === 50;
}
