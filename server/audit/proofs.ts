import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Archive } from './archive.ts';
import type { Block } from './block.ts';
import { checkpointCollection, parse, type StoredCheckpoint } from './checkpoints.ts';
import { logRecords, toLogBlock } from './log-records.ts';
import { hashOf, leafOfBatch, leafOfBlock, leafOfEntry, grow, rootOf, sizeOfBatch, type Checkpoint, type LogBlock } from './standalone/format.ts';
import { consistencyPath, pathOf, type ConsistencyProof, type InclusionProof } from './standalone/proof.ts';
import { auditCollection } from './trail.ts';

/**
 * Proves that an entry is in the trail, up to a checkpoint (the newest unless told otherwise). Opens nothing.
 * @throws InterlockError `not-found` if there is no such entry, or no checkpoint that has it yet; `integrity-failure` if what is stored no longer proves it
 */
export async function proveInclusion(audit: Connection, tenant: string, entryId: Buffer, archive?: Archive): Promise<InclusionProof> {
  const collection = audit.collection<Block>(auditCollection);
  const stored = audit.collection<StoredCheckpoint>(checkpointCollection);
  const found = await collection.findOne({ 'e.i': entryId }, { promoteBuffers: true, readConcern: 'majority' });
  const block = found === null ? await archive?.blockWith(entryId) : toLogBlock(found);
  if (block === undefined) throw new InterlockError('not-found', { detail: 'There is no such entry.' });
  const stream = block.id.slice(0, block.id.lastIndexOf(':'));
  const index = block.e.findIndex(({ i }) => i.equals(entryId));
  const { i, x, b, r } = block.e[index]!;
  const naming = await firstNaming(stored.find({ streams: stream }, { sort: { _id: 1 }, promoteBuffers: true, readConcern: 'majority' }), stream, block.n);
  if (naming === undefined) throw new InterlockError('not-found', { detail: 'No checkpoint has this entry yet: try again in a minute.' });

  const batch: Buffer[] = [];
  let place = -1;
  for await (const record of logRecords(audit, tenant, { from: naming.n, until: naming.n, ...(archive === undefined ? {} : { archive }) })) {
    if (!('block' in record)) continue;
    if (record.block.id === block.id) place = batch.length;
    batch.push(leafOfBlock(hashOfLogBlock(tenant, record.block)));
  }
  const { leaves, last } = await batches(audit);
  if (last === undefined || place < 0 || batch.length !== sizeOfBatch(naming)) throw new InterlockError('integrity-failure', { detail: 'The trail was altered where the entry stands; interlock audit verify tells how.' });
  return {
    format: 'interlock-audit-proof-1',
    entry: [i.toString('hex'), Buffer.concat([...x]).toString('base64'), b.toString('base64'), r === true ? 1 : 0],
    block: {
      stream, n: block.n, at: block.at, to: block.to, heads: block.heads,
      prev: block.prev.toString('hex'), size: block.e.length, index, path: pathOf(block.e.map(leafOfEntry), index),
    },
    batch: { size: batch.length, index: place, path: pathOf(batch, place) },
    tree: { index: naming.n - 1, path: pathOf(leaves, naming.n - 1) },
    checkpoint: last,
  };
}

/**
 * Proves that what one checkpoint signed is unchanged in what a later one signs.
 * @throws InterlockError `not-found`, `request-invalid`
 */
export async function proveConsistency(audit: Connection, from: number, to: number): Promise<ConsistencyProof> {
  if (from > to) throw new InterlockError('request-invalid', { detail: 'The earlier checkpoint comes first.' });
  const stored = audit.collection<StoredCheckpoint>(checkpointCollection);
  const [earlier, later] = await Promise.all([from, to].map((n) => stored.findOne({ _id: n }, { promoteBuffers: true, readConcern: 'majority' })));
  if (!earlier || !later) throw new InterlockError('not-found', { detail: 'There is no such checkpoint.' });
  const { leaves } = await batches(audit, to);
  return { format: 'interlock-audit-consistency-1', from: parse(earlier), to: parse(later), path: consistencyPath(leaves, from) };
}

function hashOfLogBlock(tenant: string, block: LogBlock): Buffer {
  const entries = { size: 0, peaks: [] as Buffer[] };
  for (const entry of block.e) grow(entries, leafOfEntry(entry));
  return hashOf(tenant, block.id.slice(0, block.id.lastIndexOf(':')), block, block.e.length, rootOf(entries));
}

/** The leaves of the tree, 32 bytes for each checkpoint: about 17 MB for a year of one each minute. */
async function batches(audit: Connection, upTo?: number): Promise<{ leaves: Buffer[]; last: Checkpoint | undefined }> {
  const leaves: Buffer[] = [];
  let last: Checkpoint | undefined;
  const filter = upTo === undefined ? {} : { _id: { $lte: upTo } };
  for await (const one of audit.collection<StoredCheckpoint>(checkpointCollection).find(filter, { sort: { _id: 1 }, projection: { json: 1, peaks: 1 }, promoteBuffers: true, readConcern: 'majority' })) {
    last = parse(one);
    leaves.push(leafOfBatch(last.batch, sizeOfBatch(last)));
  }
  return { leaves, last };
}

async function firstNaming(stored: AsyncIterable<StoredCheckpoint>, stream: string, n: number): Promise<Checkpoint | undefined> {
  for await (const one of stored) {
    const checkpoint = parse(one);
    if (checkpoint.blocks.some(([name, first, last]) => name === stream && n >= first && n <= last)) return checkpoint;
  }
  return undefined;
}
