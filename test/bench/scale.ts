import { renderTable } from '../../server/cli/render.ts';
import { mongodPid } from '../support/raw-mongo.ts';
import { Backend } from '../support/callers.ts';
import { startTestServer } from '../support/server.ts';
import { mrnSystem, nameOf, patientBundle } from './data.ts';
import { callers, found, measure, ok, say, type Measured, type Row } from './measure.ts';

/** A patient that is asked for. */
interface Known {
  readonly id: string;
  readonly n: number;
}

/** What grew by how much. */
interface Step {
  readonly resources: number;
  readonly loadedPerSecond: number;
  readonly rows: readonly Measured[];
}

/** Of how many patients the ids are kept to ask for: spread evenly over the store as it grows. */
const maxKnown = 2_000;
/** Transactions of several patients load fastest: commands and flushes are shared by more. */
const patientsPerBundle = 8;

/** What a client asks of one patient, or of a few: the cost must follow the answer, not the store. */
function rowsOf(backend: Backend, known: readonly Known[]): Row[] {
  // Far apart, so that what is asked is not what was loaded or asked just before.
  const one = (caller: number, n: number): Known => known[(caller * 131 + n * 7_919) % known.length]!;
  const search = (row: string, path: (of: Known) => string): Row => ({ row, unit: 'requests', call: async (caller, n) => found(backend, path(one(caller, n))) });
  return [
    { row: 'read Patient', unit: 'requests', call: async (caller, n) => (await ok(backend, 'GET', `Patient/${one(caller, n).id}`), 1) },
    search('Encounters of a patient', ({ id }) => `Encounter?patient=${id}`),
    search('MedicationRequests of a patient with _include', ({ id }) => `MedicationRequest?patient=${id}&_include=MedicationRequest:requester`),
    search('lab Observations of a patient by date', ({ id }) => `Observation?patient=${id}&category=laboratory&_sort=-date`),
    search('Observations of a patient by code', ({ id }) => `Observation?patient=${id}&code=http://loinc.org|2339-0`),
    search('Patient by identifier', ({ n }) => `Patient?identifier=${mrnSystem}|S${n}`),
    search('Patient by family and given', ({ n }) => `Patient?${new URLSearchParams({ ...nameOf(n) }).toString()}`),
  ];
}

/** Several patients with what belongs to them, as one transaction. */
function bundleFrom(first: number): { readonly body: string; readonly resources: number } {
  const entry: unknown[] = [];
  for (let n = first; n < first + patientsPerBundle; n += 1) {
    // Every patient's entries name each other by URLs of their own.
    const { body } = patientBundle(`S${n}`, n);
    entry.push(...(JSON.parse(body.replaceAll('-8000-', `-${String(n % 10_000).padStart(4, '0')}-`)) as { entry: unknown[] }).entry);
  }
  return { body: JSON.stringify({ resourceType: 'Bundle', type: 'transaction', entry }), resources: entry.length };
}

/**
 * `npm run bench -- scale [--sizes 1000,10000,100000,500000] [--seconds N] [--json]`: how long searches take as the store grows. Generated patients are
 * loaded as transactions over the FHIR API, with everything on, until the store has the next size; then every search runs
 * with eight callers.
 */
export async function scale({ sizes, seconds, json }: { readonly sizes: readonly number[]; readonly seconds: number; readonly json: boolean }): Promise<void> {
  const server = await startTestServer({ INTERLOCK_REQUESTS_PER_MINUTE: '1000000' });
  try {
    const backend = await Backend.register(server);
    const processes = { server: server.pid(), mongod: mongodPid(server) };
    const known: Known[] = [];
    const steps: Step[] = [];
    let [resources, patients] = [0, 0];
    const perBundle = bundleFrom(0).resources;
    const every = Math.max(1, Math.floor((Math.max(...sizes) / perBundle) * patientsPerBundle / maxKnown));
    for (const size of [...sizes].sort((a, b) => a - b)) {
      const [beganMs, before] = [performance.now(), resources];
      const load = async (): Promise<void> => {
        while (resources < size) {
          const first = patients;
          patients += patientsPerBundle;
          resources += perBundle;
          say(`scale: ${resources} of ${size} resources`);
          const { entry } = (await ok(backend, 'POST', '', bundleFrom(first).body, { Prefer: 'return=minimal' })) as { entry: { response: { location: string } }[] };
          const ids = entry.flatMap(({ response }) => /^Patient\/([^/]+)/.exec(response.location)?.[1] ?? []);
          for (const [index, id] of ids.entries()) if ((first + index) % every === 0 || size === Math.min(...sizes)) known.push({ id, n: first + index });
        }
      };
      // Two at a time: while MongoDB stores one bundle, the server prepares the next.
      await Promise.all([load(), load()]);
      const loadedPerSecond = (resources - before) / ((performance.now() - beganMs) / 1000);
      const rows: Measured[] = [];
      for (const row of rowsOf(backend, known)) {
        say(`scale: ${size} resources: ${row.row}`);
        rows.push(await measure(row, seconds, processes));
      }
      steps.push({ resources, loadedPerSecond, rows });
    }
    say('');
    backend.close();
    console.log(json ? JSON.stringify({ callers, seconds, steps }, null, 2) : textOf(steps));
  } finally {
    await server.remove();
  }
}

/** p95 of every search at every size, and how much slower the largest store is than the smallest. */
function textOf(steps: readonly Step[]): string {
  const cells = steps[0]!.rows.map(({ row }, index) => {
    const each = steps.map(({ rows }) => rows[index]!);
    const ratio = (value: (one: Measured) => number): string => (value(each.at(-1)!) / value(each[0]!)).toFixed(2);
    return [row, ...each.map(({ p95Ms }) => p95Ms.toFixed(1)), ratio(({ p95Ms }) => p95Ms), ratio(({ serverCpuMs, mongodCpuMs }) => (serverCpuMs ?? Number.NaN) + (mongodCpuMs ?? Number.NaN))];
  });
  const loaded = ['loading, resources per second', ...steps.map(({ loadedPerSecond }) => loadedPerSecond.toFixed(0)), '', ''];
  const sizes = steps.map(({ resources }) => `p95 ms at ${resources}`);
  return `${callers} callers\n\n${renderTable(['search', ...sizes, 'last to first', 'CPU last to first'], [...cells, loaded])}`;
}
