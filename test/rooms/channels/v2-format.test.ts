import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MessageRefused } from '../../../channels/format.ts';
import { ackCodeOf, v2Format } from '../../../channels/mllp/v2-format.ts';

const corpus = join(import.meta.dirname, '../../../../shared/data/hl7v2');
const context = { channelId: 'hl7v2', zone: 'UTC', attributes: {} };
const message = (msh: string, ...segments: string[]): Buffer => Buffer.from([`MSH|^~\\&|LAB|NORTH|INTERLOCK|HOME|20240101120000||${msh}`, ...segments].join('\r'), 'utf8');
const admit = (control: string, mrn: string, more = ''): Buffer => message(`ADT^A01^ADT_A01|${control}|P|2.5.1${more}`, 'EVN|A01|20240101120000', `PID|1||${mrn}^^^NORTH^MR||Doe^Jane||19800101|F`, 'PV1|1|I|W^1^1');
const answerTo = (bytes: Buffer, verdict: Parameters<typeof v2Format.acknowledge>[1]): string[] =>
  v2Format.acknowledge(bytes, verdict, { mode: 'message', nowMs: 0, messageId: '0190a0b1-0000-7000-8000-0123456789ab' }).toString('utf8').split('\r');

function refusalOf(bytes: Buffer): MessageRefused {
  try {
    void v2Format.decode(bytes, context).plan();
  } catch (error) {
    if (error instanceof MessageRefused) return error;
    throw error;
  }
  throw new Error('not refused');
}

describe('HL7v2 as a message format', () => {
  test('a message gives its control id, type, lanes and plan', async () => {
    const decoded = v2Format.decode(admit('C1', '4711'), context);
    expect(decoded).toMatchObject({ controlId: 'C1', messageType: 'ADT^A01' });
    expect(decoded.orderingKeys).toEqual(v2Format.decode(admit('C2', '4711'), context).orderingKeys);
    expect(decoded.orderingKeys).not.toEqual(v2Format.decode(admit('C1', '4712'), context).orderingKeys);
    expect((await decoded.plan()).resources.map(({ resource }) => resource.resourceType)).toEqual(expect.arrayContaining(['Patient', 'Encounter']));
  });

  test.each([
    ['no HL7 at all', Buffer.from('hello'), 'message-malformed', '100', 'AE'],
    ['no control id', admit('', '1'), 'message-malformed', '101', 'AE'],
    ['an unsupported type', message('XYZ^Z99|C9|P|2.5'), 'message-unsupported', '200', 'AR'],
    ['an unsupported event', message('ADT^Z99|C9|P|2.5'), 'message-unsupported', '201', 'AR'],
    ['an unknown processing id', message('ADT^A01|C9|X|2.5'), 'message-unsupported', '202', 'AR'],
  ])('%s is refused in the terms of an acknowledgement', (_name, bytes, code, condition, ackCode) => {
    const refusal = refusalOf(bytes);
    expect([refusal.code, refusal.details.formatCode]).toEqual([code, condition]);
    const { formatCode = '', location = '' } = refusal.details;
    const lines = answerTo(bytes, { kind: ackCode === 'AR' ? 'rejected' : 'error', code: refusal.code, text: refusal.message, formatCode, ...(location === '' ? {} : { location }) });
    expect(lines.find((line) => line.startsWith('MSA|'))).toMatch(new RegExp(`^MSA\\|${ackCode}\\|`));
    expect(lines.find((line) => line.startsWith('ERR|'))).toContain(`|${condition}^`);
  });

  test('the answer swaps sender and receiver, names the message, and has an id of its own', () => {
    const [msh = '', msa] = answerTo(admit('C1', '1'), { kind: 'accepted' });
    expect(msh.split('|').slice(2, 6)).toEqual(['INTERLOCK', 'HOME', 'LAB', 'NORTH']);
    expect(msh.split('|')[9]).toBe('70008000' + '0123456789ab');
    expect(msa).toBe('MSA|AA|C1');
  });

  test('a message in another character set is answered in it', () => {
    const bytes = Buffer.from(admit('C1', '1').toString('utf8').replace('|LAB|', '|LABÉ|'), 'latin1');
    const answer = v2Format.acknowledge(bytes, { kind: 'accepted' }, { mode: 'message', nowMs: 0, messageId: '0190a0b1-0000-7000-8000-0123456789ab' });
    expect(answer.includes(Buffer.from('LABÉ', 'latin1'))).toBe(true);
  });

  test('a batch is taken apart byte by byte, a single message is left as it is', () => {
    const [one, two] = [admit('B1', '1'), Buffer.concat([admit('B2', '2'), Buffer.from('\rNTE|1||'), Buffer.of(0xe9)])];
    const cr = Buffer.from('\r');
    const batch = Buffer.concat([Buffer.from('FHS|^~\\&\rBHS|^~\\&\r'), one, cr, two, cr, Buffer.from('BTS|2\rFTS|1\r')]);
    expect(v2Format.split!(batch).map((part) => part.toString('latin1'))).toEqual([one, two].map((part) => part.toString('latin1')));
    expect(v2Format.split!(one)).toEqual([one]);
    expect(v2Format.split!(Buffer.from('FHS|^~\\&\rFTS|0\r'))).toHaveLength(1);
    expect(v2Format.split!(Buffer.alloc(0))).toHaveLength(1);
  });

  // MSH-15, MSH-16, then MSA-1 for accepted, error, rejected; '-' is no answer.
  test.each([
    ['', '', 'AA AE AR'], ['AL', '', 'CA CE CR'], ['AL', 'AL', 'CA CE CR'], ['ER', '', '- CE CR'], ['SU', '', 'CA - -'], ['NE', '', '- - -'], ['NE', 'NE', '- - -'],
    ['NE', 'AL', 'AA AE AR'], ['', 'AL', 'AA AE AR'], ['NE', 'ER', '- AE AR'], ['NE', 'SU', 'AA - -'], ['al', '', 'CA CE CR'], ['XX', '', 'CA CE CR'],
  ])('MSH-15 %j and MSH-16 %j', (acceptAcknowledgment, applicationAcknowledgment, expected) => {
    const header = { acceptAcknowledgment, applicationAcknowledgment };
    const problem = { code: 'message-malformed', text: '' } as const;
    const codes = [{ kind: 'accepted' } as const, { kind: 'error', ...problem } as const, { kind: 'rejected', ...problem } as const].map((verdict) => ackCodeOf(verdict, header, 'asked') ?? '-');
    expect(codes.join(' ')).toBe(expected);
    // The default: never silent, whatever the conditions say.
    expect(ackCodeOf({ kind: 'accepted' }, header, 'message')).toMatch(/^[AC]A$/);
    expect(ackCodeOf({ kind: 'accepted' }, header, 'original')).toBe('AA');
    expect(ackCodeOf({ kind: 'accepted' }, header, 'enhanced')).toBe('CA');
  });

  /** Whatever is sent: either a plan or a refusal, and always an answer. */
  function expectAnswer(bytes: Buffer): 'accepted' | 'refused' {
    let outcome: 'accepted' | 'refused' = 'accepted';
    for (const part of v2Format.split!(bytes)) {
      try {
        void v2Format.decode(part, context).plan();
      } catch (error) {
        if (!(error instanceof MessageRefused)) throw error;
        outcome = 'refused';
      }
      const answer = v2Format.acknowledge(part, { kind: 'accepted' }, { mode: 'original', nowMs: 0, messageId: '0190a0b1-0000-7000-8000-0123456789ab' }).toString('latin1');
      if (!/^MSH[^]*\rMSA[^\r]AA[^\r]*\r$/.test(answer)) throw new Error('not an acknowledgement');
    }
    return outcome;
  }

  (existsSync(corpus) ? test : test.skip)('every message of the public samples is understood or refused, and answered', () => {
    const files = readdirSync(corpus, { recursive: true }).map((name) => join(corpus, String(name))).filter((path) => statSync(path).isFile() && !path.endsWith('INDEX.tsv'));
    const outcomes = files.map((path) => expectAnswer(readFileSync(path)));
    expect(outcomes.filter((outcome) => outcome === 'accepted').length).toBeGreaterThan(files.length / 2);
  });

  test('damaged messages are answered', () => {
    const whole = admit('C1', '4711');
    const damage = fc.array(fc.record({ at: fc.nat(whole.length - 1), bytes: fc.uint8Array({ maxLength: 4 }), cut: fc.nat(20) }), { minLength: 1, maxLength: 5 });
    fc.assert(fc.property(damage, (edits) => {
      let bytes = whole;
      for (const { at, bytes: put, cut } of edits) bytes = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + cut)]);
      expectAnswer(bytes);
    }), { numRuns: 1500, seed: 11 });
  });
});
