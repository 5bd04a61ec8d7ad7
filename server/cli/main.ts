#!/usr/bin/env node
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Command as Commander, CommanderError } from 'commander';
import type { Command, CommandInput, CommandOption, CommandResult } from './command.ts';
import { commands } from './commands/index.ts';
import { errorOf } from './error-of.ts';
import { assertNew, NewFile } from './new-file.ts';
import { renderResult } from './render.ts';
import { execute } from './transport.ts';

/** Reads the command line, has the command run by the server (or without one), and shows the result. */
async function main(argv: readonly string[]): Promise<number> {
  const program = new Commander('interlock')
    .description('Operates an Interlock server. Settings come from the same environment and configuration file as the server\'s.')
    .exitOverride()
    .showHelpAfterError();
  let exitCode = 0;
  const groups = new Map<string, Commander>();
  for (const command of commands) {
    const words = command.name.split(' ');
    const name = words.pop()!;
    let parent = program;
    for (const word of words) {
      const group = groups.get(word) ?? parent.command(word).description(`${word} commands`);
      groups.set(word, group);
      parent = group;
    }
    const sub = parent.command(name).description(command.summary).option('--json', 'for machines');
    for (const arg of command.args ?? []) sub.argument(arg);
    for (const option of command.options ?? []) addOption(sub, option);
    sub.action(async (...given: unknown[]) => {
      exitCode = await run(command, given.slice(0, command.args?.length ?? 0) as (string | undefined)[], sub.opts());
    });
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode;
  }
  return exitCode;
}

function addOption(sub: Commander, option: CommandOption): void {
  if (option.repeats === true) {
    sub.option(option.flags, option.description, (value: string, all: string[] | undefined) => [...(all ?? []), value]);
  } else if (option.required === true) sub.requiredOption(option.flags, option.description);
  else sub.option(option.flags, option.description);
}

async function run(command: Command, args: readonly (string | undefined)[], given: Record<string, string | true | string[]>): Promise<number> {
  const { json, ...options } = given;
  let result: CommandResult;
  const received = new Map<string, NewFile>();
  try {
    const { out } = options;
    if (typeof out === 'string' && command.options?.some((option) => option.isNew === true)) assertNew(out);
    result = await execute(command.name, inputOf(command, args, options), {
      tell: progress,
      send: async (name, chunk) => {
        let file = received.get(name);
        if (file === undefined) received.set(name, (file = await NewFile.create(pathOf(String(out), name))));
        await file.write(chunk);
      },
    });
    for (const file of received.values()) await file.complete();
  } catch (error) {
    // Half a file is none.
    for (const file of received.values()) await file.discard();
    const { code, message } = errorOf(error);
    if (json === true) console.log(JSON.stringify({ error: { code, message } }));
    else console.error(`interlock: ${message}`);
    return 1;
  }
  writeFiles(result, options['out']);
  const { failed = false } = result;
  console.log(json === true ? JSON.stringify(result.json, null, 2) : renderResult(result));
  return failed ? 2 : 0;
}

function inputOf(command: Command, args: readonly (string | undefined)[], given: Record<string, string | true | string[]>): CommandInput {
  const options = { ...given };
  const files: Record<string, string> = {};
  for (const option of command.options ?? []) {
    const name = optionName(option.flags);
    const value = options[name];
    if (option.readsFile === true && typeof value === 'string') {
      files[name] = readFileSync(value).toString('base64');
      options[name] = basename(value);
    }
    if (option.local === true) Reflect.deleteProperty(options, name);
  }
  const readArgs = args.filter((arg) => arg !== undefined).map((arg, index) => {
    if (!(command.args?.[index] ?? '').includes('file')) return arg;
    files[`arg${index}`] = readFileSync(arg).toString('base64');
    return basename(arg);
  });
  const stdin = given['passwordStdin'] === true ? readFileSync(0, 'utf8').split(/\r?\n/)[0] : undefined;
  return { operator: `operator:${userInfo().username}`, args: readArgs, options, files, ...(stdin === undefined ? {} : { stdin }) };
}

/** `--redirect-uri <uri>` -> `redirectUri`, as commander names it. */
function optionName(flags: string): string {
  return flags.replace(/^--([a-z0-9-]+).*$/, '$1').replaceAll(/-([a-z])/g, (_all, letter: string) => letter.toUpperCase());
}

function pathOf(out: string, name: string): string {
  return name === '' ? out : join(out, name);
}

function writeFiles(result: CommandResult, out: unknown): void {
  if (result.files === undefined || typeof out !== 'string') return;
  for (const { name, contentBase64, mode } of result.files) {
    const path = pathOf(out, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, Buffer.from(contentBase64, 'base64'), { mode });
  }
}

/** One line on a terminal, nothing in a pipe. */
function progress(done: number, total?: number): void {
  if (!process.stderr.isTTY) return;
  process.stderr.write(`\r${done}${total === undefined ? '' : ` of ${total}`} …\u001b[K`);
  if (done === total) process.stderr.write('\r\u001b[K');
}

process.exitCode = await main(process.argv.slice(2));
