import { extractSearchValues, type ValueContext } from '../../resources/search-values/index.ts';
import type { Criterion, IncludeSpec, ParsedSearch } from '../search/criteria.ts';
import type { Store, StoredVersion } from '../storage/contract.ts';
import type { AccessContext } from './context.ts';
import { reachOf, type Reach } from './decide.ts';
import { sees } from './visible.ts';

interface IncludeServices {
  readonly store: Store;
  readonly values: ValueContext;
}

/** Bound on what one page may pull in. */
const maxIncluded = 1_000;

/**
 * Resources that the matches refer to (`_include`) or that refer to them (`_revinclude`), each once and only if the
 * caller's own reach covers it (https://hl7.org/fhir/R4/search.html#include).
 */
export async function includedBy({ store, values }: IncludeServices, context: AccessContext, search: ParsedSearch, matches: readonly StoredVersion[]): Promise<StoredVersion[]> {
  const seen = new Set(matches.map(keyOf));
  const included: StoredVersion[] = [];
  const add = (versions: readonly StoredVersion[], reach: (type: string) => Reach | undefined) => {
    for (const version of versions) {
      const limit = reach(version.type);
      if (limit === undefined || version.deleted || seen.has(keyOf(version)) || included.length >= maxIncluded || !sees(limit, version, values)) continue;
      seen.add(keyOf(version));
      included.push(version);
    }
  };
  const reach = (type: string) => reachIfAny(context, type);
  const wanted = search.include.flatMap((spec) => matches.flatMap((version) => (version.type === spec.sourceType ? targetsOf(version, spec, values) : [])));
  if (wanted.length > 0) add(await store.readMany(wanted.slice(0, maxIncluded)), reach);
  for (const spec of search.revInclude) {
    const limit = reach(spec.sourceType);
    const targets = matches.filter((version) => spec.targetType === undefined || version.type === spec.targetType);
    if (limit === undefined || targets.length === 0) continue;
    const refers: Criterion = { op: 'param', param: spec.param, of: targets.map(({ type, id }) => ({ kind: 'reference', type, id })) };
    const where: Criterion = limit.unlimited ? refers : { op: 'all', of: [refers, limit.criterion] };
    add((await store.search({ types: [spec.sourceType], where, sort: [], count: maxIncluded, total: 'none' })).matches, reach);
  }
  return included;
}

function keyOf({ type, id }: StoredVersion): string {
  return `${type}/${id}`;
}

function reachIfAny(context: AccessContext, type: string): Reach | undefined {
  if (!context.grants.some((grant) => (grant.type === '*' || grant.type === type) && (grant.permissions.has('r') || grant.permissions.has('s')))) return undefined;
  return reachOf(context, type, ['r', 's']);
}

function targetsOf(version: StoredVersion, spec: IncludeSpec, context: ValueContext): { type: string; id: string }[] {
  const values = extractSearchValues(version.resource(), context).get(spec.param.code) ?? [];
  return values.flatMap((value) =>
    value.kind === 'reference' && value.type !== undefined && value.id !== undefined && (spec.targetType === undefined || value.type === spec.targetType) ? [{ type: value.type, id: value.id }] : [],
  );
}
