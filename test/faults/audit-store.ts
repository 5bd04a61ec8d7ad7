import { randomUUID } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import type { Connection } from 'mongoose';
import { openMongoose } from '../../server/mongo/connect.ts';
import { startEmbeddedMongo, type EmbeddedMongo } from '../../server/mongo/embedded.ts';
import { silentLog } from '../../server/observe/log.ts';
import { ackCode, addPartner, admission, Backend, mllpSender } from '../support/callers.ts';
import { testMongo } from '../support/mongo.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

/*
 * The audit store as a mongod of its own, on which everything is tried that can go wrong with a database while the rest of
 * the server is well. The record's own database keeps working, so whatever is disclosed is disclosed by the server.
 */

/** What callers saw during one fault, and afterwards. */
export interface FaultReport {
  /** Answers by status; `none` where the connection ended without one. Has to be 503 alone. */
  readonly during: Readonly<Record<string, number>>;
  /** Acknowledgements of messages by code. AE alone. */
  readonly acks: Readonly<Record<string, number>>;
  /** Answers that held a part of a record, in whatever byte. */
  readonly disclosed: number;
  /** From the end of the fault to the first success, ms. */
  readonly recoveredAfterMs: number;
}

export interface AuditStoreReport {
  readonly faults: Readonly<Record<string, FaultReport>>;
  /** Answers that came before their entry could be durable, while the store was slow but worked. */
  readonly early: number;
  /** Writes that were acknowledged and are not there. */
  readonly lost: readonly string[];
  /** Every stored version has its entry, and every entry of a write its version. */
  readonly asRecorded: boolean;
  readonly auditIntact: boolean;
}

interface Fault {
  readonly begin: (store: AuditStore, durationMs: number) => Promise<unknown>;
  readonly end: (store: AuditStore) => Promise<unknown>;
}

interface AuditStore {
  readonly mongo: EmbeddedMongo;
  readonly root: Connection;
}

const failPoint = async ({ root }: AuditStore, data: object | undefined): Promise<unknown> =>
  root.getClient().db('admin').command({ configureFailPoint: 'failCommand', mode: data === undefined ? 'off' : 'alwaysOn', ...(data === undefined ? {} : { data: { failCommands: ['insert'], ...data } }) });
const outOfDiskSpace = 14_031;

const faults: Readonly<Record<string, Fault>> = {
  'stopped': { begin: async ({ mongo }) => Promise.resolve(process.kill(mongo.pid(), 'SIGSTOP')), end: async ({ mongo }) => Promise.resolve(process.kill(mongo.pid(), 'SIGCONT')) },
  'full': { begin: async (store) => failPoint(store, { errorCode: outOfDiskSpace }), end: async (store) => failPoint(store, undefined) },
  'too slow': { begin: async (store) => failPoint(store, { blockConnection: true, blockTimeMS: 20_000 }), end: async (store) => failPoint(store, undefined) },
  'failing over': {
    begin: async ({ root }, durationMs) => root.getClient().db('admin').command({ replSetStepDown: Math.ceil(durationMs / 1000) + 60, force: true }),
    end: async ({ root }) => root.getClient().db('admin').command({ replSetFreeze: 0 }, { readPreference: 'secondaryPreferred' }),
  },
};

const family = 'Quillfeather';
const mark = 'Nightjar';
const appendTimeoutMs = 1_000;
const slowMs = 300;
const patienceMs = 60_000;

/** Tries every fault for a while each. @param tell is told of each fault that is over */
export async function breakAuditStore(durationMs: number, tell: (line: string) => void = () => undefined): Promise<AuditStoreReport> {
  const directory = mkdtempSync(join(tmpdir(), 'interlock-audit-store-'));
  const app = await testMongo();
  // Fail points have to be asked for when mongod is started.
  const mongod = join(directory, 'mongod');
  writeFileSync(mongod, `#!/bin/sh\nexec '${process.env['INTERLOCK_TEST_MONGOD'] ?? ''}' "$@" --setParameter enableTestCommands=1\n`);
  chmodSync(mongod, 0o755);
  const mongo = await startEmbeddedMongo({ dataDir: join(directory, 'data'), keysDir: join(directory, 'keys'), mongod: { path: mongod, version: 'as given' }, log: silentLog });
  const root = await openMongoose(mongo.rootUri, { maxPoolSize: 2 });
  let server: TestServer | undefined;
  try {
    server = await startTestServer({ MONGODB_URI: app.appUri, AUDIT_MONGODB_URI: mongo.auditUri, INTERLOCK_AUDIT_APPEND_TIMEOUT_MS: String(appendTimeoutMs) });
    return await new Trial(server, { mongo, root }, await Backend.register(server)).run(durationMs, tell);
  } finally {
    await server?.remove();
    await root.close();
    await mongo.stop();
    await app.drop();
    rmSync(directory, { recursive: true, force: true });
  }
}

class Trial {
  readonly #server: TestServer;
  readonly #store: AuditStore;
  readonly #backend: Backend;
  readonly #known = randomUUID();
  readonly #acknowledged: string[] = [];

  constructor(server: TestServer, store: AuditStore, backend: Backend) {
    [this.#server, this.#store, this.#backend] = [server, store, backend];
  }

  async run(durationMs: number, tell: (line: string) => void): Promise<AuditStoreReport> {
    const partner = await addPartner(this.#server, 'audit-store');
    if ((await this.#backend.call('PUT', `Patient/${this.#known}`, this.#patient(this.#known))).status !== 201) throw new Error('The server does not work');
    const reports: Record<string, FaultReport> = {};
    for (const [name, fault] of Object.entries(faults)) {
      const sender = await mllpSender(this.#server, partner, durationMs + patienceMs);
      reports[name] = await this.#suffer(fault, durationMs, async (turn) => ackCode(await sender.send(admission({ controlId: `${name}-${turn}`, mrn: `${name}-${turn}`, family }))));
      sender.close();
      tell(`${name}: ${JSON.stringify(reports[name])}`);
    }
    const early = await this.#countEarly();
    const lost: string[] = [];
    for (const reference of this.#acknowledged) if ((await this.#backend.call('GET', reference)).status !== 200) lost.push(reference);
    const [stored, trail] = [await this.#server.cli(['integrity', 'verify']), await this.#server.cli(['audit', 'verify'])];
    this.#backend.close();
    return { faults: reports, early, lost, asRecorded: stored.code === 0, auditIntact: trail.code === 0 };
  }

  async #suffer(fault: Fault, durationMs: number, message: (turn: number) => Promise<string>): Promise<FaultReport> {
    const [during, acks] = [new Map<string, number>(), new Map<string, number>()];
    const count = (counts: Map<string, number>, key: string): unknown => counts.set(key, (counts.get(key) ?? 0) + 1);
    let disclosed = 0;
    let over = false;
    const token = await this.#backend.token();
    const ask = async ([method, path, body, authorization = token]: Asked): Promise<void> => {
      const bytes = await rawAnswer(this.#server, method, path, body, authorization);
      // What is answered afterwards may hold a record: its entry is durable by then.
      if (over) return;
      count(during, /^HTTP\/1\.1 (\d{3})/.exec(bytes)?.[1] ?? 'none');
      if ([family, mark, this.#known].some((part) => bytes.includes(part))) disclosed += 1;
    };
    const answers: Promise<unknown>[] = [];
    await fault.begin(this.#store, durationMs);
    const until = Date.now() + durationMs;
    try {
      for (let turn = 0; Date.now() < until; turn += 1) {
        for (const asked of this.#requests()) answers.push(ask(asked).catch(() => !over && count(during, 'none')));
        answers.push(message(turn).then((code) => !over && count(acks, code), () => undefined));
        await sleep(300);
      }
      // Those of the last turn still belong to the fault.
      await Promise.race([Promise.all(answers), sleep(3 * appendTimeoutMs)]);
    } finally {
      over = true;
      await fault.end(this.#store);
    }
    const endedAtMs = Date.now();
    const recovered = randomUUID();
    while ((await this.#backend.call('PUT', `Patient/${recovered}`, this.#patient(recovered)).catch(() => undefined))?.status !== 201) {
      if (Date.now() - endedAtMs > patienceMs) throw new Error('The server did not recover');
      await sleep(100);
    }
    this.#acknowledged.push(`Patient/${recovered}`);
    const recoveredAfterMs = Date.now() - endedAtMs;
    await Promise.all(answers);
    if ((await this.#backend.call('GET', `Patient/${this.#known}`)).status !== 200) throw new Error('The server did not recover');
    return { during: Object.fromEntries(during), acks: Object.fromEntries(acks), disclosed, recoveredAfterMs };
  }

  /** Everything that discloses, changes or refuses. */
  #requests(): Asked[] {
    const id = randomUUID();
    const known = `Patient/${this.#known}`;
    const transaction = { resourceType: 'Bundle', type: 'transaction', entry: [{ resource: this.#patient(id), request: { method: 'PUT', url: `Patient/${id}` } }, { request: { method: 'GET', url: known } }] };
    return [
      ['GET', known], ['GET', `${known}/_history`], ['GET', `${known}/_history/1`], ['GET', `${known}/$everything`], ['GET', `Patient?family=${family}`], ['GET', `Patient?family=${family}&_summary=count`],
      ['POST', 'Patient', this.#patient()], ['PUT', known, this.#patient(this.#known)], ['DELETE', `Patient/${id}`], ['POST', '', transaction],
      ['GET', known, undefined, 'nobody'],
    ];
  }

  /** While the store takes long but works, no answer may come before it has taken the entry. */
  async #countEarly(): Promise<number> {
    const token = await this.#backend.token();
    await failPoint(this.#store, { blockConnection: true, blockTimeMS: slowMs });
    try {
      let early = 0;
      for (const [method, path, body] of [['GET', `Patient/${this.#known}`], ['GET', `Patient?family=${family}`], ['PUT', `Patient/${this.#known}`, this.#patient(this.#known)]] as const) {
        const untilMs = Date.now() + patienceMs;
        for (let answered = ''; !answered.startsWith('HTTP/1.1 2'); ) {
          if (Date.now() > untilMs) throw new Error('Nothing is answered while the audit store is slow');
          const beganMs = performance.now();
          answered = await rawAnswer(this.#server, method, path, body, token);
          if (performance.now() - beganMs < slowMs && !answered.startsWith('HTTP/1.1 503')) early += 1;
        }
      }
      return early;
    } finally {
      await failPoint(this.#store, undefined);
    }
  }

  #patient(id?: string): object {
    return { resourceType: 'Patient', ...(id === undefined ? {} : { id }), name: [{ family, given: [mark] }], active: Math.random() < 0.5 };
  }
}

type Asked = readonly [method: string, path: string, body?: object | undefined, token?: string];

/** Every byte that the server sends on a connection of its own, head and all. */
async function rawAnswer(server: TestServer, method: string, path: string, body: object | undefined, token: string): Promise<string> {
  const { hostname, port, pathname } = new URL(`${server.fhirUrl}${path === '' ? '' : '/'}`);
  const content = body === undefined ? '' : JSON.stringify(body);
  const head = [`${method} ${pathname}${path} HTTP/1.1`, `Host: ${hostname}:${port}`, `Authorization: Bearer ${token}`, 'Accept: application/fhir+json', 'Connection: close', ...(body === undefined ? [] : ['Content-Type: application/fhir+json', `Content-Length: ${Buffer.byteLength(content)}`])];
  return new Promise((resolve, reject) => {
    const received: Buffer[] = [];
    const socket = connect({ host: hostname, port: Number(port), ca: server.ca }, () => socket.write(`${head.join('\r\n')}\r\n\r\n${content}`));
    socket.on('data', (chunk: Buffer) => received.push(chunk)).once('end', () => resolve(Buffer.concat(received).toString('latin1'))).once('error', reject);
  });
}

async function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
