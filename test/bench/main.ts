import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { renderTable } from '../../server/cli/render.ts';
import { ackCode, addPartner, admission, Backend, channelStatus, mllpSender, untilRouted, type PartnerCertificate } from '../support/callers.ts';
import { mongodPid, rawMongo } from '../support/raw-mongo.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { auditBench } from './audit.ts';
import { firstBundles, mrnSystem, nameOf, patientBundle, patientOf, source } from './data.ts';
import { callers, cpuSince, done, found, measure, memoryOf, ok, say, type Measured, type Processes, type Row } from './measure.ts';
import { LeanClient } from './lean-client.ts';
import { scale } from './scale.ts';
import { Profiler, profiledEnv, type Shares } from './profile.ts';

/*
 * `npm run bench [-- --seconds N] [--rows TEXT] [--profile] [--json]`: figures of a server with its embedded MongoDB on this machine. Eight callers in
 * this process, over TLS connections that are kept, call the server, which is a process of its own. Beside them stands what
 * the same mongod does at best for a bare driver in the same run: one lookup by id, one journaled insert. `--rows` leaves
 * only those whose name has this text; `--profile` tells where the server's time went in each.
 * `npm run bench -- scale` is in scale.ts, `npm run bench -- audit` in audit.ts.
 */

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '5' }, rows: { type: 'string', default: '' }, profile: { type: 'boolean', default: false },
    sizes: { type: 'string', default: '1000,10000,100000,500000' }, entries: { type: 'string', default: '1000000' }, json: { type: 'boolean', default: false } },
});
const seconds = Number(values.seconds);
/** Patients that are made for the searches, beside the loaded ones. */
const prepared = values.rows === '' ? 200 : 64;

/** Loads what the rows work on. @returns resources per second while loading, and the patients to ask for */
async function prepare(backend: Backend, processes: Processes): Promise<{ readonly loaded: Measured; readonly patients: readonly { readonly id: string; readonly n: number }[] }> {
  // Rows that were picked work on generated patients; loading takes longest.
  const bundles = 'load'.includes(values.rows) ? firstBundles() : [];
  const timesMs: number[] = [];
  const cpu = cpuSince(processes);
  for (const [index, { body }] of bundles.entries()) {
    say(`loading ${source}: ${index + 1} of ${bundles.length}`);
    const sentMs = performance.now();
    await ok(backend, 'POST', '', body);
    timesMs.push(performance.now() - sentMs);
  }
  const tookS = timesMs.reduce((sum, ms) => sum + ms, 0) / 1000;
  const resources = bundles.reduce((sum, bundle) => sum + bundle.resources, 0);
  timesMs.sort((left, right) => left - right);
  const at = (share: number): number => timesMs[Math.min(timesMs.length - 1, Math.floor(timesMs.length * share))]!;
  const loaded = { row: `load of ${bundles.length} ${source}, one caller`, unit: 'resources', perSecond: resources / tookS, p50Ms: at(0.5), p95Ms: at(0.95), p99Ms: at(0.99), failed: 0, ...cpu(resources), ...memoryOf(processes) };
  const patients: { id: string; n: number }[] = [];
  for (let n = 0; n < prepared; n += callers) {
    say(`making patients: ${n} of ${prepared}`);
    await Promise.all(Array.from({ length: callers }, async (_, caller) => {
      const { entry } = (await ok(backend, 'POST', '', patientBundle(`P${n + caller}`, n + caller).body)) as { entry: { response: { location: string } }[] };
      patients.push({ id: /Patient\/([^/]+)/.exec(entry[0]!.response.location)![1]!, n: n + caller });
    }));
  }
  return { loaded, patients };
}

/** What the FHIR API is asked for. */
function fhirRows(client: LeanClient, patients: readonly { readonly id: string; readonly n: number }[]): Row[] {
  const patient = (caller: number, n: number) => patients[(caller * 31 + n) % patients.length]!;
  const search = (row: string, path: (one: { readonly id: string; readonly n: number }) => string): Row => ({ row, unit: 'requests', call: async (caller, n) => found(client, path(patient(caller, n))) });
  return [
    { row: 'create Patient', unit: 'requests', call: async (caller, n) => (await done(client, 'POST', 'Patient', patientOf(`C${caller}-${n}`, n)), 1) },
    { row: 'read Patient', unit: 'requests', call: async (caller, n) => (await done(client, 'GET', `Patient/${patient(caller, n).id}`), 1) },
    // Each caller updates patients of its own: conflicts are a matter of tests.
    { row: 'update Patient', unit: 'requests', call: async (caller, n) => {
      const own = patients[((n * callers) + caller) % patients.length]!;
      await done(client, 'PUT', `Patient/${own.id}`, { ...patientOf(`P${own.n}`, own.n), id: own.id, multipleBirthInteger: n });
      return 1;
    } },
    search('search Patient by family and given', ({ n }) => `Patient?${new URLSearchParams({ ...nameOf(n) }).toString()}`),
    search('search Patient by identifier', ({ n }) => `Patient?identifier=${mrnSystem}|P${n}`),
    search('search Encounters of a patient', ({ id }) => `Encounter?patient=${id}`),
    search('search MedicationRequests with _include', ({ id }) => `MedicationRequest?patient=${id}&_include=MedicationRequest:requester`),
    search('search lab Observations by date, newest first', ({ id }) => `Observation?patient=${id}&category=laboratory&_sort=-date`),
    { row: 'transaction Bundle of 32', unit: 'resources', call: async (caller, n) => {
      const { body, resources } = patientBundle(`B${caller}-${n}`, n);
      await done(client, 'POST', '', body);
      return resources;
    } },
  ];
}

/** ADT messages over MLLP, one connection per caller; then how quickly the router stores what was acknowledged. */
async function hl7v2(server: TestServer, partner: PartnerCertificate, processes: Processes): Promise<Measured[]> {
  const senders = await Promise.all(Array.from({ length: callers }, async () => mllpSender(server, partner)));
  const beganMs = performance.now();
  const before = (await channelStatus(server)).counts.stored;
  const acknowledged = await measure({
    row: 'HL7v2 ADT^A01 acknowledged', unit: 'messages',
    call: async (caller, n) => {
      const ack = await senders[caller]!.send(admission({ controlId: `B${caller}-${n}`, mrn: `V${caller}-${n}`, ...nameOf(n) }));
      if (ackCode(ack) !== 'AA') throw new Error(`answered ${ackCode(ack)}`);
      return 1;
    },
  }, seconds, processes);
  for (const sender of senders) sender.close();
  const { counts } = await untilRouted(server, 600_000, (waiting) => say(`HL7v2: ${waiting} messages wait to be stored`));
  const perSecond = (counts.stored - before) / ((performance.now() - beganMs) / 1000);
  return [acknowledged, { row: 'HL7v2 ADT^A01 stored', unit: 'messages', perSecond, p50Ms: Number.NaN, p95Ms: Number.NaN, p99Ms: Number.NaN, failed: counts.failed }];
}

/** What the same mongod does for a bare driver: the least that a read and a write cost. */
async function floor(server: TestServer, processes: Processes): Promise<{ readonly find: Measured; readonly insert: Measured }> {
  const raw = await rawMongo(server);
  const collection = raw.useDb('bench_floor').collection<{ _id: number; body: Buffer }>('documents');
  const body = randomBytes(2_000);
  const documents = 1_000;
  const writeConcern = { w: 'majority', j: true } as const;
  await collection.insertMany(Array.from({ length: documents }, (_, _id) => ({ _id, body })), { writeConcern });
  let next = documents;
  const find = await measure({ row: 'driver alone: findOne by _id, 2 kB', unit: 'requests', call: async (caller, n) => (await collection.findOne({ _id: (caller * 97 + n) % documents }), 1) }, seconds, processes);
  const insert = await measure({ row: 'driver alone: insert, majority and journal, 2 kB', unit: 'requests', call: async () => (await collection.insertOne({ _id: (next += 1), body }, { writeConcern }), 1) }, seconds, processes);
  await raw.useDb('bench_floor').dropDatabase();
  await raw.close();
  return { find, insert };
}

const isWrite = (row: string): boolean => /^(?:create|update|transaction|load|HL7v2)/.test(row);

function table(measured: readonly Measured[], { find, insert }: { readonly find: Measured; readonly insert: Measured }): string {
  const number = (value: number | undefined, digits = 1): string => (value === undefined || Number.isNaN(value) ? '' : value.toFixed(digits));
  const rows = measured.map((one) => {
    const least = one === find || one === insert ? undefined : isWrite(one.row) ? insert : find;
    return [
      one.row, number(one.perSecond), one.unit, number(one.p50Ms), number(one.p95Ms), number(one.p99Ms),
      number(one.serverCpuMs, 2), number(one.mongodCpuMs, 2), number(one.callersCpuMs, 2), number(one.serverMb, 0), number(one.mongodMb, 0),
      least === undefined ? '' : number(one.perSecond / least.perSecond, 3), String(one.failed || ''),
    ];
  });
  return renderTable(['row', 'per second', 'of', 'p50 ms', 'p95 ms', 'p99 ms', 'server CPU ms', 'mongod CPU ms', 'callers CPU ms', 'server MB', 'mongod MB', 'to driver', 'failed'], rows);
}

/** Where the server's time went, row by row. */
function profileText(profiles: ReadonlyMap<string, Shares>): string {
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
  return [...profiles].map(([row, { busyMs, parts, functions }]) => [
    `${row}: busy for ${busyMs.toFixed(0)} ms`,
    `  ${parts.filter(({ share }) => share >= 0.01).map(({ part, share }) => `${part} ${percent(share)}`).join(', ')}`,
    ...functions.map(({ name, share }) => `    ${percent(share).padStart(7)} ${name}`),
  ].join('\n')).join('\n');
}

async function main(): Promise<void> {
  const server = await startTestServer({ INTERLOCK_REQUESTS_PER_MINUTE: '1000000', ...(values.profile ? profiledEnv : {}) });
  try {
    const backend = await Backend.register(server);
    const client = new LeanClient(backend, server);
    const partner = await addPartner(server, 'bench');
    const processes = { server: server.pid(), mongod: mongodPid(server) };
    const profiler = values.profile ? await Profiler.attach(server) : undefined;
    const profiles = new Map<string, Shares>();
    const profiled = async <T>(row: string, work: () => Promise<T>): Promise<T> => {
      await profiler?.start();
      const result = await work();
      if (profiler !== undefined) profiles.set(row, await profiler.stop());
      return result;
    };
    const { loaded, patients } = await profiled('load', async () => prepare(backend, processes));
    const measured: Measured[] = loaded.perSecond > 0 ? [loaded] : [];
    for (const row of fhirRows(client, patients).filter((one) => one.row.includes(values.rows))) {
      say(row.row);
      measured.push(await profiled(row.row, async () => measure(row, seconds, processes)));
    }
    if ('HL7v2'.includes(values.rows)) measured.push(...(await profiled('HL7v2', async () => hl7v2(server, partner, processes))));
    say('driver alone');
    const least = await floor(server, processes);
    measured.push(least.find, least.insert);
    say('');
    if (values.json) console.log(JSON.stringify({ callers, seconds, source, rows: measured, profiles: Object.fromEntries(profiles) }, null, 2));
    else console.log(`${callers} callers, ${seconds} s a row, ${availableParallelism()} processors, data: ${source}\n\n${table(measured, least)}\n\n"to driver": rate divided by that of the bare driver on the same mongod, findOne for reads and insert for writes.`);
    if (!values.json && profiles.size > 0) console.log(`\n${profileText(profiles)}`);
    profiler?.close();
    client.close();
    backend.close();
  } finally {
    await server.remove();
  }
}

if (positionals[0] === 'scale') await scale({ sizes: values.sizes.split(',').map(Number), seconds, json: values.json });
else if (positionals[0] === 'audit') await auditBench({ entries: Number(values.entries), seconds, json: values.json });
else await main();
