import { InterlockError } from '../../resources/outcome/error.ts';
import { toOperationOutcome, type OutcomeIssue } from '../../resources/outcome/render.ts';
import type { StoredVersion } from '../storage/contract.ts';
import type { FhirResponse } from './exchange.ts';
import { mediaTypes } from './negotiation.ts';
import type { WriteRules } from './write-rules.ts';

/** The media type of every FHIR answer, before it is written in another format. */
export const fhirJson = mediaTypes.json;

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
export function writeResponse(status: number, version: StoredVersion, baseUrl: string, prefer: Preferences, rules?: WriteRules): FhirResponse {
  const headers = { Location: `${baseUrl}/${version.type}/${version.id}/_history/${version.versionId}` };
  if (prefer.return === 'minimal') return { status, headers: { ...versionHeaders(version), ...headers } };
  if (prefer.return === 'OperationOutcome') {
    return jsonResponse(status, informational('The resource is stored.', version.deleted ? [] : rules?.warnings(version.resource())), { ...versionHeaders(version), ...headers });
  }
  return resourceResponse(status, version, headers);
}

/** What the Prefer header asks for (RFC 7240; https://hl7.org/fhir/R4/http.html#ops). */
export interface Preferences {
  readonly return: 'minimal' | 'representation' | 'OperationOutcome';
  readonly handling: 'strict' | 'lenient';
}

/**
 * Reads a Prefer header, several of which arrive joined by commas; semicolons separate preferences too, as some clients
 * write them. Of one that is given twice the first counts, and unknown ones are ignored (RFC 7240, section 2), among them
 * `respond-async`.
 */
export function preferences(header: string | undefined): Preferences {
  const asked = new Map<string, string>();
  for (const part of (header ?? '').split(/[,;]/)) {
    const [name = '', value = ''] = part.split('=', 2);
    const key = name.trim().toLowerCase();
    if (!asked.has(key)) asked.set(key, value.trim().replace(/^"(.*)"$/, '$1'));
  }
  const [form, handling] = [asked.get('return'), asked.get('handling')];
  return { return: form === 'minimal' || form === 'OperationOutcome' ? form : 'representation', handling: handling === 'strict' ? 'strict' : 'lenient' };
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

/**
 * The version that must be current for an update: as `If-Match` names it, or 0, none, for `If-None-Match: *`
 * (RFC 9110, section 13.1.2).
 * @throws InterlockError `request-invalid` for what is neither, or both
 */
export function expectedVersion({ ifMatch, ifNoneMatch }: { readonly ifMatch?: string; readonly ifNoneMatch?: string }): number | undefined {
  if (ifNoneMatch === undefined) return versionOfIfMatch(ifMatch);
  if (ifNoneMatch.trim() !== '*' || ifMatch !== undefined) throw new InterlockError('request-invalid', { detail: 'Of If-None-Match a write takes * alone, and not beside If-Match.' });
  return 0;
}

/** A delete's answer: without content unless `Prefer: return=OperationOutcome`. */
export function deletedResponse(version: StoredVersion | undefined, prefer: Preferences): FhirResponse {
  const headers = version === undefined ? {} : versionHeaders(version);
  return prefer.return === 'OperationOutcome' ? jsonResponse(200, informational('Nothing is left to delete.'), headers) : { status: 204, headers };
}

function informational(text: string, more: readonly OutcomeIssue[] = []): unknown {
  return { resourceType: 'OperationOutcome', issue: [{ severity: 'information', code: 'informational', details: { text } }, ...more] };
}
