import type { IncomingMessage } from 'node:http';
import { randomUUID } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import type { KoaContextWithOIDC } from 'oidc-provider';
import type Provider from 'oidc-provider';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { FloodGuard } from '../audit/flood.ts';
import type { AuditActor, AuditRecord, AuditTrail } from '../audit/record.ts';
import type { Log } from '../observe/log.ts';
import { libraryPagePolicy, problemPage } from './pages.ts';
import type { Person } from './people.ts';
import type { FailureThrottle } from './throttle.ts';

/** Where a request came from. */
export interface RequestFacts {
  readonly requestId: string;
  readonly address?: string;
  readonly userAgent?: string;
}

const factsByRequest = new WeakMap<IncomingMessage, RequestFacts>();

/** The facts of a request; its id is made on first use. */
export function requestFacts(request: IncomingMessage): RequestFacts {
  let facts = factsByRequest.get(request);
  if (facts === undefined) {
    const address = request.socket.remoteAddress;
    const userAgent = request.headers['user-agent']?.slice(0, 200);
    facts = { requestId: randomUUID(), ...(address === undefined ? {} : { address }), ...(userAgent === undefined ? {} : { userAgent }) };
    factsByRequest.set(request, facts);
  }
  return facts;
}

/** The actor of a person, acting through an app or not. */
export function personActor(person: Person, facts: RequestFacts, client?: { readonly clientId: string; readonly clientName?: string | undefined }): AuditActor {
  const { requestId: _, ...where } = facts;
  return {
    kind: 'user',
    id: person.id,
    display: person.username,
    role: person.role,
    ...(person.fhirUser === undefined ? {} : { fhirUser: person.fhirUser }),
    ...(client === undefined ? {} : { clientId: client.clientId }),
    ...(client?.clientName === undefined ? {} : { clientName: client.clientName }),
    ...where,
  };
}

/** The actor of whoever has not shown who they are; `claimed` is the client they say they are. */
export function anonymousActor(facts: RequestFacts, claimed?: string): AuditActor {
  const { requestId: _, ...where } = facts;
  return { kind: 'anonymous', id: 'anonymous', ...(claimed === undefined ? {} : { clientId: claimed.slice(0, 100) }), ...where };
}

/** An error of oidc-provider: `error`, `error_description`, `error_detail`, `statusCode`. */
type Refusal = Readonly<Record<string, unknown>>;

interface Outcome {
  readonly error?: Refusal;
  readonly done?: boolean;
}

const interactions: Readonly<Record<string, string>> = { authorization: 'authorize', resume: 'authorize', introspection: 'introspect', revocation: 'revoke', end_session_confirm: 'logout' };

export interface ProviderAuditOptions {
  readonly provider: Provider;
  readonly audit: AuditTrail;
  readonly flood: FloodGuard;
  readonly throttle: FailureThrottle;
  readonly log: Log;
  readonly nowMs: () => number;
}

/**
 * Makes oidc-provider record what it decides before its answer leaves; if that fails, the answer is 503 and holds nothing.
 * Also sets the headers that SMART wants and the library does not send.
 */
export function auditProvider({ provider, audit, flood, throttle, log, nowMs }: ProviderAuditOptions): void {
  const outcomes = new WeakMap<object, Outcome>();
  const note = (ctx: KoaContextWithOIDC, outcome: Outcome): void => {
    outcomes.set(ctx.req, { ...outcomes.get(ctx.req), ...outcome });
  };
  // The typed overloads know one event at a time.
  const emitter: EventEmitter = provider;
  for (const event of ['authorization.error', 'grant.error', 'introspection.error', 'revocation.error', 'end_session_confirm.error'] as const) {
    emitter.on(event, (ctx: KoaContextWithOIDC, error: Refusal) => note(ctx, { error }));
  }
  emitter.on('server_error', (ctx: KoaContextWithOIDC, error: Error) => {
    note(ctx, { error: { error: 'server_error', error_detail: error.name } });
    log.error('authorization server failed', { route: ctx.oidc.route, errorName: error.name });
  });
  provider.on('authorization.success', (ctx) => note(ctx, { done: true }));
  provider.on('end_session.success', (ctx) => note(ctx, { done: true }));

  provider.use(async (ctx, next) => {
    const facts = requestFacts(ctx.req);
    ctx.state['requestId'] = facts.requestId;
    ctx.set('X-Request-Id', facts.requestId);
    ctx.set('Pragma', 'no-cache');
    ctx.set('Content-Security-Policy', libraryPagePolicy);
    const decides = !/^\/(?:jwks|\.well-known\/.*)$/.test(ctx.path);
    try {
      if (decides) audit.assertAvailable();
      await next();
      const record = recordOf(ctx as unknown as KoaContextWithOIDC, facts, outcomes.get(ctx.req) ?? {}, nowMs());
      if (record === undefined) return;
      if (record.outcome !== '0') throttle.failed(facts.address ?? '');
      await (record.actor.kind === 'anonymous' ? flood : audit).record(record);
    } catch (cause) {
      if (!(cause instanceof InterlockError)) throw cause;
      log.error('authorization server answered nothing', { errorCode: cause.code, requestId: facts.requestId });
      ctx.remove('Set-Cookie');
      ctx.remove('Location');
      ctx.status = cause.status;
      if (ctx.accepts('json', 'html') === 'html') {
        ctx.type = 'html';
        ctx.body = problemPage('Not available', 'The audit trail cannot be written at the moment, so nothing can be granted. Try again soon.', facts.requestId);
      } else {
        ctx.body = { error: 'temporarily_unavailable', error_description: 'the audit trail cannot be written' };
      }
    }
  });
}

function recordOf(ctx: KoaContextWithOIDC, facts: RequestFacts, outcome: Outcome, at: number): AuditRecord | undefined {
  const oidc = ctx.oidc as KoaContextWithOIDC['oidc'] | undefined;
  if (oidc === undefined) return undefined;
  const { route, client, params, entities } = oidc;
  const refused = outcome.error;
  const decided = route === 'token' || route === 'introspection' || route === 'revocation' || refused !== undefined || outcome.done === true;
  if (!decided) return undefined;
  const grantType = text(params?.['grant_type']);
  const token = entities.AccessToken ?? entities.ClientCredentials;
  const scope = token?.scope ?? text(params?.['scope']);
  const patient = entities.AccessToken?.extra?.['patient'];
  const authenticated = client !== undefined && refused?.['error'] !== 'invalid_client';
  const person = entities.Account?.['person'] as Person | undefined;
  return {
    at,
    kind: route === 'end_session_confirm' ? 'logout' : 'token',
    interaction: route === 'token' ? (grantType ?? 'token') : (interactions[route] ?? route),
    action: 'E',
    outcome: refused === undefined ? '0' : typeof refused['statusCode'] === 'number' && refused['statusCode'] < 500 ? '4' : '8',
    ...(refused === undefined ? {} : { error: refused['error'] === 'invalid_client' ? 'credentials-invalid' : 'grant-refused', rule: ruleOf(refused) }),
    requestId: facts.requestId,
    actor:
      person !== undefined
        ? personActor(person, facts, client)
        : authenticated
          ? { ...anonymousActor(facts), kind: 'client', id: client.clientId, ...(client.clientName === undefined ? {} : { display: client.clientName }) }
          : anonymousActor(facts, text(params?.['client_id']) ?? client?.clientId),
    ...(client === undefined ? {} : { client: { id: client.clientId, ...(grantType === undefined ? {} : { grantType }), ...(scope === undefined ? {} : { scope: scope.slice(0, 4000) }) } }),
    ...(route === 'token' && typeof patient === 'string' ? { patients: [patient] } : {}),
  };
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value.slice(0, 4000) : undefined;
}

// For the sealed trail only: the library's words tell which of its checks refused.
function ruleOf(error: Refusal): string {
  const words = [error['error'], error['error_description'], error['error_detail']].filter((part) => typeof part === 'string');
  return `oauth: ${words.join(': ')}`.slice(0, 300);
}
