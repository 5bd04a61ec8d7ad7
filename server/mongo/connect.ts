import mongoose, { type Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Log } from '../observe/log.ts';
import { startEmbeddedMongo, type EmbeddedMongo, type EmbeddedMongoOptions } from './embedded.ts';
import { checkArchiver, checkDeployment, checkSeparation, missingAuditIndexes } from './external.ts';
import { findMongod, type FindMongodOptions } from './find-mongod.ts';
import { applyIndexes } from './indexes.ts';
import { appDatabase, auditDatabase } from './provision.ts';

/** Settings of one connection pool. */
export interface PoolOptions {
  /** Sockets of this process to MongoDB; 50 unless told otherwise. */
  readonly maxPoolSize?: number | undefined;
  /** How long an operation waits for a primary before it fails; 5,000 unless told otherwise. */
  readonly serverSelectionTimeoutMs?: number | undefined;
  /** Database to use if the URI names none. */
  readonly database?: string | undefined;
}

/** Which MongoDB to use: two URIs, or neither for the embedded one. */
export interface ConnectMongoOptions {
  readonly appUri?: string | undefined;
  readonly auditUri?: string | undefined;
  /** With these two: the user who may remove archived blocks of the audit trail. */
  readonly archiverUri?: string | undefined;
  /** Accepts a MongoDB without TLS, or whose certificate is not checked. For a network that nobody else is on. */
  readonly allowInsecureMongo?: boolean | undefined;
  readonly pool?: PoolOptions | undefined;
  readonly embedded: Omit<EmbeddedMongoOptions, 'mongod' | 'log'> & FindMongodOptions;
  readonly log: Log;
}

/** The two databases. */
export interface MongoConnections {
  /** Everything but the audit trail. */
  readonly app: Connection;
  /** The audit trail, as a user who may find and insert only. */
  readonly audit: Connection;
  /** Connects as the user who may remove archived blocks of the audit trail; absent if there is none. The caller closes it. @throws InterlockError `mongo-unreachable`, `mongo-unsafe` */
  readonly openArchiver?: () => Promise<Connection>;
  /** Present if this process runs MongoDB itself. Other processes of this server connect by its URIs. */
  readonly embedded?: EmbeddedMongo;
  /** What the operator should know, one line each. */
  readonly warnings: readonly string[];
  /** Closes the connections and stops the embedded MongoDB: killed after `graceMs`, 8,000 unless told otherwise. */
  stop(graceMs?: number): Promise<void>;
}

/**
 * Connects to both databases and makes sure that they are fit: transactions, TLS, an audit writer that cannot change
 * what it wrote, collections and indexes in place.
 *
 * @throws InterlockError `config-invalid`, `mongo-unreachable`, `mongo-unsafe`, `mongod-version`, and what {@link startEmbeddedMongo} and {@link findMongod} throw
 */
export async function connectMongo(options: ConnectMongoOptions): Promise<MongoConnections> {
  const { appUri, auditUri } = options;
  if (appUri !== undefined && auditUri !== undefined) return connectExternal(appUri, auditUri, options);
  if (appUri !== undefined || auditUri !== undefined) {
    throw new InterlockError('config-invalid', { detail: 'Set both MONGODB_URI and AUDIT_MONGODB_URI, with different users, or neither.' });
  }
  const mongod = await findMongod(options.embedded);
  const embedded = await startEmbeddedMongo({ ...options.embedded, mongod, log: options.log });
  try {
    const [app, audit] = await openBoth(embedded.appUri, embedded.auditUri, options.pool);
    return {
      app, audit, embedded, openArchiver: async () => openArchiver(embedded.archiverUri), warnings: mongod.warning === undefined ? [] : [mongod.warning],
      async stop(graceMs) {
        await closeAll([app, audit]);
        await embedded.stop(graceMs);
      },
    };
  } catch (error) {
    await embedded.stop();
    throw error;
  }
}

async function connectExternal(appUri: string, auditUri: string, options: ConnectMongoOptions): Promise<MongoConnections> {
  const [app, audit] = await openBoth(appUri, auditUri, options.pool);
  try {
    const allowInsecure = options.allowInsecureMongo ?? false;
    await Promise.all([checkDeployment(app, allowInsecure), checkDeployment(audit, allowInsecure)]);
    await checkSeparation(app, audit);
    await applyIndexes(app, 'app').catch((cause: unknown) => {
      throw new InterlockError('mongo-unsafe', { detail: 'The user of MONGODB_URI cannot create collections and indexes; it needs the role readWrite on its database.', cause });
    });
    const missing = await missingAuditIndexes(audit);
    const warnings = missing.map((collection) => `The indexes of ${audit.name}.${collection} are missing; docs/operating/mongodb.md says how to create them.`);
    if (allowInsecure) warnings.push('Connections to MongoDB without TLS are allowed by configuration.');
    const { archiverUri } = options;
    return { app, audit, warnings, ...(archiverUri === undefined ? {} : { openArchiver: async () => openArchiver(archiverUri) }), stop: () => closeAll([app, audit]) };
  } catch (error) {
    await closeAll([app, audit]);
    throw error;
  }
}

async function openArchiver(uri: string): Promise<Connection> {
  const archiver = await openMongoose(uri, { maxPoolSize: 2, database: auditDatabase });
  try {
    await checkArchiver(archiver);
    return archiver;
  } catch (error) {
    await archiver.close();
    throw error;
  }
}

async function openBoth(appUri: string, auditUri: string, pool: PoolOptions = {}): Promise<[Connection, Connection]> {
  const results = await Promise.allSettled([openMongoose(appUri, { ...pool, database: appDatabase }), openMongoose(auditUri, { ...pool, database: auditDatabase })]);
  const [app, audit] = results;
  if (app.status === 'fulfilled' && audit.status === 'fulfilled') return [app.value, audit.value];
  await closeAll(results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])));
  throw results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []))[0]!;
}

async function closeAll(connections: readonly Connection[]): Promise<void> {
  await Promise.all(connections.map((connection) => connection.close()));
}

/**
 * Opens a connection whose writes are acknowledged by a majority and from the journal, and whose reads see only what a
 * majority holds: what was read or acknowledged once cannot be rolled back.
 *
 * @throws InterlockError `mongo-unreachable`; `config-invalid` if the URI is not one
 */
export async function openMongoose(uri: string, options: PoolOptions = {}): Promise<Connection> {
  const namesDatabase = /^mongodb(?:\+srv)?:\/\/[^/]+\/[^?]+/.test(uri);
  try {
    return await mongoose
      .createConnection(uri, {
        ...(namesDatabase || options.database === undefined ? {} : { dbName: options.database }),
        writeConcern: { w: 'majority', j: true, wtimeoutMS: 30_000 },
        readConcernLevel: 'majority',
        readPreference: 'primary',
        retryWrites: true,
        retryReads: true,
        maxPoolSize: options.maxPoolSize ?? 50,
        serverSelectionTimeoutMS: options.serverSelectionTimeoutMs ?? 5_000,
        // A server that stands still is noticed within some seconds, and what waits for it fails then.
        heartbeatFrequencyMS: 2_000,
        connectTimeoutMS: 3_000,
        waitQueueTimeoutMS: 10_000,
        autoIndex: false,
        autoCreate: false,
        bufferCommands: false,
        appName: 'interlock',
      })
      .asPromise();
  } catch (cause) {
    if (cause instanceof Error && cause.name === 'MongoParseError') throw new InterlockError('config-invalid', { detail: 'MONGODB_URI or AUDIT_MONGODB_URI is not a MongoDB connection string.' });
    throw new InterlockError('mongo-unreachable', { cause });
  }
}
