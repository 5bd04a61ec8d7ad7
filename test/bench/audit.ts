import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from 'mongoose';
import { AuditReader } from '../../server/audit/reader.ts';
import type { AuditRecord } from '../../server/audit/record.ts';
import { auditCollection, openAuditTrail } from '../../server/audit/trail.ts';
import { verifyTrail } from '../../server/audit/verify.ts';
import { renderTable } from '../../server/cli/render.ts';
import { applyIndexes } from '../../server/mongo/indexes.ts';
import { silentLog } from '../../server/observe/log.ts';
import type { Criterion } from '../../server/search/criteria.ts';
import { parseSearch } from '../../server/search/parse.ts';
import { site, tenant, testKeyring } from '../rooms/audit/support.ts';
import { Backend } from '../support/callers.ts';
import { mongodPid, rawMongo } from '../support/raw-mongo.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { patientOf } from './data.ts';
import { measure, ok, say, type Measured } from './measure.ts';

/*
 * `npm run bench -- audit [--entries 1000000] [--seconds N] [--json]`: what the audit trail costs, and how quickly it
 * answers. First the same requests with and without durable audit, in turns. Then a trail of its own beside the server's,
 * filled through the real writer: append rate, bytes, verification, and the five usual questions as FHIR searches.
 */

const patients = 20_000;
const people = 400;
const apps = 8;
const days = 45;
const dayMs = 86_400_000;
/** The trail's last day; what is asked about "the last 30 days" lies before it. */
const endMs = Date.UTC(2026, 9, 31);
const startMs = endMs - days * dayMs;
/** Appends at the same time: what a busy server has in one flush. */
const appenders = 8;
/** Entries of one append: a person opens a chart, and the app asks for all that is on it. */
const perAppend = 16;

export interface AuditBench {
  readonly entries: number;
  readonly seconds: number;
  readonly json: boolean;
}

/** Runs the bench and prints it. */
export async function auditBench({ entries, seconds, json }: AuditBench): Promise<void> {
  const server = await startTestServer({ INTERLOCK_REQUESTS_PER_MINUTE: '1000000' }, join(import.meta.dirname, 'audit-server.ts'));
  try {
    const cost = await costOf(server, seconds);
    const root = await rawMongo(server);
    const trail = await trailOf(root.useDb('bench_audit'), entries);
    await root.close();
    say('');
    console.log(json ? JSON.stringify({ cost, ...trail }, null, 2) : textOf(cost, trail));
  } finally {
    await server.remove();
  }
}

interface Cost {
  readonly row: string;
  readonly durable: Measured;
  readonly off: Measured;
}

/** The same calls with and without durable audit, twice in turns; the better half of each counts. */
async function costOf(server: TestServer, seconds: number): Promise<Cost[]> {
  const backend = await Backend.register(server);
  const processes = { server: server.pid(), mongod: mongodPid(server) };
  const ids: string[] = [];
  for (let n = 0; n < 64; n += 1) ids.push(((await ok(backend, 'POST', 'Patient', patientOf(`A${n}`, n))) as { id: string }).id);
  let made = 0;
  const rows = [
    { row: 'read Patient', unit: 'requests', call: async (caller: number, n: number) => (await ok(backend, 'GET', `Patient/${ids[(caller * 31 + n) % ids.length]!}`), 1) },
    { row: 'create Patient', unit: 'requests', call: async () => (await ok(backend, 'POST', 'Patient', patientOf(`B${(made += 1)}`, made)), 1) },
  ];
  const costs: Cost[] = [];
  for (const row of rows) {
    const [durable, off]: [Measured[], Measured[]] = [[], []];
    for (const round of [durable, off, durable, off]) {
      say(`${row.row}, audit ${round === durable ? 'durable' : 'off'}`);
      round.push(await measure(row, seconds, processes));
      await toggle(server);
    }
    const best = (of: readonly Measured[]): Measured => of.reduce((a, b) => (a.perSecond > b.perSecond ? a : b));
    costs.push({ row: row.row, durable: best(durable), off: best(off) });
  }
  backend.close();
  return costs;
}

async function toggle(server: TestServer): Promise<void> {
  const before = server.output().length;
  process.kill(server.pid(), 'SIGUSR2');
  while (!/^audit (?:durable|off)$/m.test(server.output().slice(before))) await delay(10);
}

interface Trail {
  readonly entries: number;
  readonly blocks: number;
  readonly appendPerSecond: number;
  /** CPU time of this process, which appends and verifies, for one entry; without mongod's. */
  readonly appendCpuUs: number;
  readonly verifyCpuUs: number;
  readonly bytesPerEntry: number;
  readonly indexBytesPerEntry: number;
  readonly verifyPerSecond: number;
  readonly questions: readonly { readonly question: string; readonly found: number; readonly p50Ms: number; readonly p95Ms: number; readonly maxMs: number }[];
}

async function trailOf(audit: Connection, entries: number): Promise<Trail> {
  await applyIndexes(audit, 'audit');
  const keys = await testKeyring();
  try {
    const trail = await openAuditTrail({ audit, keyring: keys.keyring, tenant, epochId: 'bench', log: silentLog, flush: { appendTimeoutMs: 60_000, attemptTimeoutMs: 60_000 } });
    const beganMs = performance.now();
    const appending = process.cpuUsage();
    let next = 0;
    await Promise.all(Array.from({ length: appenders }, async () => {
      while (next < entries) {
        const from = next;
        next += perAppend;
        await trail.append(Array.from({ length: Math.min(perAppend, entries - from) }, (_, i) => trail.prepare(recordAt(from + i, entries))));
        if (from % 10_000 < perAppend) say(`audit: ${from} of ${entries} entries`);
      }
    }));
    const appendS = (performance.now() - beganMs) / 1000;
    const appended = process.cpuUsage(appending);
    await trail.close();
    const { storageSize, totalIndexSize, count } = await sizesOf(audit);
    const reader = new AuditReader({ audit, keyring: keys.keyring, tenant, site });
    const questions = [];
    for (const [question, ask] of Object.entries(asked)) {
      say(`audit: ${question}`);
      questions.push({ question, ...(await timesOf(reader, ask, entries)) });
    }
    const verifyMs = performance.now();
    const verifying = process.cpuUsage();
    const report = await verifyTrail({ audit, keyring: keys.keyring, tenant, onProgress: (progress) => say(`audit: verified ${progress.entries}`) });
    if (!report.ok || report.entries !== entries) throw new Error('the trail that was just written does not verify');
    const verified = process.cpuUsage(verifying);
    return { entries, blocks: count, appendCpuUs: (appended.user + appended.system) / entries, verifyCpuUs: (verified.user + verified.system) / entries, appendPerSecond: entries / appendS, bytesPerEntry: storageSize / entries, indexBytesPerEntry: totalIndexSize / entries, verifyPerSecond: entries / ((performance.now() - verifyMs) / 1000), questions };
  } finally {
    keys.close();
  }
}

async function sizesOf(audit: Connection): Promise<{ storageSize: number; totalIndexSize: number; count: number }> {
  // A checkpoint of the storage engine, so that sizes are of what is on the disk.
  await audit.useDb('admin').db!.command({ fsync: 1 });
  const { storageSize, totalIndexSize, count } = await audit.db!.command({ collStats: auditCollection });
  return { storageSize: Number(storageSize), totalIndexSize: Number(totalIndexSize), count: Number(count) };
}

/** Reproducible, and far apart for neighbours. */
function pick(n: number, salt: number, of: number): number {
  let mixed = Math.imul(n + 1, 0x9e3779b1) ^ Math.imul(salt, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39);
  return ((mixed ^ (mixed >>> 15)) >>> 0) % of;
}

/** A mix as a hospital has it: reads and searches of patients by people with apps, writes, messages, sign-ins, 3 % refused; by day more than by night. */
function recordAt(n: number, entries: number): AuditRecord {
  const chart = Math.floor(n / perAppend);
  const share = (chart * perAppend) / entries;
  const day = Math.floor(share * days);
  const within = share * days - day;
  const at = Math.floor(startMs + day * dayMs + (within < 0.1 ? within * 3 : 0.3 + (within - 0.1) * (0.6 / 0.9)) * dayMs) + (n % perAppend) * 100;
  const [patient, person, app, what] = [pick(chart, 1, patients), pick(chart, 2, people), pick(chart, 3, apps), pick(n, 4, 100)];
  const actor = { kind: 'user', id: `user-${person}`, display: `person${person}`, role: 'physician', fhirUser: `Practitioner/p${person}`, clientId: `app-${app}`, clientName: `App ${app}`, address: `10.1.${person % 250}.${person % 7}`, userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36' } as const;
  const about = { at, kind: 'rest', requestId: `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`, actor, purposeOfUse: ['TREAT'], patients: [`pat-${patient}`], outcome: '0' } as const;
  const one = (type: string): AuditRecord['entities'] => [{ type, id: `${type}-${pick(n, 5, 5_000_000)}`, versionId: 1, patients: about.patients }];
  if (what < 3) return { ...about, interaction: 'read', action: 'R', outcome: '4', error: 'forbidden', rule: 'compartment: not in the care of this person' };
  if (what < 50) return { ...about, interaction: 'read', action: 'R', entities: one('Observation') };
  if (what < 80) return { ...about, interaction: 'search-type', action: 'E', query: `GET /fhir/R4/Observation?patient=pat-${patient}&category=laboratory&_sort=-date`, entities: Array.from({ length: 5 }, (_, i) => ({ type: 'Observation', id: `Observation-${pick(n, 10 + i, 5_000_000)}`, versionId: 1, patients: about.patients })) };
  if (what < 88) return { ...about, interaction: what % 2 === 0 ? 'create' : 'update', action: what % 2 === 0 ? 'C' : 'U', entities: one('Encounter')!.map((entity) => ({ ...entity, hash: 'ab'.repeat(32) })) };
  if (what < 94) return { ...about, kind: 'channel', interaction: 'message-received', action: 'C', actor: { kind: 'partner', id: `partner-${person % 9}`, address: '192.0.2.7' }, channel: { id: 'hl7v2', messageId: `m-${n}`, messageType: 'ADT^A01', controlId: `c${n}` } };
  const { patients: _none, ...nobody } = about;
  return { ...nobody, kind: what < 97 ? 'login' : 'token', interaction: what < 97 ? 'password' : 'authorization_code', action: 'E', client: { id: `app-${app}`, grantType: 'authorization_code', scope: 'launch/patient patient/*.rs' } };
}

type Ask = (n: number, known: readonly string[]) => string;

const iso = (ms: number): string => new Date(ms).toISOString();

/** The five usual questions, newest first, first page of 50. */
const asked: Readonly<Record<string, Ask>> = {
  'who saw this patient in the last 30 days': (n) => `patient=pat-${pick(n, 21, patients)}&date=ge${iso(endMs - 30 * dayMs)}&_sort=-date`,
  'what this person did on a day': (n) => `altid=user-${pick(n, 22, people)}&date=${iso(startMs + pick(n, 23, days) * dayMs).slice(0, 10)}&_sort=-date`,
  'what was denied in the last 24 hours': (n) => `outcome=4,8,12&date=ge${iso(endMs - dayMs - n * 3_600_000)}&date=lt${iso(endMs - n * 3_600_000)}&_sort=-date`,
  'one event by its id': (n, known) => `_id=${known[n % known.length]!}`,
  'everything of an app in two hours': (n) => `altid=app-${pick(n, 24, apps)}&date=ge${iso(startMs + pick(n, 25, days) * dayMs + 12 * 3_600_000)}&date=lt${iso(startMs + pick(n, 25, days) * dayMs + 14 * 3_600_000)}&_sort=-date`,
};
const asks = 60;

async function timesOf(reader: AuditReader, ask: Ask, entries: number): Promise<{ found: number; p50Ms: number; p95Ms: number; maxMs: number }> {
  // Ids from all over the trail.
  const known: string[] = [];
  for (let n = 0; n < 20; n += 1) {
    const at = recordAt(pick(n, 26, entries), entries).at;
    known.push(...(await search(reader, `date=ge${iso(at)}&_sort=date&_count=1`)));
  }
  const timesMs: number[] = [];
  let found = 0;
  for (let n = 0; n < asks; n += 1) {
    const beganMs = performance.now();
    const ids = await search(reader, ask(n, known));
    timesMs.push(performance.now() - beganMs);
    found += ids.length;
  }
  if (found === 0) throw new Error('a question found nothing: it would be quick for the wrong reason');
  timesMs.sort((a, b) => a - b);
  return { found: found / asks, p50Ms: timesMs[Math.floor(asks / 2)]!, p95Ms: timesMs[Math.floor(asks * 0.95)]!, maxMs: timesMs.at(-1)! };
}

/** As a client's search is read and answered. @returns ids of the first page */
async function search(reader: AuditReader, query: string): Promise<string[]> {
  const { where, sort, count } = parseSearch('AuditEvent', [...new URLSearchParams(query)], { strict: true, baseUrl: site.baseUrl });
  // None of the questions asks other resources, so that nothing has to be settled first.
  const page = await reader.search({ where: where as Criterion, sort, count, total: 'none' });
  return page.matches.map(({ id, bytes }) => (bytes.length > 0 ? id : ''));
}

function textOf(cost: readonly Cost[], trail: Trail): string {
  const ms = (value: number): string => value.toFixed(1);
  return [
    renderTable(['requests', 'durable, per second', 'without', 'durable / without', 'p95 ms', 'without', 'server CPU ms', 'without'], cost.map(({ row, durable, off }) => [row, ms(durable.perSecond), ms(off.perSecond), (durable.perSecond / off.perSecond).toFixed(2), ms(durable.p95Ms), ms(off.p95Ms), (durable.serverCpuMs ?? Number.NaN).toFixed(2), (off.serverCpuMs ?? Number.NaN).toFixed(2)])),
    `${trail.entries} entries in ${trail.blocks} blocks: ${trail.appendPerSecond.toFixed(0)} appended and ${trail.verifyPerSecond.toFixed(0)} verified per second (${trail.appendCpuUs.toFixed(0)} and ${trail.verifyCpuUs.toFixed(0)} µs of CPU each); ${trail.bytesPerEntry.toFixed(0)} bytes an entry and ${trail.indexBytesPerEntry.toFixed(0)} of indexes`,
    renderTable(['question', 'p50 ms', 'p95 ms', 'max ms', 'found'], trail.questions.map(({ question, p50Ms, p95Ms, maxMs, found }) => [question, ms(p50Ms), ms(p95Ms), ms(maxMs), found.toFixed(1)])),
  ].join('\n\n');
}
