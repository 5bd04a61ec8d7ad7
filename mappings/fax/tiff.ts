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
  const pages = countPages(bytes);
  let allPixels = 0;
  for (let page = 0; page < pages; page += 1) {
    const options = { page, pages: 1, failOn: 'truncated', limitInputPixels: tiffLimits.pagePixels, sequentialRead: true } as const;
    const { width, height } = await reading(sharp(bytes, options).metadata());
    allPixels += width * height;
    if (width * height > tiffLimits.pagePixels || allPixels > tiffLimits.allPixels) throw tooManyPixels();
    await reading(sharp(bytes, options).timeout({ seconds: tiffLimits.pageTimeoutS }).raw().toBuffer());
  }
  return pages;
}

/**
 * Follows the chain of image directories (TIFF 6.0, section 2) before any decoder is started: a chain that leaves the
 * file means truncation, one that runs in a circle would never end.
 */
function countPages(bytes: Buffer): number {
  const little = bytes[0] === 0x49;
  const u16 = (at: number): number => (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at));
  const u32 = (at: number): number => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const seen = new Set<number>();
  if (bytes.length < 8) throw truncated();
  for (let at = u32(4); at !== 0; ) {
    if (seen.has(at)) throw new FaxError('damaged', 'The pages of the TIFF refer to each other in a circle.');
    seen.add(at);
    if (seen.size > tiffLimits.pages) throw new FaxError('unacceptable', `The TIFF has more than ${tiffLimits.pages} pages.`);
    if (at + 2 > bytes.length) throw truncated();
    const next = at + 2 + u16(at) * 12;
    if (next + 4 > bytes.length) throw truncated();
    at = u32(next);
  }
  if (seen.size === 0) throw new FaxError('damaged', 'The TIFF has no page.');
  return seen.size;
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
