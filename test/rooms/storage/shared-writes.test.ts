import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mongo, type Connection } from 'mongoose';
import type { StoredDocument } from '../../../server/storage/document.ts';
import { SharedWrites } from '../../../server/storage/shared-writes.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';

let databases: TestMongo;

beforeAll(async () => {
  databases = await testMongo();
});

afterAll(async () => databases.drop());

function documentOf(_id: Buffer, o: bigint, bodyBytes = 20): StoredDocument {
  const some = (): Buffer => randomBytes(20);
  return { _id, t: 1, vid: 1, at: new Date(), del: false, o, w: 'epoch', key: 'key', body: randomBytes(bodyBytes), x: [some()], s: some(), audit: some(), mac: some() };
}

/** A connection whose first answer to a write is lost on the way; `between` happens before it is asked again. */
function losing(app: Connection, between: () => Promise<unknown> = async () => undefined): Connection {
  let isLost = false;
  const command = async (asked: object, options?: object): Promise<unknown> => {
    const reply = await app.db!.command(asked, options);
    if (isLost) return reply;
    isLost = true;
    await between();
    throw new mongo.MongoNetworkError('connection closed');
  };
  return { db: { command } } as unknown as Connection;
}

const stored = async (_id: Buffer): Promise<unknown> => (await databases.app.db!.collection<{ _id: Buffer; o: unknown }>('resources').findOne({ _id }, { useBigInt64: true }))?.o;

describe('writes that share commands', () => {
  test('succeed or fail on their own; what is to be replaced must be there', async () => {
    const { app } = databases;
    const [inserts, updates] = [new SharedWrites(app, 'resources', 'insert'), new SharedWrites(app, 'resources', 'update')];
    const [a, b] = [randomBytes(16), randomBytes(16)];
    expect(await Promise.all([inserts.write({ document: documentOf(a, 1n) }), inserts.write({ document: documentOf(a, 2n) }), inserts.write({ document: documentOf(b, 3n) })])).toEqual([true, false, true]);
    const [next, late] = [{ ...documentOf(a, 4n), vid: 2 }, { ...documentOf(a, 5n), vid: 2 }];
    expect(await Promise.all([updates.write({ document: next, replaces: { vid: 1, o: 1n } }), updates.write({ document: late, replaces: { vid: 1, o: 1n } })])).toEqual([true, false]);
    expect([await stored(a), await stored(b)]).toEqual([4n, 3n]);
  });

  test('are told as done when only their answer was lost', async () => {
    const id = randomBytes(16);
    expect(await new SharedWrites(losing(databases.app), 'resources', 'insert').write({ document: documentOf(id, 1n) })).toBe(true);
    expect(await new SharedWrites(losing(databases.app), 'resources', 'update').write({ document: { ...documentOf(id, 2n), vid: 2 }, replaces: { vid: 1, o: 1n } })).toBe(true);
    expect(await stored(id)).toBe(2n);
  });

  test('are of unknown outcome when another stands in their place by then', async () => {
    const id = randomBytes(16);
    const replaceAgain = async (): Promise<unknown> => databases.app.db!.collection<{ _id: Buffer }>('resources').updateOne({ _id: id }, { $set: { o: 9n } });
    const outcome = new SharedWrites(losing(databases.app, replaceAgain), 'resources', 'insert').write({ document: documentOf(id, 1n) });
    await expect(outcome).rejects.toThrow('outcome unknown');
    expect(await stored(id)).toBe(9n);
  });

  test('go in several commands when one would be too large', async () => {
    const inserts = new SharedWrites(databases.app, 'resources', 'insert');
    const ids = Array.from({ length: 5 }, () => randomBytes(16));
    expect(await Promise.all(ids.map(async (id, index) => inserts.write({ document: documentOf(id, BigInt(index), 5 * 2 ** 20) })))).toEqual(ids.map(() => true));
    expect(await databases.app.db!.collection<{ _id: Buffer }>('resources').countDocuments({ _id: { $in: ids } })).toBe(5);
  });
});
