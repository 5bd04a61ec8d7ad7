import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { mongo as driver } from 'mongoose';
import { leafHash, merkleRoot, hashOfBlock, streamOf, type Block } from '../../../server/audit/block.ts';
import { checkpointCollection, Checkpoints, type StoredCheckpoint } from '../../../server/audit/checkpoints.ts';
import { lineOf, logRecords } from '../../../server/audit/log-records.ts';
import { proveInclusion } from '../../../server/audit/proofs.ts';
import { hashOf, keysOf, leafOfEntry } from '../../../server/audit/standalone/format.ts';
import { LogVerifier, type Report } from '../../../server/audit/standalone/log.ts';
import { auditCollection, openAuditTrail, type OpenAuditTrail } from '../../../server/audit/trail.ts';
import { openWitnesses } from '../../../server/audit/witnesses.ts';
import { LocalKeyProvider } from '../../../server/kms/local-provider.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { Pki } from '../../../server/pki/pki.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';
import { fill, tenant, testKeyring } from './support.ts';

let mongo: TestMongo;
let keys: Awaited<ReturnType<typeof testKeyring>>;
let trail: OpenAuditTrail;
let directory: string;
const faults: string[] = [];
const open = (more: Partial<Parameters<typeof Checkpoints.open>[0]> = {}): Promise<Checkpoints> =>
  Checkpoints.open({ audit: mongo.audit, keyring: keys.keyring, tenant, keysDir: keys.keysDir, log: silentLog, intervalMs: 0, onFault: (what) => faults.push(what), ...more });

beforeAll(async () => {
  [mongo, keys] = await Promise.all([testMongo(), testKeyring()]);
  directory = mkdtempSync(join(tmpdir(), 'interlock-witness-'));
  trail = await openAuditTrail({ audit: mongo.audit, keyring: keys.keyring, tenant, epochId: 'a', log: silentLog });
});
afterAll(async () => {
  await trail.close();
  keys.close();
  rmSync(directory, { recursive: true });
  await mongo.drop();
});

async function verify(checkpoints: Checkpoints): Promise<Report> {
  const verifier = new LogVerifier(keysOf(checkpoints.signer.publicKeys()), [checkpoints.remembered()].filter((one) => one !== undefined));
  for await (const record of logRecords(mongo.audit, tenant)) verifier.accept(record);
  return verifier.finish();
}

test('what is new is signed; nothing new, no checkpoint; two processes make one chain', async () => {
  const [one, other] = [await open(), await open()];
  await fill(trail, 3);
  await Promise.all([one.make(), other.make(), one.make(), other.make()]);
  expect(one.last).toMatchObject({ n: 1, entries: 3, blocks: [['a', 0, 3, trail.head()!.hash.toString('hex')]] });
  expect((await one.make())?.n).toBe(1);
  await fill(trail, 2);
  await Promise.all([other.make(), one.make()]);
  expect([one.last?.n, other.last?.n]).toEqual([2, 2]);
  expect(await verify(one)).toMatchObject({ ok: true, checkpoints: 2, entries: 5, unanchored: { entries: 0 } });
});

test('one is made by itself after an interval, and after so many entries', async () => {
  const timed = await open({ intervalMs: 50 });
  await fill(trail, 1);
  const deadline = performance.now() + 10_000;
  while (timed.last?.entries !== 6 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(timed.last?.entries).toBe(6);
  await timed.close();
  const counting = await open({ everyEntries: 2 });
  await fill(trail, 2);
  counting.count(1);
  counting.count(1);
  while (counting.last?.entries !== 8 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(counting.last?.entries).toBe(8);
});

test('the old key signs the new one, and nothing after it', async () => {
  const checkpoints = await open();
  const before = checkpoints.last!;
  const said = await checkpoints.rotate();
  expect(said).toMatchObject({ key: before.key, next: expect.any(String) });
  await fill(trail, 1);
  expect((await checkpoints.make())?.key).not.toBe(before.key);
  expect((await open()).last?.n).toBe(said.n + 1);
  expect(keysOf(checkpoints.signer.publicKeys())).toHaveLength(2);
  expect(statSync(join(keys.keysDir, 'audit-signing.key')).mode & 0o777).toBe(0o600);
  expect((await verify(checkpoints)).ok).toBe(true);
  // Whoever has the first key alone follows the chain.
  const first = new LogVerifier(keysOf(checkpoints.signer.publicKeys()).slice(0, 1));
  for await (const record of logRecords(mongo.audit, tenant)) first.accept(record);
  expect(first.finish().ok).toBe(true);
});

test('the separate program checks an export, a part of it, and a proof', async () => {
  const checkpoints = await open();
  const program = join(import.meta.dirname, '../../../server/audit/standalone/verify.ts');
  const run = async (file: string): Promise<string> => (await promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', program, file, '--key', join(keys.keysDir, 'audit-signing.pub')])).stdout;
  const [whole, part, proof] = ['whole', 'part', 'proof'].map((name) => join(directory, name)) as [string, string, string];
  for (const [file, range] of [[whole, {}], [part, { from: 2, until: 3 }]] as const) {
    let text = '';
    for await (const record of logRecords(mongo.audit, tenant, range)) text += `${lineOf(record)}\n`;
    writeFileSync(file, text);
  }
  const block = (await mongo.audit.collection<Block>(auditCollection).findOne({ n: 2 }, { promoteBuffers: true }))!;
  writeFileSync(proof, JSON.stringify(await proveInclusion(mongo.audit, tenant, block.e[0]!.i)));
  expect(await run(whole)).toContain(`unaltered: ${checkpoints.last!.entries} entries`);
  expect(await run(part)).toContain('unaltered: 3 entries');
  expect(await run(proof)).toContain(`proved: entry ${block.e[0]!.i.toString('hex')}`);
  writeFileSync(whole, readFileSync(whole, 'utf8').replace('"n":2,"at":1', '"n":2,"at":2'));
  await expect(run(whole)).rejects.toMatchObject({ code: 2, stdout: expect.stringContaining('block-altered: stream a, block 2') });
  // Two implementations of the same format.
  expect(leafOfEntry(block.e[0]!)).toEqual(leafHash(block.e[0]!));
  expect(hashOf(tenant, 'a', { ...block, at: block.at.getTime(), to: block.to.getTime(), heads: null }, block.e.length, merkleRoot(block.e.map(leafHash)))).toEqual(hashOfBlock(tenant, { ...block, stream: streamOf(block._id) }));
});

test('witnesses get every checkpoint once they are there again', async () => {
  const dirs = ['data', 'keys'].map((name) => join(directory, name)) as [string, string];
  const pki = await Pki.open({ dataDir: dirs[0], keysDir: dirs[1], hosts: ['localhost'], protect: LocalKeyProvider.open(dirs[1], true), log: silentLog });
  const got: number[] = [];
  let refusals = 2;
  const server: Server = createServer(pki.tlsOptions('none'), (request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString())).on('end', () => {
      response.statusCode = (refusals -= 1) >= 0 ? 500 : 204;
      if (response.statusCode === 204) got.push((JSON.parse(body) as { n: number }).n);
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const kept = join(directory, 'kept');
  const witnesses = openWitnesses({ audit: mongo.audit, log: silentLog, directory: kept, url: `https://localhost:${(server.address() as AddressInfo).port}/`, progressFile: join(directory, 'progress'), ca: [pki.caPem], firstRetryMs: 10 });
  const checkpoints = await open({ onCheckpoint: () => witnesses.notify() });
  await fill(trail, 1);
  const { n } = (await checkpoints.make())!;
  const deadline = performance.now() + 10_000;
  while ((got.length < n || readdirSync(kept).length < n) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
  await witnesses.close();
  server.close();
  pki.close();
  expect(got).toEqual(Array.from({ length: n }, (_, index) => index + 1));
  expect(readdirSync(kept)).toHaveLength(n);
  expect(JSON.parse(readFileSync(join(kept, `checkpoint-${String(n).padStart(10, '0')}.json`), 'utf8'))).toEqual(checkpoints.last);
});

test('blocks that were altered before they were signed are reported, not signed; a database that was set back is noticed', async () => {
  expect(faults).toEqual([]);
  const checkpoints = await open();
  const blocks: driver.Collection<Block> = mongo.auditRoot.collection<Block>(auditCollection);
  await fill(trail, 1);
  const newest = (await blocks.find({}, { sort: { n: -1 }, limit: 1, promoteBuffers: true }).toArray())[0]!;
  await blocks.updateOne({ _id: newest._id }, { $set: { at: new Date(0) } });
  const { n } = (await checkpoints.make())!;
  expect(faults).toEqual([expect.stringContaining('altered')]);
  await blocks.replaceOne({ _id: newest._id }, newest);
  expect((await checkpoints.make())?.n).toBe(n + 1);
  const stored = mongo.auditRoot.collection<StoredCheckpoint>(checkpointCollection);
  await stored.deleteOne({ _id: n + 1 });
  const again = await open();
  expect(faults.at(-1)).toContain('set back');
  expect((await verify(again)).faults[0]).toMatchObject({ code: 'rolled-back', checkpoint: n + 1 });
});
