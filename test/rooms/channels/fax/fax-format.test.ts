import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { faxFormat } from '../../../../channels/fax/fax-format.ts';
import { MessageRefused } from '../../../../channels/format.ts';
import { pdfFax, tiffFax } from '../../../support/faxes.ts';

const contextOf = (attributes: Record<string, string>) => ({ channelId: 'fax', zone: 'UTC', attributes, receivedAtMs: Date.UTC(2026, 2, 2) });
const refusal = async (work: () => unknown): Promise<string> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof MessageRefused) return error.code;
    throw error;
  }
  return 'accepted';
};

test('is known by the sender\'s id, else by its bytes', async () => {
  const fax = await tiffFax();
  expect(faxFormat.decode(fax, contextOf({ contentType: 'image/tiff', messageId: 'job-7' })).controlId).toBe('job-7');
  expect(faxFormat.decode(fax, contextOf({})).controlId).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(faxFormat.decode(fax, contextOf({})).controlId).not.toBe(faxFormat.decode(await tiffFax(200, 200), contextOf({})).controlId);
});

test.each<[string, () => Promise<Buffer>, Record<string, string>, string]>([
  ['empty', async () => Promise.resolve(Buffer.alloc(0)), {}, 'message-malformed'],
  ['a wrong content type', pdfFax, { contentType: 'image/tiff' }, 'media-type-unsupported'],
  ['a message id of two lines', tiffFax, { messageId: 'a\nb' }, 'message-malformed'],
  ['truncated', async () => (await tiffFax()).subarray(0, 200), {}, 'message-malformed'],
])('refuses what is %s', async (_what, make, attributes, code) => {
  const bytes = await make();
  expect(await refusal(async () => faxFormat.decode(bytes, contextOf(attributes)).plan())).toBe(code);
});

describe('answers', () => {
  const answer = (verdict: Parameters<typeof faxFormat.acknowledge>[1]): unknown => JSON.parse(faxFormat.acknowledge(Buffer.alloc(0), verdict, { mode: 'message', nowMs: 0, messageId: 'm-1' }).toString());

  test('are JSON', () => {
    expect(answer({ kind: 'accepted' })).toEqual({ messageId: 'm-1', status: 'accepted' });
    expect(answer({ kind: 'rejected', code: 'busy', text: 'Later.' })).toEqual({ messageId: 'm-1', status: 'refused', code: 'busy', message: 'Later.' });
  });
});

test('throws nothing but refusals', async () => {
  await fc.assert(fc.asyncProperty(fc.constantFrom('', 'II*\0', 'MM\0*', '%PDF-1.4\n'), fc.uint8Array({ maxLength: 200 }), async (head, tail) => {
    await refusal(async () => faxFormat.decode(Buffer.concat([Buffer.from(head, 'latin1'), tail, Buffer.from('\n%%EOF')]), contextOf({})).plan());
  }), { numRuns: 200 });
}, 60_000);
