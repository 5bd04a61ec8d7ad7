import { randomUUID } from 'node:crypto';
import type { SecureContextOptions, TlsOptions } from 'node:tls';
import type { Collection, Connection } from 'mongoose';
import { InterlockError } from '../resources/outcome/error.ts';
import { channelDefinitionSchema, type ChannelDefinition, type ChannelDefinitionInput } from './definition.ts';
import { DeadLetters } from './deadletters/deadletters.ts';
import type { AckVerdict, MessageFormat } from './format.ts';
import { ingest, refuseOversize, type ChannelReading, type IngestResult } from './ingest.ts';
import { Intake } from './inbox/intake.ts';
import { purge, statusOf, type InboxStatus } from './inbox/status.ts';
import { Work } from './inbox/work.ts';
import { MllpServer, type MllpLimits } from './mllp/server.ts';
import type { Audit, Clock, Log, PartnerIdentity, Partners, Seal, Sink } from './ports.ts';
import { RecentPlans } from './router/recent-plans.ts';
import { Router } from './router/router.ts';

export interface ChannelsOptions {
  readonly definitions: readonly ChannelDefinitionInput[];
  /** Message formats by the name that definitions use. */
  readonly formats: Readonly<Record<string, MessageFormat>>;
  readonly connection: Connection;
  readonly partners: Partners;
  readonly seal: Seal;
  readonly audit: Audit;
  readonly sink: Sink;
  readonly log: Log;
  readonly clock: Clock;
  /** Where `mllp` doors listen, by channel id; port 0 is any free one. Needed for every enabled `mllp` channel. */
  readonly listeners: Readonly<Record<string, { readonly host: string; readonly port: number }>>;
  readonly tls: TlsOptions;
  readonly limits?: {
    /** Messages that may wait to be stored, over all channels. */
    readonly maxBacklog?: number;
    readonly maxRefused?: number;
    readonly leaseMs?: number;
    readonly pollMs?: number;
    readonly mllp?: Partial<MllpLimits>;
  };
  /** Names this process in leases. */
  readonly owner?: string;
}

/** A channel as `status` tells it. */
export interface ChannelStatus extends InboxStatus {
  readonly id: string;
  readonly door: ChannelDefinition['door'];
  readonly format: string;
  readonly enabled: boolean;
  readonly paused: boolean;
  /** Where it listens, for doors with a listener. */
  readonly address?: { readonly host: string; readonly port: number };
}

/** Name of the collection that keeps which channels are paused. */
export const channelsCollection = 'channels';
interface ChannelDocument {
  readonly _id: string;
  readonly paused: boolean;
  readonly changedAt: Date;
  readonly changedBy: string;
}

/** The channels of this process: doors, router and dead letters. */
export class Channels {
  readonly definitions: readonly ChannelDefinition[];
  readonly deadLetters: DeadLetters;
  readonly #options: ChannelsOptions;
  readonly #readings: ReadonlyMap<string, ChannelReading>;
  readonly #intake: Intake;
  readonly #plans = new RecentPlans();
  readonly #router: Router;
  readonly #servers = new Map<string, { readonly server: MllpServer; readonly address: { readonly host: string; readonly port: number } }>();
  readonly #settings: Collection<ChannelDocument>;
  #paused = new Set<string>();
  #refresh: NodeJS.Timeout | undefined;

  private constructor(options: ChannelsOptions) {
    this.#options = options;
    this.definitions = options.definitions.map((definition) => channelDefinitionSchema.parse(definition));
    this.#readings = new Map(this.definitions.map((definition) => {
      const format = options.formats[definition.format];
      if (format === undefined) throw new Error(`Channel ${definition.id} names a message format that is not there.`);
      return [definition.id, { definition, format }];
    }));
    if (this.#readings.size < this.definitions.length) throw new Error('Two channels have the same id.');
    const { connection, seal, audit, clock, log, limits = {} } = options;
    const leaseMs = limits.leaseMs ?? 15_000;
    this.#settings = connection.collection<ChannelDocument>(channelsCollection);
    this.#router = new Router({
      work: new Work({ connection, seal, clock, owner: options.owner ?? randomUUID(), leaseMs }),
      plans: this.#plans, sink: options.sink, audit, log, clock, leaseMs, pollMs: limits.pollMs ?? 1000,
      channels: () => new Map([...this.#readings].filter(([id, { definition }]) => definition.enabled && !this.#paused.has(id))),
    });
    this.#intake = new Intake({ connection, seal, audit, clock, maxBacklog: limits.maxBacklog ?? 100_000, maxRefused: limits.maxRefused ?? 10_000, onAccepted: () => this.#router.wake() });
    this.deadLetters = new DeadLetters({ connection, seal, audit, channels: () => this.#readings, onReplayed: () => this.#router.wake() });
  }

  /** Starts router and doors. @throws when a definition is not valid or a port is taken; nothing is left running then */
  static async start(options: ChannelsOptions): Promise<Channels> {
    const channels = new Channels(options);
    await channels.#readPauses();
    channels.#router.start();
    const refreshMs = options.limits?.pollMs ?? 1000;
    channels.#refresh = setInterval(() => {
      channels.#readPauses().catch((error: unknown) => options.log.warn('channel settings not readable', { ...(error instanceof Error ? { errorName: error.name } : {}) }));
    }, refreshMs);
    channels.#refresh.unref();
    try {
      for (const { definition } of channels.#readings.values()) if (definition.enabled && definition.door === 'mllp') await channels.#listen(definition);
    } catch (error) {
      await channels.stop(0);
      throw error;
    }
    return channels;
  }

  /**
   * Takes one message from an admitted partner; resolves when there is a durable outcome.
   * @throws InterlockError `not-found` (no such channel, or not enabled), `forbidden` (not for this partner; recorded)
   */
  async ingest(channelId: string, partner: PartnerIdentity, bytes: Buffer, attributes?: Readonly<Record<string, string>>): Promise<IngestResult> {
    return await ingest({ ...this.#options, intake: this.#intake, plans: this.#plans }, await this.#reading(channelId, partner), partner, bytes, attributes);
  }

  /** Refuses a message that is larger than the channel accepts, by its beginning. @throws as `ingest` */
  async refuseOversize(channelId: string, partner: PartnerIdentity, head: Buffer): Promise<IngestResult> {
    return await refuseOversize({ ...this.#options, intake: this.#intake, plans: this.#plans }, await this.#reading(channelId, partner), partner, head);
  }

  /** The channel's own form of an answer to what never became a message, such as a caller without a certificate. */
  answer(channelId: string, verdict: AckVerdict, messageId: string): Buffer {
    const reading = this.#readings.get(channelId);
    if (reading === undefined) throw new Error('No such channel.');
    return reading.format.acknowledge(Buffer.alloc(0), verdict, { mode: reading.definition.ackMode, nowMs: this.#options.clock.nowMs(), messageId });
  }

  /** The messages in what was sent at once: HL7v2 batches hold several. */
  split(channelId: string, bytes: Buffer): readonly Buffer[] {
    return this.#readings.get(channelId)?.format.split?.(bytes) ?? [bytes];
  }

  /** One channel or all. */
  async status(channelId?: string): Promise<ChannelStatus[]> {
    return await Promise.all(this.definitions.filter(({ id }) => channelId === undefined || id === channelId).map(async (definition) => {
      const address = this.#servers.get(definition.id)?.address;
      return {
        id: definition.id, door: definition.door, format: definition.format, enabled: definition.enabled, paused: this.#paused.has(definition.id),
        ...(address === undefined ? {} : { address }),
        ...await statusOf(this.#options.connection, definition.id, this.#options.clock.nowMs()),
      };
    }));
  }

  /** Stops or resumes routing on every process. Messages are taken and acknowledged meanwhile, and wait in the inbox. @returns false if there is no such channel */
  async setPaused(channelId: string, paused: boolean, actor: string): Promise<boolean> {
    if (!this.#readings.has(channelId)) return false;
    await this.#settings.updateOne({ _id: channelId }, { $set: { paused, changedAt: new Date(this.#options.clock.nowMs()), changedBy: actor } }, { upsert: true, writeConcern: { w: 'majority', j: true } });
    await this.#readPauses();
    return true;
  }

  /** Removes the content of messages that were stored before `beforeMs`; what tells a repetition, and its answer, stay. @returns how many */
  async purge(beforeMs: number): Promise<number> {
    return await purge(this.#options.connection, beforeMs);
  }

  /** Replaces the listeners' certificates for new connections. */
  setTls(tls: SecureContextOptions): void {
    for (const { server } of this.#servers.values()) server.setTls(tls);
  }

  /** Drains: doors finish and answer what is under way, then the router what it holds. Within `deadlineMs`. */
  async stop(deadlineMs: number): Promise<void> {
    const endMs = Date.now() + deadlineMs;
    clearInterval(this.#refresh);
    await Promise.all([...this.#servers.values()].map(({ server }) => server.stop(deadlineMs)));
    await this.#router.stop(Math.max(0, endMs - Date.now()));
  }

  async #reading(channelId: string, partner: PartnerIdentity): Promise<ChannelReading> {
    const reading = this.#readings.get(channelId);
    if (reading?.definition.enabled !== true) throw new InterlockError('not-found', { detail: 'There is no such channel here.' });
    const { partners } = reading.definition;
    if (partners !== 'any' && !partners.includes(partner.name)) {
      await this.#options.audit.record({ interaction: 'connection-refused', outcome: '8', channelId, partner, messageId: '', rule: 'partner: channel-not-permitted' });
      throw new InterlockError('forbidden', { detail: 'The channel is not for this partner.' });
    }
    return reading;
  }

  async #listen(definition: ChannelDefinition): Promise<void> {
    const where = this.#options.listeners[definition.id];
    if (where === undefined) throw new Error(`Channel ${definition.id} has no address to listen on.`);
    const { partners, audit, log, tls, limits } = this.#options;
    const server = new MllpServer({
      channelId: definition.id, ...where, tls, audit, log, maxMessageBytes: definition.maxMessageBytes, ...(limits?.mllp === undefined ? {} : { limits: limits.mllp }),
      partners: definition.partners === 'any' ? partners : onlyNamed(partners, definition.partners, audit),
      ingest: async (partner, bytes) => {
        const answers: IngestResult[] = [];
        for (const message of this.split(definition.id, bytes)) answers.push(await this.ingest(definition.id, partner, message));
        return answers;
      },
      refuseOversize: async (partner, head) => await this.refuseOversize(definition.id, partner, head),
    });
    const bound = await server.listen();
    this.#servers.set(definition.id, { server, address: { host: bound.address, port: bound.port } });
  }

  async #readPauses(): Promise<void> {
    const before = this.#paused;
    this.#paused = new Set((await this.#settings.find({ paused: true }, { projection: { _id: 1 } }).toArray()).map(({ _id }) => _id));
    if ([...before].some((id) => !this.#paused.has(id))) this.#router.wake();
  }
}

/** A channel that names its partners admits nobody else. */
function onlyNamed(partners: Partners, names: readonly string[], audit: Audit): Partners {
  return {
    async admit(fingerprint, channelId, address) {
      const admitted = await partners.admit(fingerprint, channelId, address);
      if (!('partner' in admitted) || names.includes(admitted.partner.name)) return admitted;
      await audit.record({ interaction: 'connection-refused', outcome: '8', channelId, partner: admitted.partner, messageId: '', rule: 'partner: channel-not-permitted' });
      return { refused: 'channel-not-permitted' };
    },
  };
}
