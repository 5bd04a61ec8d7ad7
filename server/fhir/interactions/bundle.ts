import { InterlockError } from '../../../resources/outcome/error.ts';
import type { ResourceJson } from '../../storage/contract.ts';
import { readEntries, type BundleEntry } from '../bundle-entries.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { failureResponse, jsonResponse, preferences } from '../responses.ts';
import { transact } from '../transaction.ts';

/** Runs one entry of a batch, or a read of a transaction, as a request of its own. */
export type RunEntry = (exchange: Exchange, entry: BundleEntry) => Promise<FhirResponse>;

/**
 * Batch and transaction (https://hl7.org/fhir/R4/http.html#transaction).
 * @throws InterlockError `structure-invalid`, `too-costly`, and for a transaction whatever its first failing entry throws
 */
export async function bundle(exchange: Exchange, run: RunEntry): Promise<FhirResponse> {
  const body = exchange.resource;
  if (body?.resourceType !== 'Bundle') throw new InterlockError('request-invalid', { detail: 'Only a Bundle of type batch or transaction can be posted here.' });
  const type = body['type'];
  if (type !== 'batch' && type !== 'transaction') throw new InterlockError('request-invalid', { detail: 'The Bundle must be of type batch or transaction.', expression: 'Bundle.type' });
  const entries = readEntries(body, exchange.request.body, exchange.services);
  const responses = type === 'batch' ? await batch(exchange, entries, run) : await transact(exchange, entries, run);
  const minimal = preferences(exchange.request.headers.prefer).return === 'minimal';
  const entry = responses.map((response, index) => responseEntry(exchange.services.baseUrl, entries[index]!, response, minimal));
  return jsonResponse(200, { resourceType: 'Bundle', type: `${type}-response`, ...(entry.length === 0 ? {} : { entry }) });
}

/** Order of processing (https://hl7.org/fhir/R4/http.html#trules), which batches follow too: what is read shows what was written. */
const methodOrder = [['DELETE'], ['POST'], ['PUT'], ['GET', 'HEAD']];

/** Entries of a batch that run side by side: they share audit flushes, and one batch cannot take everything. */
const maxParallel = 16;

/**
 * Each entry on its own: a failure is that entry's answer, even that of the audit trail. The other answers have their audit
 * entries, and their callers have to learn which writes happened.
 */
async function batch(exchange: Exchange, entries: readonly BundleEntry[], run: RunEntry): Promise<FhirResponse[]> {
  const responses = new Map<BundleEntry, FhirResponse>();
  const runOne = async (entry: BundleEntry): Promise<void> => {
    try {
      responses.set(entry, await run(exchange, entry));
    } catch (error) {
      responses.set(entry, failureResponse(error, exchange.context.requestId));
    }
  };
  for (const methods of methodOrder) {
    const pending = entries.filter(({ method }) => methods.includes(method)).values();
    const worker = async (): Promise<void> => {
      for (const entry of pending) await runOne(entry);
    };
    await Promise.all(Array.from({ length: maxParallel }, worker));
  }
  return entries.map((entry) => responses.get(entry)!);
}

function responseEntry(baseUrl: string, entry: BundleEntry, response: FhirResponse, minimal: boolean): Record<string, unknown> {
  const { Location: location, ETag: etag, 'Last-Modified': lastModified } = response.headers;
  const parsed = response.body === undefined ? undefined : (JSON.parse(response.body.toString()) as ResourceJson);
  const outcome = parsed?.resourceType === 'OperationOutcome' ? parsed : undefined;
  const isRead = entry.method === 'GET' || entry.method === 'HEAD';
  const resource = outcome === undefined && parsed !== undefined && (isRead || !minimal) ? parsed : undefined;
  const fullUrl = resource?.id === undefined ? undefined : `${baseUrl}/${resource.resourceType}/${resource.id}`;
  return {
    ...(fullUrl === undefined ? {} : { fullUrl }),
    ...(resource === undefined ? {} : { resource }),
    response: {
      status: String(response.status),
      ...(location === undefined ? {} : { location: location.slice(baseUrl.length + 1) }),
      ...(etag === undefined ? {} : { etag }),
      ...(lastModified === undefined ? {} : { lastModified: new Date(lastModified).toISOString() }),
      ...(outcome === undefined ? {} : { outcome }),
    },
  };
}
