import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** What a command of the command line answered. */
export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A real server in a process of its own, on its own directories, with its own embedded mongod. */
export interface ServerProcess {
  readonly directory: string;
  readonly dataDir: string;
  readonly keysDir: string;
  readonly baseUrl: string;
  readonly fhirUrl: string;
  readonly mllpPort: number;
  /** The internal CA's certificate, PEM. */
  readonly ca: string;
  /** Everything the process has printed. */
  output(): string;
  pid(): number;
  /** Runs `interlock …` against it. */
  cli(args: readonly string[], stdin?: string): Promise<CliResult>;
  /** The same with `--json`, parsed. Throws if the command fails. */
  cliJson<T>(args: readonly string[], stdin?: string): Promise<T>;
  /** SIGKILL: nothing is drained. */
  kill(): Promise<void>;
  /** Starts again after `kill` or `stop`. */
  restart(): Promise<void>;
  /** SIGTERM. @returns the exit code */
  stop(): Promise<number | null>;
  /** stop, and everything on disk goes. */
  remove(): Promise<void>;
}

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/**
 * Starts a server and waits until it is ready.
 * @param env further INTERLOCK_… settings
 * @param program what is run in its place
 */
export async function startServerProcess(env: Readonly<Record<string, string>> = {}, program = join(root, 'server/main.ts')): Promise<ServerProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'interlock-'));
  const [port, mllpPort] = [await freePort(), await freePort()];
  const dataDir = join(directory, 'data');
  const keysDir = join(directory, 'keys');
  const settings: NodeJS.ProcessEnv = {
    ...process.env,
    INTERLOCK_DATA_DIR: dataDir,
    INTERLOCK_KEYS_DIR: keysDir,
    INTERLOCK_PORT: String(port),
    INTERLOCK_MLLP_PORT: String(mllpPort),
    INTERLOCK_LOG_LEVEL: 'warn',
    MONGODB_URI: '',
    AUDIT_MONGODB_URI: '',
    ...env,
  };
  const baseUrl = settings.INTERLOCK_BASE_URL ?? `https://127.0.0.1:${port}`;
  let output = '';
  let child: ChildProcess;

  const start = async (): Promise<void> => {
    child = spawn(process.execPath, [program], { env: settings, stdio: ['ignore', 'pipe', 'pipe'] });
    const began = output.length;
    await new Promise<void>((resolve, reject) => {
      const seen = (chunk: Buffer): void => {
        output += chunk.toString();
        if (output.includes('Interlock is ready', began)) resolve();
      };
      child.stdout?.on('data', seen);
      child.stderr?.on('data', seen);
      child.once('exit', (code) => reject(new Error(`The server ended with ${String(code)} before it was ready:\n${output.slice(began)}`)));
      child.once('error', reject);
    });
  };
  const ended = async (signal: NodeJS.Signals): Promise<number | null> => {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    return new Promise((resolve) => {
      child.once('exit', (code) => resolve(code));
      child.kill(signal);
    });
  };
  const cli = async (args: readonly string[], stdin = ''): Promise<CliResult> =>
    new Promise((resolve) => {
      const command = execFile(process.execPath, [join(root, 'server/cli/main.ts'), ...args], { env: settings, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : 1, stdout, stderr });
      });
      command.stdin?.end(stdin);
    });

  await start();
  return {
    directory,
    dataDir,
    keysDir,
    baseUrl,
    fhirUrl: `${baseUrl}/fhir/R4`,
    mllpPort,
    ca: readFileSync(join(dataDir, 'pki', 'ca.crt'), 'utf8'),
    output: () => output,
    pid: () => child.pid!,
    cli,
    cliJson: async <T>(args: readonly string[], stdin?: string): Promise<T> => {
      const { code, stdout, stderr } = await cli([...args, '--json'], stdin);
      if (code !== 0) throw new Error(`interlock ${args[0] ?? ''} ${args[1] ?? ''} ended with ${code}: ${stderr}${stdout}`);
      return JSON.parse(stdout) as T;
    },
    kill: async () => {
      await ended('SIGKILL');
    },
    restart: start,
    stop: async () => ended('SIGTERM'),
    remove: async () => {
      await ended('SIGTERM');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
