import { PDFDocument, PDFName, PDFString, StandardFonts } from 'pdf-lib';
import sharp from 'sharp';

/** A black-and-white page with some lines, as raw grey. */
function page(width: number, height: number, shade: number): { data: Buffer; raw: { width: number; height: number; channels: 1 } } {
  const data = Buffer.alloc(width * height, 255);
  for (let y = 20; y < height; y += 40) data.fill(shade, y * width, y * width + Math.floor(width * 0.8));
  return { data, raw: { width, height, channels: 1 } };
}

/** A fax of one page, group 4 compressed as fax servers write it. */
export async function tiffFax(width = 864, height = 1100): Promise<Buffer> {
  const { data, raw } = page(width, height, 0);
  return await sharp(data, { raw }).toColourspace('b-w').tiff({ compression: 'ccittfax4', bitdepth: 1 }).toBuffer();
}

/** A fax of pages of different heights: the pages' directories are chained by hand. */
export async function multiPageTiff(heights: readonly number[]): Promise<Buffer> {
  const pages = await Promise.all(heights.map(async (height) => await tiffFax(864, height)));
  const parts: Buffer[] = [];
  let offset = 0;
  let link: { readonly part: Buffer; readonly at: number } | undefined;
  for (const one of pages) {
    // Offsets inside each file move by where it is put.
    const moved = moveTiff(one, offset);
    if (link !== undefined) link.part.writeUInt32LE(moved.firstIfd, link.at);
    parts.push(moved.bytes);
    link = { part: moved.bytes, at: moved.nextAt };
    offset += moved.bytes.length;
  }
  return Buffer.concat(parts);
}

const typeBytes = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8];

function moveTiff(source: Buffer, by: number): { bytes: Buffer; firstIfd: number; nextAt: number } {
  const bytes = Buffer.concat([source, Buffer.alloc(source.length % 2)]);
  const ifd = bytes.readUInt32LE(4);
  const count = bytes.readUInt16LE(ifd);
  for (let entry = 0; entry < count; entry += 1) {
    const at = ifd + 2 + entry * 12;
    const [tag, type, values] = [bytes.readUInt16LE(at), bytes.readUInt16LE(at + 2), bytes.readUInt32LE(at + 4)];
    const isOutside = (typeBytes[type] ?? 1) * values > 4;
    const dataAt = isOutside ? bytes.readUInt32LE(at + 8) : at + 8;
    // StripOffsets hold file positions themselves.
    if (tag === 273) for (let n = 0; n < values; n += 1) bytes.writeUInt32LE(bytes.readUInt32LE(dataAt + n * 4) + by, dataAt + n * 4);
    if (isOutside) bytes.writeUInt32LE(dataAt + by, at + 8);
  }
  return { bytes, firstIfd: ifd + by, nextAt: ifd + 2 + count * 12 };
}

/** A TIFF of a few kilobytes that asks for more pixels than anybody has memory for. */
export async function tiffBomb(): Promise<Buffer> {
  const bytes = await tiffFax(64, 64);
  const ifd = bytes.readUInt32LE(4);
  for (let entry = 0; entry < bytes.readUInt16LE(ifd); entry += 1) {
    const at = ifd + 2 + entry * 12;
    const tag = bytes.readUInt16LE(at);
    if (tag === 256 || tag === 257) {
      bytes.writeUInt16LE(4, at + 2);
      bytes.writeUInt32LE(60_000, at + 8);
    }
  }
  return bytes;
}

/** A PDF with pages of text. @param change what else is put into it */
export async function pdfFax(pages = 1, change: (document: PDFDocument) => void | Promise<void> = () => undefined): Promise<Buffer> {
  const document = await PDFDocument.create();
  const font = await document.embedFont(StandardFonts.Helvetica);
  for (let n = 1; n <= pages; n += 1) document.addPage([595, 842]).drawText(`Page ${n}`, { x: 50, y: 780, size: 24, font });
  await change(document);
  return Buffer.from(await document.save());
}

/** Puts an action that runs when the document is opened. */
export function withOpenAction(type: string): (document: PDFDocument) => void {
  return (document) => document.catalog.set(PDFName.of('OpenAction'), document.context.obj({ Type: 'Action', S: type, JS: PDFString.of('app.alert(1)') }));
}

/** Marks a PDF as encrypted with the standard handler. */
export function encrypt({ context }: PDFDocument): void {
  context.trailerInfo.Encrypt = context.register(context.obj({ Filter: 'Standard', V: 1, R: 2, P: -4 }));
}
