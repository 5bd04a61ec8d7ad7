import { mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../server/observe/log.ts';
import { startEmbeddedMongo } from '../../server/mongo/embedded.ts';
import { findMongod } from '../../server/mongo/find-mongod.ts';
import { ackCode, addPartner, admission, Backend, mllpSender, untilRouted } from '../support/callers.ts';
import { rawDocuments, rawMongo } from '../support/raw-mongo.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { seeded, type Random } from './random.ts';
import { Scanner, type Hit } from './scanner.ts';

/*
 * Canaries: texts that occur nowhere else are written through every door in the places where patients' data stand, and then
 * looked for in every byte that the server left behind. WiredTiger compresses blocks and journal with snappy, so a text may
 * be cut up in the files; therefore every document of every database, the oplog included (which holds all that the journal
 * holds), is also fetched raw and scanned as BSON.
 */

/** Canaries by what they stand for, as often as patients were made. */
export interface Person {
  readonly family: string;
  readonly given: string;
  readonly mrn: string;
  readonly street: string;
  readonly phone: string;
  /** YYYY-MM-DD, of a time that nothing else is from. */
  readonly birthDate: string;
  readonly note: string;
  readonly code: string;
}

const canariesPerPerson = 8;
const letters = 'abcdefghijklmnopqrstuvwxyz';

function person(random: Random): Person {
  const name = (): string => `Q${random.word(11, letters)}`;
  const [month, day] = [1 + random.below(12), 1 + random.below(28)].map((part) => String(part).padStart(2, '0'));
  return {
    family: name(), given: name(), mrn: random.word(12), street: `${1000 + random.below(8999)} ${name()} Lane`, phone: `+99${random.word(11, '0123456789')}`,
    birthDate: `${1700 + random.below(100)}-${month!}-${day!}`, note: `complains of ${name()} since ${name()}`, code: `Z${random.word(9)}`,
  };
}

/** What a run found. */
export interface CanaryReport {
  readonly canaries: number;
  /** Places scanned. */
  readonly files: number;
  readonly sizeBytes: number;
  readonly documents: number;
  readonly hits: readonly Hit[];
  /** The control: how many canaries the same scanner found where they were written unsealed. */
  readonly control: { readonly inFiles: number; readonly inDocuments: number; readonly inLogs: Readonly<Record<string, number>> };
}

/**
 * Writes `count` canaries through FHIR and HL7v2, stops the server and scans what it left.
 * @param count rounded up to whole persons of eight canaries each
 */
export async function huntCanaries(count: number, seed: number): Promise<CanaryReport> {
  const random = seeded(seed);
  const people = Array.from({ length: Math.ceil(count / canariesPerPerson) }, () => person(random));
  const texts = people.flatMap((one) => Object.values(one) as string[]);
  // In HL7v2, dates have no hyphens.
  const scanner = new Scanner([...texts, ...people.map(({ birthDate }) => birthDate.replaceAll('-', ''))]);
  const server = await startTestServer({ INTERLOCK_LOG_LEVEL: 'debug' });
  try {
    const cliOutput = await writeAll(server, people);
    const raw = await rawMongo(server);
    const hits: Hit[] = [];
    let documents = 0;
    for await (const { collection, bytes } of rawDocuments(raw)) {
      documents += 1;
      hits.push(...scanner.scan(bytes, collection));
    }
    await raw.close();
    const exitCode = await server.stop();
    if (exitCode !== 0) throw new Error(`The server ended with ${String(exitCode)}`);
    hits.push(...scanner.scan(Buffer.from(server.output()), 'output of the server'), ...scanner.scan(Buffer.from(cliOutput), 'output of the command line'));
    const scanned = scanner.scanFiles(server.dataDir);
    hits.push(...scanned.hits);
    return { canaries: texts.length, files: scanned.files, sizeBytes: scanned.sizeBytes, documents, hits, control: await control(texts, scanner, join(server.directory, 'control')) };
  } finally {
    await server.remove();
  }
}

/** Sends every person through all doors, well formed and not. @returns what the command line printed about it */
async function writeAll(server: TestServer, people: readonly Person[]): Promise<string> {
  const backend = await Backend.register(server);
  const partner = await addPartner(server, 'canaries');
  const sender = await mllpSender(server, partner);
  const answers = new Map<string, number>();
  const count = (door: string): void => void answers.set(door, (answers.get(door) ?? 0) + 1);
  for (const [index, one] of people.entries()) {
    for (const [door, method, path, body, headers] of fhirCalls(one)) {
      const { status } = await backend.call(method, path, body, headers);
      const expected = door === 'refused' ? status >= 400 && status < 500 : status < 300;
      if (!expected) throw new Error(`${method} for the door "${door}" was answered ${status}`);
      count(`${door} ${status}`);
    }
    for (const [code, message] of messages(one, index)) {
      const answer = ackCode(await sender.send(message));
      if (answer !== code) throw new Error(`A message was answered ${answer} instead of ${code}`);
      count(answer);
    }
  }
  sender.close();
  backend.close();
  await untilRouted(server);
  const outputs = [await server.cli(['channel', 'dead-letters', 'hl7v2']), await server.cli(['channel', 'status'])];
  return outputs.map(({ stdout, stderr }) => stdout + stderr).join('');
}

type FhirCall = readonly [door: string, method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>];

function fhirCalls(one: Person): FhirCall[] {
  const patient = {
    resourceType: 'Patient', id: one.mrn, identifier: [{ system: 'urn:example:canary', value: one.mrn }], name: [{ family: one.family, given: [one.given] }],
    birthDate: one.birthDate, address: [{ line: [one.street] }], telecom: [{ system: 'phone', value: one.phone }],
    text: { status: 'additional', div: `<div xmlns="http://www.w3.org/1999/xhtml">${one.note}</div>` },
  };
  const condition = {
    resourceType: 'Condition', subject: { reference: `Patient/${one.mrn}`, display: one.family }, code: { coding: [{ system: 'urn:example:codes', code: one.code, display: one.note }], text: one.note },
    recordedDate: one.birthDate, note: [{ text: one.note }],
  };
  const conditional = { ...patient, id: undefined, identifier: [{ system: 'urn:example:conditional', value: one.mrn }] };
  const query = (params: Record<string, string>): string => new URLSearchParams(params).toString();
  const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
  return [
    // The logical id is an MRN, too.
    ['create by update', 'PUT', `Patient/${one.mrn}`, patient],
    ['update', 'PUT', `Patient/${one.mrn}`, { ...patient, maritalStatus: { text: one.note } }],
    ['create', 'POST', 'Condition', condition],
    ['conditional create', 'POST', 'Patient', conditional, { 'If-None-Exist': query({ identifier: `urn:example:conditional|${one.mrn}` }) }],
    ['conditional update', 'PUT', `Patient?${query({ identifier: `urn:example:conditional|${one.mrn}` })}`, { ...conditional, active: true }],
    ['transaction', 'POST', '', { resourceType: 'Bundle', type: 'transaction', entry: [{ fullUrl: 'urn:uuid:4f1c2ce4-1f7c-4a57-9b9e-0f2b6f0d1c11', resource: condition, request: { method: 'POST', url: 'Condition' } }, { resource: { resourceType: 'Binary', contentType: 'text/plain', data: Buffer.from(one.note).toString('base64') }, request: { method: 'POST', url: 'Binary' } }] }],
    ['read', 'GET', `Patient/${one.mrn}`],
    ['search', 'GET', `Patient?${query({ family: one.family, given: one.given, birthdate: one.birthDate, phone: one.phone, address: one.street })}`],
    ['search', 'POST', 'Condition/_search', query({ code: `urn:example:codes|${one.code}`, subject: `Patient/${one.mrn}` }), form],
    ['refused', 'GET', `Patient?${query({ birthdate: one.note })}`],
    ['refused', 'GET', `Patient?${query({ [one.family]: one.given })}`, undefined, { Prefer: 'handling=strict' }],
    ['refused', 'GET', `Observation/${one.mrn}`],
    ['refused', 'GET', `${one.family}/${one.mrn}`],
    ['refused', 'GET', `Patient/${one.mrn}`, undefined, { Authorization: `Bearer ${one.note}` }],
    ['refused', 'POST', 'Patient', { ...patient, birthDate: one.note, gender: one.family, [one.given]: one.street }],
    ['refused', 'POST', 'Patient', `{"resourceType":"Patient","name":"${one.family}", ${one.note}`],
    ['refused', 'POST', 'Observation', { resourceType: 'Observation', status: one.note, code: { text: one.code }, subject: { reference: one.mrn } }],
    ['refused', 'POST', '', { resourceType: 'Bundle', type: 'transaction', entry: [{ resource: { ...patient, name: one.family }, request: { method: 'POST', url: `Patient?${one.mrn}` } }] }],
  ];
}

function messages(one: Person, index: number): [code: string, message: string][] {
  const fields = { mrn: one.mrn, family: one.family, given: one.given, birthDate: one.birthDate.replaceAll('-', ''), street: one.street, phone: one.phone };
  const admitted = admission({ ...fields, controlId: `C${index}A` });
  const header = (type: string, controlId: string): string => String.raw`MSH|^~\&|ADT1|NORTHFIELD|INTERLOCK|HUB|20240510083500||${type}|${controlId}|P|2.5.1`;
  const [pid = '', pv1 = ''] = admitted.split('\r').slice(2);
  return [
    ['AA', admitted],
    ['AA', [header('RDE^O11', `C${index}R`), pid, pv1, `ORC|NW|${one.mrn}-1^EHR`, `RXE||${one.code}^${one.note}^LOCAL|1||TAB`, `NTE|1||${one.note}`, ''].join('\r')],
    // Refused: a kind without a map; a patient without segments; no type; no message at all.
    ['AR', [header('ZZZ^Z01', `C${index}Z`), pid, ''].join('\r')],
    ['AE', [header('ADT^A01', `C${index}M`), `ZPD|${one.note}|${one.family}`, ''].join('\r')],
    ['AE', [header('', one.mrn), pid, ''].join('\r')],
  ];
}

/** The same scanner where the same texts were written unsealed: a database of the same kind, and a log in every encoding. */
async function control(texts: readonly string[], scanner: Scanner, directory: string): Promise<CanaryReport['control']> {
  const mongod = await findMongod({
    configuredPath: process.env['INTERLOCK_MONGOD'], searchPath: process.env['PATH'], cacheDir: join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'interlock'), onProgress: () => undefined,
  });
  const place = { dataDir: join(directory, 'data'), keysDir: join(directory, 'keys') };
  const mongo = await startEmbeddedMongo({ ...place, mongod, log: silentLog });
  const found = new Set<string>();
  try {
    const raw = await rawMongo(place);
    // Uncompressed, so that the files must show every one.
    const collection = await raw.useDb('unsealed').db!.createCollection('texts', { storageEngine: { wiredTiger: { configString: 'block_compressor=none' } } });
    await collection.insertMany(texts.map((text) => ({ text, nested: { list: [text, Buffer.from(text)] } })), { writeConcern: { w: 'majority', j: true } });
    for await (const { collection: where, bytes } of rawDocuments(raw)) for (const { text } of scanner.scan(bytes, where)) found.add(text);
    await raw.close();
  } finally {
    await mongo.stop();
  }
  const inFiles = new Set(scanner.scanFiles(join(place.dataDir, 'mongo', 'db')).hits.map(({ text }) => text));
  const logs = join(directory, 'logs');
  mkdirSync(logs);
  const encodings: Readonly<Record<string, (text: string) => Buffer>> = {
    utf8: (text) => Buffer.from(`name=${text};`),
    utf16le: (text) => Buffer.from(text, 'utf16le'),
    utf16be: (text) => Buffer.from(text, 'utf16le').swap16(),
    base64: (text) => Buffer.from(Buffer.from(`${'x'.repeat(text.charCodeAt(3) % 3)}${text}yy`).toString('base64')),
    hex: (text) => Buffer.from(Buffer.from(text).toString('hex')),
    HEX: (text) => Buffer.from(Buffer.from(text).toString('hex').toUpperCase()),
    'lower case': (text) => Buffer.from(text.toLowerCase()),
  };
  const inLogs = Object.entries(encodings).map(([encoding, encode], index) => {
    const where = join(logs, String(index));
    mkdirSync(where);
    writeFileSync(join(where, 'server.log'), Buffer.concat(texts.flatMap((text) => [encode(text), Buffer.from('\n')])));
    return [encoding, new Set(scanner.scanFiles(where).hits.map(({ text }) => text)).size] as const;
  });
  const own = (set: Set<string>): number => texts.filter((text) => set.has(text)).length;
  return { inFiles: own(inFiles), inDocuments: own(found), inLogs: Object.fromEntries(inLogs) };
}
