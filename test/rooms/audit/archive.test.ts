import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Archive } from '../../../server/audit/archive.ts';
import { segmentCollection, tombstoneCollection } from '../../../server/audit/archive-catalogue.ts';
import { holdCollection, Holds } from '../../../server/audit/archive-holds.ts';
import { directoryPlace, type ArchivePlace } from '../../../server/audit/archive-place.ts';
import { Archiver } from '../../../server/audit/archiver.ts';
import type { Block } from '../../../server/audit/block.ts';
import { checkTrail } from '../../../server/audit/check.ts';
import { Checkpoints } from '../../../server/audit/checkpoints.ts';
import { lineOf, logRecords } from '../../../server/audit/log-records.ts';
import { proveInclusion } from '../../../server/audit/proofs.ts';
import { queryRecords, type RecordFilter } from '../../../server/audit/query.ts';
import { AuditReader } from '../../../server/audit/reader.ts';
import { keysOf, parseLine } from '../../../server/audit/standalone/format.ts';
import { LogVerifier, type Report } from '../../../server/audit/standalone/log.ts';
import { checkProof } from '../../../server/audit/standalone/proof.ts';
import { auditCollection, openAuditTrail, type OpenAuditTrail } from '../../../server/audit/trail.ts';
import { openMongoose } from '../../../server/mongo/connect.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';
import { recordOf, site, tenant, testKeyring } from './support.ts';

const dayMs = 86_400_000;
const beginMs = Date.parse('2018-03-01T08:00:00Z');
const policy = { retentionDays: 2_192, archiveAfterDays: 365, basis: 'test' };
let nowMs = beginMs;
let mongo: TestMongo;
let keys: Awaited<ReturnType<typeof testKeyring>>;
let directory: string;
let checkpoints: Checkpoints;
let trail: OpenAuditTrail;
let archive: Archive;
let reader: AuditReader;
let holds: Holds;
const open: OpenAuditTrail[] = [];

beforeAll(async () => {
  keys = await testKeyring();
});
afterAll(() => keys.close());

/** A trail of several months and processes: many patients, a checkpoint after each day. */
beforeEach(async () => {
  mongo = await testMongo();
  directory = mkdtempSync(join(tmpdir(), 'interlock-archive-'));
  rmSync(join(keys.keysDir, 'audit-checkpoint.last'), { force: true });
  rmSync(join(keys.keysDir, 'audit-holds.last'), { force: true });
  nowMs = beginMs;
  checkpoints = await Checkpoints.open({ audit: mongo.audit, keyring: keys.keyring, tenant, keysDir: keys.keysDir, log: silentLog, intervalMs: 0, nowMs: () => nowMs });
  holds = new Holds({ audit: mongo.audit, keyring: keys.keyring, tenant, keysDir: keys.keysDir });
  for (const [index, epochId] of ['a', 'b', 'c'].entries()) {
    trail = await openAuditTrail({ audit: mongo.audit, keyring: keys.keyring, tenant, epochId, log: silentLog, nowMs: () => nowMs });
    open.push(trail);
    for (let day = 0; day < 4; day += 1) {
      nowMs = beginMs + (index * 30 + day * 7) * dayMs;
      for (let at = 0; at < 5; at += 1) {
        nowMs += 60_000;
        await trail.record(recordOf({ at: nowMs, actor: { kind: 'user', id: `user-${at % 2}`, address: `192.0.2.${index}` }, outcome: at === 4 ? '4' : '0', patients: [`pat-${(day + at) % 3}`], entities: [{ type: 'Observation', id: `o-${index}-${day}-${at}`, patients: [`pat-${(day + at) % 3}`] }] }));
      }
      await checkpoints.make();
    }
  }
  archive = openArchive();
  reader = readerOf(archive);
});
const openArchive = (places: readonly ArchivePlace[] = [directoryPlace(directory)]): Archive => new Archive({ audit: mongo.audit, keyring: keys.keyring, tenant, places });
const readerOf = (one: Archive): AuditReader => new AuditReader({ audit: mongo.audit, keyring: keys.keyring, tenant, site, archive: one });
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
  rmSync(directory, { recursive: true });
  await mongo.drop();
});

const archiver = (changes: Partial<ConstructorParameters<typeof Archiver>[0]> = {}): Archiver =>
  new Archiver({ audit: mongo.audit, tenant, archive, place: archive.places[0]!, checkpoints, trail, holds, policy, log: silentLog, nowMs: () => nowMs, openRemover: async () => openMongoose(mongo.archiverUri), limits: { maxBlocks: 12 }, ...changes });

/** Archives what is due, and clears the database of it. */
async function archiveAll(): Promise<{ written: readonly string[]; removed: readonly string[] }> {
  const { written } = await archiver().archive(false);
  nowMs += 2 * 3_600_000;
  const { removed, waiting } = await archiver().archive(false);
  expect(waiting).toBe(0);
  return { written, removed };
}

const untilMs = beginMs + 200 * dayMs;
const questions: readonly RecordFilter[] = [
  {}, { ascending: true }, { patient: 'pat-1' }, { agent: 'user-1', ascending: true }, { outcome: 'refused' }, { address: '192.0.2.1' }, { entity: 'Observation/o-1-2-3' },
  { sinceMs: beginMs + 7 * dayMs }, { patient: 'pat-2', sinceMs: beginMs + 20 * dayMs, ascending: true }, { outcome: 'refused', patient: 'pat-0', ascending: true },
];

/** What readers are told about that time: every question, each event by its id, a proof of each entry, the log. */
async function answers(withProofs = false): Promise<unknown> {
  const told: unknown[] = [];
  for (const question of questions) {
    const found: string[] = [];
    for await (const entry of queryRecords(reader, { untilMs, limit: 1_000, ...question })) found.push(JSON.stringify(reader.render(entry)));
    told.push(found);
  }
  if (withProofs) for await (const { id } of queryRecords(reader, { untilMs, limit: 1_000 })) {
    told.push((await reader.read(`${id.toString('hex')}-0`))?.bytes.toString());
    const { block, batch, entry } = await proveInclusion(mongo.audit, tenant, id, archive);
    told.push(block, batch, entry);
  }
  for await (const record of logRecords(mongo.audit, tenant, { until: 12, archive })) told.push(lineOf(record));
  return told;
}

async function verify(): ReturnType<typeof checkTrail> {
  return checkTrail({ audit: mongo.audit, keyring: keys.keyring, tenant, checkpoints, archive });
}

const later = (): void => void (nowMs = beginMs + 600 * dayMs);
const muchLater = (): void => void (nowMs = beginMs + (2_192 + 400) * dayMs);

test('nothing is archived before it is due', async () => {
  expect(await archiver().archive(true)).toMatchObject({ entries: 0 });
  expect(await archiver().archive(false)).toMatchObject({ written: [], removed: [] });
  nowMs = beginMs + 365 * dayMs;
  expect(await archiver().archive(false)).toMatchObject({ written: [] });
});

test('archived entries give the same answers, byte for byte: questions, reads, proofs, the log', async () => {
  later();
  await checkpoints.make();
  const before = await answers(true);
  expect(await archiver().archive(true)).toMatchObject({ entries: 60 });
  const { written } = await archiver().archive(false);
  expect(written.length).toBeGreaterThan(3);
  expect(await answers(true)).toEqual(before);
  nowMs += 2 * 3_600_000;
  const { removed, waiting } = await archiver().archive(false);
  expect([removed, waiting]).toEqual([written, 0]);
  // The openings stay; what else there is came since.
  expect(await mongo.audit.collection(auditCollection).countDocuments({ n: { $gt: 0 }, at: { $lt: new Date(untilMs) } })).toBe(0);
  expect(await mongo.audit.collection(auditCollection).countDocuments({ n: 0 })).toBe(3);
  archive = openArchive();
  reader = readerOf(archive);
  expect(await answers(true)).toEqual(before);
  expect(await verify()).toMatchObject({ ok: true });
  const { matches } = await reader.search({ where: { op: 'type', types: ['AuditEvent'] }, sort: [], count: 1_000, total: 'none' });
  expect(matches.length).toBeGreaterThan(60);
  expect(checkProof(await proveInclusion(mongo.audit, tenant, await anEntry(), archive), keysOf(checkpoints.signer.publicKeys())).ok).toBe(true);
  // Further starts name no ended stream again.
  const next = await openAuditTrail({ audit: mongo.audit, keyring: keys.keyring, tenant, epochId: 'd', log: silentLog, nowMs: () => nowMs });
  open.push(next);
  expect((await mongo.audit.collection<Block>(auditCollection).findOne({ n: 0, at: { $gt: new Date(untilMs) } }))?.heads?.map(({ stream }) => stream)).toEqual(['c']);
  expect(await verify()).toMatchObject({ ok: true });
});

async function anEntry(): Promise<Buffer> {
  for await (const { id } of queryRecords(reader, { entity: 'Observation/o-1-2-3' })) return id;
  throw new Error('not found');
}

test('a segment is an export that the separate verifier reads', async () => {
  later();
  const { written } = await archiveAll();
  const key = join(keys.keysDir, 'audit-signing.pub');
  for (const name of written) {
    const said = execFileSync(process.execPath, ['server/audit/standalone/verify.ts', join(directory, `${name}.ndjson`), '--key', key], { encoding: 'utf8' });
    expect(said).toContain('unaltered:');
  }
});

test('each byte of a segment and of its index matters, and the entry is named', async () => {
  later();
  const { written } = await archiveAll();
  const name = written[1]!;
  const file = join(directory, `${name}.ndjson`);
  const sound = readFileSync(file);
  const [segment] = (await archive.catalogue.state(true)).segments.filter((one) => one.name === name);
  const publicKeys = keysOf(checkpoints.signer.publicKeys());
  const { checkSegment } = await import('../../../server/audit/archive-segment.ts');
  // The hashes over both files see every byte; where it was is asked of some.
  let located = 0;
  const step = Math.max(1, Math.floor(sound.length / 150));
  for (let at = 0; at < sound.length; at += step) {
    const altered = Buffer.from(sound);
    altered[at]! ^= 1 + (at % 255);
    writeFileSync(file, altered);
    const faults = await checkSegment(archive, segment!, publicKeys);
    expect(faults.length).toBeGreaterThan(0);
    located += faults.some(({ checkpoint, stream, text }) => checkpoint !== undefined || stream !== undefined || /line/i.test(text)) ? 1 : 0;
  }
  expect(located).toBeGreaterThan(140);
  writeFileSync(file, sound.subarray(0, -1));
  expect(await verify()).toMatchObject({ ok: false });
  writeFileSync(file, sound);
  expect(await verify()).toMatchObject({ ok: true });

  const index = join(directory, `${name}.index`);
  const bytes = readFileSync(index);
  for (const at of [0, 20, bytes.length >> 1, bytes.length - 1]) {
    const altered = Buffer.from(bytes);
    altered[at]! ^= 1;
    writeFileSync(index, altered);
    expect((await verify()).segments.map(({ code }) => code)).toEqual(['segment-index-altered']);
  }
  writeFileSync(index, bytes);

  // A block sealed anew with the key of the system but not of the checkpoints is no better.
  const lines = sound.toString().split('\n');
  const victim = lines.findIndex((line) => line.startsWith('{"block":') && /,0\]\]\}\}$/.test(line));
  lines[victim] = lines[victim]!.replace(/,0\]\]\}\}$/, ',1]]}}');
  writeFileSync(file, lines.join('\n'));
  const { segments, log } = await verify();
  const block = parseLine(lines[victim]) as { block: { id: string } };
  expect(segments.map(({ code, stream, block: n }) => [code, `${stream}:${String(n).padStart(10, '0')}`])).toContainEqual(['entry-altered', block.block.id]);
  expect(log.ok).toBe(false);
  writeFileSync(file, sound);

  rmSync(file);
  expect((await verify()).segments.map(({ code }) => code)).toEqual(['segment-missing']);
  await expect(all({ ascending: true })).rejects.toMatchObject({ code: 'integrity-failure' });
});

async function all(filter: RecordFilter = {}): Promise<number> {
  let count = 0;
  for await (const entry of queryRecords(reader, { untilMs, limit: 1_000, ...filter })) count += entry.record.kind === 'rest' ? 1 : 0;
  return count;
}

test('a catalogue row that was changed or removed is noticed', async () => {
  later();
  await archiveAll();
  const rows = mongo.auditRoot.collection<{ _id: number; entries: number }>(segmentCollection);
  const row = (await rows.findOne({ _id: 1 }))!;
  await rows.updateOne({ _id: 1 }, { $inc: { entries: -1 } });
  expect((await verify()).segments).toMatchObject([{ code: 'catalogue-altered', checkpoint: 1 }]);
  await rows.deleteOne({ _id: 1 });
  expect((await verify()).log.faults.map(({ code }) => code)).toContain('block-missing');
  await rows.insertOne(row);
  expect(await verify()).toMatchObject({ ok: true });
});

test('a run that is cut off anywhere loses and doubles nothing', async () => {
  later();
  await checkpoints.make();
  const before = await answers();
  const halt = new Error('cut off');
  const real = directoryPlace(directory);
  const cuts: Partial<ArchivePlace>[] = [
    { put: async () => Promise.reject(halt) },
    { put: async (temporary, name) => (name.endsWith('.ndjson') ? Promise.reject(halt) : real.put(temporary, name)) },
    { put: async (temporary, name) => real.put(temporary, name).then(() => (name.endsWith('.ndjson') ? Promise.reject(halt) : undefined)) },
    { stream: async () => Promise.reject(halt) },
  ];
  for (const cut of cuts) {
    archive = openArchive([{ ...real, ...cut }]);
    await expect(archiver().archive(false)).rejects.toBe(halt);
    archive = openArchive();
    reader = readerOf(archive);
    expect(await answers()).toEqual(before);
  }
  // Before the catalogue has it, and before the database is cleared.
  archive.catalogue.add = async () => Promise.reject(halt);
  await expect(archiver().archive(false)).rejects.toBe(halt);
  archive = openArchive();
  reader = readerOf(archive);
  await archiver().archive(false);
  nowMs += 2 * 3_600_000;
  let commands = 0;
  const cutRemover = async (): ReturnType<typeof openMongoose> => {
    const connection = await openMongoose(mongo.archiverUri);
    const collection = connection.db!.collection.bind(connection.db);
    Object.assign(connection.db!, { collection: (name: string) => {
      commands += 1;
      if (commands === 2) throw halt;
      return collection(name);
    } });
    return connection;
  };
  await expect(archiver({ openRemover: cutRemover }).archive(false)).rejects.toBe(halt);
  expect(await answers()).toEqual(before);
  expect(await verify()).toMatchObject({ ok: true });
  expect((await archiver().archive(false)).waiting).toBe(0);
  expect(await answers()).toEqual(before);
  expect(readdirSync(directory).filter((name) => name.endsWith('.new'))).toEqual([]);
});

test('nothing is removed if a segment does not read back, or if no user may', async () => {
  later();
  const { written } = await archiver().archive(false);
  nowMs += 2 * 3_600_000;
  const file = join(directory, `${written[0]!}.ndjson`);
  const sound = readFileSync(file);
  writeFileSync(file, sound.subarray(1));
  await expect(archiver().archive(false)).rejects.toMatchObject({ code: 'integrity-failure' });
  expect(await mongo.audit.collection(auditCollection).countDocuments({ n: { $gt: 0 }, at: { $lt: new Date(untilMs) } })).toBe(60);
  writeFileSync(file, sound);
  expect(await all()).toBe(60);
  const lame = new Archiver({ audit: mongo.audit, tenant, archive, place: archive.places[0]!, checkpoints, trail, holds, policy, log: silentLog, nowMs: () => nowMs });
  expect(await lame.archive(false)).toMatchObject({ removed: [], waiting: written.length });
  muchLater();
  expect((await lame.purge(false)).purged).toEqual([]);
  // The writer may not, and the archiver may nothing else.
  await expect(mongo.audit.collection(auditCollection).deleteMany({})).rejects.toThrow(/not authorized/);
  const remover = await openMongoose(mongo.archiverUri);
  await expect(remover.collection(auditCollection).insertOne({})).rejects.toThrow(/not authorized/);
  await expect(remover.collection(auditCollection).updateOne({}, { $set: { n: 1 } })).rejects.toThrow(/not authorized/);
  await expect(remover.collection(segmentCollection).deleteMany({})).rejects.toThrow(/not authorized/);
  await remover.close();
});

test('purged is what is due and under no hold; a tombstone stays, and only with it the gap is right', async () => {
  later();
  const { written } = await archiveAll();
  expect((await archiver().purge(false)).purged).toEqual([]);
  muchLater();
  nowMs -= 200 * dayMs;
  // Not yet all of it.
  const first = await archiver().purge(true);
  expect(first.purged.length).toBeGreaterThan(0);
  muchLater();
  const act = { reason: 'matter 1', by: 'operator:test', atMs: nowMs };
  const everything = await holds.place({ fromMs: 0, untilMs: nowMs }, act);
  expect(await archiver().purge(false)).toMatchObject({ purged: [], kept: written.map((name) => ({ name, why: `hold ${everything.id}` })) });
  await holds.lift(everything.id, act);
  const patient = await holds.place({ patient: 'pat-1' }, act);
  expect((await archiver().purge(true)).purged).toEqual([]);
  await holds.lift(patient.id, act);
  await holds.place({ user: 'nobody' }, act);
  const early = await holds.place({ fromMs: beginMs, untilMs: beginMs + 3 * dayMs }, act);
  const { purged, kept } = await archiver().purge(false);
  expect([purged.length, kept.length]).toEqual([written.length - 1, 1]);
  expect(readdirSync(directory)).toEqual([`${written[0]!}.index`, `${written[0]!}.ndjson`]);
  const left = await all();
  expect(left).toBeGreaterThan(0);
  expect(left).toBeLessThan(60);

  const report = await verify();
  expect(report).toMatchObject({ ok: true });
  expect(report.log.purged.map(({ retentionDays }) => retentionDays)).toEqual(purged.map(() => 2_192));
  expect(await standalone()).toMatchObject({ ok: true, purged: purged.map(() => expect.objectContaining({ basis: 'test' })) });
  await expect(holds.lift('nothing', act)).rejects.toMatchObject({ code: 'not-found' });
  await holds.lift(early.id, act);
  expect((await archiver().purge(false)).purged).toHaveLength(1);
  expect(readdirSync(directory)).toEqual([]);
  expect(await all()).toBe(0);
  expect(await verify()).toMatchObject({ ok: true });
  // The trail goes on.
  await trail.record(recordOf({ at: nowMs }));
  await checkpoints.make();
  expect(await verify()).toMatchObject({ ok: true });

  const graves = mongo.auditRoot.collection<{ _id: number; json: string }>(tombstoneCollection);
  const [grave] = await graves.find({}, { sort: { _id: 1 } }).toArray();
  await graves.deleteOne({ _id: grave!._id });
  expect((await verify()).log.faults.map(({ code }) => code)).toContain('block-missing');
  expect((await standalone()).faults.map(({ code }) => code)).toContain('block-missing');
  for (const [change, code] of [
    [{ retentionDays: 1 }, 'tombstone-forged'], [{ at: '2019-01-01T00:00:00.000Z' }, 'purged-early'], [{ to: (JSON.parse(grave!.json) as { to: number }).to + 1 }, 'tombstone-wrong'], [{ last: '0'.repeat(64) }, 'tombstone-wrong'], [{ holds: [0, '0'.repeat(64)] }, 'tombstone-forged'],
  ] as const) {
    await graves.replaceOne({ _id: grave!._id }, { json: JSON.stringify({ ...(JSON.parse(grave!.json) as object), ...change }) }, { upsert: true });
    expect((await verify()).log.faults.map((one) => one.code)).toContain(code);
    expect((await standalone()).faults.map((one) => one.code)).toContain(code);
  }
  await graves.replaceOne({ _id: grave!._id }, { json: grave!.json });
  expect(await verify()).toMatchObject({ ok: true });
});

/** What the separate verifier says of an export, with the first public key only. */
async function standalone(): Promise<Report> {
  const verifier = new LogVerifier(keysOf(checkpoints.signer.publicKeys()).slice(0, 1));
  for await (const record of logRecords(mongo.audit, tenant, { archive })) verifier.accept(parseLine(lineOf(record)));
  return verifier.finish();
}

test('a purge that is cut off before the files are gone is ended by the next; holds that were taken out stop every purge', async () => {
  later();
  const { written } = await archiveAll();
  muchLater();
  const real = archive.places[0]!;
  archive = openArchive([{ ...real, remove: async () => Promise.reject(new Error('cut off')) }]);
  await expect(archiver().purge(false)).rejects.toThrow('cut off');
  archive = openArchive();
  reader = readerOf(archive);
  expect(await verify()).toMatchObject({ ok: true });
  expect(existsSync(join(directory, `${written[0]!}.ndjson`))).toBe(true);
  const act = { reason: 'matter 2', by: 'operator:test', atMs: nowMs };
  await holds.place({ fromMs: 0, untilMs: nowMs }, act);
  await holds.place({ patient: 'pat-0' }, act);
  const { kept } = await archiver().purge(false);
  expect(kept).toHaveLength(written.length - 1);
  expect(existsSync(join(directory, `${written[0]!}.ndjson`))).toBe(false);
  await mongo.auditRoot.collection<{ _id: number }>(holdCollection).deleteOne({ _id: 2 });
  await expect(archiver().purge(false)).rejects.toMatchObject({ code: 'integrity-failure' });
  expect(await holds.list().catch(() => 'altered')).toBe('altered');
});
