import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { Alerts, type AlertsOptions } from '../../../server/alerts/alerts.ts';
import type { NameTokens } from '../../../server/alerts/engine.ts';
import { blockOf } from '../../../server/alerts/networks.ts';
import { syslogTarget } from '../../../server/alerts/notices.ts';
import { shippedRuleSet } from '../../../server/alerts/rules-file.ts';
import { AuditReader } from '../../../server/audit/reader.ts';
import type { AuditRecord } from '../../../server/audit/record.ts';
import { openAuditTrail, type OpenAuditTrail } from '../../../server/audit/trail.ts';
import type { Target } from '../../../server/delivery/queue.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';
import { recordOf, site, tenant, testKeyring } from '../audit/support.ts';
import { closeReceivers, syslogReceiver, trusting, until } from '../delivery/receivers.ts';

let mongo: TestMongo;
let keys: Awaited<ReturnType<typeof testKeyring>>;
let trail: OpenAuditTrail;
let watch: Alerts | undefined;
/** A Wednesday, 10:00. */
const startMs = Date.UTC(2026, 2, 4, 10);
let nowMs = startMs;
let day = 0;

beforeAll(async () => {
  [mongo, keys] = await Promise.all([testMongo(), testKeyring()]);
  trail = await openAuditTrail({ audit: mongo.audit, keyring: keys.keyring, tenant, epochId: 'stream-1', log: silentLog, onRecorded: (entries) => watch?.take(entries) });
});
afterEach(async () => {
  await watch?.close();
  watch = undefined;
  // The next test begins on another Wednesday, with nothing within its windows.
  nowMs = startMs + (day += 7) * 86_400_000;
  await mongo.app.collection('alerts').deleteMany({});
});
afterAll(async () => {
  await closeReceivers();
  await trail.close();
  await mongo.drop();
  keys.close();
});

/** What is known of names, in place of keyed tokens. */
const names = new Map<string, NameTokens>();

async function open(more: Partial<AlertsOptions> = {}): Promise<Alerts> {
  const reader = new AuditReader({ audit: mongo.audit, keyring: keys.keyring, tenant, site });
  watch = await Alerts.open({ app: mongo.app, keyring: keys.keyring, audit: trail, reader, log: silentLog, nowMs: () => nowMs, ruleSet: shippedRuleSet, zone: 'UTC', networkOf: blockOf, targets: [], pageUrl: 'https://interlock.example/console/alerts', delivery: { firstRetryMs: 20, maxRetryMs: 100 }, ...more });
  await watch.start(async (reference) => names.get(reference));
  return watch;
}

async function happens(changes: Partial<AuditRecord>, times = 1, apartMs = 1_000): Promise<void> {
  for (let n = 0; n < times; n += 1) {
    await trail.record(recordOf({ at: nowMs, requestId: randomUUID(), ...changes }));
    nowMs += apartMs;
  }
}

/** Rules of the alerts that there are, oldest first, with their counts. */
async function raised(): Promise<[string, number][]> {
  await watch!.settled();
  return (await watch!.register.list(false)).map(({ rule, count }): [string, number] => [rule, count]).reverse();
}

const person = (id = 'user-7', more: Partial<AuditRecord['actor']> = {}): AuditRecord['actor'] => ({ kind: 'user', id, display: 'p.example', role: 'physician', fhirUser: 'Practitioner/p7', clientId: 'app-1', address: '192.0.2.10', userAgent: 'Browser/1.0', ...more });
const failure = { kind: 'login', interaction: 'login', action: 'E', outcome: '4', error: 'credentials-invalid', entities: [], patients: [] } as const;
const signIn = { kind: 'login', interaction: 'login', action: 'E', outcome: '0', entities: [], patients: [] } as const;
const denial = { outcome: '4', error: 'forbidden', entities: [], patients: [] } as const;
const look = (patient: string) => ({ entities: [{ type: 'Observation', id: 'o1', patients: [patient] }], patients: [patient] });

describe('rules', () => {
  test('four failed sign-ins are none, five are one alert, more count on it', async () => {
    await open();
    await happens({ ...failure, actor: person() }, 4);
    expect(await raised()).toEqual([]);
    await happens({ ...failure, actor: person() });
    expect(await raised()).toEqual([['failed-sign-ins', 5], ['failed-sign-ins-address', 5]]);
    await happens({ ...failure, actor: person() }, 4);
    expect(await raised()).toEqual([['failed-sign-ins', 9], ['failed-sign-ins-address', 9]]);
  });

  test('five within a quarter of an hour, not over a day', async () => {
    await open();
    await happens({ ...failure, actor: person() }, 10, 240_000);
    expect(await raised()).toEqual([]);
  });

  test('strangers are counted by address, floods by what they stand for', async () => {
    await open();
    const stranger = (address: string) => ({ kind: 'anonymous', id: 'anonymous', address }) as const;
    for (let n = 0; n < 4; n += 1) await happens({ ...failure, actor: stranger(`198.51.100.${n}`) });
    expect(await raised()).toEqual([]);
    await happens({ ...failure, actor: stranger('198.51.100.9'), count: 500 });
    expect(await raised()).toEqual([['failed-sign-ins-address', 500]]);
  });

  test('many patients within an hour', async () => {
    await open();
    for (let n = 0; n < 99; n += 1) await happens({ ...look(`pat-${n}`), actor: person('user-8') }, 2);
    expect(await raised()).toEqual([]);
    await happens({ entities: [], patients: ['pat-100', 'pat-101', 'pat-102'], interaction: 'search-type', actor: person('user-8') });
    expect(await raised()).toEqual([['many-patients', 102]]);
    for (let n = 0; n < 300; n += 1) await happens({ ...look(`pat-${n}`), actor: { kind: 'client', id: 'backend' } }, 1, 1);
    expect(await raised()).toEqual([['many-patients', 102]]);
  });

  test('bulk reads count outside working hours only', async () => {
    await open();
    const bulk = { interaction: 'search-type', entities: [], patients: Array.from({ length: 60 }, (_, n) => `pat-${n}`), actor: person('user-9') };
    await happens(bulk);
    expect(await raised()).toEqual([]);
    nowMs += 12 * 3600_000;
    await happens(bulk);
    expect(await raised()).toEqual([['off-hours-bulk', 60]]);
    nowMs += 2 * 86_400_000 + 14 * 3600_000;
    // Saturday noon.
    await happens({ ...bulk, actor: person('user-10') });
    expect(await raised()).toEqual([['off-hours-bulk', 60], ['off-hours-bulk', 60]]);
  });

  test('working hours are those of the zone', async () => {
    await open({ zone: 'Pacific/Auckland' });
    await happens({ interaction: 'search-type', entities: [], patients: Array.from({ length: 60 }, (_, n) => `pat-${n}`), actor: person('user-11') });
    expect(await raised()).toEqual([['off-hours-bulk', 60]]);
  });

  test('a look at somebody of the same name, and at the own record; not by patients, not in lists', async () => {
    names.set('Practitioner/p7', { families: ['f1'], persons: ['f1 a'], born: 'b1' });
    names.set('Patient/relative', { families: ['f0', 'f1'], persons: ['f1 z'], born: 'b2' });
    names.set('Patient/self', { families: ['f1'], persons: ['f1 a'], born: 'b1' });
    names.set('Patient/namesake', { families: ['f1'], persons: ['f1 a'], born: 'b9' });
    names.set('Patient/stranger', { families: ['f2'], persons: ['f2 a'] });
    await open();
    await happens({ ...look('stranger'), actor: person() });
    await happens({ ...look('unknown'), actor: person() });
    await happens({ ...look('relative'), actor: person('user-12', { role: 'patient' }) });
    await happens({ entities: [], patients: ['relative', 'self', 'a', 'b', 'c', 'd'], interaction: 'search-type', actor: person() });
    expect(await raised()).toEqual([]);
    await happens({ ...look('relative'), actor: person() }, 3);
    await happens({ ...look('self'), actor: person() });
    await happens({ ...look('namesake'), actor: person() });
    expect((await raised()).sort()).toEqual([['same-surname', 1], ['same-surname', 1], ['self-lookup', 1]]);
  });

  test('a new device and a new network, but not the first', async () => {
    await open();
    const id = `user-${randomUUID()}`;
    await happens({ ...signIn, actor: person(id) }, 2);
    await happens({ ...signIn, actor: person(id, { userAgent: 'Browser/2.3.4' }) });
    await happens({ ...signIn, actor: person(id, { address: '192.0.3.99' }) });
    expect(await raised()).toEqual([]);
    await happens({ ...signIn, actor: person(id, { userAgent: 'Other/1.0' }) }, 2);
    expect(await raised()).toEqual([['new-device', 1]]);
    await happens({ ...signIn, actor: person(id, { address: '203.0.113.5' }) }, 2);
    expect(await raised()).toEqual([['new-device', 1], ['new-network', 1]]);
    // What was learned outlives a restart.
    await watch!.close();
    nowMs += 2 * 3600_000;
    await open();
    await happens({ ...signIn, actor: person(id, { address: '203.0.113.6', userAgent: 'Other/1.1' }) });
    expect(await raised()).toEqual([['new-device', 1], ['new-network', 1]]);
  });

  test.each<[string, Partial<AuditRecord>, number]>([
    ['break-glass', { interaction: 'break-glass-begin', action: 'E', actor: person(), patients: ['pat-1'], entities: [] }, 1],
    ['export', { kind: 'command', interaction: 'export', action: 'E', actor: { kind: 'operator', id: 'operator:x' } }, 1],
    ['export-command', { kind: 'command', interaction: 'command', action: 'E', actor: { kind: 'operator', id: 'operator:x' }, command: 'audit export --out --since' }, 1],
    ['account-locked', { ...failure, interaction: 'account-locked', actor: person() }, 1],
    ['denied-burst', { ...denial, actor: person() }, 20],
    ['failed-client-sign-ins', { ...failure, kind: 'token', interaction: 'client_credentials', actor: { kind: 'anonymous', id: 'anonymous', address: '192.0.2.9' } }, 10],
  ])('%s', async (rule, changes, times) => {
    await open();
    await happens(changes, times - 1, 10);
    expect(await raised()).toEqual([]);
    await happens(changes);
    expect(await raised()).toEqual([[rule, times]]);
  });

  test('a command that exports nothing is none', async () => {
    await open();
    await happens({ kind: 'command', interaction: 'command', action: 'E', actor: { kind: 'operator', id: 'operator:x' }, command: 'audit exporter' });
    await happens({ kind: 'command', interaction: 'command', action: 'E', outcome: '4', actor: { kind: 'operator', id: 'operator:x' }, command: 'audit export --out' });
    expect(await raised()).toEqual([]);
  });

  test('entries that a sweep recovered', async () => {
    await open();
    const entries = [1, 2, 3].map(() => trail.prepare(recordOf({ at: nowMs, actor: person() })));
    await trail.appendRecovered(entries);
    expect(await raised()).toEqual([['audit-gap', 3]]);
    await trail.appendRecovered(entries);
    expect(await raised()).toEqual([['audit-gap', 3]]);
  });

  test('what the server itself reports', async () => {
    const alerts = await open();
    alerts.signal('verification-failed', 'Observation');
    alerts.signal('verification-failed', 'Observation');
    alerts.signal('verification-failed', 'Patient');
    alerts.signal('no such rule', 'x');
    expect(await raised()).toEqual([['verification-failed', 1], ['verification-failed', 1]]);
  });
});

describe('an alert', () => {
  test('of one hour is not raised again by a restart in between, and counts go on', async () => {
    await open();
    await happens({ ...failure, actor: person() }, 3);
    expect(await raised()).toEqual([]);
    await watch!.close();
    await open();
    await happens({ ...failure, actor: person() }, 2);
    expect(await raised()).toEqual([['failed-sign-ins', 5], ['failed-sign-ins-address', 5]]);
    await watch!.close();
    await open();
    expect(await raised()).toEqual([['failed-sign-ins', 5], ['failed-sign-ins-address', 5]]);
  });

  test('is acknowledged once, with a note, on record', async () => {
    const alerts = await open();
    alerts.signal('audit-unavailable', '');
    await alerts.settled();
    const { id } = (await alerts.register.list(true))[0]!;
    const auditor = person('user-20', { role: 'auditor' });
    await expect(alerts.register.acknowledge(id, auditor, ' ', 'r')).rejects.toMatchObject({ code: 'request-invalid' });
    await expect(alerts.register.acknowledge('0'.repeat(20), auditor, 'x', 'r')).rejects.toMatchObject({ code: 'not-found' });
    await alerts.register.acknowledge(id, auditor, 'disk replaced', 'request-ack');
    await expect(alerts.register.acknowledge(id, auditor, 'again', 'r')).rejects.toMatchObject({ code: 'business-rule' });
    expect(await alerts.register.list(true)).toEqual([]);
    expect(await alerts.register.read(id)).toMatchObject({ state: 'acknowledged', acknowledged: { by: 'p.example', note: 'disk replaced' } });
    const events = [];
    for await (const { record } of new AuditReader({ audit: mongo.audit, keyring: keys.keyring, tenant, site }).entries({ hints: [{ terms: ['request|request-ack'], daily: false }], fromMs: 0, untilMs: 8e15 }, true)) events.push(record);
    expect(events).toMatchObject([{ interaction: 'alert-acknowledged', outcome: '0', actor: { id: 'user-20' }, command: `alert ${id}` }]);
  });

  test('shows nothing of whom it is about in the database', async () => {
    await open();
    await happens({ interaction: 'break-glass-begin', action: 'E', actor: person('user-secret', { display: 'secret.name' }), patients: ['pat-secret'], entities: [] });
    expect(await raised()).toEqual([['break-glass', 1]]);
    const row = await mongo.app.collection('alerts').findOne({}, { promoteBuffers: true });
    const text = Buffer.concat([Buffer.from(JSON.stringify(row)), row!['sealed'] as Buffer]).toString('latin1');
    expect(text).not.toMatch(/secret/);
    const [alert] = await watch!.register.list(true);
    expect(alert!.about).toMatchObject({ who: { id: 'user-secret', display: 'secret.name' } });
    expect(JSON.stringify(alert)).not.toContain('pat-secret');
  });

  test('of the first form is taken over', async () => {
    await mongo.app.collection('alerts').insertMany([{ kind: 'break-glass', at: new Date(startMs), about: 'b-1' }, { kind: 'break-glass', at: new Date(startMs), about: 'b-2' }]);
    await open();
    expect(await raised()).toEqual([['break-glass', 1], ['break-glass', 1]]);
    expect((await watch!.register.list(true)).map(({ about }) => about.what).sort()).toEqual(['b-1', 'b-2']);
    expect(await mongo.app.collection('alerts').countDocuments({ rule: { $exists: false } })).toBe(0);
  });
});

describe('notices', () => {
  class Keeper implements Target {
    readonly name = 'webhook';
    readonly got: unknown[] = [];
    failing = false;
    async send({ body }: { body: string }): Promise<void> {
      if (this.failing) throw new Error('not now');
      this.got.push(JSON.parse(body));
    }
  }

  test('tell what happened, and not whom it is about; once', async () => {
    const keeper = new Keeper();
    const receiver = await syslogReceiver();
    await open({ targets: [keeper, syslogTarget({ address: `localhost:${receiver.port}`, tls: trusting })] });
    const atMs = nowMs;
    await happens({ interaction: 'break-glass-begin', action: 'E', actor: person('user-secret', { display: 'secret.name' }), patients: ['pat-secret'], entities: [] });
    await watch!.flush();
    await until(() => keeper.got.length === 1 && receiver.messages.length === 1);
    const { id } = (await watch!.register.list(true))[0]!;
    const notice = { type: 'alert', id, rule: 'break-glass', kind: 'break-glass', severity: 'high', title: 'The glass was broken: a review is due', at: new Date(atMs).toISOString(), count: 1, url: 'https://interlock.example/console/alerts' };
    expect(keeper.got).toEqual([notice]);
    expect(receiver.messages[0]).toMatch(new RegExp(`^<83>1 ${new Date(atMs).toISOString()} \\S+ Interlock \\d+ ALERT - \\uFEFFThe glass was broken: a review is due; type=alert id=${id} rule=break-glass kind=break-glass severity=high count=1 url=https://interlock\\.example/console/alerts$`));
    await receiver.close();
  });

  test('of an alert that was kept when the server was killed go out at the next start', async () => {
    await open();
    await happens({ ...denial, actor: person() }, 20);
    expect(await raised()).toEqual([['denied-burst', 20]]);
    await watch!.close();
    await mongo.app.collection('alerts').updateOne({}, { $set: { untold: true } });
    const keeper = new Keeper();
    await open({ targets: [keeper] });
    await until(() => keeper.got.length === 1);
    expect(keeper.got).toMatchObject([{ rule: 'denied-burst' }]);
  });

  test('that cannot be delivered for a day make an alert, which is not sent there', async () => {
    const keeper = new Keeper();
    keeper.failing = true;
    const alerts = await open({ targets: [keeper] });
    alerts.signal('audit-unavailable', '');
    await alerts.flush();
    nowMs += 25 * 3600_000;
    await until(async () => (await alerts.register.list(true)).some(({ rule }) => rule === 'delivery-failed'));
    expect((await alerts.deliveries())[0]).toMatchObject({ target: 'webhook', waiting: 0 });
  });

  test('test notices go to each target at once', async () => {
    const keeper = new Keeper();
    const alerts = await open({ targets: [keeper] });
    expect(await alerts.test()).toEqual([{ target: 'webhook' }]);
    expect(keeper.got).toMatchObject([{ type: 'test' }]);
    keeper.failing = true;
    expect(await alerts.test()).toEqual([{ target: 'webhook', error: 'not now' }]);
  });
});
