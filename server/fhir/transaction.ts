import { InterlockError } from '../../resources/outcome/error.ts';
import { assertValid } from '../../resources/validate/index.ts';
import { reachOf } from '../access/decide.ts';
import type { GuardedTransaction, TransactionWrite } from '../access/guarded-transaction.ts';
import type { StoredVersion, WriteResult } from '../storage/contract.ts';
import type { BundleEntry } from './bundle-entries.ts';
import { conditionOf, type Condition } from './conditions.ts';
import type { Exchange, FhirResponse } from './exchange.ts';
import { newId } from './ids.ts';
import type { RunEntry } from './interactions/bundle.ts';
import { conditionalReferences, rewriteReferences } from './references.ts';
import { failureResponse, preferences, resourceResponse, versionHeaders, versionOfIfMatch, writeResponse } from './responses.ts';
import { routeOf, splitUrl } from './routes.ts';
import { assertWhole } from './shape.ts';

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
 * transaction starts; a condition that turns out otherwise inside it makes the resources anew. Reads show what was
 * written, so they come after the commit: whether they are permitted is decided before anything is written, and what else
 * fails is that entry's own answer, for the writes have happened.
 *
 * @throws InterlockError with the failing entry as its expression
 */
export async function transact(exchange: Exchange, entries: readonly BundleEntry[], run: RunEntry): Promise<FhirResponse[]> {
  const writes = entries.filter((entry) => !isRead(entry)).map((entry) => within(entry, () => plan(entry)));
  for (const entry of entries.filter(isRead)) within(entry, () => assertReadable(exchange, entry));
  const references = await conditionalReferences(exchange, writes.map(({ entry }) => entry));
  const claims = [...new Set(writes.flatMap((write) => write.condition?.claims ?? []))].sort();
  const responses = new Map<BundleEntry, FhirResponse>();

  let made: { readonly key: string; readonly ready: Map<PlannedWrite, TransactionWrite> } | undefined;
  const prepared = async (targets: ReadonlyMap<PlannedWrite, Target>): Promise<Map<PlannedWrite, TransactionWrite>> => {
    const key = writes.map((write) => targets.get(write)!.id).join(' ');
    if (made?.key !== key) made = { key, ready: await prepareAll(exchange, writes, targets, references) };
    return made.ready;
  };
  // An update that matches nothing creates its resource under the id that it brings, if any.
  const unconditional = new Map(writes.map((write) => [write, { id: write.id ?? (write.kind === 'update' ? write.entry.resource?.id : undefined) ?? newId() }]));
  if (writes.length > 0) {
    await prepared(unconditional);
    await exchange.guard.transaction({ interaction: 'transaction', action: 'E' }, async (tx) => {
      responses.clear();
      await tx.claim(claims);
      const targets = await resolve(tx, writes, unconditional);
      assertDistinct(writes, targets);
      const ready = await prepared(targets);
      await apply(exchange, tx, writes, targets, ready, responses);
    });
  } else await exchange.guard.recordAccess({ interaction: 'transaction', action: 'E' });
  for (const entry of entries.filter(isRead)) {
    try {
      responses.set(entry, await run(exchange, entry));
    } catch (error) {
      if (writes.length === 0) throw named(error, entry);
      responses.set(entry, failureResponse(error, exchange.context.requestId));
    }
  }
  return entries.map((entry) => responses.get(entry)!);
}

function isRead({ method }: BundleEntry): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Refuses a read that would be refused for its path or for its caller's permissions alone. */
function assertReadable({ context }: Exchange, entry: BundleEntry): void {
  const { type, interaction } = routeOf(entry.method, splitUrl(entry.url).path);
  if (type !== undefined) reachOf(context, type, [interaction === 'search' ? 's' : 'r']);
}

function plan(entry: BundleEntry): PlannedWrite {
  const { path, query } = splitUrl(entry.url);
  const route = routeOf(entry.method, path);
  if (route.type === undefined) throw new InterlockError('request-invalid', { detail: 'A transaction entry must name a resource type.' });
  const { type, id } = route;
  if (entry.resource !== undefined && entry.resource.resourceType !== type) throw new InterlockError('request-invalid', { detail: 'The resource is not of the type in the request URL.' });
  const condition = query !== '' ? conditionOf(type, query) : undefined;
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

/**
 * No resource may be changed twice in a transaction, whether it is named or matched (https://hl7.org/fhir/R4/http.html#trules),
 * and none made twice by the same criteria. Creates that need not happen may share their match, if nothing else changes it.
 */
function assertDistinct(writes: readonly PlannedWrite[], targets: ReadonlyMap<PlannedWrite, Target>): void {
  const once = new Set<string>();
  const assertFirst = (key: string, { index }: BundleEntry) => {
    if (once.has(key)) throw new InterlockError('request-invalid', { detail: 'A resource stands in the transaction more than once.', expression: `Bundle.entry[${index}]` });
  };
  const isMet = (write: PlannedWrite) => write.kind === 'create' && targets.get(write)!.match !== undefined;
  // Changes first, so that a met create is compared with all of them.
  for (const write of [...writes.filter((one) => !isMet(one)), ...writes.filter(isMet)]) {
    const { entry, kind, type, condition } = write;
    const { id, match } = targets.get(write)!;
    const isUnmet = condition !== undefined && match === undefined;
    if (isUnmet && kind === 'delete') continue;
    const keys = [`${type}/${id}`, ...(isUnmet ? [`${type}?${condition.text}`] : [])];
    for (const key of keys) assertFirst(key, entry);
    if (!isMet(write)) for (const key of keys) once.add(key);
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
    const sentId = write.kind === 'update' ? write.entry.resource?.id : undefined;
    if (match !== undefined && sentId !== undefined && sentId !== match.id) {
      throw new InterlockError('request-invalid', { detail: 'The id in the resource is not that of the resource that matches.', expression: `Bundle.entry[${write.entry.index}]` });
    }
    targets.set(write, match === undefined ? fresh.get(write)! : { id: match.id, match });
  }
  return targets;
}

/** Rewrites references, validates, and seals every resource that is written. */
async function prepareAll(exchange: Exchange, writes: readonly PlannedWrite[], targets: ReadonlyMap<PlannedWrite, Target>, references: ReadonlyMap<string, string>): Promise<Map<PlannedWrite, TransactionWrite>> {
  const urls = new Map(references);
  for (const write of writes) {
    if (write.entry.fullUrl !== undefined && write.kind !== 'delete') urls.set(write.entry.fullUrl, `${write.type}/${targets.get(write)!.id}`);
  }
  const ready = new Map<PlannedWrite, TransactionWrite>();
  for (const write of writes) {
    const { entry, type } = write;
    if (entry.resource === undefined) continue;
    const { id } = targets.get(write)!;
    const rewritten = rewriteReferences(entry.resource, entry.bytes, urls);
    within(entry, () => {
      assertValid(rewritten.resource);
      exchange.services.rules?.assert(rewritten.resource);
      assertWhole(rewritten.resource);
    });
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
  const answer = ({ entry }: PlannedWrite, result: WriteResult) => responses.set(entry, writeResponse(result.created ? 201 : 200, result.version, exchange.services.baseUrl, preferences(exchange.request.headers.prefer), exchange.services.rules));
  const ofKind = (kind: PlannedWrite['kind']) => writes.filter((write) => write.kind === kind);
  for (const write of ofKind('delete')) {
    const { id, match } = targets.get(write)!;
    const result = write.condition !== undefined && match === undefined ? undefined : await withinAsync(write.entry, () => tx.remove(write.type, id, versionOfIfMatch(write.entry.ifMatch)));
    responses.set(write.entry, { status: 204, headers: result === undefined ? {} : versionHeaders(result.version) });
  }
  const creates = ofKind('create').filter((write) => targets.get(write)!.match === undefined);
  for (const write of creates) within(write.entry, () => tx.assertMayCreate(ready.get(write)!));
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

