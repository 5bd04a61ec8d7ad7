import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Channels } from '../../channels/run.ts';
import type { Alerts } from '../alerts/alerts.ts';
import type { Retention } from '../audit/archive-open.ts';
import type { Atna } from '../atna/open.ts';
import type { Checkpoints } from '../audit/checkpoints.ts';
import type { BreakGlass } from '../access/break-glass.ts';
import type { GuardServices } from '../access/guard.ts';
import type { IntegrityChecks } from '../audit/integrity.ts';
import type { AuditReader } from '../audit/reader.ts';
import type { AuditRecord, AuditTrail } from '../audit/record.ts';
import type { AppAccess } from '../auth/app-access.ts';
import type { Clients } from '../auth/clients.ts';
import type { NewLaunch } from '../auth/launch.ts';
import type { InitialTokens } from '../auth/initial-tokens.ts';
import type { People } from '../auth/people.ts';
import type { SoftwareIssuers } from '../auth/software-issuers.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { PartnerRegistry } from '../partners/registry.ts';
import type { Pki } from '../pki/pki.ts';
import type { BreachRegister } from '../reports/breach-register.ts';
import type { OpenStore } from '../storage/store.ts';

/** What commands work on: the running server's own parts. */
export interface CommandServices {
  readonly alerts: Alerts;
  readonly atna: Atna;
  /** For what a command reads of the record: as the operator, through the one door. */
  readonly guard: GuardServices;
  readonly breakGlass: BreakGlass;
  readonly clients: Clients;
  readonly initialTokens: InitialTokens;
  readonly softwareIssuers: SoftwareIssuers;
  readonly people: People;
  readonly apps: AppAccess;
  readonly createLaunch: (launch: NewLaunch) => Promise<string>;
  readonly fhirBaseUrl: string;
  readonly partners: PartnerRegistry;
  readonly pki: Pki;
  readonly channels: Channels;
  readonly audit: AuditTrail;
  readonly auditReader: AuditReader;
  readonly checkpoints: Checkpoints;
  readonly integrityChecks: IntegrityChecks;
  readonly retention: Retention;
  readonly breaches: BreachRegister;
  readonly store: Pick<OpenStore, 'indexes'>;
  readonly auditConnection: Connection;
  readonly keyring: Keyring;
  readonly keysDir: string;
  readonly tenant: string;
  readonly nowMs: () => number;
}

/** One option of a command, in commander's notation. */
export interface CommandOption {
  /** Such as `--name <name>` or `--all`. */
  readonly flags: string;
  readonly description: string;
  readonly required?: boolean;
  /** May be given several times. */
  readonly repeats?: boolean;
  /** The value names a file, whose content the command gets. */
  readonly readsFile?: boolean;
  /** The value names where results go: stays on this side. */
  readonly local?: boolean;
  /** Of such a one: nothing may be there yet. */
  readonly isNew?: boolean;
}

/** What a command is given: everything as text, files by content. */
export interface CommandInput {
  /** `operator:<os user>`. */
  readonly operator: string;
  readonly args: readonly string[];
  /** By long name without dashes, in camel case; a flag without value is `true`. */
  readonly options: Readonly<Record<string, string | true | readonly string[]>>;
  /** Content (base64) of the files that options name. */
  readonly files: Readonly<Record<string, string>>;
  /** First line of standard input, where an option asks for it. */
  readonly stdin?: string;
}

/** What a command answers. */
export interface CommandResult {
  /** Shown as a table. */
  readonly table?: { readonly columns: readonly string[]; readonly rows: readonly (readonly string[])[] };
  /** Shown under the table. */
  readonly lines?: readonly string[];
  /** The same for machines. */
  readonly json: unknown;
  /** Files to write under `--out` (a directory, or the file itself if there is one with an empty name). */
  readonly files?: readonly { readonly name: string; readonly contentBase64: string; readonly mode: number }[];
  /** True: what was asked for was found wanting; the exit code says so. */
  readonly failed?: boolean;
  /** What the audit entry says beyond the command's name: what was asked, and whose data were shown. */
  readonly about?: CommandFacts;
}

/** What the audit entry of a command can say. */
export type CommandFacts = Pick<AuditRecord, 'query' | 'patients' | 'entities'>;

/** What a command can do while it runs. */
export interface CommandRun {
  /** Shows progress: work done and, if known, in all. */
  readonly tell: (done: number, total?: number) => void;
  /** Makes an entry of its own durable before anything is sent; it has the request id of the command's. */
  readonly record: (interaction: string, facts: CommandFacts) => Promise<void>;
  /** Sends the next bytes of a file under `--out` (of `--out` itself if the name is empty), as fast as they are taken. Audit before. */
  readonly send: (name: string, chunk: Uint8Array) => Promise<void>;
}

/** A command of the command line. */
export interface Command {
  /** Such as `client add`. */
  readonly name: string;
  readonly summary: string;
  /** Positional arguments in commander's notation, such as `<name>`. */
  readonly args?: readonly string[];
  readonly options?: readonly CommandOption[];
  /** @param tell as in `run` */
  readonly run: (services: CommandServices, input: CommandInput, tell: CommandRun['tell'], run: CommandRun) => Promise<CommandResult>;
}

/** An option's text. */
export function text(input: CommandInput, name: string): string | undefined {
  const value = input.options[name];
  return typeof value === 'string' ? value : undefined;
}

/** Every value of an option that repeats. */
export function texts(input: CommandInput, name: string): readonly string[] {
  const value = input.options[name];
  return Array.isArray(value) ? (value as readonly string[]) : typeof value === 'string' ? [value] : [];
}

/** An option's time, milliseconds since 1970. @throws InterlockError `request-invalid` if it is none */
export function timeOf(input: CommandInput, name: string): number | undefined {
  const given = text(input, name);
  if (given === undefined) return undefined;
  const at = Date.parse(given);
  if (Number.isNaN(at)) throw new InterlockError('request-invalid', { detail: `--${name} is an ISO 8601 date or time.` });
  return at;
}

/** True if a flag was given. */
export function flag(input: CommandInput, name: string): boolean {
  return input.options[name] === true;
}
