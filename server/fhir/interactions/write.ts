import { InterlockError } from '../../../resources/outcome/error.ts';
import type { Incoming } from '../../access/guard.ts';
import type { WriteResult } from '../../storage/contract.ts';
import { conditionOf, type Condition } from '../conditions.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { preferences, versionHeaders, versionOfIfMatch, writeResponse } from '../responses.ts';
import { newId } from '../ids.ts';

function incoming({ resource, request }: Exchange): Incoming {
  return { resource: resource!, ...(request.body === undefined ? {} : { bytes: request.body }) };
}

function written(exchange: Exchange, { version, created }: WriteResult): FhirResponse {
  return writeResponse(created ? 201 : 200, version, exchange.services.baseUrl, preferences(exchange.request.headers.prefer));
}

/** Creates a resource under a new id, or only if nothing matches `If-None-Exist` (https://hl7.org/fhir/R4/http.html#create). */
export async function create(exchange: Exchange): Promise<FhirResponse> {
  const { ifNoneExist } = exchange.request.headers;
  if (ifNoneExist === undefined) return written(exchange, await exchange.guard.create(incoming(exchange)));
  const condition = conditionOf(exchange.type!, ifNoneExist);
  return conditionally(exchange, 'create', condition, async (tx, match) => {
    // One match: the resource that exists is the answer, and nothing changes.
    if (match !== undefined) return writeResponse(200, match, exchange.services.baseUrl, preferences(exchange.request.headers.prefer));
    const [result] = await tx.create([writeOf(exchange, newId())]);
    return written(exchange, result!);
  });
}

/** Updates a resource or creates it under the given id (https://hl7.org/fhir/R4/http.html#update). */
export async function update(exchange: Exchange): Promise<FhirResponse> {
  const result = await exchange.guard.update(exchange.type!, exchange.id!, incoming(exchange), versionOfIfMatch(exchange.request.headers.ifMatch));
  return written(exchange, result);
}

/** Updates the one resource that matches, or creates one (https://hl7.org/fhir/R4/http.html#cond-update). */
export async function conditionalUpdate(exchange: Exchange): Promise<FhirResponse> {
  const condition = conditionOf(exchange.type!, exchange.request.query);
  const sentId = exchange.resource?.id;
  return conditionally(exchange, 'update', condition, async (tx, match) => {
    if (match !== undefined && sentId !== undefined && sentId !== match.id) throw new InterlockError('request-invalid', { detail: 'The id in the body is not that of the resource that matches.' });
    const ifMatch = versionOfIfMatch(exchange.request.headers.ifMatch);
    return written(exchange, await tx.update({ ...writeOf(exchange, match?.id ?? sentId ?? newId()), ...(ifMatch === undefined ? {} : { ifMatch }) }));
  });
}

/** Deletes a resource; deleting what is not there is no error (https://hl7.org/fhir/R4/http.html#delete). */
export async function remove(exchange: Exchange): Promise<FhirResponse> {
  const result = await exchange.guard.remove(exchange.type!, exchange.id!, versionOfIfMatch(exchange.request.headers.ifMatch));
  return { status: 204, headers: result === undefined ? {} : versionHeaders(result.version) };
}

/** Deletes the one resource that matches (https://hl7.org/fhir/R4/http.html#3.1.0.7.1). */
export async function conditionalDelete(exchange: Exchange): Promise<FhirResponse> {
  const condition = conditionOf(exchange.type!, exchange.request.query);
  return conditionally(exchange, 'delete', condition, async (tx, match) => {
    if (match !== undefined) await tx.remove(match.type, match.id, versionOfIfMatch(exchange.request.headers.ifMatch));
    return { status: 204, headers: {} };
  });
}

type Transaction = Parameters<Parameters<Exchange['guard']['transaction']>[1]>[0];
type Match = Awaited<ReturnType<Transaction['find']>>[number];

/** Claims the condition, looks for matches in the snapshot, and acts on none or one: never on several. */
async function conditionally(
  exchange: Exchange,
  interaction: 'create' | 'update' | 'delete',
  condition: Condition,
  act: (tx: Transaction, match: Match | undefined) => Promise<FhirResponse>,
): Promise<FhirResponse> {
  const facts = { interaction: 'search-type', action: 'E', type: exchange.type!, query: `conditional ${interaction} ${exchange.type!}?${condition.text}` } as const;
  return exchange.guard.transaction(facts, async (tx) => {
    await tx.claim(condition.claims);
    const matches = await tx.find([exchange.type!], condition.where, 2);
    if (matches.length > 1) throw new InterlockError('multiple-matches');
    return act(tx, matches[0]);
  });
}

function writeOf(exchange: Exchange, id: string): Parameters<Transaction['update']>[0] {
  const { resource, bytes } = incoming(exchange);
  return { type: exchange.type!, id, resource, prepared: exchange.services.store.prepare(resource, id, bytes) };
}

