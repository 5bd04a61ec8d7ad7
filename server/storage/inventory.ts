import { createHmac, randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ResourceKey } from './contract.ts';
import { idBytes, type DocumentCodec } from './document.ts';

/** A write as the audit trail has it. */
export interface RecordedVersion extends ResourceKey {
  readonly versionId: number;
  /** `VersionFacts.hash` of the version, hex. */
  readonly hash: string;
  /** The audit entry that says so. */
  readonly entryId: Buffer;
}

/** What must be stored of one version. */
export interface ExpectedVersion {
  readonly versionId: number;
  /** See {@link Inventory.fingerprint}. */
  readonly fingerprint: Buffer;
  readonly entryId: Buffer;
}

/** What a large inventory falls into, by the first byte of document ids, which are keyed hashes: all are alike in size. */
const fileParts = 256;

/** A part of an inventory. */
export interface InventoryPart {
  /** First bytes of its document ids, both included. */
  readonly from: number;
  readonly to: number;
  /** By document id (latin1), versions rising. */
  readonly expected: ReadonlyMap<string, readonly ExpectedVersion[]>;
}

const fingerprintBytes = 16;
/** Document id, version number, fingerprint, entry id. */
const rowBytes = idBytes + 4 + fingerprintBytes + 16;
const maxHeldBytes = 4 * 2 ** 20;

/**
 * Everything that must be stored, according to the trail: in memory while it is small, then in one file per part, of which
 * one is in memory at a time. It holds document ids, which the database has as well, and hashes under a key that is
 * never written down.
 */
export class Inventory {
  readonly #codec: DocumentCodec;
  readonly #directory: string;
  readonly #maxHeldBytes: number;
  readonly #key = randomBytes(32);
  #held: Buffer[][] = emptyParts();
  #heldBytes = 0;

  /** @param directory its own; what an earlier run left there is removed */
  constructor(codec: DocumentCodec, directory: string, maxBytes = maxHeldBytes) {
    this.#codec = codec;
    this.#directory = directory;
    this.#maxHeldBytes = maxBytes;
    this.remove();
  }

  add({ type, id, versionId, hash, entryId }: RecordedVersion): void {
    const row = Buffer.alloc(rowBytes);
    this.#codec.docId(type, id).copy(row);
    row.writeUInt32BE(versionId, idBytes);
    this.fingerprint(hash).copy(row, idBytes + 4);
    entryId.copy(row, idBytes + 4 + fingerprintBytes);
    this.#held[row[0]!]!.push(row);
    this.#heldBytes += rowBytes;
    if (this.#heldBytes >= this.#maxHeldBytes) this.#spill();
  }

  /** Stands for a version's hash in this inventory. */
  fingerprint(hash: string): Buffer {
    return createHmac('sha256', this.#key).update(hash).digest().subarray(0, fingerprintBytes);
  }

  /** Everything, part by part: at once while it is in memory. Of a version that was recorded twice, after a restore, the later record counts. */
  *parts(): Generator<InventoryPart> {
    if (!existsSync(this.#directory)) {
      yield { from: 0, to: fileParts - 1, expected: byDocument(Buffer.concat(this.#held.flat())) };
      return;
    }
    this.#spill();
    for (let part = 0; part < fileParts; part += 1) {
      const path = this.#path(part);
      yield { from: part, to: part, expected: byDocument(existsSync(path) ? readFileSync(path) : Buffer.alloc(0)) };
    }
  }

  /** Removes its files. */
  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #spill(): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    for (const [number, rows] of this.#held.entries()) if (rows.length > 0) appendFileSync(this.#path(number), Buffer.concat(rows), { mode: 0o600 });
    this.#held = emptyParts();
    this.#heldBytes = 0;
  }

  #path(number: number): string {
    return join(this.#directory, number.toString(16).padStart(2, '0'));
  }
}

function byDocument(rows: Buffer): Map<string, ExpectedVersion[]> {
  const documents = new Map<string, Map<number, ExpectedVersion>>();
  for (let at = 0; at < rows.length; at += rowBytes) {
    const row = rows.subarray(at, at + rowBytes);
    const document = row.toString('latin1', 0, idBytes);
    const versionId = row.readUInt32BE(idBytes);
    const versions = documents.get(document) ?? new Map<number, ExpectedVersion>();
    documents.set(document, versions);
    const entryId = row.subarray(idBytes + 4 + fingerprintBytes);
    const earlier = versions.get(versionId);
    if (earlier === undefined || Buffer.compare(earlier.entryId, entryId) < 0) versions.set(versionId, { versionId, fingerprint: row.subarray(idBytes + 4, idBytes + 4 + fingerprintBytes), entryId });
  }
  return new Map([...documents].map(([document, versions]) => [document, [...versions.values()].sort((a, b) => a.versionId - b.versionId)]));
}

function emptyParts(): Buffer[][] {
  return Array.from({ length: fileParts }, () => []);
}
