import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { testMongo, type TestMongo } from '../../support/mongo.ts';

let mongo: TestMongo;

beforeAll(async () => {
  mongo = await testMongo();
});

afterAll(async () => {
  await mongo.drop();
});

describe('the audit writer', () => {
  test('inserts and finds', async () => {
    await mongo.audit.collection('audit').insertOne({ text: 'sealed' });
    expect(await mongo.audit.collection('audit').countDocuments()).toBe(1);
  });

  test.each([
    ['update', () => mongo.audit.collection('audit').updateOne({}, { $set: { text: 'other' } })],
    ['upsert', () => mongo.audit.collection('audit').updateOne({ a: 1 }, { $set: { text: 'other' } }, { upsert: true })],
    ['replace', () => mongo.audit.collection('audit').replaceOne({}, { text: 'other' })],
    ['find and replace', () => mongo.audit.collection('audit').findOneAndReplace({}, { text: 'other' })],
    ['delete', () => mongo.audit.collection('audit').deleteOne({})],
    ['find and delete', () => mongo.audit.collection('audit').findOneAndDelete({})],
    ['drop', () => mongo.audit.collection('audit').drop()],
    ['drop the database', () => mongo.audit.db!.dropDatabase()],
    ['rename', () => mongo.audit.collection('audit').rename('other')],
    ['create an index', () => mongo.audit.collection('audit').createIndex({ text: 1 }, {}, {})],
    ['write another collection', () => mongo.audit.collection('other').insertOne({ text: 'x' })],
    ['write over the collection by $out', () => mongo.audit.collection('audit').aggregate([{ $match: { none: 1 } }, { $out: 'audit' }]).toArray()],
    ['write into the collection by $merge', () => mongo.audit.collection('audit').aggregate([{ $set: { text: 'other' } }, { $merge: { into: 'audit' } }]).toArray()],
  ])('is refused: %s', async (_name, attempt: () => Promise<unknown>) => {
    await expect(attempt()).rejects.toMatchObject({ code: 13 });
    expect(await mongo.audit.collection('audit').countDocuments({ text: 'sealed' })).toBe(1);
  });
});

describe('the app user', () => {
  test('may not touch the audit database', async () => {
    const other = mongo.app.useDb(mongo.audit.name);
    await expect(other.collection('audit').insertOne({})).rejects.toMatchObject({ code: 13 });
    await expect(other.collection('audit').findOne({})).rejects.toMatchObject({ code: 13 });
  });

  test('runs transactions', async () => {
    const session = await mongo.app.startSession();
    await session.withTransaction(async () => {
      await mongo.app.collection('keys').insertOne({ a: 1 }, { session });
      await mongo.app.collection('keys').insertOne({ a: 2 }, { session });
    });
    await session.endSession();
    expect(await mongo.app.collection('keys').countDocuments()).toBe(2);
  });
});
