import { searchParamsOf } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { CodeSystemIndex } from '../../resources/terminology/code-system.ts';
import { needsOf, TerminologyCollection, type Posted } from '../../resources/terminology/collection.ts';
import type { Terminology, TerminologyCode } from '../../resources/terminology/contract.ts';
import { membersOf } from '../../resources/terminology/expand.ts';
import { splitCanonical } from '../../resources/terminology/source.ts';
import type { TerminologyResource, TerminologyType } from '../../resources/terminology/types.ts';
import type { Store, StoredVersion } from '../storage/contract.ts';
import type { AccessContext } from './context.ts';
import { permitted, reachableTypes } from './decide.ts';

/** A canonical reference without its version. */
export interface Wanted {
  readonly type: TerminologyType;
  readonly url: string;
}

/** Finds posted resources by canonical URL, all versions: those that the caller may search. */
export type FindByUrl = (type: TerminologyType, urls: readonly string[]) => Promise<readonly StoredVersion[]>;

/** Codes that a search may be narrowed to. */
const maxSearchCodes = 10_000;
/** Canonical references that one question follows. */
const maxFollowed = 500;
const maxRounds = 25;
/** Versions of the URLs of one round that are looked at. */
export const maxFound = 200;

/**
 * Posted terminology, made ready once for each version of a resource. It holds no decision: what a caller may use is found
 * anew, under that caller's access, for each question.
 */
export class TerminologyCache {
  readonly #entries = new Map<string, Posted>();
  readonly #maxBytes: number;
  #bytes = 0;
  readonly #sizes = new Map<string, number>();

  /** @param maxBytes of JSON that what is kept was parsed from. Default 64 MB */
  constructor(maxBytes = 64_000_000) {
    this.#maxBytes = maxBytes;
  }

  of(version: StoredVersion): Posted {
    const key = `${version.type}/${version.id}/${version.versionId}`;
    const known = this.#entries.get(key) ?? { resource: version.resource() as unknown as TerminologyResource };
    // The last used is the last to go.
    this.#forget(key);
    this.#entries.set(key, known);
    this.#sizes.set(key, version.bytes.length);
    this.#bytes += version.bytes.length;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#forget(oldest);
    }
    return known;
  }

  #forget(key: string): void {
    this.#bytes -= this.#sizes.get(key) ?? 0;
    this.#sizes.delete(key);
    this.#entries.delete(key);
  }
}

/**
 * Gathers what a question needs: the resources that it names, and what those refer to, round by round.
 * @param given resources that came with the question; they are used before posted ones
 * @throws InterlockError `too-costly`
 */
export async function collectTerminology(find: FindByUrl, cache: TerminologyCache, wanted: readonly Wanted[], given: readonly TerminologyResource[] = []): Promise<TerminologyCollection> {
  const collection = new TerminologyCollection();
  const followed = new Set<string>();
  for (const resource of given) if (resource.url !== undefined) followed.add(keyOf({ type: resource.resourceType, url: resource.url }));
  for (const resource of given) collection.add({ resource });
  let next = [...wanted, ...given.flatMap(needsOf)];
  for (let round = 0; next.length > 0; round++) {
    const fresh = [...new Map(next.filter((one) => !followed.has(keyOf(one))).map((one) => [keyOf(one), one])).values()];
    for (const one of fresh) followed.add(keyOf(one));
    if (followed.size > maxFollowed || round >= maxRounds) throw new InterlockError('too-costly', { detail: 'The terminology refers to too many other resources.' });
    next = [];
    for (const type of ['ValueSet', 'CodeSystem', 'ConceptMap'] as const) {
      const urls = fresh.filter((one) => one.type === type).map(({ url }) => url);
      if (urls.length === 0) continue;
      for (const version of await find(type, urls)) {
        const posted = cache.of(version);
        collection.add(posted);
        next.push(...needsOf(posted.resource));
      }
      for (const url of urls) {
        const own = type === 'ValueSet' ? collection.valueSet(url) : type === 'ConceptMap' ? collection.conceptMap(url) : undefined;
        if (own !== undefined) next.push(...needsOf(own));
      }
    }
  }
  return collection;
}

function keyOf({ type, url }: Wanted): string {
  return `${type} ${url}`;
}

/** True if the caller may search posted resources of the type: else shipped content is all that it has. */
export function maySearch(context: AccessContext, type: TerminologyType): boolean {
  return reachableTypes(context, ['s']).includes(type);
}

/** Shipped and posted terminology, for searches and operations. */
export class TerminologyService {
  readonly cache = new TerminologyCache();
  readonly #store: Pick<Store, 'search'>;

  constructor(store: Pick<Store, 'search'>) {
    this.#store = store;
  }

  /**
   * Terminology as one caller's searches see it (`:in`, `:not-in`, `:above`, `:below`): shipped content, and what of the
   * posted content the caller may search. That it was used is on record as part of the search.
   */
  of(context: AccessContext): Terminology {
    const find: FindByUrl = async (type, urls) => this.#find(context, type, urls);
    const family = async (system: string, code: string, relatives: (index: CodeSystemIndex, code: string) => ReadonlySet<string>): Promise<readonly TerminologyCode[]> => {
      const { url, version } = splitCanonical(system);
      const index = (await collectTerminology(find, this.cache, [{ type: 'CodeSystem', url }])).codeSystem(url, version);
      const found = index?.find(code)?.concept.code;
      if (index === undefined || found === undefined) return [{ system: url, code }];
      const codes = [found, ...relatives(index, found)];
      if (codes.length > maxSearchCodes) throw new InterlockError('too-costly', { detail: 'The code has more relatives than a search takes.' });
      return codes.map((one) => codeOf(url, one, index.find(one)?.concept.display));
    };
    return {
      codesOf: async (canonical) => {
        const { url, version } = splitCanonical(canonical);
        const collection = await collectTerminology(find, this.cache, [{ type: 'ValueSet', url }]);
        const valueSet = collection.valueSet(url, version);
        if (valueSet === undefined) throw new InterlockError('not-found', { detail: 'The value set is not known here.' });
        return [...membersOf(valueSet, collection, { maxCodes: maxSearchCodes }).values()].map(({ system, code, display }) => codeOf(system, code, display));
      },
      descendantsOf: async (system, code) => family(system, code, (index, one) => index.descendants(one)),
      ancestorsOf: async (system, code) => family(system, code, (index, one) => index.ancestors(one)),
    };
  }

  async #find(context: AccessContext, type: TerminologyType, urls: readonly string[]): Promise<readonly StoredVersion[]> {
    if (!maySearch(context, type)) return [];
    const param = searchParamsOf(type).get('url')!;
    const where = permitted(context, [type], { op: 'param', param, of: urls.map((value) => ({ kind: 'uri', value })) });
    const page = await this.#store.search({ types: [type], where, sort: [], count: maxFound, total: 'none' });
    if (page.next !== undefined) throw new InterlockError('too-costly', { detail: 'A terminology resource has too many versions.' });
    return page.matches;
  }
}

function codeOf(system: string, code: string, display: string | undefined): TerminologyCode {
  return { system, code, ...(display === undefined ? {} : { display }) };
}
