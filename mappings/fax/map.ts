import { createHash } from 'node:crypto';
import { sourceUrn, type Plan } from '../engine/plan.ts';
import type { FaxType } from './kind.ts';
import { checkPdf } from './pdf.ts';
import { checkTiff } from './tiff.ts';

/** What is known about a fax. */
export interface Fax {
  readonly bytes: Buffer;
  readonly type: FaxType;
  readonly channelId: string;
  /** The sender's id of the message, or the content's SHA-256. */
  readonly controlId: string;
  readonly receivedAtMs: number;
}

/**
 * A fax as a DocumentReference to the Binary that holds its bytes. Whom it concerns is not known yet: R4 allows a
 * document without subject, and none is guessed.
 * @throws FaxError
 */
export async function mapFax(fax: Fax): Promise<Plan> {
  const pages = await checked(fax);
  return {
    messageType: 'fax',
    contentType: fax.type,
    resources: [{
      key: 'documentReference',
      resource: {
        resourceType: 'DocumentReference',
        masterIdentifier: { system: `urn:interlock:message:${fax.channelId}`, value: fax.controlId },
        status: 'current',
        date: new Date(fax.receivedAtMs).toISOString(),
        description: `Fax, ${pages} ${pages === 1 ? 'page' : 'pages'}`,
        content: [{
          attachment: {
            contentType: fax.type,
            url: sourceUrn,
            size: fax.bytes.length,
            // Attachment.hash is SHA-1 (https://hl7.org/fhir/R4/datatypes.html#Attachment); what protects is the seal.
            hash: createHash('sha1').update(fax.bytes).digest('base64'),
            creation: new Date(fax.receivedAtMs).toISOString(),
          },
        }],
      },
      mode: 'create', match: [], clear: [], createIfAbsent: true,
    }],
    merges: [], unmapped: [], untranslated: [],
  };
}

/** Checks at a time: decoding is the costliest thing that one message can ask for. What waits is bounded by the doors and the router. */
const maxRunning = 2;
let running = 0;
const waiting: (() => void)[] = [];
/** Page counts of faxes checked lately, by SHA-256: the router maps again what the door has just checked. */
const lately = new Map<string, number>();
const maxLately = 1_000;

async function checked({ bytes, type }: Fax): Promise<number> {
  const digest = createHash('sha256').update(type).update(bytes).digest('base64');
  const known = lately.get(digest);
  if (known !== undefined) return known;
  if (running >= maxRunning) await new Promise<void>((resolve) => waiting.push(resolve));
  else running += 1;
  try {
    const pages = await (type === 'image/tiff' ? checkTiff(bytes) : checkPdf(bytes));
    if (lately.size >= maxLately) lately.delete(lately.keys().next().value!);
    lately.set(digest, pages);
    return pages;
  } finally {
    // The place goes to the next in line, if there is one.
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  }
}
