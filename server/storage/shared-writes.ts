import { mongo, type Connection } from 'mongoose';
import { isDuplicateKey } from '../mongo/errors.ts';
import type { StoredDocument } from './document.ts';
import { findBatch, isUnreachable, majority } from './driver.ts';
import { SharedCalls } from './shared-calls.ts';

/** A version to be stored: under an id that is free, or in place of one. */
interface Write {
  readonly document: StoredDocument;
  /** What must be there to be replaced; absent: nothing. */
  readonly replaces?: Pick<StoredDocument, 'vid' | 'o'>;
}

interface WriteReply {
  readonly writeErrors?: readonly { readonly index: number; readonly code: number }[];
}

/** Writes that share one command: few enough that none waits long for the others. */
const limits = { maxItems: 100, maxUnderWay: 1 } as const;

/** A plain command is one document: 16 MiB (https://www.mongodb.com/docs/manual/reference/limits/). A resource is smaller. */
const maxCommandBytes = 15 * 2 ** 20;
/** Fields of fixed size, names, and what BSON adds to each token. */
const fixedBytes = 1_000;
const bytesPerToken = 24;

/**
 * Single-document writes of one kind to one collection, outside transactions: those that come while others are under way
 * share a command and its journal flush. Each succeeds or fails on its own. They are plain commands: of writes that the
 * driver may repeat, MongoDB keeps account in a document per session, which is a second write for each.
 */
export class SharedWrites {
  readonly #calls: SharedCalls<Write, Error | undefined>;

  constructor(app: Connection, collection: 'resources' | 'versions', command: 'insert' | 'update') {
    this.#calls = new SharedCalls((writes) => writeAll(app, collection, command, writes), limits);
  }

  /** @returns false if the document's id is taken, by whatever is not what the write replaces @throws whatever else went wrong, as the driver throws it */
  async write(write: Write): Promise<boolean> {
    const failure = await this.#calls.call(write);
    if (failure === undefined) return true;
    if (isDuplicateKey(failure)) return false;
    throw failure;
  }
}

/** @returns what went wrong with each, if anything */
async function writeAll(app: Connection, collection: string, command: 'insert' | 'update', writes: readonly Write[]): Promise<readonly (Error | undefined)[]> {
  const failures: (Error | undefined)[] = [];
  for (let from = 0; from < writes.length; ) {
    let [until, bytes] = [from, 0];
    do bytes += sizeOf(writes[until++]!.document);
    while (until < writes.length && bytes + sizeOf(writes[until]!.document) <= maxCommandBytes);
    const part = writes.slice(from, until);
    failures.push(...(await writeOnce(app, collection, command, part).catch((cause: unknown) => writeAgain(app, collection, command, part, cause))));
    from = until;
  }
  return failures;
}

async function writeOnce(app: Connection, collection: string, command: 'insert' | 'update', writes: readonly Write[]): Promise<(Error | undefined)[]> {
  const items = command === 'insert' ? { documents: writes.map(({ document }) => document) } : { updates: writes.map(replacement) };
  const reply: WriteReply = await app.db!.command({ [command]: collection, ...items, ordered: false, writeConcern: majority });
  const failures = new Array<Error | undefined>(writes.length).fill(undefined);
  for (const { index, code } of reply.writeErrors ?? []) failures[index] = new mongo.MongoServerError({ message: 'write failed', code });
  return failures;
}

/** After an answer was lost, once more: an id that is taken by the very version has been written the first time. */
async function writeAgain(app: Connection, collection: string, command: 'insert' | 'update', writes: readonly Write[], cause: unknown): Promise<(Error | undefined)[]> {
  if (!isUnreachable(cause)) throw cause;
  const failures = await writeOnce(app, collection, command, writes);
  const taken = writes.filter((_write, index) => isDuplicateKey(failures[index]));
  if (taken.length === 0) return failures;
  const found = await findBatch<Pick<StoredDocument, '_id' | 'o'>>(app, collection, { filter: { _id: { $in: taken.map(({ document }) => document._id) } }, projection: { o: 1 }, limit: taken.length });
  const orders = new Map(found.map(({ _id, o }) => [_id.toString('latin1'), o]));
  // By another version: it may have replaced this one meanwhile, so nobody can tell.
  return writes.map(({ document }, index) => (!isDuplicateKey(failures[index]) ? failures[index] : orders.get(document._id.toString('latin1')) === document.o ? undefined : new Error('outcome unknown', { cause })));
}

/** An upsert, so that a document that is no longer the same shows as an id that is taken. */
function replacement({ document, replaces }: Write) {
  const { _id, ...fields } = document;
  return { q: { _id, vid: replaces?.vid, o: replaces?.o }, u: fields, upsert: true };
}

function sizeOf({ body, x, s, audit }: StoredDocument): number {
  return body.length + x.length * bytesPerToken + s.length + audit.length + fixedBytes;
}
