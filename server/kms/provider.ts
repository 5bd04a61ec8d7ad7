/** Holds the master key (KEK) and never hands it out: data keys go in and come back wrapped. */
export interface KeyProvider {
  /** Id of the master key that wraps from now on. */
  readonly kekId: string;
  /** Wraps a data key. `context` is bound to it and must be given again to unwrap. */
  wrap(dataKey: Buffer, context: string): Promise<Buffer>;
  /**
   * Opens a wrapped data key.
   * @throws InterlockError `key-missing` if the provider does not hold `kekId`; `key-wrong` if it does not fit
   */
  unwrap(kekId: string, wrapped: Buffer, context: string): Promise<Buffer>;
}

/** A data key as it is kept in the database: useless without the provider's master key. */
export interface WrappedKey {
  readonly _id: string;
  readonly tenant: string;
  readonly purpose: string;
  readonly kind: 'seal' | 'mac';
  readonly kekId: string;
  readonly wrapped: Buffer;
  readonly createdAt: Date;
}

/** Where wrapped data keys are kept; supplied by the composition root. */
export interface KeyStore {
  list(): Promise<WrappedKey[]>;
  get(id: string): Promise<WrappedKey | undefined>;
  /** Stores the key unless one with this id exists. @returns the key that is stored now */
  putIfAbsent(key: WrappedKey): Promise<WrappedKey>;
}

/** Told of each unwrapped data key, so that the access to keys is audited. */
export type KeyAccessListener = (event: { readonly keyId: string; readonly purpose: string; readonly tenant: string; readonly outcome: 'ok' | 'failed' }) => void;
