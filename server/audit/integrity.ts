import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Log } from '../observe/log.ts';
import { errnoCode, writeFileAtomic } from '../pki/files.ts';
import type { TrailOfWrites } from '../storage/findings.ts';
import type { IntegrityReport } from '../storage/integrity.ts';
import type { RecordedVersion } from '../storage/inventory.ts';
import type { OpenStore } from '../storage/store.ts';
import { checkTrail, type TrailCheck } from './check.ts';
import type { Archive } from './archive.ts';
import type { Checkpoints } from './checkpoints.ts';
import { idBytes, openEntry, timeOfId } from './entry.ts';
import type { AuditReader } from './reader.ts';
import type { AuditRecord, AuditTrail } from './record.ts';
import { maxDateMs } from './scan.ts';

/** What a check of the whole installation found. */
export interface IntegrityOutcome extends IntegrityReport {
  readonly ok: boolean;
  /** The trail itself, which all else is compared with. */
  readonly trail: TrailCheck;
  /** Writes that the trail tells of. */
  readonly recorded: number;
  readonly durationMs: number;
}

export interface IntegrityChecksOptions {
  readonly audit: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  readonly checkpoints: Checkpoints;
  readonly archive?: Archive;
  readonly reader: AuditReader;
  readonly trail: AuditTrail;
  readonly store: Pick<OpenStore, 'checkIntegrity' | 'repair'>;
  readonly dataDir: string;
  readonly log: Log;
  readonly nowMs: () => number;
  /** How often it runs by itself; 0: only when asked. */
  readonly intervalMs: number;
  /** How long writes that are under way get to reach the trail. */
  readonly settleMs?: number;
  /** See `IntegrityOptions`. */
  readonly memoryBytes?: number;
  /** Told when a check found something. Names nothing. */
  readonly onFault?: (what: string) => void;
}

const defaultSettleMs = 3_000;
/** How long a check works before others get their turn, and for how long they get it while nobody waits for the check. */
const turnMs = 20;
const backgroundRestMs = 60;
const lookMs = 600_000;
const stateFileName = 'integrity-check.json';

/**
 * Checks that the database holds what the audit trail says was written to it: no version altered, swapped, rolled back,
 * removed or put in. On request, and by itself from time to time, then with a quarter of one core at most.
 */
export class IntegrityChecks {
  readonly #options: IntegrityChecksOptions;
  #running: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: IntegrityChecksOptions) {
    this.#options = options;
    if (options.intervalMs > 0) this.#timer = setInterval(() => this.#runIfDue(), Math.min(lookMs, options.intervalMs)).unref();
  }

  /**
   * Runs a check, after one that is under way, and puts its outcome on record.
   * @param tell shows progress, in thousandths of the whole
   * @throws InterlockError `unavailable`, `audit-unavailable`
   */
  async run({ tell, background = false }: { readonly tell?: (done: number, of: number) => void; readonly background?: boolean } = {}): Promise<IntegrityOutcome> {
    const done = this.#running.then(async () => this.#run(tell ?? (() => undefined), background));
    this.#running = done.catch(() => undefined);
    return done;
  }

  /** Stops; a check that is under way ends early. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  async #run(tell: (done: number, of: number) => void, background: boolean): Promise<IntegrityOutcome> {
    const { audit, keyring, tenant, checkpoints, store, trail, nowMs, dataDir, settleMs = defaultSettleMs, memoryBytes } = this.#options;
    const beganMs = nowMs();
    const breathe = this.#turns(background ? backgroundRestMs : 0);
    const check = store.checkIntegrity({
      trail: await this.#writes(), directory: join(dataDir, 'integrity-check'), breathe, ...(memoryBytes === undefined ? {} : { memoryBytes }),
      onProgress: (documents, of) => tell(500 + Math.floor((500 * documents) / of), 1_000),
      settle: async () => {
        await sleep(settleMs);
        await store.repair();
      },
    });
    try {
      let recorded = 0;
      const trailCheck = await checkTrail({
        audit, keyring, tenant, checkpoints, breathe, ...(this.#options.archive === undefined ? {} : { archive: this.#options.archive }),
        onProgress: (entries, of) => tell(of === undefined ? 0 : Math.floor((500 * entries) / of), 1_000),
        onRecord: (entryId, record) => {
          for (const version of versionsOf(entryId, record)) {
            recorded += 1;
            check.expect(version);
          }
        },
      });
      const report = await check.run();
      const ok = trailCheck.ok && report.found === 0;
      await trail.record({
        at: nowMs(), kind: 'server', interaction: 'integrity', action: 'E', outcome: ok ? '0' : '8', requestId: randomUUID(), actor: { kind: 'job', id: 'interlock' },
        ...(ok ? {} : { error: 'integrity-failure' as const, count: Math.max(report.found, 1) }),
      });
      if (!ok) this.#fault(trailCheck.ok ? 'stored resources are not what was recorded' : 'the audit trail, which stored resources are compared with, was altered', report.found);
      return { ok, trail: trailCheck, recorded, durationMs: nowMs() - beganMs, ...report };
    } finally {
      check.close();
    }
  }

  #fault(what: string, count: number): void {
    this.#options.log.error('integrity check failed', { reason: what, count });
    this.#options.onFault?.(what);
  }

  /** The event loop is never held for long; a check in the background pauses as well. */
  #turns(restMs: number): () => Promise<void> {
    let sinceMs = performance.now();
    return async () => {
      if (performance.now() - sinceMs < turnMs) return;
      if (this.#closed) throw new InterlockError('unavailable', { detail: 'The server stops.' });
      await (restMs === 0 ? new Promise(setImmediate) : sleep(restMs));
      sinceMs = performance.now();
    };
  }

  async #writes(): Promise<TrailOfWrites> {
    const { reader, keyring, tenant, archive } = this.#options;
    const tombstones = archive === undefined ? [] : (await archive.catalogue.state(true)).tombstones;
    const purgedUntilMs = Math.max(0, ...tombstones.map(({ until }) => Date.parse(until)));
    return {
      isPurged: (entryId) => timeOfId(entryId) <= purgedUntilMs,
      async recorded(entryId) {
        const found: RecordedVersion[] = [];
        for await (const { id, record } of reader.entries({ hints: [], fromMs: 0, untilMs: maxDateMs, entryIds: [entryId] }, false)) found.push(...versionsOf(id, record));
        return found;
      },
      async opened(sealed) {
        try {
          const id = sealed.subarray(0, idBytes);
          return versionsOf(id, await openEntry(keyring, tenant, id, sealed.subarray(idBytes)));
        } catch {
          return [];
        }
      },
    };
  }

  #runIfDue(): void {
    const { dataDir, nowMs, intervalMs, log } = this.#options;
    const path = join(dataDir, stateFileName);
    const lastMs = readLast(path);
    // A new installation has nothing to check yet: its first check comes after one interval.
    if (lastMs !== undefined && nowMs() - lastMs < intervalMs) return;
    writeFileAtomic(path, JSON.stringify({ lastMs: nowMs() }));
    if (lastMs === undefined) return;
    this.run({ background: true }).then(
      ({ ok, documents, durationMs }) => ok && log.info('integrity check passed', { count: documents, durationMs }),
      (error: unknown) => {
        if (!this.#closed) log.error('integrity check not made', { errorName: error instanceof Error ? error.name : 'unknown' });
      },
    );
  }
}

/** The versions that an entry says were written. */
function versionsOf(entryId: Buffer, { entities = [] }: AuditRecord): RecordedVersion[] {
  return entities.flatMap(({ type, id, versionId, hash }) => (versionId === undefined || hash === undefined ? [] : [{ type, id, versionId, hash, entryId }]));
}

function readLast(path: string): number | undefined {
  try {
    const { lastMs } = JSON.parse(readFileSync(path, 'utf8')) as { lastMs?: unknown };
    return typeof lastMs === 'number' ? lastMs : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
