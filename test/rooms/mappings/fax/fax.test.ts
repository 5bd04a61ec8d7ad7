import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import sharp from 'sharp';
import { FaxError } from '../../../../mappings/fax/error.ts';
import { faxTypeOf } from '../../../../mappings/fax/kind.ts';
import { mapFax } from '../../../../mappings/fax/map.ts';
import { checkPdf } from '../../../../mappings/fax/pdf.ts';
import { checkTiff, tiffLimits } from '../../../../mappings/fax/tiff.ts';
import { validateResource } from '../../../../resources/validate/index.ts';
import { encrypt, multiPageTiff, pdfFax, tiffBomb, tiffFax, withOpenAction } from '../../../support/faxes.ts';

const fault = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof FaxError) return error.fault;
    throw error;
  }
  return 'accepted';
};

describe('what a fax is', () => {
  test.each<[string, string, string | undefined]>([
    ['II*\0', 'image/tiff', 'image/tiff'],
    ['MM\0*', 'IMAGE/TIFF; application=faxbw', 'image/tiff'],
    ['%PDF-1.7', 'application/pdf', 'application/pdf'],
    ['%PDF-1.7', '', 'application/pdf'],
    ['%PDF-1.7', 'application/octet-stream', 'application/pdf'],
    ['%PDF-1.7', 'image/tiff', undefined],
    ['II*\0', 'application/pdf', undefined],
    ['II*\0', 'image/png', undefined],
    ['GIF89a', 'image/tiff', undefined],
    [' %PDF-1.7', 'application/pdf', undefined],
    ['', '', undefined],
  ])('%j sent as %j', (head, contentType, type) => {
    const read = (): string => faxTypeOf(Buffer.from(head, 'latin1'), contentType);
    if (type === undefined) expect(read).toThrow(FaxError);
    else expect(read()).toBe(type);
  });
});

describe('TIFF', () => {
  test.each<[string, () => Promise<Buffer>, number]>([
    ['one page of group 4', async () => await tiffFax(), 1],
    ['pages of different heights', async () => await multiPageTiff([1100, 2200, 900]), 3],
    ['a page in grey without compression', async () => await sharp({ create: { width: 300, height: 200, channels: 3, background: '#888' } }).tiff({ compression: 'none' }).toBuffer(), 1],
    ['as many pages as are allowed', async () => await multiPageTiff(new Array<number>(tiffLimits.pages).fill(16)), tiffLimits.pages],
  ])('%s', async (_what, make, pages) => {
    expect(await checkTiff(await make())).toBe(pages);
  });

  test('cut anywhere, it is refused', async () => {
    const whole = await multiPageTiff([300, 200]);
    for (let length = 4; length < whole.length - 1; length += 7) expect([length, await fault(checkTiff(whole.subarray(0, length)))]).toEqual([length, 'damaged']);
  });

  test('with directories first, cut in the image data, it is refused', async () => {
    const source = await sharp({ create: { width: 300, height: 200, channels: 3, background: '#888' } }).tiff({ compression: 'none' }).toBuffer();
    const ifd = source.readUInt32LE(4);
    // The same file with the directory moved before the data that it describes; libvips writes it behind.
    const bytes = Buffer.concat([source, source.subarray(8, ifd)]);
    for (let at = ifd + 2; at < ifd + 2 + source.readUInt16LE(ifd) * 12; at += 12) {
      if (bytes.readUInt16LE(at) !== 273) continue;
      const count = bytes.readUInt32LE(at + 4);
      const list = count === 1 ? at + 8 : bytes.readUInt32LE(at + 8);
      for (let n = 0; n < count; n += 1) bytes.writeUInt32LE(bytes.readUInt32LE(list + n * 4) - 8 + source.length, list + n * 4);
    }
    expect(await checkTiff(bytes)).toBe(1);
    expect(await fault(checkTiff(bytes.subarray(0, bytes.length - 500)))).toBe('damaged');
  });

  test('bombs are refused before they unfold', async () => {
    const began = performance.now();
    expect(await fault(checkTiff(await tiffBomb()))).toBe('unacceptable');
    expect(await fault(checkTiff(await multiPageTiff(new Array<number>(tiffLimits.pages + 1).fill(16))))).toBe('unacceptable');
    const circle = await tiffFax();
    circle.writeUInt32LE(circle.readUInt32LE(4), circle.readUInt32LE(4) + 2 + circle.readUInt16LE(circle.readUInt32LE(4)) * 12);
    expect(await fault(checkTiff(circle))).toBe('damaged');
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  test('damaged bytes are read or refused, nothing else', async () => {
    const whole = await tiffFax(200, 100);
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }), async (changes) => {
      const bytes = Buffer.from(whole);
      for (const [at, byte] of changes) bytes[at] = byte;
      await fault(checkTiff(bytes));
    }), { numRuns: 200 });
  }, 60_000);
});

describe('PDF', () => {
  test('its pages are counted', async () => {
    expect(await checkPdf(await pdfFax(3))).toBe(3);
  });

  test.each<[string, () => Promise<Buffer>, string]>([
    ['cut at the end', async () => (await pdfFax()).subarray(0, -60), 'damaged'],
    ['cut in the middle and ended by force', async () => Buffer.concat([(await pdfFax(3)).subarray(0, 700), Buffer.from('\n%%EOF\n')]), 'damaged'],
    ['a signature and nothing more', async () => Promise.resolve(Buffer.from('%PDF-1.7\n%%EOF\n')), 'damaged'],
    ['encrypted', async () => await pdfFax(1, encrypt), 'unacceptable'],
    ['a script on opening', async () => await pdfFax(1, withOpenAction('JavaScript')), 'unacceptable'],
    ['a program to launch', async () => await pdfFax(1, withOpenAction('Launch')), 'unacceptable'],
    ['another file inside', async () => await pdfFax(1, async (document) => document.attach(Buffer.from('MZ'), 'x.bin')), 'unacceptable'],
    ['more pages than are allowed', async () => await pdfFax(501), 'unacceptable'],
  ])('%s', async (_what, make, expected) => {
    expect(await fault(checkPdf(await make()))).toBe(expected);
  }, 30_000);

  test('damaged bytes are read or refused, nothing else', async () => {
    const whole = await pdfFax(2);
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }), async (changes) => {
      const bytes = Buffer.from(whole);
      for (const [at, byte] of changes) bytes[at] = byte;
      await fault(checkPdf(bytes));
    }), { numRuns: 100 });
  }, 120_000);
});

test('the document refers to its source and is valid without subject', async () => {
  const bytes = await tiffFax();
  const fax = { bytes, type: 'image/tiff', channelId: 'fax', controlId: 'c-1', receivedAtMs: Date.UTC(2026, 2, 2) } as const;
  const plan = await mapFax(fax);
  expect(plan).toMatchObject({ contentType: 'image/tiff', resources: [{ mode: 'create', resource: { resourceType: 'DocumentReference', content: [{ attachment: { url: 'urn:key:source', size: bytes.length } }] } }] });
  expect(validateResource({ ...plan.resources[0]!.resource, id: 'x' })).toEqual([]);
  expect(await mapFax(fax)).toEqual(plan);
});
