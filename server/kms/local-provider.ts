import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { KeyProvider } from './provider.ts';
import { open, seal } from './seal.ts';

const fileName = 'master-keys.json';
const fileSchema = z.object({ current: z.string(), keys: z.record(z.string(), z.string()) });

/** A master key in a file of mode 0600 in the keys directory: for one machine and for evaluation. */
export class LocalKeyProvider implements KeyProvider {
  readonly kekId: string;
  readonly #keys: ReadonlyMap<string, KeyObject>;

  private constructor(kekId: string, keys: ReadonlyMap<string, KeyObject>) {
    this.kekId = kekId;
    this.#keys = keys;
  }

  /**
   * Opens the master key file, or makes one.
   *
   * @param mayCreate false where sealed data exists already: then a missing file is an error, not a first start
   * @throws InterlockError `key-missing` or `key-wrong` (file unreadable)
   */
  static open(keysDir: string, mayCreate: boolean): LocalKeyProvider {
    const path = join(keysDir, fileName);
    if (!existsSync(path)) {
      if (!mayCreate) throw new InterlockError('key-missing', { detail: `Expected ${fileName} in the keys directory.` });
      mkdirSync(keysDir, { recursive: true, mode: 0o700 });
      const kekId = `local-${randomBytes(4).toString('hex')}`;
      const temporary = `${path}.new`;
      writeFileSync(temporary, `${JSON.stringify({ current: kekId, keys: { [kekId]: randomBytes(32).toString('base64') } })}\n`, { mode: 0o600, flush: true });
      renameSync(temporary, path);
    }
    chmodSync(path, 0o600);
    const parsed = parse(readFileSync(path, 'utf8'));
    const keys = new Map(Object.entries(parsed.keys).map(([id, key]) => [id, createSecretKey(key, 'base64')]));
    if (!keys.has(parsed.current)) throw new InterlockError('key-wrong', { detail: `${fileName} does not hold its current key.` });
    return new LocalKeyProvider(parsed.current, keys);
  }

  async wrap(dataKey: Buffer, context: string): Promise<Buffer> {
    return seal(this.#kek(this.kekId), dataKey, context);
  }

  async unwrap(kekId: string, wrapped: Buffer, context: string): Promise<Buffer> {
    try {
      return open(this.#kek(kekId), wrapped, context);
    } catch (cause) {
      if (cause instanceof InterlockError && cause.code === 'integrity-failure') throw new InterlockError('key-wrong', { cause });
      throw cause;
    }
  }

  #kek(id: string): KeyObject {
    const key = this.#keys.get(id);
    if (key === undefined) throw new InterlockError('key-wrong', { detail: `${fileName} does not hold the master key that this data was sealed under.` });
    return key;
  }
}

function parse(text: string): z.infer<typeof fileSchema> {
  try {
    return fileSchema.parse(JSON.parse(text));
  } catch {
    throw new InterlockError('key-wrong', { detail: `${fileName} is damaged.` });
  }
}
