import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { block } from '../../../channels/mllp/framing.ts';
import type { MllpLimits } from '../../../channels/mllp/server.ts';
import type { ChannelDefinitionInput } from '../../../channels/definition.ts';
import { Channels } from '../../../channels/run.ts';
import { silentLog } from '../../../server/observe/log.ts';
import { createAuthority, issueCertificate, type IssuedCertificate } from '../../../server/pki/certificate.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';
import { laneSink, lanesOf, memoryAudit, MllpClient, noteBytes, noteFormat, partnersBy, systemClock, testSeal, until, type Note } from '../../support/channels.ts';

const definition: ChannelDefinitionInput = { id: 'notes', door: 'mllp', format: 'note', zone: 'UTC', maxMessageBytes: 100_000 };
const authority = createAuthority({ commonName: 'Test CA', validDays: 10 });
const server = issueCertificate(authority, { commonName: 'localhost', usages: ['server'], hosts: ['localhost', '127.0.0.1'], validDays: 5 });
const client = issueCertificate(authority, { commonName: 'General', usages: ['client'], validDays: 5 });
const other = issueCertificate(authority, { commonName: 'Other', usages: ['client'], validDays: 5 });
const expired = issueCertificate(authority, { commonName: 'Old', usages: ['client'], validDays: -0.02 });
const foreign = issueCertificate(createAuthority({ commonName: 'Test CA', validDays: 10 }), { commonName: 'General', usages: ['client'], validDays: 5 });
const serverUse = issueCertificate(authority, { commonName: 'General', usages: ['server'], validDays: 5 });

let mongo: TestMongo;
let channels: Channels | undefined;
let audit: ReturnType<typeof memoryAudit>;
let partners: ReturnType<typeof partnersBy>;
const revoked = new Set<string>();
const seal = testSeal();
const hexOf = (certificate: IssuedCertificate): string => certificate.fingerprint.replaceAll(':', '').toLowerCase();

beforeAll(async () => {
  mongo = await testMongo();
});
afterAll(async () => {
  await mongo.drop();
});
beforeEach(async () => {
  revoked.clear();
  audit = memoryAudit();
  partners = partnersBy((fingerprint) => {
    if (revoked.has(fingerprint)) return 'revoked';
    const known = [client, other, expired, serverUse].find((certificate) => hexOf(certificate) === fingerprint);
    return known === undefined ? 'unknown' : { name: known === other ? 'Other' : 'General', fingerprint, address: '127.0.0.1' };
  });
  for (const name of ['inbox', 'test_lanes']) await mongo.app.collection(name).deleteMany({});
});
afterEach(async () => {
  await channels?.stop(3000);
  channels = undefined;
});

async function listen(limits: Partial<MllpLimits> = {}, sink = laneSink(mongo.app)): Promise<ConnectionOptions> {
  channels = await Channels.start({
    definitions: [definition], formats: { note: noteFormat }, connection: mongo.app, partners, seal, audit, sink, log: silentLog, clock: systemClock,
    listeners: { notes: { host: '127.0.0.1', port: 0 } }, tls: { key: server.keyPem, cert: server.certificatePem, ca: authority.certificatePem }, limits: { pollMs: 100, mllp: limits },
  });
  const { address } = (await channels.status())[0]!;
  expect(address?.host).toBe('127.0.0.1');
  return { host: '127.0.0.1', port: address!.port, ca: authority.certificatePem, key: client.keyPem, cert: client.certificatePem };
}

const note = (n: number, more: Partial<Note> = {}): Buffer => noteBytes({ id: `m-${n}`, keys: ['lane'], n, ...more });
const verdictOf = (answer: Buffer | undefined): unknown => (JSON.parse(answer?.toString() ?? '{}') as { verdict?: string }).verdict;
const idOf = (answer: Buffer | undefined): unknown => (JSON.parse(answer?.toString() ?? '{}') as { id?: string }).id;
const count = async (): Promise<number> => await mongo.app.collection('inbox').countDocuments();
const stored = async (n: number): Promise<void> => await until(async () => (await lanesOf(mongo.app)).get('lane')?.length === n, 30_000);

describe('MLLP over mutual TLS', () => {
  test('a message is answered after it is durable, however its bytes arrive', async () => {
    const options = await listen();
    const sender = await MllpClient.connect(options);
    expect(verdictOf(await sender.send(note(0)))).toBe('accepted');
    expect(await count()).toBe(1);
    for (const byte of block(note(1))) {
      sender.socket.write(Buffer.of(byte));
      if (Math.random() < 0.2) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(idOf(await sender.answer())).toBe('m-1');
    sender.socket.write(Buffer.concat([Buffer.from('noise\r\n'), block(note(2)).subarray(0, -1), block(note(3))]));
    expect([idOf(await sender.answer()), idOf(await sender.answer())]).toEqual(['m-2', 'm-3']);
    await stored(4);
    expect((await lanesOf(mongo.app)).get('lane')).toEqual([0, 1, 2, 3]);
    sender.socket.destroy();
  });

  test('1,000 pipelined on one connection: all answered and stored once, in order', async () => {
    const options = await listen();
    const sender = await MllpClient.connect(options);
    sender.socket.write(Buffer.concat(Array.from({ length: 1000 }, (_, n) => block(note(n, { keys: [`lane-${n % 50}`] })))));
    for (let n = 0; n < 1000; n += 1) expect(idOf(await sender.answer())).toBe(`m-${n}`);
    await until(async () => [...(await lanesOf(mongo.app)).values()].flat().length === 1000, 60_000);
    for (const [lane, seen] of await lanesOf(mongo.app)) expect(seen).toEqual(Array.from({ length: 20 }, (_, index) => index * 50 + Number(lane.slice(5))));
    sender.socket.destroy();
  }, 120_000);

  test('connections cut before the answer, then the message again: one effect each, answered every time', async () => {
    const options = await listen();
    for (let n = 0; n < 40; n += 1) {
      const cut = await MllpClient.connect(options);
      cut.socket.write(block(note(n)));
      // Sometimes before the server has read it, sometimes while it stores it, sometimes after it has answered.
      await new Promise((resolve) => setTimeout(resolve, (n % 8) * 5));
      cut.socket.destroy();
      const again = await MllpClient.connect(options);
      const [first, second] = [await again.send(note(n)), await again.send(note(n))];
      expect(verdictOf(first)).toBe('accepted');
      expect(second?.equals(first!)).toBe(true);
      again.socket.destroy();
    }
    await stored(40);
    expect((await lanesOf(mongo.app)).get('lane')).toEqual(Array.from({ length: 40 }, (_, n) => n));
    expect(await count()).toBe(40);
  }, 120_000);

  test('a sender that half-closes after its last message still gets the answer', async () => {
    const options = await listen();
    const sender = await MllpClient.connect({ ...options, allowHalfOpen: true } as ConnectionOptions);
    sender.socket.end(block(note(1)));
    expect(verdictOf(await sender.answer())).toBe('accepted');
    await sender.untilClosed();
  });

  test('too large a message is refused with an answer, and the connection ends', async () => {
    const options = await listen();
    const sender = await MllpClient.connect(options);
    sender.socket.write(Buffer.concat([Buffer.of(0x0b), noteBytes({ id: 'big', keys: [], n: 1 }), Buffer.alloc(3_000_000, 0x20)]));
    expect(verdictOf(await sender.answer())).toBe('rejected');
    await sender.untilClosed();
    expect(audit.events).toMatchObject([{ interaction: 'message-refused', rule: 'message-too-large' }]);
    expect((await lanesOf(mongo.app)).size).toBe(0);
  });

  test('a refused message leaves the connection open for the next', async () => {
    const options = await listen();
    const sender = await MllpClient.connect(options);
    expect(verdictOf(await sender.send(Buffer.from('garbage')))).toBe('error');
    expect(verdictOf(await sender.send(note(1, { type: 'unsupported' })))).toBe('rejected');
    expect(verdictOf(await sender.send(note(2)))).toBe('accepted');
    sender.socket.destroy();
  });

  test('who trickles or falls silent is cut off; others are not disturbed', async () => {
    const options = await listen({ blockTimeoutMs: 300, idleTimeoutMs: 600 });
    const trickling = await MllpClient.connect(options);
    const drip = setInterval(() => trickling.socket.write('x'), 50);
    trickling.socket.write(Buffer.of(0x0b));
    const idle = await MllpClient.connect(options);
    const startMs = Date.now();
    expect(verdictOf(await (await MllpClient.connect(options)).send(note(1)))).toBe('accepted');
    await trickling.untilClosed();
    clearInterval(drip);
    expect(Date.now() - startMs).toBeLessThan(5000);
    await idle.untilClosed();
    expect(await count()).toBe(1);
  });

  test('connections are bounded per partner and in total, and unfinished messages in memory', async () => {
    const options = await listen({ maxConnectionsPerPartner: 2, maxConnections: 4, maxHeldBytes: 100_000 });
    const [first, second, third] = [await MllpClient.connect(options), await MllpClient.connect(options), await MllpClient.connect(options)];
    await third.untilClosed();
    expect(verdictOf(await first.send(note(1)))).toBe('accepted');
    const otherPartner = await MllpClient.connect({ ...options, key: other.keyPem, cert: other.certificatePem });
    expect(verdictOf(await otherPartner.send(note(2)))).toBe('accepted');
    first.socket.write(Buffer.concat([Buffer.of(0x0b), Buffer.alloc(60_000, 0x41)]));
    await new Promise((resolve) => setTimeout(resolve, 200));
    second.socket.write(Buffer.concat([Buffer.of(0x0b), Buffer.alloc(60_000, 0x41)]));
    await second.untilClosed();
    first.socket.write(Buffer.of(0x1c, 0x0d));
    expect(verdictOf(await first.answer())).toBe('error');
    for (const sender of [first, otherPartner]) sender.socket.destroy();
  });

  test('a hundred slow connections are held while messages of others flow', async () => {
    const options = await listen({ maxConnectionsPerPartner: 200 });
    const slow = await Promise.all(Array.from({ length: 100 }, () => MllpClient.connect(options)));
    for (const sender of slow) sender.socket.write(Buffer.of(0x0b, 0x7b));
    const quick = await MllpClient.connect(options);
    for (let n = 0; n < 20; n += 1) expect(verdictOf(await quick.send(note(n)))).toBe('accepted');
    for (const sender of [...slow, quick]) sender.socket.destroy();
    await stored(20);
  });

  test('stopping finishes and answers what is under way, and closes idle connections', async () => {
    const options = await listen();
    const idle = await MllpClient.connect(options);
    const busy = await MllpClient.connect(options);
    expect(verdictOf(await busy.send(note(0)))).toBe('accepted');
    // Holds the audit up, so that the message is under way when the stop comes.
    const record = audit.record.bind(audit);
    audit.record = async (event) => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      await record(event);
    };
    busy.socket.write(block(note(1)));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const stopping = channels!.stop(5000);
    expect(verdictOf(await busy.answer())).toBe('accepted');
    await Promise.all([stopping, idle.untilClosed(), busy.untilClosed()]);
    await expect(MllpClient.connect(options)).rejects.toThrow();
    channels = undefined;
    expect(await count()).toBe(2);
  });
});

describe('who may connect', () => {
  /** Sends a message as somebody who should not be heard; tells whether a single byte came back. */
  async function attempt(options: ConnectionOptions): Promise<number> {
    let received = 0;
    const socket = connectTls({ servername: 'localhost', ...options });
    socket.on('data', (chunk: Buffer) => received += chunk.length);
    socket.on('error', () => undefined);
    socket.on('secureConnect', () => socket.write(block(note(99))));
    await new Promise<void>((resolve) => socket.on('close', () => resolve()));
    return received;
  }

  test.each([
    ['no certificate', { key: undefined, cert: undefined }],
    ['a certificate of another authority', { key: foreign.keyPem, cert: foreign.certificatePem }],
    ['an expired certificate', { key: expired.keyPem, cert: expired.certificatePem }],
    ['a certificate that is for servers', { key: serverUse.keyPem, cert: serverUse.certificatePem }],
    ['TLS 1.1', { maxVersion: 'TLSv1.1' as const, minVersion: 'TLSv1' as const, ciphers: 'ALL@SECLEVEL=0' }],
  ])('%s: refused, nothing read, recorded', async (_name, credentials) => {
    const options = await listen();
    expect(await attempt({ ...options, ...credentials })).toBe(0);
    expect(await attempt({ ...options, ...credentials })).toBe(0);
    expect(partners.asked).toBe(0);
    await channels!.stop(1000);
    channels = undefined;
    expect(await count()).toBe(0);
    expect(audit.events).toMatchObject([{ interaction: 'connection-refused', outcome: '8', rule: 'certificate', address: '127.0.0.1', count: 2 }]);
  });

  test('plain TCP is refused', async () => {
    const options = await listen();
    const socket = connectTcp({ host: '127.0.0.1', port: options.port! });
    socket.on('error', () => undefined);
    socket.write(block(note(1)));
    await new Promise<void>((resolve) => socket.on('close', () => resolve()));
    expect(await count()).toBe(0);
  });

  test('a partner who is not admitted: nothing read', async () => {
    const options = await listen();
    revoked.add(hexOf(client));
    expect(await attempt(options)).toBe(0);
    expect([partners.asked, await count()]).toEqual([1, 0]);
  });

  test('a certificate revoked during a connection: the next message is not taken', async () => {
    const options = await listen();
    const sender = await MllpClient.connect(options);
    expect(verdictOf(await sender.send(note(1)))).toBe('accepted');
    revoked.add(hexOf(client));
    expect(await sender.send(note(2))).toBeUndefined();
    expect(await count()).toBe(1);
  });
});
