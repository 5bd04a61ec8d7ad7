import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { TLSSocket } from 'node:tls';
import express, { type Request, type RequestHandler, type Response, type Router } from 'express';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';
import { toOperationOutcome } from '../../resources/outcome/render.ts';
import { peerOf } from '../pki/tls.ts';
import type { CommandInput, CommandResult, CommandRun, CommandServices } from './command.ts';
import { commands } from './commands/index.ts';
import { errorOf } from './error-of.ts';

const inputSchema = z.strictObject({
  command: z.string().max(100),
  operator: z.string().regex(/^operator:.{1,100}$/),
  args: z.array(z.string().max(4096)).max(10),
  options: z.record(z.string(), z.union([z.string().max(65_536), z.literal(true), z.array(z.string().max(4096)).max(100)])),
  files: z.record(z.string(), z.string()),
  stdin: z.string().max(4096).optional(),
});

/** Largest request of a command: a message file of the largest size, in base64. */
const maxCommandSizeBytes = 80 * 1024 * 1024;

/**
 * Where the command line reaches the running server: from the same machine only, and only with the operator's
 * certificate from the keys directory. The answer is a line of JSON for each bit of progress and for each piece of a file,
 * then one for the result.
 */
export function commandEndpoint(services: CommandServices): Router {
  const router = express.Router();
  const parse: RequestHandler = express.json({ limit: maxCommandSizeBytes });
  router.post('/commands', async (request, response) => {
    const { socket } = request;
    const peer = socket instanceof TLSSocket ? peerOf(services.pki, socket) : 'absent';
    // On this machine: by loopback, or from the very address that the server is bound to.
    const isLocal = /^(?:::ffff:)?127\.|^::1$/.test(socket.remoteAddress ?? '') || (socket.remoteAddress !== undefined && socket.remoteAddress === socket.localAddress);
    if (!isLocal || typeof peer === 'string' || peer.kind !== 'operator') {
      const error = new InterlockError('certificate-required', { rule: 'command line: no operator certificate' });
      const { status, outcome } = toOperationOutcome(error);
      const actor = { kind: 'anonymous', id: 'anonymous', address: socket.remoteAddress ?? '' } as const;
      await services.audit.record({ at: services.nowMs(), kind: 'command', interaction: 'command', action: 'E', outcome: '8', error: error.code, rule: error.options.rule!, requestId: randomUUID(), actor });
      response.status(status).json(outcome);
      return;
    }
    response.set('Content-Type', 'application/x-ndjson');
    const write = (line: unknown) => response.write(`${JSON.stringify(line)}\n`);
    try {
      // Nothing of a stranger's is read.
      const { command, ...input } = inputSchema.parse(await bodyOf(parse, request, response));
      const known = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined)) as unknown as CommandInput;
      const result = await runCommand(services, command, known, {
        tell: (done, total) => void write({ progress: { done, total } }),
        send: async (name, chunk) => {
          if (!write({ chunk: { name, contentBase64: Buffer.from(chunk).toString('base64') } })) await drained(response);
        },
      });
      write({ result });
    } catch (error) {
      write({ error: errorOf(error) });
    }
    response.end();
  });
  return router;
}

/**
 * Runs a command and audits it: its name and the names of its options, never their values. Without an audit trail, nothing runs.
 * @throws InterlockError
 */
export async function runCommand(services: CommandServices, name: string, input: CommandInput, ways: Pick<CommandRun, 'tell' | 'send'>): Promise<CommandResult> {
  const command = commands.find((one) => one.name === name);
  services.audit.assertAvailable();
  const about = {
    kind: 'command',
    interaction: 'command',
    action: 'E',
    requestId: randomUUID(),
    actor: { kind: 'operator', id: input.operator },
    command: command === undefined ? 'unknown' : [name, ...Object.keys(input.options).map((option) => `--${option}`)].join(' '),
  } as const;
  let result: CommandResult;
  try {
    if (command === undefined) throw new InterlockError('request-invalid', { detail: 'There is no such command.' });
    const record: CommandRun['record'] = async (interaction, facts) => services.audit.record({ ...about, ...facts, interaction, action: 'R', at: services.nowMs(), outcome: '0' });
    result = await command.run(services, input, ways.tell, { ...ways, record });
  } catch (error) {
    const code = error instanceof InterlockError ? error.code : 'internal';
    await services.audit.record({ ...about, at: services.nowMs(), outcome: code === 'internal' ? '8' : '4', error: code, ...(error instanceof InterlockError && error.options.rule !== undefined ? { rule: error.options.rule } : {}) });
    throw error;
  }
  // It has happened: should the audit fail now, the entry is kept until it is durable.
  await services.audit.appendCommitted([services.audit.prepare({ ...about, ...result.about, at: services.nowMs(), outcome: '0' })]);
  return result;
}

/** @throws InterlockError `unavailable` once nobody listens any more */
async function drained(response: Response): Promise<void> {
  const closed = new AbortController();
  try {
    if (!response.destroyed) await Promise.race([once(response, 'drain', { signal: closed.signal }), once(response, 'close', { signal: closed.signal })]);
  } finally {
    closed.abort();
  }
  if (response.destroyed) throw new InterlockError('unavailable', { detail: 'The command line went away.' });
}

async function bodyOf(parse: RequestHandler, request: Request, response: Response): Promise<unknown> {
  await new Promise<void>((resolve, reject) => {
    void parse(request, response, (error?: unknown) => (error === undefined ? resolve() : reject(new InterlockError('structure-invalid', { cause: error }))));
  });
  return request.body;
}
