import { once } from 'node:events';
import type { OpenAuditTrail } from '../../server/audit/trail.ts';
import { loadConfig } from '../../server/config/config.ts';
import { createHttpServer } from '../../server/http.ts';
import { createLog } from '../../server/observe/log.ts';
import { openServices } from '../../server/services.ts';

/*
 * The server for `npm run bench -- audit`: the same parts behind the same HTTPS face, but SIGUSR2 switches whether the
 * FHIR API waits for its audit entries. Switched off, entries are sealed and counted and go nowhere. Only this file can do
 * that: the server itself has no such option.
 */

const { config } = loadConfig(process.env);
const services = await openServices({ config, log: createLog(config.logLevel), serve: true, onProgress: () => undefined, onFatal: () => process.exit(1) });
const durable = services.audit;
let isDurable = true;
const loose: OpenAuditTrail = {
  ...durable,
  append: async (entries) => (isDurable ? durable.append(entries) : undefined),
  record: async (record) => (isDurable ? durable.record(record) : void durable.prepare(record)),
  appendCommitted: async (entries) => (isDurable ? durable.appendCommitted(entries) : undefined),
};
process.on('SIGUSR2', () => {
  isDurable = !isDurable;
  process.stdout.write(`audit ${isDurable ? 'durable' : 'off'}\n`);
});
process.on('SIGTERM', () => {
  server.closeAllConnections();
  server.close();
  void services.close().finally(() => process.exit(0));
});
const server = createHttpServer({ ...services, audit: loose });
server.listen(config.port, config.host);
await once(server, 'listening');
services.issueOperatorCertificate();
process.stdout.write('Interlock is ready\n');
