import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';

/** One encoding in which a text could lie on disk. */
export type Encoding = 'utf8' | 'utf16le' | 'utf16be' | 'base64' | 'base64url' | 'hex' | 'HEX';

/** A text that was found. */
export interface Hit {
  readonly text: string;
  readonly encoding: Encoding;
  readonly where: string;
}

interface Pattern {
  readonly text: string;
  readonly encoding: Encoding;
  readonly bytes: Buffer;
}

/** Every pattern is found by its first bytes; shorter ones would be found everywhere. */
const prefixBytes = 4;
const minTextLength = 8;
const filterBits = 22;
const chunkBytes = 4 * 1024 * 1024;

/** Finds any of many texts in bytes, in every encoding that a leak could take, in one pass. */
export class Scanner {
  readonly #byPrefix = new Map<number, Pattern[]>();
  /** One bit per hash of a prefix: almost every position is dismissed by one look into it. */
  readonly #filter = new Uint8Array(1 << (filterBits - 3));
  readonly #longest: number;

  /** @param texts of 8 characters and more; each is also looked for in lower and in upper case, as search keys would hold it */
  constructor(texts: Iterable<string>) {
    let longest = 0;
    for (const text of texts) {
      if (text.length < minTextLength) throw new RangeError('too short to be told from chance');
      for (const pattern of patternsOf(text)) {
        const prefix = pattern.bytes.readUInt32LE(0);
        const slot = slotOf(prefix);
        this.#filter[slot >> 3] = this.#filter[slot >> 3]! | (1 << (slot & 7));
        this.#byPrefix.set(prefix, [...(this.#byPrefix.get(prefix) ?? []), pattern]);
        longest = Math.max(longest, pattern.bytes.length);
      }
    }
    this.#longest = longest;
  }

  /** Scans bytes. Each text is reported once per place and encoding. */
  scan(bytes: Buffer, where: string): Hit[] {
    const hits = new Map<Pattern, Hit>();
    const last = bytes.length - prefixBytes;
    let window = bytes.length < prefixBytes ? 0 : bytes.readUInt32LE(0);
    for (let at = 0; at <= last; at += 1) {
      const slot = slotOf(window);
      if ((this.#filter[slot >> 3]! & (1 << (slot & 7))) !== 0) {
        for (const pattern of this.#byPrefix.get(window) ?? []) {
          if (bytes.compare(pattern.bytes, 0, pattern.bytes.length, at, Math.min(bytes.length, at + pattern.bytes.length)) === 0) hits.set(pattern, { text: pattern.text, encoding: pattern.encoding, where });
        }
      }
      window = ((window >>> 8) | ((bytes[at + prefixBytes] ?? 0) << 24)) >>> 0;
    }
    return [...hits.values()];
  }

  /** Scans every file below a directory, piece by piece with overlaps. */
  scanFiles(directory: string): { readonly hits: Hit[]; readonly files: number; readonly sizeBytes: number } {
    const hits: Hit[] = [];
    let [files, sizeBytes] = [0, 0];
    for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      files += 1;
      const path = join(entry.parentPath, entry.name);
      const file = openSync(path, 'r');
      const buffer = Buffer.alloc(chunkBytes + this.#longest);
      try {
        let kept = 0;
        for (;;) {
          const read = readSync(file, buffer, kept, chunkBytes, null);
          if (read === 0) break;
          sizeBytes += read;
          hits.push(...this.scan(buffer.subarray(0, kept + read), path));
          const end = kept + read;
          kept = Math.min(this.#longest, end);
          buffer.copyWithin(0, end - kept, end);
        }
      } finally {
        closeSync(file);
      }
    }
    return { hits, files, sizeBytes };
  }
}

// A global is looked up slowly within Jest, and this runs for every byte.
const { imul } = Math;

function slotOf(prefix: number): number {
  return imul(prefix, 0x9e3779b1) >>> (32 - filterBits);
}

/** Every form of a text: as it is, in lower and in upper case, each in all encodings. */
function patternsOf(text: string): Pattern[] {
  return [...new Set([text, text.toLowerCase(), text.toUpperCase()])].flatMap((form) => {
    const bytes = Buffer.from(form);
    const utf16 = Buffer.from(form, 'utf16le');
    const all: [Encoding, Buffer][] = [
      ['utf8', bytes], ['utf16le', utf16], ['utf16be', Buffer.from(utf16).swap16()],
      ['hex', Buffer.from(bytes.toString('hex'))], ['HEX', Buffer.from(bytes.toString('hex').toUpperCase())],
      ...[0, 1, 2].flatMap((offset): [Encoding, Buffer][] => [['base64', Buffer.from(base64Core(bytes, offset, 'base64'))], ['base64url', Buffer.from(base64Core(bytes, offset, 'base64url'))]]),
    ];
    return all.map(([encoding, pattern]) => ({ text, encoding, bytes: pattern }));
  });
}

/** The characters of a base64 text that depend on nothing but these bytes, when they begin `offset` bytes into a group of three. */
function base64Core(bytes: Buffer, offset: number, encoding: 'base64' | 'base64url'): string {
  const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString(encoding);
  return text.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6));
}
