import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { Request, Response } from 'express';
import { InterlockError } from '../../resources/outcome/error.ts';
import { toOperationOutcome } from '../../resources/outcome/render.ts';
import type { Log } from '../observe/log.ts';
import { sendStream } from './binary-http.ts';
import type { FhirResponse } from './exchange.ts';
import { mediaTypes, type Format } from './negotiation.ts';
import { prettyJson } from './pretty.ts';
import { methodsOf } from './routes.ts';
import { XmlConverter } from './xml.ts';

/** How the answer to a request is written; settled while the request is read. */
export interface Wire {
  readonly requestId: string;
  /** undefined: nothing that the caller accepts is offered. */
  format: Format | undefined;
  pretty: boolean;
}

/** The one converter of this process. */
export const xml = new XmlConverter();

/** Shorter answers gain nothing. */
const minCompressedBytes = 1_024;
const packers = {
  br: async (body: Buffer) => promisify(brotliCompress)(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 4, [constants.BROTLI_PARAM_SIZE_HINT]: body.length } }),
  gzip: async (body: Buffer) => promisify(gzip)(body, { level: 4 }),
} as const;

/** A refusal or failure as an OperationOutcome, with the headers that belong to its status. */
export function errorResponse(error: unknown, request: Request, requestId: string, log: Log): FhirResponse {
  const { status, outcome } = toOperationOutcome(error, requestId);
  const headers: Record<string, string> = { 'Content-Type': mediaTypes.json };
  if (error instanceof InterlockError) {
    if (error.options.retryAfterSeconds !== undefined) headers['Retry-After'] = String(error.options.retryAfterSeconds);
    if (status === 401) headers['WWW-Authenticate'] = error.options.challenge ?? (error.code === 'token-invalid' ? 'Bearer error="invalid_token"' : 'Bearer');
    if (error.options.dpopNonce !== undefined) headers['DPoP-Nonce'] = error.options.dpopNonce;
    if (status === 403) headers['WWW-Authenticate'] = 'Bearer error="insufficient_scope"';
    if (status === 405) headers['Allow'] = methodsOf(request.path.slice(1)).join(', ');
    if (status >= 500) log.warn('request failed', { requestId, code: error.code, method: request.method });
  } else log.error('request failed unexpectedly', { requestId, method: request.method, errorName: error instanceof Error ? error.name : 'unknown' });
  return { status, headers, body: Buffer.from(JSON.stringify(outcome)) };
}

/** Sends an answer: in the format of the wire, compressed if the caller takes that, without its body to HEAD. */
export async function send(result: FhirResponse, wire: Wire, request: Request, response: Response, log: Log): Promise<void> {
  if (result.stream !== undefined && result.headers['Content-Type'] === mediaTypes.json && wire.format === 'xml') throw new InterlockError('not-acceptable', { detail: 'A Binary of this size is given as JSON or in its own format.' });
  const formatted = await inFormat(result, wire);
  response.status(formatted.status);
  // As they are: express would add a charset to a Binary's text/… types.
  for (const [name, value] of Object.entries(formatted.headers)) response.setHeader(name, value);
  if (formatted.stream !== undefined && request.method !== 'HEAD') {
    await sendStream(formatted.stream, response, log, wire.requestId);
    return;
  }
  if (formatted.stream !== undefined) response.setHeader('Content-Length', String(formatted.stream.sizeBytes));
  if (formatted.body === undefined) {
    response.end();
    return;
  }
  const encoding = encodingOf(request, formatted);
  const body = encoding === undefined ? formatted.body : await packers[encoding](formatted.body);
  if (encoding !== undefined) response.set('Content-Encoding', encoding);
  response.set('Content-Length', String(body.length));
  if (request.method === 'HEAD') response.end();
  else response.end(body);
}

/** Only resources have formats: a Binary's own bytes and other documents go out as they are. */
async function inFormat(result: FhirResponse, { format, pretty }: Wire): Promise<FhirResponse> {
  if (result.headers['Content-Type'] !== mediaTypes.json || result.body === undefined) return result;
  if (format === 'xml') {
    const body = await xml.convert(pretty ? 'pretty-xml' : 'xml', result.body);
    return { ...result, headers: { ...result.headers, 'Content-Type': mediaTypes.xml }, body };
  }
  return pretty ? { ...result, body: Buffer.from(prettyJson(result.body.toString())) } : result;
}

function encodingOf(request: Request, { headers, body }: FhirResponse): keyof typeof packers | undefined {
  const isText = /^application\/(?:fhir\+)?(?:json|xml)/.test(headers['Content-Type'] ?? '');
  if (!isText || body === undefined || body.length < minCompressedBytes || request.get('accept-encoding') === undefined) return undefined;
  const chosen = request.acceptsEncodings(['br', 'gzip', 'identity']);
  return chosen === 'br' || chosen === 'gzip' ? chosen : undefined;
}
