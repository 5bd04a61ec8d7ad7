import type { Connection, mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import { copiesOf, type Archive } from './archive.ts';
import { blockId, hashOfBlock, macOfBlock, noBlock, streamOf, streamPattern, windowMs, type Block, type BlockEntry, type Head } from './block.ts';
import { idBytes, openEntry, timeOfId } from './entry.ts';
import { IdSet } from './id-set.ts';
import type { AuditRecord } from './record.ts';
import type { Checkpoint, LogBlock } from './standalone/format.ts';
import { auditCollection } from './trail.ts';
import { tokenBytes, Tokens } from './tokens.ts';

/** What can be wrong with a trail. */
export type FaultCode =
  | 'block-malformed' | 'block-misplaced' | 'block-missing' | 'block-altered' | 'block-forged' | 'chain-broken' | 'time-reversed'
  | 'entry-altered' | 'entry-unreadable' | 'entry-misplaced' | 'entry-tokens-altered' | 'entry-repeated'
  | 'stream-missing' | 'stream-truncated' | 'stream-rewritten' | 'opening-missing';

/** One thing that is wrong, and where. */
export interface AuditFault {
  readonly code: FaultCode;
  readonly stream: string;
  /** Block number within the stream. */
  readonly block?: number;
  /** Entry id, hex. */
  readonly entry?: string;
  /** In plain words. */
  readonly text: string;
}

export interface VerifyProgress {
  readonly blocks: number;
  readonly entries: number;
}

export interface VerifyReport {
  readonly ok: boolean;
  readonly streams: number;
  readonly blocks: number;
  readonly entries: number;
  /** Entries that a sweep wrote for a crashed process. */
  readonly recovered: number;
  /** At most {@link maxFaults}, in the order in which they were found: the first is the first bad place. */
  readonly faults: readonly AuditFault[];
}

export interface VerifyOptions {
  readonly audit: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  /** Where blocks are that the database has no longer, and what was purged. */
  readonly archive?: Archive;
  /** Stored checkpoints, both ends included; needed with an archive. */
  readonly checkpoints?: (from: number, to: number) => AsyncIterable<Checkpoint>;
  readonly onProgress?: (progress: VerifyProgress) => void;
  /** Given each entry that opens. */
  readonly onRecord?: (id: Buffer, record: AuditRecord) => void;
  /** Awaited after each block: where others get their turn. */
  readonly breathe?: () => Promise<void>;
}

export const maxFaults = 100;

const texts: Readonly<Record<FaultCode, string>> = {
  'block-malformed': 'The block has a field that is missing, unknown or of a wrong kind.',
  'block-misplaced': 'The block does not stand where its number says.',
  'block-missing': 'A block is missing: its number is skipped.',
  'block-altered': 'The block is not what its hash says: something in it was changed, added, removed or moved.',
  'block-forged': 'The block was not written by this system: its hash does not carry the key of the trail.',
  'chain-broken': 'The block does not follow the block before it.',
  'time-reversed': 'The block was written before the block before it, or is later than its writing.',
  'entry-altered': 'The entry does not open: it was changed, or belongs under another id.',
  'entry-unreadable': 'The entry cannot be opened: its key is not there.',
  'entry-misplaced': 'The entry is out of the order of time, or its record has another time than its id.',
  'entry-tokens-altered': 'The entry cannot be found by what it holds: its search tokens were changed.',
  'entry-repeated': 'The entry stands in the trail more than once.',
  'stream-missing': 'A stream is gone that another stream names.',
  'stream-truncated': 'The stream ends before the block that another stream names.',
  'stream-rewritten': 'The stream has another block than the one that another stream names.',
  'opening-missing': 'The stream does not begin with an opening block.',
};

/**
 * Checks the whole trail with its keys (checkpoints are `LogVerifier`'s matter): every block's hash, link, number, order and key, every entry's seal, id, order and tokens, and that
 * the blocks exist which openings of later streams name.
 */
export async function verifyTrail(options: VerifyOptions): Promise<VerifyReport> {
  return new Verifier(options).run();
}

type Blocks = mongo.Collection<Block>;

interface Named {
  readonly stream: string;
  readonly n: number;
  readonly hash: string;
  readonly by: string;
}

/** Where a stream stands while it is walked. */
interface Reached {
  readonly n: number;
  readonly hash: Buffer;
  readonly atMs: number;
}

/** `copy`: the database still has it, or has its opening, though it was archived or purged. */
type Origin = 'database' | 'archive' | 'copy';

const blockFields = new Set(['_id', 'n', 'at', 'to', 'e', 'prev', 'hash', 'mac', 'heads']);
const entryFields = new Set(['i', 'x', 'b', 'r']);
const progressEveryBlocks = 500;

class Verifier {
  readonly #options: VerifyOptions;
  readonly #tokens: Tokens;
  readonly #ids = new IdSet();
  readonly #faults: AuditFault[] = [];
  // What must exist; hashes of just these blocks are kept while walking.
  readonly #named: Named[] = [];
  readonly #reached = new Map<string, Reached>();
  readonly #purged = new Map<string, number>();
  #blocks = 0;
  #entries = 0;
  #recovered = 0;

  constructor(options: VerifyOptions) {
    this.#options = options;
    this.#tokens = new Tokens(options.keyring, options.tenant);
  }

  async run(): Promise<VerifyReport> {
    const { audit, onProgress } = this.#options;
    const collection = audit.collection<Block>(auditCollection);
    for await (const { block, origin } of this.#all(collection)) {
      await this.#checkBlock(block, origin);
      await this.#options.breathe?.();
      if (this.#blocks % progressEveryBlocks === 0) onProgress?.({ blocks: this.#blocks, entries: this.#entries });
    }
    for (const named of this.#named) await this.#checkNamed(collection, named);
    await this.#checkRepeated(collection);
    onProgress?.({ blocks: this.#blocks, entries: this.#entries });
    return {
      ok: this.#faults.length === 0, streams: this.#reached.size, blocks: this.#blocks, entries: this.#entries, recovered: this.#recovered,
      faults: this.#faults,
    };
  }

  #fault(code: FaultCode, place: Omit<AuditFault, 'code' | 'text'>, more?: string): void {
    if (this.#faults.length < maxFaults) this.#faults.push({ code, ...place, text: more === undefined ? texts[code] : `${texts[code]} ${more}` });
  }

  /** Every block: first what was archived, checkpoint by checkpoint, then the database by _id. In both a stream's blocks come in their order. */
  async *#all(collection: Blocks): AsyncGenerator<{ block: Block; origin: Origin }> {
    const archived = new Map<string, number>();
    for await (const block of this.#archived(collection, archived)) yield { block, origin: 'archive' };
    for await (const block of collection.find({}, { sort: { _id: 1 }, promoteBuffers: true, readConcern: 'majority' })) {
      const isCopy = typeof block._id === 'string' && typeof block.n === 'number' && block.n <= (archived.get(streamOf(block._id)) ?? -1);
      yield { block, origin: isCopy ? 'copy' : 'database' };
    }
  }

  async *#archived(collection: Blocks, archived: Map<string, number>): AsyncGenerator<Block> {
    const { archive, checkpoints } = this.#options;
    if (archive === undefined || checkpoints === undefined) return;
    const { segments, tombstones } = await archive.catalogue.state(true);
    const parts = [...segments.map((segment) => ({ from: segment._id, segment })), ...tombstones.map((tombstone) => ({ from: tombstone.from, tombstone }))].sort((a, b) => a.from - b.from);
    for (const part of parts) {
      if ('segment' in part) {
        // While the database has all of it, that is what counts; the segment's hash is checked elsewhere.
        if ((await copiesOf(collection, part.segment)) === part.segment.blocks) continue;
        try {
          for await (const record of archive.records(part.segment)) if ('block' in record) yield toBlock(record.block);
        } catch (error) {
          // A file that is missing is told of elsewhere; here its blocks will be.
          if (!(error instanceof InterlockError) || error.code !== 'integrity-failure') throw error;
        }
        for (const [stream, , last] of part.segment.streams) archived.set(stream, last);
        continue;
      }
      for await (const { blocks } of checkpoints(part.tombstone.from, part.tombstone.to)) {
        for (const [stream, , last, hash] of blocks) {
          this.#reached.set(stream, { n: last, hash: Buffer.from(hash, 'hex'), atMs: 0 });
          this.#purged.set(stream, last);
          archived.set(stream, last);
        }
      }
    }
  }

  async #checkBlock(block: Block, origin: Origin): Promise<void> {
    const id: unknown = block._id;
    const stream = typeof id === 'string' ? streamOf(id) : '';
    const place = { stream, ...(typeof block.n === 'number' ? { block: block.n } : {}) };
    if (!isBlock(block) || !streamPattern.test(stream)) {
      this.#fault('block-malformed', place);
      return;
    }
    if (block._id !== blockId(stream, block.n)) this.#fault('block-misplaced', place);
    if (!hashOfBlock(this.#options.tenant, { ...block, stream }).equals(block.hash)) this.#fault('block-altered', place);
    // What was read from a segment has no MAC: the checkpoints' signature takes its place.
    if (origin !== 'archive' && !macOfBlock(this.#options.keyring, this.#options.tenant, block.hash).equals(block.mac)) this.#fault('block-forged', place);
    if (origin === 'copy') return;
    this.#blocks += 1;
    this.#checkLink(block, this.#reached.get(stream), place);
    this.#reached.set(stream, { n: block.n, hash: block.hash, atMs: block.at.getTime() });
    if (block.heads !== undefined) for (const head of block.heads) this.#named.push({ stream: head.stream, n: head.n, hash: head.hash.toString('hex'), by: `the opening of ${stream}` });
    await this.#checkEntries(block, place);
  }

  #checkLink(block: Block, previous: Reached | undefined, place: Omit<AuditFault, 'code' | 'text'>): void {
    const expected = previous === undefined ? 0 : previous.n + 1;
    if (block.n !== expected) {
      const last = block.n - 1;
      this.#fault('block-missing', { stream: place.stream, block: expected }, last > expected ? `So are those up to ${last}.` : undefined);
    } else if (!block.prev.equals(previous?.hash ?? noBlock)) {
      this.#fault('chain-broken', place);
    }
    if ((block.n === 0) !== (block.heads !== undefined)) this.#fault('opening-missing', place);
    if (previous !== undefined && block.at.getTime() < previous.atMs) this.#fault('time-reversed', place);
  }

  async #checkEntries(block: Block, place: Omit<AuditFault, 'code' | 'text'>): Promise<void> {
    const { keyring, tenant } = this.#options;
    let previous: Buffer | undefined;
    const newest = block.e.at(-1);
    const oldest = block.e[0];
    if (newest !== undefined && oldest !== undefined && (timeOfId(newest.i) !== block.to.getTime() || timeOfId(newest.i) - timeOfId(oldest.i) > windowMs)) this.#fault('block-misplaced', place);
    for (const entry of block.e) {
      this.#entries += 1;
      if (entry.r === true) this.#recovered += 1;
      const where = { ...place, entry: entry.i.toString('hex') };
      this.#ids.add(entry.i);
      try {
        const record = await openEntry(keyring, tenant, entry.i, entry.b);
        this.#options.onRecord?.(entry.i, record);
        if (Math.trunc(record.at) !== timeOfId(entry.i) || (previous !== undefined && Buffer.compare(previous, entry.i) >= 0)) this.#fault('entry-misplaced', where);
        if (!sameTokens(this.#tokens.ofRecord(record), entry.x)) this.#fault('entry-tokens-altered', where);
      } catch (error) {
        if (!(error instanceof InterlockError)) throw error;
        // An altered key id looks like a key that is not there; the block's hash tells them apart.
        this.#fault(error.code === 'integrity-failure' ? 'entry-altered' : 'entry-unreadable', where);
      }
      previous = entry.i;
    }
  }

  async #checkNamed(collection: Blocks, named: Named): Promise<void> {
    const length = this.#reached.get(named.stream)?.n;
    const place = { stream: named.stream, block: named.n };
    const by = `Named by ${named.by}.`;
    if (length === undefined) {
      this.#fault('stream-missing', { stream: named.stream }, by);
      return;
    }
    if (length < named.n) {
      this.#fault('stream-truncated', place, by);
      return;
    }
    // What was purged cannot be compared any longer; the checkpoints vouch for where it ended.
    if (named.n <= (this.#purged.get(named.stream) ?? -1)) return;
    const block = (await collection.findOne({ _id: blockId(named.stream, named.n) }, { projection: { hash: 1 }, promoteBuffers: true, readConcern: 'majority' })) ?? (await this.#options.archive?.blockAt(named.stream, named.n));
    if (block === null || block === undefined || !isBytes(block.hash, 32) || block.hash.toString('hex') !== named.hash) this.#fault('stream-rewritten', place, by);
  }

  /** The same entry twice is right only if a sweep wrote it again while its own process was still at it. */
  async #checkRepeated(collection: Blocks): Promise<void> {
    const mayRepeat = this.#ids.repeated();
    if (mayRepeat === undefined) return;
    const seen = new Map<string, { readonly b: Buffer; readonly original: boolean }>();
    for await (const { block, origin } of this.#all(collection)) {
      if (origin === 'copy' || !isBlock(block)) continue;
      for (const entry of block.e.filter(({ i }) => mayRepeat(i))) {
        const id = entry.i.toString('hex');
        const first = seen.get(id);
        const original = entry.r !== true;
        if (first !== undefined && ((first.original && original) || !first.b.equals(entry.b))) {
          this.#fault('entry-repeated', { stream: streamOf(block._id), block: block.n, entry: id });
        }
        seen.set(id, { b: entry.b, original: original || first?.original === true });
      }
    }
  }
}

/** A block of a segment in the form of the database's. */
function toBlock({ id, n, at, to, heads, prev, hash, e }: LogBlock): Block {
  return { _id: id, n, at: new Date(at), to: new Date(to), e, prev, hash, mac: noBlock, ...(heads === null ? {} : { heads: heads.map(([stream, last, head]) => ({ stream, n: last, hash: Buffer.from(head, 'hex') })) }) };
}

/** Whether a document has the form of a block, whatever it says. */
export function isBlock(block: Block): boolean {
  return Object.keys(block).every((field) => blockFields.has(field))
    && Number.isSafeInteger(block.n) && block.n >= 0 && isDate(block.at) && isDate(block.to)
    && isBytes(block.prev, 32) && isBytes(block.hash, 32) && isBytes(block.mac, 32)
    && Array.isArray(block.e) && block.e.every(isEntry)
    && (block.heads === undefined || (Array.isArray(block.heads) && block.heads.every(isHead)));
}

function isHead(head: Head): boolean {
  return typeof head === 'object' && head !== null && Object.keys(head).length === 3
    && typeof head.stream === 'string' && streamPattern.test(head.stream) && Number.isSafeInteger(head.n) && isBytes(head.hash, 32);
}

function isEntry(entry: BlockEntry): boolean {
  return typeof entry === 'object' && entry !== null && Object.keys(entry).every((field) => entryFields.has(field))
    && isBytes(entry.i, idBytes) && isBytes(entry.b) && Array.isArray(entry.x) && entry.x.every((token) => isBytes(token, tokenBytes))
    && ('r' in entry ? entry.r === true : true);
}

function isDate(value: unknown): boolean {
  return value instanceof Date && !Number.isNaN(value.getTime());
}

function isBytes(value: unknown, size?: number): boolean {
  return Buffer.isBuffer(value) && (size === undefined || value.length === size);
}

function sameTokens(a: readonly Buffer[], b: readonly Buffer[]): boolean {
  return a.length === b.length && a.every((token, index) => token.equals(b[index]!));
}
