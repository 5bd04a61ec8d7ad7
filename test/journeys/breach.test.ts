import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Decrypter, generateIdentity, identityToRecipient } from 'age-encryption';
import { PDFDocument } from 'pdf-lib';
import { Backend, type Json } from '../support/callers.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

/* An app whose secret was stolen: what it got, whom that concerns, what has to be done until when. Against a real server. */

let server: TestServer;
let thief: Backend;
let innocent: Backend;
let identity: string;
const patients: string[] = [];
const observations: string[] = [];

beforeAll(async () => {
  [server, identity] = await Promise.all([startTestServer(), generateIdentity()]);
  [thief, innocent] = [await Backend.register(server), await Backend.register(server)];
  const addresses = [{ line: ['1 Elm St'], city: 'Springfield', state: 'IL', postalCode: '62701' }, { line: ['2 Oak Ave'], city: 'Reno', state: 'nevada', postalCode: '89501', country: 'US' }, { city: 'Toronto', state: 'Ontario', country: 'Canada' }, undefined];
  for (const [index, address] of addresses.entries()) {
    const answer = await innocent.call('POST', 'Patient', { resourceType: 'Patient', name: [{ family: `Family${index}`, given: ['Ana'] }], ...(address === undefined ? {} : { address: [address] }), communication: [{ preferred: true, language: { text: 'Spanish' } }] });
    patients.push((answer.json() as Json & { id: string }).id);
    const observation = await innocent.call('POST', 'Observation', { resourceType: 'Observation', status: 'final', code: { text: 'test' }, subject: { reference: `Patient/${patients[index]!}` } });
    observations.push((observation.json() as Json & { id: string }).id);
  }
  for (const id of patients.slice(0, 2)) await thief.call('GET', `Patient/${id}`);
  await thief.call('GET', `Observation?subject=Patient/${patients[2]!}`);
  await thief.call('GET', `Observation/${observations[0]!}`);
  await thief.call('GET', `Observation/${observations[0]!}`);
  // Of the fourth it got nothing.
  await innocent.call('GET', `Patient/${patients[3]!}`);
}, 240_000);
afterAll(async () => {
  thief?.close();
  innocent?.close();
  await server?.remove();
});

async function opened(file: string): Promise<Uint8Array> {
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  return decrypter.decrypt(new Uint8Array(readFileSync(file)));
}

const rowsOf = (csv: Uint8Array): string[][] => Buffer.from(csv).toString().trimEnd().split('\r\n').slice(1).map((row) => row.split(','));

test('who is affected, and by what, goes to a sealed report and into the register', async () => {
  const breach = await server.cliJson<{ id: string }>(['breach', 'open', '--title', 'Stolen secret', '--discovered', '2026-01-05']);
  const out = join(server.directory, 'breach');
  const told = await server.cliJson(['breach', 'report', '--client', thief.clientId, '--breach', breach.id, '--recipient', await identityToRecipient(identity), '--out', out]);
  expect(told).toMatchObject({ affected: 3, states: { 'IL': 1, 'NV': 1, 'outside the US': 1 }, accesses: 5, versions: 4, sealed: true });
  expect(readdirSync(out).sort()).toEqual(['patients.csv.age', 'report.pdf.age', 'versions.csv.age']);

  const people = rowsOf(await opened(join(out, 'patients.csv.age')));
  expect(people.map(([id, name, , , state, , , language]) => [id, name, state, language])).toEqual([
    [patients[0], 'Ana Family0', 'IL', 'Spanish'], [patients[1], 'Ana Family1', 'NV', 'Spanish'], [patients[2], 'Ana Family2', 'outside the US', 'Spanish'],
  ]);
  const versions = rowsOf(await opened(join(out, 'versions.csv.age')));
  expect(versions.map(([patient, type, id, version]) => [patient, type, id, version])).toEqual([
    [patients[0], 'Patient', patients[0], '1'], [patients[1], 'Patient', patients[1], '1'], [patients[2], 'Observation', observations[2], '1'], [patients[0], 'Observation', observations[0], '1'],
  ]);
  const pdf = await opened(join(out, 'report.pdf.age'));
  expect((await PDFDocument.load(pdf)).getTitle()).toBe('Breach report');
  expect(Buffer.from(pdf).subarray(0, 5).toString()).toBe('%PDF-');

  // Each record was read as a job, and each step is on record.
  const reads = await server.cliJson<{ agent: string; event: string }[]>(['audit', 'query', '--patient', patients[0]!, '--agent', 'breach-report']);
  expect(reads.map(({ event }) => event)).toEqual(['read']);
  const steps = await server.cliJson<{ event: string }[]>(['audit', 'query', '--limit', '60']);
  expect(steps.map(({ event }) => event)).toEqual(expect.arrayContaining([expect.stringContaining('breach open'), expect.stringContaining('breach report'), expect.stringContaining('breach update')]));

  const shown = await server.cliJson<{ affected: number; deadlines: { notice: string; due?: string }[] }>(['breach', 'show', breach.id]);
  expect(shown).toMatchObject({ affected: 3, deadlines: [{ notice: 'individuals', due: '2026-03-06' }, { notice: 'media' }, { notice: 'hhs', due: '2027-03-01' }] });
}, 240_000);

test('by address, device and time; a question without a subject is refused; overdue cases end with 2', async () => {
  const report = async (name: string, ...options: string[]): Promise<{ affected: number }> => server.cliJson(['breach', 'report', ...options, '--insecure-unsealed', '--out', join(server.directory, name)]);
  expect(await report('by-address', '--address', '127.0.0.1', '--since', '2026-01-01')).toMatchObject({ affected: 4, sealed: false });
  expect(await report('by-device', '--device', 'no such device', '--since', '2026-01-01')).toMatchObject({ affected: 0 });
  expect(await report('by-time', '--since', '2000-01-01', '--until', '2001-01-01')).toMatchObject({ affected: 0 });
  const refused = await server.cli(['breach', 'report', '--insecure-unsealed', '--out', join(server.directory, 'nothing')]);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('--client')]);
  await server.cliJson(['breach', 'open', '--title', 'Old', '--discovered', '2020-01-05', '--affected', '501', '--state', 'CA=501']);
  const list = await server.cli(['breach', 'list']);
  expect([list.code, list.stdout]).toEqual([2, expect.stringContaining('OVERDUE 2020-03-05')]);
}, 240_000);
