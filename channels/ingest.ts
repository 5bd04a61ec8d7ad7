import type { Plan } from '../mappings/engine/plan.ts';
import { InterlockError } from '../resources/outcome/error.ts';
import type { ChannelDefinition } from './definition.ts';
import { MessageRefused, type AckVerdict, type DecodedMessage, type MessageFormat, type RefusalCode } from './format.ts';
import { InboxBusy, type Intake } from './inbox/intake.ts';
import { newMessageId } from './inbox/row.ts';
import type { Audit, Clock, Log, PartnerIdentity } from './ports.ts';
import type { RecentPlans } from './router/recent-plans.ts';

/** What became of a message that was handed in; `ack` is what the sender is to be told (empty: nothing). */
export interface IngestResult {
  /**
   * - `accepted`: durable and audited; will be worked on
   * - `repeated`: came before; `ack` is the one of then
   * - `refused`: the message is at fault
   * - `busy`: not taken now (backlog full, store or audit not available): the sender must try again
   */
  readonly kind: 'accepted' | 'repeated' | 'refused' | 'busy';
  readonly messageId: string;
  readonly ack: Buffer;
  /** Why it was refused or not taken. */
  readonly code?: RefusalCode;
}

export interface IngestOptions {
  readonly intake: Intake;
  readonly plans: RecentPlans;
  readonly audit: Audit;
  readonly clock: Clock;
  readonly log: Log;
}

/** How a channel reads what arrives. */
export interface ChannelReading {
  readonly definition: ChannelDefinition;
  readonly format: MessageFormat;
}

/** Bytes of a message that is too large that are kept, for its answer. */
export const oversizeHeadBytes = 4096;

/**
 * Takes one message from an admitted partner, whatever door it came through. Resolves when there is a durable outcome, so
 * that the acknowledgement may leave: decode, map for a try (maps are pure: what cannot be mapped is refused now, while the
 * sender listens), then audit entry, then row.
 */
export async function ingest(options: IngestOptions, channel: ChannelReading, partner: PartnerIdentity, bytes: Buffer, attributes: Readonly<Record<string, string>> = {}): Promise<IngestResult> {
  const { definition, format } = channel;
  const receivedAtMs = options.clock.nowMs();
  const messageId = newMessageId(receivedAtMs);
  const answer = (verdict: AckVerdict): Buffer => format.acknowledge(bytes, verdict, { mode: definition.ackMode, nowMs: receivedAtMs, messageId });
  if (bytes.length > definition.maxMessageBytes) return await refuseOversize(options, channel, partner, bytes.subarray(0, oversizeHeadBytes));
  let decoded: DecodedMessage;
  let plan: Plan;
  try {
    decoded = format.decode(bytes, { channelId: definition.id, zone: definition.zone, attributes, receivedAtMs });
    plan = await decoded.plan();
  } catch (error) {
    return await refuse(options, channel, partner, bytes, attributes, refusalOf(error), receivedAtMs);
  }
  try {
    options.plans.put(messageId, bytes.length, plan);
    return await options.intake.accept({
      messageId, channelId: definition.id, partner, body: bytes, receivedAtMs, controlId: decoded.controlId, messageType: decoded.messageType, orderingKeys: decoded.orderingKeys,
      ack: answer({ kind: 'accepted' }), attributes,
    });
  } catch (error) {
    options.plans.take(messageId);
    const code = error instanceof InboxBusy ? 'busy' : error instanceof InterlockError && error.code === 'audit-unavailable' ? 'audit-unavailable' : 'unavailable';
    options.log.warn('message not taken', { channel: definition.id, reason: code, ...(error instanceof Error ? { errorName: error.name } : {}) });
    // An audit that cannot be written cannot record this either; the answer carries nothing of the message but its control id.
    if (code !== 'audit-unavailable') await options.audit.record({ interaction: 'message-refused', outcome: '8', channelId: definition.id, partner, messageId, messageType: decoded.messageType, controlId: decoded.controlId, rule: code }).catch(() => undefined);
    return { kind: 'busy', messageId, code, ack: answer({ kind: code === 'busy' ? 'rejected' : 'error', code, text: busyTexts[code] }) };
  }
}

/** Answers a message of which only the beginning was read, because it is larger than the channel accepts. */
export async function refuseOversize(options: IngestOptions, channel: ChannelReading, partner: PartnerIdentity, head: Buffer): Promise<IngestResult> {
  const refusal = new MessageRefused('message-too-large', 'The message is larger than this channel accepts.');
  return await refuse(options, channel, partner, head, {}, refusal, options.clock.nowMs());
}

const busyTexts = {
  'busy': 'Too many messages wait; send it again later.',
  'unavailable': 'The message could not be stored; send it again.',
  'audit-unavailable': 'The message could not be recorded in the audit trail; send it again.',
} as const;

const contentAtFault: ReadonlySet<RefusalCode> = new Set(['message-malformed', 'message-unacceptable', 'map-failed']);

async function refuse(options: IngestOptions, channel: ChannelReading, partner: PartnerIdentity, bytes: Buffer, attributes: Readonly<Record<string, string>>, refusal: MessageRefused, receivedAtMs: number): Promise<IngestResult> {
  const { definition, format } = channel;
  const { formatCode, location, controlId, messageType } = refusal.details;
  const verdict: AckVerdict = {
    kind: contentAtFault.has(refusal.code) ? 'error' : 'rejected', code: refusal.code, text: refusal.message,
    ...(formatCode === undefined ? {} : { formatCode }), ...(location === undefined ? {} : { location }),
  };
  const messageId = newMessageId(receivedAtMs);
  const ack = format.acknowledge(bytes, verdict, { mode: definition.ackMode, nowMs: receivedAtMs, messageId });
  try {
    await options.intake.refuse({
      messageId, channelId: definition.id, partner, body: bytes, receivedAtMs, code: refusal.code, ack, attributes,
      ...(formatCode === undefined ? {} : { cause: formatCode }), ...(controlId === undefined ? {} : { controlId }), ...(messageType === undefined ? {} : { messageType }),
    });
  } catch (error) {
    // Refused stays refused, but it is not known that this was recorded: the sender is asked to try again.
    options.log.error('refused message not recorded', { channel: definition.id, ...(error instanceof Error ? { errorName: error.name } : {}) });
    const unrecorded: AckVerdict = { kind: 'error', code: 'audit-unavailable', text: busyTexts['audit-unavailable'] };
    return { kind: 'busy', messageId, code: 'audit-unavailable', ack: format.acknowledge(bytes, unrecorded, { mode: definition.ackMode, nowMs: receivedAtMs, messageId }) };
  }
  options.log.info('message refused', { channel: definition.id, partner: partner.name, code: refusal.code });
  return { kind: 'refused', messageId, ack, code: refusal.code };
}

/** A map that throws anything but a refusal has a defect; the message waits among the dead letters until it is mended. */
function refusalOf(error: unknown): MessageRefused {
  return error instanceof MessageRefused ? error : new MessageRefused('map-failed', 'The message could not be translated.', { cause: error });
}
