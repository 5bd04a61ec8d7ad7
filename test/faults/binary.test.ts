import { randomBytes } from 'node:crypto';
import { request } from 'node:https';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Connection } from 'mongoose';
import { Backend } from '../support/callers.ts';
import { mongodPid, rawMongo } from '../support/raw-mongo.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let backend: Backend;
const uploadTimeoutMs = 6_000;
const bytes = randomBytes(3_000_017);

beforeAll(async () => {
  server = await startTestServer({ INTERLOCK_UPLOAD_TIMEOUT_MS: String(uploadTimeoutMs) });
  backend = await Backend.register(server);
}, 120_000);
afterAll(async () => {
  backend.close();
  await server.remove();
});

interface Download { readonly status: number; readonly body: Buffer; readonly isWhole: boolean }

async function download(id: string, range?: string): Promise<Download> {
  const headers = { Authorization: `Bearer ${await backend.token()}`, Accept: '*/*', ...(range === undefined ? {} : { Range: range }) };
  return new Promise((resolve, reject) => {
    request(`${server.fhirUrl}/Binary/${id}`, { ca: server.ca, agent: false, headers }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', () => undefined);
      response.on('close', () => resolve({ status: response.statusCode!, body: Buffer.concat(parts), isWhole: response.complete }));
    }).on('error', reject).end();
  });
}

/** Sends some of an upload, then does something, then the rest. @returns the status, or undefined if the connection ended without one */
async function upload(between: () => Promise<void> | void, isRestSent = true): Promise<{ readonly status?: number; readonly id?: string }> {
  const headers = { 'Authorization': `Bearer ${await backend.token()}`, 'Content-Type': 'image/png', 'Content-Length': String(bytes.length), 'Prefer': 'return=minimal' };
  return new Promise((resolve) => {
    const sent = request(`${server.fhirUrl}/Binary`, { method: 'POST', ca: server.ca, agent: false, headers }, (response) => {
      response.resume();
      response.on('error', () => undefined);
      response.on('close', () => resolve({ status: response.statusCode!, ...(response.headers['location'] === undefined ? {} : { id: response.headers['location'].split('/').at(-3)! }) }));
    });
    sent.on('error', () => resolve({}));
    sent.write(bytes.subarray(0, 2_500_000), () => {
      // What came so far is on its way into chunks.
      setTimeout(() => void Promise.resolve(between()).then(() => (isRestSent ? sent.end(bytes.subarray(2_500_000)) : undefined)), 500);
    });
  });
}

const stored = async (): Promise<number> => (await backend.get<{ readonly total: number }>('Binary?_total=accurate&_summary=count')).total;
const connected = async <T>(work: (raw: Connection) => Promise<T>): Promise<T> => {
  const raw = await rawMongo(server);
  try {
    return await work(raw);
  } finally {
    await raw.close();
  }
};
/** The database that holds files. */
async function filesOf(raw: Connection): Promise<NonNullable<Connection['db']>> {
  const { databases } = await raw.db!.admin().listDatabases();
  for (const { name } of databases) {
    const db = raw.useDb(name).db!;
    if ((await db.listCollections({ name: 'file_chunks' }).toArray()).length > 0) return db;
  }
  throw new Error('There are no files');
}

describe('A Binary', () => {
  test('is given in parts that cross its chunks', async () => {
    const { id } = await upload(() => undefined);
    for (const [from, to] of [[1_000_000, 1_100_000], [0, 2_500_000], [1_048_575, 2_097_153]] as const) {
      const part = await download(id!, `bytes=${from}-${to - 1}`);
      expect([part.status, part.isWhole, part.body.equals(bytes.subarray(from, to))]).toEqual([206, true, true]);
    }
  });

  test('of which a chunk is damaged is cut off, never wrong, and on record', async () => {
    const { id } = await upload(() => undefined);
    await connected(async (raw) => {
      const chunks = (await filesOf(raw)).collection<{ _id: Buffer; body: Buffer }>('file_chunks');
      const newest = await chunks.find({}, { promoteBuffers: true }).sort({ $natural: -1 }).limit(1).next();
      newest!.body[1_000]! ^= 1;
      expect((await chunks.updateOne({ _id: newest!._id }, { $set: { body: newest!.body } })).modifiedCount).toBe(1);
    });
    const got = await download(id!);
    expect([got.isWhole, got.body.length < bytes.length, got.body.equals(bytes.subarray(0, got.body.length))]).toEqual([false, true, true]);
    const trail = await backend.get<{ entry?: readonly { resource: { outcome?: string; outcomeDesc?: string } }[] }>(`AuditEvent?entity=Binary/${id!}&outcome=8,4,12`);
    expect(trail.entry?.map(({ resource }) => resource.outcomeDesc)).toEqual([expect.stringContaining('integrity-failure')]);
  });

  test('that stops coming is answered by 408, and nothing of it is there', async () => {
    const before = await stored();
    expect((await upload(() => undefined, false)).status).toBe(408);
    expect(await stored()).toBe(before);
  }, 30_000);

  test('that comes while MongoDB stands still is stored whole or not at all', async () => {
    const before = await stored();
    const pid = mongodPid(server);
    let resumed: Promise<void> | undefined;
    const answer = await upload(() => {
      process.kill(pid, 'SIGSTOP');
      resumed = new Promise((resolve) => setTimeout(() => {
        process.kill(pid, 'SIGCONT');
        resolve();
      }, 2 * uploadTimeoutMs));
    });
    await resumed;
    expect([201, 408, 503, undefined]).toContain(answer.status);
    if (answer.id !== undefined) expect((await download(answer.id)).body.equals(bytes)).toBe(true);
    else expect(await stored()).toBe(before);
    // It recovers in its own time.
    let again = await upload(() => undefined);
    for (let attempt = 0; again.status !== 201 && attempt < 20; attempt += 1) {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      again = await upload(() => undefined);
    }
    expect(again.status).toBe(201);
    expect((await download(again.id!)).body.equals(bytes)).toBe(true);
  }, 120_000);

  test('whose upload a kill -9 ends is not there, and its chunks are swept', async () => {
    const before = await stored();
    expect((await upload(() => server.kill())).status).toBeUndefined();
    await server.restart();
    expect(await stored()).toBe(before);
    await connected(async (raw) => {
      const db = await filesOf(raw);
      const left = db.collection('files').find({ state: 'open' }, { promoteBuffers: true });
      expect((await left.toArray()).length).toBeGreaterThan(0);
      await db.collection('files').updateMany({ state: 'open' }, { $set: { at: new Date(0) } });
    });
    await server.kill();
    await server.restart();
    await connected(async (raw) => {
      const db = await filesOf(raw);
      for (let tries = 0; tries < 100 && (await db.collection('files').countDocuments({ state: { $exists: true } })) > 0; tries += 1) await new Promise((resolve) => setTimeout(resolve, 100));
      expect(await db.collection('files').countDocuments({ state: { $exists: true } })).toBe(0);
      // What is left belongs to files that versions refer to.
      const kept = new Set((await db.collection<{ _id: Buffer }>('files').find({}, { promoteBuffers: true }).toArray()).map(({ _id }) => _id.toString('hex')));
      const chunks = await db.collection<{ _id: Buffer }>('file_chunks').find({}, { promoteBuffers: true, projection: { _id: 1 } }).toArray();
      expect(chunks.filter(({ _id }) => !kept.has(_id.toString('hex', 0, 16)))).toEqual([]);
    });
    expect(await stored()).toBe(before);
  }, 120_000);
});
