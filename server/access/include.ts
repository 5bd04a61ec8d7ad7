import { InterlockError } from '../../resources/outcome/error.ts';
import type { SearchParam, ValueContext } from '../../resources/search-values/index.ts';
import type { Criterion, IncludeSpec, ParsedSearch } from '../search/criteria.ts';
import type { Store, StoredVersion } from '../storage/contract.ts';
import type { AuditEventReader } from './audit-events.ts';
import type { AccessContext } from './context.ts';
import { reachableTypes, reachOf, type Reach } from './decide.ts';
import { keyOfTarget, paramsOf, targetsOf, type Target } from './include-targets.ts';
import { masked } from './mask.ts';
import { isReadable } from './mask-search.ts';
import type { SecurityContexts } from './security-context.ts';
import { sees } from './visible.ts';

interface IncludeServices {
  readonly store: Store;
  readonly auditEvents: AuditEventReader;
  readonly values: ValueContext;
  /** What is decided by other resources leads nowhere unless the caller sees it. */
  readonly contexts: SecurityContexts;
}

/** What a page pulls in. */
export interface Included {
  readonly versions: readonly StoredVersion[];
  /** There is more than a page may pull in. */
  readonly isCut: boolean;
}

/** Bounds on what one page may pull in: resources, rounds of `:iterate`, references that are looked up at once. */
const maxIncluded = 1_000;
const maxRounds = 16;
const maxReferences = 50_000;
/** Searches of types that refer to the matches, side by side. */
const parallel = 8;

/**
 * Resources that the matches refer to (`_include`) or that refer to them (`_revinclude`), and with `:iterate` those that
 * the included ones refer to and so on: each once and only if the caller's own reach covers it
 * (https://hl7.org/fhir/R4/search.html#include). A reference to a version brings that version.
 * @throws InterlockError `too-costly`
 */
export async function includedBy(services: IncludeServices, context: AccessContext, search: Pick<ParsedSearch, 'include' | 'revInclude'>, matches: readonly StoredVersion[]): Promise<Included> {
  const { store, values, contexts } = services;
  const seen = new Set(matches.map(keyOf));
  const versions: StoredVersion[] = [];
  const reaches = new Map<string, Reach | undefined>();
  const reach = (type: string): Reach | undefined => {
    if (!reaches.has(type)) reaches.set(type, reachIfAny(context, type));
    return reaches.get(type);
  };
  let isCut = false;
  const add = async (found: readonly StoredVersion[]): Promise<void> => {
    for (const version of await contexts.visible(found.filter(({ deleted }) => !deleted), ['r', 's'])) {
      const limit = reach(version.type);
      if (limit === undefined || seen.has(keyOf(version)) || !sees(limit, version, values)) continue;
      isCut ||= versions.length >= maxIncluded;
      if (isCut) return;
      seen.add(keyOf(version));
      versions.push(version);
    }
  };

  let from = matches;
  for (let round = 0; from.length > 0 && !isCut; round += 1) {
    if (round === maxRounds) return { versions, isCut: true };
    const known = versions.length;
    const asked = (specs: readonly IncludeSpec[]) => (round === 0 ? specs : specs.filter(({ iterates }) => iterates === true));
    const include = asked(search.include);
    const wanted = new Map<string, Target>();
    for (const version of from) for (const target of targetsOf(masked(version, context), include, values)) if (reach(target.type) !== undefined) wanted.set(keyOfTarget(target), target);
    if (wanted.size > maxReferences) throw tooCostly();
    for (const targets of batches([...wanted.values()].filter(({ versionId }) => versionId === undefined))) if (!isCut) await add(inOrder(targets, await store.readMany(targets)));
    for (const { type, id, versionId } of wanted.values()) {
      if (versionId === undefined || isCut) continue;
      const version = await store.vread(type, id, versionId);
      // Where that version is unknown, the resource as it is now is better than nothing.
      await add(version === undefined ? await store.readMany([{ type, id }]) : [version]);
    }
    const revInclude = asked(search.revInclude);
    if (revInclude.length > 0 && !isCut) for await (const found of referring(services, context, reach, revInclude, from)) await add(found);
    from = versions.slice(known);
  }
  return { versions, isCut };
}

function tooCostly(): InterlockError {
  return new InterlockError('too-costly', { detail: 'The includes lead to too many references; ask for fewer, or for smaller pages.' });
}

function keyOf({ type, id, versionId }: StoredVersion): string {
  return `${type}/${id}/${versionId}`;
}

function reachIfAny(context: AccessContext, type: string): Reach | undefined {
  if (!context.grants.some((grant) => (grant.type === '*' || grant.type === type) && (grant.permissions.has('r') || grant.permissions.has('s')))) return undefined;
  return reachOf(context, type, ['r', 's']);
}

/** As the matches refer to them: the order of their storage is by chance. */
function inOrder(targets: readonly Target[], versions: readonly StoredVersion[]): readonly StoredVersion[] {
  const places = new Map(targets.map(({ type, id }, index) => [`${type}/${id}`, index]));
  return [...versions].sort((one, other) => places.get(`${one.type}/${one.id}`)! - places.get(`${other.type}/${other.id}`)!);
}

function* batches<T>(items: readonly T[]): Generator<T[]> {
  for (let from = 0; from < items.length; from += maxIncluded) yield items.slice(from, from + maxIncluded);
}

/** What refers to some versions: one search for each type that does, several at a time. */
async function* referring({ store, auditEvents }: IncludeServices, context: AccessContext, reach: (type: string) => Reach | undefined, specs: readonly IncludeSpec[], to: readonly StoredVersion[]): AsyncGenerator<readonly StoredVersion[]> {
  // The trail names everything; it is brought only if it is named itself.
  const named = specs.map(({ sourceType }) => sourceType).filter((type) => type !== '*');
  const types = named.length < specs.length ? [...reachableTypes(context, ['r', 's']).filter((type) => type !== 'AuditEvent'), ...named] : named;
  let references = 0;
  const refersTo = (param: SearchParam, targetType: string | undefined): Criterion[] => {
    const targets = to.filter(({ type }) => (targetType === undefined || type === targetType) && (param.target?.includes(type) ?? true));
    references += targets.length;
    if (references > maxReferences) throw tooCostly();
    return targets.length === 0 ? [] : [{ op: 'param', param, of: targets.map(({ type, id }) => ({ kind: 'reference', type, id })) }];
  };
  const searches: { type: string; where: Criterion }[] = [];
  for (const type of new Set(types)) {
    const limit = reach(type);
    const of = limit === undefined ? [] : specs.flatMap((spec) => (type === 'AuditEvent' && spec.sourceType === '*' ? [] : paramsOf(type, spec).filter((param) => isReadable(context, type, param))).flatMap((param) => refersTo(param, spec.targetType)));
    if (of.length === 0) continue;
    const refers: Criterion = { op: 'any', of };
    searches.push({ type, where: limit!.unlimited ? refers : { op: 'all', of: [refers, limit!.criterion] } });
  }
  while (searches.length > 0) {
    const pages = searches.splice(0, parallel).map(async ({ type, where }) => (type === 'AuditEvent' ? auditEvents : store).search({ types: [type], where, sort: [], count: maxIncluded + 1, total: 'none' }));
    for (const { matches } of await Promise.all(pages)) yield matches;
  }
}
