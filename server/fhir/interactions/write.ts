import { InterlockError } from '../../../resources/outcome/error.ts';
import type { Incoming } from '../../access/guard.ts';
import type { TransactionWrite } from '../../access/guarded-transaction.ts';
import type { ResourceJson, StoredVersion, WriteResult } from '../../storage/contract.ts';
import { incomingBinary } from '../binary.ts';
import { conditionOf, type Condition } from '../conditions.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { newId } from '../ids.ts';
import { deletedResponse, expectedVersion, preferences, versionOfIfMatch, writeResponse } from '../responses.ts';
import { patchOf } from './patch.ts';

function incoming({ resource, request }: Exchange): Incoming {
  return incomingBinary(resource!, request.content) ?? plain(resource!, request.body);
}

function plain(resource: ResourceJson, bytes: Buffer | undefined): Incoming {
  return { resource, ...(bytes === undefined ? {} : { bytes }) };
}

function written(exchange: Exchange, { version, created }: WriteResult): FhirResponse {
  return writeResponse(created ? 201 : 200, version, exchange.services.baseUrl, preferences(exchange.request.headers.prefer), exchange.services.rules);
}

/** Creates a resource under a new id, or only if nothing matches `If-None-Exist` (https://hl7.org/fhir/R4/http.html#create). */
export async function create(exchange: Exchange): Promise<FhirResponse> {
  const { ifNoneExist } = exchange.request.headers;
  if (ifNoneExist === undefined) return written(exchange, await exchange.guard.create(incoming(exchange)));
  const condition = conditionOf(exchange.type!, ifNoneExist, exchange.services.values);
  return conditionally(exchange, 'create', condition, async (tx, [match]) => {
    // One match: the resource that exists is the answer, and nothing changes.
    if (match !== undefined) return writeResponse(200, match, exchange.services.baseUrl, preferences(exchange.request.headers.prefer), exchange.services.rules);
    const [result] = await tx.create([writeOf(exchange, newId())]);
    return written(exchange, result!);
  });
}

/** Updates a resource or creates it under the given id (https://hl7.org/fhir/R4/http.html#update). */
export async function update(exchange: Exchange): Promise<FhirResponse> {
  const result = await exchange.guard.update(exchange.type!, exchange.id!, incoming(exchange), expectedVersion(exchange.request.headers));
  return written(exchange, result);
}

/** Updates the one resource that matches, or creates one (https://hl7.org/fhir/R4/http.html#cond-update). */
export async function conditionalUpdate(exchange: Exchange): Promise<FhirResponse> {
  const condition = conditionOf(exchange.type!, exchange.request.query, exchange.services.values);
  const sentId = exchange.resource?.id;
  return conditionally(exchange, 'update', condition, async (tx, [match]) => {
    if (match !== undefined && sentId !== undefined && sentId !== match.id) throw new InterlockError('request-invalid', { detail: 'The id in the body is not that of the resource that matches.' });
    const ifMatch = expectedVersion(exchange.request.headers);
    const write = { ...writeOf(exchange, match?.id ?? sentId ?? newId()), ...(ifMatch === undefined ? {} : { ifMatch }) };
    return written(exchange, match === undefined && sentId === undefined ? await tx.createByUpdate(write) : await tx.update(write));
  });
}

/** Changes parts of the one resource that matches (https://hl7.org/fhir/R4/http.html#patch). */
export async function conditionalPatch(exchange: Exchange): Promise<FhirResponse> {
  const { request, services, type } = exchange;
  const condition = conditionOf(type!, request.query, services.values);
  const change = patchOf(request.contentType, request.body, services.limits, services.rules);
  return conditionally(exchange, 'patch', condition, async (tx, [match]) => {
    if (match === undefined) throw new InterlockError('not-found', { detail: 'Nothing matches the criteria.' });
    const made = (current: StoredVersion): TransactionWrite => {
      const { resource, bytes } = change(current);
      return { type: match.type, id: match.id, resource, prepared: services.store.prepare(resource, match.id, bytes), ...(bytes === undefined ? {} : { bytes }) };
    };
    return written(exchange, await tx.patch(match.type, match.id, made, versionOfIfMatch(request.headers.ifMatch)));
  });
}

/** Deletes a resource; deleting what is not there is no error (https://hl7.org/fhir/R4/http.html#delete). */
export async function remove(exchange: Exchange): Promise<FhirResponse> {
  const result = await exchange.guard.remove(exchange.type!, exchange.id!, versionOfIfMatch(exchange.request.headers.ifMatch));
  return deletedResponse(result?.version, preferences(exchange.request.headers.prefer));
}

/** Deletes the one resource that matches, or all of them where the server is set up so (https://hl7.org/fhir/R4/http.html#3.1.0.7.1). */
export async function conditionalDelete(exchange: Exchange): Promise<FhirResponse> {
  const condition = conditionOf(exchange.type!, exchange.request.query, exchange.services.values);
  return conditionally(exchange, 'delete', condition, async (tx, matches) => {
    const ifMatch = versionOfIfMatch(exchange.request.headers.ifMatch);
    if (ifMatch !== undefined && matches.length > 1) throw new InterlockError('multiple-matches', { detail: 'If-Match can only concern one.' });
    for (const match of matches) await tx.remove(match.type, match.id, ifMatch);
    return deletedResponse(undefined, preferences(exchange.request.headers.prefer));
  });
}

type Transaction = Parameters<Parameters<Exchange['guard']['transaction']>[1]>[0];

/** Claims the condition, looks for matches in the snapshot, and acts on none or one; only deletes may be permitted to act on several. */
async function conditionally(
  exchange: Exchange,
  interaction: 'create' | 'update' | 'patch' | 'delete',
  condition: Condition,
  act: (tx: Transaction, matches: readonly StoredVersion[]) => Promise<FhirResponse>,
): Promise<FhirResponse> {
  const facts = { interaction: 'search-type', action: 'E', type: exchange.type!, query: `conditional ${interaction} ${exchange.type!}?${condition.text}` } as const;
  const most = interaction === 'delete' ? exchange.services.limits.maxConditionalDeletes : 1;
  return exchange.guard.transaction(facts, async (tx) => {
    await tx.claim(condition.claims);
    const matches = await tx.find([exchange.type!], condition.where, most + 1);
    if (matches.length > most) throw most === 1 ? new InterlockError('multiple-matches') : new InterlockError('too-costly', { detail: `A conditional delete may delete ${most} resources.` });
    return act(tx, matches);
  });
}

function writeOf(exchange: Exchange, id: string): TransactionWrite {
  const { resource, bytes } = plain(exchange.resource!, exchange.request.body);
  return { type: exchange.type!, id, resource, prepared: exchange.services.store.prepare(resource, id, bytes) };
}
