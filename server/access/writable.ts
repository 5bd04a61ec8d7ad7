import { InterlockError } from '../../resources/outcome/error.ts';
import type { ValueContext } from '../../resources/search-values/index.ts';
import type { ResourceJson, StoredVersion } from '../storage/contract.ts';
import type { AccessContext, Permission } from './context.ts';
import { isOnlyLimited, reachOf, reachToWrite } from './decide.ts';
import { isGoverned, type SecurityContexts } from './security-context.ts';
import { assertReaches, notFound, versionToPatch, versionToReplace } from './visible.ts';

interface Parts {
  readonly context: AccessContext;
  readonly values: ValueContext;
  readonly contexts: SecurityContexts;
  /** Reads as the store does, or a transaction. */
  readonly read: (type: string, id: string) => Promise<StoredVersion | undefined>;
  /** Takes the patients whom a write concerns by its security context, by `Type/id`. */
  readonly concerned: Map<string, readonly string[]>;
}

/** Decides about writes of what security contexts govern as of all else, inside a transaction as outside. */
export class Writable {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Checks that a limited caller sees what it is about to replace or delete.
   * @returns the version that must still be current then, if any
   * @throws InterlockError `forbidden`, `not-found`, `version-stale`
   */
  async expected(type: string, id: string, permissions: readonly Permission[], ifMatch: number | undefined): Promise<number | undefined> {
    const { context, values, contexts, read } = this.#parts;
    if (isGoverned(type)) return this.#expectedOfGoverned(type, id, permissions, ifMatch);
    const reach = reachToWrite(context, type, permissions);
    const isIndirect = contexts.governs(type);
    if (reach.unlimited && !isIndirect) return ifMatch;
    const current = await read(type, id);
    if (isIndirect && current !== undefined && (await contexts.visible([current], ['r'])).length === 0) throw notFound(true);
    return reach.unlimited ? ifMatch : versionToReplace(reach, current, ifMatch, values, permissions.includes('u') && isOnlyLimited(context, type, permissions));
  }

  async #expectedOfGoverned(type: string, id: string, permissions: readonly Permission[], ifMatch: number | undefined): Promise<number | undefined> {
    const { context, contexts, read, concerned } = this.#parts;
    const { unlimited } = reachToWrite(context, type, permissions);
    const current = await read(type, id);
    const [seen] = await contexts.visible(present(current), permissions);
    // Nobody who is confined creates at an id of its own: whether it exists would show.
    if (seen === undefined && (current !== undefined || !unlimited)) throw notFound(current !== undefined);
    if (seen !== undefined) concerned.set(`${type}/${id}`, contexts.patientsOf(seen));
    if (unlimited) return ifMatch;
    if (seen?.deleted !== false) throw notFound(false);
    if (ifMatch !== undefined && ifMatch !== seen.versionId) throw new InterlockError('version-stale');
    return seen.versionId;
  }

  /**
   * The version that the caller may change in part.
   * @throws InterlockError `forbidden`, `not-found`, `deleted`, `version-stale`
   */
  async toPatch(type: string, id: string, ifMatch: number | undefined): Promise<StoredVersion> {
    const { context, values, contexts, read } = this.#parts;
    const reaches = [reachToWrite(context, type, ['u']), reachOf(context, type, ['r'])];
    const current = await read(type, id);
    if (!contexts.governs(type)) return versionToPatch(reaches, current, ifMatch, values);
    const [seen] = await contexts.visible(await contexts.visible(present(current), ['r']), ['u']);
    if (seen === undefined && current !== undefined) throw notFound(true);
    return versionToPatch([], seen, ifMatch, values);
  }

  /** Checks that what is about to be written is within the caller's permissions. @throws InterlockError `forbidden` */
  async assertMayWrite(resource: ResourceJson, id: string, permissions: readonly Permission[]): Promise<void> {
    const { context, values, contexts, concerned } = this.#parts;
    const type = resource.resourceType;
    const reach = reachToWrite(context, type, permissions);
    if (isGoverned(type)) concerned.set(`${type}/${id}`, await contexts.assertMayWrite(resource, id, permissions));
    else assertReaches(reach, resource, id, values);
  }
}

function present(version: StoredVersion | undefined): StoredVersion[] {
  return version === undefined ? [] : [version];
}
