import type { Connection, mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import { isTooOld, zlibUnsafe } from './find-mongod.ts';
import { indexes } from './indexes.ts';

/** What the audit writer may be allowed to do. `createIndex` is not among it: an index can make documents expire. */
const auditActions = new Set([
  'find', 'insert', 'createCollection', 'listCollections', 'listIndexes', 'listSearchIndexes', 'collStats', 'dbStats', 'dbHash', 'indexStats', 'planCacheRead', 'killCursors', 'changeStream',
]);
/** What leaves the audit trail as it is; all that the app user may be allowed there. */
const harmlessActions = new Set([...auditActions].filter((action) => action !== 'insert' && action !== 'createCollection'));
/** Whoever may do one of these, on whatever resource, can give itself the rest. */
const escalations = ['anyAction', 'internal', 'applyOps', 'grantRole', 'createRole', 'createUser', 'updateUser', 'changePassword', 'impersonate', 'updateRole'];

interface Privilege {
  readonly resource: { readonly db?: string; readonly anyResource?: boolean; readonly cluster?: boolean };
  readonly actions: readonly string[];
}

/**
 * Refuses a MongoDB that this server cannot rely on: no replica set, no TLS, too old, or open to CVE-2025-14847.
 *
 * @throws InterlockError `mongo-unsafe`, `mongod-version`
 */
export async function checkDeployment(connection: Connection, allowInsecure: boolean): Promise<void> {
  const settings = connection.getClient().options as mongo.MongoOptions & { rejectUnauthorized?: boolean };
  const isChecked = settings.tls && settings.rejectUnauthorized !== false && !settings.tlsAllowInvalidCertificates && !settings.tlsAllowInvalidHostnames;
  if (!isChecked && !allowInsecure) {
    throw new InterlockError('mongo-unsafe', { detail: 'The connection is not protected by TLS with a checked certificate: add tls=true and tlsCAFile to the URI.' });
  }
  const admin = connection.getClient().db('admin');
  const hello = (await admin.command({ hello: 1, compression: ['zlib'] })) as { setName?: string; msg?: string; compression?: readonly string[] };
  if (hello.setName === undefined && hello.msg !== 'isdbgrid') {
    throw new InterlockError('mongo-unsafe', { detail: 'It is a single server, which has no transactions: make it a replica set, of one member at least.' });
  }
  const { version } = (await admin.command({ buildInfo: 1 })) as unknown as { version: string };
  if (isTooOld(version)) throw new InterlockError('mongod-version', { detail: `The server runs ${version}.` });
  if (zlibUnsafe(version) && hello.compression?.includes('zlib') === true) {
    throw new InterlockError('mongo-unsafe', { detail: `MongoDB ${version} with zlib compression lets anyone read its memory (CVE-2025-14847): update it, or start it with --networkMessageCompressors snappy,zstd.` });
  }
}

/**
 * Refuses users who could rewrite the audit trail: the audit writer may find and insert there, the app user may not
 * write there at all.
 *
 * @throws InterlockError `mongo-unsafe`
 */
export async function checkSeparation(app: Connection, audit: Connection): Promise<void> {
  const excess = await excessOf(audit, audit.name, auditActions);
  if (excess.length > 0) {
    throw new InterlockError('mongo-unsafe', { detail: `The user of AUDIT_MONGODB_URI may do more than find and insert (${excess.slice(0, 5).join(', ')}); the audit trail would not be append-only.` });
  }
  const hostsOf = (connection: Connection): string[] => (connection.getClient().options as mongo.MongoOptions).hosts.map((host) => host.toString());
  const shared = hostsOf(app).some((host) => hostsOf(audit).includes(host));
  if (!shared) return;
  if (app.name === audit.name) throw new InterlockError('mongo-unsafe', { detail: 'MONGODB_URI and AUDIT_MONGODB_URI name the same database.' });
  if ((await excessOf(app, audit.name, harmlessActions)).length > 0) {
    throw new InterlockError('mongo-unsafe', { detail: 'The user of MONGODB_URI may write to the audit database, too; give it readWrite on its own database only.' });
  }
}

/**
 * Refuses an archiver who may do more than find and remove in the audit database.
 *
 * @throws InterlockError `mongo-unsafe`
 */
export async function checkArchiver(archiver: Connection): Promise<void> {
  const excess = await excessOf(archiver, archiver.name, new Set([...harmlessActions, 'remove']));
  if (excess.length > 0) throw new InterlockError('mongo-unsafe', { detail: `The user of INTERLOCK_AUDIT_ARCHIVE_MONGODB_URI may do more than find and remove (${excess.slice(0, 5).join(', ')}).` });
}

/** Actions beyond the allowed ones that the connection's user may take on a database or give itself. */
async function excessOf(connection: Connection, database: string, allowed: ReadonlySet<string>): Promise<string[]> {
  const { authInfo } = (await connection.db!.command({ connectionStatus: 1, showPrivileges: true })) as unknown as {
    authInfo: { authenticatedUsers: unknown[]; authenticatedUserPrivileges: readonly Privilege[] };
  };
  if (authInfo.authenticatedUsers.length === 0) return ['everything: it asks for no password'];
  const excess = authInfo.authenticatedUserPrivileges.flatMap(({ resource, actions }) => {
    const covers = resource.anyResource === true || resource.db === '' || resource.db === database;
    return actions.filter((action) => escalations.includes(action) || (covers && !allowed.has(action)));
  });
  return [...new Set(excess)];
}

/**
 * Audit collections that are missing or lack an index. An audit writer may find and insert only, so each index is asked
 * for by naming it as the one to use, which MongoDB refuses if it does not exist.
 */
export async function missingAuditIndexes(audit: Connection): Promise<string[]> {
  const visible = await audit.db!.listCollections({}, { nameOnly: true, authorizedCollections: true }).toArray();
  const existing = new Set(visible.map(({ name }) => name));
  const missing = new Set<string>();
  for (const { database, collection, keys } of indexes) {
    if (database !== 'audit' || missing.has(collection)) continue;
    const usable = existing.has(collection) && (keys === undefined || (await canUseIndex(audit, collection, keys)));
    if (!usable) missing.add(collection);
  }
  return [...missing];
}

async function canUseIndex(audit: Connection, collection: string, keys: Readonly<Record<string, 1 | -1 | 'hashed'>>): Promise<boolean> {
  try {
    await audit.collection(collection).find({}, { hint: keys as mongo.Hint, limit: 1, projection: { _id: 1 } }).toArray();
    return true;
  } catch (cause) {
    // BadValue: "hint provided does not correspond to an existing index".
    if (cause instanceof Error && 'code' in cause && cause.code === 2) return false;
    throw cause;
  }
}
