import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { openMongoose } from '../../../server/mongo/connect.ts';
import { startEmbeddedMongo, type EmbeddedMongo, type EmbeddedMongoOptions } from '../../../server/mongo/embedded.ts';
import { freePort, orphanOf } from '../../../server/mongo/mongod-process.ts';
import { silentLog } from '../../../server/observe/log.ts';

const program = process.env['INTERLOCK_TEST_MONGOD'] ?? '';
let directory: string;
let dataDir: string;
let keysDir: string;
const running: EmbeddedMongo[] = [];
const children: ChildProcess[] = [];
const servers: Server[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'interlock-embedded-'));
  dataDir = join(directory, 'data');
  keysDir = join(directory, 'keys');
});

afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const mongo of running.splice(0)) await mongo.stop(0).catch(() => undefined);
  rmSync(directory, { recursive: true, force: true });
});

async function start(options: Partial<EmbeddedMongoOptions> = {}): Promise<EmbeddedMongo> {
  const mongo = await startEmbeddedMongo({ dataDir, keysDir, mongod: { path: program, version: 'as given' }, log: silentLog, ...options });
  running.push(mongo);
  return mongo;
}

async function put(uri: string, text: string): Promise<void> {
  const connection = await openMongoose(uri);
  await connection.collection('notes').insertOne({ text });
  await connection.close();
}

async function texts(uri: string): Promise<unknown[]> {
  const connection = await openMongoose(uri, { serverSelectionTimeoutMs: 30_000 });
  const found = await connection.collection('notes').find({}).sort({ _id: 1 }).toArray();
  await connection.close();
  return found.map(({ text }) => text as unknown);
}

/** Another process on the same directories; resolves to its first line. */
async function startElsewhere(): Promise<{ child: ChildProcess; answer: { pid?: number; port?: number; appUri?: string; code?: string } }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'hold.ts'), dataDir, keysDir, program], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, answer: JSON.parse(line.toString()) };
}

async function occupy(port: number): Promise<void> {
  const server = createServer((socket) => socket.destroy());
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
}

describe('data', () => {
  test('outlives a restart, on the same port', async () => {
    const first = await start();
    await put(first.appUri, 'kept');
    await first.stop();
    const second = await start();
    expect(second.port).toBe(first.port);
    expect(second.adopted).toBe(false);
    expect(await texts(second.appUri)).toEqual(['kept']);
  });

  test('outlives kill -9 of mongod, which is started again by itself', async () => {
    const mongo = await start();
    await put(mongo.appUri, 'acknowledged');
    const before = mongo.pid();
    process.kill(before, 'SIGKILL');
    await expect(texts(mongo.appUri)).resolves.toEqual(['acknowledged']);
    expect(mongo.pid()).not.toBe(before);
  });

  test('a stop while mongod is being started again leaves none behind', async () => {
    const mongo = await start();
    for (const waitMs of [0, 30, 300]) {
      const again = waitMs === 0 ? mongo : await start();
      const before = again.pid();
      process.kill(before, 'SIGKILL');
      await delay(waitMs);
      await again.stop();
      expect(orphanOf(again.dbDir)).toBeUndefined();
    }
  });

  test('is taken over, still running, after kill -9 of the server', async () => {
    const { child, answer } = await startElsewhere();
    await put(answer.appUri!, 'before');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const mongo = await start();
    expect(mongo.adopted).toBe(true);
    expect(mongo.pid()).toBe(answer.pid);
    expect(await texts(mongo.appUri)).toEqual(['before']);
    await mongo.stop();
    expect(existsSync(`/proc/${answer.pid!}`) && readFileSync(`/proc/${answer.pid!}/cmdline`, 'utf8') !== '').toBe(false);
    expect(await texts((await start()).appUri)).toEqual(['before']);
  });

  test('is there after kill -9 of both', async () => {
    const { child, answer } = await startElsewhere();
    await put(answer.appUri!, 'before');
    child.kill('SIGKILL');
    process.kill(answer.pid!, 'SIGKILL');
    await once(child, 'exit');
    const mongo = await start();
    expect(mongo.adopted).toBe(false);
    expect(await texts(mongo.appUri)).toEqual(['before']);
  });

  test('of a first start that was cut off is begun again', async () => {
    const first = await start();
    await put(first.appUri, 'never acknowledged');
    await first.stop();
    writeFileSync(join(dataDir, 'mongo', 'state.json'), JSON.stringify({ phase: 'initialising', port: first.port }));
    expect(await texts((await start()).appUri)).toEqual([]);
  });
});

describe('start is refused', () => {
  test('while another process uses the directory; afterwards it works', async () => {
    const { child } = await startElsewhere();
    await expect(start()).rejects.toMatchObject({ code: 'data-locked', message: expect.stringContaining(`process ${child.pid!}`) });
    child.kill('SIGKILL');
    await once(child, 'exit');
    await expect(start()).resolves.toBeDefined();
    expect((await startElsewhere()).answer).toEqual({ code: 'data-locked' });
  });

  test('when the configured port is taken', async () => {
    const port = await freePort();
    await occupy(port);
    await expect(start({ port })).rejects.toMatchObject({ code: 'mongod-port-taken' });
  });

  test('when the disk is full', async () => {
    await expect(start({ minFreeBytes: Number.MAX_SAFE_INTEGER })).rejects.toMatchObject({ code: 'disk-full' });
  });

  test('when state or passwords are gone, or are others, though there is data', async () => {
    await (await start()).stop();
    const stateFile = join(dataDir, 'mongo', 'state.json');
    const state = readFileSync(stateFile, 'utf8');
    rmSync(stateFile);
    await expect(start()).rejects.toMatchObject({ code: 'data-damaged' });
    writeFileSync(stateFile, state);
    const passwordFile = join(keysDir, 'mongo', 'passwords.json');
    const passwords = JSON.parse(readFileSync(passwordFile, 'utf8')) as Record<string, string>;
    writeFileSync(passwordFile, JSON.stringify({ ...passwords, root: 'of another installation' }));
    await expect(start()).rejects.toMatchObject({ code: 'key-wrong' });
    rmSync(passwordFile);
    await expect(start()).rejects.toMatchObject({ code: 'key-missing' });
    writeFileSync(passwordFile, JSON.stringify(passwords));
    await expect(start()).resolves.toBeDefined();
  });

  test('when the program is not there, or is something else', async () => {
    await expect(start({ mongod: { path: join(directory, 'none'), version: '' } })).rejects.toMatchObject({ code: 'mongod-failed' });
    await expect(start({ mongod: { path: '/bin/false', version: '' } })).rejects.toMatchObject({ code: 'mongod-failed', message: expect.stringContaining('exit code 1') });
  });

  test('when the keys would lie in the data directory', async () => {
    await expect(start({ keysDir: join(dataDir, 'keys') })).rejects.toMatchObject({ code: 'keys-inside-data' });
  });
});

describe('ports', () => {
  test('another one is taken, and told to the replica set, when a stranger has the usual one or the operator names one', async () => {
    const first = await start();
    await put(first.appUri, 'kept');
    await first.stop();
    await occupy(first.port);
    const second = await start();
    expect(second.port).not.toBe(first.port);
    expect(await texts(second.appUri)).toEqual(['kept']);
    await second.stop();
    const port = await freePort();
    const third = await start({ port });
    expect(third.port).toBe(port);
    expect(await texts(third.appUri)).toEqual(['kept']);
  });
});

test('nobody gets in without TLS, client certificate and password; zlib is not offered; secrets are private; Ctrl-C is kept away', async () => {
  const mongo = await start();
  const plain = connectTcp(mongo.port, '127.0.0.1');
  // The head of an OP_MSG: a server without TLS would read it.
  plain.write(Buffer.from('15000000010000000000000000000000dd0700000000000000', 'hex'));
  const received: Buffer[] = [];
  plain.on('data', (chunk) => received.push(chunk)).on('error', () => undefined);
  await once(plain, 'close');
  expect(received).toEqual([]);

  const ca = readFileSync(join(keysDir, 'mongo', 'ca.crt'));
  const outcome = await new Promise<string>((resolve) => {
    const socket = connectTls({ host: '127.0.0.1', port: mongo.port, ca });
    socket.on('error', (error) => resolve((error as { code?: string }).code ?? '')).on('close', () => resolve('closed'));
  });
  expect(outcome).toMatch(/ALERT|ECONNRESET|closed/);

  const anonymous = await openMongoose(mongo.appUri.replace(/\/\/[^@]*@/, '//').replace('&authSource=admin', ''));
  await expect(anonymous.collection('notes').findOne({})).rejects.toMatchObject({ code: 13 });
  const admin = anonymous.getClient().db('admin');
  await expect(admin.command({ createUser: 'second', pwd: 'x', roles: ['root'] })).rejects.toMatchObject({ code: 13 });
  expect(await admin.command({ hello: 1, compression: ['zlib', 'snappy'] })).toMatchObject({ compression: ['snappy'] });
  await anonymous.close();

  const secrets = join(keysDir, 'mongo');
  expect(readdirSync(secrets).sort()).toEqual(['ca.crt', 'client.pem', 'keyfile', 'passwords.json', 'server.pem']);
  for (const name of readdirSync(secrets)) expect((statSync(join(secrets, name)).mode & 0o777).toString(8)).toBe('600');
  expect(readFileSync(join(dataDir, 'mongo', 'mongod.log'), 'utf8')).not.toContain(new URL(mongo.rootUri).password);

  if (!existsSync('/proc/self/stat')) return;
  const groupOf = (pid: number): string => readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')[2]!;
  expect(groupOf(mongo.pid())).not.toBe(groupOf(process.pid));
});
