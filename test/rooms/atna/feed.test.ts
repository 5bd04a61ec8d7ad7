import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Feed, type FeedOptions } from '../../../server/atna/feed.ts';
import { fhirRepository, syslogRepository, tokenFile, type Repository } from '../../../server/atna/repositories.ts';
import { openAuditTrail, type OpenAuditTrail } from '../../../server/audit/trail.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';
import { fill, recordOf, site, tenant, testKeyring } from '../audit/support.ts';
import { closeReceivers, httpsReceiver, showing, syslogReceiver, trusting, until, type SyslogReceiver } from '../delivery/receivers.ts';

let mongo: TestMongo;
let keys: Awaited<ReturnType<typeof testKeyring>>;
let trail: OpenAuditTrail;
const feeds = new Set<Feed>();
const faults: string[] = [];

beforeEach(async () => {
  [mongo, keys] = await Promise.all([testMongo(), testKeyring()]);
  trail = await openTrail('stream-1');
  faults.length = 0;
});
afterEach(async () => {
  for (const feed of feeds) await feed.close();
  await closeReceivers();
  feeds.clear();
  await trail.close();
  await mongo.drop();
  keys.close();
});

const openTrail = (epochId: string) => openAuditTrail({ audit: mongo.audit, keyring: keys.keyring, tenant, epochId, log: silentLog, onRecorded: () => feeds.forEach((feed) => feed.notify()) });

function start(repository: Repository, more: Partial<FeedOptions> = {}): Feed {
  const feed = new Feed({ app: mongo.app, audit: mongo.audit, keyring: keys.keyring, tenant, site, log: silentLog, repository, from: 'beginning', onFault: (rule, what) => void faults.push(`${rule} ${what}`), firstRetryMs: 30, maxRetryMs: 100, gatherMs: 20, ...more });
  feeds.add(feed);
  return feed;
}

async function stop(feed: Feed): Promise<void> {
  await feed.close();
  feeds.delete(feed);
}

const syslog = ({ port }: SyslogReceiver) => syslogRepository({ address: `localhost:${port}`, tls: trusting });
/** Which requests messages tell of, in their order. */
const requestsIn = (messages: readonly string[]) => messages.map((message) => /ParticipantObjectID="(request-\d+)"/.exec(message)?.[1]);
const write = async (count: number): Promise<string[]> => {
  const records = Array.from({ length: count }, () => recordOf());
  for (const record of records) await trail.record(record);
  return records.map(({ requestId }) => requestId);
};

describe('syslog repository', () => {
  test('gets each event, in order, as it is recorded', async () => {
    const receiver = await syslogReceiver();
    const before = await write(3);
    start(syslog(receiver));
    await until(() => receiver.messages.length === 3);
    const after = await write(4);
    await until(() => receiver.messages.length === 7);
    expect(requestsIn(receiver.messages)).toEqual([...before, ...after]);
    expect(receiver.messages[0]).toMatch(/^<85>1 \S+ \S+ Interlock \d+ IHE\+RFC-3881 - \uFEFF<\?xml /);
  });

  test('that is new gets what comes from now on, if so configured', async () => {
    const receiver = await syslogReceiver();
    await write(3);
    const feed = start(syslog(receiver), { from: 'now' });
    await until(async () => (await mongo.app.collection('atna_positions').countDocuments()) > 0);
    const after = await write(2);
    await until(() => receiver.messages.length === 2);
    expect(requestsIn(receiver.messages)).toEqual(after);
    await until(async () => (await feed.status()).blocks === 0);
    expect(await feed.status()).toEqual({ repository: 'atna-syslog', blocks: 0, failures: 0 });
  });

  test('gets after an outage, and a restart in the middle of it, what it missed: nothing is lost, nothing comes twice', async () => {
    const first = await syslogReceiver();
    const feed = start(syslog(first));
    const seen = await write(5);
    await until(() => first.messages.length === 5);
    await until(async () => (await feed.status()).blocks === 0);
    await first.close();
    const missed = await write(150);
    await until(async () => (await feed.status()).failures > 1);
    const { blocks, oldestAt } = await feed.status();
    expect(blocks).toBeGreaterThan(0);
    expect(oldestAt).toBeInstanceOf(Date);
    await stop(feed);
    // Another process goes on with a stream of its own.
    await trail.close();
    trail = await openTrail('stream-2');
    missed.push(...(await write(150)));
    const again = start(syslog(first));
    const second = await syslogReceiver({ port: first.port });
    await until(() => second.messages.length >= missed.length);
    missed.push(...(await write(1)));
    await until(() => second.messages.length >= missed.length);
    expect(requestsIn(first.messages)).toEqual(seen);
    expect(requestsIn(second.messages)).toEqual(missed);
    await until(async () => (await again.status()).blocks === 0);
  });

  test('that is cut off again and again misses nothing, and gets at most the unconfirmed batch again', async () => {
    const receiver = await syslogReceiver();
    const wanted = await write(20);
    const many = Array.from({ length: 1_500 }, () => recordOf({ actor: { kind: 'user', id: 'user-1', display: 'x'.repeat(2_000) } }));
    await trail.append(many.map((record) => trail.prepare(record)));
    wanted.push(...many.map(({ requestId }) => requestId));
    receiver.cutAfter = 300;
    start(syslog(receiver));
    for (const at of [301, 700, 1_100]) {
      await until(() => receiver.messages.length >= receiver.cutAfter!);
      receiver.cutAfter = at;
    }
    receiver.cutAfter = undefined;
    await until(() => new Set(requestsIn(receiver.messages)).size === wanted.length);
    expect([...new Set(requestsIn(receiver.messages))].sort()).toEqual([...wanted].sort());
  });

  test('an event that was altered is told of, the rest goes on', async () => {
    const receiver = await syslogReceiver();
    await write(1);
    await mongo.auditRoot.collection('audit').updateOne({ n: 1 }, [{ $set: { e: [{ $mergeObjects: [{ $first: '$e' }, { b: Buffer.alloc(200, 1) }] }] } }]);
    const after = await write(1);
    start(syslog(receiver));
    await until(() => receiver.messages.length === 1);
    expect(requestsIn(receiver.messages)).toEqual(after);
    expect(faults).toEqual(['verification-failed an audit entry does not open']);
  });
});

describe('FHIR repository', () => {
  const keysDir = mkdtempSync(join(tmpdir(), 'interlock-keys-'));
  afterAll(() => rmSync(keysDir, { recursive: true }));
  const to = (port: number, tls = trusting) => fhirRepository({ url: `https://localhost:${port}/fhir/`, keysDir, tls, fhirBaseUrl: site.baseUrl });
  interface Sent { readonly resourceType: string; readonly type?: string; readonly entry?: { readonly resource: Record<string, unknown>; readonly request: unknown }[] }
  const answerAll = (body: string, status = '201 Created') => ({ status: 200, body: JSON.stringify({ resourceType: 'Bundle', type: 'batch-response', entry: ((JSON.parse(body) as Sent).entry ?? []).map(() => ({ response: { status } })) }) });

  test('gets one event as a create, several as a batch, with its token and certificate', async () => {
    const receiver = await httpsReceiver({ clientCertificates: true });
    const client = showing();
    writeFileSync(join(keysDir, tokenFile), 'the-token\n');
    receiver.answer = ({ path, body }) => (path === '/fhir/AuditEvent' ? { status: 201 } : answerAll(body));
    await write(1);
    start(to(receiver.port, client.tls));
    await until(() => receiver.requests.length === 1);
    const single = JSON.parse(receiver.requests[0]!.body) as Record<string, unknown>;
    expect(single).toMatchObject({ resourceType: 'AuditEvent', recorded: expect.any(String), meta: { profile: [expect.stringContaining('IHE.BasicAudit.PatientRead')] } });
    expect(single['id']).toBeUndefined();
    expect(JSON.stringify(single)).toContain(`"reference":"${site.baseUrl}/Patient/pat-1"`);
    expect(receiver.requests[0]).toMatchObject({ path: '/fhir/AuditEvent', client: 'interlock', headers: { authorization: 'Bearer the-token', 'content-type': 'application/fhir+json' } });
    const records = Array.from({ length: 450 }, () => recordOf());
    await trail.append(records.map((record) => trail.prepare(record)));
    await until(() => receiver.requests.length === 4);
    const batches = receiver.requests.slice(1).map(({ body }) => JSON.parse(body) as Sent);
    expect(batches.map(({ type, entry }) => [type, entry!.length])).toEqual([['batch', 200], ['batch', 200], ['batch', 50]]);
    expect(batches[0]!.entry![0]).toMatchObject({ resource: { resourceType: 'AuditEvent' }, request: { method: 'POST', url: 'AuditEvent' } });
    expect(receiver.requests[1]!.path).toBe('/fhir');
    client.remove();
    rmSync(join(keysDir, tokenFile));
  });

  test('that is down, answers an error or too little gets everything later', async () => {
    const receiver = await httpsReceiver();
    let turn = 0;
    const taken: string[] = [];
    receiver.answer = ({ body }) => {
      turn += 1;
      if (turn === 1) return { status: 503 };
      if (turn === 2) return { status: 401 };
      if (turn === 3) return { status: 302, headers: { Location: '/elsewhere' } };
      if (turn === 4) return { status: 200, body: '{"resourceType":"Bundle","entry":[]}' };
      if (turn === 5) return answerAll(body, '500');
      taken.push(...[...body.matchAll(/"value":"(request-\d+)"/g)].map(([, id]) => id!));
      return answerAll(body);
    };
    const records = Array.from({ length: 10 }, () => recordOf());
    await trail.append(records.map((record) => trail.prepare(record)));
    const feed = start(to(receiver.port));
    await until(() => taken.length > 0);
    expect(taken.sort()).toEqual(records.map(({ requestId }) => requestId).sort());
    await until(async () => (await feed.status()).blocks === 0);
    expect(faults).toEqual([]);
  });

  test('that refuses an event for good does not keep back the rest, and is told of', async () => {
    const receiver = await httpsReceiver();
    receiver.answer = ({ path, body }) => (path === '/fhir/AuditEvent' ? { status: 422 } : { ...answerAll(body) });
    await write(1);
    const feed = start(to(receiver.port));
    await until(() => faults.length > 0);
    expect(faults).toEqual(['delivery-failed atna-fhir']);
    await fill(trail, 2);
    await until(async () => (await feed.status()).blocks === 0);
  });
});
