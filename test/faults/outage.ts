import { randomUUID } from 'node:crypto';
import { ackCode, addPartner, admission, Backend, mllpSender, mrnSystem, untilRouted, type SearchPage } from '../support/callers.ts';
import { mongodPid } from '../support/raw-mongo.ts';
import type { TestServer } from '../support/server.ts';

/** What callers saw while the database stood still, and afterwards. */
export interface OutageReport {
  /** Answers during the outage by status; `none` where the connection ended without one. */
  readonly during: Readonly<Record<string, number>>;
  /** Answers of which the body held a part of a record. */
  readonly disclosed: number;
  /** Requests that were taken before or during the outage and are not there afterwards, or not once. */
  readonly lost: readonly string[];
  /** From the end of the outage to the first success, ms. */
  readonly recoveredAfterMs: number;
  readonly auditIntact: boolean;
}

const name = 'Quillfeather';
const patienceMs = 30_000;

/** Holds mongod with SIGSTOP under load, lets it go on, and checks what was answered and what was kept. */
export async function standStill(server: TestServer, outageMs: number): Promise<OutageReport> {
  const backend = await Backend.register(server);
  const partner = await addPartner(server, 'outage');
  const sender = await mllpSender(server, partner, outageMs + patienceMs);
  const patient = (id: string) => ({ resourceType: 'Patient', id, name: [{ family: name }] });
  const known = randomUUID();
  if ((await backend.call('PUT', `Patient/${known}`, patient(known))).status !== 201) throw new Error('The server does not work');

  const during = new Map<string, number>();
  const acknowledged: string[] = [];
  const taken: string[] = [];
  let disclosed = 0;
  let resumedAtMs = 0;
  // What is answered afterwards may well hold a record: its audit entry is durable by then.
  const note = (status: number | string, body: string): void => {
    if (resumedAtMs > 0) return;
    during.set(String(status), (during.get(String(status)) ?? 0) + 1);
    if (body.includes(name) || body.includes(known)) disclosed += 1;
  };
  const answered: Promise<unknown>[] = [];
  const fhir = async (method: string, path: string, body?: unknown): Promise<void> => {
    const id = path.split('/')[1]!;
    try {
      const answer = await backend.call(method, path, body);
      note(answer.status, answer.body.toString());
      if (method === 'PUT' && answer.status < 300) acknowledged.push(id);
    } catch {
      note('none', '');
    }
  };
  const pid = mongodPid(server);
  process.kill(pid, 'SIGSTOP');
  try {
    const until = Date.now() + outageMs;
    for (let index = 0; Date.now() < until; index += 1) {
      const id = randomUUID();
      answered.push(fhir('PUT', `Patient/${id}`, patient(id)), fhir('GET', `Patient/${known}`), fhir('GET', `Patient?family=${name}`));
      const mrn = `OUT${index}`;
      answered.push(sender.send(admission({ controlId: mrn, mrn, family: name })).then((ack) => {
        if (ackCode(ack) === 'AA') taken.push(mrn);
      }, () => undefined));
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  } finally {
    process.kill(pid, 'SIGCONT');
    resumedAtMs = Date.now();
  }
  for (;;) {
    const answer = await backend.call('GET', `Patient/${known}`).catch(() => undefined);
    if (answer?.status === 200) break;
    if (Date.now() - resumedAtMs > patienceMs) throw new Error('The server did not recover');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const recoveredAfterMs = Date.now() - resumedAtMs;
  await Promise.all(answered);
  await untilRouted(server);
  const lost: string[] = [];
  for (const id of acknowledged) if ((await backend.call('GET', `Patient/${id}`)).status !== 200) lost.push(id);
  for (const mrn of taken) if (((await backend.get<SearchPage>(`Patient?identifier=${encodeURIComponent(`${mrnSystem}|${mrn}`)}`)).entry ?? []).length !== 1) lost.push(mrn);
  sender.close();
  const again = await mllpSender(server, partner);
  if (ackCode(await again.send(admission({ controlId: 'OUT-AFTER', mrn: 'OUT-AFTER' }))) !== 'AA') lost.push('OUT-AFTER');
  again.close();
  backend.close();
  const { code } = await server.cli(['audit', 'verify']);
  return { during: Object.fromEntries(during), disclosed, lost, recoveredAfterMs, auditIntact: code === 0 };
}
