import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { optionNames } from '../server/config/options.ts';
import { generatedDocs } from './support/generated-docs.ts';

const root = join(import.meta.dirname, '..');

/** Rooms in import order: a room imports only those before it. `main` is what lies in server/ itself: the composition root. */
const rooms = [
  'resources', 'mappings', 'channels',
  'config', 'observe', 'kms', 'pki', 'mongo', 'search', 'storage', 'delivery', 'audit', 'alerts', 'atna', 'partners', 'access', 'reports', 'auth', 'fhir', 'interfaces', 'console', 'cli', 'main', 'demo',
];

/** The one door: only these rooms run the storage's code. Types may be imported by all to its right. */
const mayRunStorage = new Set(['storage', 'access', 'auth', 'main']);

/** Imports against the order, each with its reason. */
const exceptions = new Map([
  ['server/cli/transport.ts -> server/services.ts', 'with the server down, a command runs in the composition root itself'],
]);

/** What is started by hand, by npm or by jest, and so needs nobody to import it. */
const entryPoints = ['server/main.ts', 'server/audit/standalone/verify.ts', 'server/cli/main.ts', 'server/demo/main.ts', 'server/auth/common-passwords/generate.ts', 'resources/definitions/generate.ts', 'resources/terminology/generate.ts', 'test/attempts/main.ts', 'test/bench/main.ts', 'test/clients/main.ts', 'test/consents/main.ts', 'test/conformance/official-validator/main.ts', 'test/conformance/schemathesis.ts', 'test/corpus/main.ts', 'test/faults/main.ts', 'test/oracle/main.ts', 'test/support/generated-docs.ts'];

const topLevel = /^(?:\..+|package(?:-lock)?\.json|tsconfig\.json|(?:eslint|jest)\.config\.mjs|README\.md|LICENSE|server|resources|mappings|channels|test|docs)$/;
const notOurs = new Set(['node_modules', '.git', 'data', 'keys', 'coverage']);

const files = readdirSync(root, { withFileTypes: true })
  .filter(({ name }) => !notOurs.has(name))
  .flatMap((entry) => (entry.isDirectory() ? readdirSync(join(root, entry.name), { recursive: true, encoding: 'utf8' }).map((path) => join(entry.name, path)) : [entry.name]))
  .filter((path) => !path.includes('node_modules'));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const withEnding = (...endings: string[]) => files.filter((path) => endings.some((ending) => path.endsWith(ending)));
const sources = withEnding('.ts');
const isTest = (path: string) => path.startsWith('test/');

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typesOnly: boolean;
}

/** Finds static, re-exporting, bare and dynamic imports, over several lines too, and scripts that are started by path; packages are left out. */
function importsOf(path: string): Import[] {
  const code = read(path).replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  const pattern = /\b(?:(import|export)\s+(type\s)?[^'";()]*?from\s*|import\s*\(\s*|import\s*)['"](\.[^'"]+)['"]/g;
  const started = /(?:join\(import\.meta\.dirname, |new URL\()'([\w./-]+\.ts)'/g;
  const at = (specifier: string) => normalize(join(dirname(path), specifier));
  return [
    ...[...code.matchAll(pattern)].map(([, , type, specifier = '']) => ({ from: path, to: at(specifier), typesOnly: type !== undefined })),
    ...[...code.matchAll(started)].map(([, specifier = '']) => ({ from: path, to: at(specifier), typesOnly: false })),
  ];
}

const imports = sources.flatMap(importsOf);

function roomOf(path: string): string {
  const [top = '', second = '', third] = path.split('/');
  if (top !== 'server') return top;
  return third === undefined ? 'main' : second;
}

/** Lines that match, as `path:line`. */
function hits(paths: readonly string[], pattern: RegExp): string[] {
  return paths.flatMap((path) => read(path).split('\n').flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}`] : [])));
}

describe('layout', () => {
  test('the top level holds what docs/architecture.md says', () => {
    expect(readdirSync(root).filter((name) => !notOurs.has(name) && !topLevel.test(name))).toEqual([]);
  });

  test('the rooms are those of the table in docs/architecture.md, in its order', () => {
    const documented = [...read('docs/architecture.md').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
    expect(documented).toEqual(rooms);
    const folders = readdirSync(join(root, 'server'), { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name);
    expect(folders.filter((name) => !rooms.includes(name))).toEqual([]);
  });
});

describe('imports', () => {
  test('are found in every form', () => {
    expect(importsOf('test/tidy.test.ts').map(({ to }) => to)).toEqual(['server/config/options.ts', 'test/support/generated-docs.ts']);
    expect(imports.filter(({ typesOnly }) => typesOnly).length).toBeGreaterThan(10);
    expect(imports.filter(({ from, to }) => roomOf(from) !== roomOf(to)).length).toBeGreaterThan(50);
  });

  test('lead to files that exist', () => {
    expect(imports.filter(({ to }) => !existsSync(join(root, to)))).toEqual([]);
  });

  test('go in the order of the rooms', () => {
    const against = imports.filter(({ from, to }) => !isTest(from) && rooms.indexOf(roomOf(to)) > rooms.indexOf(roomOf(from))).map(({ from, to }) => `${from} -> ${to}`);
    expect(against).toEqual([...exceptions.keys()]);
    expect(imports.filter(({ from, to }) => !isTest(from) && isTest(to))).toEqual([]);
  });

  test('channels and what they import know nothing of the server', () => {
    expect(imports.filter(({ from, to }) => /^(?:resources|mappings|channels)\//.test(from) && to.startsWith('server/'))).toEqual([]);
  });

  test('of the storage\'s code come from its guards alone', () => {
    expect(imports.filter(({ from, to, typesOnly }) => !isTest(from) && roomOf(to) === 'storage' && !typesOnly && !mayRunStorage.has(roomOf(from)))).toEqual([]);
  });

  test('reach every file', () => {
    const queue = [...entryPoints.filter((path) => files.includes(path)), ...sources.filter((path) => path.endsWith('.test.ts')), ...sources.filter((path) => read('jest.config.mjs').includes(path))];
    const fromTests = reach(queue);
    const fromProduct = reach(entryPoints);
    expect(sources.filter((path) => !(isTest(path) ? fromTests : fromProduct).has(path) && !path.endsWith('.d.ts'))).toEqual([]);
  });

  function reach(start: readonly string[]): Set<string> {
    const seen = new Set(start);
    for (const path of seen) for (const { from, to } of imports) if (from === path) seen.add(to);
    return seen;
  }
});

describe('documents', () => {
  test.each(generatedDocs)('%s is current (else: npx node test/support/generated-docs.ts)', (file, page) => {
    expect(read(file)).toBe(page());
  });

  test('link to files that exist', () => {
    const broken = withEnding('.md').flatMap((path) => [...read(path).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)].map(([, target = '']) => join(dirname(path), target)).filter((target) => !existsSync(join(root, target))));
    expect(broken).toEqual([]);
  });
});

describe('options', () => {
  test('each has an effect: the server reads it', () => {
    const readers = sources.filter((path) => path.startsWith('server/') && roomOf(path) !== 'config').map(read).join('\n');
    expect(optionNames.filter((name) => !new RegExp(`\\.${name}\\b`).test(readers))).toEqual([]);
  });
});

describe('text', () => {
  const written = withEnding('.ts', '.mjs', '.md', '.json', '.yml', '.html', '.css', '.sql', '.txt', '.hl7', '.xml', '.ndjson').filter((path) => path !== 'package-lock.json');
  const code = withEnding('.ts', '.mjs');

  test('files have at most 400 lines', () => {
    expect([...code, ...withEnding('.md')].filter((path) => read(path).trimEnd().split('\n').length > 400)).toEqual([]);
  });

  test('no machine\'s paths, no package registry\'s or mirror\'s host', () => {
    expect(hits(written, /(?:^|["'`\s(=:])\/(?:root|work|home|Users)\/\w/)).toEqual([]);
    expect(hits(written.filter((path) => !path.endsWith('.ndjson')), /https?:\/\/(?:[\w.-]*\.)?(?:registry|mirror|artifactory|nexus|proxy|verdaccio)[.:]/i)).toEqual([]);
    expect(hits([...written, ...withEnding('.py', '.java', '.npmrc', '.ci/run'), 'package-lock.json'], /\b(?:npmjs\.(?:com|org)|pypi\.org|pythonhosted\.org|repo1?\.maven\.)/i)).toEqual([]);
  });

  test('nothing is left to do later', () => {
    expect(hits([...code, ...withEnding('.md')].filter((path) => path !== 'test/tidy.test.ts'), /\b(?:TODO|FIXME|XXX|HACK)\b/)).toEqual([]);
  });

  test('checks are not switched off without a reason', () => {
    expect(hits(code.filter((path) => path !== 'test/tidy.test.ts'), /@ts-(?:ignore|nocheck|expect-error)/)).toEqual([]);
    expect(hits(code.filter((path) => path !== 'test/tidy.test.ts'), /eslint-disable(?!.* -- \S)/)).toEqual([]);
  });

  test('names of fixtures tell nothing of a person: words, no dates and no numbers of identifiers', () => {
    const names = files.filter((path) => path.startsWith('test/fixtures/')).map((path) => relative('test/fixtures', path));
    expect(names.filter((name) => !/^[a-z0-9/._-]+$/i.test(name) || /\d{5}|\d{4}-\d\d/.test(name))).toEqual([]);
  });
});

describe('package', () => {
  test('versions are exact, and the lockfile names no host', () => {
    const { dependencies, devDependencies, optionalDependencies } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
    for (const version of Object.values({ ...dependencies, ...devDependencies, ...optionalDependencies })) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
    expect(read('package-lock.json')).not.toContain('"resolved"');
  });
});
