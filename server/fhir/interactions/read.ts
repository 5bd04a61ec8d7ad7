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
  return unchanged ? { status: 304, headers } : resourceResponse(200, version);
}

/** Reads one version of a resource (https://hl7.org/fhir/R4/http.html#vread). */
export async function vread({ guard, type, id, versionId }: Exchange): Promise<FhirResponse> {
  return resourceResponse(200, await guard.vread(type!, id!, versionId!));
}

/** The CapabilityStatement (https://hl7.org/fhir/R4/http.html#capabilities). Public, and the same for everyone. */
export function capabilities({ services, request }: Pick<Exchange, 'services' | 'request'>): FhirResponse {
  const { bytes, etag } = services.capabilities();
  const headers = { 'Content-Type': fhirJson, ETag: etag, 'Cache-Control': 'public, max-age=60' };
  return request.headers.ifNoneMatch === etag ? { status: 304, headers } : { status: 200, headers, body: bytes };
}
