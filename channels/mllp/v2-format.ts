import { isUtf8 } from 'node:buffer';
import { buildAck, type AckCode } from '../../mappings/v2/acknowledge.ts';
import { decodeText } from '../../mappings/v2/charset.ts';
import { errorConditions, V2Error, type ErrorCondition, type ErrorLocation } from '../../mappings/v2/error.ts';
import { checkHeader, mapV2 } from '../../mappings/v2/map.ts';
import { parseMessage, readHeader, splitBatch, type V2Header } from '../../mappings/v2/message.ts';
import { orderingKeysOf } from '../../mappings/v2/ordering.ts';
import type { ChannelDefinition } from '../definition.ts';
import { MessageRefused, type AckVerdict, type DecodedMessage, type MessageFormat } from '../format.ts';

/** Headers of messages that were just decoded, for their answers. */
const headers = new WeakMap<Buffer, V2Header>();
/** A batch of more messages is refused whole. */
const maxBatch = 10_000;

/** HL7v2 in its delimited encoding (ER7), any version 2.x. */
export const v2Format: MessageFormat = {
  // https://www.iana.org/assignments/media-types/ has none; this is what HL7's own profiles use.
  contentType: 'x-application/hl7-v2+er7',

  decode(bytes, { channelId, zone }): DecodedMessage {
    return refusing(bytes, () => {
      const message = parseMessage(decodeText(bytes));
      headers.set(bytes, message.header);
      checkHeader(message);
      return {
        controlId: message.header.controlId,
        messageType: typeOf(message.header),
        orderingKeys: orderingKeysOf(message, { channelId }),
        plan: () => refusing(bytes, () => mapV2(message, { channelId, zone })),
      };
    });
  },

  split(bytes) {
    // One byte per character, so that the parts are the bytes as they came.
    const text = bytes.toString('latin1');
    const parts = splitBatch(text);
    if (parts.length === 0 || parts.length > maxBatch || (parts.length === 1 && text.trimStart().startsWith('MSH'))) return [bytes];
    return parts.map((part) => Buffer.from(part, 'latin1'));
  },

  acknowledge(bytes, verdict, { mode, nowMs, messageId }) {
    const header = headerOf(bytes);
    const code = ackCodeOf(verdict, header, mode);
    if (code === undefined) return Buffer.alloc(0);
    const errors = verdict.kind === 'accepted' ? [] : [{ condition: conditionOf(verdict.formatCode), location: locationOf(verdict.location) }];
    // 20 characters fit MSH-10 of every version; of a message id they are the random part.
    const ack = buildAck({ header, code, errors, controlId: messageId.replaceAll('-', '').slice(-20), nowMs });
    // Header fields are echoed in the sender's encoding.
    return Buffer.from(ack, isUtf8(bytes) ? 'utf8' : 'latin1');
  },
};

/**
 * MSA-1 and whether to answer at all (HL7 v2.5.1, sections 2.9.2 and 2.9.3). Original mode: AA, AE, AR. Enhanced mode, when
 * MSH-15 or MSH-16 is valued: CA, CE, CR under the condition in MSH-15. MSH-15 NE with MSH-16 valued is original mode under
 * another name (section 2.9.3): application codes under the condition in MSH-16. In mode `message` the conditions choose the
 * kind of answer, and there always is one: silence cannot be told from a lost message.
 */
export function ackCodeOf(verdict: AckVerdict, header: Pick<V2Header, 'acceptAcknowledgment' | 'applicationAcknowledgment'> | undefined, mode: ChannelDefinition['ackMode']): AckCode | undefined {
  const level = { accepted: 'A', error: 'E', rejected: 'R' }[verdict.kind] as 'A' | 'E' | 'R';
  const accept = (header?.acceptAcknowledgment ?? '').toUpperCase();
  const application = (header?.applicationAcknowledgment ?? '').toUpperCase();
  if (mode === 'original' || (mode !== 'enhanced' && accept === '' && application === '')) return `A${level}`;
  if (mode === 'enhanced') return `C${level}`;
  const wanted = (condition: string): boolean => condition === 'AL' || (condition === 'ER' && level !== 'A') || (condition === 'SU' && level === 'A');
  const silent = mode === 'asked';
  if (accept === '' || accept === 'NE') return wanted(application) || !silent ? `A${level}` : undefined;
  // What is no condition of table 0155 is read as "always": a needless answer does less harm than a missing one.
  return wanted(accept) || !silent || !['ER', 'SU'].includes(accept) ? `C${level}` : undefined;
}

/** Turns what the mapping says is wrong into a refusal. */
function refusing<T>(bytes: Buffer, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof V2Error)) throw error;
    const { location } = error;
    const header = headerOf(bytes);
    throw new MessageRefused(error.ackCode === 'AR' ? 'message-unsupported' : 'message-malformed', error.message, {
      formatCode: error.condition, cause: error,
      ...(location === undefined ? {} : { location: [location.segment, location.sequence, location.field, location.repetition, location.component].map((part) => part ?? '').join('^') }),
      ...(header === undefined || header.controlId === '' ? {} : { controlId: header.controlId }),
      ...(header === undefined || header.code === '' ? {} : { messageType: typeOf(header) }),
    });
  }
}

function typeOf({ code, trigger }: V2Header): string {
  return trigger === '' ? code : `${code}^${trigger}`;
}

/** What the first segment says, without which nothing can be answered; undefined if it cannot be read. */
function headerOf(bytes: Buffer): V2Header | undefined {
  const known = headers.get(bytes);
  if (known !== undefined) return known;
  const head = bytes.subarray(0, 4096);
  const end = head.subarray(Math.max(0, head.indexOf('MSH'))).findIndex((byte) => byte === 0x0d || byte === 0x0a);
  return readHeader(decodeText(end === -1 ? head : head.subarray(0, Math.max(0, head.indexOf('MSH')) + end)));
}

function conditionOf(formatCode: string | undefined): ErrorCondition {
  return formatCode !== undefined && formatCode in errorConditions ? formatCode as ErrorCondition : '207';
}

function locationOf(text: string | undefined): ErrorLocation | undefined {
  if (text === undefined) return undefined;
  const [segment = '', ...rest] = text.split('^');
  const [sequence, field, repetition, component] = rest.map((part) => part === '' ? undefined : Number(part));
  return {
    segment,
    ...(sequence === undefined ? {} : { sequence }), ...(field === undefined ? {} : { field }),
    ...(repetition === undefined ? {} : { repetition }), ...(component === undefined ? {} : { component }),
  };
}
