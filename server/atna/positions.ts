import type { Connection, mongo } from 'mongoose';
import { blockId, streamOf, type Block } from '../audit/block.ts';
import { auditCollection } from '../audit/trail.ts';

/** The next event to send of a stream: of which block, its entry, and the entry's AuditEvent. */
export interface Position {
  readonly block: number;
  readonly entry: number;
  readonly event: number;
}

interface Row extends Position {
  /** `<repository>:<stream>`. */
  readonly _id: string;
  readonly repository: string;
}

const writeConcern = { w: 'majority', j: true } as const;
const streamsPerQuery = 1_000;
const blocksPerRead = 16;

export const start: Position = { block: 0, entry: 0, event: 0 };

/** How far a repository has each stream of the trail. */
export class Positions {
  readonly #repository: string;
  readonly #rows: mongo.Collection<Row>;
  readonly #blocks: mongo.Collection<Block>;
  readonly #known = new Map<string, Position>();
  #isLoaded = false;

  constructor(app: Connection, audit: Connection, repository: string) {
    this.#repository = repository;
    this.#rows = app.collection<Row>('atna_positions');
    this.#blocks = audit.collection<Block>(auditCollection);
  }

  /** Takes up new streams. For a repository that is new itself, the trail begins `from` now, or at its beginning. */
  async discover(from: 'now' | 'beginning'): Promise<void> {
    if (!this.#isLoaded) {
      for await (const { _id, block, entry, event } of this.#rows.find({ repository: this.#repository })) this.#known.set(_id.slice(this.#repository.length + 1), { block, entry, event });
    }
    if (!this.#isLoaded) for (const [stream, { block }] of this.#known) await this.#skipArchived(stream, block);
    const isNew = !this.#isLoaded && this.#known.size === 0;
    for await (const { _id } of this.#blocks.find({ n: 0 }, { projection: { _id: 1 }, readConcern: 'majority' })) {
      const stream = streamOf(_id);
      if (this.#known.has(stream)) continue;
      await this.advance(stream, isNew && from === 'now' ? { ...start, block: (await this.#lastOf(stream)) + 1 } : start);
    }
    this.#isLoaded = true;
  }

  of(stream: string): Position {
    return this.#known.get(stream) ?? start;
  }

  /** Everything before is sent. */
  async advance(stream: string, position: Position): Promise<void> {
    await this.#rows.updateOne({ _id: `${this.#repository}:${stream}` }, { $set: { repository: this.#repository, ...position } }, { upsert: true, writeConcern });
    this.#known.set(stream, position);
  }

  /** Streams of which there is more. */
  async behind(): Promise<string[]> {
    const streams = [...this.#known.keys()];
    const found: string[] = [];
    for (let at = 0; at < streams.length; at += streamsPerQuery) {
      const ids = streams.slice(at, at + streamsPerQuery).map((stream) => blockId(stream, this.of(stream).block));
      const blocks = await this.#blocks.find({ _id: { $in: ids } }, { projection: { _id: 1 }, readConcern: 'majority' }).toArray();
      found.push(...blocks.map(({ _id }) => streamOf(_id)));
    }
    return found.sort();
  }

  /** Some blocks from a position on. */
  async read(stream: string, from: number, limit = blocksPerRead): Promise<Block[]> {
    return this.#blocks.find({ _id: { $gte: blockId(stream, from), $lt: `${stream};` } }, { sort: { _id: 1 }, limit, promoteBuffers: true, readConcern: 'majority' }).toArray();
  }

  /** Blocks that are not sent, and since when the oldest waits. */
  async backlog(): Promise<{ readonly blocks: number; readonly oldestAt?: Date }> {
    let blocks = 0;
    let oldestAt: Date | undefined;
    for (const stream of await this.behind()) {
      const { block } = this.of(stream);
      blocks += (await this.#lastOf(stream)) + 1 - block;
      const next = await this.#blocks.findOne({ _id: blockId(stream, block) }, { projection: { at: 1 } });
      if (next !== null && (oldestAt === undefined || next.at < oldestAt)) oldestAt = next.at;
    }
    return { blocks, ...(oldestAt === undefined ? {} : { oldestAt }) };
  }

  /** Blocks that left the database for the archive in the meantime are not waited for. */
  async #skipArchived(stream: string, next: number): Promise<void> {
    const [first] = await this.read(stream, next, 1);
    if (first !== undefined && first.n > next) await this.advance(stream, { ...start, block: first.n });
  }

  async #lastOf(stream: string): Promise<number> {
    // ';' follows ':' in ASCII, so the range holds just this stream's blocks.
    const [last] = await this.#blocks.find({ _id: { $gte: `${stream}:`, $lt: `${stream};` } }, { sort: { _id: -1 }, limit: 1, projection: { n: 1 }, readConcern: 'majority' }).toArray();
    return last?.n ?? -1;
  }
}
