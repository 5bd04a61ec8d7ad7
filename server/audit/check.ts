import type { KeyObject } from 'node:crypto';
import type { Connection } from 'mongoose';
import type { Keyring } from '../kms/keyring.ts';
import type { Archive } from './archive.ts';
import { checkSegment, type SegmentFault } from './archive-segment.ts';
import type { Checkpoints } from './checkpoints.ts';
import { logRecords } from './log-records.ts';
import type { AuditRecord } from './record.ts';
import { keysOf, type Checkpoint } from './standalone/format.ts';
import { LogVerifier } from './standalone/log.ts';
import { verifyTrail, type VerifyReport } from './verify.ts';

export interface TrailCheckOptions {
  readonly audit: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  readonly checkpoints: Checkpoints;
  /** What was archived is checked with the rest. */
  readonly archive?: Archive;
  /** Checkpoints that were kept elsewhere, and that the trail must still agree with. */
  readonly witnesses?: readonly Checkpoint[];
  /** Given each entry that opens, once or more, before the check has ended. */
  readonly onRecord?: (id: Buffer, record: AuditRecord) => void;
  /** Awaited from time to time: where others get their turn. */
  readonly breathe?: () => Promise<void>;
  /** Told how many entries were looked at and, once that is known, how many there will be. */
  readonly onProgress?: (entries: number, of?: number) => void;
}

export interface TrailCheck {
  readonly ok: boolean;
  /** What anybody can check on an export, without keys. */
  readonly log: ReturnType<LogVerifier['finish']>;
  /** What only the keys can tell. */
  readonly sealed: VerifyReport;
  /** What is wrong with segment files and their catalogue. */
  readonly segments: readonly SegmentFault[];
}

/** Checks the whole trail: first as anybody can, against its checkpoints, then seals, keys and search tokens. */
export async function checkTrail(options: TrailCheckOptions): Promise<TrailCheck> {
  const { audit, keyring, tenant, checkpoints, archive, witnesses = [], onRecord, breathe, onProgress } = options;
  const remembered = checkpoints.remembered();
  const keys = keysOf(checkpoints.signer.publicKeys());
  const segments = await segmentFaults(archive, keys);
  const verifier = new LogVerifier(keys, remembered === undefined ? witnesses : [...witnesses, remembered]);
  for await (const record of logRecords(audit, tenant, archive === undefined ? {} : { archive })) {
    verifier.accept(record);
    await breathe?.();
    if (verifier.state.blocks % 500 === 0) onProgress?.(verifier.state.entries);
  }
  const log = verifier.finish();
  const sealed = await verifyTrail({
    audit, keyring, tenant, ...(archive === undefined ? {} : { archive, checkpoints: (from: number, to: number) => checkpoints.range(from, to) }), ...(onRecord === undefined ? {} : { onRecord }), ...(breathe === undefined ? {} : { breathe }),
    onProgress: ({ entries }) => onProgress?.(log.entries + entries, 2 * log.entries),
  });
  return { ok: log.ok && sealed.ok && segments.length === 0, log, sealed, segments };
}

async function segmentFaults(archive: Archive | undefined, keys: readonly KeyObject[]): Promise<SegmentFault[]> {
  if (archive === undefined) return [];
  const { segments, damaged } = await archive.catalogue.state(true);
  const faults: SegmentFault[] = damaged.map((n) => ({ code: 'catalogue-altered', segment: '', checkpoint: n, text: 'What the database says of a segment, or a tombstone, is not what this system wrote.' }));
  for (const segment of segments) faults.push(...(await checkSegment(archive, segment, keys)));
  return faults;
}
