import { statSync } from 'node:fs';
import { chmod, mkdir, open, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { InterlockError } from '../../resources/outcome/error.ts';
import { errnoCode, isDiskFull } from '../pki/files.ts';

/** A file that is written piece by piece, that only its owner can read, and in which nothing was before. */
export class NewFile {
  readonly #path: string;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** @throws InterlockError `request-invalid` if there is something of this name already; an empty file is nothing */
  static async create(path: string): Promise<NewFile> {
    assertNew(path);
    try {
      await mkdir(dirname(path), { recursive: true });
      // An empty one may come from mktemp.
      const file = statSync(path, { throwIfNoEntry: false }) === undefined ? await open(path, 'wx', 0o600) : await open(path, 'r+');
      await chmod(path, 0o600);
      return new NewFile(path, file);
    } catch (cause) {
      throw errnoCode(cause) === 'EEXIST' ? fileExists() : new InterlockError('request-invalid', { detail: 'The file cannot be written there.', cause });
    }
  }

  /** @throws InterlockError `disk-full`, or `request-invalid` for what else keeps it from being written */
  async write(chunk: Uint8Array): Promise<void> {
    try {
      await this.#file.writeFile(chunk);
    } catch (cause) {
      throw isDiskFull(cause) ? new InterlockError('disk-full', { cause }) : new InterlockError('request-invalid', { detail: 'The file cannot be written there.', cause });
    }
  }

  /** Returns when everything is on the disk. */
  async complete(): Promise<void> {
    await this.#file.sync();
    await this.#file.close();
  }

  /** Removes what is there of it. */
  async discard(): Promise<void> {
    await this.#file.close().catch(() => undefined);
    await unlink(this.#path).catch(() => undefined);
  }
}

/** Keeps a report from replacing another. @throws InterlockError `request-invalid` */
export function assertNew(path: string): void {
  const there = statSync(path, { throwIfNoEntry: false });
  if (there !== undefined && !(there.isFile() && there.size === 0)) throw fileExists();
}

function fileExists(): InterlockError {
  return new InterlockError('request-invalid', { detail: 'There is a file of that name already; name another.' });
}
