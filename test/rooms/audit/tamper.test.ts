import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { mongo as driver } from 'mongoose';
import { blockId, hashOfBlock, noBlock, sealBlock, streamOf, type Block, type BlockEntry } from '../../../server/audit/block.ts';
import { auditCollection, openAuditTrail } from '../../../server/audit/trail.ts';
import { verifyTrail, type FaultCode, type VerifyReport } from '../../../server/audit/verify.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';
import { fill, tenant, testKeyring } from './support.ts';

let mongo: TestMongo;
let keys: Awaited<ReturnType<typeof testKeyring>>;
let collection: driver.Collection<Block>;
let sound: Block[];

beforeAll(async () => {
  [mongo, keys] = await Promise.all([testMongo(), testKeyring()]);
  collection = mongo.auditRoot.collection<Block>(auditCollection);
  for (const epochId of ['a', 'b', 'c']) {
    const trail = await openAuditTrail({ audit: mongo.audit, keyring: keys.keyring, tenant, epochId, log: silentLog });
    await fill(trail, 4);
    await trail.append(Array.from({ length: 3 }, (_, index) => trail.prepare({ at: Date.now() + index, kind: 'login', interaction: 'password', action: 'E', outcome: '4', requestId: 'r', actor: { kind: 'anonymous', id: 'x' } })));
    await trail.close();
  }
  sound = await collection.find({}, { promoteBuffers: true }).toArray();
});
afterAll(async () => {
  keys.close();
  await mongo.drop();
});
beforeEach(async () => {
  await collection.deleteMany({});
  await collection.insertMany(sound);
});

const verify = (): Promise<VerifyReport> => verifyTrail({ audit: mongo.audit, keyring: keys.keyring, tenant });
const blockOf = (stream: string, n: number): Block => structuredBlock(sound.find((block) => block._id === blockId(stream, n))!);
const structuredBlock = (block: Block): Block => ({ ...block, e: [...block.e] });
const replace = (block: Block): Promise<unknown> => collection.replaceOne({ _id: block._id }, block);
const flipped = (bytes: Buffer, at: number, bit = 0): Buffer => {
  const copy = Buffer.from(bytes);
  copy[at] = copy[at]! ^ (1 << bit);
  return copy;
};
const withEntry = (block: Block, index: number, change: Partial<BlockEntry>): Block => ({ ...block, e: block.e.map((entry, i) => (i === index ? { ...entry, ...change } : entry)) });
/** What someone with all rights on the database, but without the keys, can do: compute the hashes anew. */
const rehashed = (block: Block): Block => ({ ...block, hash: hashOfBlock(tenant, { ...block, stream: streamOf(block._id) }) });

interface Case {
  readonly name: string;
  readonly tamper: () => Promise<unknown>;
  readonly expected: FaultCode;
  /** Stream and block that must be named. */
  readonly at: readonly [string, number?];
}

const cases: readonly Case[] = [
  { name: 'a bit of an entry flipped', tamper: () => replace(withEntry(blockOf('a', 2), 0, { b: flipped(blockOf('a', 2).e[0]!.b, 60) })), expected: 'entry-altered', at: ['a', 2] },
  { name: 'a bit of an entry flipped and the hash computed anew', tamper: () => replace(rehashed(withEntry(blockOf('a', 2), 0, { b: flipped(blockOf('a', 2).e[0]!.b, 60) }))), expected: 'block-forged', at: ['a', 2] },
  { name: 'the key name of an entry changed', tamper: () => replace(withEntry(blockOf('a', 2), 0, { b: flipped(blockOf('a', 2).e[0]!.b, 3) })), expected: 'entry-unreadable', at: ['a', 2] },
  { name: 'an entry deleted', tamper: () => replace({ ...blockOf('b', 5), e: blockOf('b', 5).e.slice(1) }), expected: 'block-altered', at: ['b', 5] },
  { name: 'an entry inserted', tamper: () => replace({ ...blockOf('b', 1), e: [...blockOf('b', 1).e, ...blockOf('b', 2).e] }), expected: 'block-altered', at: ['b', 1] },
  { name: 'entries of a block reordered', tamper: () => replace({ ...blockOf('b', 5), e: [...blockOf('b', 5).e].reverse() }), expected: 'entry-misplaced', at: ['b', 5] },
  { name: 'sealed bodies of two entries swapped', tamper: () => replace(withEntry(withEntry(blockOf('b', 5), 0, { b: blockOf('b', 5).e[1]!.b }), 1, { b: blockOf('b', 5).e[0]!.b })), expected: 'entry-altered', at: ['b', 5] },
  { name: 'a search token changed, so that nobody finds the entry', tamper: () => replace(withEntry(blockOf('c', 1), 0, { x: blockOf('c', 1).e[0]!.x.map((token) => flipped(token, 0)) })), expected: 'entry-tokens-altered', at: ['c', 1] },
  { name: 'an entry marked as recovered', tamper: () => replace(withEntry(blockOf('c', 1), 0, { r: true })), expected: 'block-altered', at: ['c', 1] },
  { name: 'an entry given another id', tamper: () => replace(withEntry(blockOf('c', 1), 0, { i: flipped(blockOf('c', 1).e[0]!.i, 15) })), expected: 'entry-altered', at: ['c', 1] },
  { name: 'a block deleted', tamper: () => collection.deleteOne({ _id: blockId('a', 3) }), expected: 'block-missing', at: ['a', 3] },
  { name: 'the first block of a stream deleted', tamper: () => collection.deleteOne({ _id: blockId('a', 0) }), expected: 'block-missing', at: ['a', 0] },
  { name: 'two blocks swapped', tamper: async () => { await replace({ ...blockOf('a', 3), _id: blockId('a', 2) }); await replace({ ...blockOf('a', 2), _id: blockId('a', 3) }); }, expected: 'block-misplaced', at: ['a', 3] },
  { name: 'a block replaced by one of another stream', tamper: () => replace({ ...blockOf('b', 3), _id: blockId('a', 3) }), expected: 'chain-broken', at: ['a', 3] },
  { name: 'a block added at the end of a stream', tamper: () => collection.insertOne({ ...blockOf('c', 5), _id: blockId('c', 6), n: 6, prev: blockOf('c', 5).hash }), expected: 'block-altered', at: ['c', 6] },
  { name: 'a block added with its hash computed', tamper: () => collection.insertOne(rehashed({ ...blockOf('c', 5), _id: blockId('c', 6), n: 6, prev: blockOf('c', 5).hash })), expected: 'block-forged', at: ['c', 6] },
  { name: 'the MAC changed', tamper: () => replace({ ...blockOf('c', 2), mac: flipped(blockOf('c', 2).mac, 31, 7) }), expected: 'block-forged', at: ['c', 2] },
  { name: 'the time of a block changed', tamper: () => replace({ ...blockOf('c', 2), at: new Date(blockOf('c', 2).at.getTime() - 60_000) }), expected: 'block-altered', at: ['c', 2] },
  { name: 'a field added', tamper: () => collection.updateOne({ _id: blockId('c', 2) }, { $set: { note: 'x' } as never }), expected: 'block-malformed', at: ['c', 2] },
  { name: 'a field removed', tamper: () => collection.updateOne({ _id: blockId('c', 2) }, { $unset: { mac: '' } as never }), expected: 'block-malformed', at: ['c', 2] },
  { name: 'a document that is no block', tamper: () => collection.insertOne({ _id: 'zzz', n: 1 } as never), expected: 'block-malformed', at: ['zz', 1] },
  { name: 'a stream cut before the place that the next opening names', tamper: () => collection.deleteMany({ _id: { $in: [blockId('a', 4), blockId('a', 5)] } }), expected: 'stream-truncated', at: ['a', 5] },
  { name: 'a whole stream deleted that the next opening names', tamper: () => collection.deleteMany({ _id: /^a:/ }), expected: 'stream-missing', at: ['a'] },
  { name: 'a stream written anew up to a named head', tamper: () => replace(rehashed({ ...blockOf('a', 5), e: [] })), expected: 'stream-rewritten', at: ['a', 5] },
  { name: 'the opening made to forget a stream', tamper: () => replace({ ...blockOf('b', 0), heads: [] }), expected: 'block-altered', at: ['b', 0] },
];

describe('tampering', () => {
  test('untouched, the trail verifies', async () => {
    const report = await verify();
    expect(report).toMatchObject({ ok: true, streams: 3, blocks: 18, entries: 21, recovered: 0, faults: [] });
  });

  test.each(cases)('$name: found and named', async ({ tamper, expected, at }) => {
    await tamper();
    const report = await verify();
    expect(report.ok).toBe(false);
    const [stream, block] = at;
    expect(report.faults.map((fault) => [fault.code, fault.stream, fault.block])).toContainEqual([expected, stream, block]);
    // Whatever else is found follows from it: nothing of the streams before.
    for (const fault of report.faults) expect(fault.stream >= stream).toBe(true);
  });

  test('an altered entry is named', async () => {
    const block = blockOf('b', 5);
    await replace(rehashed(withEntry(block, 1, { b: flipped(block.e[1]!.b, 100) })));
    const report = await verify();
    expect(report.faults.find(({ code }) => code === 'entry-altered')?.entry).toBe(block.e[1]!.i.toString('hex'));
  });

  test('the same entry twice is named, even if whoever did it has the keys', async () => {
    const last = blockOf('c', 5);
    const first = sound.find((block) => block._id === blockId('c', 1))!;
    await collection.insertOne(sealBlock(keys.keyring, tenant, { stream: 'c', n: 6, at: last.at, to: first.to, e: first.e, prev: last.hash }));
    const report = await verify();
    expect(report.faults.map(({ code }) => code)).toEqual(['entry-repeated']);
    expect(report.faults[0]?.entry).toBe(first.e[0]!.i.toString('hex'));
  });

  test('every byte of a block counts', async () => {
    const block = blockOf('a', 1);
    const entry = block.e[0]!;
    const variants: Block[] = [];
    for (let at = 0; at < entry.b.length; at += 7) variants.push(withEntry(block, 0, { b: flipped(entry.b, at, at % 8) }));
    for (let at = 0; at < 16; at += 1) variants.push(withEntry(block, 0, { i: flipped(entry.i, at, at % 8) }));
    for (let at = 0; at < 32; at += 1) variants.push({ ...block, hash: flipped(block.hash, at, at % 8) }, { ...block, prev: flipped(block.prev, at, at % 8) }, { ...block, mac: flipped(block.mac, at, at % 8) });
    await collection.deleteMany({ _id: { $ne: blockId('a', 0) } });
    for (const variant of variants) {
      await collection.replaceOne({ _id: block._id }, variant, { upsert: true });
      const report = await verify();
      expect(report.faults.some((fault) => fault.stream === 'a' && fault.block === 1)).toBe(true);
    }
    expect(variants.length).toBeGreaterThan(150);
  });

  test('a trail computed anew without the keys is refused block by block', async () => {
    await collection.deleteMany({});
    let prev = noBlock;
    for (let n = 0; n < 3; n += 1) {
      const forged = rehashed({ ...blockOf('a', n), prev, e: n === 2 ? [] : blockOf('a', n).e });
      prev = forged.hash;
      await collection.insertOne(forged);
    }
    const report = await verify();
    expect(report.faults[0]).toMatchObject({ code: 'block-forged', stream: 'a', block: 2 });
  });

  test('another tenant’s keys verify nothing', async () => {
    const other = await testKeyring();
    const report = await verifyTrail({ audit: mongo.audit, keyring: other.keyring, tenant });
    other.close();
    expect(report.faults[0]).toMatchObject({ code: 'block-forged', stream: 'a', block: 0 });
  });
});
