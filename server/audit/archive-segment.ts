import { createHash, type KeyObject } from 'node:crypto';
import { rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import { filesOf, type Archive } from './archive.ts';
import type { Segment, SegmentFacts } from './archive-catalogue.ts';
import { IndexBuilder, maxOrdinal } from './archive-index.ts';
import type { ArchivePlace } from './archive-place.ts';
import { lineOf, logRecords } from './log-records.ts';
import { hashOfCheckpoint, parseLine, type Checkpoint, type LogRecord } from './standalone/format.ts';
import { linesOf } from './standalone/lines.ts';
import { LogVerifier, type Fault } from './standalone/log.ts';

/** Something that is wrong with a segment, and where. */
export interface SegmentFault extends Omit<Fault, 'code'> {
  readonly code: Fault['code'] | 'segment-missing' | 'segment-altered' | 'segment-index-altered' | 'catalogue-altered';
  /** Name of the segment. */
  readonly segment: string;
}

/** When a segment is full: the checkpoint that reaches one of these is its last. */
export interface SegmentLimits {
  /** 64 MiB. */
  readonly maxBytes?: number;
  /** 4,000,000: what its index holds. */
  readonly maxKeys?: number;
  /** 50,000. */
  readonly maxBlocks?: number;
}

export interface WriteSegmentOptions extends SegmentLimits {
  readonly audit: Connection;
  readonly tenant: string;
  readonly place: ArchivePlace;
  readonly publicKeys: readonly KeyObject[];
  /** Its first checkpoint; the one before has to be archived already. */
  readonly from: number;
  /** Checkpoints made later are left out. */
  readonly dueMs: number;
  readonly nowMs: number;
  /** Of the last checkpoint in it: until when the files may not be deleted, where the place can see to that. */
  readonly retainUntil: (untilMs: number) => Date;
  readonly onEntries?: (entries: number) => void;
}

/**
 * Writes the blocks that checkpoints from `from` on name into a segment: a file that is an export as `audit log` makes it,
 * so that the separate verifier reads it, and an index. The same trail gives the same bytes. What does not verify is not archived.
 * @returns what the catalogue is to say; undefined if nothing is due
 * @throws InterlockError `integrity-failure` if the trail was altered there; `disk-full`, `unavailable`
 */
export async function writeSegment(options: WriteSegmentOptions): Promise<SegmentFacts | undefined> {
  const { audit, tenant, place, publicKeys, from, dueMs, maxBytes = 64 * 2 ** 20, maxKeys = 4_000_000, maxBlocks = 50_000 } = options;
  const temporary = { lines: place.temporary('lines'), index: place.temporary('index') };
  const verifier = new LogVerifier(publicKeys);
  const index = new IndexBuilder();
  const streams = new Map<string, readonly [number, number, string]>();
  const digest = createHash('sha256');
  const times = { oldestMs: Infinity, firstMs: Infinity, lastMs: 0 };
  let bytes = 0;
  let last: Checkpoint | undefined;
  let checkpoints = 0;
  const file = await open(temporary.lines, 'w', 0o600);
  try {
    const write = async (record: LogRecord): Promise<void> => {
      verifier.accept(record);
      if (verifier.state.faults.length > 0) throw new InterlockError('integrity-failure', { detail: 'The audit trail was altered; interlock audit verify tells where. Nothing more is archived.' });
      const line = Buffer.from(`${lineOf(record)}\n`);
      if ('block' in record) {
        const { block } = record;
        index.add(block, bytes, line.length - 1);
        times.firstMs = Math.min(times.firstMs, block.to);
        times.lastMs = Math.max(times.lastMs, block.to);
        times.oldestMs = Math.min(times.oldestMs, block.e[0]?.i.readUIntBE(0, 6) ?? block.to);
        options.onEntries?.(verifier.state.entries);
      }
      digest.update(line);
      await file.writeFile(line);
      bytes += line.length;
    };
    for await (const record of logRecords(audit, tenant, { from })) {
      if ('unanchored' in record) break;
      if ('checkpoint' in record) {
        const { checkpoint } = record;
        const isFull = bytes >= maxBytes || index.keys >= maxKeys || index.blocks >= Math.min(maxBlocks, maxOrdinal / 2);
        if (Date.parse(checkpoint.at) > dueMs || isFull) break;
        for (const [stream, first, n, head] of checkpoint.blocks) streams.set(stream, [streams.get(stream)?.[0] ?? first, n, head]);
        last = checkpoint;
        checkpoints += 1;
      }
      await write(record);
    }
    if (last === undefined) return undefined;
    await write({ unanchored: true });
    await write({ end: { blocks: index.blocks, checkpoints } });
    if (!verifier.finish().ok) throw new InterlockError('integrity-failure', { detail: 'The audit trail was altered; interlock audit verify tells where. Nothing more is archived.' });
    await file.sync();
    const indexBytes = index.finish();
    const indexFile = await open(temporary.index, 'w', 0o600);
    await indexFile.writeFile(indexBytes);
    await indexFile.sync();
    await indexFile.close();
    const name = nameOf(from, last.n);
    const untilMs = Date.parse(last.at);
    const retainUntil = options.retainUntil(untilMs);
    await place.put(temporary.index, filesOf({ name }).index, retainUntil);
    await place.put(temporary.lines, filesOf({ name }).lines, retainUntil);
    return {
      _id: from, to: last.n, name, place: place.kind, blocks: index.blocks, entries: verifier.state.entries, bytes, sha256: digest.digest('hex'),
      keys: index.keys, indexSha256: sha256Of(indexBytes), ...times, oldestMs: Math.min(times.oldestMs, times.firstMs), firstMs: Math.min(times.firstMs, times.lastMs),
      streams: [...streams].map(([stream, [first, n, head]]) => [stream, first, n, head] as const), checkpoint: hashOfCheckpoint(last), untilMs, atMs: options.nowMs,
    };
  } finally {
    await file.close();
    for (const one of Object.values(temporary)) rmSync(one, { force: true });
  }
}

/** Name of the segment of these checkpoints, without ending. */
export function nameOf(from: number, to: number): string {
  return `audit-${String(from).padStart(10, '0')}-${String(to).padStart(10, '0')}`;
}

/**
 * Reads a segment back and compares it with its hashes; if they differ, finds out where.
 * @throws InterlockError `unavailable` if its place does not answer
 */
export async function checkSegment(archive: Archive, segment: Segment | SegmentFacts, publicKeys: readonly KeyObject[]): Promise<SegmentFault[]> {
  const place = archive.placeOf(segment);
  const fault = (code: SegmentFault['code'], text: string, more: Partial<SegmentFault> = {}): SegmentFault => ({ ...more, code, text, segment: segment.name });
  const { lines, index } = filesOf(segment);
  try {
    const [isWhole, isIndexed] = [(await hashOfFile(place, lines)) === segment.sha256, (await hashOfFile(place, index)) === segment.indexSha256];
    if (isWhole && isIndexed) return [];
    const found = isWhole ? [] : await locate(place, segment, publicKeys);
    return [
      ...found.map((one) => fault(one.code, one.text, one)),
      ...(!isWhole && found.length === 0 ? [fault('segment-altered', 'The file is not the one that was archived.')] : []),
      ...(isIndexed ? [] : [fault('segment-index-altered', 'The index is not the one that was archived: entries may not be found. It can be made again from the segment.')]),
    ];
  } catch (error) {
    if (error instanceof InterlockError && error.code === 'not-found') return [fault('segment-missing', 'A file of the segment is missing.')];
    throw error;
  }
}

/** What the log's own verifier says of an altered segment: each line is compared with what the checkpoints sign. */
async function locate(place: ArchivePlace, segment: SegmentFacts, publicKeys: readonly KeyObject[]): Promise<readonly Fault[]> {
  const verifier = new LogVerifier(publicKeys);
  let number = 0;
  try {
    for await (const line of linesOf(await place.stream(filesOf(segment).lines))) {
      number += 1;
      const record = parseLine(line);
      verifier.accept('unreadable' in record ? { unreadable: `Line ${number} is not as it was written.` } : record);
    }
  } catch (error) {
    if (error instanceof InterlockError) throw error;
    return [{ code: 'line-altered', text: `Line ${number + 1} has no end.` }];
  }
  return verifier.finish().faults;
}

async function hashOfFile(place: ArchivePlace, name: string): Promise<string> {
  const digest = createHash('sha256');
  for await (const chunk of (await place.stream(name)) as AsyncIterable<Buffer>) digest.update(chunk);
  return digest.digest('hex');
}

function sha256Of(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
