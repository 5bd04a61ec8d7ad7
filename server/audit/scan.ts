import type { mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import { merged, type Archive, type BlockSource, type FoundBlock } from './archive.ts';
import { windowMs, type Block, type BlockEntry } from './block.ts';
import { firstIdOf, timeOfId } from './entry.ts';
import { dayOf, term, type Tokens } from './tokens.ts';

/** A condition that blind tokens can help with: an entry has at least one of these terms. */
export interface Hint {
  readonly terms: readonly string[];
  /** The terms stand in the trail only together with their day. */
  readonly daily: boolean;
}

export interface ScanRequest {
  /** All of them must hold. Tokens never miss an entry, but the caller still has to check the opened record. */
  readonly hints: readonly Hint[];
  /** Events in [fromMs, untilMs). */
  readonly fromMs: number;
  readonly untilMs: number;
  readonly descending: boolean;
}

/** A candidate, still sealed. */
export interface ScannedEntry {
  readonly id: Buffer;
  readonly sealed: Buffer;
  readonly recovered: boolean;
}

const dayMs = 86_400_000;
// Days whose tokens are asked for at once. MongoDB merges sorted index scans up to 200.
const daysPerQuery = 31;
const maxWaitingEntries = 200_000;
const maxQueryMs = 20_000;
// A page needs few blocks, and a whole one can have a megabyte.
const wholeBlocksPerBatch = 8;
const filteredBlocksPerBatch = 32;

/** Entries that may satisfy the request, without repetition, exactly in the order of their ids: of time. */
export async function* scan(collection: mongo.Collection<Block>, tokens: Tokens, request: ScanRequest, archive?: Archive): AsyncGenerator<ScannedEntry> {
  const anchored = request.hints.filter((hint) => !hint.daily);
  const daily = request.hints.filter((hint) => hint.daily);
  const few = (span: { fromMs: number; untilMs: number }): boolean => span.untilMs - span.fromMs <= daysPerQuery * dayMs;
  const { fromMs, untilMs } = daily.length === 0 || few(request) ? request : await within(collection, request, archive);
  if (fromMs >= untilMs) return;
  const fewDays = few({ fromMs, untilMs });
  if (daily.length === 0 || (anchored.length > 0 && !fewDays)) {
    yield* scanWindow(collection, { ...request, fromMs, untilMs }, anchored.map((hint) => hint.terms.map((one) => tokens.of(one))), archive);
    return;
  }
  for (const window of windowsOf(fromMs, untilMs, request.descending)) {
    const days = daysOf(window.fromMs, window.untilMs);
    const sets = request.hints.map((hint) => (hint.daily ? days.flatMap((day) => hint.terms.map((one) => tokens.of(term.onDay(one, day)))) : hint.terms.map((one) => tokens.of(one))));
    yield* scanWindow(collection, { ...request, ...window }, sets, archive);
  }
}

/** One candidate by its id. */
export async function findEntry(collection: mongo.Collection<Block>, id: Buffer, archive?: Archive): Promise<ScannedEntry | undefined> {
  const block = await collection.findOne({ 'e.i': id }, { projection: { e: { $elemMatch: { i: id } } }, promoteBuffers: true, readConcern: 'majority' });
  const entry = block?.e[0] ?? (await archive?.blockWith(id))?.e.find(({ i }) => i.equals(id));
  return entry === undefined ? undefined : toScanned(entry);
}

async function* scanWindow(collection: mongo.Collection<Block>, request: Omit<ScanRequest, 'hints'>, sets: readonly (readonly Buffer[])[], archive?: Archive): AsyncGenerator<ScannedEntry> {
  const { descending } = request;
  const first = firstIdOf(request.fromMs);
  const end = firstIdOf(request.untilMs);
  const wanted = (entry: BlockEntry): boolean => Buffer.compare(entry.i, first) >= 0 && Buffer.compare(entry.i, end) < 0;
  const byId = (a: BlockEntry, b: BlockEntry): number => (descending ? Buffer.compare(b.i, a.i) : Buffer.compare(a.i, b.i));

  // Blocks come in the order of their newest entry and span at most a window. So all that is later than what a coming
  // block can hold is final and may leave, in order.
  let waiting: BlockEntry[] = [];
  let previous: Buffer | undefined;
  const release = function* (ready: BlockEntry[]): Generator<ScannedEntry> {
    for (const entry of ready.sort(byId)) {
      // A recovered entry may stand beside the original.
      if (previous?.equals(entry.i) !== true) yield toScanned(entry);
      previous = entry.i;
    }
  };
  for await (const block of await blocksOf(collection, request, sets, archive)) {
    const toMs = block.to.getTime();
    const final = (entry: BlockEntry): boolean => (descending ? timeOfId(entry.i) > toMs : timeOfId(entry.i) < toMs - windowMs);
    const { ready = [], later = [] } = Object.groupBy(waiting, (entry) => (final(entry) ? 'ready' : 'later'));
    yield* release(ready);
    waiting = later;
    for (const entry of block.e) if (wanted(entry)) waiting.push(entry);
    if (waiting.length > maxWaitingEntries) throw new InterlockError('too-costly');
  }
  yield* release(waiting);
}

/** The blocks that may have what is wanted, of the database and of segments, in the order of `to`. */
async function blocksOf(collection: mongo.Collection<Block>, request: Omit<ScanRequest, 'hints'>, sets: readonly (readonly Buffer[])[], archive: Archive | undefined): Promise<AsyncIterable<FoundBlock>> {
  // The catalogue first: what is archived afterwards is not removed from the database for an hour.
  const archived = (await archive?.sources({ ...request, sets })) ?? [];
  const open = (): AsyncIterable<FoundBlock> => collection.aggregate<FoundBlock>(pipelineOf(request, sets), { promoteBuffers: true, readConcern: 'majority', ...(sets.length === 0 ? { batchSize: wholeBlocksPerBatch } : { batchSize: filteredBlocksPerBatch, maxTimeMS: maxQueryMs }) });
  if (archived.length === 0) return open();
  // Opening blocks stay in the database, and hold no entries. A cursor that waits for years of segments would expire.
  const [first] = await collection.find({ n: { $gt: 0 } }, { sort: { to: request.descending ? -1 : 1 }, limit: 1, projection: { to: 1 }, readConcern: 'majority' }).toArray();
  const own: BlockSource[] = first === undefined ? [] : [{ boundMs: first.to.getTime(), open }];
  return merged([...archived, ...own], request.descending);
}

function pipelineOf(request: Omit<ScanRequest, 'hints'>, sets: readonly (readonly Buffer[])[]): object[] {
  const to = {
    ...(request.fromMs > 0 ? { $gte: new Date(request.fromMs) } : {}),
    ...(request.untilMs < maxDateMs ? { $lt: new Date(request.untilMs + windowMs) } : {}),
  };
  const conditions: object[] = sets.map((set) => ({ 'e.x': { $in: [...set] } }));
  if (Object.keys(to).length > 0) conditions.push({ to });
  const each = sets.map((set) => ({ $gt: [{ $size: { $setIntersection: ['$$entry.x', [...set]] } }, 0] }));
  const e = each.length === 0 ? 1 : { $filter: { input: '$e', as: 'entry', cond: { $and: each } } };
  // Streams' opening blocks have no entries, and none to find.
  return [{ $match: conditions.length === 0 ? {} : { $and: conditions } }, { $sort: { to: request.descending ? -1 : 1 } }, { $project: { to: 1, e } }];
}

function toScanned(entry: BlockEntry): ScannedEntry {
  return { id: entry.i, sealed: entry.b, recovered: entry.r === true };
}

/** Latest time of an ECMAScript date. */
export const maxDateMs = 8.64e15;

/** Narrows an open range to what the trail holds, so that its days can be counted. */
async function within(collection: mongo.Collection<Block>, request: ScanRequest, archive: Archive | undefined): Promise<{ fromMs: number; untilMs: number }> {
  const end = async (direction: 1 | -1): Promise<number | undefined> => {
    const [block] = await collection.find({}, { sort: { to: direction }, limit: 1, projection: { to: 1 }, readConcern: 'majority' }).toArray();
    return block?.to.getTime();
  };
  const [oldest = Infinity, newest = -Infinity, span] = await Promise.all([end(1), end(-1), archive?.span()]);
  const firstMs = Math.min(oldest, span?.firstMs ?? Infinity);
  const lastMs = Math.max(newest, span?.lastMs ?? -Infinity);
  if (firstMs > lastMs) return { fromMs: 0, untilMs: 0 };
  return { fromMs: Math.max(request.fromMs, firstMs - windowMs, 0), untilMs: Math.min(request.untilMs, lastMs + 1) };
}

function* windowsOf(fromMs: number, untilMs: number, descending: boolean): Generator<{ fromMs: number; untilMs: number }> {
  const windows: { fromMs: number; untilMs: number }[] = [];
  for (let startMs = fromMs; startMs < untilMs; ) {
    const nextMs = (Math.floor(startMs / dayMs) + daysPerQuery) * dayMs;
    windows.push({ fromMs: startMs, untilMs: Math.min(nextMs, untilMs) });
    startMs = nextMs;
  }
  yield* descending ? windows.reverse() : windows;
}

function daysOf(fromMs: number, untilMs: number): string[] {
  const days: string[] = [];
  for (let day = Math.floor(fromMs / dayMs); day * dayMs < untilMs; day += 1) days.push(dayOf(day * dayMs));
  return days;
}
