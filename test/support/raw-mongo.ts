import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection } from 'mongoose';
import { openMongoose } from '../../server/mongo/connect.ts';
import { uriOf } from '../../server/mongo/provision.ts';

/** Directories of a server with an embedded mongod. */
export interface ServerDirectories {
  readonly dataDir: string;
  readonly keysDir: string;
}

/** Process id of the embedded mongod. */
export function mongodPid({ dataDir }: Pick<ServerDirectories, 'dataDir'>): number {
  return Number.parseInt(readFileSync(join(dataDir, 'mongo', 'db', 'mongod.lock'), 'utf8'), 10);
}

/** A connection to a running server's embedded mongod as root: what someone with the database's passwords sees. */
export async function rawMongo({ dataDir, keysDir }: ServerDirectories): Promise<Connection> {
  const { port } = JSON.parse(readFileSync(join(dataDir, 'mongo', 'state.json'), 'utf8')) as { port: number };
  const keys = join(keysDir, 'mongo');
  const { root } = JSON.parse(readFileSync(join(keys, 'passwords.json'), 'utf8')) as { root: string };
  return openMongoose(uriOf({ port, clientPem: join(keys, 'client.pem'), caFile: join(keys, 'ca.crt') }, 'root', root, 'admin'), { maxPoolSize: 16 });
}

/** Every document of every database, the oplog included, as raw BSON. */
export async function* rawDocuments(connection: Connection): AsyncGenerator<{ readonly collection: string; readonly bytes: Buffer }> {
  const { databases } = await connection.db!.admin().listDatabases();
  for (const { name } of databases) {
    const { db } = connection.useDb(name);
    for (const { name: collection, type } of await db!.listCollections({}, { nameOnly: false }).toArray()) {
      // MongoDB's own bookkeeping is closed even to root, and nothing of ours gets there.
      if (type !== 'collection' || collection.startsWith('system.') || (name === 'local' && collection !== 'oplog.rs')) continue;
      for await (const bytes of db!.collection(collection).find({}, { raw: true, readConcern: { level: 'local' } })) {
        yield { collection: `${name}.${collection}`, bytes: bytes as unknown as Buffer };
      }
    }
  }
}
