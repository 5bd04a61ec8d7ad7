import { randomUUID } from 'node:crypto';
import express, { type Request, type RequestHandler, type Response, type Router } from 'express';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AccessContext } from '../access/context.ts';
import { GuardedRepository } from '../access/guard.ts';
import type { Log } from '../observe/log.ts';
import type { FhirRequest, FhirResponse, FhirServices } from './exchange.ts';
import { isUpload, nativeFormatOf, uploadRequest } from './binary-http.ts';
import { capabilities, openApi } from './interactions/read.ts';
import { errorResponse, send, xml, type Wire } from './http-response.ts';
import { bodyFormatOf, formatOf } from './negotiation.ts';
import { handle } from './pipeline.ts';
import { splitUrl } from './routes.ts';

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
const bodyMethods: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);
const jsonPatchType = /^application\/json-patch\+json\s*(?:;|$)/i;
const formType = /^application\/x-www-form-urlencoded\s*(?:;|$)/i;
const exposedHeaders = 'Accept-Ranges, Content-Range, ETag, Location, Content-Location, Last-Modified, WWW-Authenticate, DPoP-Nonce, X-Request-Id, X-Progress, Retry-After, X-Security-Context';

/** Largest form of a search by POST: a thousand values of a usual length. */
const maxFormSizeBytes = 128 * 1024;
const formPath = /(?:^|\/)_search$/;

/** What anybody may read. */
const publicDocuments = new Map([['metadata', capabilities], ['openapi.json', openApi]]);

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
    response.set({ 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': exposedHeaders, 'Cache-Control': 'no-store', 'Vary': 'Accept, Accept-Encoding', 'X-Content-Type-Options': 'nosniff' });
    next();
  });
  router.use((request, response, next) => {
    if (request.method !== 'OPTIONS') {
      next();
      return;
    }
    response.set({ 'Access-Control-Allow-Methods': 'GET, HEAD, POST, PUT, PATCH, DELETE', 'Access-Control-Allow-Headers': 'Authorization, DPoP, Content-Type, Accept, Prefer, If-Match, If-None-Match, If-None-Exist, If-Modified-Since, If-Range, Range, X-Security-Context, X-Purpose-Of-Use, X-Request-Id', 'Access-Control-Max-Age': '600' });
    response.status(204).end();
  });
  router.get('/.well-known/smart-configuration', (_request, response) => {
    response.json(options.smartConfiguration());
  });
  router.use(async (request, response) => respond(options, request, response, readBody));
  return router;
}

/** The one place where an answer leaves: nothing is sent before `answer` has made its audit entry durable. */
async function respond(options: FhirHttpOptions, request: Request, response: Response, readBody: BodyReader): Promise<void> {
  const wire = wireOf(request, requestIdOf(request, response));
  const failed = (error: unknown) => errorResponse(error, request, wire.requestId, options.log);
  const result = await answer(options, request, response, readBody, wire).catch(failed);
  try {
    await send(result, wire, request, response, options.log);
  } catch (error) {
    // What could not be written in the format asked for is told in the one that needs no conversion.
    await send(failed(error), { ...wire, format: 'json' }, request, response, options.log);
  }
}

/** The caller, then the body, so that strangers cannot make the server hold anything; then the pipeline. */
async function answer(options: FhirHttpOptions, request: Request, response: Response, readBody: BodyReader, wire: Wire): Promise<FhirResponse> {
  const { requestId } = wire;
  const { path } = splitUrl(request.url.slice(1));
  const publicDocument = request.method === 'GET' || request.method === 'HEAD' ? publicDocuments.get(path) : undefined;
  if (publicDocument !== undefined) {
    return auditedIfUnauthenticated(options, request, requestId, async () => publicDocument({ services: options.services, request: await toFhirRequest(request, undefined, wire) }));
  }
  const context = await auditedIfUnauthenticated(options, request, requestId, () => options.authenticate(request, requestId));
  let fhirRequest: FhirRequest;
  try {
    fhirRequest = isUpload(request, path) ? await uploadRequest(request, path, options.services.limits.maxBinarySizeBytes) : await toFhirRequest(request, await readBody(request, response, path), wire);
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

function wireOf(request: Request, requestId: string): Wire {
  const query = new URLSearchParams(splitUrl(request.url).query);
  return { requestId, ...writtenAs(query, request) };
}

function writtenAs(query: URLSearchParams, request: Request): Pick<Wire, 'format' | 'pretty'> {
  return { format: formatOf({ format: query.get('_format') ?? undefined, accept: request.get('accept') }), pretty: query.get('_pretty') === 'true' };
}

/** @throws InterlockError `not-acceptable`, `media-type-unsupported`, `structure-invalid` */
async function toFhirRequest(request: Request, body: Buffer | undefined, wire: Wire): Promise<FhirRequest> {
  const { path, query: queryText } = splitUrl(request.url.slice(1));
  const { method } = request;
  const isForm = method === 'POST' && formPath.test(path);
  const isJsonPatch = method === 'PATCH' && jsonPatchType.test(request.get('content-type') ?? '');
  if (body !== undefined && isForm && !formType.test(request.get('content-type') ?? '')) throw new InterlockError('media-type-unsupported');
  const query = new URLSearchParams([...new URLSearchParams(queryText), ...(isForm && body !== undefined ? new URLSearchParams(body.toString()) : [])]);
  Object.assign(wire, writtenAs(query, request));
  const native = nativeFormatOf(request, path, query);
  if (native === undefined && wire.format === undefined) throw new InterlockError('not-acceptable');
  const named = { prefer: request.get('prefer'), ifMatch: request.get('if-match'), ifNoneMatch: request.get('if-none-match'), ifModifiedSince: request.get('if-modified-since'), ifNoneExist: request.get('if-none-exist'), accept: native, range: request.get('range'), ifRange: request.get('if-range') };
  return {
    method,
    path,
    query: [...query].filter(([name]) => name !== '_format' && name !== '_pretty'),
    headers: Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined)),
    ...(method === 'PATCH' ? { contentType: isJsonPatch ? 'application/json-patch+json' : 'application/fhir+json' } : {}),
    ...(body === undefined || isForm ? {} : { body: isJsonPatch ? body : await jsonOf(body, request.get('content-type')) }),
  };
}

async function jsonOf(body: Buffer, contentType: string | undefined): Promise<Buffer> {
  const format = bodyFormatOf(contentType);
  if (format === undefined) throw new InterlockError('media-type-unsupported');
  return format === 'xml' ? xml.convert('json', body) : body;
}
