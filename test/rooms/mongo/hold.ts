import { startEmbeddedMongo } from '../../../server/mongo/embedded.ts';
import { silentLog } from '../../../server/observe/log.ts';

/** A process that starts the embedded MongoDB, says so on standard output, and waits to be killed. */
const [dataDir, keysDir, path] = process.argv.slice(2) as [string, string, string];
try {
  const running = await startEmbeddedMongo({ dataDir, keysDir, mongod: { path, version: 'as given' }, log: silentLog });
  process.stdout.write(`${JSON.stringify({ pid: running.pid(), port: running.port, appUri: running.appUri })}\n`);
  setInterval(() => undefined, 60_000);
} catch (error) {
  process.stdout.write(`${JSON.stringify({ code: (error as { code?: string }).code })}\n`);
}
