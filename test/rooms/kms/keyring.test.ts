import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Keyring, macPurposes, sealPurposes } from '../../../server/kms/keyring.ts';
import { LocalKeyProvider } from '../../../server/kms/local-provider.ts';
import { MongoKeyStore } from '../../../server/mongo/key-store.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';

let mongo: TestMongo;
let keysDir: string;
const rings: Keyring[] = [];

beforeAll(async () => {
  mongo = await testMongo();
});

afterAll(async () => {
  await mongo.drop();
});

beforeEach(() => {
  keysDir = mkdtempSync(join(tmpdir(), 'interlock-kms-'));
});

afterEach(async () => {
  for (const ring of rings.splice(0)) ring.close();
  rmSync(keysDir, { recursive: true, force: true });
  await mongo.app.collection('keys').deleteMany({});
});

async function open(options: { mayCreate?: boolean; nowMs?: () => number; onAccess?: (event: { outcome: string }) => void } = {}): Promise<Keyring> {
  const { mayCreate, ...rest } = options;
  const ring = await Keyring.open({ provider: LocalKeyProvider.open(keysDir, mayCreate ?? true), store: new MongoKeyStore(mongo.app), ...rest });
  rings.push(ring);
  return ring;
}

describe('data keys', () => {
  test('seal in one process and open in another and after a restart', async () => {
    const one = await open();
    const other = await open();
    const blob = one.sealBlob('resource', Buffer.from('content'), 'place');
    expect((await other.openBlob('resource', blob, 'place')).toString()).toBe('content');
    expect((await (await open({ mayCreate: false })).openBlob('resource', blob, 'place')).toString()).toBe('content');
    expect(one.mac('token', ['a', 'b']).equals(other.mac('token', ['a', 'b']))).toBe(true);
  });

  test('lie in the database wrapped only, one for each purpose', async () => {
    const ring = await open();
    const stored = await mongo.app.collection('keys').find({}).toArray();
    expect(stored).toHaveLength(sealPurposes.length + macPurposes.length);
    const inUse = sealPurposes.map((purpose) => ring.sealKey(purpose).key.export());
    const bytes = JSON.stringify(stored.map(({ wrapped }) => Buffer.from((wrapped as { value(): Uint8Array }).value()).toString('hex')));
    for (const key of inUse) expect(bytes).not.toContain(key.toString('hex'));
    expect(new Set(inUse.map((key) => key.toString('hex'))).size).toBe(sealPurposes.length);
  });

  test('do not open what another purpose, place or tenant sealed, nor a changed blob', async () => {
    const ring = await open();
    const blob = ring.sealBlob('resource', Buffer.from('content'), 'place');
    await expect(ring.openBlob('resource', blob, 'other place')).rejects.toMatchObject({ code: 'integrity-failure' });
    await expect(ring.openBlob('audit', blob, 'place')).rejects.toMatchObject({ code: 'integrity-failure' });
    for (const at of [blob.length - 1, blob.length - 20, 13]) {
      const changed = Buffer.from(blob);
      changed[at]! ^= 1;
      await expect(ring.openBlob('resource', changed, 'place')).rejects.toMatchObject({ code: 'integrity-failure' });
    }
  });

  test('are renewed after a day; what the old ones sealed stays readable', async () => {
    let nowMs = Date.now();
    const before = await open({ nowMs: () => nowMs });
    const blob = before.sealBlob('file', Buffer.from('content'), 'place');
    nowMs += 25 * 3600_000;
    const after = await open({ nowMs: () => nowMs });
    expect(after.sealKey('file').id).not.toBe(before.sealKey('file').id);
    expect((await after.openBlob('file', blob, 'place')).toString()).toBe('content');
    // The process that was there before fetches the new key when it meets it.
    expect((await before.openBlob('file', after.sealBlob('file', Buffer.from('newer'), 'place'), 'place')).toString()).toBe('newer');
    nowMs += 49 * 3600_000;
    expect(() => before.sealKey('file')).toThrow(expect.objectContaining({ code: 'unavailable' }));
  });

  test('made by two processes at once are the same', async () => {
    const [one, other] = await Promise.all([open(), open()]);
    for (const purpose of macPurposes) expect(one.mac(purpose, ['x']).equals(other.mac(purpose, ['x']))).toBe(true);
  });
});

describe('start is refused', () => {
  test('without the master key', async () => {
    await open();
    rmSync(join(keysDir, 'master-keys.json'));
    await expect(open({ mayCreate: false })).rejects.toMatchObject({ code: 'key-missing' });
  });

  test('with another master key, even under the same name, and each failed use is told', async () => {
    await open();
    const path = join(keysDir, 'master-keys.json');
    const { current } = JSON.parse(readFileSync(path, 'utf8')) as { current: string };
    rmSync(path);
    const outcomes: string[] = [];
    await expect(open({ onAccess: ({ outcome }) => outcomes.push(outcome) })).rejects.toMatchObject({ code: 'key-wrong' });
    expect(outcomes).toEqual(['failed']);
    writeFileSync(path, JSON.stringify({ current, keys: { [current]: Buffer.alloc(32, 7).toString('base64') } }));
    await expect(open()).rejects.toMatchObject({ code: 'key-wrong' });
    writeFileSync(path, '{"current":');
    await expect(open()).rejects.toMatchObject({ code: 'key-wrong' });
  });

  test('when a wrapped key was swapped for another', async () => {
    await open();
    const keys = mongo.app.collection('keys');
    const [one, other] = await keys.find({ kind: 'seal' }).limit(2).toArray();
    await keys.updateOne({ _id: one!._id }, { $set: { wrapped: other!['wrapped'] as unknown } });
    await expect(open()).rejects.toMatchObject({ code: 'key-wrong' });
  });
});

test('the master key file is private', async () => {
  await open();
  expect(statSync(join(keysDir, 'master-keys.json')).mode & 0o777).toBe(0o600);
});
