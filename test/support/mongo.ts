import { randomBytes } from 'node:crypto';
import type { Connection } from 'mongoose';
import { openMongoose } from '../../server/mongo/connect.ts';
import { applyIndexes } from '../../server/mongo/indexes.ts';
import { ensureAuditArchiver, ensureAuditWriter } from '../../server/mongo/provision.ts';

/** Two fresh databases on the shared mongod. */
export interface TestMongo {
  /** As a user who may read and write this database only. */
  readonly app: Connection;
  /** As a user who may find and insert in the audit collections only, as in production. */
  readonly audit: Connection;
  /** As root, on the audit database: to tamper with what the server cannot touch. */
  readonly auditRoot: Connection;
  readonly appUri: string;
  readonly auditUri: string;
  /** A user who may find and remove blocks only, as in production. */
  readonly archiverUri: string;
  /** Drops both databases with their users and closes the connections. */
  drop(): Promise<void>;
}

/** Makes fresh databases, with collections, indexes, users and roles as in production. */
export async function testMongo(): Promise<TestMongo> {
  const rootUri = process.env['INTERLOCK_TEST_MONGO_URI'];
  if (rootUri === undefined) throw new Error('No mongod: run the tests with npm test.');
  const name = randomBytes(6).toString('hex');
  const [appName, auditName, archiverName, role, archiverRole] = [`app_${name}`, `audit_${name}`, `archiver_${name}`, `auditWriter_${name}`, `auditArchiver_${name}`];
  const password = randomBytes(18).toString('base64url');
  const root = await openMongoose(rootUri, { maxPoolSize: 8 });
  const admin = root.useDb('admin').db!;
  const auditRoot = root.useDb(auditName);
  await Promise.all([applyIndexes(root.useDb(appName), 'app'), applyIndexes(auditRoot, 'audit')]);
  await ensureAuditWriter(admin, role, auditName);
  await ensureAuditArchiver(admin, archiverRole, auditName);
  await admin.command({ createUser: archiverName, pwd: password, roles: [archiverRole], mechanisms: ['SCRAM-SHA-256'] });
  await admin.command({ createUser: appName, pwd: password, roles: [{ role: 'readWrite', db: appName }], mechanisms: ['SCRAM-SHA-256'] });
  await admin.command({ createUser: auditName, pwd: password, roles: [role], mechanisms: ['SCRAM-SHA-256'] });
  const uriFor = (database: string, user = database): string => {
    const uri = new URL(rootUri);
    uri.username = user;
    uri.password = password;
    uri.pathname = `/${database}`;
    return uri.href;
  };
  const [appUri, auditUri, archiverUri] = [uriFor(appName), uriFor(auditName), uriFor(auditName, archiverName)];
  const [app, audit] = await Promise.all([openMongoose(appUri), openMongoose(auditUri)]);
  return {
    app, audit, auditRoot, appUri, auditUri, archiverUri,
    async drop() {
      await Promise.all([app.close(), audit.close()]);
      await Promise.all([root.useDb(appName).dropDatabase(), auditRoot.dropDatabase()]);
      await admin.command({ dropUser: appName });
      await admin.command({ dropUser: auditName });
      await admin.command({ dropUser: archiverName });
      await admin.command({ dropRole: role });
      await admin.command({ dropRole: archiverRole });
      await root.close();
    },
  };
}
