import { InterlockError } from '../../resources/outcome/error.ts';
import { referenceValue, type ValueContext } from '../../resources/search-values/index.ts';
import type { ResourceJson, StoredVersion, StoreReads } from '../storage/contract.ts';
import type { AccessContext, Grant, Permission } from './context.ts';
import { isConfined, reachOf } from './decide.ts';
import { assertReaches, sees } from './visible.ts';

/**
 * Types whose access another resource decides, and the element that names it: whoever may read a Binary's security
 * context may read the Binary (https://hl7.org/fhir/R4/binary-definitions.html#Binary.securityContext).
 */
const contextElements: ReadonlyMap<string, string> = new Map([['Binary', 'securityContext']]);

/** True if resources of the type are accessible by what they name as their security context. */
export function isGoverned(type: string): boolean {
  return contextElements.has(type);
}

/**
 * The caller without the confinement of its grants on governed types: what a search finds as such a caller must be
 * looked at by {@link SecurityContexts} before anything is made of it.
 */
export function unconfined(context: AccessContext): AccessContext {
  const grants = context.grants.flatMap((grant): Grant[] => {
    if (!isConfined(grant)) return [grant];
    if (grant.type === '*') return [grant, ...[...contextElements.keys()].map((type) => unbound({ ...grant, type }))];
    return [isGoverned(grant.type) ? unbound(grant) : grant];
  });
  return { ...context, grants };
}

/**
 * Decides about resources that have a security context, as it is now: one that is missing, deleted or out of the
 * caller's sight hides them. Without a security context they are for callers whose grants are not confined to a patient.
 */
export class SecurityContexts {
  readonly #reads: Pick<StoreReads, 'readMany' | 'vread'>;
  readonly #context: AccessContext;
  readonly #values: ValueContext;
  readonly #patients = new WeakMap<StoredVersion, readonly string[]>();

  constructor(reads: Pick<StoreReads, 'readMany' | 'vread'>, context: AccessContext, values: ValueContext) {
    this.#reads = reads;
    this.#context = context;
    this.#values = values;
  }

  /** Those of the versions that the caller may access with one of the permissions; all of types that are not governed. */
  async visible<T extends StoredVersion>(versions: readonly T[], permissions: readonly Permission[]): Promise<T[]> {
    if (!versions.some(({ type }) => isGoverned(type))) return [...versions];
    const contents = new Map<StoredVersion, StoredVersion | undefined>();
    for (const version of versions) if (isGoverned(version.type)) contents.set(version, await this.#contentOf(version));
    const found = await this.#contextsOf([...contents.values()].flatMap((content) => (content === undefined ? [] : [content.resource()])));
    return versions.filter((version) => {
      if (!isGoverned(version.type)) return true;
      const content = contents.get(version);
      const context = content === undefined ? undefined : this.#contextIn(content.resource(), found);
      if (context === 'missing' || (context !== undefined && !this.#mayRead(context))) return false;
      if (context !== undefined) this.#patients.set(version, context.patients());
      return this.#grants(version.type, permissions, context).some((grant) => {
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
    const context = this.#contextIn(resource, await this.#contextsOf([resource]));
    const readable = context !== undefined && context !== 'missing' && this.#mayRead(context) ? context : undefined;
    const grants = this.#grants(type, permissions, readable).map(unbound);
    if (grants.length === 0) throw new InterlockError('forbidden', { rule: 'compartment: the security context is outside what the caller may write' });
    assertReaches(reachOf({ ...this.#context, grants }, type, permissions), resource, id, this.#values);
    return context === undefined || context === 'missing' ? [] : context.patients();
  }

  /** The patients whom a version concerns, by its security context if it has one. */
  patientsOf(version: StoredVersion): readonly string[] {
    return this.#patients.get(version) ?? version.patients();
  }

  /** A deletion is judged by what was deleted. */
  async #contentOf(version: StoredVersion): Promise<StoredVersion | undefined> {
    if (!version.deleted) return version;
    const before = await this.#reads.vread(version.type, version.id, version.versionId - 1);
    return before?.deleted === false ? before : undefined;
  }

  async #contextsOf(resources: readonly ResourceJson[]): Promise<ReadonlyMap<string, StoredVersion>> {
    const refs = resources.flatMap((resource) => {
      const reference = this.#referenceIn(resource);
      return reference === undefined || reference === 'missing' ? [] : [reference];
    });
    const unique = new Map(refs.map((reference) => [`${reference.type}/${reference.id}`, reference]));
    return new Map((await this.#reads.readMany([...unique.values()])).map((version) => [`${version.type}/${version.id}`, version]));
  }

  #contextIn(resource: ResourceJson, found: ReadonlyMap<string, StoredVersion>): StoredVersion | 'missing' | undefined {
    const reference = this.#referenceIn(resource);
    if (reference === undefined || reference === 'missing') return reference;
    const context = found.get(`${reference.type}/${reference.id}`);
    return context === undefined || context.deleted ? 'missing' : context;
  }

  /** A context that is elsewhere, or that has a context itself, is as good as missing. */
  #referenceIn(resource: ResourceJson): { readonly type: string; readonly id: string } | 'missing' | undefined {
    const named = resource[contextElements.get(resource.resourceType) ?? ''] as { readonly reference?: unknown } | undefined;
    if (named === undefined) return undefined;
    const value = typeof named.reference === 'string' ? referenceValue(named.reference, this.#values.baseUrl) : undefined;
    return value?.type === undefined || value.id === undefined || isGoverned(value.type) || value.type === 'AuditEvent' ? 'missing' : { type: value.type, id: value.id };
  }

  #mayRead(context: StoredVersion): boolean {
    const isGranted = this.#context.grants.some(({ type, permissions }) => (type === '*' || type === context.type) && permissions.has('r'));
    return isGranted && sees(reachOf(this.#context, context.type, ['r']), context, this.#values);
  }

  /** The caller's grants on a type that hold in this context. */
  #grants(type: string, permissions: readonly Permission[], context: StoredVersion | undefined): Grant[] {
    return this.#context.grants.filter((grant) =>
      (grant.type === '*' || grant.type === type) &&
      permissions.some((permission) => grant.permissions.has(permission)) &&
      (!isConfined(grant) || (grant.careOf === undefined && [...(grant.patients ?? []), grant.patient].some((patient) => patient !== undefined && context?.patients().includes(patient) === true))));
  }
}

function unbound(grant: Grant): Grant {
  const { patient: _patient, patients: _patients, careOf: _careOf, ...rest } = grant;
  return rest;
}
