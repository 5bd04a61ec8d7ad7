import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Decrypter, generateIdentity, identityToRecipient } from 'age-encryption';
import { PDFDocument } from 'pdf-lib';
import { Backend, type Json } from '../support/callers.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

/*
 * What leaves the audit trail as files: exports, and the accounting of disclosures. From outside, against a real server and without one.
 */

let server: TestServer;
let backend: Backend;
let identity: string;
let recipient: string;
const patients: string[] = [];

beforeAll(async () => {
  [server, identity] = await Promise.all([startTestServer(), generateIdentity()]);
  recipient = await identityToRecipient(identity);
  backend = await Backend.register(server);
  for (const family of ['Ñandú', '=HYPERLINK("x")']) {
    const answer = await backend.call('POST', 'Patient', { resourceType: 'Patient', name: [{ family, given: ['José'] }], address: [{ line: ['1 Elm St'], city: 'Springfield' }] });
    const { id } = answer.json() as Json & { id: string };
    patients.push(id);
    for (let n = 0; n < 3; n += 1) await backend.call('GET', `Patient/${id}`);
  }
}, 240_000);

afterAll(async () => {
  backend?.close();
  await server?.remove();
});

const path = (name: string): string => join(server.directory, name);

async function opened(file: string): Promise<string> {
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  return decrypter.decrypt(new Uint8Array(readFileSync(file)), 'text');
}

describe('export', () => {
  test('as NDJSON: the events of one patient, on record before and after', async () => {
    const file = path('events.ndjson');
    expect(await server.cliJson(['audit', 'export', '--patient', patients[0]!, '--out', file])).toEqual({ events: 4, sealed: false });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const events = readFileSync(file, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as { resourceType: string; action: string });
    expect(events.map(({ resourceType, action }) => `${resourceType} ${action}`)).toEqual(['AuditEvent C', 'AuditEvent R', 'AuditEvent R', 'AuditEvent R']);
    const rows = await server.cliJson<{ event: string; patients: string; record: { query: string; requestId: string } }[]>(['audit', 'query', '--patient', patients[0]!, '--limit', '2']);
    expect(rows.map(({ event, patients: about }) => [event, about])).toEqual([['command audit export --patient', patients[0]], ['command audit export --patient', patients[0]]]);
    expect(rows.map(({ record }) => record.query)).toEqual([`AuditEvent?patient=${patients[0]}&_format=ndjson&events=4`, `AuditEvent?patient=${patients[0]}`]);
    expect(new Set(rows.map(({ record }) => record.requestId)).size).toBe(1);
  }, 240_000);

  test('as sealed CSV; nothing is overwritten', async () => {
    const file = path('events.csv.age');
    const command = ['audit', 'export', '--format', 'csv', '--until', '2100-01-01', '--recipient', recipient, '--out', file];
    const { events } = await server.cliJson<{ events: number }>(command);
    const lines = (await opened(file)).split('\r\n');
    expect(lines[0]).toMatch(/^AuditEvent,recorded \(UTC\),kind,event,/);
    expect(lines).toHaveLength(events + 2);
    const again = await server.cli(command);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('already')]);
  }, 240_000);

  test('without a server, by passphrase; a short one is refused and leaves no file', async () => {
    const [secret, weak] = [path('passphrase'), path('weak')];
    writeFileSync(secret, 'correct horse battery\n');
    writeFileSync(weak, 'short\n');
    const refused = await server.cli(['audit', 'export', '--passphrase-file', weak, '--out', path('weak.age')]);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('12 characters')]);
    await server.stop();
    expect(await server.cliJson(['audit', 'export', '--patient', patients[1]!, '--passphrase-file', secret, '--out', path('down.age')])).toEqual({ events: 4, sealed: true });
    expect(readFileSync(path('down.age')).subarray(0, 60).toString('latin1')).toMatch(/^age-encryption\.org\/v1\n-> scrypt /);
    expect(() => statSync(path('weak.age'))).toThrow('ENOENT');
    await server.restart();
  }, 240_000);
});

describe('accounting of disclosures', () => {
  test('tells what must be accounted for, as a PDF, sealed unless insisted otherwise', async () => {
    const command = ['audit', 'accounting', '--patient', patients[0]!];
    const refused = await server.cli([...command, '--out', path('a.pdf')]);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('--insecure-unsealed')]);
    expect(await server.cliJson([...command, '--recipient', recipient, '--out', path('a.pdf.age')])).toMatchObject({ accountable: 3, sealed: true });
    expect(await opened(path('a.pdf.age'))).toMatch(/^%PDF-1\.\d/);
    const readable = await server.cli([...command, '--required-only', '--insecure-unsealed', '--out', path('a.pdf')]);
    expect([readable.code, readable.stdout]).toEqual([0, expect.stringContaining('NOT SEALED')]);
    const document = await PDFDocument.load(readFileSync(path('a.pdf')));
    expect([document.getTitle(), document.getPageCount()]).toEqual(['Accounting of disclosures', 1]);
    const rows = await server.cliJson<{ event: string; record: { requestId: string } }[]>(['audit', 'query', '--patient', patients[0]!, '--agent', (await server.cliJson<{ record: { actor: { id: string } } }[]>(['audit', 'query', '--limit', '1']))[0]!.record.actor.id, '--limit', '3']);
    // The operator's read of the name, the disclosure before its bytes left, and the command.
    expect(rows.map(({ event }) => event)).toEqual([expect.stringContaining('audit accounting'), expect.stringContaining('audit accounting'), 'read']);
  }, 240_000);
});
