import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Log } from '../observe/log.ts';
import { streamPattern, type Block, type BlockEntry, type Head } from './block.ts';
import { idBytes, openEntry, sealEntry } from './entry.ts';
import { readHeads } from './heads.ts';
import type { AuditRecord, AuditTrail, PreparedEntry } from './record.ts';
import { Tokens } from './tokens.ts';
import { BlockWriter, type FlushOptions } from './writer.ts';

/** Collection of the audit database that holds the blocks. */
export const auditCollection = 'audit';

export interface AuditTrailOptions {
  /** Connection as the audit writer, who may only insert and find. */
  readonly audit: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  /** Name of this process's lease and of the stream that it writes; never used before. */
  readonly epochId: string;
  readonly log: Log;
  readonly nowMs?: () => number;
  readonly flush?: FlushOptions;
  /** Told how many entries became durable. */
  readonly onAppended?: (entries: number) => void;
  /** Told of records that became durable, or that will because their writes have happened. Must not take long: answers wait for it. */
  readonly onRecorded?: (entries: readonly RecordedEntry[]) => void;
  /** Called once if the stream turns out to be written by somebody else, or a backlog of committed writes cannot be held: stop the process. */
  readonly onFenced?: () => void;
}

/** A record, and the id of its entry. */
export interface RecordedEntry {
  readonly id: Buffer;
  readonly record: AuditRecord;
}

/** The audit trail of one process: seals records, and writes them to its own stream. */
export interface OpenAuditTrail extends AuditTrail {
  /** The last durable block of this process's stream. */
  head(): Head | undefined;
  /** Refuses further entries and writes what is queued. @returns true if everything is durable */
  close(timeoutMs?: number): Promise<boolean>;
}

const idsPerLookup = 500;
const entriesPerTurn = 200;

/**
 * Opens a new stream of the audit trail. Its first block names the heads of all other streams, so that none of them can
 * be cut or rolled back behind that point unseen.
 *
 * @throws InterlockError `audit-unavailable` if the audit store cannot be written or the stream exists already
 */
export async function openAuditTrail(options: AuditTrailOptions): Promise<OpenAuditTrail> {
  const { audit, keyring, tenant, epochId } = options;
  if (!streamPattern.test(epochId)) throw new InterlockError('config-invalid', { detail: 'The epoch id is not a valid stream name.' });
  // The driver's own: every answer waits for what is inserted here.
  const collection = audit.db!.collection<Block>(auditCollection);
  const tokens = new Tokens(keyring, tenant);
  // Spares opening what was sealed a moment ago. Keyed by the sealed bytes, which travel with the write.
  const records = new WeakMap<Buffer, AuditRecord>();

  const writer = new BlockWriter({
    db: audit.db!, collection, stream: epochId, tenant, keyring, log: options.log, nowMs: options.nowMs ?? Date.now,
    onFenced: options.onFenced ?? (() => undefined), ...options.flush,
  });
  let heads;
  try {
    heads = await readHeads(collection);
  } catch (cause) {
    throw new InterlockError('audit-unavailable', { cause });
  }
  await writer.open(heads.unnamed);

  const prepare = (record: AuditRecord): PreparedEntry => {
    const entry = sealEntry(keyring, tenant, record);
    records.set(entry.sealed, record);
    return entry;
  };

  const toBlockEntry = async (entry: PreparedEntry, recovered: boolean): Promise<BlockEntry> => {
    const b = entry.sealed.subarray(idBytes);
    let record = records.get(entry.sealed);
    if (record === undefined) {
      record = await openEntry(keyring, tenant, entry.id, b);
      records.set(entry.sealed, record);
    }
    return { i: entry.id, x: tokens.ofRecord(record), b, ...(recovered ? { r: true } : {}) };
  };

  // Appends that were accepted but are not yet queued; closing waits for them.
  const preparing = new Set<Promise<unknown>>();
  let closing = false;

  const makeReady = async (entries: readonly PreparedEntry[], mode: 'plain' | 'committed' | 'recovered'): Promise<BlockEntry[]> => {
    const ready: BlockEntry[] = [];
    for (const [index, entry] of entries.entries()) {
      ready.push(await toBlockEntry(entry, mode === 'recovered'));
      // A bundle's 5,000 entries must not hold up everybody else.
      if (index % entriesPerTurn === entriesPerTurn - 1) await new Promise(setImmediate);
    }
    return ready;
  };

  const told = (entries: readonly PreparedEntry[], mode: 'plain' | 'committed' | 'recovered'): void => {
    if (options.onRecorded === undefined) return;
    options.onRecorded(entries.map(({ id, sealed }) => {
      const record = records.get(sealed)!;
      return { id, record: mode === 'recovered' ? { ...record, recovered: true } : record };
    }));
  };

  const enqueue = async (entries: readonly PreparedEntry[], mode: 'plain' | 'committed' | 'recovered'): Promise<void> => {
    const committed = mode === 'committed';
    if (closing) throw new InterlockError(committed ? 'outcome-unknown' : 'audit-unavailable');
    const ready = makeReady(entries, mode);
    preparing.add(ready);
    try {
      const blockEntries = await ready;
      try {
        await writer.append(blockEntries, committed);
      } catch (cause) {
        if (committed) told(entries, mode);
        throw cause;
      }
      options.onAppended?.(blockEntries.length);
      told(entries, mode);
    } finally {
      preparing.delete(ready);
    }
  };

  const missing = async (ids: readonly Buffer[]): Promise<Buffer[]> => {
    const absent = new Map(ids.map((id) => [id.toString('hex'), id]));
    for (let i = 0; i < ids.length; i += idsPerLookup) {
      const some = ids.slice(i, i + idsPerLookup);
      const cursor = collection.aggregate<{ found: Buffer[] }>(
        [{ $match: { 'e.i': { $in: some } } }, { $project: { _id: 0, found: { $setIntersection: ['$e.i', some] } } }],
        { promoteBuffers: true, readConcern: 'majority' },
      );
      for await (const { found } of cursor) for (const id of found) absent.delete(id.toString('hex'));
    }
    return [...absent.values()];
  };

  return {
    prepare,
    expecting: (work) => writer.expecting(work),
    append: (entries) => enqueue(entries, 'plain'),
    record: async (record) => enqueue([prepare(record)], 'plain'),
    assertAvailable: () => {
      if (closing) throw new InterlockError('audit-unavailable');
      writer.assertAvailable();
    },
    appendCommitted: (entries) => enqueue(entries, 'committed'),
    missing,
    appendRecovered: async (entries) => {
      const absent = new Set((await missing(entries.map((entry) => entry.id))).map((id) => id.toString('hex')));
      await enqueue(entries.filter((entry) => absent.has(entry.id.toString('hex'))), 'recovered');
    },
    head: () => writer.head,
    async close(timeoutMs = 5_000) {
      closing = true;
      await Promise.allSettled(preparing);
      return writer.close(timeoutMs);
    },
  };
}
