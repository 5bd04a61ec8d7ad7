import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ChannelDefinitionInput } from '../../../channels/definition.ts';
import type { InboxRow } from '../../../channels/inbox/row.ts';
import { Channels, type ChannelsOptions } from '../../../channels/run.ts';
import { SinkError } from '../../../channels/ports.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';
import { laneSink, lanesOf, memoryAudit, noteBytes, noteFormat, partnersBy, somePartner, systemClock, testSeal, until, type Note } from '../../support/channels.ts';
import { silentLog } from '../../../server/observe/log.ts';

const definition: ChannelDefinitionInput = { id: 'notes', door: 'http', format: 'note', zone: 'UTC', retry: { initialMs: 10, maxMs: 50, giveUpAfterMs: 60_000 } };

let mongo: TestMongo;
let audit: ReturnType<typeof memoryAudit>;
let running: Channels[] = [];
const seal = testSeal();

beforeAll(async () => {
  mongo = await testMongo();
});
afterAll(async () => {
  await mongo.drop();
});
beforeEach(async () => {
  audit = memoryAudit();
  for (const name of ['inbox', 'channels', 'test_lanes']) await mongo.app.collection(name).deleteMany({});
});
afterEach(async () => {
  await Promise.all(running.map((channels) => channels.stop(2000)));
  running = [];
});

async function start(options: Partial<ChannelsOptions> = {}): Promise<Channels> {
  const channels = await Channels.start({
    definitions: [definition], formats: { note: noteFormat }, connection: mongo.app, partners: partnersBy(() => somePartner), seal, audit, sink: laneSink(mongo.app),
    log: silentLog, clock: systemClock, listeners: {}, tls: {}, limits: { pollMs: 100, leaseMs: 1500, ...options.limits }, ...options,
  });
  running.push(channels);
  return channels;
}

const send = async (channels: Channels, note: Note): ReturnType<Channels['ingest']> => await channels.ingest('notes', somePartner, noteBytes(note));
const rows = async (filter: object = {}): Promise<InboxRow[]> => await mongo.app.collection<InboxRow>('inbox').find(filter, { promoteBuffers: true, sort: { seq: 1 } }).toArray();
const idle = async (): Promise<void> => await until(async () => await mongo.app.collection<InboxRow>('inbox').countDocuments({ live: true }) === 0);

describe('taking messages', () => {
  test('a message is audited, kept sealed and stored once; its answer comes first', async () => {
    const channels = await start();
    const result = await send(channels, { id: 'c-1', keys: ['lane-secret'], n: 1, pad: 'Quillfeather' });
    expect(result.kind).toBe('accepted');
    expect(JSON.parse(result.ack.toString())).toMatchObject({ verdict: 'accepted', id: 'c-1' });
    expect(audit.events).toMatchObject([{ interaction: 'message-received', outcome: '0', messageId: result.messageId, controlId: 'c-1' }]);
    await idle();
    const [row] = await rows();
    expect(row).toMatchObject({ _id: result.messageId, state: 'stored', acknowledged: 'accepted' });
    const raw = JSON.stringify(row) + Object.values(row!).filter((value) => Buffer.isBuffer(value)).map((bytes) => bytes.toString('latin1')).join();
    for (const content of ['Quillfeather', 'c-1', 'lane-secret', 'General']) expect(raw).not.toContain(content);
    expect(await lanesOf(mongo.app)).toEqual(new Map([['lane-secret', [1]]]));
  });

  test('the same message again gets its stored answer and has no second effect, also while the first is in process', async () => {
    const sink = laneSink(mongo.app, async () => await new Promise((resolve) => setTimeout(resolve, 200)));
    const channels = await start({ sink });
    const note: Note = { id: 'c-2', keys: ['a'], n: 1 };
    const first = await send(channels, note);
    const again = await send(channels, note);
    await idle();
    const later = await send(channels, note);
    for (const repeated of [again, later]) {
      expect(repeated.kind).toBe('repeated');
      expect(repeated.messageId).toBe(first.messageId);
      expect(repeated.ack.equals(first.ack)).toBe(true);
    }
    expect((await lanesOf(mongo.app)).get('a')).toEqual([1]);
    expect(audit.events.map(({ interaction }) => interaction)).toEqual(['message-received', 'message-repeated', 'message-repeated']);
  });

  test('sent twenty times at once on two processes: one row, one effect, one answer', async () => {
    const [one, two] = [await start(), await start()];
    const note: Note = { id: 'c-3', keys: ['a'], n: 7 };
    const results = await Promise.all(Array.from({ length: 20 }, (_, index) => send(index % 2 === 0 ? one : two, note)));
    await idle();
    expect(results.filter(({ kind }) => kind === 'accepted')).toHaveLength(1);
    const accepted = results.find(({ kind }) => kind === 'accepted')!;
    for (const result of results) expect(result.ack.equals(accepted.ack)).toBe(true);
    expect(await rows()).toHaveLength(1);
    expect((await lanesOf(mongo.app)).get('a')).toEqual([7]);
  });

  test('a control id used again with another body is processed and flagged', async () => {
    const channels = await start();
    await send(channels, { id: 'c-4', keys: ['a'], n: 1 });
    const other = await send(channels, { id: 'c-4', keys: ['a'], n: 2 });
    const together = await Promise.all([send(channels, { id: 'c-5', keys: ['a'], n: 3 }), send(channels, { id: 'c-5', keys: ['a'], n: 4 })]);
    await idle();
    expect(other.kind).toBe('accepted');
    expect((await lanesOf(mongo.app)).get('a')).toEqual([1, 2, 3, 4]);
    expect((await rows()).map(({ flags }) => flags?.join())).toEqual([undefined, 'control-id-reused', undefined, 'control-id-reused']);
    expect(audit.events.filter(({ rule }) => rule === 'control-id-reused').map(({ messageId }) => messageId)).toEqual([other.messageId, together[1].messageId]);
  });

  test('what cannot be audited is not taken; the resend is', async () => {
    const channels = await start();
    audit.failing = true;
    const note: Note = { id: 'c-6', keys: ['a'], n: 1 };
    const refused = await send(channels, note);
    expect(refused.kind).toBe('busy');
    expect(JSON.parse(refused.ack.toString())).toMatchObject({ verdict: 'error', code: 'audit-unavailable', id: 'c-6' });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await rows()).toEqual([]);
    audit.failing = false;
    expect((await send(channels, note)).kind).toBe('accepted');
    await idle();
    expect((await lanesOf(mongo.app)).get('a')).toEqual([1]);
  });

  test('what cannot be read or mapped is refused at once, recorded, and kept for whoever runs the channel', async () => {
    const channels = await start();
    const malformed = await channels.ingest('notes', somePartner, Buffer.from('no note'));
    const unsupported = await send(channels, { id: 'c-7', keys: [], n: 1, type: 'unsupported' });
    const defect = await send(channels, { id: 'c-8', keys: [], n: 1, type: 'unmappable' });
    await send(channels, { id: 'c-8', keys: [], n: 1, type: 'unmappable' });
    expect([malformed, unsupported, defect].map(({ kind, ack }) => [kind, (JSON.parse(ack.toString()) as { verdict: string }).verdict])).toEqual([['refused', 'error'], ['refused', 'rejected'], ['refused', 'error']]);
    expect(audit.events.map(({ interaction, rule }) => [interaction, rule])).toEqual([['message-refused', 'message-malformed'], ['message-refused', 'message-unsupported'], ['message-refused', 'map-failed'], ['message-refused', 'map-failed']]);
    const dead = await channels.deadLetters.list('notes');
    expect(dead.map(({ failure, acknowledged, times }) => [failure?.code, acknowledged, times])).toEqual([['message-malformed', 'refused', 1], ['message-unsupported', 'refused', 1], ['map-failed', 'refused', 2]]);
    expect(await lanesOf(mongo.app)).toEqual(new Map());
    expect(await channels.deadLetters.replay(unsupported.messageId, 'operator:test')).toBe('still-refused');
  });

  test('beyond the backlog messages are refused as busy, and taken again when there is room', async () => {
    const channels = await start({ limits: { maxBacklog: 3, pollMs: 100 } });
    await channels.setPaused('notes', true, 'operator:test');
    const kinds: string[] = [];
    for (let n = 0; n < 5; n += 1) kinds.push((await send(channels, { id: `b-${n}`, keys: [], n })).kind);
    expect(kinds).toEqual(['accepted', 'accepted', 'accepted', 'busy', 'busy']);
    expect((await channels.status('notes'))[0]).toMatchObject({ paused: true, counts: { received: 3, stored: 0 } });
    await channels.setPaused('notes', false, 'operator:test');
    await idle();
    await until(async () => (await send(channels, { id: 'b-9', keys: [], n: 9 })).kind === 'accepted');
  });

  test('a purge removes content and keeps what tells a repetition, with its answer', async () => {
    const channels = await start();
    const note: Note = { id: 'c-9', keys: ['a'], n: 1 };
    const first = await send(channels, note);
    await idle();
    expect(await channels.purge(Date.now() + 1)).toBe(1);
    const [row] = await rows();
    expect([row?.body, row?.meta]).toEqual([undefined, undefined]);
    const again = await send(channels, note);
    expect([again.kind, again.ack.equals(first.ack)]).toEqual(['repeated', true]);
    expect((await lanesOf(mongo.app)).get('a')).toEqual([1]);
  });
});

describe('routing', () => {
  test('in order per key and once each, across keys, merges, two processes and random failures', async () => {
    const fails = (n: number, attempt: number): void => {
      if ((n * 7919 + attempt * 104_729) % 5 === 0) throw new SinkError('transient', 'unavailable', 'now and then');
    };
    const [one, two] = [await start({ sink: laneSink(mongo.app, fails) }), await start({ sink: laneSink(mongo.app, fails) })];
    const expected = new Map<string, number[]>();
    for (let n = 0; n < 300; n += 1) {
      const keys = n % 17 === 0 ? [`p${n % 10}`, `p${(n + 3) % 10}`] : [`p${(n * 31) % 10}`];
      for (const key of keys) expected.set(key, [...expected.get(key) ?? [], n]);
      expect((await send(n % 2 === 0 ? one : two, { id: `f-${n}`, keys, n })).kind).toBe('accepted');
    }
    await idle();
    expect(await lanesOf(mongo.app)).toEqual(expected);
    expect((await rows()).every(({ state }) => state === 'stored')).toBe(true);
  });

  test('a transient failure is tried again until it passes; later messages of the key wait, others go on', async () => {
    let down = true;
    const sink = laneSink(mongo.app, (n) => {
      if (n === 1 && down) throw new SinkError('transient', 'unavailable', 'down');
    });
    const channels = await start({ sink });
    for (const [n, key] of [[1, 'a'], [2, 'a'], [3, 'b']] as const) await send(channels, { id: `t-${n}`, keys: [key], n });
    await until(async () => (await lanesOf(mongo.app)).get('b')?.length === 1);
    await until(async () => (await rows({ state: 'mapped' })).some(({ failures }) => failures >= 2));
    expect((await lanesOf(mongo.app)).get('a')).toBeUndefined();
    down = false;
    await idle();
    expect((await lanesOf(mongo.app)).get('a')).toEqual([1, 2]);
  });

  test.each([['continue', [2]], ['holdKey', undefined]] as const)('a permanent failure becomes a dead letter: %s', async (deadLetters, laneMeanwhile) => {
    let bad = true;
    const sink = laneSink(mongo.app, (n) => {
      if (n === 1 && bad) throw new SinkError('permanent', 'business-rule', 'never');
    });
    const channels = await start({ sink, definitions: [{ ...definition, deadLetters }] });
    const poison = await send(channels, { id: 'd-1', keys: ['a'], n: 1 });
    await send(channels, { id: 'd-2', keys: ['a'], n: 2 });
    await send(channels, { id: 'd-3', keys: ['b'], n: 3 });
    await until(async () => (await lanesOf(mongo.app)).get('b')?.length === 1 && (await rows({ state: 'failed' })).length === 1);
    if (laneMeanwhile !== undefined) await until(async () => (await lanesOf(mongo.app)).has('a'));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect((await lanesOf(mongo.app)).get('a')).toEqual(laneMeanwhile);
    expect(audit.events.filter(({ interaction }) => interaction === 'message-failed')).toMatchObject([{ messageId: poison.messageId, outcome: '8', rule: 'record-refused' }]);
    expect(await channels.deadLetters.list('notes')).toMatchObject([{ messageId: poison.messageId, partner: 'General', messageType: 'note', holds: deadLetters === 'holdKey', failure: { code: 'record-refused', cause: 'business-rule' } }]);
    const shown = await channels.deadLetters.show(poison.messageId, 'operator:test');
    expect(shown?.body?.equals(noteBytes({ id: 'd-1', keys: ['a'], n: 1 }))).toBe(true);
    expect(audit.events.at(-1)).toMatchObject({ interaction: 'message-shown', actor: 'operator:test' });
    bad = false;
    expect(await channels.deadLetters.replayAll('notes', 'operator:test')).toBe(1);
    await idle();
    expect((await lanesOf(mongo.app)).get('a')).toEqual(deadLetters === 'holdKey' ? [1, 2] : [2, 1]);
    expect(await channels.deadLetters.replay(poison.messageId, 'operator:test')).toBe('not-failed');
  });

  test('a dismissed dead letter lets the messages behind it go on', async () => {
    const sink = laneSink(mongo.app, (n) => {
      if (n === 1) throw new SinkError('permanent', 'business-rule', 'never');
    });
    const channels = await start({ sink, definitions: [{ ...definition, deadLetters: 'holdKey' }] });
    const poison = await send(channels, { id: 'x-1', keys: ['a'], n: 1 });
    await send(channels, { id: 'x-2', keys: ['a'], n: 2 });
    await until(async () => (await rows({ state: 'failed' })).length === 1);
    expect(await channels.deadLetters.dismiss(poison.messageId, 'operator:test')).toBe(true);
    await idle();
    expect((await lanesOf(mongo.app)).get('a')).toEqual([2]);
  });

  test('a commit under a lost lease aborts whole, and the one who took over does it once', async () => {
    let release: (() => void) | undefined;
    const held = new Promise<void>((resolve) => release = resolve);
    const slow = laneSink(mongo.app, async () => await held);
    const one = await start({ sink: slow });
    await send(one, { id: 'l-1', keys: ['a'], n: 1 });
    await until(async () => (await rows({ lease: { $exists: true } })).length === 1);
    // As if the process had been paused for longer than its lease.
    await mongo.app.collection<InboxRow>('inbox').updateMany({}, { $set: { 'lease.until': new Date(0) } });
    const quick = laneSink(mongo.app);
    await start({ sink: quick });
    await until(() => quick.commits === 1);
    release!();
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect((await lanesOf(mongo.app)).get('a')).toEqual([1]);
    expect(slow.commits).toBe(0);
    expect(await rows()).toMatchObject([{ state: 'stored', fence: 2 }]);
  });

  test('what a vanished process had in hand is taken up when its lease ends', async () => {
    const never = laneSink(mongo.app, async (n) => {
      if (n % 3 === 0) await new Promise(() => undefined);
    });
    const gone = await start({ sink: never });
    for (let n = 0; n < 12; n += 1) await send(gone, { id: `k-${n}`, keys: [`p${n % 4}`], n });
    await until(async () => (await rows({ lease: { $exists: true } })).length > 0);
    // Stops its timers with work in hand, as a kill would: nothing is recorded about it.
    await gone.stop(0);
    running = [];
    await start();
    await idle();
    const lanes = await lanesOf(mongo.app);
    expect([...lanes.values()].flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, n) => n));
    for (const seen of lanes.values()) expect(seen).toEqual([...seen].sort((a, b) => a - b));
  });

  test('leases of slow work are renewed, so that nobody else takes it', async () => {
    const slow = laneSink(mongo.app, async () => await new Promise((resolve) => setTimeout(resolve, 2500)));
    const one = await start({ sink: slow });
    const other = laneSink(mongo.app);
    await send(one, { id: 's-1', keys: ['a'], n: 1 });
    await until(async () => (await rows({ lease: { $exists: true } })).length === 1);
    await start({ sink: other });
    await idle();
    expect([slow.commits, other.commits]).toEqual([1, 0]);
  });

  test('thousands of messages behind a held lane do not hold up the others, only what is tied to it', async () => {
    const sink = laneSink(mongo.app, (n) => {
      if (n === 0) throw new SinkError('permanent', 'business-rule', 'never');
    });
    const channels = await start({ sink, definitions: [{ ...definition, deadLetters: 'holdKey' }] });
    await send(channels, { id: 'h-0', keys: ['held'], n: 0 });
    await until(async () => (await rows({ state: 'failed' })).length === 1);
    await send(channels, { id: 'h-1', keys: ['held'], n: 1 });
    const [waiting] = await rows({ state: 'received' });
    await mongo.app.collection('inbox').insertMany(Array.from({ length: 4200 }, (_, index) => ({ ...waiting!, _id: `clone-${index}` as never, seq: waiting!.seq + 1 + index, dedup: Buffer.from(`clone-${index}`) })));
    await mongo.app.collection<{ _id: string; last: number }>('inbox_sequence').updateOne({ _id: 'inbox' }, { $max: { last: waiting!.seq + 5000 } });
    await send(channels, { id: 'h-2', keys: ['held', 'tied'], n: 2 });
    await send(channels, { id: 'h-3', keys: ['tied'], n: 3 });
    await send(channels, { id: 'h-4', keys: ['free'], n: 4 });
    await until(async () => (await lanesOf(mongo.app)).has('free'));
    expect(await lanesOf(mongo.app)).toEqual(new Map([['free', [4]]]));
  });

  test('an unforeseen error is tried a few times, then it is a dead letter', async () => {
    const channels = await start({ sink: laneSink(mongo.app, () => { throw new TypeError('a defect'); }) });
    await send(channels, { id: 'u-1', keys: ['a'], n: 1 });
    await until(async () => (await rows({ state: 'failed' })).length === 1);
    expect(await rows()).toMatchObject([{ failures: 5, failure: { code: 'unexpected', cause: 'TypeError' } }]);
    await channels.stop(1000);
  });
});
