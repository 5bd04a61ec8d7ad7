import { InterlockError } from '../../../resources/outcome/error.ts';
import type { StoredVersion } from '../../storage/contract.ts';
import { fhirJson, resourceResponse, versionHeaders } from '../responses.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';

/** Reads the current version of a resource (https://hl7.org/fhir/R4/http.html#read). */
export async function read({ guard, type, id, request }: Exchange): Promise<FhirResponse> {
  const version = await guard.read(type!, id!);
  const { ifNoneMatch, ifModifiedSince } = request.headers;
  const headers = versionHeaders(version);
  const unchanged =
    ifNoneMatch !== undefined
      ? ifNoneMatch.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === `"${version.versionId}"`)
      : ifModifiedSince !== undefined && Math.floor(version.lastUpdated.getTime() / 1000) * 1000 <= Date.parse(ifModifiedSince);
  return unchanged ? { status: 304, headers } : content(version, request.headers.accept);
}

/** Reads one version of a resource (https://hl7.org/fhir/R4/http.html#vread). */
export async function vread({ guard, type, id, versionId, request }: Exchange): Promise<FhirResponse> {
  return content(await guard.vread(type!, id!, versionId!), request.headers.accept);
}

/** RFC 9110, section 8.3.1. What a stored code permits beyond it cannot stand in a header. */
const mediaTypeForm = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+$/;

/**
 * The resource, or a Binary's own bytes where its native format was asked for (https://hl7.org/fhir/R4/binary.html#rest).
 * Never shown in place by a browser: what a partner sent could be a page.
 * @throws InterlockError `not-acceptable` if the Binary is of another type than asked for
 */
function content(version: StoredVersion, accept: string | undefined): FhirResponse {
  if (accept === undefined) return resourceResponse(200, version);
  const { contentType, data } = version.resource() as { contentType?: string; data?: string };
  const [given = ''] = (contentType ?? '').split(';');
  const mediaType = mediaTypeForm.test(given) ? given : 'application/octet-stream';
  const isWanted = accept.split(',').some((range) => {
    const [wanted = ''] = range.trim().toLowerCase().split(';');
    return wanted === '*/*' || wanted === mediaType.toLowerCase() || (wanted.endsWith('/*') && mediaType.toLowerCase().startsWith(wanted.slice(0, -1)));
  });
  if (!isWanted) throw new InterlockError('not-acceptable', { detail: 'The Binary is of another type.' });
  return { status: 200, headers: { ...versionHeaders(version), 'Content-Type': mediaType, 'Content-Disposition': 'attachment' }, body: Buffer.from(data ?? '', 'base64') };
}

/** The CapabilityStatement (https://hl7.org/fhir/R4/http.html#capabilities). Public, and the same for everyone. */
export function capabilities({ services, request }: Pick<Exchange, 'services' | 'request'>): FhirResponse {
  const { bytes, etag } = services.capabilities();
  const headers = { 'Content-Type': fhirJson, ETag: etag, 'Cache-Control': 'public, max-age=60' };
  return request.headers.ifNoneMatch === etag ? { status: 304, headers } : { status: 200, headers, body: bytes };
}
