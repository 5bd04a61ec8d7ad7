import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { loadConfig } from '../../../server/config/config.ts';
import { optionNames, options, variableOf } from '../../../server/config/options.ts';

const dir = mkdtempSync(join(tmpdir(), 'config-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const configFile = (content: string, mode = 0o600): string => {
  const path = join(dir, `${Math.random()}.json`);
  writeFileSync(path, content, { mode });
  return path;
};

const refusal = (env: Record<string, string>): string => {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof InterlockError && error.code === 'config-invalid') return error.message;
    throw error;
  }
  return 'accepted';
};

const uris = { MONGODB_URI: 'mongodb://app@db.example/?tls=true', AUDIT_MONGODB_URI: 'mongodb+srv://audit@db.example/' };

describe('loadConfig', () => {
  test('works with nothing set', () => {
    const { config, warnings } = loadConfig({ PATH: '/bin', HOME: '/' });
    expect(warnings).toEqual([]);
    expect(config).toMatchObject({ dataDir: resolve('data'), keysDir: resolve('keys'), host: '127.0.0.1', port: 8_443, baseUrl: 'https://127.0.0.1:8443', mllpPort: 2_575, kms: 'local:', logLevel: 'info', mongodbUri: undefined });
    expect(Object.isFrozen(config)).toBe(true);
  });

  test('reads each option of the external contract from its variable', () => {
    const { config, warnings } = loadConfig({
      ...uris, INTERLOCK_DATA_DIR: '/d', INTERLOCK_KEYS_DIR: '/k', INTERLOCK_HOST: '10.0.0.1', INTERLOCK_PORT: '443', INTERLOCK_BASE_URL: 'https://fhir.example/', INTERLOCK_MLLP_PORT: '6661', INTERLOCK_MONGOD: '/m',
      INTERLOCK_KMS: 'aws:alias/x', INTERLOCK_WORKERS: '4', INTERLOCK_LOG_LEVEL: 'warn',
    });
    expect(warnings).toEqual([]);
    expect(config).toMatchObject({
      mongodbUri: uris.MONGODB_URI, auditMongodbUri: uris.AUDIT_MONGODB_URI, dataDir: '/d', keysDir: '/k', host: '10.0.0.1', port: 443, baseUrl: 'https://fhir.example', mllpPort: 6661, mongod: '/m', kms: 'aws:alias/x', workers: 4, logLevel: 'warn',
    });
  });

  test('takes options from the file, and the environment before it', () => {
    const INTERLOCK_CONFIG = configFile('{"port": 9000, "workers": 2, "allowInsecureMongo": false}');
    expect(loadConfig({ INTERLOCK_CONFIG, INTERLOCK_WORKERS: '3', INTERLOCK_HOST: '' })).toMatchObject({ config: { port: 9_000, workers: 3, host: '127.0.0.1' }, warnings: [] });
  });

  test.each([
    ['INTERLOCK_PORT', '0'], ['INTERLOCK_PORT', '65536'], ['INTERLOCK_PORT', '0x50'], ['INTERLOCK_PORT', '80.5'], ['INTERLOCK_PORT', ' 80'], ['INTERLOCK_PORT', 'sekret'],
    ['INTERLOCK_BASE_URL', 'http://sekret.example'], ['INTERLOCK_BASE_URL', 'sekret.example'], ['INTERLOCK_BASE_URL', 'https://a.example/?sekret'], ['INTERLOCK_KMS', 'sekret:'], ['INTERLOCK_LOG_LEVEL', 'sekret'],
    ['INTERLOCK_ZONE', 'Sekret/Zone'], ['INTERLOCK_ALLOW_INSECURE_MONGO', 'yes'], ['MONGODB_URI', 'postgres://sekret'], ['INTERLOCK_BACKEND_TOKEN_LIFETIME_S', '301'], ['INTERLOCK_SESSION_IDLE_S', '901'],
  ])('refuses %s=%s and names the variable, not the value', (name, value) => {
    const message = refusal({ [name]: value });
    expect(message).toContain(`${name} must be `);
    expect(message.toLowerCase()).not.toContain('sekret');
  });

  test('names all that is wrong at once', () => {
    expect(refusal({ INTERLOCK_PORT: 'x', INTERLOCK_WORKERS: '0' })).toMatch(/INTERLOCK_PORT must be .* INTERLOCK_WORKERS must be /);
  });

  test.each<[string, Record<string, string>, RegExp]>([
    ['one database only', { MONGODB_URI: uris.MONGODB_URI }, /both or neither/],
    ['the same database user twice', { MONGODB_URI: uris.MONGODB_URI, AUDIT_MONGODB_URI: uris.MONGODB_URI }, /must differ/],
    ['a database without TLS', { ...uris, MONGODB_URI: 'mongodb://db.example/&tls=true' }, /MONGODB_URI must ask for TLS/],
    ['a database with TLS turned off', { ...uris, AUDIT_MONGODB_URI: 'mongodb+srv://db.example/?tls=false' }, /AUDIT_MONGODB_URI must ask for TLS/],
    ['a database whose certificate is not checked', { ...uris, MONGODB_URI: 'mongodb://db.example/?tls=true&tlsInsecure=true' }, /certificate checks/],
    ['one port for two listeners', { INTERLOCK_PORT: '2575' }, /must differ/],
    ['a page larger than the largest', { INTERLOCK_MAX_PAGE_COUNT: '10' }, /must not be more/],
    ['a file that is not there', { INTERLOCK_CONFIG: '/nowhere/config.json' }, /INTERLOCK_CONFIG must name a readable JSON file/],
  ])('refuses %s', (_what, env, message) => {
    expect(refusal(env)).toMatch(message);
  });

  test.each(['[]', '"a"', 'null', '{"port": 80', '{"port": "x"}'])('refuses the file %s', (content) => {
    expect(refusal({ INTERLOCK_CONFIG: configFile(content) })).not.toBe('accepted');
  });

  test('warns of unknown names, open files, wildcards and weakened protections', () => {
    const { config, warnings } = loadConfig({ ...uris, MONGODB_URI: 'mongodb://db.example/', INTERLOCK_CONFIG: configFile('{"prot": 1, "a b": 1}', 0o644), INTERLOCK_PROT: '1', INTERLOCK_ALLOW_INSECURE_MONGO: 'true', INTERLOCK_HOST: '0.0.0.0' });
    expect(config.baseUrl).toBe('https://localhost:8443');
    for (const part of ['no variable INTERLOCK_PROT', 'no option prot', 'no option of that name', 'mode to 0600', 'wildcard', 'INTERLOCK_ALLOW_INSECURE_MONGO is on']) expect(warnings.join('\n')).toContain(part);
    expect(warnings).toHaveLength(6);
  });

  test('writes the address of an IPv6 host as a URL', () => {
    expect(loadConfig({ INTERLOCK_HOST: '::1' }).config.baseUrl).toBe('https://[::1]:8443');
  });
});

describe('the table of options', () => {
  test.each(optionNames)('%s: its default is valid and it is explained', (name) => {
    const { schema, default: fallback, doc, form } = options[name];
    expect(schema.safeParse(fallback).success).toBe(true);
    expect(doc).toMatch(/^[A-Z].*[.:]/);
    expect(form).not.toBe('');
    expect(variableOf(name)).toMatch(/^[A-Z][A-Z0-9_]+$/);
  });

  test('numbers say their unit', () => {
    const counts = /(?:Port|Count|Entries|Connections|PerMinute|workers)$/i;
    for (const name of optionNames) if (typeof options[name].default === 'number') expect(name).toMatch(new RegExp(`(?:Ms|S|Bytes)$|${counts.source}`, 'i'));
  });
});
