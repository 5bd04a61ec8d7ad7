import { InterlockError } from '../../resources/outcome/error.ts';
import type { StoredDocument } from './document.ts';
import { tokenBytes } from './token-hash.ts';

/** BSON element types (https://bsonspec.org/spec.html) of the fields that a version has. */
const types = { double: 0x01, string: 0x02, document: 0x03, array: 0x04, binary: 0x05, boolean: 0x08, date: 0x09, int32: 0x10, timestamp: 0x11, int64: 0x12 } as const;

const none = Buffer.alloc(0);

/**
 * A version as MongoDB sent it, read without the driver's decoder: byte strings are views of the reply, and of its tokens,
 * dozens that nobody looks at, only the place is noted. What is missing or of another kind is undefined, contrary to its
 * type: such a document never verifies. With a projection the other fields are absent.
 */
export class FetchedDocument implements StoredDocument {
  readonly _id: Buffer;
  readonly t: number;
  readonly vid: number;
  readonly at: Date;
  readonly del: boolean;
  readonly o: bigint;
  readonly w: string;
  readonly key: string;
  readonly body: Buffer;
  readonly s: Buffer;
  readonly audit: Buffer;
  readonly mac: Buffer;
  /** How many fields there are, whatever they are. */
  readonly fieldCount: number;
  readonly #tokens: Buffer | undefined;

  /** @param bytes the BSON document */
  constructor(bytes: Buffer) {
    const found: { -readonly [name in keyof StoredDocument]?: StoredDocument[name] } = {};
    let [fieldCount, tokens] = [0, undefined as Buffer | undefined];
    for (const [name, type, from, end] of elementsOf(bytes)) {
      fieldCount += 1;
      switch (name) {
        case '_id': case 'body': case 's': case 'audit': case 'mac': if (isBytes(bytes, type, from)) found[name] = bytes.subarray(from + 5, end); break;
        case 't': case 'vid': if (type === types.int32) found[name] = bytes.readInt32LE(from); else if (type === types.double) found[name] = bytes.readDoubleLE(from); break;
        case 'at': if (type === types.date) found.at = new Date(Number(bytes.readBigInt64LE(from))); break;
        case 'o': if (type === types.int64) found.o = bytes.readBigInt64LE(from); break;
        case 'w': case 'key': if (type === types.string) found[name] = bytes.toString('latin1', from + 4, end - 1); break;
        case 'del': if (type === types.boolean) found.del = bytes[from] === 1; break;
        case 'x': if (type === types.array) tokens = bytes.subarray(from, end); break;
      }
    }
    this._id = found._id!;
    this.t = found.t!;
    this.vid = found.vid!;
    this.at = found.at!;
    this.del = found.del!;
    this.o = found.o!;
    this.w = found.w!;
    this.key = found.key!;
    this.body = found.body!;
    this.s = found.s ?? none;
    this.audit = found.audit!;
    this.mac = found.mac!;
    this.fieldCount = fieldCount;
    this.#tokens = tokens;
  }

  get x(): readonly Buffer[] {
    const tokens = this.tokenBytes();
    return Array.from({ length: tokens.length / tokenBytes }, (_, index) => tokens.subarray(index * tokenBytes, (index + 1) * tokenBytes));
  }

  hasToken(token: Buffer): boolean {
    return this.#tokens?.includes(token) === true;
  }

  /** All tokens one after the other. @throws InterlockError `integrity-failure` if anything else is among them */
  tokenBytes(): Buffer {
    const array = this.#tokens;
    if (array === undefined) throw new InterlockError('integrity-failure');
    const out = Buffer.allocUnsafe(array.length);
    let end = 0;
    for (let at = 4; array[at] !== 0; ) {
      const type = array[at]!;
      while (array[at] !== 0) at += 1;
      at += 1;
      if (!isBytes(array, type, at) || array.readInt32LE(at) !== tokenBytes) throw new InterlockError('integrity-failure');
      at += 5;
      for (const until = at + tokenBytes; at < until; at += 1, end += 1) out[end] = array[at]!;
    }
    return out.subarray(0, end);
  }
}

/** The documents of a reply's `cursor` (https://www.mongodb.com/docs/manual/reference/command/find/#output); undefined if they did not fit in it. */
export function documentsIn(cursor: Buffer): FetchedDocument[] | undefined {
  const documents: FetchedDocument[] = [];
  for (const [name, , from, end] of elementsOf(cursor)) {
    if (name === 'id' && cursor.readBigInt64LE(from) !== 0n) return undefined;
    if (name !== 'firstBatch') continue;
    const batch = cursor.subarray(from, end);
    for (const [, , start, stop] of elementsOf(batch)) documents.push(new FetchedDocument(batch.subarray(start, stop)));
  }
  return documents;
}

/** Name, type, begin and end of each element of a BSON document. */
function* elementsOf(bytes: Buffer): Generator<readonly [name: string, type: number, from: number, end: number]> {
  for (let at = 4; bytes[at] !== 0; ) {
    const start = at + 1;
    let from = start;
    while (bytes[from] !== 0) from += 1;
    from += 1;
    const end = endOf(bytes, bytes[at]!, from);
    yield [bytes.toString('latin1', start, from - 1), bytes[at]!, from, end];
    at = end;
  }
}

/** True for a value of generic binary data. */
function isBytes(bytes: Buffer, type: number, from: number): boolean {
  return type === types.binary && bytes[from + 4] === 0;
}

/** Where a value ends. */
function endOf(bytes: Buffer, type: number, from: number): number {
  switch (type) {
    case types.binary: return from + 5 + bytes.readInt32LE(from);
    case types.string: return from + 4 + bytes.readInt32LE(from);
    case types.document: case types.array: return from + bytes.readInt32LE(from);
    case types.boolean: return from + 1;
    case types.int32: return from + 4;
    case types.double: case types.date: case types.timestamp: case types.int64: return from + 8;
    // null, and the ends of the key range.
    case 0x0a: case 0xff: case 0x7f: return from;
    // No version has such a field.
    default: throw new InterlockError('integrity-failure');
  }
}
