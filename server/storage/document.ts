import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import { open, seal } from '../kms/seal.ts';
import { decodeBody, encodeBody, type VersionBody } from './body.ts';
import { orderMs } from './clock.ts';
import type { FileManifest } from './contract.ts';
import { FetchedDocument } from './fetched.ts';
import { tokenBytes } from './token-hash.ts';

/** Bytes of a document id: HMAC of tenant, type and logical id. */
export const idBytes = 16;

/** A version as MongoDB holds it. In `versions`, `_id` has the version number (4 bytes) appended, and `x` and `s` are empty. */
export interface StoredDocument {
  readonly _id: Buffer;
  /** Type code: a keyed hash of the type's name, below 2^48. */
  readonly t: number;
  readonly vid: number;
  readonly at: Date;
  readonly del: boolean;
  /** Order of recording, see `RecordingClock`. */
  readonly o: bigint;
  /** Epoch of the process that wrote it. */
  readonly w: string;
  /** Id of the key that seals `body`. */
  readonly key: string;
  readonly body: Buffer;
  /** Blind search tokens. */
  readonly x: readonly Buffer[];
  /** Sealed columns. */
  readonly s: Buffer;
  /** The sealed audit entry of this write; its first 16 bytes are the entry's id. */
  readonly audit: Buffer;
  readonly mac: Buffer;
}

/** Everything of a version but what sealing adds. */
export interface UnsealedVersion extends VersionBody {
  readonly docId: Buffer;
  readonly t: number;
  readonly versionId: number;
  readonly order: bigint;
  readonly deleted: boolean;
  readonly epoch: string;
  readonly tokens: readonly Buffer[];
  readonly columns: Buffer;
  readonly audit: Buffer;
}

const format = 'interlock-version-1';

/** Makes, seals, checks and opens stored documents of one tenant. Every document it hands out was verified. */
export class DocumentCodec {
  readonly #keyring: Keyring;
  readonly #tenant: string;
  readonly #typeCodes = new Map<string, number>();

  constructor(keyring: Keyring, tenant: string) {
    this.#keyring = keyring;
    this.#tenant = tenant;
  }

  docId(type: string, id: string): Buffer {
    return createHmac('sha256', this.#keyring.macKey('id', this.#tenant)).update(`${this.#tenant}\n${type}\n${id}`).digest().subarray(0, idBytes);
  }

  typeCode(type: string): number {
    let code = this.#typeCodes.get(type);
    if (code === undefined) {
      code = this.#keyring.mac('id', [this.#tenant, 'type code', type], 6, this.#tenant).readUIntBE(0, 6);
      if (this.#typeCodes.size < 1_000) this.#typeCodes.set(type, code);
    }
    return code;
  }

  /** Seals a version into the document of `resources`. */
  seal(version: UnsealedVersion): StoredDocument {
    const { id: key, key: sealKey } = this.#keyring.sealKey('resource', this.#tenant);
    const head = {
      _id: version.docId, t: version.t, vid: version.versionId, at: new Date(orderMs(version.order)), del: version.deleted,
      o: version.order, w: version.epoch, key,
    };
    const body = seal(sealKey, encodeBody(version), this.#aad(head));
    const rest = { ...head, body, x: version.tokens, s: version.columns, audit: version.audit };
    return { ...rest, mac: this.#mac(rest) };
  }

  /** The same version, found otherwise: nothing but its tokens and columns is another. */
  reindexed(document: StoredDocument, tokens: readonly Buffer[], columns: Buffer): StoredDocument {
    const rest = { ...fieldsOf(document), x: tokens, s: columns };
    return { ...rest, mac: this.#mac(rest) };
  }

  /** The document of `versions` for a verified one of `resources`: without tokens and columns, under a MAC of its own. */
  past(current: StoredDocument): StoredDocument {
    const rest = { ...fieldsOf(current), _id: pastId(current._id, current.vid), x: [], s: Buffer.alloc(0) };
    return { ...rest, mac: this.#mac(rest) };
  }

  /** @throws InterlockError `integrity-failure` if anything in the document was altered */
  verify(document: StoredDocument): void {
    let intact: boolean;
    try {
      const tokens = tokensOf(document);
      intact = isWellFormed(document, tokens) && timingSafeEqual(this.#mac(document, tokens), document.mac);
    } catch {
      intact = false;
    }
    if (!intact) throw new InterlockError('integrity-failure');
  }

  /**
   * Verifies a document and opens its body. Its key must be held: see {@link loadKeys}.
   * @throws InterlockError `integrity-failure`
   */
  open(document: StoredDocument): VersionBody {
    this.verify(document);
    return decodeBody(open(this.#keyring.keyById(document.key), document.body, this.#aad(document)));
  }

  /** Whether a document's body was sealed for the place of this one, or another; both may have been tampered with. */
  wasSealedFor({ body }: StoredDocument, place: StoredDocument): boolean {
    try {
      return open(this.#keyring.keyById(place.key), body, this.#aad(place)).length > 0;
    } catch {
      return false;
    }
  }

  /** Fetches the keys of these documents, as far as another process made them. */
  async loadKeys(documents: readonly { readonly key: unknown }[]): Promise<void> {
    for (const { key } of documents) {
      if (typeof key !== 'string') throw new InterlockError('integrity-failure');
      if (!this.#keyring.holds(key)) await this.#keyring.load(key);
    }
  }

  /** What the audit entry of a write says about its content: SHA-256, hex, independent of keys. */
  hash(version: { readonly type: string; readonly id: string; readonly versionId: number; readonly atMs: number; readonly deleted: boolean; readonly json: Buffer; readonly file?: FileManifest }): string {
    return createHash('sha256')
      .update(`${format}|${this.#tenant}|${version.type}|${version.id}|${version.versionId}|${version.atMs}|${version.deleted}|`)
      .update(version.json)
      .update(version.file === undefined ? '' : `|${version.file.sizeBytes}|${version.file.sha256}`)
      .digest('hex');
  }

  #aad({ _id, vid, at, del, key }: Pick<StoredDocument, '_id' | 'vid' | 'at' | 'del' | 'key'>): string {
    return `${format}|${this.#tenant}|resource|${_id.toString('hex', 0, idBytes)}|${vid}|${at.getTime()}|${del}|${key}`;
  }

  /** HMAC over every field in this order, each of fixed size or with its length before it. */
  #mac(document: Omit<StoredDocument, 'mac'>, tokens = tokensOf(document)): Buffer {
    const { _id, w, key, body, s, audit } = document;
    const head = Buffer.allocUnsafe(128 + this.#tenant.length * 3 + w.length + key.length);
    let at = head.write(`${format}|${_id.length === idBytes ? 'current' : 'past'}|${this.#tenant}|`, 0);
    at += _id.copy(head, at);
    at = head.writeDoubleBE(document.t, at);
    at = head.writeUInt32BE(document.vid, at);
    at = head.writeDoubleBE(document.at.getTime(), at);
    at = head.writeUInt8(document.del ? 1 : 0, at);
    at = head.writeBigInt64BE(document.o, at);
    at = head.writeUInt8(w.length, at);
    at += head.write(w, at, 'latin1');
    at = head.writeUInt8(key.length, at);
    at += head.write(key, at, 'latin1');
    at = head.writeUInt32BE(body.length, at);
    at = head.writeUInt32BE(tokens.length / tokenBytes, at);
    at = head.writeUInt32BE(s.length, at);
    at = head.writeUInt32BE(audit.length, at);
    return createHmac('sha256', this.#keyring.macKey('document', this.#tenant))
      .update(Buffer.concat([head.subarray(0, at), body, tokens, s, audit]))
      .digest()
      .subarray(0, 16);
  }
}

/** Id of a past version: the resource's document id and its version number, so that a resource's versions are one range. */
export function pastId(docId: Buffer, versionId: number): Buffer {
  const id = Buffer.allocUnsafe(idBytes + 4);
  docId.copy(id, 0, 0, idBytes);
  id.writeUInt32BE(versionId, idBytes);
  return id;
}

/** Types and sizes that sealing produces; what comes from the database may have been tampered with. */
function isWellFormed(document: StoredDocument, tokens: Buffer): boolean {
  const { _id, vid, at, o, w, key, body, s, audit, mac } = document;
  const past = _id.length === idBytes + 4;
  return (
    (past ? _id.readUInt32BE(idBytes) === vid && tokens.length === 0 && s.length === 0 : _id.length === idBytes) &&
    at instanceof Date && typeof o === 'bigint' && typeof document.del === 'boolean' && typeof document.t === 'number' &&
    orderMs(o) === at.getTime() && typeof w === 'string' && typeof key === 'string' && key !== '' &&
    Buffer.isBuffer(body) && Buffer.isBuffer(s) && Buffer.isBuffer(audit) && Buffer.isBuffer(mac) && mac.length === 16 &&
    (document instanceof FetchedDocument ? document.fieldCount : Object.keys(document).length) === 13
  );
}

/** All tokens one after the other. @throws InterlockError `integrity-failure` if anything else is among them */
function tokensOf(document: Pick<StoredDocument, 'x'>): Buffer {
  if (document instanceof FetchedDocument) return document.tokenBytes();
  if (!document.x.every((token) => Buffer.isBuffer(token) && token.length === tokenBytes)) throw new InterlockError('integrity-failure');
  return Buffer.concat(document.x);
}

/** The fields of a document, however it was read. */
function fieldsOf({ _id, t, vid, at, del, o, w, key, body, x, s, audit }: StoredDocument): Omit<StoredDocument, 'mac'> {
  return { _id, t, vid, at, del, o, w, key, body, x, s, audit };
}
