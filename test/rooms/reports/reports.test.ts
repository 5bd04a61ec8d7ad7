import { describe, expect, test } from '@jest/globals';
import { Decrypter, generateIdentity, identityToRecipient } from 'age-encryption';
import { PDFDocument } from 'pdf-lib';
import { csvRow } from '../../../server/reports/csv.ts';
import { renderPdf } from '../../../server/reports/pdf-table.ts';
import { printable } from '../../../server/reports/printable.ts';
import { bytesOf, sealStream, type Seal } from '../../../server/reports/sealed-file.ts';

async function sealed(text: string, seal: Seal): Promise<Uint8Array> {
  const parts = await Array.fromAsync(await sealStream(bytesOf([text]), seal));
  return new Uint8Array(Buffer.concat(parts));
}

describe('sealed files', () => {
  test('open by age with the passphrase', async () => {
    const bytes = await sealed('who saw what', { passphrase: 'correct horse battery' });
    expect(Buffer.from(bytes).subarray(0, 21).toString()).toBe('age-encryption.org/v1');
    const right = new Decrypter();
    right.addPassphrase('correct horse battery');
    expect(await right.decrypt(bytes, 'text')).toBe('who saw what');
  }, 30_000);

  test('open with the identity of the recipient; altered or cut ones do not', async () => {
    const identity = await generateIdentity();
    const text = 'x'.repeat(200_000);
    const bytes = await sealed(text, { recipient: await identityToRecipient(identity) });
    const opened = async (some: Uint8Array): Promise<string> => {
      const decrypter = new Decrypter();
      decrypter.addIdentity(identity);
      return decrypter.decrypt(some, 'text');
    };
    expect(await opened(bytes)).toBe(text);
    const flipped = bytes.slice();
    flipped[150_000]! ^= 1;
    await expect(opened(flipped)).rejects.toThrow();
    await expect(opened(bytes.slice(0, -70_000))).rejects.toThrow();
  });

  test('refuse short passphrases and strange recipients before anything is read', async () => {
    await expect(sealed('', { passphrase: 'elevenchars' })).rejects.toMatchObject({ code: 'request-invalid' });
    await expect(sealed('', { recipient: 'age1qqqq' })).rejects.toMatchObject({ code: 'request-invalid' });
    await expect(sealed('', { recipient: 'ssh-ed25519 AAAA' })).rejects.toMatchObject({ code: 'request-invalid' });
  });

  test('stream: what is read ahead stays small', async () => {
    const chunk = new Uint8Array(64 * 1024);
    let given = 0;
    let taken = 0;
    let ahead = 0;
    const plain = async function* (): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 200; i += 1) {
        await Promise.resolve();
        given += chunk.length;
        yield chunk;
      }
    };
    for await (const part of await sealStream(plain(), { recipient: await identityToRecipient(await generateIdentity()) })) {
      taken += part.length;
      ahead = Math.max(ahead, given - taken);
      await new Promise(setImmediate);
    }
    expect(taken).toBeGreaterThan(given);
    expect(ahead).toBeLessThan(20 * chunk.length);
  });
});

test.each([
  [['a', 'b,c', 'say "x"', 'two\nlines', 7, -3, undefined], 'a,"b,c","say ""x""","two\nlines",7,-3,\r\n'],
  [['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', ' =1', '＝1', '\r=1', '1-1', '"=1'], '\'=1+1,\'+1,\'-1,\'@SUM(A1),\'\t=1,\' =1,\'＝1,"\'\r=1",1-1,"""=1"\r\n'],
])('CSV rows quote, and hold no formulas', (cells, row) => {
  expect(csvRow(cells)).toBe(row);
});

test('text is spelled in the letters that a font has', () => {
  const ascii = (codePoint: number): boolean => codePoint >= 32 && codePoint < 127;
  expect(printable('Łukasz Wiśniewski, Đặng', ascii)).toBe('Lukasz Wisniewski, Dang');
  expect(printable('Щукина Юлия; Παπαδόπουλος', ascii)).toBe('Shchukina Iuliia; Papadopoylos');
  expect(printable('張三 (Zhang)\u0000\u202e', ascii)).toBe('[U+5F35 4E09] (Zhang) ');
  expect(printable('\ud800 ﬁne', ascii)).toBe('[U+D800] fine');
});

describe('PDF', () => {
  const report = { title: 'Report', footer: 'Confidential', at: new Date(0) };

  test('has as many pages as its rows need, whatever letters they hold', async () => {
    const rows = Array.from({ length: 200 }, (_, n) => [String(n), `Щукина 張三 Łuk${'a'.repeat(n)} \u0007 مريم 😀`, 'w '.repeat(n)]);
    const bytes = await renderPdf({ ...report, parts: [{ kind: 'heading', text: 'Rows' }, { kind: 'facts', rows: [['Name', '李']] }, { kind: 'table', columns: [{ title: '№', width: 1 }, { title: 'Name', width: 4 }, { title: 'Text', width: 2 }], rows }] });
    const document = await PDFDocument.load(bytes);
    expect(document.getPageCount()).toBeGreaterThan(15);
    expect(document.getPageCount()).toBeLessThan(40);
    expect(document.getTitle()).toBe('Report');
  });

  test('tells that there are no rows; a row of many pages is continued', async () => {
    const table = { kind: 'table', columns: [{ title: 'A', width: 1 }], empty: 'Nobody.' } as const;
    expect((await PDFDocument.load(await renderPdf({ ...report, parts: [{ ...table, rows: [] }] }))).getPageCount()).toBe(1);
    expect((await PDFDocument.load(await renderPdf({ ...report, parts: [{ ...table, rows: [['word '.repeat(8_000)]] }] }))).getPageCount()).toBeGreaterThan(5);
  });

  test('has a bound', async () => {
    await expect(renderPdf({ ...report, parts: [{ kind: 'facts', rows: Array.from({ length: 50_001 }, () => ['', ''] as const) }] })).rejects.toMatchObject({ code: 'too-costly' });
  });
});
