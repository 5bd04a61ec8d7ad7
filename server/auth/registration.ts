import express, { type Request, type RequestHandler, type Response, type Router } from 'express';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { FloodGuard } from '../audit/flood.ts';
import type { AuditTrail } from '../audit/record.ts';
import { anonymousActor, requestFacts } from './audit.ts';
import type { ClientType, NewClient } from './client-rules.ts';
import type { Clients } from './clients.ts';
import type { InitialTokens } from './initial-tokens.ts';
import type { SoftwareIssuers } from './software-issuers.ts';
import { FailureThrottle } from './throttle.ts';

export interface RegistrationOptions {
  readonly issuer: string;
  readonly clients: Clients;
  readonly initialTokens: InitialTokens;
  readonly softwareIssuers: SoftwareIssuers;
  readonly audit: AuditTrail;
  readonly flood: FloodGuard;
  /** Counts what strangers do in vain. */
  readonly throttle: FailureThrottle;
  /** Apps that may wait for approval at the same time. */
  readonly maxPending: number;
  readonly nowMs: () => number;
}

/** Why a registration is refused, as RFC 7591 names it (section 3.2.2). */
class Refused extends Error {
  readonly error: string;
  readonly status: number;

  constructor(error: string, description: string, status = 400) {
    super(description);
    this.error = error;
    this.status = status;
  }
}

const maxPerHour = 30;
const texts = z.array(z.string().max(500)).max(20);
const methods = { none: 'public', client_secret_basic: 'confidential-secret', client_secret_post: 'confidential-secret', private_key_jwt: 'jwks', tls_client_auth: 'tls', self_signed_tls_client_auth: 'tls' } as const satisfies Record<string, ClientType>;
const metadataSchema = z.object({
  client_name: z.string().max(200),
  redirect_uris: texts.default([]),
  scope: z.string().max(8_000),
  grant_types: texts.default(['authorization_code']),
  response_types: z.array(z.literal('code')).max(1).optional(),
  token_endpoint_auth_method: z.enum(Object.keys(methods) as (keyof typeof methods)[]).default('client_secret_basic'),
  jwks: z.unknown().optional(),
  jwks_uri: z.string().max(500).optional(),
  tls_client_auth_subject_dn: z.string().max(300).optional(),
  dpop_bound_access_tokens: z.boolean().default(false),
  tls_client_certificate_bound_access_tokens: z.boolean().default(false),
  software_statement: z.string().max(32_000).optional(),
});
type Metadata = z.infer<typeof metadataSchema>;

/**
 * Dynamic client registration (https://www.rfc-editor.org/rfc/rfc7591) at `/register`, for whoever holds an initial access
 * token or a software statement of a trusted issuer. What is registered waits until IT approves it.
 */
export function registrationRouter(options: RegistrationOptions): Router {
  const router = express.Router();
  const hourly = new FailureThrottle({ maxFailures: maxPerHour, windowMs: 3_600_000, nowMs: options.nowMs });
  const parse: RequestHandler = express.json({ limit: '64kb' });
  router.post('/register', async (request, response) => {
    const facts = requestFacts(request);
    const record = { at: options.nowMs(), kind: 'token', interaction: 'register', action: 'E', requestId: facts.requestId } as const;
    response.set({ 'Cache-Control': 'no-store', 'Pragma': 'no-cache' });
    try {
      options.audit.assertAvailable();
      if (hourly.retryAfterS(facts.address ?? '') !== undefined) throw new Refused('temporarily_unavailable', 'too many registrations', 429);
      const token = /^Bearer +([^\s]+)$/i.exec(request.headers.authorization ?? '')?.[1];
      const body = await bodyOf(parse, request, response);
      const { metadata, softwareIssuer } = await vouchedFor(options, token, body);
      hourly.failed(facts.address ?? '');
      const { clientId, clientSecret, info } = await options.clients.addClient(newClient(metadata), softwareIssuer === undefined ? {} : { softwareIssuer });
      await options.audit.record({ ...record, outcome: '0', actor: anonymousActor(facts, clientId), client: { id: clientId, scope: info.scope.slice(0, 4000) } });
      response.status(201).json({
        client_id: clientId,
        client_id_issued_at: Math.floor(Date.parse(info.registeredAt!) / 1000),
        ...(clientSecret === undefined ? {} : { client_secret: clientSecret, client_secret_expires_at: 0 }),
        ...shown(metadata), scope: info.scope, grant_types: info.grantTypes,
        // Not of RFC 7591: no code and no token before IT has approved it.
        status: info.status,
      });
    } catch (cause) {
      const refused = refusal(cause);
      if (refused.status < 500) {
        options.throttle.failed(facts.address ?? '');
        await options.flood.record({ ...record, outcome: '4', error: refused.status === 401 ? 'credentials-invalid' : 'grant-refused', rule: `register: ${refused.error}`, actor: anonymousActor(facts) }).catch(() => undefined);
      }
      if (refused.status === 401) response.set('WWW-Authenticate', 'Bearer error="invalid_token"');
      response.status(refused.status).json({ error: refused.error, error_description: refused.message });
    }
  });
  return router;
}

/** The metadata of an app for which somebody vouches; what a software statement says counts more than what the app says. */
async function vouchedFor(options: RegistrationOptions, token: string | undefined, body: unknown): Promise<{ metadata: Metadata; softwareIssuer?: string }> {
  const { initialTokens, softwareIssuers, issuer } = options;
  const statement = z.object({ software_statement: z.string().max(32_000) }).safeParse(body).data?.software_statement;
  // Strangers learn nothing of what would be accepted.
  if (token !== undefined ? !(await initialTokens.isUsable(token)) : statement === undefined) throw new Refused('invalid_token', 'an initial access token or a software statement is needed', 401);
  const claims = statement === undefined ? undefined : await softwareIssuers.verify(statement, [issuer, `${issuer}/register`]).catch(() => {
    throw new Refused('invalid_software_statement', 'the software statement is not valid');
  });
  if (statement !== undefined && claims === undefined) throw new Refused('unapproved_software_statement', 'the issuer of the software statement is not trusted here');
  const parsed = metadataSchema.safeParse({ ...(body as object), ...claims });
  if (!parsed.success) {
    const name = String(parsed.error.issues[0]?.path[0] ?? 'metadata');
    throw new Refused(name === 'redirect_uris' ? 'invalid_redirect_uri' : 'invalid_client_metadata', `${Object.hasOwn(metadataSchema.shape, name) ? name : 'metadata'} is missing or not valid`);
  }
  options.clients.assertAcceptable(newClient(parsed.data));
  const pending = (await options.clients.list()).filter(({ status }) => status === 'pending').length;
  if (pending >= options.maxPending) throw new Refused('temporarily_unavailable', 'too many apps wait for approval', 503);
  if (token !== undefined && !(await initialTokens.use(token))) throw new Refused('invalid_token', 'the initial access token is used up', 401);
  return { metadata: parsed.data, ...(claims === undefined ? {} : { softwareIssuer: String(claims['iss']) }) };
}

function newClient(metadata: Metadata): NewClient {
  const { jwks, jwks_uri: jwksUri, tls_client_auth_subject_dn: tlsSubject } = metadata;
  return {
    name: metadata.client_name,
    type: methods[metadata.token_endpoint_auth_method],
    redirectUris: metadata.redirect_uris,
    scope: metadata.scope,
    grantTypes: metadata.grant_types,
    requireDpop: metadata.dpop_bound_access_tokens,
    requireMtls: metadata.tls_client_certificate_bound_access_tokens,
    ...(jwks === undefined ? {} : { jwks }),
    ...(jwksUri === undefined ? {} : { jwksUri }),
    ...(tlsSubject === undefined ? {} : { tlsSubject }),
  };
}

function shown({ software_statement: _, ...metadata }: Metadata): object {
  return metadata;
}

async function bodyOf(parse: RequestHandler, request: Request, response: Response): Promise<unknown> {
  await new Promise<void>((resolve, reject) => {
    void parse(request, response, (error?: unknown) => (error === undefined ? resolve() : reject(new Refused('invalid_client_metadata', 'the body is not JSON, or too long'))));
  });
  const body: unknown = request.body;
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new Refused('invalid_client_metadata', 'the body is not a JSON object');
  return body;
}

function refusal(cause: unknown): Refused {
  if (cause instanceof Refused) return cause;
  if (!(cause instanceof InterlockError)) return new Refused('server_error', 'something went wrong here', 500);
  const { code, status, options } = cause;
  if (code === 'business-rule') return new Refused(options.expression === 'redirectUris' ? 'invalid_redirect_uri' : 'invalid_client_metadata', options.detail ?? 'not acceptable');
  return new Refused('temporarily_unavailable', 'not available now', Math.max(status, 500));
}
