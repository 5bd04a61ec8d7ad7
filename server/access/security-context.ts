import { InterlockError } from '../../resources/outcome/error.ts';
import type { ValueContext } from '../../resources/search-values/index.ts';
import type { ResourceJson, StoredVersion } from '../storage/contract.ts';
import type { AccessContext, Grant, Permission } from './context.ts';
import { isConfined, reachOf } from './decide.ts';
import { Grounds, isIndirect, type Ground, type GroundReads } from './grounds.ts';
import { assertReaches, sees } from './visible.ts';

/** True if writes of the type are decided by what it names as its security context. */
export function isGoverned(type: string): boolean {
  return type === 'Binary';
}

/**
 * The caller without the confinement of its grants on types that other resources decide about: what a search finds as such
 * a caller must be looked at by {@link SecurityContexts} before anything is made of it.
 */
export function unconfined(context: AccessContext): AccessContext {
  const grants = context.grants.flatMap((grant): Grant[] => {
    if (!isConfined(grant)) return [grant];
    if (grant.type === '*') return [grant, ...['Binary', 'Provenance'].map((type) => unbound({ ...grant, type }))];
    return [isIndirect(grant.type) ? unbound(grant) : grant];
  });
  return { ...context, grants };
}

/**
 * Decides about resources that have no compartment of their own, by others as they are now: see {@link Grounds}. A Binary
 * without a security context can be written only by callers whose grants are not confined to a patient.
 */
export class SecurityContexts {
  readonly #reads: GroundReads;
  readonly #context: AccessContext;
  readonly #values: ValueContext;
  readonly #grounds: Grounds;
  readonly #patients = new WeakMap<StoredVersion, readonly string[]>();

  /** @param except `Type/id` of what does not count as pointing to a Binary */
  constructor(reads: GroundReads, context: AccessContext, values: ValueContext, except?: ReadonlySet<string>) {
    this.#reads = reads;
    this.#context = context;
    this.#values = values;
    this.#grounds = new Grounds({ reads, context, values, ...(except === undefined ? {} : { except }) });
  }

  /** True unless the caller reads whatever there is. */
  get isLimited(): boolean {
    return this.#grounds.isLimited;
  }

  /** True if other resources decide what of the type the caller sees: Binaries, and to who does not read everything Provenances. */
  governs(type: string): boolean {
    return isGoverned(type) || (isIndirect(type) && this.#grounds.isLimited);
  }

  /** Those of the versions that the caller may access with one of the permissions; all of types that are not governed. */
  async visible<T extends StoredVersion>(versions: readonly T[], permissions: readonly Permission[]): Promise<T[]> {
    if (!versions.some(({ type }) => isIndirect(type))) return [...versions];
    const contents = new Map<StoredVersion, StoredVersion | undefined>();
    for (const version of versions) if (this.governs(version.type)) contents.set(version, await this.#contentOf(version));
    const grounds = await this.#grounds.of(contents);
    return versions.filter((version) => {
      if (!contents.has(version)) return true;
      const [content, ground] = [contents.get(version), grounds.get(version)];
      if (ground?.verdict !== 'shown') return false;
      this.#patients.set(version, ground.patients);
      return this.#grants(version.type, permissions, ground).some((grant) => {
        const reach = reachOf({ ...this.#context, grants: [unbound(grant)] }, version.type, permissions);
        return content === undefined ? reach.unlimited : sees(reach, content, this.#values);
      });
    });
  }

  /**
   * Checks that what is about to be written is within the caller's permissions: a confined caller can write only what has
   * a security context in its patient's compartment that it may read.
   * @returns the patients whom the content concerns by its context
   * @throws InterlockError `forbidden`
   */
  async assertMayWrite(resource: ResourceJson, id: string, permissions: readonly Permission[]): Promise<readonly string[]> {
    const type = resource.resourceType;
    const key = this.#grounds.contextIn(resource);
    const [context] = key === undefined ? [] : (await this.#reads.readMany([key])).filter(({ deleted }) => !deleted);
    const patients = context !== undefined && this.#grounds.mayRead(context) ? context.patients() : [];
    const grants = this.#grants(type, permissions, { verdict: 'shown', patients }).map(unbound);
    if (grants.length === 0) throw new InterlockError('forbidden', { rule: 'compartment: the security context is outside what the caller may write' });
    assertReaches(reachOf({ ...this.#context, grants }, type, permissions), resource, id, this.#values);
    return context?.patients() ?? [];
  }

  /** The patients whom a version concerns, by what decides about it where that is known. */
  patientsOf(version: StoredVersion): readonly string[] {
    return this.#patients.get(version) ?? version.patients();
  }

  /** A deletion is judged by what was deleted. */
  async #contentOf(version: StoredVersion): Promise<StoredVersion | undefined> {
    if (!version.deleted) return version;
    const before = await this.#reads.vread(version.type, version.id, version.versionId - 1);
    return before?.deleted === false ? before : undefined;
  }

  /** The caller's grants on a type that hold on this ground. */
  #grants(type: string, permissions: readonly Permission[], { patients, isPointed = false }: Ground): Grant[] {
    return this.#context.grants.filter((grant) => {
      const held = permissions.filter((permission) => grant.permissions.has(permission));
      if ((grant.type !== '*' && grant.type !== type) || held.length === 0) return false;
      if (!isConfined(grant)) return true;
      if (grant.careOf !== undefined) return false;
      if (isPointed) return held.includes('r') || held.includes('s');
      return [...(grant.patients ?? []), grant.patient].some((patient) => patient !== undefined && patients.includes(patient));
    });
  }
}

function unbound(grant: Grant): Grant {
  const { patient: _patient, patients: _patients, careOf: _careOf, ...rest } = grant;
  return rest;
}
