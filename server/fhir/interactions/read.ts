import { InterlockError } from '../../../resources/outcome/error.ts';
import type { GuardedRepository } from '../../access/guard.ts';
import type { StoredVersion } from '../../storage/contract.ts';
import type { FhirDocument } from '../documents.ts';
import { binaryResponse } from '../binary.ts';
import { fhirJson, resourceResponse, versionHeaders } from '../responses.ts';
import { shapeOfQuery } from '../shape.ts';
import type { Exchange, FhirRequest, FhirResponse } from '../exchange.ts';

/** Reads the current version of a resource, or what `_summary` and `_elements` leave of it (https://hl7.org/fhir/R4/http.html#read). */
export async function read({ guard, type, id, request }: Exchange): Promise<FhirResponse> {
  const version = await guard.read(type!, id!);
  const { ifNoneMatch, ifModifiedSince } = request.headers;
  const headers = versionHeaders(version);
  const unchanged =
    ifNoneMatch !== undefined
      ? ifNoneMatch.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === `"${version.versionId}"`)
      : ifModifiedSince !== undefined && Math.floor(version.lastUpdated.getTime() / 1000) * 1000 <= Date.parse(ifModifiedSince);
  return unchanged ? { status: 304, headers } : content(guard, version, request);
}

/** Reads one version of a resource (https://hl7.org/fhir/R4/http.html#vread). */
export async function vread({ guard, type, id, versionId, request }: Exchange): Promise<FhirResponse> {
  return content(guard, await guard.vread(type!, id!, versionId!), request);
}

/** The CapabilityStatement (https://hl7.org/fhir/R4/http.html#capabilities). Public, and the same for everyone. */
export function capabilities({ services, request }: Pick<Exchange, 'services' | 'request'>): FhirResponse {
  const mode = request.query.find(([name]) => name === 'mode')?.[1] ?? 'full';
  // What R4 calls normative is part of the whole.
  if (mode !== 'full' && mode !== 'normative' && mode !== 'terminology') throw new InterlockError('request-invalid', { expression: 'mode', detail: 'The mode is full, normative or terminology.' });
  return documentResponse(services.document(mode === 'terminology' ? 'terminology' : 'capabilities'), fhirJson, request);
}

/** The OpenAPI document of this API, as public as the CapabilityStatement. */
export function openApi({ services, request }: Pick<Exchange, 'services' | 'request'>): FhirResponse {
  return documentResponse(services.document('openApi'), 'application/json; charset=utf-8', request);
}

function documentResponse({ bytes, etag }: FhirDocument, contentType: string, request: FhirRequest): FhirResponse {
  const headers = { 'Content-Type': contentType, 'ETag': etag, 'Cache-Control': 'public, max-age=60' };
  return request.headers.ifNoneMatch === etag ? { status: 304, headers } : { status: 200, headers, body: bytes };
}

function content(guard: GuardedRepository, version: StoredVersion, request: FhirRequest): FhirResponse {
  return version.type === 'Binary' ? binaryResponse(guard, version, request) : { ...resourceResponse(200, version), body: shapeOfQuery(request.query, [version.type])(version) };
}
