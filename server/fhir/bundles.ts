import { randomUUID } from 'node:crypto';
import type { ResourceJson, StoredVersion } from '../storage/contract.ts';
import { asStored, type Shape } from './shape.ts';

/** One link of a Bundle. */
export interface BundleLink {
  readonly relation: string;
  readonly url: string;
}

interface BundleParts {
  readonly type: 'searchset' | 'history';
  readonly total?: number;
  readonly links: readonly BundleLink[];
  readonly entries: readonly Buffer[];
}

const comma = Buffer.from(',');

/** Puts a Bundle together from bytes: resources are spliced in as they are stored, never parsed. */
export function bundleBytes(parts: BundleParts): Buffer {
  const head = JSON.stringify({
    resourceType: 'Bundle',
    type: parts.type,
    ...(parts.total === undefined ? {} : { total: parts.total }),
    link: parts.links,
  });
  // An empty entry array would not be valid FHIR.
  if (parts.entries.length === 0) return Buffer.from(head);
  const chunks: Buffer[] = [Buffer.from(`${head.slice(0, -1)},"entry":[`)];
  for (const [index, entry] of parts.entries.entries()) {
    if (index > 0) chunks.push(comma);
    chunks.push(entry);
  }
  chunks.push(Buffer.from(']}'));
  return Buffer.concat(chunks);
}

/** An entry of a search result (https://hl7.org/fhir/R4/bundle.html#searchset). */
export function searchEntry(baseUrl: string, version: StoredVersion, mode: 'match' | 'include', shape: Shape = asStored): Buffer {
  return Buffer.concat([
    Buffer.from(`{"fullUrl":${JSON.stringify(`${baseUrl}/${version.type}/${version.id}`)},"resource":`),
    shape(version),
    Buffer.from(`,"search":{"mode":"${mode}"}}`),
  ]);
}

/** An entry of a match, with its score and grade (https://hl7.org/fhir/R4/patient-operation-match.html). */
export function matchEntry(baseUrl: string, version: StoredVersion, { score, grade }: { readonly score: number; readonly grade: string }): Buffer {
  const search = { extension: [{ url: 'http://hl7.org/fhir/StructureDefinition/match-grade', valueCode: grade }], mode: 'match', score };
  return Buffer.concat([Buffer.from(`{"fullUrl":${JSON.stringify(`${baseUrl}/${version.type}/${version.id}`)},"resource":`), version.bytes, Buffer.from(`,"search":${JSON.stringify(search)}}`)]);
}

/** An entry for a contained resource: found at a fragment of what contains it (https://hl7.org/fhir/R4/search.html#contained). */
export function containedEntry(baseUrl: string, container: StoredVersion, resource: ResourceJson, shape: Shape): Buffer {
  const fullUrl = `${baseUrl}/${container.type}/${container.id}#${resource.id ?? ''}`;
  const bytes = shape({ type: resource.resourceType, bytes: Buffer.from(JSON.stringify(resource)) });
  return Buffer.concat([Buffer.from(`{"fullUrl":${JSON.stringify(fullUrl)},"resource":`), bytes, Buffer.from(',"search":{"mode":"match"}}')]);
}

/** An outcome entry, which tells of parameters that were ignored. */
export function outcomeEntry(text: string): Buffer {
  const outcome = { resourceType: 'OperationOutcome', issue: [{ severity: 'warning', code: 'not-supported', details: { text } }] };
  return Buffer.from(JSON.stringify({ fullUrl: `urn:uuid:${randomUUID()}`, resource: outcome, search: { mode: 'outcome' } }));
}

/** An entry of a history: what was asked and what came of it; deletions have no resource (https://hl7.org/fhir/R4/http.html#history). */
export function historyEntry(baseUrl: string, version: StoredVersion, shape: Shape = asStored): Buffer {
  const url = `${version.type}/${version.id}`;
  const method = version.deleted ? 'DELETE' : version.versionId === 1 ? 'POST' : 'PUT';
  const about = JSON.stringify({
    request: { method, url: method === 'POST' ? version.type : url },
    response: {
      status: version.deleted ? '204' : version.versionId === 1 ? '201' : '200',
      etag: `W/"${version.versionId}"`,
      lastModified: version.lastUpdated.toISOString(),
    },
  });
  const fullUrl = `{"fullUrl":${JSON.stringify(`${baseUrl}/${url}`)},`;
  if (version.deleted) return Buffer.from(`${fullUrl}${about.slice(1)}`);
  return Buffer.concat([Buffer.from(`${fullUrl}"resource":`), shape(version), Buffer.from(`,${about.slice(1)}`)]);
}
