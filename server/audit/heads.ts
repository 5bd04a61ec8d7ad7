import type { mongo } from 'mongoose';
import { streamOf, type Block, type Head } from './block.ts';

const parallelLookups = 16;

/** Everything that the openings of streams say, and where each stream stands now. */
export interface StreamHeads {
  readonly heads: readonly Head[];
  /** Heads that no opening names at that position: what the next opening has to name. The rest hangs on these. */
  readonly unnamed: readonly Head[];
}

/** Finds the last block of every stream. */
export async function readHeads(collection: mongo.Collection<Block>): Promise<StreamHeads> {
  const openings = await collection.find({ n: 0 }, { projection: { _id: 1, heads: 1 }, promoteBuffers: true, readConcern: 'majority' }).toArray();
  const known = openings.flatMap((opening) => opening.heads ?? []);
  const named = new Set(known.map(nameOf));
  // Of an archived stream only the opening is left here; where it ended was named long ago.
  const ended = new Set(known.filter(({ n }) => n > 0).map(({ stream }) => stream));
  const streams = openings.map((opening) => streamOf(opening._id)).sort();
  const heads: Head[] = [];
  for (let i = 0; i < streams.length; i += parallelLookups) {
    const found = await Promise.all(streams.slice(i, i + parallelLookups).map((stream) => readHead(collection, stream)));
    heads.push(...found.filter((head) => head !== undefined));
  }
  return { heads, unnamed: heads.filter((head) => !named.has(nameOf(head)) && !(head.n === 0 && ended.has(head.stream))) };
}

async function readHead(collection: mongo.Collection<Block>, stream: string): Promise<Head | undefined> {
  // ';' follows ':' in ASCII, so the range holds just this stream's blocks.
  const [last] = await collection
    .find({ _id: { $gte: `${stream}:`, $lt: `${stream};` } }, { sort: { _id: -1 }, limit: 1, projection: { n: 1, hash: 1 }, promoteBuffers: true, readConcern: 'majority' })
    .toArray();
  return last === undefined ? undefined : { stream, n: last.n, hash: last.hash };
}

function nameOf(head: Head): string {
  return `${head.stream}:${head.n}:${head.hash.toString('hex')}`;
}
