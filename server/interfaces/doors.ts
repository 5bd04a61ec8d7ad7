import { randomUUID } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import express, { type Request, type Response, type Router } from 'express';
import type { IngestResult } from '../../channels/ingest.ts';
import type { Channels } from '../../channels/run.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import { toOperationOutcome } from '../../resources/outcome/render.ts';
import type { AuditTrail } from '../audit/record.ts';
import type { FloodGuard } from '../audit/flood.ts';
import { authenticate, type Passport } from '../auth/passport.ts';
import type { PartnerRegistry } from '../partners/registry.ts';

/** What the HTTP doors need. */
export interface DoorServices {
  readonly channels: Channels;
  readonly partners: PartnerRegistry;
  readonly passport: Passport;
  readonly audit: AuditTrail;
  readonly flood: FloodGuard;
  readonly nowMs: () => number;
  /** Largest body of a channel, by its id, in bytes. */
  readonly maxSizeBytes: Readonly<Record<string, number>>;
}

/** What the answers of a channel look like. */
interface DoorAnswer {
  readonly contentType: string;
  readonly accepted: number;
}

const answers: Readonly<Record<string, DoorAnswer>> = {
  script: { contentType: 'application/xml; charset=utf-8', accepted: 200 },
  fax: { contentType: 'application/json; charset=utf-8', accepted: 202 },
};

/**
 * The channels' HTTP doors, `POST /channels/<id>`: a partner's client certificate, then the same engine as every other
 * door. The answer leaves after the message and its audit entry are durable.
 */
export function doorRouter(services: DoorServices): Router {
  const router = express.Router();
  for (const { id, door, enabled, maxMessageBytes } of services.channels.definitions) {
    const answer = answers[id];
    if (door !== 'http' || !enabled || answer === undefined) continue;
    const readBody = express.raw({ type: () => true, limit: services.maxSizeBytes[id] ?? maxMessageBytes, inflate: false });
    router.post(`/${id}`, async (request, response) => {
      try {
        const fingerprint = await fingerprintOf(services, request, response);
        const admitted = await services.partners.admit(fingerprint, id, request.socket.remoteAddress ?? '');
        if ('refused' in admitted) throw new InterlockError('forbidden', { detail: 'This partner may not use this channel now.' });
        // Only now is anything of the body looked at.
        const bytes = await bodyOf(readBody, request, response);
        const result = await services.channels.ingest(id, admitted.partner, bytes, { contentType: (request.get('content-type') ?? '').slice(0, 200) });
        response.status(statusOf(result, answer)).set('Content-Type', answer.contentType).set('X-Request-Id', result.messageId).send(result.ack);
      } catch (error) {
        const { status, outcome } = toOperationOutcome(error, randomUUID());
        response.status(status).set('Content-Type', 'application/fhir+json; charset=utf-8').set('Connection', 'close').send(JSON.stringify(outcome));
      }
    });
  }
  return router;
}

/** The fingerprint of the partner's certificate. A caller without one is refused, and that is recorded. */
async function fingerprintOf(services: DoorServices, request: Request, response: Response): Promise<string> {
  const partner = await authenticate(services.passport, 'certificate', request, response);
  const { socket } = request;
  const fingerprint = socket instanceof TLSSocket ? socket.getPeerX509Certificate()?.fingerprint256 : undefined;
  if (partner !== undefined && fingerprint !== undefined) return fingerprint;
  const error = new InterlockError('certificate-required');
  await services.flood.record({
    at: services.nowMs(), kind: 'channel', interaction: 'connection-refused', action: 'E', outcome: '8', error: error.code, rule: 'partner: no valid client certificate',
    requestId: randomUUID(), actor: { kind: 'anonymous', id: 'anonymous', address: socket.remoteAddress ?? '' },
  });
  throw error;
}

async function bodyOf(readBody: express.RequestHandler, request: Request, response: Response): Promise<Buffer> {
  await new Promise<void>((resolve, reject) => {
    readBody(request, response, (error: unknown) => {
      if (error === undefined || error === null) resolve();
      else {
        const tooLarge = typeof error === 'object' && 'status' in error && error.status === 413;
        reject(new InterlockError(tooLarge ? 'too-large' : 'request-invalid', { cause: error }));
      }
    });
  });
  return Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
}

function statusOf({ kind }: IngestResult, answer: DoorAnswer): number {
  switch (kind) {
    case 'accepted':
    case 'repeated':
      return answer.accepted;
    case 'refused':
      return 422;
    case 'busy':
      return 503;
  }
}
