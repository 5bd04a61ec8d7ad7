import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { InterlockError } from '../../resources/outcome/error.ts';
import { optionNames, options, variableOf, type Config, type OptionName } from './options.ts';

/** Names the optional JSON file that holds options by their names. */
export const configFileVariable = 'INTERLOCK_CONFIG';

export type { Config } from './options.ts';

type Values = Record<OptionName, unknown>;

/**
 * Makes the configuration of environment and file; the environment wins.
 *
 * @param env such as `process.env`; an empty value counts as absent
 * @returns the frozen configuration, and warnings for the operator: unknown names, weakened protections
 * @throws InterlockError `config-invalid`, naming every variable that is wrong and what it must be, never its value
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): { readonly config: Config; readonly warnings: readonly string[] } {
  const problems: string[] = [];
  const warnings: string[] = [];
  const file = readConfigFile(env[configFileVariable], warnings);
  const values = {} as Values;
  for (const name of optionNames) {
    const { schema, form, default: fallback } = options[name];
    const variable = variableOf(name);
    const given = env[variable] === undefined || env[variable] === '' ? file[name] : env[variable];
    const parsed = schema.safeParse(given ?? fallback);
    if (parsed.success) values[name] = parsed.data;
    else problems.push(`${variable} must be ${form}.`);
  }
  if (problems.length > 0) throw new InterlockError('config-invalid', { detail: problems.join(' ') });
  const config = Object.freeze(complete(values as unknown as Config, warnings));
  refuseContradictions(config);
  return { config, warnings: [...unknownNames(env, file), ...warnings, ...weaknesses(config)] };
}

function readConfigFile(path: string | undefined, warnings: string[]): Readonly<Record<string, unknown>> {
  if (path === undefined || path === '') return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
    // It may hold database passwords.
    if ((statSync(path).mode & 0o077) !== 0) warnings.push(`The file that ${configFileVariable} names can be read by others; set its mode to 0600.`);
  } catch {
    throw new InterlockError('config-invalid', { detail: `${configFileVariable} must name a readable JSON file.` });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw new InterlockError('config-invalid', { detail: `${configFileVariable} must name a file with one JSON object.` });
  return parsed as Readonly<Record<string, unknown>>;
}

function complete(values: Config, warnings: string[]): Config {
  const isWildcard = values.host === '0.0.0.0' || values.host === '::';
  const given: string | undefined = values.baseUrl;
  if (isWildcard && given === undefined) warnings.push(`${variableOf('host')} is a wildcard: set ${variableOf('baseUrl')} to the URL that clients use. Until then it is that of localhost.`);
  const host = isWildcard ? 'localhost' : values.host.includes(':') ? `[${values.host}]` : values.host;
  return { ...values, dataDir: resolve(values.dataDir), keysDir: resolve(values.keysDir), ...filesOf(values), baseUrl: given ?? `https://${host}:${values.port}` };
}

/** Options that name files, made absolute. */
function filesOf(values: Config): Partial<Config> {
  const names = ['rolesFile', 'ssoFile', 'alertRulesFile', 'alertNetworksFile', 'outboundCaFile'] as const;
  return Object.fromEntries(names.flatMap((name) => (values[name] === undefined ? [] : [[name, resolve(values[name])]])));
}

function refuseContradictions(config: Config): void {
  const refuse = (detail: string) => {
    throw new InterlockError('config-invalid', { detail });
  };
  const { mongodbUri, auditMongodbUri, allowInsecureMongo } = config;
  if ((mongodbUri === undefined) !== (auditMongodbUri === undefined)) refuse('MONGODB_URI and AUDIT_MONGODB_URI must be set both or neither.');
  if (mongodbUri !== undefined && mongodbUri === auditMongodbUri) refuse('MONGODB_URI and AUDIT_MONGODB_URI must differ: the audit trail has a user of its own, which may only insert and find.');
  for (const [variable, uri] of [['MONGODB_URI', mongodbUri], ['AUDIT_MONGODB_URI', auditMongodbUri]] as const) {
    if (uri !== undefined && !usesTls(uri) && !allowInsecureMongo) refuse(`${variable} must ask for TLS (tls=true), with certificate checks.`);
  }
  if (config.port === config.mllpPort) refuse(`${variableOf('port')} and ${variableOf('mllpPort')} must differ.`);
  if (config.defaultPageCount > config.maxPageCount) refuse(`${variableOf('defaultPageCount')} must not be more than ${variableOf('maxPageCount')}.`);
}

/** TLS is on by option, or by default with `+srv`. Certificate checks must not be off. */
function usesTls(uri: string): boolean {
  const query = new URLSearchParams((uri.split('?')[1] ?? '').toLowerCase());
  const lax = ['tlsinsecure', 'tlsallowinvalidcertificates', 'tlsallowinvalidhostnames'].some((name) => query.get(name) === 'true');
  const asked = query.get('tls') ?? query.get('ssl') ?? String(uri.startsWith('mongodb+srv:'));
  return asked === 'true' && !lax;
}

function unknownNames(env: Readonly<Record<string, string | undefined>>, file: Readonly<Record<string, unknown>>): string[] {
  const known = new Set([configFileVariable, ...optionNames.map(variableOf)]);
  const variables = Object.keys(env).filter((name) => name.startsWith('INTERLOCK_') && !known.has(name));
  const names = Object.keys(file).filter((name) => !Object.hasOwn(options, name));
  return [...variables.map((name) => `There is no variable ${name}.`), ...names.map((name) => `There is no option ${/^\w{1,64}$/.test(name) ? name : 'of that name'} (in the file that ${configFileVariable} names).`)];
}

function weaknesses(config: Config): string[] {
  return optionNames.filter((name) => name.startsWith('allowInsecure') && config[name] === true).map((name) => `${variableOf(name)} is on: ${options[name].doc} Never with patients' data.`);
}
