import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { decodeText } from '../../../../mappings/v2/charset.ts';
import { parseTime, toDateTime, toInstant } from '../../../../mappings/v2/datetime.ts';
import { V2Error } from '../../../../mappings/v2/error.ts';
import { unescape } from '../../../../mappings/v2/escape.ts';
import { messagesIn, parseMessage, readHeader } from '../../../../mappings/v2/message.ts';

const usual = { field: '|', component: '^', repetition: '~', escape: '\\', subcomponent: '&' };

function conditionOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof V2Error) return error.condition;
    throw error;
  }
}

describe('structure', () => {
  test.each([['\r'], ['\n'], ['\r\n']])('segments may end in %j', (end) => {
    const message = parseMessage(['MSH|^~\\&|A|B', 'PID|1||7^^^X', 'PV1|1|I', ''].join(end));
    expect(message.segments.map(({ name }) => name)).toEqual(['MSH', 'PID', 'PV1']);
  });

  test('delimiters are what MSH says', () => {
    const message = parseMessage('MSH$%*!@$APP\rPID$1$$7%%%X@1.2@ISO*8\r');
    const [first, second] = message.all('PID')[0]?.field(3) ?? [];
    expect([first?.at(1).text, first?.at(4).at(2).text, second?.text]).toEqual(['7', '1.2', '8']);
    expect(message.header.sendingApplication).toBe('APP');
  });

  test('a short MSH-2 gets the usual delimiters, a doubled escape character is read as one', () => {
    expect(parseMessage('MSH|^~|A').header.delimiters).toEqual(usual);
    expect(parseMessage('MSH|^~\\\\&|A').header.delimiters).toEqual(usual);
    expect(conditionOf(() => parseMessage('MSH|^^^^|A'))).toBe('102');
  });

  test('an application may be called MSH', () => expect(parseMessage('MSH|^~\\&|MSH|F\rPID|1').header.sendingApplication).toBe('MSH'));

  test('a line that is no segment continues the text before it, but not the header', () => {
    expect(parseMessage('MSH|^~\\&|A\rNTE|1||first\nsecond | line\rPV1|1').all('NTE')[0]?.field(3)[0]?.whole).toBe('first\nsecond');
    expect(conditionOf(() => parseMessage('MSH|^~\\&|A\rPIDX|1'))).toBe('100');
  });

  test('"" is a deletion, empty is nothing', () => {
    const pid = parseMessage('MSH|^~\\&|A\rPID|1||""||').all('PID')[0];
    expect(pid?.field(3)[0]).toMatchObject({ isNull: true, text: '' });
    expect([pid?.field(4), pid?.populated]).toEqual([[], [1, 3]]);
  });

  test('MSH-9.3 is derived where it is missing', () => expect(readHeader('MSH|^~\\&|||||||ADT^A04')?.structure).toBe('ADT_A01'));

  test('what is no message is refused with a code', () => {
    for (const text of ['', 'PID|1', 'MSH', 'hello', '\u0000\u0001']) expect(['100', '102']).toContain(conditionOf(() => parseMessage(text)));
    expect(conditionOf(() => parseMessage('MSH|^~\\&|A\rMSH|^~\\&|B'))).toBe('100');
    expect(conditionOf(() => parseMessage(`MSH|^~\\&|A\r${'NTE|1\r'.repeat(20_001)}`))).toBe('207');
    expect(conditionOf(() => parseMessage(`MSH|^~\\&|A\rPID${'|'.repeat(1_001)}`))).toBe('207');
  });

  test('a batch is split', () => {
    const texts = messagesIn(readFileSync(new URL('../../../fixtures/hl7v2/batch.hl7', import.meta.url)));
    expect(texts.map((text) => parseMessage(text).header.controlId)).toEqual(['B1', 'B2']);
  });
});

describe('escapes', () => {
  test.each([
    ['a\\T\\b', 'a&b'],
    ['\\F\\\\S\\\\R\\\\E\\', '|^~\\'],
    ['one\\.br\\two\\.sp2\\x', 'one\ntwo\n\nx'],
    ['\\H\\bold\\N\\', 'bold'],
    ['\\XC3A9\\', 'é'],
    ['\\XE9\\', 'é'],
    ['4\\5 and \\F\\', '4\\5 and |'],
    ['C:\\Home\\x', 'C:\\Home\\x'],
    ['\\C2842\\', '\\C2842\\'],
    ['\\X4\\', '\\X4\\'],
    ['end\\', 'end\\'],
  ])('%j reads %j', (sent, read) => expect(unescape(sent, usual)).toBe(read));

  test('what is escaped reads back', () => {
    const names: Readonly<Record<string, string>> = { '|': 'F', '^': 'S', '&': 'T', '~': 'R', '\\': 'E' };
    fc.assert(fc.property(fc.string({ unit: 'grapheme-ascii' }), (text) => expect(unescape(text.replace(/[|^&~\\]/g, (one) => `\\${names[one] ?? ''}\\`), usual)).toBe(text)));
  });
});

describe('character sets', () => {
  const message = (charset: string): string => `${['MSH', '^~\\&', 'A', 'F', '', '', '', '', 'ADT^A01', '1', 'P', '2.5', '', '', '', '', '', charset].join('|')}\rPID|1||1||Grünwald`;
  test('UTF-8 is seen whatever is declared', () => expect(decodeText(Buffer.from(message('8859/1'), 'utf8'))).toContain('Grünwald'));
  test('Latin 1 is the fallback, declared or not', () => {
    for (const declared of ['8859/1', 'ASCII', '', 'UNICODE UTF-8', 'no such set']) expect(decodeText(Buffer.from(message(declared), 'latin1'))).toContain('Grünwald');
  });
  test('a declared set is used where the bytes are not UTF-8', () => expect(decodeText(Buffer.concat([Buffer.from(message('8859/5')), Buffer.from([0xbf, 0xe0, 0xd8])]))).toContain('При'));
  test('UTF-16 is recognised', () => expect(decodeText(Buffer.from(message('UNICODE UTF-16'), 'utf16le'))).toContain('Grünwald'));
});

describe('times', () => {
  const zone = 'America/New_York';
  const read = (text: string): string | undefined => {
    const time = parseTime(text, zone);
    return time === undefined ? undefined : toDateTime(time);
  };
  test.each([
    ['2024', '2024'],
    ['202405', '2024-05'],
    ['20240517', '2024-05-17'],
    ['2024051713', '2024-05-17'],
    ['202405171330', '2024-05-17T13:30:00-04:00'],
    ['202401171330', '2024-01-17T13:30:00-05:00'],
    ['20240517133015.1234-0800', '2024-05-17T13:30:15.1234-08:00'],
    ['20240517133015+01', '2024-05-17T13:30:15+01:00'],
    ['2024-05-17T13:30:15Z', '2024-05-17T13:30:15Z'],
    ['20240231', undefined],
    ['20241301', undefined],
    ['00000000', undefined],
    ['0000', undefined],
    ['202405172500', undefined],
    ['2024051713301', undefined],
    ['yesterday', undefined],
  ])('%s is %s', (sent, expected) => expect(read(sent)).toBe(expected));

  test('the moment agrees with the offset', () => {
    fc.assert(fc.property(fc.date({ min: new Date('1950-01-01'), max: new Date('2090-01-01'), noInvalidDate: true }), fc.constantFrom('UTC', 'Europe/Vienna', 'America/New_York', 'Asia/Kolkata', '+08:00', '-03:30'), (date, anyZone) => {
      const time = parseTime(date.toISOString().slice(0, 19).replace(/[-:T]/g, ''), anyZone);
      expect(Date.parse(time === undefined ? '' : toDateTime(time))).toBe(time?.epochMs);
    }), { numRuns: 200 });
  });

  test('an instant needs a minute', () => {
    expect(toInstant(parseTime('20240517', zone)!)).toBeUndefined();
    expect(toInstant(parseTime('202405171330', zone)!)).toBe('2024-05-17T13:30:00-04:00');
  });
});
