import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MessageRefused, type AckVerdict } from '../../../../channels/format.ts';
import { scriptFormat } from '../../../../channels/script/script-format.ts';
import { parseXml, type ScriptNode } from '../../../../mappings/script/xml.ts';

const format = scriptFormat('9.8.7');
const newRx = readFileSync(new URL('../../../fixtures/script/new-rx.xml', import.meta.url));
const context = { channelId: 'script', zone: 'UTC', attributes: { contentType: 'text/xml; charset=utf-8' } };
const answer = (bytes: Buffer, verdict: AckVerdict): ScriptNode => parseXml(format.acknowledge(bytes, verdict, { mode: 'message', nowMs: Date.UTC(2026, 2, 2), messageId: '01890000-0000-7000-8000-000000000001' }));
const at = (node: ScriptNode | undefined, path: string): ScriptNode | undefined => path.split('/').reduce<ScriptNode | undefined>((found, name) => found?.children.find((child) => child.name === name), node);

describe('answers', () => {
  test('an accepted message: Status 010, ends swapped, qualifiers and versions echoed', () => {
    const root = answer(newRx, { kind: 'accepted' });
    expect(at(root, 'Body/Status/Code')?.text).toBe('010');
    expect(at(root, 'Header/To')).toMatchObject({ text: '6301875277001', attributes: { Qualifier: 'D' } });
    expect(at(root, 'Header/From')).toMatchObject({ text: '7701630', attributes: { Qualifier: 'P' } });
    expect(['MessageID', 'RelatesToMessageID', 'SentTime'].map((name) => at(root, `Header/${name}`)?.text)).toEqual(['01890000000070008000000000000001', 'a1b2c3d4e5f60001', '2026-03-02T00:00:00.000Z']);
    expect(root.attributes.TransactionVersion).toBe('2017071');
  });

  test('the namespace is echoed', () => {
    const old = readFileSync(new URL('../../../fixtures/script/new-rx-10-6.xml', import.meta.url));
    expect(answer(old, { kind: 'accepted' })).toMatchObject({ namespace: 'http://www.ncpdp.org/schema/SCRIPT', attributes: { version: '010', release: '006' } });
  });

  test('a refusal: Error with codes and where, by element names', () => {
    const root = answer(newRx, { kind: 'error', code: 'message-unacceptable', text: 'A required element is missing.', location: 'Body/NewRx/MedicationPrescribed' });
    expect(['Code', 'DescriptionCode', 'Description'].map((name) => at(root, `Body/Error/${name}`)?.text)).toEqual(['900', '2000', 'A required element is missing. (Body/NewRx/MedicationPrescribed)']);
  });

  test('of a message that breaks off, what plainly is a header is echoed; of hostile text nothing', () => {
    const root = answer(newRx.subarray(0, 700), { kind: 'error', code: 'message-malformed', text: 'x' });
    expect([at(root, 'Header/To')?.text, at(root, 'Header/RelatesToMessageID')?.text]).toEqual(['6301875277001', 'a1b2c3d4e5f60001']);
    const hostile = answer(Buffer.from('<Message><Header><To>a&lt;b</To><From>"><x/></From><MessageID>&#60;</MessageID>'), { kind: 'error', code: 'message-malformed', text: 'x' });
    expect([at(hostile, 'Header/To')?.text, at(hostile, 'Header/RelatesToMessageID')]).toEqual(['UNKNOWN', undefined]);
  });

  test('come to whatever arrives, as well-formed XML', () => {
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.string({ maxLength: 100 }).map((text) => Buffer.from(newRx.toString().replace('a1b2c3d4e5f60001', text)))), (bytes) => {
      expect(answer(Buffer.from(bytes), { kind: 'rejected', code: 'busy', text: 'later' }).name).toBe('Message');
    }), { numRuns: 300 });
  });
});

describe('decoding', () => {
  test('tells control id, type and order', () => {
    expect(format.decode(newRx, context)).toMatchObject({ controlId: 'a1b2c3d4e5f60001', messageType: 'NewRx' });
  });

  test.each([['application/json', false], ['application/xml', true], ['application/soap+xml', true], ['', true], ['text/html', false]])('content type %j', (contentType, isTaken) => {
    const decode = (): unknown => format.decode(newRx, { ...context, attributes: { contentType } });
    if (isTaken) expect(decode).not.toThrow();
    else expect(decode).toThrow(MessageRefused);
  });

  test('throws nothing but refusals', async () => {
    await fc.assert(fc.asyncProperty(fc.tuple(fc.nat(newRx.length), fc.uint8Array({ maxLength: 30 })), async ([cut, put]) => {
      try {
        await format.decode(Buffer.concat([newRx.subarray(0, cut), put, newRx.subarray(cut)]), context).plan();
      } catch (error) {
        if (!(error instanceof MessageRefused)) throw error;
      }
    }), { numRuns: 300 });
  });
});
