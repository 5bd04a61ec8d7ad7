import { buildScriptAnswer, type ScriptVerdict } from '../../mappings/script/answer.ts';
import { ScriptError } from '../../mappings/script/error.ts';
import { mapScript, orderingKeysOf } from '../../mappings/script/map.ts';
import { peekHeader, readScript, type ScriptHeader, type ScriptMessage } from '../../mappings/script/message.ts';
import { MessageRefused, type AckVerdict, type DecodedMessage, type MessageFormat, type RefusalCode } from '../format.ts';

/** Content types that XML comes under (RFC 7303); octet-stream and none say nothing. */
const xmlTypes = /^(?:application\/(?:xml|[\w.+-]+\+xml|octet-stream)|text\/xml)?$/;

/** NCPDP SCRIPT in XML: NewRx and CancelRx of 2017071, and of 10.6 where the names differ. */
export function scriptFormat(softwareVersion: string): MessageFormat {
  return {
    contentType: 'application/xml',

    decode(bytes, { channelId, zone, attributes }): DecodedMessage {
      const contentType = (attributes.contentType ?? '').split(';')[0]!.trim().toLowerCase();
      if (!xmlTypes.test(contentType)) throw new MessageRefused('media-type-unsupported', 'Send application/xml.');
      const message = refusing(undefined, () => readScript(bytes));
      headers.set(bytes, message.header);
      return {
        controlId: message.header.messageId,
        messageType: message.type,
        orderingKeys: orderingKeysOf(message, channelId),
        plan: () => refusing(message, () => mapScript(message, { channelId, zone })),
      };
    },

    acknowledge(bytes, verdict, { nowMs, messageId }) {
      return Buffer.from(buildScriptAnswer({
        request: headerOf(bytes), verdict: scriptVerdict(verdict), nowMs, softwareVersion,
        // MessageID has 35 characters.
        messageId: messageId.replaceAll('-', ''),
      }));
    },
  };
}

/** Headers of messages that were just decoded, for their answers. */
const headers = new WeakMap<Buffer, ScriptHeader>();

function headerOf(bytes: Buffer): Partial<ScriptHeader> & { readonly messageId: string } {
  const known = headers.get(bytes);
  if (known !== undefined) return known;
  try {
    return readScript(bytes).header;
  } catch {
    return peekHeader(bytes);
  }
}

const refusalOfFault = { syntax: 'message-malformed', unsupported: 'message-unsupported', content: 'message-unacceptable' } as const;

/** Turns what the mapping says is wrong into a refusal. */
function refusing<T>(message: ScriptMessage | undefined, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    throw new MessageRefused(refusalOfFault[error.fault], error.message, {
      cause: error,
      ...(error.path === undefined ? {} : { location: error.path }),
      ...(message === undefined ? {} : { controlId: message.header.messageId, messageType: knownType(message.type) }),
    });
  }
}

/** An element's name is the sender's text until it is one of the standard's: only such a one may be recorded. */
function knownType(type: string): string {
  return /^[A-Z][A-Za-z]{2,40}$/.test(type) ? type : 'unknown';
}

/** Code: 600 try later, 601 receiver cannot process, 602 receiver system error, 900 rejected. */
const errorCodes: Partial<Record<RefusalCode, readonly [code: '600' | '601' | '602' | '900', descriptionCode: string]>> = {
  'message-malformed': ['900', '500'],
  'message-unacceptable': ['900', '2000'],
  'message-unsupported': ['601', '2000'],
  'message-too-large': ['900', '2000'],
  'media-type-unsupported': ['900', '500'],
  'certificate-required': ['900', '1000'],
  'forbidden': ['900', '1000'],
  'busy': ['600', '210'],
  'unavailable': ['600', '210'],
  'audit-unavailable': ['600', '210'],
};

function scriptVerdict(verdict: AckVerdict): ScriptVerdict {
  if (verdict.kind === 'accepted') return { kind: 'status', code: '010' };
  const [code, descriptionCode] = errorCodes[verdict.code] ?? ['602', '210'];

  return { kind: 'error', code, descriptionCode, description: verdict.location === undefined ? verdict.text : `${verdict.text} (${verdict.location})` };
}
