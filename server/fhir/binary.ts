import { InterlockError } from '../../resources/outcome/error.ts';
import type { GuardedRepository, Incoming } from '../access/guard.ts';
import type { ByteRange, FileManifest, ResourceJson, StoredVersion } from '../storage/contract.ts';
import type { FhirRequest, FhirResponse } from './exchange.ts';
import { failureResponse, fhirJson, versionHeaders } from './responses.ts';

/** Base64 in JSON beyond this is kept in chunks, as if it had come in its own format. */
const maxInlineCharacters = 2 ** 20;

/** Says that content is left out, where a Bundle holds the resource (http://terminology.hl7.org/CodeSystem/v3-ObservationValue). */
const subsetted = { system: 'http://terminology.hl7.org/CodeSystem/v3-ObservationValue', code: 'SUBSETTED' } as const;

/** RFC 9110, section 8.3.1, without a comma, which would end it. What a stored code permits beyond it cannot stand in a header. */
const mediaTypeForm = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+(?:\s*;\s*[\w!#$%&'*+.^`|~-]+=(?:[\w!#$%&'*+.^`|~-]+|"[\w !#$%&'()*+./:;<=>?@[\]^`{|}~-]*"))*$/;

/** True for a media type that can be a Binary's content type and stand in a header. */
export function isMediaType(text: string): boolean {
  return text.length <= 255 && mediaTypeForm.test(text);
}

/** A Binary whose content is kept apart: what is left of it is marked as a part. */
function withoutData(resource: ResourceJson): ResourceJson {
  const { data: _, meta, ...rest } = resource;
  const { tag = [], ...others } = (meta ?? {}) as { tag?: readonly { readonly system?: string; readonly code?: string }[] };
  return { ...rest, meta: { ...others, tag: [...tag.filter((one) => !isSubsetted(one)), subsetted] } };
}

/**
 * A Binary whose content is to be kept in chunks: what came in its own format, or as much of it in JSON; undefined for any
 * other resource.
 */
export function incomingBinary(resource: ResourceJson, content: Incoming['content']): Incoming | undefined {
  if (resource.resourceType !== 'Binary') return undefined;
  if (content !== undefined) return { resource: withoutData(resource), content };
  const { data } = resource;
  if (typeof data !== 'string' || data.length <= maxInlineCharacters) return undefined;
  const bytes = Buffer.from(data, 'base64');
  return { resource: withoutData(resource), content: { source: once(bytes), maxBytes: bytes.length } };
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer, void, void> {
  yield await Promise.resolve(bytes);
}

/**
 * A Binary as it was asked for: its own bytes, or a part of them, if its native format was; else the resource, with
 * content that is kept in chunks streamed into it (https://hl7.org/fhir/R4/binary.html#rest).
 * Never shown in place by a browser: what a partner sent could be a page.
 * @throws InterlockError `not-acceptable` if the Binary is of another type than asked for
 */
export function binaryResponse(guard: GuardedRepository, version: StoredVersion, { headers, method }: Pick<FhirRequest, 'headers' | 'method'>): FhirResponse {
  const { accept } = headers;
  if (accept === undefined) return hasFile(version) ? resourceStream(guard, version) : { status: 200, headers: { 'Content-Type': fhirJson, ...versionHeaders(version) }, body: version.bytes };
  const { contentType = '', data = '', securityContext } = version.resource() as { contentType?: string; data?: string; securityContext?: { reference?: string } };
  const mediaType = isMediaType(contentType) ? contentType : 'application/octet-stream';
  if (!isWanted(accept, mediaType)) throw new InterlockError('not-acceptable', { detail: 'The Binary is of another type.' });
  const inline = hasFile(version) ? undefined : Buffer.from(data, 'base64');
  const sizeBytes = version.file?.sizeBytes ?? inline!.length;
  // The bytes of a version never change, so their tag is a strong one.
  const etag = `"${version.versionId}"`;
  const reference = securityContext?.reference;
  const about = {
    ...versionHeaders(version), 'ETag': etag, 'Accept-Ranges': 'bytes', 'Content-Disposition': 'attachment',
    ...(reference !== undefined && /^[\w\-./:]{1,300}$/.test(reference) ? { 'X-Security-Context': reference } : {}),
  };
  const range = method === 'GET' && (headers.ifRange === undefined || headers.ifRange.trim() === etag) ? rangeOf(headers.range, sizeBytes) : undefined;
  if (range === 'unsatisfiable') return { ...failureResponse(new InterlockError('range-unsatisfiable'), ''), headers: { ...about, 'Content-Type': fhirJson, 'Content-Range': `bytes */${sizeBytes}` } };
  const { from, to } = range ?? { from: 0, to: sizeBytes };
  const answer = { status: range === undefined ? 200 : 206, headers: { ...about, 'Content-Type': mediaType, ...(range === undefined ? {} : { 'Content-Range': `bytes ${from}-${to - 1}/${sizeBytes}` }) } };
  if (inline !== undefined) return { ...answer, body: inline.subarray(from, to) };
  return { ...answer, stream: { sizeBytes: to - from, open: () => guard.contentOf(version as Large, { from, to }) } };
}

type Large = StoredVersion & { readonly file: FileManifest };

function hasFile(version: StoredVersion): version is Large {
  return version.file !== undefined;
}

function isSubsetted({ system, code }: { readonly system?: string; readonly code?: string }): boolean {
  return system === subsetted.system && code === subsetted.code;
}

/** The whole resource as JSON. Chunks hold a multiple of three bytes, so that their base64 can be joined. */
function resourceStream(guard: GuardedRepository, version: Large): FhirResponse {
  const { meta, ...rest } = version.resource() as ResourceJson & { meta: { tag?: { system?: string; code?: string }[] } };
  const { tag = [], ...others } = meta;
  const tags = tag.filter((one) => !isSubsetted(one));
  const head = Buffer.from(`${JSON.stringify({ ...rest, meta: { ...others, ...(tags.length === 0 ? {} : { tag: tags }) } }).slice(0, -1)},"data":"`);
  const tail = Buffer.from('"}');
  async function* open(): AsyncGenerator<Buffer, void, void> {
    const chunks = guard.contentOf(version);
    // The first chunk before the first byte, so that what cannot be opened is not begun.
    let chunk = await chunks.next();
    yield head;
    for (; chunk.done !== true; chunk = await chunks.next()) yield Buffer.from(chunk.value.toString('base64'), 'latin1');
    yield tail;
  }
  const sizeBytes = head.length + Math.ceil(version.file.sizeBytes / 3) * 4 + tail.length;
  return { status: 200, headers: { 'Content-Type': fhirJson, ...versionHeaders(version) }, stream: { sizeBytes, open } };
}

function isWanted(accept: string, mediaType: string): boolean {
  const [plain = ''] = mediaType.toLowerCase().split(';');
  return accept.split(',').some((range) => {
    const [wanted = '', ...parameters] = range.trim().toLowerCase().split(';').map((part) => part.trim());
    if (parameters.some((one) => /^q=0(?:\.0*)?$/.test(one))) return false;
    return wanted === '*/*' || wanted === plain.trim() || (wanted.endsWith('/*') && plain.startsWith(wanted.slice(0, -1)));
  });
}

/** One range of bytes (RFC 9110, section 14.1.2); several, or what is no range, are as none. */
export function rangeOf(header: string | undefined, sizeBytes: number): ByteRange | 'unsatisfiable' | undefined {
  const found = /^\s*bytes\s*=\s*(\d{0,15})-(\d{0,15})\s*$/i.exec(header ?? '');
  if (found === null) return undefined;
  const [first = '', last = ''] = found.slice(1);
  if (first === '' && last === '') return undefined;
  if (first === '') {
    const suffixBytes = Number(last);
    return suffixBytes === 0 || sizeBytes === 0 ? 'unsatisfiable' : { from: Math.max(0, sizeBytes - suffixBytes), to: sizeBytes };
  }
  const from = Number(first);
  if (last !== '' && Number(last) < from) return undefined;
  if (from >= sizeBytes) return 'unsatisfiable';
  return { from, to: last === '' ? sizeBytes : Math.min(Number(last) + 1, sizeBytes) };
}
