import mongoose, { type Connection, type mongo } from 'mongoose';
import { setTimeout as delay } from 'node:timers/promises';
import { InterlockError } from '../../resources/outcome/error.ts';
import { applyIndexes, collectionNames } from './indexes.ts';
import { replicaSet } from './mongod-process.ts';

/** Passwords of the database users. */
export interface MongoSecrets {
  readonly root: string;
  readonly app: string;
  readonly audit: string;
  readonly archiver: string;
}

/** How to reach a mongod on this machine. */
export interface MongodAddress {
  readonly port: number;
  /** Certificate and key that let a client in, PEM. */
  readonly clientPem: string;
  readonly caFile: string;
}

/** Database of everything but the audit trail. */
export const appDatabase = 'interlock';
/** Database of the audit trail. */
export const auditDatabase = 'interlock_audit';

const primaryTimeoutMs = 30_000;

/** URI of one of the users; it names the client certificate's file, so it is of use only with the keys directory. */
export function uriOf(address: MongodAddress, user: keyof MongoSecrets, password: string, database: string): string {
  const tls = new URLSearchParams({ tls: 'true', tlsCAFile: address.caFile, tlsCertificateKeyFile: address.clientPem });
  return `mongodb://${user}:${encodeURIComponent(password)}@127.0.0.1:${address.port}/${database}?replicaSet=${replicaSet}&authSource=admin&${tls.toString()}`;
}

/**
 * Ends what a killed process left open: MongoDB keeps its transactions, and with them its claims on documents, for another
 * minute otherwise (https://www.mongodb.com/docs/manual/reference/parameters/#mongodb-parameter-param.transactionLifetimeLimitSeconds).
 */
export async function endAbandonedSessions(address: MongodAddress, secrets: MongoSecrets): Promise<void> {
  await withConnection(address, secrets.root, async (admin) => {
    await admin.command({ killAllSessions: ['app', 'audit', 'archiver'].map((user) => ({ user, db: 'admin' })) });
  });
}

/** First start: the replica set of one, and its root user. Works only until that user exists. */
export async function initiate(address: MongodAddress, secrets: MongoSecrets): Promise<void> {
  await withConnection(address, undefined, async (admin) => {
    await admin.command({ replSetInitiate: { _id: replicaSet, members: [{ _id: 0, host: `127.0.0.1:${address.port}` }] } });
    await waitForPrimary(admin);
    await admin.command({ createUser: 'root', pwd: secrets.root, roles: ['root'], mechanisms: ['SCRAM-SHA-256'] });
  });
}

/** Every start: the address of the only member, users, roles, collections and indexes are what this version wants. */
export async function provision(address: MongodAddress, secrets: MongoSecrets): Promise<void> {
  await withConnection(address, secrets.root, async (admin, connection) => {
    await ensureAddress(admin, address.port);
    await waitForPrimary(admin);
    const audit = connection.useDb(auditDatabase, { useCache: true });
    await Promise.all([applyIndexes(connection.useDb(appDatabase, { useCache: true }), 'app'), applyIndexes(audit, 'audit')]);
    await ensureAuditWriter(admin, 'interlockAuditWriter', auditDatabase);
    await ensureUser(admin, 'app', secrets.app, [{ role: 'readWrite', db: appDatabase }]);
    await ensureUser(admin, 'audit', secrets.audit, ['interlockAuditWriter']);
    await ensureAuditArchiver(admin, 'interlockAuditArchiver', auditDatabase);
    await ensureUser(admin, 'archiver', secrets.archiver, ['interlockAuditArchiver']);
  });
}

/**
 * Makes or corrects the role of the audit writer: find and insert on the declared collections, and nothing else.
 */
export async function ensureAuditWriter(admin: mongo.Db, role: string, database: string): Promise<void> {
  await ensureRole(admin, role, collectionNames('audit').map((collection) => ({ resource: { db: database, collection }, actions: ['find', 'insert'] })));
}

/** Makes or corrects the role of the archiver: find and remove in the collection of blocks, which it clears of what was archived, and nothing else. */
export async function ensureAuditArchiver(admin: mongo.Db, role: string, database: string): Promise<void> {
  await ensureRole(admin, role, [{ resource: { db: database, collection: 'audit' }, actions: ['find', 'remove'] }]);
}

async function ensureRole(admin: mongo.Db, role: string, privileges: readonly object[]): Promise<void> {
  const { roles } = (await admin.command({ rolesInfo: role, showPrivileges: true })) as unknown as { roles: { privileges: unknown }[] };
  if (roles.length === 0) await admin.command({ createRole: role, privileges, roles: [] });
  else if (JSON.stringify(roles[0]?.privileges) !== JSON.stringify(privileges)) await admin.command({ updateRole: role, privileges, roles: [] });
}

async function ensureUser(admin: mongo.Db, user: keyof MongoSecrets, password: string, roles: readonly (string | { role: string; db: string })[]): Promise<void> {
  const { users } = (await admin.command({ usersInfo: user })) as unknown as { users: unknown[] };
  if (users.length === 0) await admin.command({ createUser: user, pwd: password, roles, mechanisms: ['SCRAM-SHA-256'] });
}

interface ReplicaSetConfig {
  readonly version: number;
  readonly members: { readonly host: string }[];
}

/** After a change of port the only member does not find itself in its configuration: it must be told. */
async function ensureAddress(admin: mongo.Db, port: number): Promise<void> {
  const { config } = (await admin.command({ replSetGetConfig: 1 })) as unknown as { config: ReplicaSetConfig };
  const host = `127.0.0.1:${port}`;
  if (config.members[0]?.host === host) return;
  await admin.command({ replSetReconfig: { ...config, version: config.version + 1, members: [{ ...config.members[0], host }] }, force: true });
}

async function waitForPrimary(admin: mongo.Db): Promise<void> {
  const deadline = performance.now() + primaryTimeoutMs;
  for (;;) {
    const { isWritablePrimary } = (await admin.command({ hello: 1 })) as unknown as { isWritablePrimary: boolean };
    if (isWritablePrimary) return;
    if (performance.now() > deadline) throw new InterlockError('mongod-failed', { detail: 'It did not become primary.' });
    await delay(10);
  }
}

async function withConnection(address: MongodAddress, rootPassword: string | undefined, work: (admin: mongo.Db, connection: Connection) => Promise<void>): Promise<void> {
  const connection = await mongoose
    .createConnection(`mongodb://127.0.0.1:${address.port}/admin`, {
      directConnection: true, tls: true, tlsCAFile: address.caFile, tlsCertificateKeyFile: address.clientPem,
      ...(rootPassword === undefined ? {} : { auth: { username: 'root', password: rootPassword }, authSource: 'admin' }),
      serverSelectionTimeoutMS: 5_000, maxPoolSize: 8,
    })
    .asPromise();
  try {
    await work(connection.db!, connection);
  } finally {
    await connection.close();
  }
}
