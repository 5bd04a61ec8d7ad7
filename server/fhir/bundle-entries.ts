import { InterlockError } from '../../resources/outcome/error.ts';
import { entryResourceBytes } from '../../resources/validate/index.ts';
import { isObject } from '../../resources/validate/rules.ts';
import type { ResourceJson } from '../storage/contract.ts';
import type { FhirServices } from './exchange.ts';

/** One entry of a batch or transaction, read but not yet decided. */
export interface BundleEntry {
  readonly index: number;
  readonly method: string;
  /** Relative to the FHIR base: `Type`, `Type/id`, `Type?criteria` … */
  readonly url: string;
  readonly fullUrl?: string;
  readonly resource?: ResourceJson;
  /** The resource's bytes as they stand in the Bundle. */
  readonly bytes?: Buffer;
  /** Of a PATCH: a JSON Patch in a Binary, or a FHIRPath Patch in Parameters (https://hl7.org/fhir/R4/http.html#patch). */
  readonly patch?: { readonly contentType: string; readonly body: Buffer };
  readonly ifMatch?: string;
  readonly ifNoneMatch?: string;
  readonly ifNoneExist?: string;
  readonly ifModifiedSince?: string;
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);

/**
 * Reads the entries of a Bundle that was posted.
 * @throws InterlockError `structure-invalid` for an entry without a usable request, `too-costly` for too many entries
 */
export function readEntries(bundle: ResourceJson, bytes: Buffer | undefined, services: Pick<FhirServices, 'baseUrl' | 'limits'>): BundleEntry[] {
  const given = bundle['entry'] ?? [];
  if (!Array.isArray(given)) throw new InterlockError('structure-invalid', { expression: 'Bundle.entry' });
  if (given.length > services.limits.maxBundleEntries) throw new InterlockError('too-costly', { detail: `A Bundle may have ${services.limits.maxBundleEntries} entries.`, expression: 'Bundle.entry' });
  const slices = bytes === undefined ? [] : entryResourceBytes(bytes);
  return given.map((entry: unknown, index) => readEntry(entry, index, slices[index], services.baseUrl));
}

function readEntry(entry: unknown, index: number, bytes: Buffer | undefined, baseUrl: string): BundleEntry {
  const expression = `Bundle.entry[${index}]`;
  if (!isObject(entry) || !isObject(entry['request'])) throw new InterlockError('structure-invalid', { expression: `${expression}.request`, detail: 'Each entry needs a request.' });
  const { request, resource, fullUrl } = entry as { request: Record<string, unknown>; resource?: unknown; fullUrl?: unknown };
  const method = request['method'];
  const url = request['url'];
  if (typeof method !== 'string' || !methods.has(method)) throw new InterlockError('structure-invalid', { expression: `${expression}.request.method` });
  if (typeof url !== 'string') throw new InterlockError('structure-invalid', { expression: `${expression}.request.url` });
  const needsResource = method === 'POST' || method === 'PUT';
  if (needsResource && (!isObject(resource) || typeof resource['resourceType'] !== 'string')) throw new InterlockError('structure-invalid', { expression: `${expression}.resource` });
  return {
    index,
    method,
    url: url.startsWith(`${baseUrl}/`) ? url.slice(baseUrl.length + 1) : url.replace(/^\//, ''),
    ...(typeof fullUrl === 'string' ? { fullUrl } : {}),
    ...(needsResource ? { resource: resource as ResourceJson } : {}),
    ...(needsResource && bytes !== undefined ? { bytes } : {}),
    ...(method === 'PATCH' ? { patch: patchIn(resource, bytes, expression) } : {}),
    ...textOf(request, 'ifMatch'),
    ...textOf(request, 'ifNoneMatch'),
    ...textOf(request, 'ifNoneExist'),
    ...textOf(request, 'ifModifiedSince'),
  };
}

function patchIn(resource: unknown, bytes: Buffer | undefined, expression: string): { contentType: string; body: Buffer } {
  if (isObject(resource) && resource['resourceType'] === 'Parameters') return { contentType: 'application/fhir+json', body: bytes ?? Buffer.from(JSON.stringify(resource)) };
  const { resourceType, contentType, data } = isObject(resource) ? resource : {};
  if (resourceType !== 'Binary' || typeof contentType !== 'string' || typeof data !== 'string') throw new InterlockError('structure-invalid', { expression: `${expression}.resource`, detail: 'A patch in a Bundle is a Binary or Parameters.' });
  return { contentType, body: Buffer.from(data, 'base64') };
}

function textOf<K extends string>(request: Record<string, unknown>, name: K): { [key in K]?: string } {
  const value = request[name];
  return (typeof value === 'string' ? { [name]: value } : {}) as { [key in K]?: string };
}
