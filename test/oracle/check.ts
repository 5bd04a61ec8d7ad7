import type { Bundle, FhirCaller, Json } from '../support/fhir.ts';
import { answerOf, type Recorded } from './oracle.ts';
import { makeQuery } from './queries.ts';
import { queryUrl, type Query } from './query.ts';
import { Random } from './random.ts';
import { makers, makeResources, type Resource } from './resources.ts';

/** A search that was not answered as the oracle says. */
export interface Difference {
  readonly url: string;
  /** How the answer differs, in ids of generated resources. */
  readonly detail: string;
}

/** Someone who searches, and the part of the world that they may see. */
export interface Searcher {
  readonly name: string;
  readonly caller: FhirCaller;
  readonly types: readonly string[];
  readonly sees: (resource: Resource) => boolean;
}

/**
 * Stores generated resources, updates some and deletes some.
 * @returns what is left, in order of recording
 */
export async function load(caller: FhirCaller, random: Random, scale: number): Promise<Recorded[]> {
  const world = new Map<string, Recorded>();
  let order = 0;
  const put = async (resource: Resource): Promise<void> => {
    const answer = await caller.send('PUT', `${resource.resourceType}/${resource.id}`, resource);
    if (answer.status !== 200 && answer.status !== 201) throw new Error(`PUT was answered by ${answer.status}: ${answer.body.toString()}`);
    const { meta } = answer.json() as Json & { readonly meta: { readonly lastUpdated: string } };
    world.set(`${resource.resourceType}/${resource.id}`, { resource, order: order++, lastUpdatedMs: Date.parse(meta.lastUpdated) });
  };
  const resources = makeResources(random, scale);
  for (const resource of resources) await put(resource);
  const ids = (type: string): string | undefined => random.pick(resources.filter(({ resourceType }) => resourceType === type)).id;
  for (const { resourceType, id } of resources.filter(() => random.chance(0.1))) await put({ resourceType, id, ...makers[resourceType]!(random, ids) });
  // What nothing refers to can go.
  for (const { resourceType, id } of resources.filter(({ resourceType: type }) => (type === 'Observation' || type === 'RiskAssessment') && random.chance(0.1))) {
    const { status } = await caller.send('DELETE', `${resourceType}/${id}`);
    if (status !== 204) throw new Error(`DELETE was answered by ${status}`);
    world.delete(`${resourceType}/${id}`);
  }
  return [...world.values()];
}

/** Asks `count` searches at random, `parallel` at a time, and compares each answer with the oracle's. */
export async function ask(searchers: readonly Searcher[], world: readonly Recorded[], options: { readonly seed: number; readonly count: number; readonly parallel: number; readonly onProgress?: (done: number) => void }): Promise<{ differences: Difference[]; found: number }> {
  const random = new Random(options.seed);
  const worlds = new Map(searchers.map((searcher) => [searcher, world.filter(({ resource }) => searcher.types.includes(resource.resourceType) && searcher.sees(resource))]));
  const differences: Difference[] = [];
  let found = 0;
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < options.count && differences.length < 20) {
      next++;
      const searcher = random.pick(searchers);
      const visible = worlds.get(searcher)!;
      const query = makeQuery(random, { types: searcher.types, resources: world.map(({ resource }) => resource) });
      const expected = answerOf(query, visible);
      if (expected.length > 0) found++;
      const detail = await differenceOf(searcher.caller, query, expected);
      if (detail !== undefined) differences.push(await smallest(searcher, query, visible, detail));
      options.onProgress?.(next);
    }
  };
  await Promise.all(Array.from({ length: options.parallel }, work));
  return { differences, found };
}

/** Ids over all pages, in their order, and the total wherever one is given. */
async function differenceOf(caller: FhirCaller, query: Query, expected: readonly string[]): Promise<string | undefined> {
  const ids: string[] = [];
  let link: string | undefined = queryUrl(query);
  while (link !== undefined) {
    const answer = await caller.send('GET', link);
    if (answer.status !== 200) return `answered by ${answer.status}: ${answer.body.toString().slice(0, 300)}`;
    const page = answer.json() as Bundle;
    if (page.total !== undefined && page.total !== expected.length) return `a total of ${page.total} instead of ${expected.length}`;
    if (page.total === undefined && query.total === 'accurate') return 'no total';
    ids.push(...(page.entry ?? []).filter(({ search }) => search?.mode === 'match').map(({ resource }) => resource!.id));
    if (page.entry?.some(({ search }) => search?.mode === 'outcome') === true) return 'a parameter was ignored';
    link = page.link?.find(({ relation }) => relation === 'next')?.url;
    if (ids.length > 10_000) return 'pages without end';
  }
  if (ids.join() === expected.join()) return undefined;
  const [missing, extra] = [expected.filter((id) => !ids.includes(id)), ids.filter((id) => !expected.includes(id))];
  return missing.length + extra.length === 0 ? `another order: ${ids.slice(0, 8).join()} instead of ${expected.slice(0, 8).join()}` : `missing ${missing.slice(0, 5).join() || 'none'}, not expected ${extra.slice(0, 5).join() || 'none'}`;
}

/** Leaves out criteria and sort keys as long as the answer still differs. */
async function smallest({ name, caller }: Searcher, query: Query, visible: readonly Recorded[], detail: string): Promise<Difference> {
  let [least, why] = [query, detail];
  const shorter = (of: Query): Query[] => [...of.where.map((_, index) => ({ ...of, where: of.where.filter((__, other) => other !== index) })), ...of.sort.map((_, index) => ({ ...of, sort: of.sort.filter((__, other) => other !== index) }))];
  for (let changed = true; changed; ) {
    changed = false;
    for (const candidate of shorter(least)) {
      const still = await differenceOf(caller, candidate, answerOf(candidate, visible));
      if (still === undefined) continue;
      [least, why, changed] = [candidate, still, true];
      break;
    }
  }
  return { url: `${decodeURIComponent(queryUrl(least))} as ${name}`, detail: why };
}
