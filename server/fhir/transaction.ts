import { InterlockError } from '../../resources/outcome/error.ts';
import { assertValid } from '../../resources/validate/index.ts';
import type { GuardedTransaction, TransactionWrite } from '../access/guarded-transaction.ts';
import type { StoredVersion, WriteResult } from '../storage/contract.ts';
import type { BundleEntry } from './bundle-entries.ts';
import { conditionOf, type Condition } from './conditions.ts';
import type { Exchange, FhirResponse } from './exchange.ts';
import { newId } from './ids.ts';
import type { RunEntry } from './interactions/bundle.ts';
import { conditionalReferences, rewriteReferences } from './references.ts';
import { preferences, resourceResponse, versionHeaders, versionOfIfMatch, writeResponse } from './responses.ts';
import { routeOf } from './routes.ts';

/** A write of the Bundle, before it is known which resource a condition matches. */
interface PlannedWrite {
  readonly entry: BundleEntry;
  readonly kind: 'create' | 'update' | 'delete';
  readonly type: string;
  readonly id?: string;
  readonly condition?: Condition;
}

/** Which resource a write concerns, once its condition was looked up. */
interface Target {
  readonly id: string;
  /** The resource that a condition matched. */
  readonly match?: StoredVersion;
}

/**
 * Runs a transaction: all or nothing, in the order that the specification gives (deletes, creates, updates, then reads),
 * whatever the order of the entries. Everything that takes time, validation and sealing, happens before the database
 * transaction starts; a condition that turns out otherwise inside it makes the resources anew.
 *
 * @throws InterlockError with the failing entry as its expression
 */
export async function transact(exchange: Exchange, entries: readonly BundleEntry[], run: RunEntry): Promise<FhirResponse[]> {
  const writes = entries.filter((entry) => entry.method !== 'GET' && entry.method !== 'HEAD').map((entry) => within(entry, () => plan(entry)));
  const freshIds = new Map(writes.map((write) => [write, write.id ?? newId()]));
  assertDistinct(writes);
  const claims = [...new Set(writes.flatMap((write) => write.condition?.claims ?? []))].sort();
  const responses = new Map<BundleEntry, FhirResponse>();

  let made: { readonly key: string; readonly ready: Map<PlannedWrite, TransactionWrite> } | undefined;
  const prepared = async (targets: ReadonlyMap<PlannedWrite, Target>): Promise<Map<PlannedWrite, TransactionWrite>> => {
    const key = writes.map((write) => targets.get(write)!.id).join(' ');
    if (made?.key !== key) made = { key, ready: await prepareAll(exchange, writes, targets) };
    return made.ready;
  };
  const unconditional = new Map(writes.map((write) => [write, { id: freshIds.get(write)! }]));
  if (writes.length > 0) {
    await prepared(unconditional);
    await exchange.guard.transaction({ interaction: 'transaction', action: 'E' }, async (tx) => {
      responses.clear();
      await tx.claim(claims);
      const targets = await resolve(tx, writes, unconditional);
      const ready = await prepared(targets);
      await apply(exchange, tx, writes, targets, ready, responses);
    });
  } else await exchange.guard.recordAccess({ interaction: 'transaction', action: 'E' });
  for (const entry of entries) if (!responses.has(entry)) responses.set(entry, await withinAsync(entry, () => run(exchange, entry)));
  return entries.map((entry) => responses.get(entry)!);
}

function plan(entry: BundleEntry): PlannedWrite {
  const [path = '', query] = entry.url.split('?', 2);
  const route = routeOf(entry.method, path);
  if (route.type === undefined) throw new InterlockError('request-invalid', { detail: 'A transaction entry must name a resource type.' });
  const { type, id } = route;
  if (entry.resource !== undefined && entry.resource.resourceType !== type) throw new InterlockError('request-invalid', { detail: 'The resource is not of the type in the request URL.' });
  const condition = query !== undefined && query !== '' ? conditionOf(type, query) : undefined;
  switch (route.interaction) {
    case 'create':
      return { entry, kind: 'create', type, ...(entry.ifNoneExist === undefined ? {} : { condition: conditionOf(type, entry.ifNoneExist) }) };
    case 'update':
      if (entry.resource?.id !== id) throw new InterlockError('request-invalid', { detail: 'The id in the resource is not that in the request URL.' });
      return { entry, kind: 'update', type, ...(id === undefined ? {} : { id }) };
    case 'conditional-update':
      return { entry, kind: 'update', type, condition: condition ?? conditionOf(type, '') };
    case 'delete':
      return { entry, kind: 'delete', type, ...(id === undefined ? {} : { id }) };
    case 'conditional-delete':
      return { entry, kind: 'delete', type, condition: condition ?? conditionOf(type, '') };
    default:
      throw new InterlockError('interaction-unsupported');
  }
}

/** The same resource may not stand in a transaction twice (https://hl7.org/fhir/R4/http.html#trules). */
function assertDistinct(writes: readonly PlannedWrite[]): void {
  const seen = new Set<string>();
  for (const { entry, type, id } of writes) {
    if (id === undefined) continue;
    if (seen.has(`${type}/${id}`)) throw new InterlockError('request-invalid', { detail: 'A resource stands in the transaction more than once.', expression: `Bundle.entry[${entry.index}]` });
    seen.add(`${type}/${id}`);
  }
}

/** Looks up every condition inside the snapshot, after its claim. */
async function resolve(tx: GuardedTransaction, writes: readonly PlannedWrite[], fresh: ReadonlyMap<PlannedWrite, Target>): Promise<Map<PlannedWrite, Target>> {
  const targets = new Map<PlannedWrite, Target>();
  for (const write of writes) {
    const { condition } = write;
    if (condition === undefined) {
      targets.set(write, fresh.get(write)!);
      continue;
    }
    const matches = await withinAsync(write.entry, () => tx.find([write.type], condition.where, 2));
    if (matches.length > 1) throw new InterlockError('multiple-matches', { expression: `Bundle.entry[${write.entry.index}]` });
    const [match] = matches;
    targets.set(write, match === undefined ? fresh.get(write)! : { id: match.id, match });
  }
  return targets;
}

/** Rewrites references, validates, and seals every resource that is written. */
async function prepareAll(exchange: Exchange, writes: readonly PlannedWrite[], targets: ReadonlyMap<PlannedWrite, Target>): Promise<Map<PlannedWrite, TransactionWrite>> {
  const urls = new Map<string, string>();
  for (const write of writes) {
    if (write.entry.fullUrl !== undefined && write.kind !== 'delete') urls.set(write.entry.fullUrl, `${write.type}/${targets.get(write)!.id}`);
  }
  for (const [reference, target] of await conditionalReferences(exchange, writes.map(({ entry }) => entry))) urls.set(reference, target);
  const ready = new Map<PlannedWrite, TransactionWrite>();
  for (const write of writes) {
    const { entry, type } = write;
    if (entry.resource === undefined) continue;
    const { id } = targets.get(write)!;
    const rewritten = rewriteReferences(entry.resource, entry.bytes, urls);
    within(entry, () => assertValid(rewritten.resource));
    const ifMatch = versionOfIfMatch(entry.ifMatch);
    ready.set(write, {
      type,
      id,
      resource: rewritten.resource,
      prepared: exchange.services.store.prepare(rewritten.resource, id, rewritten.bytes),
      ...(ifMatch === undefined ? {} : { ifMatch }),
    });
  }
  return ready;
}

async function apply(
  exchange: Exchange,
  tx: GuardedTransaction,
  writes: readonly PlannedWrite[],
  targets: ReadonlyMap<PlannedWrite, Target>,
  ready: ReadonlyMap<PlannedWrite, TransactionWrite>,
  responses: Map<BundleEntry, FhirResponse>,
): Promise<void> {
  const answer = ({ entry }: PlannedWrite, result: WriteResult) => responses.set(entry, writeResponse(result.created ? 201 : 200, result.version, exchange.services.baseUrl, preferences(exchange.request.headers.prefer)));
  const ofKind = (kind: PlannedWrite['kind']) => writes.filter((write) => write.kind === kind);
  for (const write of ofKind('delete')) {
    const { id, match } = targets.get(write)!;
    const result = write.condition !== undefined && match === undefined ? undefined : await withinAsync(write.entry, () => tx.remove(write.type, id, versionOfIfMatch(write.entry.ifMatch)));
    responses.set(write.entry, { status: 204, headers: result === undefined ? {} : versionHeaders(result.version) });
  }
  const creates = ofKind('create').filter((write) => targets.get(write)!.match === undefined);
  for (const [index, result] of (await tx.create(creates.map((write) => ready.get(write)!))).entries()) answer(creates[index]!, result);
  for (const write of ofKind('create')) {
    const { match } = targets.get(write)!;
    if (match !== undefined) responses.set(write.entry, resourceResponse(200, match, { Location: `${exchange.services.baseUrl}/${match.type}/${match.id}/_history/${match.versionId}` }));
  }
  for (const write of ofKind('update')) answer(write, await withinAsync(write.entry, () => tx.update(ready.get(write)!)));
}

/** Names the entry in whatever an entry's work throws. */
function within<T>(entry: BundleEntry, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw named(error, entry);
  }
}

async function withinAsync<T>(entry: BundleEntry, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw named(error, entry);
  }
}

function named(error: unknown, { index }: BundleEntry): unknown {
  if (!(error instanceof InterlockError)) return error;
  const place = `Bundle.entry[${index}]`;
  const at = (expression: string | undefined) => (expression === undefined ? place : expression.startsWith('Bundle.entry[') ? expression : `${place}.resource.${expression}`);
  const { issues, ...options } = error.options;
  return new InterlockError(error.code, {
    ...options,
    expression: at(options.expression),
    cause: error,
    ...(issues === undefined ? {} : { issues: issues.map((issue) => ({ ...issue, expression: at(issue.expression) })) }),
  });
}

