import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AwsV4Signer } from 'aws4fetch';
import { s3Place } from '../../../server/audit/archive-place.ts';
import { openWitnesses } from '../../../server/audit/witnesses.ts';
import { openS3, type S3Bucket } from '../../../server/delivery/s3.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { testMongo } from '../../support/mongo.ts';
import { until } from './receivers.ts';

// A real S3 server: https://github.com/versity/versitygw, `go install github.com/versity/versitygw/cmd/versitygw@latest`.
const program = process.env['INTERLOCK_TEST_VERSITYGW'] ?? 'versitygw';
const isThere = spawnSync(program, ['--version']).status === 0;
if (!isThere) console.warn('Skipped: S3. versitygw is not on the PATH, nor named in INTERLOCK_TEST_VERSITYGW.');

(isThere ? describe : describe.skip)('against an S3 server', () => {
  let directory: string;
  let gateway: ChildProcess;
  let port: number;
  let bucket: S3Bucket;
  const keys = { accessKeyId: 'test-access', secretAccessKey: randomBytes(16).toString('hex') };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'interlock-s3-'));
    for (const name of ['objects', 'versions', 'keys', 'scratch']) mkdirSync(join(directory, name));
    writeFileSync(join(directory, 'keys', 's3-credentials.json'), JSON.stringify(keys));
    port = await freePort();
    gateway = spawn(program, ['--port', `127.0.0.1:${port}`, '--access', keys.accessKeyId, '--secret', keys.secretAccessKey, 'posix', '--versioning-dir', join(directory, 'versions'), join(directory, 'objects')], { stdio: 'ignore' });
    const deadline = performance.now() + 30_000;
    while (performance.now() < deadline && !(await fetch(`http://127.0.0.1:${port}/`).then(() => true, () => false))) await new Promise((resolve) => setTimeout(resolve, 100));
    for (const [name, headers] of [['plain', {}], ['locked', { 'x-amz-bucket-object-lock-enabled': 'true' }]] as const) {
      const signed = await new AwsV4Signer({ method: 'PUT', url: `http://127.0.0.1:${port}/${name}`, headers, service: 's3', region: 'us-east-1', ...keys }).sign();
      expect((await fetch(signed.url, { method: 'PUT', headers: signed.headers })).status).toBe(200);
    }
    bucket = openS3({ url: `http://127.0.0.1:${port}/plain/a/b?region=us-east-1`, keysDir: join(directory, 'keys') });
  });
  afterAll(async () => {
    const ended = new Promise((resolve) => gateway.once('exit', resolve));
    gateway.kill();
    await ended;
    rmSync(directory, { recursive: true });
  });

  test('what is put is got, as a whole, in parts, as a stream, and is listed', async () => {
    const content = randomBytes(3 * 2 ** 20 + 7);
    await bucket.put('audit-1-2.ndjson', content);
    await bucket.put('other', Buffer.alloc(0));
    expect((await bucket.get('audit-1-2.ndjson')).equals(content)).toBe(true);
    expect((await bucket.get('audit-1-2.ndjson', { from: 5, to: 1_000 })).equals(content.subarray(5, 1_000))).toBe(true);
    expect(await bucket.head('audit-1-2.ndjson')).toEqual({ sizeBytes: content.length });
    expect([await bucket.list(), await bucket.list('audit')]).toEqual([['audit-1-2.ndjson', 'other'], ['audit-1-2.ndjson']]);
    const file = join(directory, 'scratch', 'file');
    await bucket.download('audit-1-2.ndjson', file);
    await bucket.put('from-file', { file });
    expect(createHash('sha256').update(await bucket.get('from-file')).digest('hex')).toBe(createHash('sha256').update(content).digest('hex'));
    await bucket.remove('from-file');
    await bucket.remove('from-file');
    expect(await bucket.head('from-file')).toBeUndefined();
    await expect(bucket.get('from-file')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('a locked object stays, and can be read, until its time', async () => {
    const locked = openS3({ url: `http://127.0.0.1:${port}/locked`, keysDir: join(directory, 'keys') });
    const retainUntil = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000);
    await locked.put('checkpoint-1', Buffer.from('one'), { retainUntil, once: true });
    expect(await locked.head('checkpoint-1')).toMatchObject({ sizeBytes: 3, retainUntil });
    await expect(locked.put('checkpoint-1', Buffer.from('two'), { once: true })).rejects.toMatchObject({ code: 'version-conflict' });
    expect((await locked.get('checkpoint-1')).toString()).toBe('one');
  });

  test('a witness gets each checkpoint as a locked object, also when it forgot how far it was', async () => {
    const mongo = await testMongo();
    const stored = mongo.auditRoot.collection<{ _id: number; json: string }>('audit_checkpoints');
    const place = { url: `http://127.0.0.1:${port}/locked/witness`, keysDir: join(directory, 'keys') };
    const locked = openS3(place);
    const progressFile = join(directory, 'scratch', 'progress');
    const open = () => openWitnesses({ audit: mongo.audit, log: silentLog, progressFile: join(directory, 'scratch', 'unused'), s3: { ...place, retentionMs: 86_400_000, progressFile }, firstRetryMs: 10, maxRetryMs: 50 });
    const add = (n: number) => stored.insertOne({ _id: n, json: JSON.stringify({ n }) });
    await add(1);
    await add(2);
    let witnesses = open();
    witnesses.notify();
    await until(async () => (await locked.list()).length === 2);
    await witnesses.close();
    expect(JSON.parse(readFileSync(progressFile, 'utf8'))).toEqual({ newest: 2 });
    const { retainUntil } = (await locked.head('checkpoint-0000000002.json'))!;
    expect(retainUntil!.getTime() - Date.now()).toBeGreaterThan(86_000_000);
    rmSync(progressFile);
    await add(3);
    witnesses = open();
    witnesses.notify();
    await until(async () => (await locked.list()).length === 3);
    expect((await locked.get('checkpoint-0000000003.json')).toString()).toBe('{"n":3}\n');
    await witnesses.close();
    // One that does not say what was kept is not taken for kept.
    await stored.updateOne({ _id: 3 }, { $set: { json: '{"n":3,"forged":true}' } });
    await add(4);
    rmSync(progressFile);
    witnesses = open();
    witnesses.notify();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await witnesses.close();
    expect(await locked.list()).toHaveLength(3);
    await mongo.drop();
  });

  test('an archive place reads any part', async () => {
    const place = s3Place(bucket, join(directory, 'scratch'), false);
    const content = randomBytes(2 * 2 ** 20 + 99);
    const temporary = place.temporary('lines');
    writeFileSync(temporary, content);
    await place.put(temporary, 'audit-2');
    for (const [from, to] of [[0, 10], [2 ** 20 - 5, 2 ** 20 + 5], [0, content.length], [content.length - 3, content.length]] as const) expect((await place.read('audit-2', from, to)).equals(content.subarray(from, to))).toBe(true);
    expect((await place.list()).includes('audit-2')).toBe(true);
    await place.remove('audit-2');
    await expect(place.stream('audit-2')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('wrong keys, no server, no bucket: refused, with nothing of the answer in the text', async () => {
    const other = join(directory, 'scratch', 'keys');
    mkdirSync(other);
    const away = openS3({ url: `http://127.0.0.1:${port}/plain`, keysDir: other });
    await expect(away.list()).rejects.toMatchObject({ code: 'config-invalid' });
    writeFileSync(join(other, 's3-credentials.json'), JSON.stringify({ ...keys, secretAccessKey: 'wrong' }));
    await expect(away.list()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(openS3({ url: `http://127.0.0.1:${await freePort()}/plain`, keysDir: join(directory, 'keys') }).list()).rejects.toMatchObject({ code: 'unavailable' });
    expect(readFileSync(join(other, 's3-credentials.json'), 'utf8')).toContain('wrong');
  });
});

test.each(['http://s3.example/bucket', 'https://s3.example/', 'nothing'])('a URL without bucket or protection is refused', (url) => {
  expect(() => openS3({ url, keysDir: '/' })).toThrow(expect.objectContaining({ code: 'config-invalid' }));
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
