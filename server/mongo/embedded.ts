import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Log } from '../observe/log.ts';
import { createAuthority, issueCertificate } from '../pki/certificate.ts';
import { assertKeysOutsideData, ensurePrivateDir, writeFileAtomic } from '../pki/files.ts';
import { lockDataDir } from './data-lock.ts';
import type { FoundMongod } from './find-mongod.ts';
import { freeBytes, freePort, isFree, orphanOf, spawnMongod, stopMongod, type MongodSettings, type RunningMongod } from './mongod-process.ts';
import { appDatabase, auditDatabase, endAbandonedSessions, initiate, provision, uriOf, type MongodAddress, type MongoSecrets } from './provision.ts';

/** What the embedded MongoDB needs. */
export interface EmbeddedMongoOptions {
  /** Holds `mongo/`: database files, log, state. */
  readonly dataDir: string;
  /** Holds `mongo/`: passwords and certificates, each of mode 0600. */
  readonly keysDir: string;
  readonly mongod: FoundMongod;
  /** A fixed port; left out, a free one is chosen and kept. */
  readonly port?: number | undefined;
  readonly cacheSizeGb?: number | undefined;
  /** Start is refused with less free space than this. */
  readonly minFreeBytes?: number | undefined;
  readonly log: Log;
  /** Told each time that mongod had ended and could not be started again: the disk may be full. It is tried again all the same. */
  readonly onFailed?: ((error: unknown) => void) | undefined;
}

/** A MongoDB that this process runs. The URIs hold passwords: never log them. */
export interface EmbeddedMongo {
  readonly appUri: string;
  readonly auditUri: string;
  /** For removing archived blocks, and nothing else. */
  readonly archiverUri: string;
  /** For what the server itself may not do: tests. */
  readonly rootUri: string;
  readonly port: number;
  readonly dbDir: string;
  /** Process id of the mongod that runs now. */
  pid(): number;
  /** True if a mongod that a killed process had left was taken over. */
  readonly adopted: boolean;
  /** Stops mongod (SIGTERM, after `graceMs` SIGKILL) and frees the data directory. */
  stop(graceMs?: number): Promise<void>;
}

const stateSchema = z.object({ phase: z.enum(['initialising', 'ready']), port: z.number().int() });
const secretsSchema = z.object({ root: z.string(), app: z.string(), audit: z.string(), archiver: z.string().optional() });
/** Pause before mongod is started again, doubled while it keeps failing. */
const restartPauseMs = 50;
const restartPauseMsMax = 10_000;
/** A mongod that ran this long is not about to fail at once again. */
const steadyMs = 60_000;
const portAttempts = 3;
const defaultMinFreeBytes = 200 * 1024 * 1024;
/** The certificates of the link to mongod are made anew at each start; this outlasts any uptime. */
const linkValidDays = 3650;

/**
 * Starts the embedded MongoDB: a real mongod on the loopback interface, as a replica set of one, with TLS, client
 * certificates and passwords. Data is kept; a first start that was cut off is begun again.
 *
 * @throws InterlockError `keys-inside-data`, `data-locked`, `data-damaged`, `key-missing`, `disk-full`, `mongod-…`
 */
export async function startEmbeddedMongo(options: EmbeddedMongoOptions): Promise<EmbeddedMongo> {
  assertKeysOutsideData(options.dataDir, options.keysDir);
  const lock = lockDataDir(options.dataDir);
  try {
    const started = await start(options);
    return { ...started, stop: (graceMs) => started.stop(graceMs).finally(() => lock.release()) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function start(options: EmbeddedMongoOptions): Promise<EmbeddedMongo> {
  const place = placeOf(options);
  assertFreeSpace(place.dir, options.minFreeBytes ?? defaultMinFreeBytes);
  let orphan = orphanOf(place.dbDir);
  let state = readState(place);
  if (state?.phase === 'initialising') {
    // Nothing was ever acknowledged out of a first start that did not finish.
    if (orphan !== undefined) await stopMongod(orphan, 5_000);
    orphan = undefined;
    rmSync(place.dbDir, { recursive: true, force: true });
    state = undefined;
  }
  const isFirst = state === undefined;
  const secrets = readSecrets(place, isFirst);
  if (orphan !== undefined) {
    const adopted = await adopt(orphan, place, secrets, options);
    if (adopted) return supervise(orphan, settingsFor(options, place, orphan.port), place, secrets, options, true);
  }
  renewLinkCertificates(place);
  for (let attempt = 1; ; attempt += 1) {
    const port = await choosePort(options.port, state?.port);
    if (isFirst) writeFileAtomic(place.stateFile, JSON.stringify({ phase: 'initialising', port }));
    ensurePrivateDir(place.dbDir);
    const settings = settingsFor(options, place, port);
    let mongod: RunningMongod | undefined;
    try {
      mongod = await spawnMongod(settings);
      if (isFirst) await initiate(addressOf(place, port), secrets);
      await provision(addressOf(place, port), secrets);
      writeFileAtomic(place.stateFile, JSON.stringify({ phase: 'ready', port }));
      return supervise(mongod, settings, place, secrets, options, false);
    } catch (cause) {
      const error = mongod?.failure() ?? cause;
      if (mongod !== undefined) await stopMongod(mongod, 5_000);
      const raced = error instanceof InterlockError && error.code === 'mongod-port-taken' && options.port === undefined && attempt < portAttempts;
      if (!raced) throw explained(error);
      if (isFirst) rmSync(place.dbDir, { recursive: true, force: true });
    }
  }
}

function explained(error: unknown): InterlockError {
  if (error instanceof InterlockError) return error;
  if (error instanceof Error && 'code' in error && error.code === 18) {
    return new InterlockError('key-wrong', { detail: 'MongoDB does not accept mongo/passwords.json of the keys directory.', cause: error });
  }
  return new InterlockError('mongod-failed', { cause: error });
}

/** Takes over a mongod whose parent was killed, if it answers; stops it otherwise. */
async function adopt(orphan: RunningMongod, place: Place, secrets: MongoSecrets, options: EmbeddedMongoOptions): Promise<boolean> {
  if (options.port === undefined || options.port === orphan.port) {
    try {
      await provision(addressOf(place, orphan.port), secrets);
      await endAbandonedSessions(addressOf(place, orphan.port), secrets);
      writeFileAtomic(place.stateFile, JSON.stringify({ phase: 'ready', port: orphan.port }));
      options.log.info('mongod adopted', { pid: orphan.pid, port: orphan.port });
      return true;
    } catch (error) {
      options.log.warn('mongod of an earlier process does not answer; stopping it', { pid: orphan.pid, errorName: error instanceof Error ? error.name : 'unknown' });
    }
  }
  await stopMongod(orphan, 8_000);
  return false;
}

/** Keeps mongod running until it is stopped: should it end by itself, it is started again, for as long as it takes. */
function supervise(first: RunningMongod, settings: MongodSettings, place: Place, secrets: MongoSecrets, options: EmbeddedMongoOptions, adopted: boolean): EmbeddedMongo {
  let current = first;
  const stopping = new AbortController();
  const watch = async (): Promise<void> => {
    for (let failures = 0, startedAt = performance.now(); ; ) {
      await current.ended;
      if (stopping.signal.aborted) return;
      failures = performance.now() - startedAt > steadyMs ? 0 : failures + 1;
      options.log.error('mongod ended unexpectedly', { pid: current.pid, count: failures });
      await delay(Math.min(restartPauseMs * 2 ** failures, restartPauseMsMax), undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return;
      startedAt = performance.now();
      try {
        current = await spawnMongod(settings, stopping.signal);
      } catch (error) {
        if (!stopping.signal.aborted) options.onFailed?.(error);
        continue;
      }
      // stop() has then waited for the one before.
      if (stopping.signal.aborted) return stopMongod(current, 0);
    }
  };
  const watching = watch();
  const address = addressOf(place, settings.port);
  return Object.freeze({
    appUri: uriOf(address, 'app', secrets.app, appDatabase),
    auditUri: uriOf(address, 'audit', secrets.audit, auditDatabase),
    archiverUri: uriOf(address, 'archiver', secrets.archiver, auditDatabase),
    rootUri: uriOf(address, 'root', secrets.root, 'admin'),
    port: settings.port,
    dbDir: place.dbDir,
    pid: () => current.pid,
    adopted,
    async stop(graceMs = 8_000) {
      stopping.abort();
      await stopMongod(current, graceMs);
      await watching;
    },
  });
}

interface Place {
  readonly dir: string;
  readonly dbDir: string;
  readonly stateFile: string;
  readonly logFile: string;
  readonly secretsFile: string;
  readonly keyFile: string;
  readonly serverPem: string;
  readonly clientPem: string;
  readonly caFile: string;
}

function placeOf(options: EmbeddedMongoOptions): Place {
  ensurePrivateDir(join(options.dataDir, 'mongo'));
  ensurePrivateDir(join(options.keysDir, 'mongo'));
  // Real paths: mongod's command line is compared with them when its parent has gone.
  const dir = realpathSync(join(options.dataDir, 'mongo'));
  const keys = realpathSync(join(options.keysDir, 'mongo'));
  return {
    dir, dbDir: join(dir, 'db'), stateFile: join(dir, 'state.json'), logFile: join(dir, 'mongod.log'),
    secretsFile: join(keys, 'passwords.json'), keyFile: join(keys, 'keyfile'), serverPem: join(keys, 'server.pem'), clientPem: join(keys, 'client.pem'), caFile: join(keys, 'ca.crt'),
  };
}

function settingsFor(options: EmbeddedMongoOptions, place: Place, port: number): MongodSettings {
  return {
    program: options.mongod.path, dbDir: place.dbDir, logFile: place.logFile, port, keyFile: place.keyFile, certificateKeyFile: place.serverPem, caFile: place.caFile, cacheSizeGb: options.cacheSizeGb ?? 0.5,
  };
}

function addressOf(place: Place, port: number): MongodAddress {
  return { port, clientPem: place.clientPem, caFile: place.caFile };
}

/** Undefined on a first start. @throws InterlockError `data-damaged` if there is data without a state */
function readState(place: Place): z.infer<typeof stateSchema> | undefined {
  if (!existsSync(place.stateFile)) {
    if (existsSync(place.dbDir) && readdirSync(place.dbDir).length > 0) throw new InterlockError('data-damaged', { detail: 'mongo/state.json is missing.' });
    return undefined;
  }
  try {
    return stateSchema.parse(JSON.parse(readFileSync(place.stateFile, 'utf8')));
  } catch (cause) {
    throw new InterlockError('data-damaged', { detail: 'mongo/state.json is not readable.', cause });
  }
}

function readSecrets(place: Place, mayCreate: boolean): MongoSecrets {
  if (!existsSync(place.secretsFile) || !existsSync(place.keyFile)) {
    if (!mayCreate) throw new InterlockError('key-missing', { detail: 'Expected mongo/passwords.json and mongo/keyfile in the keys directory.' });
    const password = (): string => randomBytes(24).toString('base64url');
    writeFileAtomic(place.keyFile, randomBytes(96).toString('base64'));
    writeFileAtomic(place.secretsFile, `${JSON.stringify({ root: password(), app: password(), audit: password(), archiver: password() })}\n`);
  }
  try {
    const { archiver, ...others } = secretsSchema.parse(JSON.parse(readFileSync(place.secretsFile, 'utf8')));
    if (archiver !== undefined) return { ...others, archiver };
    // Of a version that knew no archiver.
    const secrets = { ...others, archiver: randomBytes(24).toString('base64url') };
    writeFileAtomic(place.secretsFile, `${JSON.stringify(secrets)}\n`);
    return secrets;
  } catch (cause) {
    throw new InterlockError('key-wrong', { detail: 'mongo/passwords.json is damaged.', cause });
  }
}

/**
 * The link to mongod has an authority of its own, made at each start and forgotten at once: no partner's certificate
 * opens it, and no key exists that could sign another.
 */
function renewLinkCertificates(place: Place): void {
  const authority = createAuthority({ commonName: 'Interlock embedded MongoDB', validDays: linkValidDays });
  // mongod presents its certificate as a client, too, when it talks to itself.
  const server = issueCertificate(authority, { commonName: 'mongod', organizationalUnit: 'server', usages: ['server', 'client'], hosts: ['127.0.0.1', 'localhost'], validDays: linkValidDays });
  const client = issueCertificate(authority, { commonName: 'interlock', organizationalUnit: 'client', usages: ['client'], validDays: linkValidDays });
  writeFileAtomic(place.caFile, authority.certificatePem);
  writeFileAtomic(place.serverPem, server.certificatePem + server.keyPem);
  writeFileAtomic(place.clientPem, client.certificatePem + client.keyPem);
}

async function choosePort(configured: number | undefined, kept: number | undefined): Promise<number> {
  if (configured !== undefined) {
    if (!(await isFree(configured))) throw new InterlockError('mongod-port-taken');
    return configured;
  }
  return kept !== undefined && (await isFree(kept)) ? kept : freePort();
}

function assertFreeSpace(dir: string, minBytes: number): void {
  if (freeBytes(dir) < minBytes) throw new InterlockError('disk-full', { detail: `Less than ${Math.ceil(minBytes / 1024 / 1024)} MB are free.` });
}
