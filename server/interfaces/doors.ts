import { randomUUID } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import express, { type Request, type Response, type Router } from 'express';
import type { RefusalCode } from '../../channels/format.ts';
import { oversizeHeadBytes } from '../../channels/ingest.ts';
import type { PartnerIdentity } from '../../channels/ports.ts';
import type { Channels } from '../../channels/run.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AuditTrail } from '../audit/record.ts';
import type { FloodGuard } from '../audit/flood.ts';
import { authenticate, type Passport } from '../auth/passport.ts';
import type { Log } from '../observe/log.ts';
import type { PartnerRegistry } from '../partners/registry.ts';
import { BodyBudget, discardBody, readBody } from './door-body.ts';

/** What the HTTP doors need. */
export interface DoorServices {
  readonly channels: Channels;
  readonly partners: PartnerRegistry;
  readonly passport: Passport;
  readonly audit: AuditTrail;
  readonly flood: FloodGuard;
  readonly log: Log;
  readonly nowMs: () => number;
}

/** What the answers of a channel look like; what they say, its format writes. */
interface DoorAnswer {
  readonly contentType: string;
  readonly accepted: number;
}

const answers: Readonly<Record<string, DoorAnswer>> = {
  // A Status or Error is a message of its own, complete in itself.
  script: { contentType: 'application/xml; charset=utf-8', accepted: 200 },
  fax: { contentType: 'application/json; charset=utf-8', accepted: 202 },
};

/** HTTP statuses of refusals; every other one is 422: understood, but not acceptable. */
const statuses: Partial<Record<RefusalCode, number>> = {
  'message-malformed': 400,
  'certificate-required': 401,
  'forbidden': 403,
  'message-too-large': 413,
  'media-type-unsupported': 415,
  'map-failed': 500,
  'unexpected': 500,
  'busy': 503,
  'unavailable': 503,
  'audit-unavailable': 503,
};
const retryAfterS = '10';

const texts = {
  'certificate-required': 'A client certificate that this server issued is required.',
  'forbidden': 'This partner may not use this channel now.',
  'message-malformed': 'The body could not be read.',
  'media-type-unsupported': 'The body must not be compressed.',
  'busy': 'Too many messages are being received; send it again later.',
  'audit-unavailable': 'The request could not be recorded in the audit trail; send it again.',
  'unexpected': 'Something went wrong here; send it again later.',
} as const;

/** A caller who is sent away before there is a message. */
class SentAway extends Error {
  readonly code: keyof typeof texts;
  constructor(code: keyof typeof texts) {
    super(code);
    this.code = code;
  }
}

/** Bytes and requests of all doors that may be in hand at once. */
const inHand = { bytes: 128 * 2 ** 20, requests: 64 };
/** What is read of a body that is not wanted, for its sender's sake. */
const unwanted = { maxBytes: 64 * 2 ** 20, timeoutMs: 5_000 };

/**
 * The channels' HTTP doors, `POST /channels/<id>`: a partner's client certificate, then the same engine as every other
 * door. The answer leaves after the message and its audit entry are durable, and is always in the channel's own form.
 */
export function doorRouter(services: DoorServices): Router {
  const { channels } = services;
  const router = express.Router();
  const budget = new BodyBudget(inHand);
  for (const { id, door, enabled, maxMessageBytes } of channels.definitions) {
    const answer = answers[id];
    if (door !== 'http' || !enabled || answer === undefined) continue;
    const send = async (request: Request, response: Response, status: number, body: Buffer, requestId: string, close: boolean): Promise<void> => {
      if (close) await discardBody(request, unwanted);
      if (status === 503) response.set('Retry-After', retryAfterS);
      // Whatever is still arriving of a body that nobody reads must not be taken for the next request.
      if (close) response.set('Connection', 'close');
      response.status(status).set('Content-Type', answer.contentType).set('Cache-Control', 'no-store').set('X-Request-Id', requestId).send(body);
    };
    router.post(`/${id}`, async (request, response) => {
      let partner: PartnerIdentity | undefined;
      const requestId = randomUUID();
      try {
        const sender = await admitted(services, id, request, response, requestId);
        partner = sender;
        const result = await budget.hold(Math.min(declaredBytes(request) ?? maxMessageBytes, maxMessageBytes), () => { throw new SentAway('busy'); }, async () => {
          const body = await bodyOf(request, maxMessageBytes);
          if (body.kind === 'too-large') return { ...(await channels.refuseOversize(id, sender, body.head)), close: true };
          return { ...(await channels.ingest(id, sender, body.bytes, attributesOf(request))), close: false };
        });
        const status = result.code === undefined ? answer.accepted : (statuses[result.code] ?? 422);
        await send(request, response, status, result.ack, result.messageId, result.close);
      } catch (error) {
        const code = await reasonOf(services, id, partner, requestId, error);
        await send(request, response, statuses[code] ?? 500, channels.answer(id, { kind: 'rejected', code, text: texts[code] }, requestId), requestId, true);
      }
    });
    router.all(`/${id}`, (_request, response) => {
      response.set('Allow', 'POST').set('Connection', 'close').status(405).end();
    });
  }
  return router;
}

/** The partner behind the certificate of this connection, if it may use the channel now. A refusal is recorded before it is told. */
async function admitted(services: DoorServices, channelId: string, request: Request, response: Response, requestId: string): Promise<PartnerIdentity> {
  const partner = await authenticate(services.passport, 'certificate', request, response);
  const { socket } = request;
  const fingerprint = socket instanceof TLSSocket ? socket.getPeerX509Certificate()?.fingerprint256 : undefined;
  if (partner !== undefined && fingerprint !== undefined) {
    // The registry records why: agreement over, disabled, channel not permitted.
    const answer = await services.partners.admit(fingerprint, channelId, socket.remoteAddress ?? '');
    if ('refused' in answer) throw new SentAway('forbidden');
    return answer.partner;
  }
  await services.flood.record({
    at: services.nowMs(), kind: 'channel', interaction: 'connection-refused', action: 'E', outcome: '8', error: 'certificate-required', rule: 'partner: no valid client certificate',
    requestId, actor: { kind: 'anonymous', id: 'anonymous', address: socket.remoteAddress ?? '' },
  });
  throw new SentAway('certificate-required');
}

/** Why there is no answer of the channel itself; in the audit trail before it is told, by admission or here. */
async function reasonOf({ flood, log, nowMs }: DoorServices, channelId: string, partner: PartnerIdentity | undefined, requestId: string, error: unknown): Promise<keyof typeof texts> {
  const isAuditDown = error instanceof InterlockError && error.code === 'audit-unavailable';
  const code = error instanceof SentAway ? error.code : isAuditDown ? 'audit-unavailable' : 'unexpected';
  if (code === 'unexpected') log.error('message not taken', { requestId, channel: channelId, errorName: error instanceof Error ? error.name : 'unknown' });
  if (partner === undefined || isAuditDown) return code;
  try {
    const actor = { kind: 'partner', id: partner.name, address: partner.address } as const;
    await flood.record({ at: nowMs(), kind: 'channel', interaction: 'message-refused', action: 'E', outcome: '8', rule: code, requestId, actor, channel: { id: channelId, messageId: requestId } });
    return code;
  } catch {
    return 'audit-unavailable';
  }
}

/** What the door knows and the bytes do not say. */
function attributesOf(request: Request): Readonly<Record<string, string>> {
  const messageId = request.get('x-message-id');
  return { contentType: (request.get('content-type') ?? '').slice(0, 200), ...(messageId === undefined ? {} : { messageId: messageId.slice(0, 200) }) };
}

function declaredBytes(request: Request): number | undefined {
  const text = request.get('content-length');
  return text === undefined ? undefined : Number(text);
}

async function bodyOf(request: Request, maxBytes: number): ReturnType<typeof readBody> {
  const encoding = (request.get('content-encoding') ?? 'identity').toLowerCase();
  if (encoding !== 'identity') throw new SentAway('media-type-unsupported');
  try {
    return await readBody(request, maxBytes, oversizeHeadBytes);
  } catch {
    throw new SentAway('message-malformed');
  }
}
