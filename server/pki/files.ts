import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, realpathSync, renameSync, rmSync, chmodSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { InterlockError } from '../../resources/outcome/error.ts';

/** Makes a directory that only its owner may enter (mode 0700), parents included. */
export function ensurePrivateDir(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chmodSync(path, 0o700);
}

/**
 * Replaces a file as a whole: after a crash either the old content is there or the new one, never a part.
 *
 * @param mode permission bits; private (0600) unless told otherwise
 */
export function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o600): void {
  const temporary = `${path}.${randomBytes(4).toString('hex')}.new`;
  try {
    writeFileSync(temporary, data, { mode, flush: true });
    // The umask may have taken bits away that the caller asked for.
    chmodSync(temporary, mode);
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw isDiskFull(cause) ? new InterlockError('disk-full', { cause }) : cause;
  }
  flushDirectory(dirname(path));
}

/** True for the errors of a full disk or quota. */
export function isDiskFull(cause: unknown): boolean {
  const code = errnoCode(cause);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** The `code` of a system error (`ENOENT`, …); empty for anything else. */
export function errnoCode(cause: unknown): string {
  return typeof cause === 'object' && cause !== null && 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
}

/**
 * Refuses a keys directory that is the data directory or lies within it: a copy of the data must never
 * carry the keys along. Symbolic links are followed; directories need not exist yet.
 *
 * @throws InterlockError `keys-inside-data`
 */
export function assertKeysOutsideData(dataDir: string, keysDir: string): void {
  const path = relative(realPathOf(dataDir), realPathOf(keysDir));
  if (path === '' || !(path === '..' || path.startsWith(`..${sep}`))) throw new InterlockError('keys-inside-data');
}

/** Follows links in the part of the path that exists. */
function realPathOf(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch (cause) {
    if (errnoCode(cause) !== 'ENOENT' || dirname(absolute) === absolute) throw cause;
    return join(realPathOf(dirname(absolute)), basename(absolute));
  }
}

function flushDirectory(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
