import type { Connection, mongo } from 'mongoose';
import type { KeyStore, WrappedKey } from '../kms/provider.ts';
import { isDuplicateKey } from './errors.ts';

type StoredKey = Omit<WrappedKey, 'wrapped'> & { readonly wrapped: mongo.Binary };

/** Keeps wrapped data keys in the collection `keys` of the app database. */
export class MongoKeyStore implements KeyStore {
  readonly #keys: ReturnType<typeof keysOf>;

  constructor(app: Connection) {
    this.#keys = keysOf(app);
  }

  async list(): Promise<WrappedKey[]> {
    return (await this.#keys.find({}).sort({ createdAt: 1 }).toArray()).map(fromStored);
  }

  async get(id: string): Promise<WrappedKey | undefined> {
    const stored = await this.#keys.findOne({ _id: id });
    return stored === null ? undefined : fromStored(stored);
  }

  async putIfAbsent(key: WrappedKey): Promise<WrappedKey> {
    try {
      await this.#keys.insertOne({ ...key, wrapped: key.wrapped as unknown as mongo.Binary });
      return key;
    } catch (cause) {
      if (!isDuplicateKey(cause)) throw cause;
      const stored = await this.get(key._id);
      if (stored === undefined) throw cause;
      return stored;
    }
  }
}

function keysOf(app: Connection): mongo.Collection<StoredKey> {
  return app.db!.collection<StoredKey>('keys');
}

function fromStored(stored: StoredKey): WrappedKey {
  return { ...stored, wrapped: Buffer.from(stored.wrapped.value()) };
}
