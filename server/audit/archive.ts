import type { Connection, mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import { Catalogue, type Segment } from './archive-catalogue.ts';
import { lookup, SegmentIndex } from './archive-index.ts';
import type { ArchivePlace } from './archive-place.ts';
import { blockId, windowMs, type Block, type BlockEntry } from './block.ts';
import { timeOfId } from './entry.ts';
import { parseLine, type LogBlock, type LogRecord } from './standalone/format.ts';
import { linesOf } from './standalone/lines.ts';

export interface ArchiveOptions {
  /** Connection as the audit writer. */
  readonly audit: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  readonly places: readonly ArchivePlace[];
}

/** What a search of the archive looks for: blocks whose newest entry lies in [fromMs, untilMs + window), with an entry that has one token of each set. */
export interface ArchiveRequest {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly descending: boolean;
  readonly sets: readonly (readonly Buffer[])[];
}

/** Blocks in the order of `to`. */
export interface BlockSource {
  /** `to` of the first that can come, milliseconds. */
  readonly boundMs: number;
  open(): AsyncIterable<FoundBlock>;
}

/** A block as a scan sees it: with the entries only that may be wanted. */
export type FoundBlock = Pick<Block, '_id' | 'to' | 'e'>;

const maxOpen = 16;

/** Names of a segment's two files. */
export const filesOf = (segment: Pick<Segment, 'name'>): { readonly lines: string; readonly index: string } => ({ lines: `${segment.name}.ndjson`, index: `${segment.name}.index` });

/** Reads what was archived: segment files outside the database, each with all that a run of checkpoints names. */
export class Archive {
  readonly catalogue: Catalogue;
  readonly #options: ArchiveOptions;
  readonly #indexes = new Map<string, Promise<SegmentIndex>>();

  constructor(options: ArchiveOptions) {
    this.#options = options;
    this.catalogue = new Catalogue(options.audit, options.keyring, options.tenant);
  }

  get places(): readonly ArchivePlace[] {
    return this.#options.places;
  }

  /** Where a segment lies. @throws InterlockError `config-invalid` if that place is not configured any longer */
  placeOf(segment: Pick<Segment, 'place'>): ArchivePlace {
    const place = this.#options.places.find(({ kind }) => kind === segment.place);
    if (place === undefined) throw new InterlockError('config-invalid', { detail: `There are audit segments in a place that is not configured: ${segment.place}.` });
    return place;
  }

  /** What segments contribute to a scan. @throws InterlockError `integrity-failure` if the catalogue was altered */
  async sources(request: ArchiveRequest): Promise<BlockSource[]> {
    const { segments } = await this.catalogue.sound();
    const wanted = segments.filter(({ firstMs, lastMs }) => lastMs >= request.fromMs && firstMs < request.untilMs + windowMs);
    return wanted.map((segment) => ({ boundMs: request.descending ? segment.lastMs : segment.firstMs, open: () => this.#search(segment, request) }));
  }

  /** Oldest and newest time that segments hold. */
  async span(): Promise<{ readonly firstMs: number; readonly lastMs: number } | undefined> {
    const { segments } = await this.catalogue.sound();
    return segments.length === 0 ? undefined : { firstMs: Math.min(...segments.map(({ firstMs }) => firstMs)), lastMs: Math.max(...segments.map(({ lastMs }) => lastMs)) };
  }

  /** The archived block that has an entry. */
  async blockWith(entryId: Buffer): Promise<LogBlock | undefined> {
    const atMs = timeOfId(entryId);
    const { segments } = await this.catalogue.sound();
    for (const segment of segments.filter(({ oldestMs, lastMs }) => oldestMs <= atMs && lastMs >= atMs)) {
      for (const block of await this.#lookUp(segment, lookup.entry(entryId))) if (block.e.some(({ i }) => i.equals(entryId))) return block;
    }
    return undefined;
  }

  /** An archived block by its place; undefined also if its segment cannot be read. For verifiers, who tell of that elsewhere. */
  async blockAt(stream: string, n: number): Promise<LogBlock | undefined> {
    const { segments } = await this.catalogue.state();
    const id = blockId(stream, n);
    for (const segment of segments.filter(({ streams }) => streams.some(([name, first, last]) => name === stream && first <= n && n <= last))) {
      try {
        for (const block of await this.#lookUp(segment, lookup.block(id))) if (block.id === id) return block;
      } catch (error) {
        if (!(error instanceof InterlockError) || error.code !== 'integrity-failure') throw error;
      }
    }
    return undefined;
  }

  /** Whether a segment has an entry with this token. */
  async has(segment: Segment, token: Buffer): Promise<boolean> {
    for (const block of await this.#lookUp(segment, lookup.token(token))) if (block.e.some(({ x }) => x.some((one) => one.equals(token)))) return true;
    return false;
  }

  /** Every line of a segment. @throws InterlockError `integrity-failure` if its file is missing, `unavailable` */
  async *records(segment: Segment): AsyncGenerator<LogRecord> {
    for await (const line of linesOf(await guarded(async () => this.placeOf(segment).stream(filesOf(segment).lines)))) yield parseLine(line);
  }

  async #lookUp(segment: Segment, what: number): Promise<LogBlock[]> {
    const index = await this.#index(segment);
    if (index === undefined) return [];
    const blocks: LogBlock[] = [];
    for (const ordinal of await index.find(what)) blocks.push(await this.#block(segment, index, ordinal));
    return blocks;
  }

  async *#search(segment: Segment, { fromMs, untilMs, descending, sets }: ArchiveRequest): AsyncGenerator<FoundBlock> {
    const index = await this.#index(segment);
    // Purged since it was listed.
    if (index === undefined) return;
    let ordinals: readonly number[] | undefined;
    for (const set of sets) {
      const found = new Set<number>();
      for (const token of set) for (const ordinal of await index.find(lookup.token(token))) found.add(ordinal);
      ordinals = ordinals === undefined ? [...found] : ordinals.filter((one) => found.has(one));
      if (ordinals.length === 0) return;
    }
    const places = (ordinals ?? Array.from({ length: index.blocks }, (_, at) => at)).map((ordinal) => [ordinal, index.row(ordinal).toMs] as const).filter(([, toMs]) => toMs >= fromMs && toMs < untilMs + windowMs);
    const wanted = sets.map((set) => new Set(set.map((token) => token.toString('latin1'))));
    const matches = (entry: BlockEntry): boolean => wanted.every((set) => entry.x.some((token) => set.has(token.toString('latin1'))));
    for (const [ordinal] of places.sort(([, a], [, b]) => (descending ? b - a : a - b))) {
      const block = await this.#block(segment, index, ordinal);
      yield { _id: block.id, to: new Date(block.to), e: block.e.filter(matches) };
    }
  }

  /** @returns undefined if the segment was purged in the meantime */
  async #index(segment: Segment): Promise<SegmentIndex | undefined> {
    let opening = this.#indexes.get(segment.name);
    if (opening === undefined) {
      opening = this.#open(segment);
      opening.catch(() => this.#indexes.delete(segment.name));
    }
    this.#indexes.delete(segment.name);
    this.#indexes.set(segment.name, opening);
    for (const oldest of this.#indexes.keys()) if (this.#indexes.size > maxOpen) this.#indexes.delete(oldest);
    try {
      return await opening;
    } catch (error) {
      const { segments } = await this.catalogue.sound(true);
      if (segments.some(({ _id }) => _id === segment._id)) throw error;
      return undefined;
    }
  }

  async #open(segment: Segment): Promise<SegmentIndex> {
    const place = this.placeOf(segment);
    const index = await guarded(async () => SegmentIndex.open(async (from, to) => place.read(filesOf(segment).index, from, to), segment.blocks, segment.keys));
    if (index === undefined) throw altered();
    return index;
  }

  async #block(segment: Segment, index: SegmentIndex, ordinal: number): Promise<LogBlock> {
    if (ordinal >= index.blocks) throw altered();
    const { offset, bytes } = index.row(ordinal);
    if (offset + bytes > segment.bytes) throw altered();
    const line = await guarded(async () => this.placeOf(segment).read(filesOf(segment).lines, offset, offset + bytes));
    const record = parseLine(line.toString());
    if (!('block' in record)) throw altered();
    return record.block;
  }
}

/** A file that should be there and is not must not look like an empty answer. */
async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw cause instanceof InterlockError && cause.code === 'not-found' ? new InterlockError('integrity-failure', { detail: 'An archived segment of the audit trail is missing.', cause }) : cause;
  }
}

function altered(): InterlockError {
  return new InterlockError('integrity-failure', { detail: 'An archived segment of the audit trail was altered; interlock audit verify tells where.' });
}

/** Merges blocks of several sources in the order of `to`; each is opened when it is its turn. */
export async function* merged(sources: readonly BlockSource[], descending: boolean): AsyncGenerator<FoundBlock> {
  const sign = descending ? -1 : 1;
  const waiting = sources.map((source) => ({ source, atMs: sign * source.boundMs })).sort((a, b) => a.atMs - b.atMs);
  const active: { readonly blocks: AsyncIterator<FoundBlock, undefined>; head: FoundBlock }[] = [];
  try {
    for (;;) {
      const least = active.length === 0 ? undefined : active.reduce((one, other) => (sign * one.head.to.getTime() <= sign * other.head.to.getTime() ? one : other));
      const [next] = waiting;
      if (next !== undefined && (least === undefined || next.atMs <= sign * least.head.to.getTime())) {
        waiting.shift();
        const blocks = next.source.open()[Symbol.asyncIterator]() as AsyncIterator<FoundBlock, undefined>;
        const { done, value } = await blocks.next();
        if (done !== true) active.push({ blocks, head: value });
        continue;
      }
      if (least === undefined) return;
      yield least.head;
      const { done, value } = await least.blocks.next();
      if (done === true) active.splice(active.indexOf(least), 1);
      else least.head = value;
    }
  } finally {
    for (const { blocks } of active) await blocks.return?.();
  }
}

/** How many blocks of a segment the database still has. */
export async function copiesOf(collection: mongo.Collection<Block>, segment: Pick<Segment, 'streams'>): Promise<number> {
  let count = 0;
  for (const [stream, first, last] of segment.streams) count = count + (await collection.countDocuments({ _id: { $gte: blockId(stream, first), $lte: blockId(stream, last) } }, { readConcern: 'majority' }));
  return count;
}
