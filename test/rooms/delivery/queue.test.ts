import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { DeliveryQueue, type DeliveryOptions, type Target } from '../../../server/delivery/queue.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';
import { testKeyring } from '../audit/support.ts';
import { until } from './receivers.ts';

let mongo: TestMongo;
let keys: Awaited<ReturnType<typeof testKeyring>>;
let serial = 0;

beforeAll(async () => {
  [mongo, keys] = await Promise.all([testMongo(), testKeyring()]);
});
afterAll(async () => {
  await mongo.drop();
  keys.close();
});

/** A target that can be made to fail. */
class Sink implements Target {
  readonly name = `target-${(serial += 1)}`;
  readonly got: { id: string; body: string }[] = [];
  failing = false;
  attempts = 0;
  async send(notice: { id: string; body: string }): Promise<void> {
    this.attempts += 1;
    if (this.failing) throw new Error('not now');
    this.got.push(notice);
  }
}

const openQueue = (targets: readonly Target[], more: Partial<DeliveryOptions> = {}) => DeliveryQueue.open({ app: mongo.app, keyring: keys.keyring, log: silentLog, targets, nowMs: Date.now, firstRetryMs: 20, maxRetryMs: 100, ...more });
const bodies = ({ got }: Sink) => got.map(({ body }) => body);

test('notices come in their order, through a failure and a restart, each once', async () => {
  const sink = new Sink();
  sink.failing = true;
  const first = await openQueue([sink]);
  const wanted = Array.from({ length: 120 }, (_, index) => `notice ${index}`);
  for (const body of wanted.slice(0, 60)) await first.enqueue(sink.name, body);
  await until(() => sink.attempts > 2);
  expect(await first.status()).toMatchObject([{ target: sink.name, waiting: 60 }]);
  await first.close();
  const second = await openQueue([sink]);
  for (const body of wanted.slice(60)) await second.enqueue(sink.name, body);
  expect(sink.got).toEqual([]);
  sink.failing = false;
  await until(() => sink.got.length >= wanted.length);
  expect(bodies(sink)).toEqual(wanted);
  expect(new Set(sink.got.map(({ id }) => id)).size).toBe(wanted.length);
  await until(async () => (await second.status())[0]!.waiting === 0);
  await second.close();
  expect(await mongo.app.collection('deliveries').countDocuments({ target: sink.name })).toBe(0);
});

test('a failing target does not hold up another', async () => {
  const [bad, good] = [new Sink(), new Sink()];
  bad.failing = true;
  const queue = await openQueue([bad, good]);
  await queue.enqueue(bad.name, 'a');
  await queue.enqueue(good.name, 'b');
  await until(() => good.got.length === 1);
  expect(bad.got).toEqual([]);
  await queue.close();
});

test('what is too old is given up and told of', async () => {
  const sink = new Sink();
  sink.failing = true;
  let nowMs = Date.now();
  const dead: [string, number][] = [];
  const queue = await openQueue([sink], { nowMs: () => nowMs, maxAgeMs: 60_000, onDead: (target, count) => void dead.push([target, count]) });
  await queue.enqueue(sink.name, 'old 1');
  await queue.enqueue(sink.name, 'old 2');
  await until(() => sink.attempts > 0);
  expect(dead).toEqual([]);
  nowMs += 61_000;
  await until(() => dead.length > 0);
  expect(dead).toEqual([[sink.name, 2]]);
  sink.failing = false;
  await queue.enqueue(sink.name, 'new');
  await until(() => sink.got.length === 1);
  expect(bodies(sink)).toEqual(['new']);
  await queue.close();
  expect(await mongo.app.collection('deliveries').countDocuments({ target: sink.name, state: 'dead' })).toBe(2);
});

test('pauses grow', async () => {
  const sink = new Sink();
  sink.failing = true;
  const queue = await openQueue([sink], { firstRetryMs: 50, maxRetryMs: 10_000 });
  await queue.enqueue(sink.name, 'a');
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  await queue.close();
  // 50, 100, 200, 400, 800: with jitter at least half of each.
  expect(sink.attempts).toBeGreaterThan(2);
  expect(sink.attempts).toBeLessThan(8);
});

test('the queue is bounded', async () => {
  const sink = new Sink();
  sink.failing = true;
  const queue = await openQueue([sink], { maxWaiting: 3 });
  for (let index = 0; index < 3; index += 1) await queue.enqueue(sink.name, 'x');
  await expect(queue.enqueue(sink.name, 'x')).rejects.toMatchObject({ code: 'unavailable' });
  await expect(queue.enqueue('nowhere', 'x')).rejects.toMatchObject({ code: 'not-found' });
  await queue.close();
});

test('what waits is sealed', async () => {
  const sink = new Sink();
  sink.failing = true;
  const queue = await openQueue([sink]);
  await queue.enqueue(sink.name, 'a telling body');
  await queue.close();
  const row = await mongo.app.collection('deliveries').findOne({ target: sink.name }, { promoteBuffers: true });
  expect(Object.keys(row!).sort()).toEqual(['_id', 'at', 'sealed', 'state', 'target']);
  expect((row!['sealed'] as Buffer).toString('latin1')).not.toContain('telling');
});
