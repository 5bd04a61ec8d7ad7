import { randomUUID } from 'node:crypto';
import type { AuditEntity, AuditRecord, AuditTrail } from '../audit/record.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { ValueContext } from '../../resources/search-values/index.ts';
import type { ParsedSearch } from '../search/criteria.ts';
import type { AuditOfWrite, ResourceJson, SearchPage, Store, StoredVersion, VersionFacts, WriteResult } from '../storage/contract.ts';
import type { AuditEventReader } from './audit-events.ts';
import type { AccessContext, Permission } from './context.ts';
import { permitted, reachableTypes, reachOf, reachToWrite, type Reach } from './decide.ts';
import { GuardedTransaction } from './guarded-transaction.ts';
import { includedBy } from './include.ts';
import type { TerminologyService } from './terminology.ts';
import { assertReaches, notFound, sees, versionToWrite } from './visible.ts';

/** What every guarded repository of this process shares. */
export interface GuardServices {
  readonly store: Store;
  readonly audit: AuditTrail;
  readonly auditEvents: AuditEventReader;
  readonly nowMs: () => number;
  /** How values are read out of resources; the same as the store's. */
  readonly values: ValueContext;
  /** What searches by value set and by hierarchy ask. Absent: they are refused. */
  readonly terminology?: TerminologyService;
}

/** A resource to be written, with the bytes it came as (kept where possible, so that decimals keep their precision). */
export interface Incoming {
  readonly resource: ResourceJson;
  readonly bytes?: Buffer;
}

/** What the audit says of an access before its outcome is known. */
export interface AccessFacts {
  readonly interaction: string;
  readonly action: AuditRecord['action'];
  readonly type?: string;
  readonly id?: string;
  readonly versionId?: number;
  readonly query?: string;
}

interface Disclosed {
  entities: readonly AuditEntity[];
  patients: readonly string[];
}

/**
 * The only door to the record, bound to one {@link AccessContext}. Every method decides, does its work and makes the
 * audit entry durable before it returns; a refusal is audited before it is thrown.
 */
export class GuardedRepository {
  readonly context: AccessContext;
  readonly #services: GuardServices;
  readonly #channel: AuditRecord['channel'];
  // Errors whose audit entry is durable already, so that nobody up the stack writes a second one.
  static readonly #audited = new WeakSet<object>();

  constructor(services: GuardServices, context: AccessContext, channel?: AuditRecord['channel']) {
    this.#services = services;
    this.context = context;
    this.#channel = channel;
  }

  /** True if the refusal or failure, or the one that it was made from, is in the audit trail already. */
  static isAudited(error: unknown): boolean {
    if (typeof error !== 'object' || error === null) return false;
    return GuardedRepository.#audited.has(error) || (error instanceof InterlockError && GuardedRepository.isAudited(error.cause));
  }

  /** Reads the current version. @throws InterlockError `forbidden`, `not-found`, `deleted` */
  async read(type: string, id: string): Promise<StoredVersion> {
    return this.#reading({ interaction: 'read', action: 'R', type, id }, async (disclosed) => {
      const reach = reachOf(this.context, type, ['r']);
      const version = type === 'AuditEvent' ? await this.#services.auditEvents.read(id) : await this.#services.store.read(type, id);
      return this.#disclose(disclosed, reach, version);
    });
  }

  /** Reads one version. @throws InterlockError `forbidden`, `not-found`, `deleted` */
  async vread(type: string, id: string, versionId: number): Promise<StoredVersion> {
    return this.#reading({ interaction: 'vread', action: 'R', type, id, versionId }, async (disclosed) => {
      const reach = reachOf(this.context, type, ['r']);
      if (type === 'AuditEvent') throw new InterlockError('not-found');
      return this.#disclose(disclosed, reach, await this.#services.store.vread(type, id, versionId));
    });
  }

  /** The past of an instance, a type or everything, newest first: only versions that the caller may see. @throws InterlockError `forbidden`, `not-found` */
  async history(of: { type?: string; id?: string }, page: { count: number; since?: Date; after?: string }): Promise<{ versions: readonly StoredVersion[]; next?: string }> {
    const level = of.id !== undefined ? 'instance' : of.type !== undefined ? 'type' : 'system';
    return this.#reading({ interaction: `history-${level}`, action: 'R', ...of }, async (disclosed) => {
      const reaches = new Map<string, Reach>();
      for (const type of of.type === undefined ? reachableTypes(this.context, ['r']) : [of.type]) reaches.set(type, reachOf(this.context, type, ['r']));
      if (reaches.size === 0) throw new InterlockError('forbidden', { rule: 'scope: no r on any type' });
      const { versions, next, isHiding } = await this.#visibleHistory(of, page, reaches);
      if (of.id !== undefined && versions.length === 0 && page.after === undefined && page.since === undefined) throw notFound(isHiding);
      disclosed.entities = versions.map(entityOf);
      disclosed.patients = patientsOfAll(versions);
      return { versions, ...(next === undefined ? {} : { next }) };
    });
  }

  /**
   * Searches what the caller may see: what is asked and what is permitted go to the store as one filter, so that totals
   * and pages cannot tell of anything else.
   *
   * @param search of no types: of all that the caller may search
   * @param query the request as it came, for the sealed audit entry
   * @throws InterlockError `forbidden`, `too-costly`
   */
  async search(search: ParsedSearch, query: string, after?: string): Promise<SearchPage & { included: readonly StoredVersion[] }> {
    const [only] = search.types;
    return this.#reading({ interaction: search.types.length === 1 ? 'search-type' : 'search-system', action: 'E', ...(search.types.length === 1 && only !== undefined ? { type: only } : {}), query }, async (disclosed) => {
      const types = search.types.length > 0 ? search.types : reachableTypes(this.context, ['s']).filter((type) => type !== 'AuditEvent');
      if (types.length === 0) throw new InterlockError('forbidden', { rule: 'scope: no s on any type' });
      const page = only === 'AuditEvent' && types.length === 1 ? await this.#searchTrail(search, after) : await this.#searchStore(search, types, after);
      const included = await this.#included(search, page.matches);
      disclosed.entities = [...page.matches, ...included].map(entityOf);
      disclosed.patients = patientsOfAll([...page.matches, ...included]);
      return { ...page, included };
    });
  }

  /** Creates a resource under a new id. @throws InterlockError `forbidden`, `audit-unavailable`, `outcome-unknown` */
  async create(incoming: Incoming): Promise<WriteResult> {
    const type = incoming.resource.resourceType;
    return this.#writing({ interaction: 'create', action: 'C', type }, async () => {
      const id = randomUUID();
      assertReaches(reachToWrite(this.context, type, ['c']), incoming.resource, id, this.#services.values);
      return this.#services.store.write(this.#services.store.prepare(incoming.resource, id, incoming.bytes), this.auditOfWrite, { ifMatch: 0 });
    });
  }

  /**
   * Updates a resource, or creates it under the given id. A caller whose reach is limited can only update what it sees:
   * otherwise the answer would tell whether an id exists.
   * @throws InterlockError `forbidden`, `not-found`, `version-stale`, `version-conflict`
   */
  async update(type: string, id: string, incoming: Incoming, ifMatch?: number): Promise<WriteResult> {
    return this.#writing({ interaction: 'update', action: 'U', type, id }, async () => {
      const expected = await this.#seen(type, id, ['u'], ifMatch);
      assertReaches(reachToWrite(this.context, type, ['u']), incoming.resource, id, this.#services.values);
      const prepared = this.#services.store.prepare(incoming.resource, id, incoming.bytes);
      return this.#services.store.write(prepared, this.auditOfWrite, expected === undefined ? {} : { ifMatch: expected });
    });
  }

  /** Deletes a resource; undefined if there was nothing to delete. @throws InterlockError `forbidden`, `not-found`, `version-stale` */
  async remove(type: string, id: string, ifMatch?: number): Promise<WriteResult | undefined> {
    const facts: AccessFacts = { interaction: 'delete', action: 'D', type, id };
    return this.#guarded(facts, async () => {
      const expected = await this.#seen(type, id, ['d'], ifMatch);
      const result = await this.#services.store.remove(type, id, this.auditOfWrite, expected === undefined ? {} : { ifMatch: expected });
      if (result === undefined) await this.#services.audit.record(this.#record(facts));
      else await this.#committed([result]);
      return result;
    });
  }

  /**
   * Several reads and writes that happen together or not at all, each decided on its own. The audit entries of the
   * writes are durable when this returns.
   */
  async transaction<T>(facts: AccessFacts, work: (tx: GuardedTransaction) => Promise<T>): Promise<T> {
    return this.#guarded(facts, async () => {
      let results: WriteResult[] = [];
      let found: StoredVersion[] = [];
      const value = await this.#services.store.transaction(async (tx) => {
        results = [];
        found = [];
        return work(new GuardedTransaction({ tx, values: this.#services.values, context: this.context, auditOfWrite: this.auditOfWrite, results, found }));
      });
      const own = this.#services.audit.prepare({ ...this.#record(facts), entities: found.map(entityOf), patients: patientsOfAll(found) });
      await this.#committed(results, [own]);
      return value;
    });
  }

  /** Audits a request that failed before it reached a method of this repository, unless that has happened already. */
  async recordFailure(facts: AccessFacts, error: unknown): Promise<void> {
    if (GuardedRepository.isAudited(error)) return;
    try {
      await this.#services.audit.record(this.#record(facts, error));
    } catch (failure) {
      // That the write may have happened has to be told all the same; its own entry is kept until it is durable.
      if (isOutcomeUnknown(error)) return;
      throw failure;
    }
    if (typeof error === 'object' && error !== null) GuardedRepository.#audited.add(error);
  }

  /** Audits an access that needed no method of this repository, such as a conditional read that was not modified. */
  async recordAccess(facts: AccessFacts): Promise<void> {
    await this.#services.audit.record(this.#record(facts));
  }

  /** The sealed entry that travels inside a written version. */
  readonly auditOfWrite: AuditOfWrite = (facts: VersionFacts) => {
    const action = { create: 'C', update: 'U', delete: 'D' } as const;
    return this.#services.audit.prepare({
      ...this.#record({ interaction: facts.interaction, action: action[facts.interaction] }),
      at: facts.at.getTime(),
      entities: [{ type: facts.type, id: facts.id, versionId: facts.versionId, hash: facts.hash, patients: facts.patients }],
      patients: facts.patients,
    });
  };

  /**
   * A page of what the caller sees. It ends, or goes on, by what is visible alone, so that neither tells of anything else;
   * only a record of more than {@link maxExamined} versions shows as pages that are not full.
   */
  async #visibleHistory(of: { type?: string; id?: string }, page: { count: number; since?: Date; after?: string }, reaches: ReadonlyMap<string, Reach>): Promise<{ versions: readonly StoredVersion[]; next?: string; isHiding: boolean }> {
    const isLimited = (of.type === undefined && !this.context.grants.some(({ type, permissions }) => type === '*' && permissions.has('r'))) || [...reaches.values()].some(({ unlimited }) => !unlimited);
    const versions: StoredVersion[] = [];
    let isHiding = false;
    let { after } = page;
    for (let examined = 0; ; ) {
      const found = await this.#services.store.history({ ...of, ...page, count: isLimited ? Math.max(page.count + 1, historyBatch) : page.count, ...(after === undefined ? {} : { after }) });
      for (const version of found.versions) {
        const reach = reaches.get(version.type);
        if (reach === undefined || !sees(reach, version, this.#services.values)) isHiding = true;
        // A history goes on after the order of the last version.
        else if (versions.length === page.count) return { versions, next: String(versions.at(-1)!.order), isHiding };
        else versions.push(version);
      }
      examined += found.versions.length;
      if (found.next === undefined) return { versions, isHiding };
      if (!isLimited || examined >= maxExamined) return { versions, next: found.next, isHiding };
      after = found.next;
    }
  }

  async #searchStore(search: ParsedSearch, types: readonly string[], after: string | undefined): Promise<SearchPage> {
    const where = permitted(this.context, types, search.where);
    return this.#services.store.search({ types, where, sort: search.sort, count: search.count, total: search.total, ...(after === undefined ? {} : { after }) });
  }

  async #searchTrail(search: ParsedSearch, after: string | undefined): Promise<SearchPage> {
    const where = permitted(this.context, ['AuditEvent'], search.where);
    return this.#services.auditEvents.search({ types: ['AuditEvent'], where, sort: search.sort, count: search.count, total: search.total, ...(after === undefined ? {} : { after }) });
  }

  /** Resources that the matches refer to, or that refer to them: each only if the caller may read or search its type, and sees it. */
  async #included(search: ParsedSearch, matches: readonly StoredVersion[]): Promise<StoredVersion[]> {
    if (search.include.length === 0 && search.revInclude.length === 0) return [];
    return includedBy(this.#services, this.context, search, matches);
  }

  #disclose(disclosed: Disclosed, reach: Reach, version: StoredVersion | undefined): StoredVersion {
    if (version === undefined || !sees(reach, version, this.#services.values)) throw notFound(version !== undefined);
    disclosed.entities = [entityOf(version)];
    disclosed.patients = version.patients();
    if (version.deleted) throw new InterlockError('deleted');
    return version;
  }

  /** Checks that a limited caller sees what it is about to change. @returns the version that must still be current then */
  async #seen(type: string, id: string, permissions: readonly Permission[], ifMatch: number | undefined): Promise<number | undefined> {
    const reach = reachToWrite(this.context, type, permissions);
    if (reach.unlimited) return ifMatch;
    return versionToWrite(reach, await this.#services.store.read(type, id), ifMatch, this.#services.values);
  }

  async #reading<T>(facts: AccessFacts, work: (disclosed: Disclosed) => Promise<T>): Promise<T> {
    return this.#guarded(facts, async () => {
      const disclosed: Disclosed = { entities: [], patients: [] };
      const result = await work(disclosed);
      await this.#services.audit.record({ ...this.#record(facts), entities: disclosed.entities, patients: disclosed.patients });
      return result;
    });
  }

  async #writing(facts: AccessFacts, work: () => Promise<WriteResult>): Promise<WriteResult> {
    return this.#guarded(facts, async () => {
      const result = await work();
      await this.#committed([result]);
      return result;
    });
  }

  /** Refuses while the audit cannot be written; audits whatever `work` throws. */
  async #guarded<T>(facts: AccessFacts, work: () => Promise<T>): Promise<T> {
    this.#services.audit.assertAvailable();
    try {
      return await work();
    } catch (error) {
      // Without an audit trail there is nothing to write the failure to.
      if (isOutcomeUnknown(error) || (error instanceof InterlockError && error.code === 'audit-unavailable')) throw error;
      await this.recordFailure(facts, error);
      throw error;
    }
  }

  async #committed(results: readonly WriteResult[], more: readonly { id: Buffer; sealed: Buffer }[] = []): Promise<void> {
    await this.#services.audit.appendCommitted([...results.map((result) => result.audit), ...more]);
    this.#services.store.audited(results);
  }

  #record(facts: AccessFacts, error?: unknown): AuditRecord {
    const { context } = this;
    const failure =
      error === undefined
        ? { outcome: '0' as const }
        : error instanceof InterlockError
          ? { outcome: error.status >= 500 ? ('8' as const) : ('4' as const), error: error.code, ...(error.options.rule === undefined ? {} : { rule: error.options.rule }) }
          : { outcome: '8' as const, error: 'internal' as const };
    const target = facts.type !== undefined && facts.id !== undefined ? { entities: [{ type: facts.type, id: facts.id, ...(facts.versionId === undefined ? {} : { versionId: facts.versionId }) }] } : {};
    return {
      at: this.#services.nowMs(),
      kind: 'rest',
      interaction: facts.interaction,
      action: facts.action,
      requestId: context.requestId,
      actor: context.actor,
      purposeOfUse: context.purposeOfUse,
      ...failure,
      ...target,
      ...(facts.query === undefined ? {} : { query: facts.query }),
      ...(this.#channel === undefined ? {} : { channel: this.#channel }),
    };
  }
}

/** Versions that a limited caller's page of history asks the store for at once, and how many it looks at in all. */
const historyBatch = 200;
const maxExamined = 10_000;

function isOutcomeUnknown(error: unknown): boolean {
  return error instanceof InterlockError && error.code === 'outcome-unknown';
}

function entityOf(version: StoredVersion): AuditEntity {
  return { type: version.type, id: version.id, versionId: version.versionId, patients: version.patients() };
}

function patientsOfAll(versions: readonly StoredVersion[]): string[] {
  return [...new Set(versions.flatMap((version) => version.patients()))];
}
