import { readFileSync } from 'node:fs';

/** What one row measured. */
export interface Measured {
  readonly row: string;
  /** What is counted: requests, resources, messages. */
  readonly unit: string;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  /** Calls that failed; the figures are of the others. */
  readonly failed: number;
  /** CPU time that one unit cost, ms: of the server, of mongod, of the callers. Unlike rates these survive a busy machine. */
  readonly serverCpuMs?: number;
  readonly mongodCpuMs?: number;
  readonly callersCpuMs?: number;
  readonly serverMb?: number;
  readonly mongodMb?: number;
}

/** The processes whose CPU time is told. */
export interface Processes {
  readonly server: number;
  readonly mongod: number;
}

/** One thing to measure. */
export interface Row {
  readonly row: string;
  readonly unit: string;
  /** Does it once, as the `caller`-th of several at the same time. @returns how many units that was */
  readonly call: (caller: number, n: number) => Promise<number>;
}

/** Callers at the same time. */
export const callers = 8;

/** Calls that warm up code and caches and are not counted, of each caller. */
const warmUps = 5;

/** Lets all callers repeat one call for some time. */
export async function measure({ row, unit, call }: Row, seconds: number, processes: Processes): Promise<Measured> {
  const timesMs: number[] = [];
  let [units, failed, lastError] = [0, 0, ''];
  const each = async (work: (caller: number) => Promise<void>): Promise<unknown> => Promise.all(Array.from({ length: callers }, (_, caller) => work(caller)));
  await each(async (caller) => {
    for (let n = 0; n < warmUps; n += 1) await call(caller, n);
  });
  const cpu = cpuSince(processes);
  const beganMs = performance.now();
  await each(async (caller) => {
    for (let n = warmUps; performance.now() - beganMs < seconds * 1000; n += 1) {
      const sentMs = performance.now();
      try {
        // Added after the await: `units += await …` would add to what it was before.
        const done = await call(caller, n);
        units += done;
        timesMs.push(performance.now() - sentMs);
      } catch (error) {
        failed += 1;
        lastError = error instanceof Error ? error.message : 'unknown';
      }
    }
  });
  const tookS = (performance.now() - beganMs) / 1000;
  if (failed > 0) console.error(`${row}: ${failed} calls failed, the last with: ${lastError}`);
  timesMs.sort((left, right) => left - right);
  const percentile = (share: number): number => timesMs[Math.min(timesMs.length - 1, Math.floor(timesMs.length * share))] ?? Number.NaN;
  return { row, unit, perSecond: units / tookS, p50Ms: percentile(0.5), p95Ms: percentile(0.95), p99Ms: percentile(0.99), failed, ...cpu(units), ...memoryOf(processes) };
}

/** Starts to count CPU time. @returns what ends it: CPU time per unit */
export function cpuSince({ server, mongod }: Processes): (units: number) => Pick<Measured, 'serverCpuMs' | 'mongodCpuMs' | 'callersCpuMs'> {
  const own = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  const before = [cpuMs(server), cpuMs(mongod), own()] as const;
  return (units) => ({ serverCpuMs: (cpuMs(server) - before[0]) / units, mongodCpuMs: (cpuMs(mongod) - before[1]) / units, callersCpuMs: (own() - before[2]) / units });
}

/** CPU time of a process, user and system, from Linux's proc(5), in ticks of 10 ms; NaN where the system does not tell. */
function cpuMs(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return Number.NaN;
  }
}

/** Memory that the processes hold. */
export function memoryOf({ server, mongod }: Processes): Pick<Measured, 'serverMb' | 'mongodMb'> {
  const [serverMb, mongodMb] = [residentMb(server), residentMb(mongod)];
  return { ...(serverMb === undefined ? {} : { serverMb }), ...(mongodMb === undefined ? {} : { mongodMb }) };
}

/** Memory that a process holds, MB; undefined where the system does not tell. */
function residentMb(pid: number): number | undefined {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
  } catch {
    return undefined;
  }
}

/** Tells how far it is, where somebody watches. */
export const say = (line: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r${line}\u001b[K`);
};

/** Whoever can ask the FHIR API. */
interface Asking {
  call(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<{ readonly status: number; readonly body: Buffer; json(): unknown }>;
}

/** A call that must succeed; of its answer nothing but the status is looked at. */
export async function done(client: Asking, method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<{ readonly body: Buffer; json(): unknown }> {
  const answer = await client.call(method, path, body, headers);
  if (answer.status >= 300) throw new Error(`${method} ${path.split('?')[0] ?? ''} was answered ${answer.status}`);
  return answer;
}

/** The same, with its answer. */
export async function ok(client: Asking, method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<unknown> {
  return (await done(client, method, path, body, headers)).json();
}

/** A search that must find something: an empty page would be quick for the wrong reason. */
export async function found(client: Asking, path: string): Promise<number> {
  const { body } = await done(client, 'GET', path);
  if (!body.includes('"entry"')) throw new Error(`${path.split('?')[0] ?? ''}: nothing found`);
  return 1;
}
