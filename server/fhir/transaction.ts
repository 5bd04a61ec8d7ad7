import { InterlockError } from '../../resources/outcome/error.ts';
import { assertValid } from '../../resources/validate/index.ts';
import { reachOf } from '../access/decide.ts';
import type { Incoming } from '../access/guard.ts';
import type { GuardedTransaction, TransactionWrite } from '../access/guarded-transaction.ts';
import { MissingReference, ReferencedResource } from '../access/integrity.ts';
import { isGoverned } from '../access/security-context.ts';
import type { StoredVersion, WriteResult } from '../storage/contract.ts';
import type { BundleEntry } from './bundle-entries.ts';
import { conditionOf, type Condition } from './conditions.ts';
import type { Exchange, FhirResponse } from './exchange.ts';
import { newId } from './ids.ts';
import type { RunEntry } from './interactions/bundle.ts';
import { patchOf, type Patch } from './interactions/patch.ts';
import { conditionalReferences, entryResolver, rewriteReferences, type EntryTarget } from './references.ts';
import { deletedResponse, expectedVersion, failureResponse, preferences, versionOfIfMatch, writeResponse } from './responses.ts';
import { routeOf, splitUrl } from './routes.ts';
import { assertWhole } from './shape.ts';

/** A write of the Bundle, before it is known which resource a condition matches. */
interface PlannedWrite {
  readonly entry: BundleEntry;
  readonly kind: 'create' | 'update' | 'patch' | 'delete';
  readonly type: string;
  readonly id?: string;
  readonly condition?: Condition;
  readonly change?: Patch;
}

/** Which resource a write concerns, once its condition was looked up. */
interface Target {
  readonly id: string;
  /** The resource that a condition matched. */
  readonly match?: StoredVersion;
  /** Further ones, where a delete may concern several. */
  readonly others?: readonly StoredVersion[];
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
  const writes = entries.filter((entry) => !isRead(entry)).map((entry) => within(entry, () => plan(exchange, entry)));
  for (const entry of entries.filter(isRead)) within(entry, () => assertReadable(exchange, entry));
  const references = await conditionalReferences(exchange, writes.map(({ entry }) => entry));
  const claims = [...new Set(writes.flatMap((write) => write.condition?.claims ?? []))].sort();
  const responses = new Map<BundleEntry, FhirResponse>();

  let made: { readonly key: string; readonly ready: Ready } | undefined;
  const prepared = (targets: ReadonlyMap<PlannedWrite, Target>): Ready => {
    const key = writes.map((write) => targets.get(write)!.id).join(' ');
    if (made?.key !== key) made = { key, ready: prepareAll(exchange, writes, targets, references) };
    return made.ready;
  };
  // An update that matches nothing creates its resource under the id that it brings, if any.
  const unconditional = new Map(writes.map((write) => [write, { id: write.id ?? (write.kind === 'update' ? write.entry.resource?.id : undefined) ?? newId() }]));
  if (writes.length > 0) {
    prepared(unconditional);
    await exchange.guard.transaction({ interaction: 'transaction', action: 'E' }, async (tx) => {
      responses.clear();
      await tx.claim(claims);
      const targets = await resolve(exchange, tx, writes, unconditional);
      assertDistinct(writes, targets);
      const ready = prepared(targets);
      await apply(exchange, tx, writes, targets, ready, responses);
      await assertIntegrity(tx, writes, targets);
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

function plan({ services }: Exchange, entry: BundleEntry): PlannedWrite {
  const { path, query } = splitUrl(entry.url);
  const route = routeOf(entry.method, path);
  if (route.type === undefined) throw new InterlockError('request-invalid', { detail: 'A transaction entry must name a resource type.' });
  const { type, id } = route;
  if (entry.resource !== undefined && entry.resource.resourceType !== type) throw new InterlockError('request-invalid', { detail: 'The resource is not of the type in the request URL.' });
  const condition = query !== '' ? conditionOf(type, query, services.values) : undefined;
  switch (route.interaction) {
    case 'create':
      return { entry, kind: 'create', type, ...(entry.ifNoneExist === undefined ? {} : { condition: conditionOf(type, entry.ifNoneExist, services.values) }) };
    case 'update':
      if (entry.resource?.id !== id) throw new InterlockError('request-invalid', { detail: 'The id in the resource is not that in the request URL.' });
      return { entry, kind: 'update', type, ...(id === undefined ? {} : { id }) };
    case 'conditional-update':
      return { entry, kind: 'update', type, condition: condition ?? conditionOf(type, '', services.values) };
    case 'patch':
    case 'conditional-patch':
      return {
        entry, kind: 'patch', type, change: patchOf(entry.patch!.contentType, entry.patch!.body, services.limits, services.rules),
        ...(id === undefined ? { condition: condition ?? conditionOf(type, '', services.values) } : { id }),
      };
    case 'delete':
      return { entry, kind: 'delete', type, ...(id === undefined ? {} : { id }) };
    case 'conditional-delete':
      return { entry, kind: 'delete', type, condition: condition ?? conditionOf(type, '', services.values) };
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
    const { id, match, others = [] } = targets.get(write)!;
    const isUnmet = condition !== undefined && match === undefined;
    if (isUnmet && kind === 'delete') continue;
    const keys = [`${type}/${id}`, ...others.map((other) => `${type}/${other.id}`), ...(isUnmet ? [`${type}?${condition.text}`] : [])];
    for (const key of keys) assertFirst(key, entry);
    if (!isMet(write)) for (const key of keys) once.add(key);
  }
}

/** Looks up every condition inside the snapshot, after its claim. */
async function resolve({ services }: Exchange, tx: GuardedTransaction, writes: readonly PlannedWrite[], fresh: ReadonlyMap<PlannedWrite, Target>): Promise<Map<PlannedWrite, Target>> {
  const targets = new Map<PlannedWrite, Target>();
  for (const write of writes) {
    const { condition } = write;
    if (condition === undefined) {
      targets.set(write, fresh.get(write)!);
      continue;
    }
    const most = write.kind === 'delete' ? services.limits.maxConditionalDeletes : 1;
    const matches = await withinAsync(write.entry, () => tx.find([write.type], condition.where, most + 1));
    if (matches.length > most || (matches.length > 1 && write.entry.ifMatch !== undefined)) throw new InterlockError('multiple-matches', { expression: `Bundle.entry[${write.entry.index}]` });
    const [match, ...others] = matches;
    if (match === undefined && write.kind === 'patch') throw new InterlockError('not-found', { detail: 'Nothing matches the criteria.', expression: `Bundle.entry[${write.entry.index}]` });
    const sentId = write.kind === 'update' ? write.entry.resource?.id : undefined;
    if (match !== undefined && sentId !== undefined && sentId !== match.id) {
      throw new InterlockError('request-invalid', { detail: 'The id in the resource is not that of the resource that matches.', expression: `Bundle.entry[${write.entry.index}]` });
    }
    targets.set(write, match === undefined ? fresh.get(write)! : { id: match.id, match, others });
  }
  return targets;
}

/** What could be made ready before the database transaction, and how what could not is made. */
interface Ready {
  readonly writes: ReadonlyMap<PlannedWrite, TransactionWrite>;
  readonly made: (write: PlannedWrite, incoming: Incoming, id: string) => TransactionWrite;
}

/** Rewrites references, validates, and seals every resource that is written as a whole. */
function prepareAll({ services }: Exchange, writes: readonly PlannedWrite[], targets: ReadonlyMap<PlannedWrite, Target>, references: ReadonlyMap<string, string>): Ready {
  const byUrl = new Map<string, EntryTarget>();
  for (const write of writes) {
    const { id, match } = targets.get(write)!;
    if (write.entry.fullUrl !== undefined && write.kind !== 'delete') byUrl.set(write.entry.fullUrl, { type: write.type, id, isNew: match === undefined && write.kind === 'create' });
  }
  const resolverOf = entryResolver(services.baseUrl, byUrl, references);
  const made = ({ entry, type, kind }: PlannedWrite, { resource, bytes }: Incoming, id: string): TransactionWrite =>
    within(entry, () => {
      const rewritten = rewriteReferences(resource, bytes, resolverOf(entry.fullUrl));
      assertValid(rewritten.resource);
      services.rules?.assert(rewritten.resource);
      // A patch brings no tag of its own: it was made of what its caller sees.
      if (kind !== 'patch') assertWhole(rewritten.resource);
      const ifMatch = kind === 'update' ? expectedVersion(entry) : undefined;
      return { type, id, resource: rewritten.resource, prepared: services.store.prepare(rewritten.resource, id, rewritten.bytes), ...(kind === 'patch' ? { bytes: rewritten.bytes } : {}), ...(ifMatch === undefined ? {} : { ifMatch }) };
    });
  const whole = writes.filter(({ entry }) => entry.resource !== undefined);
  const incoming = ({ resource, bytes }: BundleEntry): Incoming => ({ resource: resource!, ...(bytes === undefined ? {} : { bytes }) });
  return { writes: new Map(whole.map((write) => [write, made(write, incoming(write.entry), targets.get(write)!.id)])), made };
}

async function apply(
  exchange: Exchange,
  tx: GuardedTransaction,
  writes: readonly PlannedWrite[],
  targets: ReadonlyMap<PlannedWrite, Target>,
  { writes: ready, made }: Ready,
  responses: Map<BundleEntry, FhirResponse>,
): Promise<void> {
  const prefer = preferences(exchange.request.headers.prefer);
  const answer = ({ entry }: PlannedWrite, result: WriteResult) => responses.set(entry, writeResponse(result.created ? 201 : 200, result.version, exchange.services.baseUrl, prefer, exchange.services.rules));
  const ofKind = (kind: PlannedWrite['kind']) => writes.filter((write) => write.kind === kind);
  for (const write of ofKind('delete')) {
    const { id, match, others = [] } = targets.get(write)!;
    const result = write.condition !== undefined && match === undefined ? undefined : await withinAsync(write.entry, () => tx.remove(write.type, id, versionOfIfMatch(write.entry.ifMatch)));
    for (const other of others) await withinAsync(write.entry, () => tx.remove(other.type, other.id));
    responses.set(write.entry, deletedResponse(result?.version, prefer));
  }
  const creates = ofKind('create').filter((write) => targets.get(write)!.match === undefined);
  // What others are the security context of comes first.
  for (const group of [creates.filter(({ type }) => !isGoverned(type)), creates.filter(({ type }) => isGoverned(type))]) {
    for (const write of group) await withinAsync(write.entry, () => tx.assertMayCreate(ready.get(write)!));
    if (group.length === 0) continue;
    for (const [index, result] of (await tx.create(group.map((write) => ready.get(write)!))).entries()) answer(group[index]!, result);
  }
  for (const write of ofKind('create')) {
    const { match } = targets.get(write)!;
    if (match !== undefined) responses.set(write.entry, writeResponse(200, match, exchange.services.baseUrl, prefer));
  }
  for (const write of ofKind('update')) {
    const isChosenHere = write.condition !== undefined && targets.get(write)!.match === undefined && write.entry.resource?.id === undefined;
    answer(write, await withinAsync(write.entry, () => (isChosenHere ? tx.createByUpdate(ready.get(write)!) : tx.update(ready.get(write)!))));
  }
  for (const write of ofKind('patch')) {
    const { id } = targets.get(write)!;
    answer(write, await withinAsync(write.entry, () => tx.patch(write.type, id, (current) => made(write, write.change!(current), id), versionOfIfMatch(write.entry.ifMatch))));
  }
}

/** Checks references and deletions once everything is there, and names the entry at fault. */
async function assertIntegrity(tx: GuardedTransaction, writes: readonly PlannedWrite[], targets: ReadonlyMap<PlannedWrite, Target>): Promise<void> {
  try {
    await tx.assertIntegrity();
  } catch (error) {
    const of = error instanceof MissingReference || error instanceof ReferencedResource ? error.of : undefined;
    const write = writes.find((one) => {
      const { id, others = [] } = targets.get(one)!;
      return one.type === of?.type && (id === of.id || others.some((other) => other.id === of.id));
    });
    throw write === undefined ? error : named(error, write.entry);
  }
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
  if (error.options.expression?.startsWith('Bundle.entry[') === true) return error;
  const place = `Bundle.entry[${index}]`;
  const at = (expression: string | undefined) => (expression === undefined ? place : expression.startsWith('Bundle.entry[') ? expression : `${place}.resource${expression.replace(/^[A-Z][A-Za-z]*/, '')}`);
  const { issues, ...options } = error.options;
  return new InterlockError(error.code, {
    ...options,
    expression: at(options.expression),
    cause: error,
    ...(issues === undefined ? {} : { issues: issues.map((issue) => ({ ...issue, expression: at(issue.expression) })) }),
  });
}

