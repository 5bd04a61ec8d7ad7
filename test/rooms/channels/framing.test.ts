import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { block, Framer, type Frame } from '../../../channels/mllp/framing.ts';

const limits = { maxMessageBytes: 1000, headBytes: 16, maxNoiseBytes: 64 };

function framesOf(chunks: readonly Buffer[], options = limits): string[] {
  const framer = new Framer(options);
  return chunks.flatMap((chunk) => [...framer.push(chunk)]).map(textOf);
}

function textOf(frame: Frame): string {
  if (frame.kind === 'message') return frame.bytes.toString('latin1');
  return frame.kind === 'oversize' ? `oversize ${frame.head.toString('latin1')}` : 'noise';
}

const bytewise = (bytes: Buffer): Buffer[] => [...bytes].map((byte) => Buffer.of(byte));
const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('MLLP framing', () => {
  const cases: readonly (readonly [string, string, readonly string[]])[] = [
    ['one block', '\x0bMSH|1\r\x1c\r', ['MSH|1\r']],
    ['two blocks at once', '\x0bMSH|1\r\x1c\r\x0bMSH|2\r\x1c\r', ['MSH|1\r', 'MSH|2\r']],
    ['no carriage return after the end', '\x0bMSH|1\r\x1c\x0bMSH|2\r\x1c', ['MSH|1\r', 'MSH|2\r']],
    ['noise before, between and after', 'junk\r\n\x0bMSH|1\x1c\r\n\n..\x0bMSH|2\x1c\r\0', ['MSH|1', 'MSH|2']],
    ['a block given up for a new one', '\x0bMSH|half\x0bMSH|2\x1c\r', ['MSH|2']],
    ['an end without a start', '\x1c\r\x0bMSH|1\x1c\r', ['MSH|1']],
    ['an empty block', '\x0b\x1c\r', ['']],
    ['bytes of any value', '\x0b\x00\xff\xfe\x1b\x1c\r', ['\x00\xff\xfe\x1b']],
    ['no start at all', 'MSH|1\x1c\r', []],
    ['more noise than allowed', `${'x'.repeat(65)}\x0bMSH|1\x1c\r`, ['noise']],
    ['too large', `\x0b${'0123456789'.repeat(101)}\x1c\r\x0bMSH|2\x1c\r`, ['oversize 0123456789012345']],
    ['as large as may be', `\x0b${'x'.repeat(1000)}\x1c\r`, ['x'.repeat(1000)]],
  ];
  test.each(cases)('%s, in one read and byte by byte', (_name, sent, expected) => {
    expect(framesOf([latin1(sent)])).toEqual(expected);
    expect(framesOf(bytewise(latin1(sent)))).toEqual(expected);
  });

  test('however reads fall, the messages are the same', () => {
    const message = fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes.filter((byte) => byte !== 0x0b && byte !== 0x1c)));
    fc.assert(fc.property(fc.array(message, { maxLength: 10 }), fc.array(fc.nat(400), { maxLength: 20 }), (messages, cuts) => {
      const stream = Buffer.concat(messages.map(block));
      const at = [0, ...cuts.filter((cut) => cut < stream.length).sort((a, b) => a - b), stream.length];
      const chunks = at.slice(1).map((end, index) => stream.subarray(at[index], end));
      expect(framesOf(chunks)).toEqual(messages.map((bytes) => bytes.toString('latin1')));
    }), { numRuns: 300, seed: 7 });
  });

  test('a message that arrives byte by byte holds no more memory than twice its size', () => {
    const framer = new Framer({ ...limits, maxMessageBytes: 2 ** 20 });
    for (const byte of bytewise(Buffer.concat([Buffer.of(0x0b), Buffer.alloc(100_000, 0x41)]))) expect([...framer.push(byte)]).toEqual([]);
    expect(framer.inBlock).toBe(true);
    expect(framer.heldBytes).toBeLessThanOrEqual(200_000);
  });
});
