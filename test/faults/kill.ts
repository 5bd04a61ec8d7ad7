import { closeSync, fsyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { ackCode, addPartner, admission, Backend, mllpSender, untilRouted, type PartnerCertificate } from '../support/callers.ts';
import { mongodPid, rawMongo } from '../support/raw-mongo.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { seeded, type Random } from './random.ts';

/*
 * kill -9 under load. The client writes every acknowledgement and every success into a ledger and fsyncs it, as a careful
 * sender would; what the ledger holds must be in the record afterwards, once, and every stored version must have exactly one
 * AuditEvent. Messages without an acknowledgement are sent again after the restart, byte for byte, as senders do.
 */

/** One line of the ledger: something the server said that it has. */
type Taken =
  | { readonly kind: 'message'; readonly controlId: string; readonly mrn: string }
  | { readonly kind: 'version'; readonly reference: string; readonly versionId: string; readonly mark: string };

/** What a run found; everything but the counts must be empty. */
export interface KillReport {
  readonly seed: number;
  readonly rounds: number;
  readonly messages: number;
  readonly versions: number;
  /** Versions whose audit entry a crash had left out, and the sweep appended. */
  readonly recovered: number;
  /** Taken, but not in the record. */
  readonly lost: readonly string[];
  /** In the record more than once. */
  readonly doubled: readonly string[];
  /** Stored versions without exactly one AuditEvent of their write. */
  readonly unaudited: readonly string[];
  /** AuditEvents of writes that are not stored. */
  readonly phantoms: readonly string[];
  readonly auditIntact: boolean;
  /** `interlock integrity verify` found nothing. */
  readonly asRecorded: boolean;
  readonly deadLetters: number;
}

/** Callers of each kind that are at work when the process is killed. */
const fhirCallers = 4;
const senders = 2;
const system = 'urn:example:kill';

class Ledger {
  readonly #path: string;
  readonly #file: number;

  constructor(path: string) {
    this.#path = path;
    this.#file = openSync(path, 'a');
  }

  /** Durable when this returns: the client's own promise. */
  write(taken: Taken): void {
    writeSync(this.#file, `${JSON.stringify(taken)}\n`);
    fsyncSync(this.#file);
  }

  read(): Taken[] {
    return readFileSync(this.#path, 'utf8').trimEnd().split('\n').filter(Boolean).map((line) => JSON.parse(line) as Taken);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** Callers that work until they are told to stop or their connection breaks. */
class Load {
  readonly #backend: Backend;
  readonly #server: TestServer;
  readonly #partner: PartnerCertificate;
  readonly #ledger: Ledger;
  readonly #name: string;
  #count = 0;
  #stopped = false;
  /** Messages that were sent and not acknowledged. */
  readonly unanswered: { readonly controlId: string; readonly mrn: string; readonly message: string }[] = [];

  constructor(options: { backend: Backend; server: TestServer; partner: PartnerCertificate; ledger: Ledger; name: string }) {
    this.#backend = options.backend;
    this.#server = options.server;
    this.#partner = options.partner;
    this.#ledger = options.ledger;
    this.#name = options.name;
  }

  /** Resolves when all callers have ended. */
  async run(): Promise<void> {
    const fhir = Array.from({ length: fhirCallers }, async (_, caller) => this.#callFhir(caller));
    await Promise.all([...fhir, ...Array.from({ length: senders }, async () => this.#send())]);
  }

  stop(): void {
    this.#stopped = true;
  }

  async #callFhir(caller: number): Promise<void> {
    let own: { readonly reference: string; readonly id: string } | undefined;
    try {
      for (let turn = caller; !this.#stopped; turn += 1) {
        const mark = this.#next();
        if (turn % 3 === 0) own = await this.#create(mark);
        else if (turn % 3 === 1 && own !== undefined) await this.#update(own, mark);
        else await this.#transact(mark);
      }
    } catch {
      // The server is gone: what was under way has no outcome.
    }
  }

  async #create(mark: string): Promise<{ reference: string; id: string } | undefined> {
    const answer = await this.#backend.call('POST', 'Patient', patient(mark));
    if (answer.status !== 201) return undefined;
    const { id, meta } = answer.json() as { id: string; meta: { versionId: string } };
    this.#ledger.write({ kind: 'version', reference: `Patient/${id}`, versionId: meta.versionId, mark });
    return { reference: `Patient/${id}`, id };
  }

  async #update({ reference, id }: { reference: string; id: string }, mark: string): Promise<void> {
    const answer = await this.#backend.call('PUT', reference, { ...patient(mark), id });
    if (answer.status !== 200) return;
    this.#ledger.write({ kind: 'version', reference, versionId: (answer.json() as { meta: { versionId: string } }).meta.versionId, mark });
  }

  async #transact(mark: string): Promise<void> {
    const [first, second] = [`${mark}a`, `${mark}b`];
    const entry = (one: string, resource: object) => ({ fullUrl: `urn:uuid:${uuidOf(one)}`, resource, request: { method: 'POST', url: (resource as { resourceType: string }).resourceType } });
    const answer = await this.#backend.call('POST', '', {
      resourceType: 'Bundle', type: 'transaction',
      entry: [entry(first, patient(first)), entry(second, { resourceType: 'Observation', status: 'final', identifier: [{ system, value: second }], code: { text: 'weight' }, subject: { reference: `urn:uuid:${uuidOf(first)}` } })],
    });
    if (answer.status !== 200) return;
    const { entry: entries } = answer.json() as { entry: { response: { location: string } }[] };
    for (const [index, { response }] of entries.entries()) {
      const [, reference = '', versionId = ''] = /(\w+\/[^/]+)\/_history\/(\d+)$/.exec(response.location) ?? [];
      this.#ledger.write({ kind: 'version', reference, versionId, mark: index === 0 ? first : second });
    }
  }

  async #send(): Promise<void> {
    let sender;
    try {
      sender = await mllpSender(this.#server, this.#partner);
      while (!this.#stopped) {
        const mark = this.#next();
        const sent = { controlId: mark, mrn: mark, message: admission({ controlId: mark, mrn: mark, family: 'Kill' }) };
        this.unanswered.push(sent);
        const ack = await sender.send(sent.message);
        if (ackCode(ack) !== 'AA') continue;
        this.#ledger.write({ kind: 'message', controlId: mark, mrn: mark });
        this.unanswered.splice(this.unanswered.indexOf(sent), 1);
      }
    } catch {
      // As above; the message stays among the unanswered.
    } finally {
      sender?.close();
    }
  }

  #next(): string {
    return `${this.#name}-${(this.#count += 1)}`;
  }
}

function patient(mark: string): object {
  return { resourceType: 'Patient', identifier: [{ system, value: mark }], name: [{ family: 'Kill' }] };
}

/** A UUID that a name determines. */
function uuidOf(name: string): string {
  const hex = Buffer.from(name.padStart(16, '0').slice(-16)).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/**
 * Kills a server under load, so many times, and reconciles what it said with what it has.
 * @param tell is told how each round went
 */
export async function killRounds(rounds: number, seed: number, tell: (line: string) => void = () => undefined): Promise<KillReport> {
  const random = seeded(seed);
  const server = await startTestServer();
  const ledger = new Ledger(join(server.directory, 'ledger.ndjson'));
  try {
    const backend = await Backend.register(server);
    const partner = await addPartner(server, 'kill');
    for (let round = 1; round <= rounds; round += 1) {
      tell(await killOnce({ server, backend, partner, ledger, random, round }));
    }
    const { counts } = await untilRouted(server);
    const report = await reconcile(server, backend, ledger.read());
    backend.close();
    const [trail, integrity] = [await server.cli(['audit', 'verify']), await server.cli(['integrity', 'verify'])];
    return { seed, rounds, ...report, auditIntact: trail.code === 0, asRecorded: integrity.code === 0, deadLetters: counts.failed };
  } finally {
    ledger.close();
    await server.remove();
  }
}

interface Round {
  readonly server: TestServer;
  readonly backend: Backend;
  readonly partner: PartnerCertificate;
  readonly ledger: Ledger;
  readonly random: Random;
  readonly round: number;
}

async function killOnce({ server, backend, partner, ledger, random, round }: Round): Promise<string> {
  const load = new Load({ backend, server, partner, ledger, name: `r${round}` });
  const before = ledger.read().length;
  const running = load.run();
  const afterMs = 300 + random.below(2_500);
  // Every third time the database goes first, and the server a little later, in the middle of taking that in.
  const database = random.below(3) === 0;
  const betweenMs = random.below(400);
  await sleep(afterMs);
  if (database) {
    process.kill(mongodPid(server), 'SIGKILL');
    await sleep(betweenMs);
  }
  await server.kill();
  load.stop();
  await running;
  const beganMs = performance.now();
  await server.restart();
  const restartMs = performance.now() - beganMs;
  const sender = await mllpSender(server, partner);
  for (const { controlId, mrn, message } of load.unanswered) {
    const ack = await sender.send(message);
    if (ackCode(ack) !== 'AA') throw new Error(`A message that was sent again was answered ${ackCode(ack)}`);
    ledger.write({ kind: 'message', controlId, mrn });
  }
  sender.close();
  return `round ${round}: killed ${database ? `mongod, ${betweenMs} ms later ` : ''}the server after ${afterMs} ms; ${ledger.read().length - before} acknowledged, ${load.unanswered.length} sent again; back after ${restartMs.toFixed(0)} ms`;
}

type Findings = Pick<KillReport, 'messages' | 'versions' | 'recovered' | 'lost' | 'doubled' | 'unaudited' | 'phantoms'>;

/** Compares ledger, record and audit trail, each read as a whole. */
async function reconcile(server: TestServer, backend: Backend, taken: readonly Taken[]): Promise<Findings> {
  const [lost, doubled]: [string[], string[]] = [[], []];
  const stored = new Map<string, Readonly<Record<string, unknown>>>();
  // Everything there ever was: a system-wide history holds each version of each resource.
  for (const resource of await backend.all('_history?_count=1000')) stored.set(`${resource.resourceType}/${resource.id}/_history/${resource.meta.versionId}`, resource);
  const patientsByMrn = Map.groupBy(currentOf(stored, 'Patient').flatMap(identifiersOf), (value) => value);
  const sources = Map.groupBy([...stored.values()].filter(({ resourceType }) => resourceType === 'Provenance').map(controlIdOf), (controlId) => controlId);
  for (const one of taken) {
    if (one.kind === 'version') {
      const resource = stored.get(`${one.reference}/_history/${one.versionId}`);
      if (resource === undefined || !identifiersOf(resource).includes(one.mark)) lost.push(`${one.reference}/_history/${one.versionId}`);
      continue;
    }
    for (const count of [patientsByMrn.get(one.mrn)?.length ?? 0, sources.get(one.controlId)?.length ?? 0]) {
      if (count === 0) lost.push(one.controlId);
      if (count > 1) doubled.push(one.controlId);
    }
  }
  const { unaudited, phantoms, recovered } = await compareWithTrail(server, stored);
  // The raw database knows of no version that the history did not show.
  const raw = await rawMongo(server);
  const ids = new Set<string>();
  for (const collection of ['resources', 'versions']) {
    for await (const { _id, vid } of raw.useDb('interlock').collection<{ _id: { buffer: Buffer }; vid: number }>(collection).find({}, { projection: { vid: 1 } })) ids.add(`${Buffer.from(_id.buffer).toString('hex', 0, 16)}/${vid}`);
  }
  await raw.close();
  if (ids.size !== stored.size) unaudited.push(`${ids.size} versions in the database, ${stored.size} in the history`);
  return { messages: taken.filter(({ kind }) => kind === 'message').length, versions: stored.size, recovered, lost: [...new Set(lost)], doubled: [...new Set(doubled)], unaudited, phantoms };
}

/** Every version needs one event of its write, and every such event its version. */
async function compareWithTrail(server: TestServer, stored: ReadonlyMap<string, unknown>): Promise<{ unaudited: string[]; phantoms: string[]; recovered: number }> {
  const file = join(server.directory, 'audit.ndjson');
  rmSync(file, { force: true });
  await server.cliJson(['audit', 'export', '--out', file]);
  // One write of a resource that concerns several patients is told once to each of them: entry ids tell writes apart.
  const writes = new Map<string, Set<string>>();
  let recovered = 0;
  for (const line of readFileSync(file, 'utf8').trimEnd().split('\n')) {
    const event = JSON.parse(line) as { id: string; action: string; outcome: string; outcomeDesc?: string; entity?: { what?: { reference?: string } }[] };
    if (!/^[CUD]$/.test(event.action) || event.outcome !== '0') continue;
    if (event.outcomeDesc?.includes('recovered') === true) recovered += 1;
    for (const { what } of event.entity ?? []) {
      if (what?.reference?.includes('/_history/') !== true) continue;
      writes.set(what.reference, (writes.get(what.reference) ?? new Set()).add(event.id.split('-')[0]!));
    }
  }
  const unaudited = [...stored.keys()].filter((version) => writes.get(version)?.size !== 1).map((version) => `${version}: ${writes.get(version)?.size ?? 0} events`);
  return { unaudited, phantoms: [...writes.keys()].filter((version) => !stored.has(version)), recovered };
}

function currentOf(stored: ReadonlyMap<string, Readonly<Record<string, unknown>>>, type: string): Readonly<Record<string, unknown>>[] {
  const newest = new Map<unknown, { versionId: number; resource: Readonly<Record<string, unknown>> }>();
  for (const resource of stored.values()) {
    const versionId = Number((resource['meta'] as { versionId: string }).versionId);
    if (resource['resourceType'] === type && versionId > (newest.get(resource['id'])?.versionId ?? 0)) newest.set(resource['id'], { versionId, resource });
  }
  return [...newest.values()].map(({ resource }) => resource);
}

function identifiersOf(resource: Readonly<Record<string, unknown>>): string[] {
  return ((resource['identifier'] ?? []) as { value?: string }[]).flatMap(({ value }) => value ?? []);
}

function controlIdOf(provenance: Readonly<Record<string, unknown>>): string {
  return (provenance['entity'] as { what: { identifier?: { value?: string } } }[])[0]?.what.identifier?.value ?? '';
}

async function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
