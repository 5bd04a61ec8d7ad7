import { InterlockError } from '../../../resources/outcome/error.ts';
import { parseSearch } from '../../search/parse.ts';
import type { StoredVersion } from '../../storage/contract.ts';
import { bundleBytes, searchEntry } from '../bundles.ts';
import { fhirJson } from '../responses.ts';
import type { Operation } from './operation.ts';

/** Observations that one call looks at, newest first; more are refused, never half answered. */
const maxExamined = 10_000;
const pageSize = 1_000;
const defaultMax = 1;
const largestMax = 1_000;

/** Result parameters that would change what a group is or cannot be told of groups. */
const notHere = /^_(?:sort|count|include|revinclude|total|summary|elements|cursor|contained|containedType)(?::|$)/;

/**
 * The last Observations of each kind (https://hl7.org/fhir/R4/operation-observation-lastn.html): those that a search of one
 * subject finds, grouped by code, newest first. Codes that one Observation gives as translations of each other are one kind.
 */
export const lastn: Operation = {
  name: 'lastn',
  definition: 'http://hl7.org/fhir/OperationDefinition/Observation-lastn',
  summary: 'The last Observations of each kind',
  levels: ['type'],
  types: ['Observation'],
  affectsState: false,
  takesSearch: true,
  parameters: [{ name: 'max', type: 'positiveInt', documentation: `Observations of each kind; ${defaultMax} if absent. All other parameters are search parameters: patient or subject, and category or one with code in its name` }],
  async run({ guard, services }, input) {
    const max = input.count('max') ?? defaultMax;
    if (max < 1 || max > largestMax) throw new InterlockError('request-invalid', { detail: `Parameter max is between 1 and ${largestMax}.` });
    const named = (test: RegExp) => input.search.some(([name]) => test.test(name));
    if (named(notHere)) throw new InterlockError('request-invalid', { detail: 'Result parameters of searches are not offered here.' });
    if (!named(/^(?:patient|subject)(?:[:.]|$)/) || !named(/^category(?:[:.]|$)|code/)) throw new InterlockError('request-invalid', { detail: 'A patient or subject, and a category or code, are needed.' });
    const pairs = [...input.search, ['_sort', '-date'], ['_count', String(pageSize)]] as const;
    const asked = { ...parseSearch('Observation', pairs, { strict: true, maxCount: pageSize, nowMs: services.nowMs(), ...services.values }), total: 'none' as const };
    const query = `GET Observation/$lastn?${input.search.map(([name, value]) => `${name}=${value}`).join('&')}`;
    const found: StoredVersion[] = [];
    for (let after: string | undefined; ; ) {
      const page = await guard.search(asked, query, after);
      found.push(...page.matches);
      after = page.next;
      if (after === undefined) break;
      if (found.length >= maxExamined) throw new InterlockError('too-costly', { detail: 'More Observations match than this server groups; narrow the search by date.' });
    }
    const last = groupsOf(found).flatMap((group) => group.slice(0, max));
    const self = new URLSearchParams([['max', String(max)], ...input.search.map(([name, value]): [string, string] => [name, value])]);
    const links = [{ relation: 'self', url: `${services.baseUrl}/Observation/$lastn?${self.toString()}` }];
    const body = bundleBytes({ type: 'searchset', total: last.length, links, entries: last.map((version) => searchEntry(services.baseUrl, version, 'match')) });
    return { status: 200, headers: { 'Content-Type': fhirJson }, body };
  },
};

/** Observations by kind, in their order; the kind of the newest comes first. */
function groupsOf(versions: readonly StoredVersion[]): readonly (readonly StoredVersion[])[] {
  // Kinds that an Observation has several codes of are joined, however they were found before.
  const parents = new Map<string, string>();
  const rootOf = (key: string): string => {
    let root = key;
    for (let parent = parents.get(root); parent !== undefined; parent = parents.get(root)) root = parent;
    return root;
  };
  const keys = versions.map((version) => {
    const [first, ...others] = keysOf(version);
    for (const other of others) {
      const [a, b] = [rootOf(first!), rootOf(other)];
      if (a !== b) parents.set(b, a);
    }
    return first!;
  });
  const groups = new Map<string, StoredVersion[]>();
  for (const [index, version] of versions.entries()) {
    const root = rootOf(keys[index]!);
    const group = groups.get(root) ?? [];
    group.push(version);
    groups.set(root, group);
  }
  return [...groups.values()];
}

function keysOf(version: StoredVersion): readonly string[] {
  const { coding = [], text } = (version.resource()['code'] ?? {}) as { readonly coding?: readonly { readonly system?: string; readonly code?: string }[]; readonly text?: string };
  const keys = coding.flatMap(({ system, code }) => (code === undefined ? [] : [`${system ?? ''}|${code}`]));
  return keys.length > 0 ? keys : [`text ${text?.trim().toLowerCase() ?? ''}`];
}
