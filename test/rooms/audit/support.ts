import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AuditRecord, AuditTrail } from '../../../server/audit/record.ts';
import { Keyring } from '../../../server/kms/keyring.ts';
import { LocalKeyProvider } from '../../../server/kms/local-provider.ts';
import type { KeyStore, WrappedKey } from '../../../server/kms/provider.ts';

export const tenant = 'main';
export const site = { baseUrl: 'https://interlock.example/fhir/R4', site: 'Example Hospital' };

/** A keyring on a real local key provider, its wrapped keys kept in memory. */
export async function testKeyring(): Promise<{ keyring: Keyring; keysDir: string; close(): void }> {
  const keysDir = mkdtempSync(join(tmpdir(), 'interlock-keys-'));
  const stored = new Map<string, WrappedKey>();
  const store: KeyStore = {
    list: async () => [...stored.values()],
    get: async (id) => stored.get(id),
    putIfAbsent: async (key) => {
      if (!stored.has(key._id)) stored.set(key._id, key);
      return stored.get(key._id)!;
    },
  };
  const keyring = await Keyring.open({ provider: LocalKeyProvider.open(keysDir, true), store });
  return {
    keyring, keysDir,
    close() {
      keyring.close();
      rmSync(keysDir, { recursive: true });
    },
  };
}

let serial = 0;

/** A read of an Observation by a physician through an app, changed as wanted. */
export function recordOf(changes: Partial<AuditRecord> = {}): AuditRecord {
  serial += 1;
  return {
    at: Date.now(),
    kind: 'rest',
    interaction: 'read',
    action: 'R',
    outcome: '0',
    requestId: `request-${serial}`,
    actor: { kind: 'user', id: 'user-1', display: 'Dr. Example', role: 'physician', fhirUser: 'Practitioner/p1', clientId: 'app-1', clientName: 'Chart App', address: '192.0.2.10' },
    purposeOfUse: ['TREAT'],
    entities: [{ type: 'Observation', id: `o${serial}`, versionId: 1, patients: ['pat-1'] }],
    patients: ['pat-1'],
    ...changes,
  };
}

/** Records of many kinds, one after the other. */
export async function fill(trail: AuditTrail, count: number, changes: (index: number) => Partial<AuditRecord> = () => ({})): Promise<void> {
  for (let i = 0; i < count; i += 1) await trail.record(recordOf(changes(i)));
}
