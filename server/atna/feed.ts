import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Block } from '../audit/block.ts';
import { openEntry } from '../audit/entry.ts';
import type { AuditSite } from '../audit/render/agents.ts';
import { renderEvents, type AuditEventJson } from '../audit/render/event.ts';
import { PersistentLoop } from '../delivery/persistent-loop.ts';
import { failureName } from '../delivery/queue.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Log } from '../observe/log.ts';
import { Positions, type Position } from './positions.ts';
import type { Repository } from './repositories.ts';

export interface FeedOptions {
  readonly app: Connection;
  readonly audit: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  readonly site: AuditSite;
  readonly log: Log;
  readonly repository: Repository;
  /** Where a new repository begins. */
  readonly from: 'now' | 'beginning';
  /** Told of what was not sent: refused by the repository, not readable, or kept waiting for long. */
  readonly onFault: (rule: 'delivery-failed' | 'verification-failed', what: string) => void;
  readonly firstRetryMs?: number;
  readonly maxRetryMs?: number;
  /** How long events gather before they are sent: 1,000. */
  readonly gatherMs?: number;
}

const eventsPerBatch = 200;
const discoverMs = 60_000;
const longMs = 3600_000;

/**
 * Sends the trail's events to a repository, in the order of each stream, at least once. The queue is the trail itself: only how far
 * the repository has it is stored, after it has it.
 */
export class Feed {
  readonly #options: FeedOptions;
  readonly #positions: Positions;
  readonly #loop: PersistentLoop;
  #discoveredAt = -Infinity;
  #gathering: NodeJS.Timeout | undefined;
  readonly #timer: NodeJS.Timeout;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#positions = new Positions(options.app, options.audit, options.repository.name);
    this.#loop = new PersistentLoop({ ...options, work: (signal) => this.#drain(signal), onFailing: (error) => options.log.error('audit repository takes nothing', { state: options.repository.name, errorName: failureName(error) }) });
    // Other processes write streams too.
    this.#timer = setInterval(() => {
      if (this.#loop.failingMs >= longMs) options.onFault('delivery-failed', options.repository.name);
      this.#loop.notify();
    }, discoverMs / 4).unref();
    this.#loop.notify();
  }

  /** There are new entries. */
  notify(): void {
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      this.#loop.notify();
    }, this.#options.gatherMs ?? 1_000).unref();
  }

  /** What the repository does not have yet. */
  async status(): Promise<{ readonly repository: string; readonly blocks: number; readonly oldestAt?: Date; readonly failures: number }> {
    return { repository: this.#options.repository.name, ...(await this.#positions.backlog()), failures: this.#loop.failures };
  }

  /** Ends; the rest is sent after the next start. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#gathering);
    await this.#loop.close();
  }

  async #drain(signal: AbortSignal): Promise<void> {
    if (performance.now() - this.#discoveredAt >= discoverMs) {
      await this.#positions.discover(this.#options.from);
      this.#discoveredAt = performance.now();
    }
    for (const stream of await this.#positions.behind()) await this.#sendStream(stream, signal);
  }

  async #sendStream(stream: string, signal: AbortSignal): Promise<void> {
    let batch: AuditEventJson[] = [];
    let reached = this.#positions.of(stream);
    const send = async (): Promise<void> => {
      signal.throwIfAborted();
      const { repository, onFault, log } = this.#options;
      if (batch.length > 0) {
        const refused = await repository.send(batch, signal);
        if (refused > 0) {
          log.error('audit repository refused events', { state: repository.name, count: refused });
          onFault('delivery-failed', repository.name);
        }
      }
      batch = [];
      await this.#positions.advance(stream, reached);
      this.#loop.succeeded();
    };
    for (;;) {
      const blocks = await this.#positions.read(stream, reached.block);
      if (blocks.length === 0) break;
      for (const block of blocks) {
        for await (const { event, after } of this.#eventsOf(block, reached.block === block.n ? reached : { block: block.n, entry: 0, event: 0 })) {
          batch.push(event);
          reached = after;
          if (batch.length >= eventsPerBatch) await send();
        }
        reached = { block: block.n + 1, entry: 0, event: 0 };
      }
      await send();
    }
  }

  /** The events of a block from a position on, each with the position after it. */
  async *#eventsOf(block: Block, from: Position): AsyncGenerator<{ readonly event: AuditEventJson; readonly after: Position }> {
    for (const [index, entry] of block.e.entries()) {
      if (index < from.entry) continue;
      const events = await this.#render(entry);
      for (const [number, event] of events.entries()) {
        if (index === from.entry && number < from.event) continue;
        const isLast = number === events.length - 1;
        yield { event, after: { block: block.n, entry: isLast ? index + 1 : index, event: isLast ? 0 : number + 1 } };
      }
    }
  }

  async #render({ i, b, r }: Block['e'][number]): Promise<AuditEventJson[]> {
    const { keyring, tenant, site, onFault } = this.#options;
    try {
      const record = await openEntry(keyring, tenant, i, b);
      return renderEvents(i, r === true ? { ...record, recovered: true } : record, site);
    } catch (error) {
      if (!(error instanceof InterlockError) || (error.code !== 'integrity-failure' && error.code !== 'key-missing')) throw error;
      // One altered entry must not keep back all that follow; which one it is, the verifier tells.
      onFault('verification-failed', 'an audit entry does not open');
      return [];
    }
  }
}
