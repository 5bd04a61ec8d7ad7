import { existsSync, readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { InterlockError } from '../../resources/outcome/error.ts';
import { catalogue, type ErrorCode } from '../../resources/outcome/catalogue.ts';
import { loadConfig, type Config } from '../config/config.ts';
import { isDataDirUsed } from '../mongo/data-lock.ts';
import type { CommandInput, CommandResult, CommandRun } from './command.ts';

type Ways = Pick<CommandRun, 'tell' | 'send'>;

/**
 * Has a command run: by the server if it is up, else by the same parts in this process, which then holds the data
 * directory's lock.
 * @throws InterlockError
 */
export async function execute(name: string, input: CommandInput, ways: Ways): Promise<CommandResult> {
  const { config } = loadConfig(process.env);
  return (await byServer(config, name, input, ways)) ?? (await headless(config, name, input, ways));
}

/** @returns undefined if no server listens */
async function byServer(config: Config, name: string, input: CommandInput, ways: Ways): Promise<CommandResult | undefined> {
  const directory = join(config.keysDir, 'operator');
  const [cert, key, ca] = ['client.crt', 'client.key', 'ca.crt'].map((file) => join(directory, file)) as [string, string, string];
  if (![cert, key, ca].every(existsSync)) return undefined;
  const host = config.host === '0.0.0.0' || config.host === '::' ? '127.0.0.1' : config.host;
  return new Promise((resolve, reject) => {
    const sent = request(
      { host, port: config.port, path: '/admin/commands', method: 'POST', cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca), servername: 'localhost', headers: { 'Content-Type': 'application/json' } },
      (response) => {
        if (response.statusCode !== 200) {
          response.resume();
          reject(new InterlockError('certificate-required', { detail: 'The server refused the operator certificate; was it started with the same keys directory, on this machine?' }));
          return;
        }
        answered(response, ways).then(resolve, (cause: unknown) => {
          response.destroy();
          reject(cause instanceof InterlockError ? cause : new InterlockError('unavailable', { detail: 'The connection to the server broke.', cause }));
        });
      },
    );
    sent.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') resolve(undefined);
      else reject(new InterlockError('unavailable', { detail: `The server at port ${config.port} cannot be reached (${error.code ?? error.name}).`, cause: error }));
    });
    sent.end(JSON.stringify({ command: name, ...input }));
  });
}

/** Takes the server's lines one by one: while a piece of a file is being written, no more are read. */
async function answered(response: IncomingMessage, { tell, send }: Ways): Promise<CommandResult> {
  let result: CommandResult | undefined;
  for await (const line of createInterface({ input: response })) {
    const message = JSON.parse(line) as { progress?: { done: number; total?: number }; chunk?: { name: string; contentBase64: string }; result?: CommandResult; error?: { code: string; message: string } };
    if (message.progress !== undefined) tell(message.progress.done, message.progress.total);
    if (message.chunk !== undefined) await send(message.chunk.name, Buffer.from(message.chunk.contentBase64, 'base64'));
    if (message.error !== undefined) throw new RemoteError(message.error);
    result ??= message.result;
  }
  if (result === undefined) throw new InterlockError('unavailable', { detail: 'The server ended before it answered.' });
  return result;
}

async function headless(config: Config, name: string, input: CommandInput, ways: Ways): Promise<CommandResult> {
  // A mistyped directory must not become a new, empty installation.
  if (!isDataDirUsed(config.dataDir)) throw new InterlockError('config-invalid', { detail: 'No server has run in this data directory: start one (npm start), or set INTERLOCK_DATA_DIR and INTERLOCK_KEYS_DIR to its directories.' });
  // Loaded only here: with a server running, the command line stays quick.
  const [{ openServices }, { runCommand }, { createLog }] = await Promise.all([import('../services.ts'), import('./endpoint.ts'), import('../observe/log.ts')]);
  const note = (line: string): void => void process.stderr.write(`${line}\n`);
  const services = await openServices({ config, log: createLog('error'), serve: false, onProgress: note, onFatal: () => process.exit(1) });
  try {
    return await runCommand(services, name, input, ways);
  } finally {
    await services.close();
  }
}

/** An error that the server reported, with its text as it came. */
class RemoteError extends InterlockError {
  constructor({ code, message }: { code: string; message: string }) {
    super(Object.hasOwn(catalogue, code) ? (code as ErrorCode) : 'internal');
    this.message = message;
  }
}
