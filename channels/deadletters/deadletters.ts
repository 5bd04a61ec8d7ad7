import type { Collection, Connection } from 'mongoose';
import type { ChannelReading } from '../ingest.ts';
import { MessageRefused } from '../format.ts';
import { identityTokens, keyTokens } from '../inbox/intake.ts';
import { aadOf, inboxCollection, type InboxRow, type MessageFacts, type MessageFlag } from '../inbox/row.ts';
import type { AckOutcome, Failure, InboxState } from '../inbox/states.ts';
import { openFacts, openMessage } from '../inbox/work.ts';
import type { Audit, ChannelAuditEvent, Seal } from '../ports.ts';

/** A message as a list shows it: no content. */
export interface MessageSummary {
  readonly messageId: string;
  readonly channelId: string;
  readonly receivedAt: Date;
  readonly state: InboxState;
  readonly acknowledged: AckOutcome;
  /** Absent once purged. */
  readonly partner?: string;
  readonly messageType?: string;
  readonly attempts: number;
  /** How often a refused message came. */
  readonly times: number;
  readonly holds: boolean;
  readonly failure?: Failure;
  readonly flags: readonly MessageFlag[];
}

/** A message with its content. */
export interface MessageDetail extends MessageSummary {
  readonly controlId?: string;
  readonly address?: string;
  /** Absent once purged. */
  readonly body?: Buffer;
  readonly acknowledgement: Buffer;
  /** What it stored, as `Type/id`. */
  readonly stored: readonly string[];
}

/** `still-refused`: it cannot be read or mapped now either; `accepted-meanwhile`: the same message came again and was taken. */
export type ReplayOutcome = 'replayed' | 'not-found' | 'not-failed' | 'purged' | 'still-refused' | 'accepted-meanwhile';

export interface DeadLettersOptions {
  readonly connection: Connection;
  readonly seal: Seal;
  readonly audit: Audit;
  readonly channels: () => ReadonlyMap<string, ChannelReading>;
  /** Called when something can be worked on. */
  readonly onReplayed: () => void;
}

const durable = { writeConcern: { w: 'majority', j: true } } as const;
const pageSize = 100;

/** Messages that failed: seeing them, and putting them back to work. Whoever calls has checked that `actor` may. */
export class DeadLetters {
  readonly #rows: Collection<InboxRow>;
  readonly #options: DeadLettersOptions;

  constructor(options: DeadLettersOptions) {
    this.#options = options;
    this.#rows = options.connection.collection<InboxRow>(inboxCollection);
  }

  /** Failed messages of a channel, oldest first, 100 at most. @param after id of the last one of the page before */
  async list(channelId: string, after?: string): Promise<MessageSummary[]> {
    const last = after === undefined ? null : await this.#rows.findOne({ _id: after }, { projection: { seq: 1 } });
    const rows = await this.#rows.find({ channel: channelId, state: 'failed', ...(last === null ? {} : { seq: { $gt: last.seq } }) },
      { sort: { seq: 1 }, limit: pageSize, promoteBuffers: true, projection: { body: 0, stored: 0 } }).toArray();
    return await Promise.all(rows.map(async (row) => summaryOf(row, await this.#factsOf(row))));
  }

  /** Opens one message of any state; recorded before it is disclosed. */
  async show(messageId: string, actor: string): Promise<MessageDetail | undefined> {
    const row = await this.#find(messageId);
    if (row === undefined) return undefined;
    const facts = await this.#factsOf(row);
    await this.#options.audit.record(this.#event(row, facts, 'message-shown', actor));
    const { seal } = this.#options;
    return {
      ...summaryOf(row, facts),
      ...(facts?.controlId === undefined ? {} : { controlId: facts.controlId }),
      ...(facts === undefined ? {} : { address: facts.partner.address }),
      ...(row.body === undefined ? {} : { body: await seal.open(row.body, aadOf(row, 'body')) }),
      acknowledgement: await seal.open(row.ack, aadOf(row, 'ack')),
      stored: row.stored === undefined ? [] : JSON.parse((await seal.open(row.stored, aadOf(row, 'stored'))).toString('utf8')) as string[],
    };
  }

  /**
   * Puts a failed message back to work, in its old place in the order. What still cannot be mapped stays where it is, so
   * that replaying is safe to try. Also for messages that the door refused: their sender thinks them lost.
   */
  async replay(messageId: string, actor: string): Promise<ReplayOutcome> {
    const row = await this.#find(messageId);
    if (row === undefined) return 'not-found';
    if (row.state !== 'failed') return 'not-failed';
    const channel = this.#options.channels().get(row.channel);
    if (channel === undefined) return 'not-found';
    if (row.body === undefined) return 'purged';
    const { body, facts } = await openMessage(this.#options.seal, row);
    let decoded;
    try {
      decoded = channel.format.decode(body, { channelId: row.channel, zone: channel.definition.zone, attributes: facts.attributes ?? {}, receivedAtMs: facts.receivedAtMs });
      await decoded.plan();
    } catch (error) {
      if (error instanceof MessageRefused || row.failure?.code === 'map-failed') return 'still-refused';
      throw error;
    }
    const { seal } = this.#options;
    const keys = keyTokens(seal, row.channel, decoded.orderingKeys);
    const identity = row.dedup === undefined ? identityTokens(seal, row.channel, facts.partner.name, decoded.controlId, body) : {};
    await this.#options.audit.record(this.#event(row, facts, 'message-replayed', actor));
    try {
      const result = await this.#rows.updateOne({ _id: messageId, state: 'failed' }, {
        $set: { state: 'received', live: true, attempts: 0, failures: 0, keys, ...identity },
        $unset: { holds: '', failure: '', firstFailedAt: '', nextAttemptAt: '', refusal: '' }, $inc: { fence: 1 },
      }, durable);
      if (result.matchedCount !== 1) return 'not-failed';
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 11000) return 'accepted-meanwhile';
      throw error;
    }
    this.#options.onReplayed();
    return 'replayed';
  }

  /** Replays every failed message of a channel that was accepted from its sender, oldest first; refused ones only one by one. @returns how many */
  async replayAll(channelId: string, actor: string): Promise<number> {
    let replayed = 0;
    let seq = 0;
    for (;;) {
      const page = await this.#rows.find({ channel: channelId, state: 'failed', acknowledged: 'accepted', seq: { $gt: seq } }, { projection: { seq: 1 }, sort: { seq: 1 }, limit: pageSize }).toArray();
      for (const row of page) if (await this.replay(row._id, actor) === 'replayed') replayed += 1;
      if (page.length < pageSize) return replayed;
      seq = page.at(-1)!.seq;
    }
  }

  /** Gives a failed message up: it stays failed, and what waits behind it goes on. @returns false if it is not failed */
  async dismiss(messageId: string, actor: string): Promise<boolean> {
    const row = await this.#find(messageId);
    if (row?.state !== 'failed') return false;
    await this.#options.audit.record(this.#event(row, await this.#factsOf(row), 'message-dismissed', actor));
    const result = await this.#rows.updateOne({ _id: messageId, state: 'failed' }, { $unset: { live: '', holds: '' } }, durable);
    if (row.holds === true) this.#options.onReplayed();
    return result.matchedCount === 1;
  }

  async #find(messageId: string): Promise<InboxRow | undefined> {
    return await this.#rows.findOne({ _id: messageId }, { promoteBuffers: true }) ?? undefined;
  }

  async #factsOf(row: InboxRow): Promise<MessageFacts | undefined> {
    return row.meta === undefined ? undefined : await openFacts(this.#options.seal, row);
  }

  #event(row: InboxRow, facts: MessageFacts | undefined, interaction: ChannelAuditEvent['interaction'], actor: string): ChannelAuditEvent {
    return {
      interaction, outcome: '0', channelId: row.channel, messageId: row._id, actor,
      ...(facts === undefined ? {} : { partner: facts.partner }),
      ...(facts?.controlId === undefined ? {} : { controlId: facts.controlId }), ...(facts?.messageType === undefined ? {} : { messageType: facts.messageType }),
    };
  }
}

function summaryOf(row: InboxRow, facts: MessageFacts | undefined): MessageSummary {
  return {
    messageId: row._id, channelId: row.channel, receivedAt: row.at, state: row.state, acknowledged: row.acknowledged,
    attempts: row.attempts, times: row.times ?? 1, holds: row.holds === true, flags: row.flags ?? [],
    ...(facts === undefined ? {} : { partner: facts.partner.name }), ...(facts?.messageType === undefined ? {} : { messageType: facts.messageType }),
    ...(row.failure === undefined ? {} : { failure: row.failure }),
  };
}
