import { InterlockError } from '../../resources/outcome/error.ts';
import type { ValueContext } from '../../resources/search-values/index.ts';
import { binariesNamedIn } from '../search/pointers.ts';
import type { ResourceJson, ResourceKey, StoredVersion, StoreReads } from '../storage/contract.ts';
import type { AccessContext } from './context.ts';
import { reachOf, type Reach } from './decide.ts';
import { referencesIn, type LocalReference } from './references-in.ts';
import { SecurityContexts } from './security-context.ts';
import { sees } from './visible.ts';

/** How a reference to nothing is refused; `off`: it is not, and what others refer to may be deleted. */
export type ReferenceIntegrity = 'off' | '400' | '422';

/** A resource about to be written, or just written in a transaction that is not over. */
export interface Referring extends ResourceKey {
  readonly resource: ResourceJson;
  /** What it was before, if anything. */
  readonly previous: () => Promise<StoredVersion | undefined>;
}

interface Parts {
  readonly reads: Pick<StoreReads, 'readMany' | 'vread' | 'standing' | 'referrers' | 'pointersTo'>;
  readonly context: AccessContext;
  readonly values: ValueContext;
  readonly level: ReferenceIntegrity;
}

/** Referrers that are looked at to tell their types. */
const maxReferrers = 50;

/**
 * Referential integrity, as one caller may be told of it (docs/decisions/0009-references-are-checked-as-the-caller.md): a
 * target that is out of the caller's sight counts as missing, and of a type that the caller can neither read nor search
 * nothing is said, for it is not checked.
 */
export class Integrity {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** True if nothing is to be checked. */
  get isOff(): boolean {
    return this.#parts.level === 'off';
  }

  /**
   * Refuses references to what does not exist, is deleted, or lacks the version named. A reference that the resource had
   * before may stay. One query, none if there is nothing to check; one more before a refusal.
   * @throws InterlockError `reference-invalid` or `reference-missing`, by configuration, with the element
   */
  async assertTargets(written: readonly Referring[]): Promise<void> {
    const own = new Set(written.map(keyOf));
    await this.#assertPointers(written, own);
    if (this.isOff) return;
    const checks = written.flatMap((by) => referencesIn(by.resource, this.#parts.values.baseUrl).map((to) => ({ by, to })));
    const open = checks.filter(({ to }) => (!own.has(keyOf(to)) || to.version !== undefined) && this.#reach(to.type) !== undefined);
    if (open.length === 0) return;
    const exists = await this.#lookUp(open.map(({ to }) => to), own);
    for (const { by, to } of open) {
      if (exists(to)) continue;
      const previous = await by.previous();
      const had = previous === undefined || previous.deleted ? [] : referencesIn(previous.resource(), this.#parts.values.baseUrl);
      if (had.some((one) => keyOf(one) === keyOf(to) && one.version === to.version)) continue;
      throw new MissingReference(this.#parts.level === '400' ? 'reference-invalid' : 'reference-missing', by, to.expression);
    }
  }

  /**
   * Refuses a deletion that would leave references to nothing. Tells of referrers by their types, and only of types that
   * the caller may search.
   * @param deleted resources about to be deleted, or just deleted in a transaction that is not over
   * @throws InterlockError `referenced`
   */
  async assertUnreferenced(deleted: readonly ResourceKey[]): Promise<void> {
    if (this.isOff || deleted.length === 0) return;
    const own = new Set(deleted.map(keyOf));
    const referrers = (await this.#parts.reads.referrers(deleted, maxReferrers)).filter((version) => !own.has(keyOf(version)));
    if (referrers.length === 0) return;
    const seen = new Set(await this.#seen(referrers, ['s']));
    const types = [...new Set(referrers.filter((version) => seen.has(version)).map(({ type }) => type))].sort();
    const names = referrers.some((version) => !seen.has(version)) ? [...types, 'another resource'] : types;
    const of = deleted.find((one) => referrers.some((version) => referencesIn(version.resource(), this.#parts.values.baseUrl).some((to) => keyOf(to) === keyOf(one))));
    throw new ReferencedResource(of, `Referred to by: ${names.join(', ')}.`);
  }

  /**
   * A Binary is shown to people of limited reach by what points to it, and so they point to no other than one that they see,
   * whatever is configured. Services are trusted with this: those that only write could not name what they wrote.
   */
  async #assertPointers(written: readonly Referring[], own: ReadonlySet<string>): Promise<void> {
    const { context, reads, values } = this.#parts;
    if (context.actor.kind !== 'user') return;
    const checks = written.flatMap((by) => binariesNamedIn(by.resource, values.baseUrl).map(({ id, expression }) => ({ by, id, expression }))).filter(({ id }) => !own.has(`Binary/${id}`));
    const contexts = this.#contexts(own);
    if (checks.length === 0 || !contexts.isLimited) return;
    const found = await reads.readMany([...new Set(checks.map(({ id }) => id))].map((id) => ({ type: 'Binary', id })));
    const visible = new Set((await contexts.visible(found.filter(({ deleted }) => !deleted), ['r', 's', 'c', 'u'])).map(({ id }) => id));
    for (const { by, id, expression } of checks) {
      if (visible.has(id)) continue;
      const previous = await by.previous();
      if (previous?.deleted === false && binariesNamedIn(previous.resource(), values.baseUrl).some((had) => had.id === id)) continue;
      throw new MissingReference(this.#parts.level === '400' ? 'reference-invalid' : 'reference-missing', by, expression);
    }
  }

  /** Tells whether a target exists, as far as the caller sees it. */
  async #lookUp(targets: readonly LocalReference[], own: ReadonlySet<string>): Promise<(to: LocalReference) => boolean> {
    const contexts = this.#contexts();
    const keys = [...new Map(targets.map((to) => [keyOf(to), to])).values()];
    const limited = keys.filter(({ type, id }) => !own.has(`${type}/${id}`) && (this.#reach(type)?.unlimited !== true || contexts.governs(type)));
    if (limited.length === 0) {
      const standing = await this.#parts.reads.standing(keys);
      return (to) => meets(to, standing.get(keyOf(to)));
    }
    const found = await this.#parts.reads.readMany(keys);
    const isLimited = new Set(limited.map(keyOf));
    const seen = new Set(await this.#seen(found.filter((version) => isLimited.has(keyOf(version))), ['r', 's']));
    const visible = new Map(found.filter((version) => !isLimited.has(keyOf(version)) || seen.has(version)).map((version) => [keyOf(version), version]));
    return (to) => meets(to, visible.get(keyOf(to)));
  }

  async #seen(versions: readonly StoredVersion[], permissions: readonly ('r' | 's')[]): Promise<StoredVersion[]> {
    const contexts = this.#contexts();
    const permitted = versions.filter(({ type }) => this.#reach(type, permissions) !== undefined);
    const visible = await contexts.visible(permitted, permissions);
    return visible.filter((version) => contexts.governs(version.type) || sees(this.#reach(version.type, permissions)!, version, this.#parts.values));
  }

  #contexts(except?: ReadonlySet<string>): SecurityContexts {
    const { reads, context, values } = this.#parts;
    return new SecurityContexts(reads, context, values, except);
  }

  /** Undefined if the caller has none of the permissions on the type. The audit trail is kept elsewhere: it is not asked. */
  #reach(type: string, permissions: readonly ('r' | 's')[] = ['r', 's']): Reach | undefined {
    const { context } = this.#parts;
    const isHeld = type !== 'AuditEvent' && context.grants.some((grant) => (grant.type === '*' || grant.type === type) && permissions.some((permission) => grant.permissions.has(permission)));
    return isHeld ? reachOf(context, type, permissions) : undefined;
  }
}

/** A refusal because of a reference; `of` is the resource that holds it. */
export class MissingReference extends InterlockError {
  readonly of: ResourceKey;

  constructor(code: 'reference-invalid' | 'reference-missing', of: ResourceKey, expression: string) {
    super(code, { expression });
    this.of = of;
  }
}

/** A refusal to delete `of`. */
export class ReferencedResource extends InterlockError {
  readonly of: ResourceKey | undefined;

  constructor(of: ResourceKey | undefined, detail: string) {
    super('referenced', { detail });
    this.of = of;
  }
}

function keyOf({ type, id }: ResourceKey): string {
  return `${type}/${id}`;
}

/** A version that is no longer current stays readable after a deletion. */
function meets({ version }: LocalReference, found: { readonly versionId: number; readonly deleted: boolean } | undefined): boolean {
  if (found === undefined) return false;
  if (version === undefined) return !found.deleted;
  if (!/^[1-9][0-9]{0,8}$/.test(version)) return false;
  return Number(version) < found.versionId || (Number(version) === found.versionId && !found.deleted);
}
