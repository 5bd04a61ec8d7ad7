import { randomUUID } from 'node:crypto';
import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Log } from '../observe/log.ts';
import { filesOf, type Archive } from './archive.ts';
import type { Segment } from './archive-catalogue.ts';
import { summaryOf, type Holds } from './archive-holds.ts';
import type { ArchivePlace } from './archive-place.ts';
import type { RetentionPolicy } from './archive-policy.ts';
import { checkSegment, nameOf, writeSegment, type SegmentLimits } from './archive-segment.ts';
import { blockId, type Block } from './block.ts';
import type { Checkpoints } from './checkpoints.ts';
import type { AuditRecord, AuditTrail } from './record.ts';
import { grow, hashOfCheckpoint, keysOf, leafOfBatch, rootOf, sha256, sizeOfBatch, tombstoneBytes, type Tombstone, type Tree } from './standalone/format.ts';
import { auditCollection } from './trail.ts';

export interface ArchiverOptions {
  readonly audit: Connection;
  readonly tenant: string;
  readonly archive: Archive;
  /** Where new segments go. */
  readonly place: ArchivePlace;
  readonly checkpoints: Checkpoints;
  readonly trail: AuditTrail;
  readonly holds: Holds;
  readonly policy: RetentionPolicy;
  readonly log: Log;
  readonly nowMs: () => number;
  /** A connection whose user may find and remove in the collection of blocks; absent: segments are copies, and nothing is removed or purged. */
  readonly openRemover?: () => Promise<Connection>;
  /** How long the database keeps what was archived, for whoever still reads it: 3,600,000. */
  readonly removeAfterMs?: number;
  readonly limits?: SegmentLimits;
  /** What one purge may take: 1,000 segments. */
  readonly maxPurged?: number;
}

type Tell = (done: number, total?: number) => void;

/** What a job did, or would do. */
export interface ArchiveResult {
  /** Segments that were written. */
  readonly written: readonly string[];
  /** Entries in them; of a dry run: entries that are due. */
  readonly entries: number;
  /** Segments whose blocks left the database. */
  readonly removed: readonly string[];
  /** Segments whose blocks are still in the database, and will be removed later. */
  readonly waiting: number;
}

export interface PurgeResult {
  readonly purged: readonly { readonly name: string; readonly entries: number; readonly untilMs: number }[];
  /** Due, but kept. */
  readonly kept: readonly { readonly name: string; readonly entries: number; readonly why: string }[];
}

const dayMs = 86_400_000;
/** So much is gathered before a segment is begun, or a twelfth of the time to archiving, so that there are not too many. */
const gatheredMs = 31 * dayMs;
const blocksPerRemoval = 5_000;

/**
 * Moves what is old from the database into segments, and removes segments whose time is over. Each step can be cut off
 * anywhere and is taken up by the next run: a segment counts once the catalogue has it, and the database is cleared only
 * of what was read back from a segment that counts.
 */
export class Archiver {
  readonly #options: ArchiverOptions;
  readonly #cleared = new Set<number>();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: ArchiverOptions) {
    this.#options = options;
  }

  get policy(): RetentionPolicy {
    return this.#options.policy;
  }

  /** Whether there is a user that may remove blocks from the database. */
  get mayRemove(): boolean {
    return this.#options.openRemover !== undefined;
  }

  /** Writes due segments and clears the database of those written at least an hour ago. @throws InterlockError */
  async archive(dryRun: boolean, tell: Tell = () => undefined): Promise<ArchiveResult> {
    return this.#alone(async () => {
      if (dryRun) return { written: [], entries: (await this.#due()).entries, removed: [], waiting: (await this.#waiting()).length };
      const written: string[] = [];
      let entries = 0;
      for (let segment = await this.#write(entries, tell); segment !== undefined; segment = await this.#write(entries, tell)) {
        written.push(segment.name);
        entries += segment.entries;
      }
      return { written, entries, ...(await this.#clear()) };
    });
  }

  /** Removes segments that are older than the policy says and under no hold, and leaves a tombstone for each. @throws InterlockError */
  async purge(dryRun: boolean, tell: Tell = () => undefined): Promise<PurgeResult> {
    return this.#alone(async () => {
      const { archive, holds, policy, nowMs, audit, maxPurged = 1_000 } = this.#options;
      if (!dryRun) await this.#sweep();
      const { segments } = await archive.catalogue.sound(true);
      const due = segments.filter(({ untilMs }) => untilMs + policy.retentionDays * dayMs <= nowMs()).slice(0, maxPurged);
      const purged: PurgeResult['purged'][number][] = [];
      const kept: PurgeResult['kept'][number][] = [];
      for (const [at, segment] of due.entries()) {
        const { name, entries, untilMs } = segment;
        // Asked each time: a hold may be placed meanwhile.
        const inForce = await holds.list();
        const hold = await holds.covering(inForce, segment, archive);
        if (hold !== undefined) kept.push({ name, entries, why: `hold ${hold.id}` });
        else if (await hasCopies(audit, segment)) kept.push({ name, entries, why: this.mayRemove ? 'still in the database' : 'still in the database, and no user may remove it' });
        else {
          if (!dryRun) await this.#bury(segment, summaryOf(inForce));
          purged.push({ name, entries, untilMs });
        }
        tell(at + 1, due.length);
      }
      return { purged, kept };
    });
  }

  /** Files that look like segments and are not in the catalogue: left by a run that was cut off. The server never removes them. */
  async unlisted(): Promise<string[]> {
    const { archive } = this.#options;
    const { segments } = await archive.catalogue.sound(true);
    const known = new Set(segments.flatMap((segment) => Object.values(filesOf(segment))));
    const names = await Promise.all(archive.places.map(async (place) => place.list()));
    return names.flat().filter((name) => name.startsWith('audit-') && !known.has(name));
  }

  /** Both jobs, as the server runs them each day. Says in the log what could not be done. */
  async run(): Promise<void> {
    const { log } = this.#options;
    try {
      await this.archive(false);
      await this.purge(false);
    } catch (error) {
      log.error('audit trail was not archived', { errorCode: error instanceof InterlockError ? error.code : 'internal', errorName: error instanceof Error ? error.name : 'unknown' });
    }
  }

  /** Resolves when what is under way has ended. */
  async close(): Promise<void> {
    await this.#running;
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#running.then(work, work);
    this.#running = done.catch(() => undefined);
    return done;
  }

  async #next(): Promise<number> {
    const { segments, tombstones } = await this.#options.archive.catalogue.sound(true);
    return Math.max(0, ...segments.map(({ to }) => to), ...tombstones.map(({ to }) => to)) + 1;
  }

  get #dueMs(): number {
    return this.#options.nowMs() - this.#options.policy.archiveAfterDays * dayMs;
  }

  async #due(): Promise<{ entries: number }> {
    const { checkpoints } = this.#options;
    const first = await this.#next();
    const isDue = async (n: number): Promise<boolean> => {
      const checkpoint = await checkpoints.read(n);
      return checkpoint !== undefined && Date.parse(checkpoint.at) <= this.#dueMs;
    };
    if (!(await this.#isGathered(first))) return { entries: 0 };
    // Checkpoints come in the order of time.
    let [low, high] = [first, (checkpoints.last?.n ?? first) + 1];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (await isDue(middle)) low = middle;
      else high = middle;
    }
    const [before, last] = [await checkpoints.read(first - 1), await checkpoints.read(low)];
    return { entries: (last?.entries ?? 0) - (before?.entries ?? 0) };
  }

  async #isGathered(first: number): Promise<boolean> {
    const checkpoint = await this.#options.checkpoints.read(first);
    return checkpoint !== undefined && Date.parse(checkpoint.at) <= this.#dueMs - Math.min(gatheredMs, (this.#options.policy.archiveAfterDays * dayMs) / 12);
  }

  async #write(entriesBefore: number, tell: Tell): Promise<Segment | undefined> {
    const { audit, tenant, archive, place, checkpoints, policy, trail, nowMs, limits } = this.#options;
    const from = await this.#next();
    if (!(await this.#isGathered(from))) return undefined;
    const publicKeys = keysOf(checkpoints.signer.publicKeys());
    const facts = await writeSegment({
      audit, tenant, place, publicKeys, from, dueMs: this.#dueMs, nowMs: nowMs(), ...limits,
      retainUntil: (untilMs) => new Date(untilMs + policy.retentionDays * dayMs), onEntries: (entries) => entries % 1_000 < 10 && tell(entriesBefore + entries),
    });
    if (facts === undefined) return undefined;
    if ((await checkSegment(archive, facts, publicKeys)).length > 0) throw new InterlockError('integrity-failure', { detail: 'A segment did not read back as it was written; nothing was removed from the database.' });
    await trail.record(jobRecord('archive', `segment ${facts.name} sha256 ${facts.sha256}`, nowMs()));
    // Another process may have been first; then its segment counts.
    await archive.catalogue.add(facts);
    return (await archive.catalogue.sound(true)).segments.find(({ _id }) => _id === from);
  }

  /** Segments whose blocks the database still has. */
  async #waiting(): Promise<Segment[]> {
    const { archive, audit } = this.#options;
    const { segments } = await archive.catalogue.sound(true);
    const waiting: Segment[] = [];
    for (const segment of segments) {
      if (this.#cleared.has(segment._id)) continue;
      if (await hasCopies(audit, segment)) waiting.push(segment);
      else this.#cleared.add(segment._id);
    }
    return waiting;
  }

  async #clear(): Promise<{ removed: string[]; waiting: number }> {
    const { openRemover, nowMs, removeAfterMs = 3_600_000, archive, checkpoints, trail } = this.#options;
    const waiting = await this.#waiting();
    const ready = openRemover === undefined ? [] : waiting.filter(({ atMs }) => atMs <= nowMs() - removeAfterMs);
    if (ready.length === 0) return { removed: [], waiting: waiting.length };
    const remover = await openRemover!();
    try {
      for (const segment of ready) {
        // Read back once more: from here on there is no other copy.
        if ((await checkSegment(archive, segment, keysOf(checkpoints.signer.publicKeys()))).length > 0) throw new InterlockError('integrity-failure', { detail: 'A segment was altered or is missing; the database keeps its blocks.' });
        await trail.record(jobRecord('archive-remove', `segment ${segment.name}`, nowMs()));
        await removeBlocks(remover, segment);
      }
    } finally {
      await remover.close();
    }
    return { removed: ready.map(({ name }) => name), waiting: waiting.length - ready.length };
  }

  async #bury(segment: Segment, holds: readonly [number, string]): Promise<void> {
    const { tenant, archive, checkpoints, policy, trail, nowMs } = this.#options;
    const batches: Tree = { size: 0, peaks: [] };
    for await (const one of checkpoints.range(segment._id, segment.to)) grow(batches, leafOfBatch(one.batch, sizeOfBatch(one)));
    const [first, last] = await Promise.all([checkpoints.read(segment._id), checkpoints.read(segment.to)]);
    if (first === undefined || last === undefined || batches.size !== segment.to - segment._id + 1 || hashOfCheckpoint(last) !== segment.checkpoint) throw new InterlockError('integrity-failure', { detail: 'The checkpoints of a segment are not there; it is not purged.' });
    const unsigned = {
      format: 'interlock-audit-tombstone-1' as const, tenant, from: segment._id, to: segment.to, first: hashOfCheckpoint(first), last: hashOfCheckpoint(last), batches: rootOf(batches).toString('hex'),
      blocks: segment.blocks, entries: segment.entries, until: last.at, segment: segment.sha256, retentionDays: policy.retentionDays, basis: policy.basis, at: new Date(nowMs()).toISOString(), holds,
    };
    const { key, signature } = await checkpoints.sign((own) => tombstoneBytes({ ...unsigned, key: own }));
    const tombstone: Tombstone = { ...unsigned, key, signature };
    await trail.record(jobRecord('purge', `segment ${segment.name} tombstone ${sha256(tombstoneBytes(tombstone)).toString('hex')}`, nowMs()));
    await archive.catalogue.bury(tombstone);
    await this.#removeFiles(segment);
  }

  /** Removes files that a purge which was cut off has left. */
  async #sweep(): Promise<void> {
    const { archive } = this.#options;
    const { tombstones } = await archive.catalogue.sound(true);
    if (tombstones.length === 0) return;
    const buried = new Set(tombstones.map(({ from, to }) => nameOf(from, to)));
    for (const place of archive.places) for (const name of await place.list()) if (buried.has(name.replace(/\.\w+$/, ''))) await place.remove(name);
  }

  async #removeFiles(segment: Segment): Promise<void> {
    const place = this.#options.archive.placeOf(segment);
    for (const name of Object.values(filesOf(segment))) await place.remove(name);
  }
}

function jobRecord(interaction: 'archive' | 'archive-remove' | 'purge', command: string, at: number): AuditRecord {
  return { at, kind: 'server', interaction, action: interaction === 'archive' ? 'E' : 'D', outcome: '0', requestId: randomUUID(), actor: { kind: 'job', id: 'interlock' }, command };
}

/** Whether the database has more of a segment than the openings of its streams, which stay. */
async function hasCopies(audit: Connection, { streams }: Pick<Segment, 'streams'>): Promise<boolean> {
  const blocks = audit.db!.collection<Block>(auditCollection);
  for (const [stream, first, last] of streams) {
    if ((await blocks.findOne({ _id: { $gte: blockId(stream, Math.max(first, 1)), $lte: blockId(stream, last) } }, { projection: { _id: 1 }, readConcern: 'majority' })) !== null) return true;
  }
  return false;
}

/** Openings stay: they hold no entries, and name where other streams stood. */
async function removeBlocks(remover: Connection, { streams }: Segment): Promise<void> {
  const blocks = remover.db!.collection<Block>(auditCollection);
  for (const [stream, first, last] of streams) {
    for (let at = Math.max(first, 1); at <= last; at += blocksPerRemoval) {
      await blocks.deleteMany({ _id: { $gte: blockId(stream, at), $lte: blockId(stream, Math.min(at + blocksPerRemoval - 1, last)) } }, { writeConcern: { w: 'majority', j: true } });
    }
  }
}
