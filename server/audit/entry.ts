import { randomFillSync } from 'node:crypto';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { AuditRecord, PreparedEntry } from './record.ts';

/** Bytes of an entry id. */
export const idBytes = 16;

/** Largest record as JSON. A search that discloses 1,000 resources has about 100 kB. */
const maxRecordBytes = 4 * 2 ** 20;
/** Records are padded to a multiple of this, so that their size says little about what is in them. */
const paddingBytes = 64;

const randomPool = Buffer.alloc(10 * 512);
let randomOffset = randomPool.length;

/**
 * A new entry id in the form of a UUID version 7 (RFC 9562, section 5.7): 48 bits of the event's time, then random bits.
 * So the order of ids is the order of events.
 */
export function newEntryId(atMs: number): Buffer {
  if (randomOffset === randomPool.length) {
    randomFillSync(randomPool);
    randomOffset = 0;
  }
  const id = Buffer.alloc(idBytes);
  id.writeUIntBE(Math.min(Math.max(Math.trunc(atMs), 0), 2 ** 48 - 1), 0, 6);
  randomPool.copy(id, 6, randomOffset, randomOffset + 10);
  randomOffset += 10;
  id[6] = (id[6]! & 0x0f) | 0x70;
  id[8] = (id[8]! & 0x3f) | 0x80;
  return id;
}

/** Time of an entry's event, from its id; milliseconds since 1970. */
export function timeOfId(id: Buffer): number {
  return id.readUIntBE(0, 6);
}

/** Smallest possible id of that time. */
export function firstIdOf(atMs: number): Buffer {
  const id = Buffer.alloc(idBytes);
  id.writeUIntBE(Math.min(Math.max(Math.trunc(atMs), 0), 2 ** 48 - 1), 0, 6);
  return id;
}

/** Seals a record under a fresh id. */
export function sealEntry(keyring: Keyring, tenant: string, record: AuditRecord): PreparedEntry {
  const id = newEntryId(record.at);
  const json = Buffer.from(JSON.stringify(record));
  if (json.length > maxRecordBytes) throw new InterlockError('too-large', { detail: 'One audit entry cannot name so many resources.' });
  const padded = Buffer.alloc(Math.ceil(json.length / paddingBytes) * paddingBytes, 0x20);
  json.copy(padded);
  return { id, sealed: Buffer.concat([id, keyring.sealBlob('audit', padded, aadOf(id), tenant)]) };
}

/**
 * Opens a sealed record.
 * @param body the sealed bytes without the leading id
 * @throws InterlockError `integrity-failure` when it was altered or belongs to another id; `key-missing` when its key is gone
 */
export async function openEntry(keyring: Keyring, tenant: string, id: Buffer, body: Buffer): Promise<AuditRecord> {
  const json = await keyring.openBlob('audit', body, aadOf(id), tenant);
  // GCM vouches for the bytes: they are what sealEntry wrote.
  return JSON.parse(json.toString()) as AuditRecord;
}

function aadOf(id: Buffer): string {
  return `entry|${id.toString('hex')}`;
}
