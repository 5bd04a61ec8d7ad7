import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { AuditEntity, AuditRecord, AuditTrail } from '../audit/record.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { ValueContext } from '../../resources/search-values/index.ts';
import type { ParsedSearch } from '../search/criteria.ts';
import type { AuditOfWrite, ByteRange, FileManifest, ResourceJson, ResourceKey, Store, StoredVersion, VersionFacts, WriteResult } from '../storage/contract.ts';
import type { AuditEventReader } from './audit-events.ts';
import type { ConsentLimit } from './consent-limit.ts';
import type { ConsentRegistry } from './consent-registry.ts';
import { underBrokenGlass, type BreakGlass } from './break-glass.ts';
import type { AccessContext } from './context.ts';
import { recordOf, type AccessFacts } from './access-record.ts';
import { reachableTypes, reachOf, type Reach } from './decide.ts';
import { maskedPage, searchAs, type SearchResult } from './guarded-search.ts';
import { fileAfter, GuardedTransaction } from './guarded-transaction.ts';
import { Integrity, ReferencedResource, type ReferenceIntegrity } from './integrity.ts';
import type { TerminologyService } from './terminology.ts';
import type { OwnPatients } from './own-patients.ts';
import { SecurityContexts } from './security-context.ts';
import { assertMayReplace, masked, patchAs } from './mask.ts';
import { notFound, sees } from './visible.ts';
import { visibleHistory, type HistoryPart } from './visible-history.ts';
import { Writable } from './writable.ts';

/** What every guarded repository of this process shares. */
export interface GuardServices {
  readonly store: Store;
  readonly audit: AuditTrail;
  readonly auditEvents: AuditEventReader;
  readonly nowMs: () => number;
  /** How values are read out of resources; the same as the store's. */
  readonly values: ValueContext;
  /** How references to nothing are refused; absent: by 422. */
  readonly integrity?: ReferenceIntegrity;
  /** What searches by value set and by hierarchy ask. Absent: they are refused. */
  readonly terminology?: TerminologyService;
  /** Patients' consents, which limit every caller but the channels that bring data in. Absent: nothing is limited by them. */
  readonly consents?: ConsentRegistry;
  /** Emergency access. Absent: there is none. */
  readonly breakGlass?: BreakGlass;
  /** Who is in whose care, for roles that are confined to such patients. Absent: they reach nobody. */
  readonly ownPatients?: OwnPatients;
}

/** A resource to be written, with the bytes it came as (kept where possible, so that decimals keep their precision). */
export interface Incoming {
  readonly resource: ResourceJson;
  readonly bytes?: Buffer;
  /** Content that comes as a stream and is kept in chunks. Read only once the write is known to be permitted. */
  readonly content?: { readonly source: AsyncIterable<Uint8Array>; readonly maxBytes: number };
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
  readonly #contexts: SecurityContexts;
  readonly #consents: ConsentLimit | undefined;
  readonly #integrity: Integrity;
  readonly #writable: Writable;
  // The patients whom resources that are being written concern by their security context.
  readonly #concerned = new Map<string, readonly string[]>();
  // Errors whose audit entry is durable already, so that nobody up the stack writes a second one.
  static readonly #audited = new WeakSet<object>();

  constructor(services: GuardServices, context: AccessContext, channel?: AuditRecord['channel']) {
    this.#services = services;
    // A door that takes data in shows none; who is sent to must find the patient whom it is about.
    this.#consents = channel === undefined ? services.consents?.limitFor(context) : undefined;
    this.context = { ...context, values: services.values, ...(this.#consents === undefined ? {} : { limits: [...(context.limits ?? []), this.#consents] }) };
    this.#channel = channel;
    this.#contexts = new SecurityContexts(services.store, this.context, services.values);
    this.#writable = new Writable({ context: this.context, values: services.values, contexts: this.#contexts, read: services.store.read.bind(services.store), concerned: this.#concerned });
    this.#integrity = new Integrity({ reads: services.store, context: this.context, values: services.values, level: this.#integrityLevel });
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
  async history(of: { type?: string; id?: string }, page: HistoryPart): Promise<{ versions: readonly StoredVersion[]; next?: string }> {
    const level = of.id !== undefined ? 'instance' : of.type !== undefined ? 'type' : 'system';
    return this.#reading({ interaction: `history-${level}`, action: 'R', ...of }, async (disclosed) => {
      const reaches = new Map<string, Reach>();
      for (const type of of.type === undefined ? reachableTypes(this.context, ['r']) : [of.type]) reaches.set(type, reachOf(this.context, type, ['r']));
      if (reaches.size === 0) throw new InterlockError('forbidden', { rule: 'scope: no r on any type' });
      const { versions, next, isHiding } = await visibleHistory({ ...this.#services, context: this.context, contexts: this.#contexts }, of, page, reaches);
      if (of.id !== undefined && versions.length === 0 && page.after === undefined && page.since === undefined && page.at === undefined) throw notFound(isHiding);
      this.#note(disclosed, versions);
      return { versions: versions.map((version) => masked(version, this.context)), ...(next === undefined ? {} : { next }) };
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
  async search(asked: ParsedSearch, query: string, after?: string): Promise<SearchResult> {
    const [only] = asked.types;
    return this.#reading({ interaction: asked.types.length === 1 ? 'search-type' : 'search-system', action: 'E', ...(asked.types.length === 1 && only !== undefined ? { type: only } : {}), query }, async (disclosed) => {
      const types = asked.types.length > 0 ? asked.types : reachableTypes(this.context, ['s']).filter((type) => type !== 'AuditEvent');
      if (types.length === 0) throw new InterlockError('forbidden', { rule: 'scope: no s on any type' });
      const page = await searchAs({ ...this.#services, context: this.context, contexts: this.#contexts }, asked, types, after);
      this.#note(disclosed, [...page.matches, ...page.included]);
      return maskedPage(page, this.context);
    });
  }

  /** Creates a resource under a new id. @throws InterlockError `forbidden`, `audit-unavailable`, `outcome-unknown` */
  async create(incoming: Incoming): Promise<WriteResult> {
    const type = incoming.resource.resourceType;
    return this.#writing({ interaction: 'create', action: 'C', type }, async () => {
      const id = randomUUID();
      await this.#writable.assertMayWrite(incoming.resource, id, ['c']);
      await this.#integrity.assertTargets([{ type, id, resource: incoming.resource, previous: async () => undefined }]);
      return this.#write(incoming, id, 0);
    });
  }

  /**
   * Updates a resource, or creates it under the given id. A caller whose reach is limited can only update what it sees:
   * otherwise the answer would tell whether an id exists.
   * @throws InterlockError `forbidden`, `not-found`, `version-stale`, `version-conflict`
   */
  async update(type: string, id: string, incoming: Incoming, ifMatch?: number): Promise<WriteResult> {
    return this.#writing({ interaction: 'update', action: 'U', type, id }, async () => {
      const expected = await this.#writable.expected(type, id, ['u'], ifMatch);
      assertMayReplace(this.context, type);
      await this.#writable.assertMayWrite(incoming.resource, id, ['u']);
      await this.#integrity.assertTargets([{ type, id, resource: incoming.resource, previous: async () => this.#services.store.read(type, id) }]);
      return this.#write(incoming, id, expected);
    });
  }

  /**
   * Changes a resource in part. What changed meanwhile is read again and patched again, so that no writer's work is lost.
   * @param change makes the new content of the current version
   * @throws InterlockError `forbidden`, `not-found`, `deleted`, `version-stale`, `version-conflict`, and what `change` throws
   */
  async patch(type: string, id: string, change: (current: StoredVersion) => Incoming, ifMatch?: number): Promise<WriteResult> {
    return this.#writing({ interaction: 'patch', action: 'U', type, id }, async () => {
      const { store } = this.#services;
      for (let attempt = 1; ; attempt += 1) {
        const current = await this.#writable.toPatch(type, id, ifMatch);
        const { made: incoming } = patchAs(this.context, current, change);
        await this.#writable.assertMayWrite(incoming.resource, id, ['u']);
        await this.#integrity.assertTargets([{ type, id, resource: incoming.resource, previous: async () => current }]);
        try {
          return await store.write(store.prepare(incoming.resource, id, incoming.bytes, fileAfter(current, incoming.resource)), this.auditOfWrite, { ifMatch: current.versionId });
        } catch (error) {
          const isLost = error instanceof InterlockError && (error.code === 'version-stale' || error.code === 'version-conflict');
          if (!isLost || ifMatch !== undefined) throw error;
          if (attempt === maxPatchAttempts) throw new InterlockError('version-conflict', { cause: error });
          await pause(Math.random() * 4 * 2 ** attempt);
        }
      }
    });
  }

  /** Deletes a resource; undefined if there was nothing to delete. @throws InterlockError `forbidden`, `not-found`, `version-stale` */
  async remove(type: string, id: string, ifMatch?: number): Promise<WriteResult | undefined> {
    const facts: AccessFacts = { interaction: 'delete', action: 'D', type, id };
    return this.#guarded(facts, async () => {
      const expected = await this.#writable.expected(type, id, ['d'], ifMatch);
      await this.#assertUnreferenced({ type, id });
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
        const guarded = new GuardedTransaction({ tx, prepare: this.#services.store.prepare.bind(this.#services.store), concerned: this.#concerned, integrity: this.#integrityLevel, values: this.#services.values, terminology: this.#services.terminology?.of(this.context), context: this.context, auditOfWrite: this.auditOfWrite, results, found });
        const done = await work(guarded);
        await guarded.assertIntegrity();
        return done;
      });
      const own = this.#services.audit.prepare(underBrokenGlass({ ...this.#record(facts), entities: found.map(entityOf), patients: patientsOfAll(found) }, this.context));
      await this.#committed(results, [own]);
      return value;
    });
  }

  /**
   * The content of a version that this repository disclosed, as far as it is kept in chunks; each is verified before it is
   * handed out. A failure on the way is on record, beside the disclosure.
   * @throws InterlockError `integrity-failure`, `unavailable`
   */
  async *contentOf(version: StoredVersion & { readonly file: FileManifest }, range?: ByteRange): AsyncGenerator<Buffer, void, void> {
    try {
      yield* this.#services.store.files.open(version.file, range);
    } catch (error) {
      await this.recordFailure({ interaction: 'read', action: 'R', type: version.type, id: version.id, versionId: version.versionId }, error);
      throw error;
    }
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
    const patients = this.#concerned.get(`${facts.type}/${facts.id}`) ?? facts.patients;
    const action = { create: 'C', update: 'U', delete: 'D' } as const;
    return this.#services.audit.prepare(underBrokenGlass({
      ...this.#record({ interaction: facts.interaction, action: action[facts.interaction] }),
      at: facts.at.getTime(),
      entities: [{ type: facts.type, id: facts.id, versionId: facts.versionId, hash: facts.hash, patients }],
      patients,
    }, this.context));
  };

  /**
   * Channels are not checked: what a message refers to is planned by it or was found, and a feed must not stand still.
   */
  get #integrityLevel(): ReferenceIntegrity {
    return this.#channel === undefined ? (this.#services.integrity ?? '422') : 'off';
  }

  /** Deleting what is not there is no error, whoever refers to it. @throws InterlockError `referenced` */
  async #assertUnreferenced(key: ResourceKey): Promise<void> {
    try {
      await this.#integrity.assertUnreferenced([key]);
    } catch (error) {
      if (!(error instanceof ReferencedResource)) throw error;
      const standing = (await this.#services.store.standing([key])).get(`${key.type}/${key.id}`);
      if (standing?.deleted === false) throw error;
    }
  }

  async #disclose(disclosed: Disclosed, reach: Reach, version: StoredVersion | undefined): Promise<StoredVersion> {
    const isSeen = version !== undefined && (this.#contexts.governs(version.type) ? (await this.#contexts.visible([version], ['r'])).length > 0 : sees(reach, version, this.#services.values));
    if (!isSeen) throw notFound(version !== undefined);
    this.#note(disclosed, [version]);
    if (version.deleted) throw new InterlockError('deleted');
    return masked(version, this.context);
  }

  /** Receives content that comes as a stream, then writes the version that refers to it; a file of a write that did not happen goes. */
  async #write({ resource, bytes, content }: Incoming, id: string, ifMatch: number | undefined): Promise<WriteResult> {
    const { store } = this.#services;
    const file = content === undefined ? undefined : await store.files.receive(content.source, content.maxBytes);
    try {
      return await store.write(store.prepare(resource, id, bytes, file), this.auditOfWrite, ifMatch === undefined ? {} : { ifMatch });
    } catch (error) {
      if (file !== undefined && !isOutcomeUnknown(error)) await store.files.discard(file).catch(() => undefined);
      throw error;
    }
  }

  #note(disclosed: Disclosed, versions: readonly StoredVersion[]): void {
    disclosed.entities = versions.map((version) => ({ ...entityOf(version), patients: this.#contexts.patientsOf(version) }));
    disclosed.patients = [...new Set(versions.flatMap((version) => this.#contexts.patientsOf(version)))];
  }

  async #reading<T>(facts: AccessFacts, work: (disclosed: Disclosed) => Promise<T>): Promise<T> {
    return this.#guarded(facts, async () => {
      const disclosed: Disclosed = { entities: [], patients: [] };
      const result = await work(disclosed);
      await this.#services.audit.record(underBrokenGlass({ ...this.#record(facts), entities: disclosed.entities, patients: disclosed.patients }, this.context));
      return result;
    });
  }

  async #writing(facts: AccessFacts, work: () => Promise<WriteResult>): Promise<WriteResult> {
    return this.#guarded(facts, async () => {
      const result = await work();
      await this.#committed([result]);
      return { ...result, version: masked(result.version, this.context) };
    });
  }

  /** Refuses while the audit cannot be written; audits whatever `work` throws. */
  async #guarded<T>(facts: AccessFacts, work: () => Promise<T>): Promise<T> {
    this.#services.audit.assertAvailable();
    try {
      const consents = this.#consents?.ready();
      if (consents !== undefined) await consents;
      return await this.#services.audit.expecting(work);
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
    for (const { version } of results) this.#services.consents?.written(version.type);
  }

  #record(facts: AccessFacts, error?: unknown): AuditRecord {
    return recordOf(facts, { context: this.context, at: this.#services.nowMs(), ...(this.#channel === undefined ? {} : { channel: this.#channel }) }, error);
  }
}

/** How often a patch is tried on versions that others replace meanwhile. */
const maxPatchAttempts = 8;

function isOutcomeUnknown(error: unknown): boolean {
  return error instanceof InterlockError && error.code === 'outcome-unknown';
}

function entityOf(version: StoredVersion): AuditEntity {
  return { type: version.type, id: version.id, versionId: version.versionId, patients: version.patients() };
}

function patientsOfAll(versions: readonly StoredVersion[]): string[] {
  return [...new Set(versions.flatMap((version) => version.patients()))];
}
