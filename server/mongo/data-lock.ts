import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { InterlockError } from '../../resources/outcome/error.ts';
import { writeFileAtomic } from '../pki/files.ts';

/** A data directory that this process alone uses. */
export interface DataLock {
  release(): void;
}

/**
 * Takes the data directory for this process. The lock is the kernel's (taken by SQLite, since Node has no call of its
 * own for it), so it ends with the process, however that ends: there are no stale locks to clear.
 *
 * @throws InterlockError `data-locked` if another process holds it
 */
export function lockDataDir(dataDir: string): DataLock {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const pidFile = join(dataDir, 'interlock.pid');
  const database = new DatabaseSync(join(dataDir, 'interlock.lock'), { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    const holder = existsSync(pidFile) ? readFileSync(pidFile, 'utf8').trim() : '';
    throw new InterlockError('data-locked', { ...(/^\d+$/.test(holder) ? { detail: `It is process ${holder}.` } : {}), cause });
  }
  writeFileAtomic(pidFile, `${process.pid}\n`);
  return {
    release() {
      if (!database.isOpen) return;
      rmSync(pidFile, { force: true });
      database.close();
    },
  };
}

/** True if a server has been set up in this data directory before: then missing keys are an error, not a first start. */
export function isDataDirUsed(dataDir: string): boolean {
  return existsSync(join(dataDir, 'pki', 'ca.crt')) || existsSync(join(dataDir, 'mongo', 'state.json'));
}
