import { InterlockError } from '../../../resources/outcome/error.ts';
import { assertValid, parseResource } from '../../../resources/validate/index.ts';
import type { Incoming } from '../../access/guard.ts';
import type { StoredVersion } from '../../storage/contract.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { parseExact, writeExact } from '../patch/exact-json.ts';
import { fhirPathPatch } from '../patch/fhirpath-patch.ts';
import { jsonPatch } from '../patch/json-patch.ts';
import type { TreePatch } from '../patch/patch-tree.ts';
import { preferences, versionOfIfMatch, writeResponse } from '../responses.ts';
import type { WriteRules } from '../write-rules.ts';

/** What a patch makes of the current version of a resource. */
export type Patch = (current: StoredVersion) => Incoming;

/** The media types that a patch may come in (https://hl7.org/fhir/R4/http.html#patch). */
export const patchTypes: readonly string[] = ['application/json-patch+json', 'application/fhir+json', 'application/json'];

/**
 * Reads a patch. What it makes is validated like an update, and numbers that it does not touch keep their digits.
 * @param contentType media type of the body, perhaps with parameters
 * @throws InterlockError `media-type-unsupported`, `structure-invalid`, `too-costly`, `too-large`; when applied also `patch-failed`, `business-rule` and what validation finds
 */
export function patchOf(contentType: string | undefined, body: Buffer | undefined, { maxResourceSizeBytes: maxBytes }: { readonly maxResourceSizeBytes: number }, rules: WriteRules | undefined): Patch {
  const type = contentType?.split(';', 1)[0]!.trim().toLowerCase();
  if (type === undefined || !patchTypes.includes(type)) throw new InterlockError('media-type-unsupported', { detail: 'A patch is application/json-patch+json, or application/fhir+json for FHIRPath Patch.' });
  if (body === undefined || body.length === 0) throw new InterlockError('structure-invalid', { detail: 'A body is required.' });
  const change: TreePatch = type === 'application/json-patch+json' ? jsonPatch(body, { maxBytes }) : fhirPathPatch(body, { maxBytes });
  return (current) => {
    const bytes = Buffer.from(writeExact(change(parseExact(current.bytes.toString()))) ?? '');
    const resource = parseResource(bytes, { maxBytes });
    if (resource.resourceType !== current.type || resource['id'] !== current.id) throw new InterlockError('business-rule', { detail: 'A patch cannot change the type or the id of a resource.' });
    assertValid(resource);
    rules?.assert(resource);
    return { resource, bytes };
  };
}

/** Changes parts of a resource (https://hl7.org/fhir/R4/http.html#patch). */
export async function patch(exchange: Exchange): Promise<FhirResponse> {
  const { guard, type, id, request, services } = exchange;
  const change = patchOf(request.contentType, request.body, services.limits, services.rules);
  const { version } = await guard.patch(type!, id!, change, versionOfIfMatch(request.headers.ifMatch));
  return writeResponse(200, version, services.baseUrl, preferences(request.headers.prefer), services.rules);
}
