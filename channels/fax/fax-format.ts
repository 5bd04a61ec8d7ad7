import { createHash } from 'node:crypto';
import { FaxError } from '../../mappings/fax/error.ts';
import { faxTypeOf } from '../../mappings/fax/kind.ts';
import { mapFax } from '../../mappings/fax/map.ts';
import { MessageRefused, type DecodedMessage, type MessageFormat } from '../format.ts';

const refusalOfFault = { 'media-type': 'media-type-unsupported', 'damaged': 'message-malformed', 'unacceptable': 'message-unacceptable' } as const;

/** Printable, on one line: it names the message in the audit trail. */
const idText = /^[\x21-\x7e]{1,128}$/;

/**
 * Faxes as TIFF or PDF. A fax is the same message again if its bytes and the sender's id (attribute `messageId`) are the
 * same; without such an id the bytes alone tell.
 */
export const faxFormat: MessageFormat = {
  // What each fax is, its plan tells.
  contentType: 'application/octet-stream',

  decode(bytes, { channelId, attributes, receivedAtMs }): DecodedMessage {
    if (bytes.length === 0) throw new MessageRefused('message-malformed', 'The fax is empty.', { messageType: 'fax' });
    const type = refusing(() => faxTypeOf(bytes, attributes.contentType ?? ''));
    const sent = attributes.messageId ?? '';
    if (sent !== '' && !idText.test(sent)) throw new MessageRefused('message-malformed', 'The message id is too long or not printable.', { messageType: 'fax' });
    const controlId = sent || `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    return {
      controlId, messageType: 'fax',
      // Each fax is a document of its own.
      orderingKeys: [],
      plan: async () => {
        try {
          return await mapFax({ bytes, type, channelId, controlId, receivedAtMs: receivedAtMs ?? 0 });
        } catch (error) {
          throw refusalOf(error);
        }
      },
    };
  },

  acknowledge: (_bytes, verdict, { messageId }) => Buffer.from(JSON.stringify(
    verdict.kind === 'accepted' ? { messageId, status: 'accepted' } : { messageId, status: 'refused', code: verdict.code, message: verdict.text })),
};

function refusing<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw refusalOf(error);
  }
}

function refusalOf(error: unknown): unknown {
  return error instanceof FaxError ? new MessageRefused(refusalOfFault[error.fault], error.message, { messageType: 'fax', cause: error }) : error;
}
