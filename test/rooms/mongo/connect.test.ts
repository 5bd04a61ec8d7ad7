import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connectMongo, openMongoose, type ConnectMongoOptions, type MongoConnections } from '../../../server/mongo/connect.ts';
import { checkSeparation } from '../../../server/mongo/external.ts';
import { indexes } from '../../../server/mongo/indexes.ts';
import { freePort, takesConnections } from '../../../server/mongo/mongod-process.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';

let mongo: TestMongo;
let directory: string;

beforeAll(async () => {
  mongo = await testMongo();
  directory = mkdtempSync(join(tmpdir(), 'interlock-connect-'));
});

afterAll(async () => {
  await mongo.drop();
  rmSync(directory, { recursive: true, force: true });
});

function connect(options: Partial<ConnectMongoOptions>): Promise<MongoConnections> {
  const embedded = { dataDir: join(directory, 'data'), keysDir: join(directory, 'keys'), cacheDir: join(directory, 'cache'), configuredPath: process.env['INTERLOCK_TEST_MONGOD'] };
  return connectMongo({ log: silentLog, embedded, ...options });
}

/** The URI of a further user with these roles; dropped with the database's users. */
async function userWith(uri: string, roles: readonly unknown[]): Promise<string> {
  const admin = mongo.auditRoot.getClient().db('admin');
  const name = `extra_${Math.random().toString(36).slice(2)}`;
  await admin.command({ createUser: name, pwd: 'not-secret', roles, mechanisms: ['SCRAM-SHA-256'] });
  const own = new URL(uri);
  own.username = name;
  own.password = 'not-secret';
  return own.href;
}

const unsafe = (words: string): unknown => expect.objectContaining({ code: 'mongo-unsafe', message: expect.stringContaining(words) });

describe('the embedded MongoDB', () => {
  test('is used when no URI is given: two databases, two users, stopped at the end', async () => {
    const connections = await connect({});
    await connections.app.collection('keys').insertOne({ a: 1 });
    await connections.audit.collection('audit').insertOne({ a: 1 });
    await expect(connections.audit.collection('audit').deleteMany({})).rejects.toMatchObject({ code: 13 });
    await expect(connections.app.useDb(connections.audit.name).collection('audit').find({}).toArray()).rejects.toMatchObject({ code: 13 });
    expect(connections.app.getClient().options.writeConcern).toMatchObject({ w: 'majority', journal: true });
    const { port } = connections.embedded!;
    await connections.stop();
    expect(await takesConnections(port)).toBe(false);
  });
});

describe('another MongoDB', () => {
  test('is used when it is fit', async () => {
    const connections = await connect({ appUri: mongo.appUri, auditUri: mongo.auditUri });
    expect(connections.warnings).toEqual([]);
    expect(connections.embedded).toBeUndefined();
    await connections.audit.collection('audit').insertOne({ a: 1 });
    await connections.stop();
  });

  test('whose audit indexes are missing is used with a warning', async () => {
    const other = await testMongo();
    const declared = indexes.find(({ database, keys }) => database === 'audit' && keys !== undefined)!;
    await other.auditRoot.collection(declared.collection).dropIndexes();
    const connections = await connect({ appUri: other.appUri, auditUri: other.auditUri });
    expect(connections.warnings).toEqual([expect.stringContaining(`.${declared.collection} are missing`)]);
    await connections.stop();
    await other.drop();
  });

  test('needs both URIs, and they must be URIs', async () => {
    await expect(connect({ appUri: mongo.appUri })).rejects.toMatchObject({ code: 'config-invalid' });
    await expect(connect({ auditUri: mongo.auditUri })).rejects.toMatchObject({ code: 'config-invalid' });
    await expect(connect({ appUri: 'nonsense', auditUri: mongo.auditUri })).rejects.toMatchObject({ code: 'config-invalid' });
  });

  test('is refused when the audit writer may do more than find and insert', async () => {
    for (const roles of [[{ role: 'readWrite', db: mongo.audit.name }], ['root'], [{ role: 'readWriteAnyDatabase', db: 'admin' }]]) {
      await expect(connect({ appUri: mongo.appUri, auditUri: await userWith(mongo.auditUri, roles) })).rejects.toEqual(unsafe('AUDIT_MONGODB_URI'));
    }
    const [, , rightRole] = ['', '', `auditWriter_${mongo.audit.name.slice('audit_'.length)}`];
    await expect(connect({ appUri: mongo.appUri, auditUri: await userWith(mongo.auditUri, [rightRole, { role: 'userAdmin', db: 'other' }]) })).rejects.toEqual(unsafe('AUDIT_MONGODB_URI'));
  });

  test('is refused when the app user may write to the audit database', async () => {
    await expect(connect({ appUri: await userWith(mongo.appUri, ['root']), auditUri: mongo.auditUri })).rejects.toEqual(unsafe('MONGODB_URI'));
    const connections = await connect({ appUri: await userWith(mongo.appUri, [{ role: 'readWrite', db: mongo.app.name }, { role: 'read', db: mongo.audit.name }]), auditUri: mongo.auditUri });
    await connections.stop();
  });

  test('is refused with a wrong password, in bounded time, and the message holds no part of the URI', async () => {
    const wrong = mongo.appUri.replace(/:[^:@]*@/, ':wrong-password@');
    const startedAt = performance.now();
    const error: unknown = await connect({ appUri: wrong, auditUri: mongo.auditUri }).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'mongo-unreachable' });
    expect((error as Error).message).not.toMatch(/wrong-password|127\.0\.0\.1/);
    expect(performance.now() - startedAt).toBeLessThan(15_000);
  });
});

describe('a MongoDB without protection', () => {
  let child: ChildProcess;
  let uri: string;

  beforeAll(async () => {
    const port = await freePort();
    const dbDir = mkdtempSync(join(directory, 'plain-'));
    // As 6.0.5 comes: no TLS, no passwords, zlib offered.
    child = spawn(process.env['INTERLOCK_TEST_MONGOD']!, ['--dbpath', dbDir, '--port', String(port), '--bind_ip', '127.0.0.1', '--nounixsocket', '--replSet', 'plain', '--oplogSize', '16', '--quiet'], { stdio: 'ignore' });
    while (!(await takesConnections(port))) await delay(50);
    uri = `mongodb://127.0.0.1:${port}/?directConnection=true`;
  });

  afterAll(async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  });

  test('is refused step by step: no TLS, no replica set, zlib, no password', async () => {
    await expect(connect({ appUri: uri, auditUri: uri })).rejects.toEqual(unsafe('TLS'));
    await expect(connect({ appUri: uri, auditUri: uri, allowInsecureMongo: true })).rejects.toEqual(unsafe('replica set'));
    const plain = await openMongoose(uri, { database: 'interlock' });
    const admin = plain.getClient().db('admin');
    await admin.command({ replSetInitiate: {} });
    while ((await admin.command({ hello: 1 }))['isWritablePrimary'] !== true) await delay(50);
    const { version } = await admin.command({ buildInfo: 1 });
    if (String(version).startsWith('6.0.5')) await expect(connect({ appUri: uri, auditUri: uri, allowInsecureMongo: true })).rejects.toEqual(unsafe('CVE-2025-14847'));
    await expect(checkSeparation(plain, plain)).rejects.toEqual(unsafe('asks for no password'));
    await plain.close();
  });
});
