import { resourceTypes } from '../../resources/definitions/index.ts';
import { referenceValue, type ValueContext } from '../../resources/search-values/index.ts';
import { binariesNamedIn } from '../search/pointers.ts';
import type { ResourceJson, ResourceKey, StoredVersion, StoreReads } from '../storage/contract.ts';
import type { AccessContext } from './context.ts';
import { isConfined, reachOf } from './decide.ts';
import { masked } from './mask.ts';
import { sees } from './visible.ts';

/** What the access to a resource that has no compartment of its own rests on. */
export interface Ground {
  /** `withheld`: by a limit such as consents, which hides what others would show. */
  readonly verdict: 'shown' | 'hidden' | 'withheld';
  /** Whom the resource concerns by what it rests on. */
  readonly patients: readonly string[];
  /** It can be read by whoever may read one of several resources that point to it, also by callers confined to patients. */
  readonly isPointed?: boolean;
  /** Of a Provenance: some of its targets are the patient's, but outside the caller's scopes. */
  readonly isPart?: boolean;
}

export type GroundReads = Pick<StoreReads, 'readMany' | 'vread' | 'pointersTo'>;

interface Parts {
  readonly reads: GroundReads;
  readonly context: AccessContext;
  readonly values: ValueContext;
  /** `Type/id` of resources that do not count as pointing to something: those that are about to be decided. */
  readonly except?: ReadonlySet<string>;
}

/** For how long a Binary that nothing points to can be read by callers of limited reach: until its document is stored. */
const uploadMs = 3_600_000;
/** Resources that point to one Binary and are looked at; one that more point to is hidden from limited callers. */
const maxPointers = 50;
const idsPerQuery = 20;
/** How far Provenances of Binaries, and Binaries that Provenances point to, are followed. */
const maxDepth = 3;

const hidden: Ground = { verdict: 'hidden', patients: [] };

/**
 * Decides about resources by others, as they are now: a Binary by its security context
 * (https://hl7.org/fhir/R4/binary-definitions.html#Binary.securityContext) or, without one, by what points to it; a Provenance
 * by its targets, all of which the caller must see. Who is confined to a patient must see one, and the others must be that
 * patient's, for a scope may be for some categories only.
 */
export class Grounds {
  readonly #parts: Parts;
  readonly #isNarrow: boolean;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#isNarrow = isNarrow(parts.context);
  }

  /** True unless the caller reads whatever there is. */
  get isLimited(): boolean {
    const { limits = [] } = this.#parts.context;
    return this.#isNarrow || resourceTypes().some((type) => limits.some((limit) => limit.criterionFor(type, ['r']) !== undefined));
  }

  /**
   * What access to some versions rests on; versions of other types than Binary and Provenance are asked as they are.
   * @param contents what each version is judged by: of a deletion, what was deleted; missing if that is not known
   */
  async of(contents: ReadonlyMap<StoredVersion, StoredVersion | undefined>, depth = 0): Promise<ReadonlyMap<StoredVersion, Ground>> {
    const grounds = new Map<StoredVersion, Ground>();
    const pointed: StoredVersion[] = [];
    const named = new Map<StoredVersion, readonly (ResourceKey | undefined)[]>();
    for (const [version, content] of contents) {
      const resource = content === undefined || content.deleted ? undefined : content.resource();
      if (isIndirect(version.type) && resource === undefined) grounds.set(version, this.isLimited ? hidden : { verdict: 'shown', patients: version.patients() });
      else if (version.type === 'Binary' && resource?.['securityContext'] === undefined) pointed.push(version);
      else if (version.type === 'Binary') named.set(version, [this.contextIn(resource)]);
      else if (version.type === 'Provenance') named.set(version, this.#targetsIn(resource));
      else grounds.set(version, this.#own(version));
    }
    if (named.size > 0) for (const [version, ground] of await this.#ofNamed(named, depth)) grounds.set(version, ground);
    if (pointed.length > 0) for (const [version, ground] of await this.#ofPointed(pointed, depth)) grounds.set(version, ground);
    return grounds;
  }

  /** The security context that a resource names; undefined for one that is elsewhere or has a context itself. */
  contextIn(resource: ResourceJson | undefined): ResourceKey | undefined {
    const key = this.#keyIn(resource?.['securityContext']);
    return key === undefined || isIndirect(key.type) || key.type === 'AuditEvent' ? undefined : key;
  }

  /** True if the caller may read it. */
  mayRead(version: StoredVersion): boolean {
    const { context, values } = this.#parts;
    return reads(context, version.type) && sees(reachOf(context, version.type, ['r']), version, values);
  }

  #own(version: StoredVersion): Ground {
    return { verdict: this.#isWithheld(version) ? 'withheld' : this.mayRead(version) ? 'shown' : 'hidden', patients: version.patients() };
  }

  #isWithheld(version: StoredVersion): boolean {
    const { context, values } = this.#parts;
    const of = (context.limits ?? []).flatMap((limit) => limit.criterionFor(version.type, ['r']) ?? []);
    return of.length > 0 && !sees({ unlimited: false, criterion: { op: 'all', of } }, version, values);
  }

  /** What all the named resources permit. */
  async #ofNamed(named: ReadonlyMap<StoredVersion, readonly (ResourceKey | undefined)[]>, depth: number): Promise<Map<StoredVersion, Ground>> {
    const keys = new Map([...named.values()].flat().flatMap((key) => (key === undefined ? [] : [[keyOf(key), key] as const])));
    const found = keys.size === 0 || depth > maxDepth ? [] : await this.#parts.reads.readMany([...keys.values()]);
    const grounds = await this.of(new Map(found.map((version) => [version, version])), depth + 1);
    const byKey = new Map(found.map((version) => [keyOf(version), version]));
    return new Map([...named].map(([version, of]): [StoredVersion, Ground] => {
      const parts = of.map((key): Ground => {
        const target = key === undefined ? undefined : byKey.get(keyOf(key));
        // What was deleted is no security context, but it may have a past.
        if (target === undefined || (target.deleted && version.type === 'Binary')) return hidden;
        return grounds.get(target) ?? hidden;
      });
      const patients = [...new Set([...version.patients(), ...parts.flatMap((part) => part.patients)])];
      const isShown = parts.some(({ verdict }) => verdict === 'shown');
      if (parts.some(({ verdict }) => verdict === 'withheld')) return [version, { verdict: 'withheld', patients }];
      if (!isShown || parts.some((part) => part.verdict === 'hidden' && !(version.type === 'Provenance' && this.#isOwn(part)))) return [version, { verdict: 'hidden', patients }];
      return [version, { verdict: 'shown', patients, isPart: parts.some(({ verdict }) => verdict === 'hidden') }];
    }));
  }

  /** True if what a Provenance is about concerns none but the patients whom the caller's right to read it is confined to. */
  #isOwn({ patients }: Ground): boolean {
    const grants = this.#parts.context.grants.filter((grant) => (grant.type === '*' || grant.type === 'Provenance') && grant.permissions.has('r'));
    if (patients.length === 0 || !grants.every(isConfined)) return false;
    const own = grants.flatMap((grant) => [...(grant.patients ?? []), ...(grant.patient === undefined ? [] : [grant.patient])]);
    return patients.every((patient) => own.includes(patient));
  }

  async #ofPointed(binaries: readonly StoredVersion[], depth: number): Promise<Map<StoredVersion, Ground>> {
    const grounds = new Map<StoredVersion, Ground>();
    if (!this.isLimited) return new Map(binaries.map((version) => [version, { verdict: 'shown', patients: [] }]));
    const pointing = depth > maxDepth ? new Map<string, readonly StoredVersion[]>() : await this.#pointing([...new Set(binaries.map(({ id }) => id))]);
    const all = [...pointing.values()].flat();
    const of = await this.of(new Map(all.map((version) => [version, version])), depth + 1);
    for (const binary of binaries) {
      const found = pointing.get(binary.id);
      grounds.set(binary, found === undefined ? hidden : this.#ofPointers(binary, found, of));
    }
    return grounds;
  }

  /** One that may be read and still shows the pointer is enough; one that is withheld hides, for it tells whom the content concerns. */
  #ofPointers(binary: StoredVersion, pointing: readonly StoredVersion[], grounds: ReadonlyMap<StoredVersion, Ground>): Ground {
    if (pointing.length === 0) return Date.now() - binary.lastUpdated.getTime() < uploadMs ? { verdict: 'shown', patients: [] } : hidden;
    if (pointing.some((version) => grounds.get(version)?.verdict === 'withheld')) return { verdict: 'withheld', patients: [] };
    const shown = pointing.filter((version) => grounds.get(version)?.verdict === 'shown' && grounds.get(version)?.isPart !== true && this.#shows(version, binary.id));
    if (shown.length === 0) return hidden;
    return { verdict: 'shown', patients: [...new Set(shown.flatMap((version) => grounds.get(version)!.patients))], isPointed: true };
  }

  /** Where a role hides elements, a message that a resource was made from would tell of them. */
  #shows(version: StoredVersion, binary: string): boolean {
    const { context, values } = this.#parts;
    if (version.type === 'Provenance' && this.#targetsIn(version.resource()).some((key) => key === undefined || context.masks?.trees.has(key.type) === true)) return false;
    return binariesNamedIn(masked(version, context).resource(), values.baseUrl).some(({ id }) => id === binary);
  }

  /** What points to each of some Binaries; those of which not everything can be looked at are left out. */
  async #pointing(ids: readonly string[]): Promise<Map<string, readonly StoredVersion[]>> {
    const { reads: store, values, except } = this.#parts;
    const found = new Map<string, readonly StoredVersion[]>();
    for (let from = 0; from < ids.length; from += idsPerQuery) {
      const some = ids.slice(from, from + idsPerQuery);
      const limit = some.length * maxPointers + 1;
      const versions = await store.pointersTo(some, limit);
      if (versions === undefined) continue;
      if (versions.length === limit && some.length > 1) {
        for (const id of some) for (const [one, pointing] of await this.#pointing([id])) found.set(one, pointing);
        continue;
      }
      if (versions.length === limit) continue;
      const names = new Map(versions.map((version) => [version, new Set(binariesNamedIn(version.resource(), values.baseUrl).map(({ id }) => id))]));
      for (const id of some) found.set(id, versions.filter((version) => names.get(version)!.has(id) && except?.has(keyOf(version)) !== true));
    }
    return found;
  }

  #targetsIn(provenance: ResourceJson | undefined): readonly (ResourceKey | undefined)[] {
    const targets = provenance?.['target'];
    return Array.isArray(targets) ? targets.map((target) => this.#keyIn(target)) : [];
  }

  #keyIn(element: unknown): ResourceKey | undefined {
    const { reference } = (element ?? {}) as { readonly reference?: unknown };
    const value = typeof reference === 'string' ? referenceValue(reference, this.#parts.values.baseUrl) : undefined;
    return value?.type === undefined || value.id === undefined ? undefined : { type: value.type, id: value.id };
  }
}

/** True for types that are decided about by other resources. */
export function isIndirect(type: string): boolean {
  return type === 'Binary' || type === 'Provenance';
}

/** True if there are types of which grants or masks leave a part only. */
function isNarrow({ grants, masks }: AccessContext): boolean {
  if (masks !== undefined && (masks.trees.size > 0 || masks.closed.size > 0)) return true;
  const whole = new Set(grants.filter((grant) => grant.permissions.has('r') && !isConfined(grant) && grant.criteria === undefined).map(({ type }) => type));
  return !whole.has('*') && resourceTypes().some((type) => type !== 'AuditEvent' && !whole.has(type));
}

function reads({ grants }: AccessContext, type: string): boolean {
  return grants.some((grant) => (grant.type === '*' || grant.type === type) && grant.permissions.has('r'));
}

function keyOf({ type, id }: ResourceKey): string {
  return `${type}/${id}`;
}
