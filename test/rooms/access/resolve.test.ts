import { describe, expect, test } from '@jest/globals';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { extractSearchValues, patientsOf, type Resource } from '../../../resources/search-values/index.ts';
import type { AccessContext, Grant } from '../../../server/access/context.ts';
import { sees } from '../../../server/access/visible.ts';
import { reachableTypes, reachOf } from '../../../server/access/decide.ts';
import { resolveCriterion, resolveLimits, type Resolving } from '../../../server/access/resolve.ts';
import type { AskedCriterion, Criterion } from '../../../server/search/criteria.ts';
import { matches } from '../../../server/search/match.ts';
import { parseSearch } from '../../../server/search/parse.ts';
import type { SearchRequest, StoredVersion } from '../../../server/storage/contract.ts';
import { Random } from '../storage/generated.ts';
import { grant } from '../fhir/support.ts';

const contextOf = (grants: readonly Grant[]): AccessContext => ({ tenant: 't', requestId: 'r', actor: { kind: 'client', id: 'c' }, grants, purposeOfUse: [] });
const everything = contextOf([grant('*', 'cruds')]);
const asked = (type: string, query: string): AskedCriterion => parseSearch(type, [...new URLSearchParams(query)], { strict: true }).where;

/** Versions of some resources, without a store. */
function versionsOf(resources: readonly Resource[]): StoredVersion[] {
  return resources.map((resource, index) => ({
    type: resource.resourceType, id: resource.id!, versionId: 1, lastUpdated: new Date(0), deleted: false, order: BigInt(index), bytes: Buffer.from(JSON.stringify(resource)), resource: () => resource, patients: () => patientsOf(resource),
  }));
}

const extracted = new WeakMap<StoredVersion, ReturnType<typeof extractSearchValues>>();

function valuesOf(version: StoredVersion): ReturnType<typeof extractSearchValues> {
  const values = extracted.get(version) ?? extractSearchValues(version.resource());
  extracted.set(version, values);
  return values;
}

function meets(version: StoredVersion, where: Criterion): boolean {
  const resource = version.resource();
  return matches({ type: version.type, id: version.id, lastUpdatedMs: 0, values: valuesOf(version), patients: version.patients(), content: { resource, context: {} } }, where);
}

/** Searches by looking at everything; keeps count of it. */
function over(versions: readonly StoredVersion[], context = everything): Resolving & { readonly requests: SearchRequest[] } {
  const requests: SearchRequest[] = [];
  return {
    context, values: {}, requests,
    search: async (request) => {
      requests.push(request);
      const all = versions.filter((version) => request.types.includes(version.type) && meets(version, request.where));
      const from = Number(request.after ?? 0);
      return Promise.resolve({ matches: all.slice(from, from + request.count), ...(request.total !== 'none' && { total: all.length }), ...(from + request.count < all.length && { next: String(from + request.count) }) });
    },
  };
}

const many = (count: number, make: (index: number) => Resource) => Array.from({ length: count }, (_, index) => make(index));
const codeOf = async (work: Promise<unknown>) => work.then(() => 'resolved', (error: unknown) => (error instanceof InterlockError ? error.code : String(error)));

describe('bounds', () => {
  const patients = versionsOf(many(resolveLimits.idsPerStep + 1, (index) => ({ resourceType: 'Patient', id: `p${index}`, active: true })));

  test('too many steps are refused soon, as many as are allowed are not', async () => {
    const by = over(patients);
    expect(await codeOf(resolveCriterion(asked('Observation', 'patient.active=true'), ['Observation'], by))).toBe('too-costly');
    expect(by.requests).toHaveLength(1);
    const where = await resolveCriterion(asked('Observation', 'patient.active=true'), ['Observation'], over(patients.slice(1)));
    expect(where.op === 'param' && where.of).toHaveLength(resolveLimits.idsPerStep);
    const about = (subject: unknown) => versionsOf([{ resourceType: 'Observation', id: 'o', subject }]).map((version) => meets(version, where))[0];
    expect(['Patient/p5', 'Patient/p0', 'Group/p5', 'p5', 'https://elsewhere.example/Patient/p5'].map((reference) => about({ reference }))).toEqual([true, false, false, false, false]);
  });

  test('a hierarchy that goes round ends', async () => {
    const ring = versionsOf(many(5, (index) => ({ resourceType: 'Location', id: `l${index}`, partOf: { reference: `Location/l${(index + 1) % 5}` } })));
    for (const direction of ['above', 'below']) {
      const where = await resolveCriterion(asked('Encounter', `location:${direction}=l0`), ['Encounter'], over(ring));
      expect(where.op === 'param' && where.of).toHaveLength(5);
    }
    const chain = versionsOf(many(100, (index) => ({ resourceType: 'Location', id: `l${index}`, partOf: { reference: `Location/l${index + 1}` } })));
    expect(await codeOf(resolveCriterion(asked('Encounter', 'location:above=l0'), ['Encounter'], over(chain)))).toBe('too-costly');
  });

  test('a rare condition beside _has narrows it', async () => {
    const observations = versionsOf(many(resolveLimits.idsPerStep + 1, (index) => ({ resourceType: 'Observation', id: `o${index}`, subject: { reference: `Patient/p${index}` }, code: { coding: [{ code: 'x' }] } })));
    const by = over([...patients, ...observations]);
    expect(await codeOf(resolveCriterion(asked('Patient', '_has:Observation:patient:code=x'), ['Patient'], by))).toBe('too-costly');
    const where = await resolveCriterion(asked('Patient', '_id=p7,p8&_has:Observation:patient:code=x'), ['Patient'], by);
    expect(patients.filter((version) => meets(version, where)).map(({ id }) => id)).toEqual(['p7', 'p8']);
  });
});

/** The same by its definition: recursion over resources that the caller sees. */
function holds(version: StoredVersion, condition: AskedCriterion, visible: readonly StoredVersion[]): boolean {
  const refers = (from: StoredVersion, code: string, to: StoredVersion) => (valuesOf(from).get(code) ?? []).some((value) => value.kind === 'reference' && value.type === to.type && value.id === to.id);
  switch (condition.op) {
    case 'all': return condition.of.every((part) => holds(version, part, visible));
    case 'any': return condition.of.some((part) => holds(version, part, visible));
    case 'not': return !holds(version, condition.of, visible);
    case 'chain': return condition.of.some(({ type, where }) => visible.some((to) => to.type === type && refers(version, condition.param.code, to) && holds(to, where, visible)));
    case 'has': return visible.some((from) => from.type === condition.type && refers(from, condition.param.code, version) && holds(from, condition.where, visible));
    case 'valueSet': case 'subsumed': case 'hierarchy': throw new Error('not generated here');
    default: return meets(version, condition);
  }
}

describe('generated chains', () => {
  const queries = [
    ['Observation', 'patient.name=a'], ['Observation', 'subject.active=true'], ['Observation', 'patient.organization.name=b'], ['Observation', 'encounter.patient.name=c'], ['Observation', '_filter=not (patient.name eq a)'], ['Observation', '_filter=patient.name eq b or encounter.status eq finished'],
    ['Observation', 'has-member.patient.name=a'], ['Patient', '_has:Observation:patient:code=x'], ['Patient', '_has:Observation:patient:encounter.status=finished'], ['Patient', 'organization.name=a&_has:Encounter:patient:_has:Observation:encounter:code=y'],
    ['Encounter', 'patient._has:Observation:patient:code=x'], ['Organization', '_has:Patient:organization:_has:Observation:patient:code:not=x'], ['Organization', '_has:Patient:organization:name:missing=true'], ['Encounter', 'subject:Patient.organization:Organization.name:exact=a'],
  ] as const;

  test.each([1, 2, 3, 4, 5, 6])('find what their definition says, and no more as a confined caller (seed %i)', async (seed) => {
    const random = new Random(seed * 104_729);
    const to = (type: string, count: number) => (random.chance(0.2) ? undefined : { reference: `${type}/${type[0]!.toLowerCase()}${random.below(count)}` });
    const name = () => random.pick(['a', 'b', 'c']);
    const all = versionsOf([
      ...many(3, (index) => ({ resourceType: 'Organization', id: `o${index}`, name: name() })),
      ...many(6, (index) => ({ resourceType: 'Patient', id: `p${index}`, active: random.chance(0.5), managingOrganization: to('Organization', 3), ...(random.chance(0.8) && { name: [{ family: name() }] }) })),
      ...many(8, (index) => ({ resourceType: 'Encounter', id: `e${index}`, status: random.pick(['finished', 'planned']), subject: to('Patient', 6) })),
      ...many(20, (index) => ({ resourceType: 'Observation', id: `o${index}`, code: { coding: [{ code: random.pick(['x', 'y', 'z']) }] }, subject: to('Patient', 6), encounter: to('Encounter', 8), hasMember: [to('Observation', 20) ?? {}] })),
    ]);
    const confined = contextOf([...['Patient', 'Encounter', 'Observation'].map((type) => grant(type, 'rs', 'p1')), grant('Organization', 'rs')]);
    for (const context of [everything, confined]) {
      const visible = all.filter((version) => reachableTypes(context, ['s']).includes(version.type) && sees(reachOf(context, version.type, ['s']), version, {}));
      expect(visible.length).toBeGreaterThan(3);
      for (const [type, query] of queries) {
        const condition = asked(type, query);
        const where = await resolveCriterion(condition, [type], over(all, context));
        const idsWhere = (test: (version: StoredVersion) => boolean) => visible.filter((version) => version.type === type && test(version)).map(({ id }) => id);
        expect([query, idsWhere((version) => meets(version, where))]).toEqual([query, idsWhere((version) => holds(version, condition, visible))]);
      }
    }
  });
});

test('value sets and subsumption become codes; unknown ones are refused', async () => {
  const terminology = {
    codesOf: async (url: string) => (url === 'urn:vs' ? Promise.resolve(many(50, (index) => ({ resourceType: 'x', system: 'urn:s', code: `c${index}` })) as unknown as { system: string; code: string }[]) : Promise.reject(new InterlockError('not-found'))),
    descendantsOf: async (system: string, code: string) => Promise.resolve([{ system, code }, { system, code: `${code}1` }]),
    ancestorsOf: async (system: string, code: string) => Promise.resolve([{ system, code }]),
  };
  const versions = versionsOf(['C7', 'c51', 'd1'].map((code) => ({ resourceType: 'Observation', id: code, code: { coding: [{ system: 'urn:s', code }] } })));
  const find = async (query: string) => {
    const where = await resolveCriterion(asked('Observation', query), ['Observation'], { ...over(versions), terminology });
    return versions.filter((version) => meets(version, where)).map(({ id }) => id);
  };
  expect(await find('code:in=urn:vs')).toEqual(['C7']);
  expect(await find('code:not-in=urn:vs')).toEqual(['c51', 'd1']);
  expect(await find('code:below=urn:s|d')).toEqual(['d1']);
  expect(await find('code:above=urn:s|c51')).toEqual(['c51']);
  expect(await codeOf(find('code:in=urn:other'))).toBe('search-invalid');
  expect(await codeOf(resolveCriterion(asked('Observation', 'code:in=urn:vs'), ['Observation'], over(versions)))).toBe('search-unsupported');
});
