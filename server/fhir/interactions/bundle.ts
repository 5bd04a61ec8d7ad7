import { InterlockError } from '../../../resources/outcome/error.ts';
import { readEntries, type BundleEntry } from '../bundle-entries.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { failureResponse, fhirJson, preferences, type Preferences } from '../responses.ts';
import { idPattern, splitUrl } from '../routes.ts';
import { transact } from '../transaction.ts';

/** Runs one entry of a batch, or a read of a transaction, as a request of its own. */
export type RunEntry = (exchange: Exchange, entry: BundleEntry) => Promise<FhirResponse>;

/**
 * Batch and transaction (https://hl7.org/fhir/R4/http.html#transaction).
 * @throws InterlockError `structure-invalid`, `too-costly`, and for a transaction whatever its first failing entry throws
 */
export async function bundle(exchange: Exchange, run: RunEntry): Promise<FhirResponse> {
  const given = exchange.resource;
  if (given?.resourceType !== 'Bundle') throw new InterlockError('request-invalid', { detail: 'Only a Bundle of type batch or transaction can be posted here.' });
  const type = given['type'];
  if (type !== 'batch' && type !== 'transaction') throw new InterlockError('request-invalid', { detail: 'The Bundle must be of type batch or transaction.', expression: 'Bundle.type' });
  const entries = readEntries(given, exchange.request.body, exchange.services);
  const responses = type === 'batch' ? await batch(exchange, entries, run) : await transact(exchange, entries, run);
  const prefer = preferences(exchange.request.headers.prefer);
  const answered = responses.map((response, index) => responseEntry(exchange.services.baseUrl, entries[index]!, response, prefer));
  const head = `{"resourceType":"Bundle","type":"${type}-response"`;
  const parts = answered.flatMap((entry, index) => (index === 0 ? [entry] : [Buffer.from(','), entry]));
  const body = answered.length === 0 ? Buffer.from(`${head}}`) : Buffer.concat([Buffer.from(`${head},"entry":[`), ...parts, Buffer.from(']}')]);
  return { status: 200, headers: { 'Content-Type': fhirJson }, body };
}

/** Order of processing (https://hl7.org/fhir/R4/http.html#trules), which batches follow too: what is read shows what was written. */
const methodOrder = [['DELETE'], ['POST'], ['PUT', 'PATCH'], ['GET', 'HEAD']];

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

/** One entry of the answer; a resource goes in as the bytes that it is stored in, so that numbers keep their digits. */
function responseEntry(baseUrl: string, { method, url }: BundleEntry, { status, headers, body }: FhirResponse, prefer: Preferences): Buffer {
  const { Location: location, ETag: etag, 'Last-Modified': lastModified } = headers;
  const isRead = method === 'GET' || method === 'HEAD';
  const content = method === 'HEAD' || !Buffer.isBuffer(body) || body.length === 0 ? undefined : body;
  const isOutcome = status >= 400 || (!isRead && prefer.return === 'OperationOutcome');
  const written = location?.slice(baseUrl.length + 1);
  const [resourceType, id] = (written ?? (isRead && status < 400 ? splitUrl(url).path : '')).split('/');
  const names = content !== undefined && !isOutcome && id !== undefined && idPattern.test(id);
  const response = JSON.stringify({
    status: String(status),
    ...(written === undefined ? {} : { location: written }),
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified: new Date(lastModified).toISOString() }),
  });
  return Buffer.concat([
    Buffer.from(`{${names ? `"fullUrl":${JSON.stringify(`${baseUrl}/${resourceType!}/${id}`)},` : ''}`),
    ...(content === undefined || isOutcome ? [] : [Buffer.from('"resource":'), content, Buffer.from(',')]),
    Buffer.from(`"response":${response.slice(0, -1)}`),
    ...(content !== undefined && isOutcome ? [Buffer.from(',"outcome":'), content] : []),
    Buffer.from('}}'),
  ]);
}
