import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { InterlockError } from '../../../resources/outcome/error.ts';
import type { FileManifest } from '../../../server/storage/contract.ts';
import { chunkBytes, Files } from '../../../server/storage/files.ts';
import { tenant, testStore, type TestStore } from './support.ts';

let on: TestStore;
let files: Files;
const limit = 10 * chunkBytes;

beforeAll(async () => {
  on = await testStore();
  files = new Files({ app: on.app, keyring: on.keyring, tenant });
});
afterAll(() => on.close());

async function* pieces(bytes: Buffer, sizeBytes = 65_536): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield await Promise.resolve(bytes.subarray(at, at + sizeBytes));
}

async function whole(file: FileManifest, range?: { from: number; to: number }, from: Files = files): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of from.open(file, range)) parts.push(part);
  return Buffer.concat(parts);
}

const code = async (work: Promise<unknown>): Promise<string> => work.then(() => 'done', (error: unknown) => (error instanceof InterlockError ? error.code : String(error)));
const chunks = (file: FileManifest) => on.app.db!.collection<{ _id: Buffer; key: string; body: Buffer }>('file_chunks').find({}, { promoteBuffers: true, sort: { _id: 1 } }).toArray().then((all) => all.filter(({ _id }) => _id.toString('hex', 0, 16) === file.id));
const count = async (): Promise<[number, number]> => [await on.app.db!.collection('files').countDocuments({ state: { $exists: true } }), await on.app.db!.collection('file_chunks').countDocuments()];

const binary = { resourceType: 'Binary', contentType: 'image/png' };

async function kept(bytes: Buffer, id: string): Promise<FileManifest> {
  const file = await files.receive(pieces(bytes), limit);
  const result = await on.store.write(on.store.prepare(binary, id, undefined, file), on.auditOf);
  await on.audit.appendCommitted([result.audit]);
  return file;
}

describe('A file', () => {
  test.each([0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3 * chunkBytes, 3 * chunkBytes + 17])('of %d bytes comes back as it was, whole and in parts', async (sizeBytes) => {
    const bytes = randomBytes(sizeBytes);
    const file = await files.receive(pieces(bytes, 50_001), limit);
    expect(file).toMatchObject({ sizeBytes, chunks: Math.max(1, Math.ceil(sizeBytes / chunkBytes)), sha256: createHash('sha256').update(bytes).digest('hex') });
    expect((await whole(file)).equals(bytes)).toBe(true);
    for (const [from, to] of [[0, Math.min(1, sizeBytes)], [Math.floor(sizeBytes / 2), sizeBytes], [Math.max(0, sizeBytes - 1), sizeBytes], [Math.min(chunkBytes - 1, sizeBytes), Math.min(chunkBytes + 1, sizeBytes)]] as const) {
      expect((await whole(file, { from, to })).equals(bytes.subarray(from, to))).toBe(true);
    }
    await files.discard(file);
  });

  test('is at rest in sealed chunks of at most a megabyte, the last one padded', async () => {
    const bytes = Buffer.alloc(2 * chunkBytes + 1_001, 'all the same words ');
    const file = await kept(bytes, 'sealed');
    const stored = await chunks(file);
    expect(stored).toHaveLength(3);
    for (const { body } of stored) {
      expect(body.length).toBeLessThan(2 ** 20);
      expect(body.includes('same words')).toBe(false);
    }
    expect(stored[2]!.body.length).toBe(1_024 + 28);
  });

  test('stays with its version: also when that is replaced, or deleted', async () => {
    const [one, two] = [randomBytes(chunkBytes + 1), randomBytes(chunkBytes + 2)];
    await kept(one, 'versions');
    await kept(two, 'versions');
    await on.remove('Binary', 'versions');
    expect(await on.store.read('Binary', 'versions')).toMatchObject({ versionId: 3, deleted: true });
    const first = await on.store.vread('Binary', 'versions', 1);
    const second = await on.store.vread('Binary', 'versions', 2);
    expect((await whole(first!.file!)).equals(one)).toBe(true);
    expect((await whole(second!.file!)).equals(two)).toBe(true);
    expect(first!.bytes.toString()).not.toContain(first!.file!.id);
    // What the version says of its content is what the audit trail keeps of it.
    expect(new Set(on.facts.filter(({ id }) => id === 'versions').map(({ hash }) => hash)).size).toBe(3);
  });

  test('beyond the limit is refused, and nothing of it stays', async () => {
    const before = await count();
    expect(await code(files.receive(pieces(randomBytes(3 * chunkBytes)), 2 * chunkBytes))).toBe('too-large');
    expect(await count()).toEqual(before);
  });

  test('whose sender goes away leaves nothing', async () => {
    const before = await count();
    async function* broken(): AsyncGenerator<Buffer> {
      yield* pieces(randomBytes(2 * chunkBytes + 5));
      throw new TypeError('gone');
    }
    await expect(files.receive(broken(), limit)).rejects.toThrow('gone');
    expect(await count()).toEqual(before);
  });

  test('that a crashed process left is swept; what a version refers to is not', async () => {
    const file = await kept(randomBytes(chunkBytes + 1), 'kept');
    const left = await files.receive(pieces(randomBytes(chunkBytes + 1)), limit);
    expect(await files.sweep()).toBe(0);
    const eager = new Files({ app: on.app, keyring: on.keyring, tenant, staleMs: -1_000 });
    expect(await eager.sweep()).toBe(1);
    expect(await chunks(left)).toEqual([]);
    // Too late: it cannot come to be referred to any more.
    expect(await code(on.store.write(on.store.prepare(binary, 'late', undefined, left), on.auditOf))).toBe('unavailable');
    expect(await on.store.read('Binary', 'late')).toBeUndefined();
    expect((await whole(file)).length).toBe(chunkBytes + 1);
    await files.discard(file);
    expect((await whole(file)).length).toBe(chunkBytes + 1);
  });

  test('of a write that is refused stays out of sight', async () => {
    await kept(randomBytes(chunkBytes + 1), 'stale');
    const file = await files.receive(pieces(randomBytes(chunkBytes + 1)), limit);
    expect(await code(on.store.write(on.store.prepare(binary, 'stale', undefined, file), on.auditOf, { ifMatch: 7 }))).toBe('version-stale');
    await files.discard(file);
    expect(await chunks(file)).toEqual([]);
  });
});

describe('Chunks', () => {
  const tampered = async (change: (all: { _id: Buffer; key: string; body: Buffer }[]) => Promise<unknown>): Promise<string> => {
    const file = await files.receive(pieces(Buffer.concat([Buffer.alloc(chunkBytes, 1), Buffer.alloc(chunkBytes, 2), Buffer.alloc(chunkBytes, 3)])), limit);
    await change(await chunks(file));
    return code(whole(file));
  };
  const collection = () => on.app.db!.collection<{ _id: Buffer; key: string; body: Buffer }>('file_chunks');
  const put = (_id: Buffer, body: Buffer) => collection().updateOne({ _id }, { $set: { body } });

  test('cannot be altered, swapped, left out or taken from another file', async () => {
    const other = await files.receive(pieces(randomBytes(3 * chunkBytes)), limit);
    const [foreign] = await chunks(other);
    expect(await tampered(async () => undefined)).toBe('done');
    expect(await tampered(async ([first]) => { first!.body[100]! ^= 1; await put(first!._id, first!.body); })).toBe('integrity-failure');
    expect(await tampered(async ([first, second]) => { await put(first!._id, second!.body); await put(second!._id, first!.body); })).toBe('integrity-failure');
    expect(await tampered(async ([, second]) => collection().deleteOne({ _id: second!._id }))).toBe('integrity-failure');
    expect(await tampered(async ([first]) => put(first!._id, foreign!.body))).toBe('integrity-failure');
  });

  test('cannot end a file early, nor late, whatever its manifest says', async () => {
    const file = await files.receive(pieces(randomBytes(3 * chunkBytes)), limit);
    expect(await code(whole({ ...file, chunks: 2, sizeBytes: 2 * chunkBytes }))).toBe('integrity-failure');
    expect(await code(whole({ ...file, chunks: 4, sizeBytes: 3 * chunkBytes + 1 }))).toBe('integrity-failure');
    expect(await code(whole({ ...file, sha256: '0'.repeat(64) }))).toBe('integrity-failure');
  });
});
