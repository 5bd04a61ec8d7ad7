import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { paddedBytes } from '../../../server/storage/body.ts';
import type { StoredDocument } from '../../../server/storage/document.ts';
import { observation, patient, testStore, type TestStore } from './support.ts';

let on: TestStore;
beforeAll(async () => {
  on = await testStore();
});
afterAll(() => on.close());

const canary = 'Zanzibarquist';

describe('what is at rest', () => {
  test('holds no content: no name, code, type, id or date of the record', async () => {
    await on.put(patient({ id: canary, name: [{ family: canary, text: `Dr ${canary}` }], identifier: [{ system: `urn:${canary}`, value: canary }] }), canary, 0);
    await on.put(patient({ name: [{ family: canary }] }), canary);
    await on.put(observation(canary, { code: { text: canary }, valueString: canary }), `o-${canary}`, 0);
    await on.remove('Observation', `o-${canary}`);
    const rows = [...(await on.app.db!.collection('resources').find({}, { raw: true }).toArray()), ...(await on.app.db!.collection('versions').find({}, { raw: true }).toArray())] as unknown as Buffer[];
    expect(rows).toHaveLength(4);
    const bytes = Buffer.concat(rows);
    const forms = [canary, 'Patient', 'Observation', '1975', '718-7', 'laboratory', 'female'].flatMap((text) => [Buffer.from(text), Buffer.from(text.toLowerCase()), Buffer.from(text, 'utf16le'), Buffer.from(Buffer.from(text).toString('hex')), Buffer.from(Buffer.from(text).toString('base64').slice(0, -4))]);
    for (const form of forms) if (form.length > 3) expect(bytes.includes(form)).toBe(false);
    // The same look at what was meant to be hidden does find it.
    expect((await on.store.read('Patient', canary))!.bytes.includes(canary)).toBe(true);
  });

  test('is of the documented form', async () => {
    const [document] = (await on.raw('resources')).filter(({ del }) => !del);
    expect(Object.keys(document!)).toEqual(['_id', 't', 'vid', 'at', 'del', 'o', 'w', 'key', 'body', 'x', 's', 'audit', 'mac']);
    expect(document!._id).toHaveLength(16);
    expect(document!.x.every((token) => token.length === 12)).toBe(true);
    expect(document!.w).toBe(on.epoch.id);
    expect(typeof document!.o).toBe('bigint');
    const tombstone = (await on.raw('resources')).find(({ del }) => del)!;
    expect([tombstone.x.length, tombstone.s.length]).toEqual([0, 0]);
    for (const past of await on.raw('versions')) expect([past._id.length, past.x.length, past.s.length]).toEqual([20, 0, 0]);
  });

  test('equal content gives different bytes, and lengths tell little', async () => {
    await on.put(patient(), 'same-1', 0);
    await on.put(patient(), 'same-2', 0);
    const [a, b] = (await on.raw('resources')).slice(-2);
    expect(a!.body.equals(b!.body) || a!.s.equals(b!.s) || a!._id.equals(b!._id)).toBe(false);
    expect(a!.body.length).toBe(b!.body.length);
    const sizes = new Set(Array.from({ length: 50_000 }, (_, index) => paddedBytes(index * 20)));
    expect(sizes.size).toBeLessThan(300);
    for (const bytes of [0, 255, 257, 1_000, 4_097, 999_999]) {
      expect(paddedBytes(bytes)).toBeGreaterThanOrEqual(bytes);
      expect(paddedBytes(bytes)).toBeLessThanOrEqual(Math.max(256, bytes * 1.12));
    }
  });
});

describe('what was altered in the database', () => {
  const resources = () => on.app.db!.collection<{ _id: Buffer }>('resources');
  let one: StoredDocument;
  let other: StoredDocument;
  const restore = async () => {
    for (const { _id, ...rest } of [one, other]) await resources().replaceOne({ _id }, rest, { upsert: true });
  };
  const flipped = (bytes: Buffer): Buffer => {
    const copy = Buffer.from(bytes);
    copy[copy.length >> 1]! ^= 1;
    return copy;
  };

  beforeAll(async () => {
    await on.put(patient({ name: [{ family: 'One' }] }), 't1', 0);
    await on.put(patient({ name: [{ family: 'Two' }] }), 't1');
    await on.put(patient({ name: [{ family: 'Other' }] }), 't2', 0);
    const rows = await on.raw('resources');
    [one, other] = [rows.at(-2)!, rows.at(-1)!];
  });
  const changes: readonly (readonly [string, (document: StoredDocument) => object])[] = [
    ['type code', ({ t }) => ({ t: t + 1 })],
    ['version', ({ vid }) => ({ vid: vid + 1 })],
    ['time', ({ at }) => ({ at: new Date(at.getTime() + 1) })],
    ['deletion', () => ({ del: true })],
    ['order', ({ o }) => ({ o: o + 1n })],
    ['epoch', () => ({ w: 'another' })],
    ['key', () => ({ key: 'AAAAAAAAAAA' })],
    ['key of another purpose', ({ s }) => ({ key: s.toString('latin1', 1, 1 + s[0]!) })],
    ['body', ({ body }) => ({ body: flipped(body) })],
    ['token', ({ x }) => ({ x: [flipped(x[0]!), ...x.slice(1)] })],
    ['token removed', ({ x }) => ({ x: x.slice(1) })],
    ['tokens in another order', ({ x }) => ({ x: [x[1]!, x[0]!, ...x.slice(2)] })],
    ['columns', ({ s }) => ({ s: flipped(s) })],
    ['audit entry', ({ audit }) => ({ audit: flipped(audit) })],
    ['mac', ({ mac }) => ({ mac: flipped(mac) })],
    ['mac cut', ({ mac }) => ({ mac: mac.subarray(0, 4) })],
    ['body of another', () => ({ body: other.body })],
    ['body and mac of another', () => ({ body: other.body, mac: other.mac })],
    ['everything of another', () => { const { _id, ...rest } = other; return rest; }],
    ['a field added', () => ({ extra: 1 })],
    ['a field of another kind', () => ({ body: 'text' })],
    ['a field null', () => ({ x: null })],
  ];
  test.each(changes)('is not released: %s', async (_name, change) => {
    expect((await on.store.read('Patient', 't1'))!.versionId).toBe(2);
    await resources().updateOne({ _id: one._id }, { $set: change(one) });
    try {
      await expect(on.store.read('Patient', 't1')).rejects.toMatchObject({ code: expect.stringMatching(/^(integrity-failure|key-missing)$/) });
      // Nor is anything built on it.
      if (_name !== 'key') await expect(on.put(patient(), 't1')).rejects.toMatchObject({ code: 'integrity-failure' });
    } finally {
      await restore();
    }
  });

  test('is not released: a field removed', async () => {
    await resources().updateOne({ _id: one._id }, { $unset: { audit: 1 } });
    await expect(on.store.read('Patient', 't1')).rejects.toMatchObject({ code: 'integrity-failure' });
    await restore();
  });

  test('is not released: a past version in place of another, or of the current one', async () => {
    const versions = on.app.db!.collection<{ _id: Buffer }>('versions');
    const past = (await on.raw('versions')).find(({ _id }) => _id.subarray(0, 16).equals(one._id))!;
    const { _id, ...rest } = past;
    await resources().replaceOne({ _id: one._id }, rest);
    await expect(on.store.read('Patient', 't1')).rejects.toMatchObject({ code: 'integrity-failure' });
    await restore();
    const { _id: _ignored, ...current } = one;
    await versions.replaceOne({ _id }, current);
    await expect(on.store.history({ type: 'Patient', id: 't1', count: 5 })).rejects.toMatchObject({ code: 'integrity-failure' });
    await versions.replaceOne({ _id }, rest);
    expect((await on.store.history({ type: 'Patient', id: 't1', count: 5 })).versions).toHaveLength(2);
  });
});
