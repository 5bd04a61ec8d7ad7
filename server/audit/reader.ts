import type { Connection, mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import { extractSearchValues, patientsOf } from '../../resources/search-values/index.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Criterion, SortKey } from '../search/criteria.ts';
import { matches } from '../search/match.ts';
import type { Archive } from './archive.ts';
import type { Block } from './block.ts';
import { openEntry, timeOfId } from './entry.ts';
import { planOf, type SearchPlan } from './hints.ts';
import type { AuditRecord } from './record.ts';
import { eventId, parseEventId, renderEvents, type AuditEventJson } from './render/event.ts';
import type { AuditSite } from './render/agents.ts';
import { findEntry, scan, type ScannedEntry } from './scan.ts';
import { Tokens } from './tokens.ts';
import { auditCollection } from './trail.ts';

/** An AuditEvent in the form in which stored resources are read. */
export interface AuditEventVersion {
  readonly type: 'AuditEvent';
  readonly id: string;
  readonly versionId: number;
  readonly lastUpdated: Date;
  readonly deleted: false;
  /** Orders events by time. */
  readonly order: bigint;
  readonly bytes: Buffer;
  resource(): AuditEventJson;
  patients(): readonly string[];
}

/** What a search asks; has the shape of the storage's requests. */
export interface AuditEventSearch {
  readonly where: Criterion;
  /** By `date` or `_lastUpdated`; default: newest first. */
  readonly sort: readonly SortKey[];
  /** Page size; 0 asks for the total only. */
  readonly count: number;
  readonly total: 'none' | 'estimate' | 'accurate' | 'default';
  readonly after?: string;
}

export interface AuditEventPage {
  readonly matches: readonly AuditEventVersion[];
  readonly total?: number;
  /** Present if there may be more. A page can be short and still have a next one. */
  readonly next?: string;
}

export interface AuditReaderOptions {
  readonly audit: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  readonly site: AuditSite;
  /** What was archived is read with the rest. */
  readonly archive?: Archive;
}

/** An entry, opened. */
export interface OpenedEntry {
  readonly id: Buffer;
  readonly record: AuditRecord;
}

// What one page may open before it ends early, and what an exact total may.
const maxOpenedPerPage = 20_000;
const maxOpenedForTotal = 100_000;
const maxPageMs = 3_000;
const maxTotalMs = 5_000;

/** Reads the trail: as AuditEvents, or as records. Needs no right but to find. */
export class AuditReader {
  readonly #options: AuditReaderOptions;
  readonly #collection: mongo.Collection<Block>;
  readonly #tokens: Tokens;

  constructor(options: AuditReaderOptions) {
    this.#options = options;
    this.#collection = options.audit.collection<Block>(auditCollection);
    this.#tokens = new Tokens(options.keyring, options.tenant);
  }

  /** One AuditEvent; undefined if there is none with this id. @throws InterlockError `integrity-failure` if its entry was altered */
  async read(id: string): Promise<AuditEventVersion | undefined> {
    const parsed = parseEventId(id);
    if (parsed === undefined) return undefined;
    const found = await findEntry(this.#collection, parsed.entryId, this.#options.archive);
    if (found === undefined) return undefined;
    const event = this.render(await this.#open(found))[parsed.index];
    return event === undefined ? undefined : versionOf(parsed.entryId, parsed.index, event);
  }

  /**
   * Searches AuditEvents, exactly, in the order of time.
   * @throws InterlockError `search-unsupported` for another order, `too-costly` if an accurate total is out of reach
   */
  async search(request: AuditEventSearch): Promise<AuditEventPage> {
    const descending = directionOf(request.sort);
    const plan = planOf(request.where);
    const counted = request.total === 'accurate' || request.count === 0 ? { total: await this.#count(request.where, plan) } : {};
    if (request.count === 0) return { matches: [], ...counted };

    const after = request.after === undefined ? undefined : (parseEventId(request.after) ?? invalidCursor());
    const startedMs = performance.now();
    const found: AuditEventVersion[] = [];
    let opened = 0;
    for await (const entry of this.#candidates(resumed(plan, after, descending), descending)) {
      const order = after === undefined ? 1 : Buffer.compare(entry.id, after.entryId) * (descending ? -1 : 1);
      if (order < 0) continue;
      opened += 1;
      const events = this.render(await this.#open(entry));
      for (const [index, event] of events.entries()) {
        if (order === 0 && index <= after!.index) continue;
        const version = versionOf(entry.id, index, event);
        if (!matchesEvent(version, request.where)) continue;
        if (found.length === request.count) return { matches: found, next: found.at(-1)!.id, ...counted };
        found.push(version);
      }
      if (opened >= maxOpenedPerPage || performance.now() - startedMs > maxPageMs) return { matches: found, next: eventId(entry.id, events.length - 1), ...counted };
    }
    return { matches: found, ...(after === undefined && request.total !== 'none' ? { total: found.length } : {}), ...counted };
  }

  /** Opened entries that may satisfy a plan, in the order of time. */
  async *entries(plan: SearchPlan, descending: boolean): AsyncGenerator<OpenedEntry> {
    for await (const entry of this.#candidates(plan, descending)) yield this.#open(entry);
  }

  /** The AuditEvents of an entry. */
  render(entry: OpenedEntry): AuditEventJson[] {
    return renderEvents(entry.id, entry.record, this.#options.site);
  }

  async *#candidates(plan: SearchPlan, descending: boolean): AsyncGenerator<ScannedEntry> {
    if (plan.entryIds === undefined) {
      yield* scan(this.#collection, this.#tokens, { ...plan, descending }, this.#options.archive);
      return;
    }
    const ids = [...new Map(plan.entryIds.map((id) => [id.toString('hex'), id])).values()].sort((a, b) => Buffer.compare(a, b));
    for (const id of descending ? ids.reverse() : ids) {
      const found = await findEntry(this.#collection, id, this.#options.archive);
      if (found !== undefined) yield found;
    }
  }

  async #count(where: Criterion, plan: SearchPlan): Promise<number> {
    const startedMs = performance.now();
    let opened = 0;
    let total = 0;
    for await (const entry of this.entries(plan, true)) {
      opened += 1;
      if (opened > maxOpenedForTotal || performance.now() - startedMs > maxTotalMs) throw new InterlockError('too-costly');
      for (const [index, event] of this.render(entry).entries()) if (matchesEvent(versionOf(entry.id, index, event), where)) total += 1;
    }
    return total;
  }

  async #open(entry: ScannedEntry): Promise<OpenedEntry> {
    const record = await openEntry(this.#options.keyring, this.#options.tenant, entry.id, entry.sealed);
    return { id: entry.id, record: entry.recovered ? { ...record, recovered: true } : record };
  }
}

/** Whether newest come first. All orders by time are the same order; others are refused. */
function directionOf(sort: readonly SortKey[]): boolean {
  for (const { param } of sort) {
    if (param !== '_lastUpdated' && (param === '_id' || param.code !== 'date')) throw new InterlockError('search-unsupported', { expression: '_sort', detail: 'AuditEvents are sorted by date only.' });
  }
  return sort[0]?.descending ?? true;
}

/** Leaves out what pages before have shown; the entry at the cursor itself may have more events. */
function resumed(plan: SearchPlan, after: { readonly entryId: Buffer } | undefined, descending: boolean): SearchPlan {
  if (after === undefined) return plan;
  const atMs = timeOfId(after.entryId);
  return descending ? { ...plan, untilMs: Math.min(plan.untilMs, atMs + 1) } : { ...plan, fromMs: Math.max(plan.fromMs, atMs) };
}

function matchesEvent(version: AuditEventVersion, where: Criterion): boolean {
  const resource = version.resource();
  return matches({ type: 'AuditEvent', id: version.id, lastUpdatedMs: version.lastUpdated.getTime(), values: extractSearchValues(resource), patients: version.patients(), content: { resource, context: {} } }, where);
}

function versionOf(entryId: Buffer, index: number, event: AuditEventJson): AuditEventVersion {
  let bytes: Buffer | undefined;
  return {
    type: 'AuditEvent',
    id: event.id,
    versionId: 1,
    lastUpdated: new Date(timeOfId(entryId)),
    deleted: false,
    // The time and the first random bits of the id, then the event's number.
    order: (entryId.readBigUInt64BE(0) >> 1n) + BigInt(index),
    get bytes() {
      return (bytes ??= Buffer.from(JSON.stringify(event)));
    },
    resource: () => event,
    patients: () => patientsOf(event),
  };
}

function invalidCursor(): never {
  throw new InterlockError('search-invalid', { detail: 'The page cursor is not valid.' });
}

