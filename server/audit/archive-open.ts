import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection } from 'mongoose';
import { openS3 } from '../delivery/s3.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Log } from '../observe/log.ts';
import { Archive } from './archive.ts';
import { Holds } from './archive-holds.ts';
import { directoryPlace, s3Place } from './archive-place.ts';
import { policyOf } from './archive-policy.ts';
import { Archiver } from './archiver.ts';
import type { Checkpoints } from './checkpoints.ts';
import type { AuditTrail } from './record.ts';

/** What the archive needs of the configuration. */
export interface ArchiveConfig {
  readonly dataDir: string;
  readonly keysDir: string;
  readonly auditArchiveDir?: string | undefined;
  readonly auditArchiveS3?: string | undefined;
  readonly auditArchiveLock: boolean;
  readonly outboundCaFile?: string | undefined;
  readonly auditArchiveAfterDays: number;
  readonly auditRetentionDays: number;
  readonly auditRetentionFile?: string | undefined;
}

const dayMs = 86_400_000;
const firstRunMs = 600_000;

/** Opens what was archived for reading. @throws InterlockError `config-invalid` */
export function openArchive(config: ArchiveConfig, options: { readonly audit: Connection; readonly keyring: Keyring; readonly tenant: string; readonly ca: readonly string[] }): Archive {
  const directory = directoryPlace(config.auditArchiveDir ?? join(config.dataDir, 'audit-archive'));
  const url = config.auditArchiveS3;
  const ca = [...options.ca, ...(config.outboundCaFile === undefined ? [] : [readFileSync(config.outboundCaFile, 'utf8')])];
  const bucket = url === undefined ? [] : [s3Place(openS3({ url, keysDir: config.keysDir, ca }), join(config.dataDir, 'audit-archive-out'), config.auditArchiveLock)];
  // New segments go to the first; a directory from before is still read.
  return new Archive({ ...options, places: [...bucket, directory] });
}

/** The jobs that archive and purge, and the legal holds they respect. */
export interface Retention {
  readonly archive: Archive;
  readonly archiver: Archiver;
  readonly holds: Holds;
  close(): Promise<void>;
}

/** Starts archiving and purging once a day, if told so. @throws InterlockError `config-invalid` if the policy is not right */
export function openRetention(
  config: ArchiveConfig,
  archive: Archive,
  options: { readonly audit: Connection; readonly keyring: Keyring; readonly tenant: string; readonly checkpoints: Checkpoints; readonly trail: AuditTrail; readonly log: Log; readonly nowMs: () => number; readonly openRemover?: (() => Promise<Connection>) | undefined; readonly daily: boolean },
): Retention {
  const { openRemover, daily, ...others } = options;
  const holds = new Holds({ audit: options.audit, keyring: options.keyring, tenant: options.tenant, keysDir: config.keysDir });
  const archiver = new Archiver({ ...others, archive, holds, place: archive.places[0]!, policy: policyOf(options.tenant, config), ...(openRemover === undefined ? {} : { openRemover }) });
  const timers = daily ? [setTimeout(() => void archiver.run(), firstRunMs), setInterval(() => void archiver.run(), dayMs)] : [];
  for (const timer of timers) timer.unref();
  return {
    archive, archiver, holds,
    async close() {
      for (const timer of timers) clearTimeout(timer);
      await archiver.close();
    },
  };
}
