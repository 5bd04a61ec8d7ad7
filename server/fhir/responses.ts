import { InterlockError } from '../../resources/outcome/error.ts';
import { toOperationOutcome } from '../../resources/outcome/render.ts';
import type { StoredVersion } from '../storage/contract.ts';
import type { FhirResponse } from './exchange.ts';

/** The media type of every FHIR answer. */
export const fhirJson = 'application/fhir+json; charset=utf-8';

/** ETag and Last-Modified of a version (https://hl7.org/fhir/R4/http.html#versioning). */
export function versionHeaders(version: StoredVersion): Record<string, string> {
  return { ETag: `W/"${version.versionId}"`, 'Last-Modified': version.lastUpdated.toUTCString() };
}

/** A resource as stored: its bytes go out as they are. */
export function resourceResponse(status: number, version: StoredVersion, headers: Record<string, string> = {}): FhirResponse {
  return { status, headers: { 'Content-Type': fhirJson, ...versionHeaders(version), ...headers }, body: version.bytes };
}

/** JSON that the server itself made. */
export function jsonResponse(status: number, json: unknown, headers: Record<string, string> = {}): FhirResponse {
  return { status, headers: { 'Content-Type': fhirJson, ...headers }, body: Buffer.from(JSON.stringify(json)) };
}

/** A refusal or failure as the answer of one entry of a Bundle. */
export function failureResponse(error: unknown, requestId: string): FhirResponse {
  const { status, outcome } = toOperationOutcome(error, requestId);
  return jsonResponse(status, outcome);
}

/** A write's answer, as `Prefer: return` asks (https://hl7.org/fhir/R4/http.html#ops). */
export function writeResponse(status: number, version: StoredVersion, baseUrl: string, prefer: Preferences): FhirResponse {
  const headers = { Location: `${baseUrl}/${version.type}/${version.id}/_history/${version.versionId}` };
  if (prefer.return === 'minimal') return { status, headers: { ...versionHeaders(version), ...headers } };
  if (prefer.return === 'OperationOutcome') {
    const outcome = { resourceType: 'OperationOutcome', issue: [{ severity: 'information', code: 'informational', details: { text: 'The resource was stored.' } }] };
    return jsonResponse(status, outcome, { ...versionHeaders(version), ...headers });
  }
  return resourceResponse(status, version, headers);
}

/** What the Prefer header asks for (RFC 7240; https://hl7.org/fhir/R4/http.html#ops). */
export interface Preferences {
  readonly return: 'minimal' | 'representation' | 'OperationOutcome';
  readonly handling: 'strict' | 'lenient';
}

/** Reads a Prefer header; several preferences may be separated by commas or semicolons. Unknown ones are ignored, as RFC 7240 wants. */
export function preferences(header: string | undefined): Preferences {
  let asked: Preferences['return'] = 'representation';
  let handling: Preferences['handling'] = 'lenient';
  for (const part of (header ?? '').split(/[,;]/)) {
    const [name, value] = part.trim().split('=', 2);
    const plain = value?.trim().replace(/^"(.*)"$/, '$1');
    if (name === 'return' && (plain === 'minimal' || plain === 'representation' || plain === 'OperationOutcome')) asked = plain;
    if (name === 'handling' && (plain === 'strict' || plain === 'lenient')) handling = plain;
  }
  return { return: asked, handling };
}

/**
 * The version that an If-Match header names (https://hl7.org/fhir/R4/http.html#concurrency).
 * @throws InterlockError `request-invalid` if it names none
 */
export function versionOfIfMatch(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const found = /^\s*(?:W\/)?"?([0-9]{1,9})"?\s*$/.exec(header);
  if (found?.[1] === undefined) throw new InterlockError('request-invalid', { detail: 'If-Match must be a version ETag such as W/"3".' });
  return Number(found[1]);
}
