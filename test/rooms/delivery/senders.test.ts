import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { formatSyslog, parseAddress, sendSyslog } from '../../../server/delivery/syslog.ts';
import { webhookSecretFile, webhookTarget } from '../../../server/delivery/webhook.ts';
import { closeReceivers, distrusting, httpsReceiver, showing, syslogReceiver, trusting, type HttpsReceiver, type SyslogReceiver } from './receivers.ts';

const unstopped = new AbortController().signal;

describe('syslog over TLS', () => {
  let receiver: SyslogReceiver;
  beforeAll(async () => void (receiver = await syslogReceiver()));
  afterAll(closeReceivers);
  afterEach(() => {
    receiver.messages.length = 0;
    receiver.cutAfter = undefined;
  });
  const address = (): string => `localhost:${receiver.port}`;

  test('messages have the form of RFC 5424 and are counted in octets', async () => {
    const text = formatSyslog({ facility: 10, severity: 5, atMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6), msgId: 'ALERT', text: 'Grüße 😀\nsecond line' });
    await sendSyslog({ address: address(), tls: trusting }, [text, 'x', text]);
    expect(receiver.messages).toEqual([text, 'x', text]);
    expect(text).toMatch(/^<85>1 2026-01-02T03:04:05\.006Z [\x21-\x7e]{1,255} Interlock \d+ ALERT - \uFEFFGrüße 😀\nsecond line$/);
  });

  test('thousands of messages arrive in their order', async () => {
    const messages = Array.from({ length: 5_000 }, (_, index) => `message ${index} ${'é'.repeat(index % 300)}`);
    await sendSyslog({ address: address(), tls: trusting }, messages);
    expect(receiver.messages).toEqual(messages);
  });

  test.each([[2, 1], [10, 5], [200, 199], [5_000, 1_000], [20_000, 3]])('a connection that is cut before everything is read is a failure: %i messages, %i read', async (count, read) => {
    receiver.cutAfter = read;
    await expect(sendSyslog({ address: address(), tls: trusting }, Array.from({ length: count }, (_, index) => `message ${index} ${'x'.repeat(500)}`))).rejects.toMatchObject({ code: 'unavailable' });
    expect(receiver.messages).toHaveLength(read);
  });

  test.each([['TLSv1.2', false, 1], ['TLSv1.3', false, 1], ['TLSv1.2', true, 2], ['TLSv1.3', true, 2]] as const)('%s, receiver without close_notify: %j', async (version, silent, connections) => {
    const other = await syslogReceiver({ version, silent });
    const messages = Array.from({ length: 100 }, (_, index) => `message ${index}`);
    await sendSyslog({ address: `localhost:${other.port}`, tls: trusting }, messages);
    expect(other.messages).toEqual(messages);
    // What the end of the first means is found out by a second, which is empty.
    expect(other.clients).toHaveLength(connections);
    other.cutAfter = 150;
    const cut = sendSyslog({ address: `localhost:${other.port}`, tls: trusting }, messages);
    if (!silent) await expect(cut).rejects.toMatchObject({ code: 'unavailable' });
    else await cut.catch(() => undefined);
    expect(other.messages).toHaveLength(150);
  });

  test('a certificate of an unknown authority, or for another name, is not accepted, and nothing is sent', async () => {
    await expect(sendSyslog({ address: address(), tls: distrusting }, ['secret'])).rejects.toMatchObject({ code: 'unavailable' });
    await expect(sendSyslog({ address: `127.0.0.2:${receiver.port}`, tls: trusting }, ['secret'])).rejects.toMatchObject({ code: 'unavailable' });
    expect(receiver.messages).toEqual([]);
  });

  test('a receiver that says nothing is given up in time', async () => {
    const signal = AbortSignal.timeout(200);
    await expect(sendSyslog({ address: '192.0.2.1:6514', tls: trusting }, ['x'], signal)).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('a client certificate is shown where one is asked for', async () => {
    const strict = await syslogReceiver({ clientCertificates: true });
    const client = showing();
    await expect(sendSyslog({ address: `localhost:${strict.port}`, tls: trusting }, ['x'])).rejects.toMatchObject({ code: 'unavailable' });
    await sendSyslog({ address: `localhost:${strict.port}`, tls: client.tls }, ['y']);
    expect(strict.messages).toEqual(['y']);
    expect(strict.clients).toEqual(['interlock']);
    client.remove();
    await strict.close();
  });

  test.each(['', 'host', 'host:0', 'host:65536', 'ho st:1', 'host:1:2', '[::1]', '::1:6514'])('%j is no address', (bad) => {
    expect(() => parseAddress(bad)).toThrow(/host:port/);
  });

  test('IPv6 addresses stand in brackets', () => {
    expect(parseAddress('[::1]:6514')).toEqual({ host: '::1', port: 6514 });
  });
});

describe('webhook', () => {
  let receiver: HttpsReceiver;
  const keysDir = mkdtempSync(join(tmpdir(), 'interlock-keys-'));
  beforeAll(async () => void (receiver = await httpsReceiver()));
  afterAll(async () => {
    await closeReceivers();
    rmSync(keysDir, { recursive: true });
  });
  const target = (tls = trusting) => webhookTarget({ url: `https://localhost:${receiver.port}/hook?tenant=1`, keysDir, tls, nowMs: () => 1_767_323_045_678 });

  test('posts are signed with the secret of the keys directory', async () => {
    await target().send({ id: 'webhook:1', body: '{"type":"test"}' }, unstopped);
    const { path, headers, body } = receiver.requests.at(-1)!;
    const secret = readFileSync(join(keysDir, webhookSecretFile), 'utf8').trim();
    expect(secret).toMatch(/^[\w-]{43}$/);
    expect(statSync(join(keysDir, webhookSecretFile)).mode & 0o077).toBe(0);
    const expected = createHmac('sha256', secret).update(`1767323045.${body}`).digest('hex');
    expect({ path, body, type: headers['content-type'], delivery: headers['interlock-delivery'], signature: headers['interlock-signature'] }).toEqual({ path: '/hook?tenant=1', body: '{"type":"test"}', type: 'application/json', delivery: 'webhook:1', signature: `t=1767323045,v1=${expected}` });
  });

  test.each([301, 302, 307, 308])('%i is not followed', async (status) => {
    const before = receiver.requests.length;
    receiver.answer = () => ({ status, headers: { Location: `https://localhost:${receiver.port}/elsewhere` } });
    await expect(target().send({ id: '1', body: '{}' }, unstopped)).rejects.toMatchObject({ code: 'unavailable' });
    expect(receiver.requests.slice(before).map(({ path }) => path)).toEqual(['/hook?tenant=1']);
  });

  test('anything but 2xx, and a certificate of an unknown authority, is a failure', async () => {
    receiver.answer = () => ({ status: 500 });
    await expect(target().send({ id: '1', body: '{}' }, unstopped)).rejects.toMatchObject({ code: 'unavailable' });
    const before = receiver.requests.length;
    await expect(target(distrusting).send({ id: '1', body: '{}' }, unstopped)).rejects.toMatchObject({ code: 'unavailable' });
    expect(receiver.requests).toHaveLength(before);
  });

  test('plain HTTP is refused', async () => {
    await expect(webhookTarget({ url: 'http://localhost/hook', keysDir, tls: trusting, nowMs: Date.now }).send({ id: '1', body: '{}' }, unstopped)).rejects.toMatchObject({ code: 'config-invalid' });
  });
});
