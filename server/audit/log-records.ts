import type { Connection, mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import { copiesOf, type Archive } from './archive.ts';
import type { Segment } from './archive-catalogue.ts';
import { blockId, streamOf, type Block } from './block.ts';
import { checkpointCollection, parse, type StoredCheckpoint } from './checkpoints.ts';
import type { Checkpoint, LogBlock, LogRecord } from './standalone/format.ts';
import { auditCollection } from './trail.ts';
import { isBlock } from './verify.ts';

type Blocks = mongo.Collection<Block>;

/** Which checkpoints of the log, both included. Without `until`, what no checkpoint names yet comes too. */
export interface LogRange {
  readonly from?: number;
  readonly until?: number;
  /** Where blocks are that the database has no longer. */
  readonly archive?: Archive;
}

/**
 * The trail in the order in which it was signed: each checkpoint, then its blocks as they are found, or before it
 * the tombstone of what was purged, at last what no checkpoint names, wherever it stands. What an export holds, and what a verifier reads.
 * @throws InterlockError `not-found` if the checkpoint before `from` does not exist
 */
export async function* logRecords(audit: Connection, tenant: string, range: LogRange = {}): AsyncGenerator<LogRecord> {
  const collection = audit.collection<Block>(auditCollection);
  const checkpoints = audit.collection<StoredCheckpoint>(checkpointCollection);
  const { from = 1, until, archive } = range;
  const { segments, tombstones } = archive === undefined ? { segments: [], tombstones: [] } : await archive.catalogue.state(true);
  const archived = new ArchivedBlocks(collection, archive, segments);
  let purgedTo = 0;
  const before = from > 1 ? await checkpoints.findOne({ _id: from - 1 }, { promoteBuffers: true, readConcern: 'majority' }) : undefined;
  if (before === null) throw new InterlockError('not-found', { detail: 'There is no such checkpoint.' });
  yield { header: { format: 'interlock-audit-export-1', tenant, after: before === undefined ? null : { checkpoint: parse(before), peaks: before.peaks.map((peak) => peak.toString('hex')) } } };
  const anchored = new Map<string, number>();
  const count = { blocks: 0, checkpoints: 0 };
  const which = { $gte: from, ...(until === undefined ? {} : { $lte: until }) };
  for await (const stored of checkpoints.find(until === undefined && from === 1 ? {} : { _id: which }, { sort: { _id: 1 }, promoteBuffers: true, readConcern: 'majority' })) {
    let checkpoint: Checkpoint;
    try {
      checkpoint = parse(stored);
      if (!Buffer.isBuffer(stored.marks)) throw new InterlockError('integrity-failure');
    } catch {
      yield { unreadable: 'A stored checkpoint is damaged.' };
      continue;
    }
    count.checkpoints += 1;
    const { n } = checkpoint;
    const tombstone = n > purgedTo ? tombstones.find((one) => one.from <= n && n <= one.to) : undefined;
    if (tombstone !== undefined) {
      purgedTo = tombstone.to;
      yield { tombstone };
    }
    yield { checkpoint, marks: stored.marks };
    for (const [stream, , last] of checkpoint.blocks) anchored.set(stream, Math.max(last, anchored.get(stream) ?? -1));
    if (n <= purgedTo) continue;
    if (await archived.has(n)) {
      yield* archived.blocksOf(n, count);
      continue;
    }
    for (const [stream, first, last] of checkpoint.blocks) {
      yield* blocks(collection, { _id: { $gte: blockId(stream, first), $lt: `${blockId(stream, last)};` } }, count);
    }
  }
  yield { unanchored: true };
  if (until === undefined) yield* rest(collection, anchored, from > 1, count);
  yield { end: count };
}

/** Blocks of checkpoints that the database does not have, or not all of them, any longer. */
class ArchivedBlocks {
  readonly #collection: Blocks;
  readonly #archive: Archive | undefined;
  readonly #segments: readonly Segment[];
  #current: { readonly segment: Segment; readonly isNeeded: boolean; n: number; ahead?: LogRecord; lines?: AsyncGenerator<LogRecord> } | undefined;

  constructor(collection: Blocks, archive: Archive | undefined, segments: readonly Segment[]) {
    [this.#collection, this.#archive, this.#segments] = [collection, archive, segments];
  }

  async has(n: number): Promise<boolean> {
    const segment = this.#segments.find(({ _id, to }) => _id <= n && n <= to);
    if (segment === undefined) return false;
    if (this.#current?.segment !== segment) this.#current = { segment, n: segment._id - 1, isNeeded: (await copiesOf(this.#collection, segment)) < segment.blocks };
    return this.#current.isNeeded;
  }

  /** What stands between the line of a checkpoint and the next. Checkpoints are asked for in their order. */
  async *blocksOf(n: number, count: { blocks: number }): AsyncGenerator<LogRecord> {
    const current = this.#current!;
    current.lines ??= readable(this.#archive!.records(current.segment));
    for (;;) {
      const next = current.ahead === undefined ? await current.lines.next() : { done: false as const, value: current.ahead };
      delete current.ahead;
      if (next.done === true) return;
      const record = next.value;
      if ('checkpoint' in record) {
        if (current.n === n) {
          current.ahead = record;
          return;
        }
        current.n += 1;
      } else if (current.n === n && ('block' in record || 'unreadable' in record)) {
        count.blocks += 1;
        yield record;
      }
    }
  }
}

/** A file that is missing, or no export at all, is a gap in what follows. */
async function* readable(lines: AsyncIterable<LogRecord>): AsyncGenerator<LogRecord> {
  try {
    yield* lines;
  } catch (error) {
    if (error instanceof InterlockError && error.code !== 'integrity-failure') throw error;
    yield { unreadable: 'A segment of the archive cannot be read.' };
  }
}

/** Everything that lies between what the checkpoints name. */
async function* rest(collection: Blocks, anchored: ReadonlyMap<string, number>, isPart: boolean, count: { blocks: number }): AsyncGenerator<LogRecord> {
  let after = '';
  for (const [stream, last] of [...anchored].sort(([a], [b]) => (a < b ? -1 : 1))) {
    // Of a part of the log nobody knows what earlier checkpoints name.
    if (!isPart) yield* blocks(collection, { _id: { $gte: after, $lt: blockId(stream, 0) } }, count);
    after = `${blockId(stream, last)};`;
    if (isPart) yield* blocks(collection, { _id: { $gte: after, $lt: `${stream};` } }, count);
  }
  if (isPart) return;
  yield* blocks(collection, { _id: { $gte: after } }, count);
  yield* blocks(collection, { _id: { $not: { $type: 'string' } } }, count);
}

async function* blocks(collection: Blocks, filter: mongo.Filter<Block>, count: { blocks: number }): AsyncGenerator<LogRecord> {
  for await (const block of collection.find(filter, { sort: { _id: 1 }, promoteBuffers: true, readConcern: 'majority' })) {
    count.blocks += 1;
    if (typeof block._id === 'string' && isBlock(block)) yield { block: toLogBlock(block) };
    else yield { unreadable: `A document that is no block: ${typeof block._id === 'string' ? `stream ${streamOf(block._id)}` : 'without an id'}.` };
  }
}

/** A block as it stands in an export. */
export function toLogBlock({ _id, n, at, to, heads, prev, hash, e }: Block): LogBlock {
  return { id: _id, n, at: at.getTime(), to: to.getTime(), heads: heads?.map((head) => [head.stream, head.n, head.hash.toString('hex')] as const) ?? null, prev, hash, e };
}

/** A record as a line of an export, without its line feed. */
export function lineOf(record: LogRecord): string {
  if ('checkpoint' in record) return JSON.stringify({ checkpoint: record.checkpoint, marks: record.marks.toString('base64') });
  if (!('block' in record)) return JSON.stringify(record);
  const { block } = record;
  const e = block.e.map(({ i, x, b, r }) => [i.toString('hex'), Buffer.concat(x).toString('base64'), b.toString('base64'), r === true ? 1 : 0]);
  return JSON.stringify({ block: { ...block, prev: block.prev.toString('hex'), hash: block.hash.toString('hex'), e } });
}
