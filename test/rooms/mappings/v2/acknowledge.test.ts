import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { buildAck } from '../../../../mappings/v2/acknowledge.ts';
import { V2Error } from '../../../../mappings/v2/error.ts';
import { parseMessage, readHeader } from '../../../../mappings/v2/message.ts';

const nowMs = Date.UTC(2024, 4, 10, 12, 0, 5);
const error = new V2Error('101', { segment: 'PID', sequence: 1, field: 3 });
const header = (version: string): ReturnType<typeof readHeader> => readHeader(`MSH|^~\\&|APP^1.2^ISO|FAC|IL|HUB|20240510||ADT^A01^ADT_A01|ID\\T\\9|T|${version}||||||UNICODE UTF-8`);

describe('acknowledgement', () => {
  test('swaps sender and receiver and echoes what the sender needs', () => {
    expect(buildAck({ header: header('2.5.1'), code: 'AA', controlId: 'ACK1', nowMs })).toBe(
      'MSH|^~\\&|IL|HUB|APP^1.2^ISO|FAC|20240510120005+0000||ACK^A01^ACK|ACK1|T|2.5.1||||||UNICODE UTF-8\rMSA|AA|ID\\T\\9\r');
  });

  test('errors in v2.5 and later stand in ERR-2, -3, -4 and -8', () => {
    expect(buildAck({ header: header('2.6'), code: 'AE', errors: [error], controlId: 'ACK1', nowMs }).split('\r')[2]).toBe('ERR||PID^1^3|101^Required field missing^HL70357|E||||Required field missing');
  });

  test('errors in v2.3 stand in ERR-1, MSA-3 and MSA-6', () => {
    const ack = buildAck({ header: header('2.3'), code: 'AE', errors: [error], controlId: 'ACK1', nowMs }).split('\r');
    expect(ack.slice(1, 3)).toEqual(['MSA|AE|ID\\T\\9|Required field missing|||101^Required field missing^HL70357', 'ERR|PID^1^3^101&Required field missing&HL70357']);
  });

  test('a message without readable header is answered too', () => {
    const ack = parseMessage(buildAck({ header: readHeader('rubbish'), code: 'AR', errors: [new V2Error('100', { segment: 'MSH', sequence: 1 })], controlId: 'ACK1', nowMs }));
    expect([ack.all('MSA')[0]?.field(1)[0]?.text, ack.all('ERR')[0]?.field(3)[0]?.text]).toEqual(['AR', '100']);
  });

  test('whatever the header held, the answer reads and has just its own segments', () => {
    fc.assert(fc.property(fc.string(), fc.string(), fc.constantFrom('|', '$', '#'), (application, id, field) => {
      const read = readHeader(`MSH${field}^~\\&${field}${application}${field}F${field}${field}${field}2024${field}${field}ADT^A01${field}${id}${field}P${field}2.5`);
      const ack = parseMessage(buildAck({ header: read, code: 'AE', errors: [error], controlId: 'ACK1', nowMs }));
      expect(ack.segments.map(({ name }) => name)).toEqual(['MSH', 'MSA', 'ERR']);
    }));
  });

  test('the code follows the condition', () => {
    expect((['100', '101', '102', '103', '200', '201', '202', '203', '207'] as const).map((condition) => new V2Error(condition).ackCode)).toEqual(['AE', 'AE', 'AE', 'AE', 'AR', 'AR', 'AR', 'AR', 'AE']);
  });
});
