import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AuditRecord } from '../../../server/audit/record.ts';
import { Keyring } from '../../../server/kms/keyring.ts';
import { LocalKeyProvider } from '../../../server/kms/local-provider.ts';
import type { WrappedKey } from '../../../server/kms/provider.ts';
import { PartnerRegistry } from '../../../server/partners/registry.ts';
import { testMongo, type TestMongo } from '../../support/mongo.ts';

const today = Date.parse('2024-06-15T12:00:00Z');
const fingerprint = (byte: string): string => byte.repeat(32);

let mongo: TestMongo;
let keyring: Keyring;
let keysDir: string;
let nowMs: number;
let refusals: AuditRecord[];
const revokedSerials = new Set<string>();

beforeAll(async () => {
  mongo = await testMongo();
  keysDir = mkdtempSync(join(tmpdir(), 'interlock-partners-'));
  const keys = new Map<string, WrappedKey>();
  keyring = await Keyring.open({
    provider: LocalKeyProvider.open(keysDir, true),
    store: {
      list: async () => [...keys.values()],
      get: async (id) => keys.get(id),
      putIfAbsent: async (key) => {
        if (!keys.has(key._id)) keys.set(key._id, key);
        return keys.get(key._id)!;
      },
    },
  });
});
afterAll(async () => {
  keyring.close();
  rmSync(keysDir, { recursive: true, force: true });
  await mongo.drop();
});
beforeEach(async () => {
  nowMs = today;
  refusals = [];
  revokedSerials.clear();
  await mongo.app.collection('partners').deleteMany({});
});

function registry(options: { cacheMs?: number } = {}): PartnerRegistry {
  return new PartnerRegistry({ connection: mongo.app, keyring, audit: async (record) => void refusals.push(record), nowMs: () => nowMs, isRevoked: (serial) => revokedSerials.has(serial), ...options });
}

async function general(partners: PartnerRegistry): Promise<void> {
  await partners.add({ name: 'General Hospital', baaExpires: '2024-06-30', channels: ['hl7v2'] });
  await partners.bindCertificate('General Hospital', { fingerprint: fingerprint('AB:').slice(0, -1), serial: '4A01', notAfter: new Date('2024-12-31T00:00:00Z') });
}

const admit = async (partners: PartnerRegistry, channel = 'hl7v2', print = fingerprint('ab')): Promise<string> => {
  const result = await partners.admit(print, channel, '192.0.2.7');
  return 'partner' in result ? result.partner.name : result.refused;
};

describe('partners', () => {
  test('a partner with a bound certificate and a valid agreement is admitted to its channels', async () => {
    const partners = registry();
    await general(partners);
    expect(await partners.admit(fingerprint('ab'), 'hl7v2', '192.0.2.7')).toEqual({ partner: { name: 'General Hospital', fingerprint: fingerprint('ab'), address: '192.0.2.7' } });
    expect(refusals).toEqual([]);
  });

  test.each([
    ['unknown', async () => undefined, 'hl7v2', fingerprint('cd'), 'anonymous'],
    ['channel-not-permitted', async () => undefined, 'fax', fingerprint('ab'), 'partner'],
    ['disabled', async (partners: PartnerRegistry): Promise<unknown> => await partners.disable('general hospital'), 'hl7v2', fingerprint('ab'), 'partner'],
    ['revoked', async (partners: PartnerRegistry): Promise<unknown> => await partners.revokeCertificate('General Hospital', '4A01'), 'hl7v2', fingerprint('ab'), 'partner'],
    ['revoked', async (): Promise<unknown> => revokedSerials.add('4A01'), 'hl7v2', fingerprint('ab'), 'partner'],
    ['certificate-expired', async (partners: PartnerRegistry) => {
      await partners.renewBaa('General Hospital', '2030-01-01');
      nowMs = Date.parse('2024-12-31T00:00:00Z');
    }, 'hl7v2', fingerprint('ab'), 'partner'],
    ['baa-expired', async () => {
      nowMs = Date.parse('2024-07-01T00:00:00Z');
    }, 'hl7v2', fingerprint('ab'), 'partner'],
  ] as const)('refused and recorded: %s', async (why, change, channel, print, actor) => {
    const partners = registry();
    await general(partners);
    expect(await admit(partners)).toBe('General Hospital');
    await change(partners);
    nowMs += 3000;
    expect(await admit(partners, channel, print)).toBe(why);
    expect(refusals).toMatchObject([{ kind: 'channel', interaction: 'connection-refused', outcome: '8', error: 'forbidden', rule: `partner: ${why}`, actor: { kind: actor, address: '192.0.2.7' }, channel: { id: channel } }]);
  });

  test('the last day of an agreement still counts', async () => {
    const partners = registry();
    await general(partners);
    nowMs = Date.parse('2024-06-30T23:59:59Z');
    expect(await admit(partners)).toBe('General Hospital');
  });

  test('a change acts at once here, and on other processes as soon as their cache ends', async () => {
    const [here, there] = [registry(), registry({ cacheMs: 1000 })];
    await general(here);
    expect([await admit(here), await admit(there)]).toEqual(['General Hospital', 'General Hospital']);
    await here.disable('General Hospital');
    expect(await admit(here)).toBe('disabled');
    nowMs += 1001;
    expect(await admit(there)).toBe('disabled');
    await here.enable('General Hospital');
    expect(await admit(here)).toBe('General Hospital');
  });

  test('a name is taken once, whatever its case; a certificate belongs to one partner; dates are days', async () => {
    const partners = registry();
    await general(partners);
    await expect(partners.add({ name: 'GENERAL hospital', baaExpires: '2024-06-30', channels: [] })).rejects.toMatchObject({ code: 'version-conflict' });
    await partners.add({ name: 'Other', baaExpires: '2024-06-30', channels: ['hl7v2'] });
    await expect(partners.bindCertificate('Other', { fingerprint: fingerprint('ab'), serial: '4A02', notAfter: new Date(today) })).rejects.toMatchObject({ code: 'version-conflict' });
    for (const day of ['2024-02-30', '30.06.2024', '2024-6-1', '']) await expect(partners.renewBaa('Other', day)).rejects.toMatchObject({ code: 'request-invalid' });
    await expect(partners.add({ name: '../etc', baaExpires: '2024-06-30', channels: [] })).rejects.toMatchObject({ code: 'request-invalid' });
    await expect(partners.disable('Nobody')).rejects.toMatchObject({ code: 'not-found' });
    expect((await partners.list()).map(({ name }) => name)).toEqual(['General Hospital', 'Other']);
  });

  test('changes at the same time are all kept', async () => {
    const partners = registry();
    await general(partners);
    await Promise.all(['01', '02', '03'].map((byte) => partners.bindCertificate('General Hospital', { fingerprint: fingerprint(byte), serial: `4B${byte}`, notAfter: new Date('2024-12-31T00:00:00Z') })));
    expect((await partners.get('General Hospital'))?.certificates.map(({ serial }) => serial).sort()).toEqual(['4A01', '4B01', '4B02', '4B03']);
  });

  test('nothing readable is stored, and an older state put back does not open', async () => {
    const partners = registry();
    await general(partners);
    const before = await mongo.app.collection('partners').findOne({});
    await partners.disable('General Hospital');
    const raw = JSON.stringify(await mongo.app.collection('partners').find({}).toArray()) + Buffer.from(before!['sealed'].buffer).toString('latin1');
    for (const content of ['General', '2024-06-30', fingerprint('ab'), 'hl7v2']) expect(raw).not.toContain(content);
    await mongo.app.collection('partners').updateOne({}, { $set: { sealed: before!['sealed'] } });
    await expect(partners.get('General Hospital')).rejects.toMatchObject({ code: 'integrity-failure' });
  });
});
