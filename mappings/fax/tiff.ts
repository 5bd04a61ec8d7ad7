import sharp from 'sharp';
import { FaxError } from './error.ts';

/**
 * Bounds on a TIFF. A page of A4 at 400 dots per inch has 16 million pixels; a blank page of fax compression takes a
 * hundred bytes, so a small file can ask for very much.
 */
export const tiffLimits = { pages: 300, pagePixels: 40_000_000, allPixels: 1_200_000_000, pageTimeoutS: 10 } as const;

// Nothing of a fax is kept in the image library.
sharp.cache(false);

/**
 * Decodes every page, so that what is kept can be read later.
 * @returns the number of pages
 * @throws FaxError `damaged` if it is truncated or no page can be decoded, `unacceptable` beyond the bounds
 */
export async function checkTiff(bytes: Buffer): Promise<number> {
  const pages = directoriesOf(bytes);
  // The decoder walks all directories for each page; shown one page at a time, it has one to walk.
  const shown = Buffer.from(bytes);
  const little = shown[0] === 0x49;
  const point = (at: number, to: number): unknown => (little ? shown.writeUInt32LE(to, at) : shown.writeUInt32BE(to, at));
  let allPixels = 0;
  for (const { at, nextAt, next } of pages) {
    point(4, at);
    point(nextAt, 0);
    const image = sharp(shown, { failOn: 'truncated', limitInputPixels: tiffLimits.pagePixels, sequentialRead: true });
    const { info } = await reading(image.timeout({ seconds: tiffLimits.pageTimeoutS }).raw().toBuffer({ resolveWithObject: true }));
    point(nextAt, next);
    allPixels += info.width * info.height;
    if (allPixels > tiffLimits.allPixels) throw tooManyPixels();
  }
  return pages.length;
}

/**
 * Follows the chain of image directories (TIFF 6.0, section 2) before any decoder is started: a chain that leaves the
 * file, or image data that lie beyond its end, mean truncation; a chain that runs in a circle would never end.
 */
function directoriesOf(bytes: Buffer): Directory[] {
  const read = reader(bytes);
  const seen = new Set<number>();
  const found: Directory[] = [];
  for (let at = read.u32(4); at !== 0; ) {
    if (seen.has(at)) throw new FaxError('damaged', 'The pages of the TIFF refer to each other in a circle.');
    seen.add(at);
    if (seen.size > tiffLimits.pages) throw new FaxError('unacceptable', `The TIFF has more than ${tiffLimits.pages} pages.`);
    const entries = read.u16(at);
    const data = new Map<number, number[]>();
    for (let entry = at + 2; entry < at + 2 + entries * 12; entry += 12) {
      const tag = read.u16(entry);
      const size = (typeBytes[read.u16(entry + 2)] ?? 0) * read.u32(entry + 4);
      if (size > 4 && read.u32(entry + 8) + size > bytes.length) throw truncated();
      if (dataTags.has(tag)) data.set(tag, valuesOf(read, entry));
    }
    for (const [offsets, sizes] of [[273, 279], [324, 325]] as const) {
      data.get(offsets)?.forEach((offset, n) => {
        if (offset + (data.get(sizes)?.[n] ?? 0) > bytes.length) throw truncated();
      });
    }
    const nextAt = at + 2 + entries * 12;
    const next = read.u32(nextAt);
    found.push({ at, nextAt, next });
    at = next;
  }
  if (found.length === 0) throw new FaxError('damaged', 'The TIFF has no page.');
  return found;
}

/** Where an image directory begins, where its link to the next one is, and what that says. */
interface Directory {
  readonly at: number;
  readonly nextAt: number;
  readonly next: number;
}

/** StripOffsets, StripByteCounts, TileOffsets, TileByteCounts. */
const dataTags = new Set([273, 279, 324, 325]);
/** Bytes of one value, by type. */
const typeBytes = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8];
const maxStrips = 100_000;

interface Reader {
  u16(at: number): number;
  u32(at: number): number;
}

function reader(bytes: Buffer): Reader {
  const little = bytes[0] === 0x49;
  const within = (at: number, size: number): void => {
    if (at + size > bytes.length) throw truncated();
  };
  return {
    u16: (at) => (within(at, 2), little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at)),
    u32: (at) => (within(at, 4), little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at)),
  };
}

/** Values of an entry of type SHORT or LONG. */
function valuesOf(read: Reader, entry: number): number[] {
  const isShort = read.u16(entry + 2) === 3;
  const count = read.u32(entry + 4);
  if (count > maxStrips) throw new FaxError('damaged', 'A page of the TIFF has more parts than it can have.');
  const size = isShort ? 2 : 4;
  const start = count * size <= 4 ? entry + 8 : read.u32(entry + 8);
  return Array.from({ length: count }, (_, n) => (isShort ? read.u16(start + n * size) : read.u32(start + n * size)));
}

/** The decoder's own texts are not passed on. */
async function reading<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (cause instanceof Error && /pixel limit/i.test(cause.message)) throw tooManyPixels();
    throw new FaxError('damaged', 'A page of the TIFF is truncated or cannot be decoded.', cause);
  }
}

function truncated(): FaxError {
  return new FaxError('damaged', 'The TIFF is truncated.');
}

function tooManyPixels(): FaxError {
  return new FaxError('unacceptable', 'The pages of the TIFF are larger than this channel accepts.');
}
