import { randomUUID } from 'node:crypto';
import express, { type Request, type RequestHandler, type Response, type Router } from 'express';
import { InterlockError } from '../../resources/outcome/error.ts';
import { toOperationOutcome } from '../../resources/outcome/render.ts';
import type { AccessContext } from '../access/context.ts';
import { GuardedRepository } from '../access/guard.ts';
import type { Log } from '../observe/log.ts';
import type { FhirRequest, FhirResponse, FhirServices } from './exchange.ts';
import { capabilities } from './interactions/read.ts';
import { handle } from './pipeline.ts';
import { fhirJson } from './responses.ts';
import { methodsOf, splitUrl } from './routes.ts';

/** What the HTTP face of the FHIR API needs beside the FHIR services. */
export interface FhirHttpOptions {
  readonly services: FhirServices;
  /** The caller of a request. @throws InterlockError `login-required`, `token-invalid` … */
  readonly authenticate: (request: Request, requestId: string) => Promise<AccessContext>;
  /** Audits a request whose caller could not be told. */
  readonly recordUnauthenticated: (facts: { requestId: string; address: string; userAgent?: string; method: string }, error: unknown) => Promise<void>;
  readonly smartConfiguration: () => unknown;
  readonly log: Log;
}

/** Ids that a caller may give its request. They are echoed and audited, sealed; the log takes only those that cannot carry content. */
const requestIdPattern = /^[A-Za-z0-9._-]{1,64}$/;
const bodyTypes = /^application\/(?:fhir\+json|json)\s*(?:;|$)/i;
const bodyMethods: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);
const formType = /^application\/x-www-form-urlencoded\s*(?:;|$)/i;
const exposedHeaders = 'ETag, Location, Content-Location, Last-Modified, WWW-Authenticate, X-Request-Id, X-Progress, Retry-After';

/** Largest form of a search by POST: a thousand values of a usual length. */
const maxFormSizeBytes = 128 * 1024;
const formPath = /(?:^|\/)_search$/;

/** Reads the body of a request, of the size that its path takes. */
type BodyReader = (request: Request, response: Response, path: string) => Promise<Buffer | undefined>;

/** The FHIR API on an express router, to be mounted at the FHIR base. */
export function fhirRouter(options: FhirHttpOptions): Router {
  const { maxBundleSizeBytes, maxResourceSizeBytes } = options.services.limits;
  const upTo = (limit: number): RequestHandler => express.raw({ type: () => true, limit, inflate: true });
  const [ofBundle, ofResource, ofForm] = [upTo(maxBundleSizeBytes), upTo(maxResourceSizeBytes), upTo(maxFormSizeBytes)];
  const readBody: BodyReader = async (request, response, path) => {
    if (!bodyMethods.has(request.method)) return undefined;
    await parse(path === '' ? ofBundle : formPath.test(path) ? ofForm : ofResource, request, response);
    return Buffer.isBuffer(request.body) && request.body.length > 0 ? request.body : undefined;
  };
  const router = express.Router();
  router.use((_request, response, next) => {
    response.set({ 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': exposedHeaders, 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' });
    next();
  });
  router.use((request, response, next) => {
    if (request.method !== 'OPTIONS') {
      next();
      return;
    }
    response.set({ 'Access-Control-Allow-Methods': 'GET, HEAD, POST, PUT, DELETE', 'Access-Control-Allow-Headers': 'Authorization, Content-Type, Accept, Prefer, If-Match, If-None-Match, If-None-Exist, If-Modified-Since, X-Request-Id', 'Access-Control-Max-Age': '600' });
    response.status(204).end();
  });
  router.get('/.well-known/smart-configuration', (_request, response) => {
    response.json(options.smartConfiguration());
  });
  router.use(async (request, response) => respond(options, request, response, () => answer(options, request, response, readBody)));
  return router;
}

/** The caller, then the body, so that strangers cannot make the server hold anything; then the pipeline. */
async function answer(options: FhirHttpOptions, request: Request, response: Response, readBody: BodyReader): Promise<FhirResponse> {
  const requestId = requestIdOf(request, response);
  const { path } = splitUrl(request.url.slice(1));
  if (path === 'metadata' && (request.method === 'GET' || request.method === 'HEAD')) {
    return capabilities({ services: options.services, request: await auditedIfUnauthenticated(options, request, requestId, () => toFhirRequest(request, undefined)) });
  }
  const context = await auditedIfUnauthenticated(options, request, requestId, () => options.authenticate(request, requestId));
  let fhirRequest: FhirRequest;
  try {
    fhirRequest = toFhirRequest(request, await readBody(request, response, path));
  } catch (error) {
    await new GuardedRepository(options.services, context).recordFailure({ interaction: 'unknown', action: 'E' }, error);
    throw error;
  }
  return handle(options.services, fhirRequest, context);
}

/** @throws InterlockError `too-large`, `media-type-unsupported` (its encoding), `structure-invalid` */
async function parse(reader: RequestHandler, request: Request, response: Response): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      void reader(request, response, (error?: unknown) => (error === undefined ? resolve() : reject(error instanceof Error ? error : new TypeError('not an error'))));
    });
  } catch (cause) {
    const status = cause instanceof Error && 'status' in cause ? cause.status : undefined;
    if (status === 413) throw new InterlockError('too-large', { cause });
    throw status === 415 ? new InterlockError('media-type-unsupported', { cause }) : new InterlockError('structure-invalid', { detail: 'The body could not be read.', cause });
  }
}

async function auditedIfUnauthenticated<T>(options: FhirHttpOptions, request: Request, requestId: string, work: () => Promise<T> | T): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const userAgent = request.get('user-agent');
    await options.recordUnauthenticated({ requestId, address: request.socket.remoteAddress ?? '', method: request.method, ...(userAgent === undefined ? {} : { userAgent }) }, error);
    throw error;
  }
}

function requestIdOf(request: Request, response: Response): string {
  const set = response.get('X-Request-Id');
  if (set !== undefined) return set;
  const given = request.get('x-request-id');
  const requestId = given !== undefined && requestIdPattern.test(given) ? given : randomUUID();
  response.set('X-Request-Id', requestId);
  return requestId;
}

function toFhirRequest(request: Request, body: Buffer | undefined): FhirRequest {
  const { path, query: queryText } = splitUrl(request.url.slice(1));
  const inUrl = new URLSearchParams(queryText);
  const { method } = request;
  const native = nativeFormatOf(request, path, inUrl);
  if (native === undefined) assertAcceptable(request, inUrl);
  const isForm = method === 'POST' && formPath.test(path);
  if (body !== undefined && !(isForm ? formType : bodyTypes).test(request.get('content-type') ?? '')) throw new InterlockError('media-type-unsupported');
  const query = [...inUrl, ...(isForm && body !== undefined ? new URLSearchParams(body.toString()) : [])];
  const named = { prefer: request.get('prefer'), ifMatch: request.get('if-match'), ifNoneMatch: request.get('if-none-match'), ifModifiedSince: request.get('if-modified-since'), ifNoneExist: request.get('if-none-exist'), accept: native };
  return {
    method,
    path,
    query: query.filter(([name]) => name !== '_format' && name !== '_pretty'),
    headers: Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined)),
    ...(body === undefined || isForm ? {} : { body }),
  };
}

/** The media types that a read of a Binary asks for, if FHIR JSON is not among them (https://hl7.org/fhir/R4/binary.html#rest). */
function nativeFormatOf(request: Request, path: string, query: URLSearchParams): string | undefined {
  if ((request.method !== 'GET' && request.method !== 'HEAD') || !/^Binary\/[^/]+(?:\/_history\/[^/]+)?$/.test(path) || query.has('_format')) return undefined;
  return request.accepts(['application/fhir+json', 'application/json']) === false ? request.get('accept') : undefined;
}

/** JSON is the only format; a request that can take nothing else than another is told so (https://hl7.org/fhir/R4/http.html#mime-type). */
function assertAcceptable(request: Request, query: URLSearchParams): void {
  const format = query.get('_format');
  if (format !== null) {
    if (!/^(?:json|text\/json|application\/json|application\/fhir[+ ]json)(?:;|$)/i.test(format)) throw new InterlockError('not-acceptable');
    return;
  }
  const accept = request.get('accept');
  if (accept === undefined || request.accepts(['application/fhir+json', 'application/json']) !== false) return;
  throw new InterlockError('not-acceptable');
}

/** The one place where an answer leaves: nothing is sent before `work` has made its audit entry durable. */
async function respond(options: FhirHttpOptions, request: Request, response: Response, work: () => Promise<FhirResponse>): Promise<void> {
  let result: FhirResponse;
  try {
    result = await work();
  } catch (error) {
    const requestId = requestIdOf(request, response);
    const { status, outcome } = toOperationOutcome(error, requestId);
    const headers: Record<string, string> = { 'Content-Type': fhirJson };
    if (error instanceof InterlockError) {
      if (error.options.retryAfterSeconds !== undefined) headers['Retry-After'] = String(error.options.retryAfterSeconds);
      if (status === 401) headers['WWW-Authenticate'] = error.code === 'token-invalid' ? 'Bearer error="invalid_token"' : 'Bearer';
      if (status === 403) headers['WWW-Authenticate'] = 'Bearer error="insufficient_scope"';
      if (status === 405) headers['Allow'] = methodsOf(request.path.slice(1)).join(', ');
      if (status >= 500) options.log.warn('request failed', { requestId, code: error.code, method: request.method });
    } else options.log.error('request failed unexpectedly', { requestId, method: request.method, errorName: error instanceof Error ? error.name : 'unknown' });
    result = { status, headers, body: Buffer.from(JSON.stringify(outcome)) };
  }
  response.status(result.status);
  // As they are: express would add a charset to a Binary's text/… types.
  for (const [name, value] of Object.entries(result.headers)) response.setHeader(name, value);
  if (request.method === 'HEAD' || result.body === undefined) response.end();
  else response.set('Content-Length', String(result.body.length)).end(result.body);
}
