import type { ClientSession } from 'mongoose';
import type { Criterion, SortKey } from '../search/criteria.ts';

/** Any FHIR resource, as JSON. */
export interface ResourceJson {
  readonly resourceType: string;
  readonly id?: string;
  readonly [element: string]: unknown;
}

/** One stored version, opened and verified. */
export interface StoredVersion {
  readonly type: string;
  readonly id: string;
  readonly versionId: number;
  readonly lastUpdated: Date;
  readonly deleted: boolean;
  /** Hybrid logical clock of the recording: the order of all writes. */
  readonly order: bigint;
  /** The JSON as it is sent, meta included; empty if deleted. */
  readonly bytes: Buffer;
  /** Content of the resource that is kept in chunks and is not in `bytes`: of a Binary, its `data`. */
  readonly file?: FileManifest;
  /** The same, parsed on first use; never change what it returns. Throws on a deletion. */
  resource(): ResourceJson;
  /** Logical ids of the patients in whose compartment this version is. */
  patients(): readonly string[];
}

/** A file that is kept in sealed chunks: what the version that refers to it says of it, inside its own sealed body. */
export interface FileManifest {
  /** 16 random bytes, hex. */
  readonly id: string;
  readonly sizeBytes: number;
  readonly chunks: number;
  /** SHA-256 of the plaintext, hex. */
  readonly sha256: string;
}

/** A part of a file: [from, to), bytes. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** Files too large for a document of their own, streamed in and out. */
export interface FileStore {
  /**
   * Receives a file: no more is read than MongoDB has taken. Durable when this returns, though no version refers to it yet.
   * @throws InterlockError `too-large` beyond `maxBytes`; `unavailable` if it cannot be stored
   */
  receive(source: AsyncIterable<Uint8Array>, maxBytes: number): Promise<FileManifest>;
  /** Opens a file or a part of it, piece by piece, each verified before it is handed out. @throws InterlockError `integrity-failure`, `unavailable` */
  open(file: FileManifest, range?: ByteRange): AsyncIterable<Buffer>;
  /** Removes a received file that no version came to refer to; one that a version refers to stays. */
  discard(file: FileManifest): Promise<void>;
}

/** What is about to be written; handed to the audit before it is sealed into the document. */
export interface VersionFacts {
  readonly type: string;
  readonly id: string;
  readonly versionId: number;
  readonly at: Date;
  readonly deleted: boolean;
  /** SHA-256 (hex) over tenant, type, id, version, time, deletion and the JSON bytes. */
  readonly hash: string;
  readonly patients: readonly string[];
  readonly interaction: 'create' | 'update' | 'delete';
}

/** A sealed audit entry with its preallocated id: `id` (16 bytes) is also the first 16 bytes of `sealed`. */
export interface SealedAuditEntry {
  readonly id: Buffer;
  readonly sealed: Buffer;
}

/** Makes the audit entry of one write. Called again when a retry changes version or time. */
export type AuditOfWrite = (facts: VersionFacts) => SealedAuditEntry;

/** A resource made ready outside any transaction: JSON, search tokens, columns. */
export interface PreparedWrite {
  readonly type: string;
  readonly id: string;
}

/** A resource made ready to replace a version. */
export interface UpdateTo {
  readonly prepared: PreparedWrite;
  /** Version that must be current. */
  readonly ifMatch: number;
}

export interface WriteResult {
  readonly version: StoredVersion;
  /** True if the id did not exist (or was deleted) before. */
  readonly created: boolean;
  /** The entry that now must become durable in the audit store. */
  readonly audit: SealedAuditEntry;
}

export interface SearchRequest {
  readonly types: readonly string[];
  /** What is asked and what is permitted, combined. */
  readonly where: Criterion;
  readonly sort: readonly SortKey[];
  readonly count: number;
  /** `accurate` may throw `too-costly`; `default` may leave the total out. */
  readonly total: 'none' | 'estimate' | 'accurate' | 'default';
  /** Position of the last match of the page before, as this store gave it. */
  readonly after?: string;
}

export interface SearchPage {
  readonly matches: readonly StoredVersion[];
  readonly total?: number;
  /** Present if there are more matches: goes into the next request's `after` (sealed by the caller). */
  readonly next?: string;
}

export interface HistoryRequest {
  readonly type?: string;
  readonly id?: string;
  readonly count: number;
  readonly since?: Date;
  /** Only versions that were current at some time in [lo, hi), milliseconds since 1970. */
  readonly at?: { readonly lo: number; readonly hi: number };
  readonly after?: string;
}

/** Which resource. */
export interface ResourceKey {
  readonly type: string;
  readonly id: string;
}

/** Where a resource stands now. */
export interface Standing {
  readonly versionId: number;
  readonly deleted: boolean;
}

/** Reads, all under one snapshot if called on a {@link StoreTransaction}. */
export interface StoreReads {
  /** Current version, deletions included; undefined if the id never existed. */
  read(type: string, id: string): Promise<StoredVersion | undefined>;
  /** Current versions of many, in one round trip; missing ones are left out. */
  readMany(refs: readonly { readonly type: string; readonly id: string }[]): Promise<StoredVersion[]>;
  vread(type: string, id: string, versionId: number): Promise<StoredVersion | undefined>;
  search(request: SearchRequest): Promise<SearchPage>;
  /** Where resources stand, by `Type/id`, without their content being read; those that never existed are left out. */
  standing(keys: readonly ResourceKey[]): Promise<ReadonlyMap<string, Standing>>;
  /** Some of the resources that refer to one of these by a search parameter, records of what happened left out; none only if there are none. */
  referrers(keys: readonly ResourceKey[], limit: number): Promise<readonly StoredVersion[]>;
  /** Some of the resources that point to one of these Binaries by any reference or URL; undefined while what is stored is not indexed for it yet. */
  pointersTo(ids: readonly string[], limit: number): Promise<readonly StoredVersion[] | undefined>;
}

/** Writes. Nothing is checked here but the version: deciding is the guarded repository's work. */
export interface StoreWrites {
  /**
   * Creates or updates.
   * @param ifMatch version that must be current: `version-stale` otherwise; 0 means "must not exist"
   */
  write(prepared: PreparedWrite, audit: AuditOfWrite, options?: { readonly ifMatch?: number }): Promise<WriteResult>;
  /** Deletes; undefined if there was nothing (or a deletion already). */
  remove(type: string, id: string, audit: AuditOfWrite, options?: { readonly ifMatch?: number }): Promise<WriteResult | undefined>;
}

export interface StoreTransaction extends StoreReads, StoreWrites {
  readonly session: ClientSession;
  /**
   * Takes the claims of these keys, so that of two transactions that claim the same key one waits for, or aborts
   * after, the other. Must come before any search whose result decides about a write.
   */
  claim(keys: readonly string[]): Promise<void>;
  /**
   * Creates many at once, in few round trips; none of the ids may exist.
   * @throws InterlockError `version-stale` if one does
   */
  createMany(prepared: readonly PreparedWrite[], audit: AuditOfWrite): Promise<WriteResult[]>;
  /**
   * Replaces many at once, in few round trips; no id twice.
   * @throws InterlockError `version-stale` if one is not at the version that must be current
   */
  updateMany(updates: readonly UpdateTo[], audit: AuditOfWrite): Promise<WriteResult[]>;
  /** The versions before these current ones, in few round trips; missing ones are left out. */
  readBefore(current: readonly (ResourceKey & { readonly versionId: number })[]): Promise<StoredVersion[]>;
}

/** The sealed, versioned store of one installation. */
export interface Store extends StoreReads, StoreWrites {
  /**
   * Makes a resource ready to be written under `id`: pure work, done before a transaction.
   * @param bytes the JSON that `resource` was parsed from: stored as it is but for id and meta, so that decimals keep their precision
   * @param file content that was received before; the write makes it visible together with the version
   * @throws InterlockError `too-large`
   */
  prepare(resource: ResourceJson, id: string, bytes?: Buffer, file?: FileManifest): PreparedWrite;
  readonly files: FileStore;
  /** Tells that the audit entries of these writes are durable, so that no sweep needs to look for them. */
  audited(results: readonly WriteResult[]): void;
  history(request: HistoryRequest): Promise<{ readonly versions: readonly StoredVersion[]; readonly next?: string }>;
  /** Orders of recording of the current versions, deletions too, of some types since a time (of the writers' clocks, milliseconds since 1970). */
  recorded(types: readonly string[], sinceMs: number): Promise<readonly bigint[]>;
  /** The current versions of a type that were recorded at these orders, some at a time; those that are no longer current are left out. */
  versionsAt(type: string, orders: readonly bigint[]): AsyncIterable<readonly StoredVersion[]>;
  /** Runs `work` in a transaction (snapshot, majority, journaled); repeats it, jittered and bounded, on transient conflicts, then `unavailable`. */
  transaction<T>(work: (tx: StoreTransaction) => Promise<T>): Promise<T>;
}
