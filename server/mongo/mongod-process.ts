import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, renameSync, statfsSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { InterlockError } from '../../resources/outcome/error.ts';

/** Files and settings of one mongod. */
export interface MongodSettings {
  readonly program: string;
  readonly dbDir: string;
  readonly logFile: string;
  readonly port: number;
  readonly keyFile: string;
  readonly certificateKeyFile: string;
  readonly caFile: string;
  readonly cacheSizeGb: number;
}

/** Name of the replica set of one. */
export const replicaSet = 'interlock';

const startTimeoutMs = 60_000;
const pollMs = 10;
const nearlyFullBytes = 16 * 1024 * 1024;

/** A mongod that runs: a child of this process, or one that a killed process left behind. */
export interface RunningMongod {
  readonly pid: number;
  readonly port: number;
  /** Resolves when it has ended, by whatever cause. */
  readonly ended: Promise<void>;
  /** Why it ended, if it has; a stranger on its port shows up here as `mongod-port-taken`. */
  failure(): InterlockError | undefined;
}

/**
 * Starts mongod and waits until it takes connections. It is put into a session of its own, so that Ctrl-C in a terminal
 * reaches this server only, which stops mongod after it has drained.
 *
 * @param signal ends a start that is under way
 * @throws InterlockError `mongod-port-taken`, `disk-full`, `data-locked`, `mongod-version`, `mongod-failed`
 */
export async function spawnMongod(settings: MongodSettings, signal?: AbortSignal): Promise<RunningMongod> {
  if (existsSync(settings.logFile)) renameSync(settings.logFile, `${settings.logFile}.1`);
  const child = spawn(settings.program, argumentsOf(settings), { detached: true, stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  child.unref();
  let spawnError: unknown;
  child.once('error', (cause) => {
    spawnError = cause;
  });
  const deadline = performance.now() + startTimeoutMs;
  while (!(await takesConnections(settings.port))) {
    if (spawnError !== undefined || child.exitCode !== null || child.signalCode !== null) throw failureOf(child, settings.logFile, spawnError);
    if (performance.now() > deadline || signal?.aborted === true) {
      child.kill('SIGKILL');
      await ended;
      throw new InterlockError('mongod-failed', { detail: `It took no connections within ${startTimeoutMs / 1000} s.` });
    }
    await delay(pollMs);
  }
  if (child.pid === undefined) throw failureOf(child, settings.logFile, spawnError);
  return { pid: child.pid, port: settings.port, ended, failure: () => (child.exitCode === null && child.signalCode === null ? undefined : failureOf(child, settings.logFile, undefined)) };
}

function argumentsOf(settings: MongodSettings): string[] {
  return [
    '--dbpath', settings.dbDir, '--port', String(settings.port), '--bind_ip', '127.0.0.1', '--nounixsocket',
    '--replSet', replicaSet, '--oplogSize', '256', '--keyFile', settings.keyFile,
    // Client certificates are required: nobody else gets in before the first user exists.
    '--tlsMode', 'requireTLS', '--tlsCertificateKeyFile', settings.certificateKeyFile, '--tlsCAFile', settings.caFile, '--tlsDisabledProtocols', 'TLS1_0,TLS1_1',
    '--networkMessageCompressors', 'snappy,zstd',
    '--wiredTigerCacheSizeGB', String(settings.cacheSizeGb), '--wiredTigerEngineConfigString', 'log=(prealloc=false)',
    // Slow operations would be logged with their queries; performance is measured in this server.
    '--slowms', '600000', '--setParameter', 'diagnosticDataCollectionEnabled=false', '--quiet', '--logpath', settings.logFile,
  ];
}

function failureOf(child: ChildProcess, logFile: string, cause: unknown): InterlockError {
  const log = tailOf(logFile);
  // On a full disk its log may be missing the very line that says so.
  if (/No space left on device|ENOSPC|Disk quota exceeded/.test(log) || freeBytes(dirname(logFile)) < nearlyFullBytes) return new InterlockError('disk-full', { cause });
  // https://www.mongodb.com/docs/manual/reference/exit-codes/
  if (child.exitCode === 48 || /Address already in use/.test(log)) return new InterlockError('mongod-port-taken', { cause });
  if (/DBPathInUse|Another mongod instance is already running/.test(log)) return new InterlockError('data-locked', { cause });
  if (child.exitCode === 62 || /UPGRADE PROBLEM|Invalid featureCompatibilityVersion|unsupported WiredTiger file version/.test(log)) {
    return new InterlockError('mongod-version', { detail: 'The data directory was written by another version.', cause });
  }
  return new InterlockError('mongod-failed', { detail: `It ended with ${child.exitCode === null ? `signal ${child.signalCode ?? 'none'}` : `exit code ${child.exitCode}`}.`, cause });
}

/**
 * The mongod of a data directory that outlived its parent. Its pid is taken from mongod.lock and believed only if that
 * process's command line names this very directory.
 */
export function orphanOf(dbDir: string): RunningMongod | undefined {
  const lockFile = join(dbDir, 'mongod.lock');
  const pid = existsSync(lockFile) ? Number.parseInt(readFileSync(lockFile, 'utf8'), 10) : Number.NaN;
  if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
  const port = portIfOurs(pid, dbDir);
  return port === undefined ? undefined : { pid, port, ended: endOf(pid, dbDir), failure: () => undefined };
}

async function endOf(pid: number, dbDir: string): Promise<void> {
  while (portIfOurs(pid, dbDir) !== undefined) await delay(250, undefined, { ref: false });
}

/** The port of a process if it is a mongod on `dbDir`; undefined if it is gone or something else. */
function portIfOurs(pid: number, dbDir: string): number | undefined {
  const args = commandLine(pid);
  if (args[args.indexOf('--dbpath') + 1] !== dbDir) return undefined;
  const port = Number(args[args.indexOf('--port') + 1]);
  return Number.isInteger(port) ? port : undefined;
}

function commandLine(pid: number): string[] {
  try {
    if (existsSync('/proc/self/cmdline')) return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8', timeout: 2_000 }).trim().split(' ');
  } catch {
    return [];
  }
}

/** Asks mongod to stop, and after `graceMs` kills it: journaled writes survive that too. */
export async function stopMongod(mongod: RunningMongod, graceMs: number): Promise<void> {
  send(mongod.pid, 'SIGTERM');
  if (await endsWithin(mongod, graceMs)) return;
  send(mongod.pid, 'SIGKILL');
  if (!(await endsWithin(mongod, 5_000))) throw new InterlockError('mongod-failed', { detail: 'It could not be stopped.' });
}

async function endsWithin(mongod: RunningMongod, timeoutMs: number): Promise<boolean> {
  const timer = new AbortController();
  const ended = await Promise.race([mongod.ended.then(() => true), delay(timeoutMs, false, { signal: timer.signal }).catch(() => false)]);
  timer.abort();
  return ended;
}

function send(pid: number, name: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended already.
  }
}

/** True if something listens on this port of the loopback interface. */
export function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 1_000 });
    const settle = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => settle(true)).once('error', () => settle(false)).once('timeout', () => settle(false));
  });
}

/** True if this port of the loopback interface can be listened on. */
export async function isFree(port: number): Promise<boolean> {
  return (await listenOnce(port)) !== undefined;
}

/** A port of the loopback interface that nothing listens on. */
export async function freePort(): Promise<number> {
  const port = await listenOnce(0);
  if (port === undefined) throw new InterlockError('mongod-failed', { detail: 'No free port on the loopback interface.' });
  return port;
}

function listenOnce(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : undefined));
    });
  });
}

/** Bytes that may still be written to the disk of a directory. */
export function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

function tailOf(file: string): string {
  if (!existsSync(file)) return '';
  const descriptor = openSync(file, 'r');
  try {
    const tail = Buffer.alloc(64 * 1024);
    const start = Math.max(0, fstatSync(descriptor).size - tail.length);
    return tail.toString('utf8', 0, readSync(descriptor, tail, 0, tail.length, start));
  } finally {
    closeSync(descriptor);
  }
}
