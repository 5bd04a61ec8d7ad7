import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import type { Request, Response } from 'express';
import { InterlockError } from '../../resources/outcome/error.ts';
import { parseReference } from '../../resources/search-values/index.ts';
import type { Log } from '../observe/log.ts';
import { isMediaType } from './binary.ts';
import type { BodyStream, FhirRequest } from './exchange.ts';

/** Content of at most this many bytes stays in its resource, as base64. */
const maxInlineBytes = 3 * 2 ** 18;
/** Longest time for which a caller may take nothing of what is sent to it. */
const stalledMs = 60_000;

const uploadPaths: Readonly<Record<string, RegExp>> = { POST: /^Binary\/?$/, PUT: /^Binary\/[^/?$]+\/?$/ };
const readPaths = /^Binary\/[^/$_][^/]*(?:\/_history\/[^/]+)?$/;
const fhirNames = /^\s*(?:application\/(?:fhir\+json|json|json\+fhir|fhir\+xml|xml|xml\+fhir)|text\/(?:json|xml))\s*(?:;|$)/i;

/** True for content that is to become a Binary as it is: of any type but FHIR's own (https://hl7.org/fhir/R4/binary.html#rest). */
export function isUpload(request: Pick<Request, 'method' | 'headers'>, path: string): boolean {
  const contentType = request.headers['content-type'];
  return contentType !== undefined && uploadPaths[request.method]?.test(path) === true && !fhirNames.test(contentType);
}

/**
 * The media types that a read of a Binary asks for, unless it names one of FHIR's: then, or with `_format`, the resource
 * is meant (https://hl7.org/fhir/R4/binary.html#rest).
 */
export function nativeFormatOf(request: Pick<Request, 'method' | 'headers'>, path: string, query: URLSearchParams): string | undefined {
  if ((request.method !== 'GET' && request.method !== 'HEAD') || !readPaths.test(path) || query.has('_format')) return undefined;
  const accept = request.headers.accept ?? '*/*';
  return accept.split(',').some((range) => fhirNames.test(range) && !/;\s*q=0(?:\.0*)?\s*(?:;|$)/i.test(range)) && !isBrowsers(accept) ? undefined : accept;
}

/** Browsers name XML beside pages and anything; they do not mean FHIR's. */
function isBrowsers(accept: string): boolean {
  return /(?:^|,)\s*text\/html\s*(?:[,;]|$)/i.test(accept) && !/application\/fhir\+/i.test(accept);
}

/**
 * An upload as a request of the pipeline. What fits into a resource is read at once and goes the way of any Binary; more is
 * a stream, of which nothing further is read before the write is permitted.
 * @throws InterlockError `too-large`, `request-invalid`, `media-type-unsupported`
 */
export async function uploadRequest(request: Request, path: string, maxBytes: number): Promise<FhirRequest> {
  const contentType = (request.get('content-type') ?? '').trim();
  if (!isMediaType(contentType)) throw new InterlockError('media-type-unsupported', { detail: 'The content type is not a media type.' });
  if (!/^(?:identity)?$/i.test(request.get('content-encoding') ?? '')) throw new InterlockError('media-type-unsupported', { detail: 'A Binary is sent without content encoding.' });
  if (Number(request.get('content-length') ?? 0) > maxBytes) throw new InterlockError('too-large');
  if (request.get('if-none-exist') !== undefined) throw new InterlockError('request-invalid', { detail: 'If-None-Exist is not for content in its own format.' });
  const source = request.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  // What a refusal left unread is taken from the wire, so that its sender gets to the answer.
  request.res!.once('finish', () => {
    void source.return?.().then(() => request.resume());
  });
  const { read, isWhole } = await readUpTo(source, maxInlineBytes);
  const named = { prefer: request.get('prefer'), ifMatch: request.get('if-match'), ifNoneMatch: request.get('if-none-match') };
  const [, id] = path.replace(/\/$/, '').split('/');
  const reference = securityContextOf(request.get('x-security-context'));
  const resource = { resourceType: 'Binary', ...(id === undefined ? {} : { id }), contentType, ...(reference === undefined ? {} : { securityContext: { reference } }) };
  const size = read.reduce((sum, { length }) => sum + length, 0);
  const content = isWhole && size <= maxInlineBytes ? undefined : { source: joined(read, source), maxBytes };
  const data = size === 0 ? {} : { data: Buffer.concat(read).toString('base64') };
  return {
    method: request.method,
    path,
    query: [],
    headers: Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined)),
    resource: content === undefined ? { ...resource, ...data } : resource,
    ...(content === undefined ? {} : { content }),
  };
}

/** Sends a stream at the pace of its receiver. What breaks off on the way cannot be told any more but by breaking the connection. */
export async function sendStream(stream: BodyStream, response: Response, log: Log, requestId: string): Promise<void> {
  const pieces = stream.open()[Symbol.asyncIterator]();
  // Before the first byte a failure is still an answer of its own.
  let piece = await pieces.next();
  response.setHeader('Content-Length', String(stream.sizeBytes));
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  try {
    for (; piece.done !== true && !gone.signal.aborted; piece = await pieces.next()) {
      if (!response.write(piece.value)) await Promise.race([once(response, 'drain', { signal: gone.signal }), stalled(gone.signal)]);
    }
    response.end();
  } catch (error) {
    response.destroy();
    if (!gone.signal.aborted) log.error('a file broke off while it was sent', { requestId, code: error instanceof InterlockError ? error.code : 'internal' });
  } finally {
    gone.abort();
    await pieces.return?.();
  }
}

async function stalled(signal: AbortSignal): Promise<never> {
  await pause(stalledMs, undefined, { signal, ref: false });
  throw new InterlockError('unavailable', { detail: 'The receiver takes nothing.' });
}

/** The resource that decides who may read the content (https://hl7.org/fhir/R4/binary.html#security). @throws InterlockError `request-invalid` */
function securityContextOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  if (parseReference(header.trim()) === undefined) throw new InterlockError('request-invalid', { detail: 'X-Security-Context must be a literal reference to a resource.' });
  return header.trim();
}

async function readUpTo(source: AsyncIterator<Buffer>, maxBytes: number): Promise<{ read: Buffer[]; isWhole: boolean }> {
  const read: Buffer[] = [];
  for (let size = 0; size <= maxBytes; ) {
    const next = await source.next();
    if (next.done === true) return { read, isWhole: true };
    read.push(next.value);
    size += next.value.length;
  }
  return { read, isWhole: false };
}

async function* joined(read: Buffer[], rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer, void, void> {
  for (let piece = read.shift(); piece !== undefined; piece = read.shift()) yield piece;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
