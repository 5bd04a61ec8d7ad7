import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { KeySets } from '../../../server/auth/key-sets.ts';
import { assertion, backendToken, clientKey, startAuth, type TestAuth } from './support.ts';

let server: TestAuth;
let keys: https.Server;
let url: string;
let requests = 0;
let answer: { status: number; headers?: Record<string, string>; body: string };

beforeAll(async () => {
  const first = await startAuth();
  keys = https.createServer(first.pki.tlsOptions('none'), (_request, response) => {
    requests += 1;
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  await new Promise<void>((resolve) => keys.listen(0, '127.0.0.1', resolve));
  url = `https://localhost:${(keys.address() as AddressInfo).port}/jwks.json`;
  server = await startAuth({ keySets: { allowedHosts: ['localhost'], ca: [first.caPem] } });
  closeFirst = () => first.close();
});
let closeFirst: () => Promise<void>;
afterAll(async () => {
  keys.closeAllConnections();
  await new Promise((resolve) => keys.close(resolve));
  await server.close();
  await closeFirst();
});

const published = (set: unknown, headers: Record<string, string> = {}): void => {
  answer = { status: 200, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(set) };
};

test('keys are rotated by publishing others: new ones count at once, withdrawn ones no more once the set is too old', async () => {
  const [old, next] = [await clientKey(), await clientKey()];
  published(old.jwks, { 'cache-control': 'max-age=300' });
  const { clientId } = await server.auth.clients.addClient({ name: 'Published', type: 'jwks', scope: 'system/*.rs', jwksUri: url });
  const status = async (key: typeof old): Promise<number> => (await backendToken(server, await assertion(server, clientId, key))).status;
  requests = 0;
  expect([await status(old), await status(old), requests]).toEqual([200, 200, 1]);
  published(next.jwks, { 'cache-control': 'max-age=99999999' });
  // Too soon for a further fetch, whatever key id is named.
  expect([await status(next), requests]).toEqual([401, 1]);
  server.clock.offsetMs += 11_000;
  expect([await status(next), requests]).toEqual([200, 2]);
  expect([await status(old), requests]).toEqual([401, 2]);
  // One hour is the most that a set is held.
  published(old.jwks);
  server.clock.offsetMs += 3_601_000;
  expect([await status(old), await status(next), requests]).toEqual([200, 401, 3]);
  // While it cannot be had, what is held counts until it is too old.
  answer = { status: 500, body: '' };
  server.clock.offsetMs += 30_000;
  expect(await status(old)).toBe(200);
  server.clock.offsetMs += 31_000;
  expect(await status(old)).toBe(401);
});

test('what is not a small key set from there is refused', async () => {
  const sets = new KeySets({ allowedHosts: ['localhost'], ca: [server.caPem], nowMs: () => Date.now() });
  const trusting = new KeySets({ allowedHosts: ['localhost'], ca: [], nowMs: () => Date.now() });
  const refused = async (path: string, from = sets): Promise<unknown> => from.keysFor(`${url}?${path}`, undefined).then(() => 'accepted', (error: unknown) => (error as { code: string }).code);
  published({ keys: [] });
  // The key server's certificate is of another authority than this server's.
  expect(await refused('untrusted', trusting)).toBe('unavailable');
  answer = { status: 302, headers: { location: 'https://169.254.169.254/' }, body: '' };
  expect(await refused('redirect')).toBe('unavailable');
  published({ keys: [], padding: 'x'.repeat(70_000) });
  expect(await refused('large')).toBe('unavailable');
  published([]);
  expect(await refused('no-set')).toBe('unavailable');
});

test.each(['http://keys.example/jwks', 'https://10.0.0.1/jwks', 'https://127.0.0.1/jwks', 'https://[::1]/jwks', 'https://[::ffff:10.0.0.1]/jwks', 'https://[fd00::1]/jwks', 'https://169.254.169.254/', 'https://2130706433/', 'https://0x7f.1/', 'https://localhost/', 'https://printer/', 'https://db.internal/', 'https://user@keys.example/', 'https://keys.example/#x', 'file:///etc/passwd', 'nonsense'])('no key set is fetched from %s', (text) => {
  expect(() => new KeySets({ nowMs: Date.now }).assertUrl(text)).toThrow(/key set URL/);
});
