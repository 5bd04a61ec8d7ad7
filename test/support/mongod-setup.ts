import { mkdtempSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../server/observe/log.ts';
import { startEmbeddedMongo } from '../../server/mongo/embedded.ts';
import { findMongod } from '../../server/mongo/find-mongod.ts';
import { keepForTeardown } from './shared-mongod.ts';

/** Jest globalSetup: one real mongod for all test files. Its URI, with root's password, reaches them through the environment. */
export default async function setup(): Promise<void> {
  const mongod = await findMongod({
    configuredPath: process.env['INTERLOCK_MONGOD'],
    searchPath: process.env['PATH'],
    cacheDir: process.env['XDG_CACHE_HOME'] === undefined ? join(homedir(), '.cache', 'interlock') : join(process.env['XDG_CACHE_HOME'], 'interlock'),
    onProgress: (line) => process.stderr.write(`${line}\n`),
  });
  const directory = mkdtempSync(join(tmpdir(), 'interlock-test-'));
  const running = await startEmbeddedMongo({ dataDir: join(directory, 'data'), keysDir: join(directory, 'keys'), mongod, log: silentLog });
  keepForTeardown(running, directory);
  process.env['INTERLOCK_TEST_MONGO_URI'] = running.rootUri;
  process.env['INTERLOCK_TEST_MONGOD'] = mongod.path;
}
