import type { ClientSession } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { ValueContext } from '../../resources/search-values/index.ts';
import type { Terminology } from '../../resources/terminology/contract.ts';
import type { AskedCriterion } from '../search/criteria.ts';
import type { AuditOfWrite, FileManifest, PreparedWrite, ResourceJson, ResourceKey, SearchPage, SearchRequest, Store, StoredVersion, StoreTransaction, WriteResult } from '../storage/contract.ts';
import type { AccessContext } from './context.ts';
import { permitted, reachOf, reachToWrite } from './decide.ts';
import { Integrity, type ReferenceIntegrity, type Referring } from './integrity.ts';
import { assertMayReplace, masked, patchAs } from './mask.ts';
import { assertUnmasked } from './mask-search.ts';
import { resolveCriterion } from './resolve.ts';
import { SecurityContexts } from './security-context.ts';
import { assertReaches, sees } from './visible.ts';
import { Writable } from './writable.ts';

/** A write of a transaction. `prepared` may come from an earlier attempt. */
export interface TransactionWrite {
  readonly type: string;
  readonly id: string;
  readonly resource: ResourceJson;
  readonly prepared: PreparedWrite;
  /** The JSON that `prepared` was made of, where it is known. */
  readonly bytes?: Buffer;
  /** Version that must be current; 0: must not exist. */
  readonly ifMatch?: number;
}

interface Inside {
  readonly tx: StoreTransaction;
  readonly prepare: Store['prepare'];
  /** Takes the patients whom writes concern by their security contexts, by `Type/id`. */
  readonly concerned: Map<string, readonly string[]>;
  readonly values: ValueContext;
  readonly context: AccessContext;
  readonly terminology?: Terminology | undefined;
  readonly auditOfWrite: AuditOfWrite;
  readonly results: WriteResult[];
  readonly integrity: ReferenceIntegrity;
  /** What searches inside the transaction disclosed, for the audit. */
  readonly found: StoredVersion[];
}

/** Guarded access inside one transaction: each step is decided by the same context as outside. */
export class GuardedTransaction {
  readonly #inside: Inside;
  /** What was written, by `Type/id`: its references are checked at the end, when all that they may lead to is there. */
  readonly #referring = new Map<string, Referring>();
  readonly #deleted: ResourceKey[] = [];
  #isChecked = false;
  readonly #contexts: SecurityContexts;
  readonly #writable: Writable;
  readonly #decided = new WeakSet<TransactionWrite>();

  constructor(inside: Inside) {
    const { tx, context, values, concerned } = inside;
    this.#inside = inside;
    this.#contexts = new SecurityContexts(tx, context, values);
    this.#writable = new Writable({ context, values, contexts: this.#contexts, read: tx.read.bind(tx), concerned });
  }

  /** The driver's session, for what else must commit together with the transaction. */
  get session(): ClientSession {
    return this.#inside.tx.session;
  }

  /** Takes claims; must come before searches that decide about writes. */
  async claim(keys: readonly string[]): Promise<void> {
    await this.#inside.tx.claim(keys);
  }

  /** The first resources of these types that meet a criterion and that the caller may search. @throws InterlockError `forbidden`, and what resolving the criterion is refused for */
  async find(types: readonly string[], asked: AskedCriterion, limit: number): Promise<readonly StoredVersion[]> {
    const { tx, context, values, terminology, found } = this.#inside;
    // The audit trail is in no snapshot.
    const search = async (request: SearchRequest): Promise<SearchPage> => {
      if (request.types.includes('AuditEvent')) throw new InterlockError('search-unsupported');
      // A count that takes too long would end the transaction.
      return tx.search({ ...request, total: 'none' });
    };
    assertUnmasked(context, types, { where: asked });
    const where = await resolveCriterion(asked, types, { context, values, terminology, search });
    const page = await tx.search({ types, where: permitted(context, types, where), sort: [], count: limit, total: 'none' });
    const visible = await this.#contexts.visible(page.matches, ['s']);
    found.push(...visible);
    return visible.map((version) => masked(version, context));
  }

  /** The current version if it exists, is not deleted and may be read. @throws InterlockError `forbidden` */
  async read(type: string, id: string): Promise<StoredVersion | undefined> {
    const reach = reachOf(this.#inside.context, type, ['r']);
    const version = await this.#inside.tx.read(type, id);
    if (version === undefined || version.deleted) return undefined;
    const isSeen = this.#contexts.governs(type) ? (await this.#contexts.visible([version], ['r'])).length > 0 : sees(reach, version, this.#inside.values);
    return isSeen ? masked(version, this.#inside.context) : undefined;
  }

  /**
   * What refers to a resource by a search parameter, records of what happened left out, for a caller that may read and update
   * all of it.
   * @param max how many are looked at
   * @param concerns which of them count
   * @throws InterlockError `too-costly` if there are more; `forbidden` if there is one that the caller may not change
   */
  async referrers(key: ResourceKey, max: number, concerns: (version: StoredVersion) => boolean): Promise<readonly StoredVersion[]> {
    const { tx, found } = this.#inside;
    const all = await tx.referrers([key], max + 1);
    if (all.length > max) throw new InterlockError('too-costly', { detail: `More than ${max} resources refer to this one.` });
    const referring = all.filter(concerns);
    await this.assertMayChange(referring);
    found.push(...referring);
    return referring;
  }

  /** Current versions, deletions included, of what the caller may read and update; what never existed is left out. @throws InterlockError `forbidden` */
  async toChange(keys: readonly ResourceKey[]): Promise<readonly StoredVersion[]> {
    const versions = await this.#inside.tx.readMany(keys);
    await this.assertMayChange(versions);
    return versions;
  }

  /** The versions before these current ones, of what the caller may change; missing ones are left out. @throws InterlockError `forbidden` */
  async before(current: readonly StoredVersion[]): Promise<readonly StoredVersion[]> {
    const versions = await this.#inside.tx.readBefore(current);
    await this.assertMayChange(versions);
    return versions;
  }

  /**
   * Updates many resources in few round trips. A version that this transaction did not read as the current one is refused.
   * @throws InterlockError `forbidden`, `version-stale`
   */
  async updateMany(changes: readonly { readonly current: StoredVersion; readonly write: TransactionWrite }[]): Promise<readonly WriteResult[]> {
    const { context, tx, auditOfWrite, values } = this.#inside;
    await this.assertMayChange(changes.map(({ current }) => current));
    for (const { write } of changes) assertReaches(reachToWrite(context, write.type, ['u']), write.resource, write.id, values);
    const results = await tx.updateMany(changes.map(({ current, write }) => ({ prepared: write.prepared, ifMatch: current.versionId })), auditOfWrite);
    this.#inside.results.push(...results);
    for (const [index, { write }] of changes.entries()) this.#refers(write, results[index]!);
    return results.map((result) => this.#shown(result));
  }

  /** Decides updates ahead of {@link updateMany}, which decides again. @throws InterlockError `forbidden` unless the caller may read and update them all */
  async assertMayChange(versions: readonly StoredVersion[]): Promise<void> {
    const { context, values } = this.#inside;
    for (const { type } of versions) assertMayReplace(context, type);
    const visible = await this.#contexts.visible(versions, ['r']);
    const isAllowed = visible.length === versions.length && versions.every((version) => [reachOf(context, version.type, ['r']), reachToWrite(context, version.type, ['u'])].every((reach) => sees(reach, version, values)));
    if (!isAllowed) throw new InterlockError('forbidden', { rule: 'compartment: something that would be changed is outside what the caller may change' });
  }

  /** Decides a create ahead of {@link create}, which decides what is not decided yet. @throws InterlockError `forbidden` */
  async assertMayCreate(write: TransactionWrite): Promise<void> {
    await this.#writable.assertMayWrite(write.resource, write.id, ['c']);
    this.#decided.add(write);
  }

  /** Creates many resources under ids that must be new, in few round trips. @throws InterlockError `forbidden` */
  async create(writes: readonly TransactionWrite[]): Promise<readonly WriteResult[]> {
    for (const write of writes) if (!this.#decided.has(write)) await this.assertMayCreate(write);
    const results = await this.#inside.tx.createMany(writes.map((write) => write.prepared), this.#inside.auditOfWrite);
    this.#inside.results.push(...results);
    for (const [index, write] of writes.entries()) this.#refers(write, results[index]!);
    return results.map((result) => this.#shown(result));
  }

  /**
   * Creates what an update with criteria did not find, under an id that the server chose: so it tells nothing of any id.
   * @throws InterlockError `forbidden`, `version-stale` if a version was expected
   */
  async createByUpdate(write: TransactionWrite): Promise<WriteResult> {
    const { tx, auditOfWrite, results } = this.#inside;
    await this.#writable.assertMayWrite(write.resource, write.id, ['u']);
    const result = await tx.write(write.prepared, auditOfWrite, { ifMatch: write.ifMatch ?? 0 });
    results.push(result);
    this.#refers(write, result);
    return this.#shown(result);
  }

  /** Updates a resource or creates it under its id. @throws InterlockError `forbidden`, `not-found`, `version-stale` */
  async update(write: TransactionWrite): Promise<WriteResult> {
    const { context, tx, auditOfWrite } = this.#inside;
    const expected = await this.#writable.expected(write.type, write.id, ['u'], write.ifMatch);
    assertMayReplace(context, write.type);
    await this.#writable.assertMayWrite(write.resource, write.id, ['u']);
    const result = await tx.write(write.prepared, auditOfWrite, expected === undefined ? {} : { ifMatch: expected });
    this.#inside.results.push(result);
    this.#refers(write, result);
    return this.#shown(result);
  }

  /**
   * Changes a resource in part.
   * @param change makes the write from the current version
   * @throws InterlockError `forbidden`, `not-found`, `deleted`, `version-stale`, and what `change` throws
   */
  async patch(type: string, id: string, change: (current: StoredVersion) => TransactionWrite, ifMatch?: number): Promise<WriteResult> {
    const { context, tx, auditOfWrite, results } = this.#inside;
    const current = await this.#writable.toPatch(type, id, ifMatch);
    const { made: write, isMerged } = patchAs(context, current, change);
    await this.#writable.assertMayWrite(write.resource, id, ['u']);
    const file = fileAfter(current, write.resource);
    const prepared = isMerged || file !== undefined ? this.#inside.prepare(write.resource, id, write.bytes, file) : write.prepared;
    const result = await tx.write(prepared, auditOfWrite, { ifMatch: current.versionId });
    results.push(result);
    this.#refers(write, result);
    return this.#shown(result);
  }

  /** Deletes a resource; undefined if there was nothing to delete. @throws InterlockError `forbidden`, `not-found`, `version-stale` */
  async remove(type: string, id: string, ifMatch?: number): Promise<WriteResult | undefined> {
    const { tx, auditOfWrite } = this.#inside;
    const expected = await this.#writable.expected(type, id, ['d'], ifMatch);
    const result = await tx.remove(type, id, auditOfWrite, expected === undefined ? {} : { ifMatch: expected });
    if (result !== undefined) {
      this.#inside.results.push(result);
      this.#deleted.push({ type, id });
    }
    return result;
  }

  /**
   * Checks what was written and deleted as a whole; called at the end, before the commit, unless the work has done so. A transaction may so delete
   * together what refers to each other, and create what refers to what it creates.
   * @throws MissingReference `reference-invalid`, `reference-missing`; ReferencedResource `referenced`
   */
  async assertIntegrity(): Promise<void> {
    if (this.#isChecked) return;
    this.#isChecked = true;
    const { tx, context, values, integrity } = this.#inside;
    const check = new Integrity({ reads: tx, context, values, level: integrity });
    await check.assertTargets([...this.#referring.values()]);
    await check.assertUnreferenced(this.#deleted);
  }

  #shown(result: WriteResult): WriteResult {
    return { ...result, version: masked(result.version, this.#inside.context) };
  }

  #refers({ type, id, resource }: TransactionWrite, { version }: WriteResult): void {
    const previous = async (): Promise<StoredVersion | undefined> => (version.versionId === 1 ? undefined : this.#inside.tx.vread(type, id, version.versionId - 1));
    this.#referring.set(`${type}/${id}`, { type, id, resource, previous });
  }
}

/** A Binary that is patched keeps its content, unless the patch brings another. */
export function fileAfter(current: StoredVersion, resource: ResourceJson): FileManifest | undefined {
  return resource['data'] === undefined ? current.file : undefined;
}
