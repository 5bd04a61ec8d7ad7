import { once } from 'node:events';
import type { Server } from 'node:https';
import { InterlockError } from '../resources/outcome/error.ts';
import { loadConfig } from './config/config.ts';
import { createHttpServer } from './http.ts';
import { createLog } from './observe/log.ts';
import { listening, openServices, type Services } from './services.ts';

/** Starts the server and prints one line when it is ready. */
async function main(): Promise<void> {
  const { config, warnings } = loadConfig(process.env);
  const log = createLog(config.logLevel);
  // Filled in as they come up: a signal may arrive before that.
  const running: { services?: Promise<Services>; server?: Server } = {};
  let stopping: Promise<void> | undefined;
  const stop = (exitCode: number): void => {
    stopping ??= drain(running, config.shutdownTimeoutMs).then(
      () => process.exit(exitCode),
      () => process.exit(1),
    );
  };
  process.on('SIGTERM', () => stop(0));
  process.on('SIGINT', () => stop(0));
  process.on('uncaughtException', (error) => {
    log.error('uncaught exception', { errorName: error.name });
    stop(1);
  });
  process.on('unhandledRejection', (reason) => {
    log.error('unhandled rejection', { errorName: reason instanceof Error ? reason.name : 'unknown' });
  });

  running.services = openServices({ config, log, serve: true, onProgress: say, onFatal: () => stop(1) });
  const services = await running.services;
  if (stopping !== undefined) return;
  const server = createHttpServer(services);
  running.server = server;
  server.listen(config.port, config.host);
  try {
    await listening(config.port, 'INTERLOCK_PORT', once(server, 'listening'));
  } catch (error) {
    // The database is a process of its own, which would stay.
    await services.close();
    throw error;
  }
  services.issueOperatorCertificate();
  for (const warning of [...warnings, ...services.warnings]) say(`warning: ${warning}`);
  say(`Interlock is ready: FHIR ${config.baseUrl}/fhir/R4, HL7v2 mllps://${config.host}:${config.mllpPort}, health ${config.baseUrl}/readyz, CA ${config.dataDir}/pki/ca.crt`);
}

/** SIGTERM has to be over within 10 seconds; what is not done by then is cut off. No new work, then what is under way, then the parts in reverse order. */
async function drain({ server, services }: { server?: Server; services?: Promise<Services> }, timeoutMs: number): Promise<void> {
  const cut = setTimeout(() => process.exit(1), timeoutMs);
  cut.unref();
  if (server?.listening === true) {
    const closed = once(server, 'close');
    server.close();
    server.closeIdleConnections();
    const patience = setTimeout(() => server.closeAllConnections(), timeoutMs / 3);
    await closed;
    clearTimeout(patience);
  }
  // While they are still being opened: what comes of it is closed, or has closed itself.
  await (await services?.catch(() => undefined))?.close();
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

try {
  await main();
} catch (error) {
  const message = error instanceof InterlockError ? error.message : error instanceof Error ? `${error.name}: ${error.message}` : 'unknown error';
  process.stderr.write(`Interlock cannot start: ${message}\n`);
  process.exit(1);
}
