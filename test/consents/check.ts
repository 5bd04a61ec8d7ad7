import { patientsOf } from '../../resources/search-values/index.ts';
import type { ResourceJson } from '../../server/storage/contract.ts';
import { ConsentRegistry } from '../../server/access/consent-registry.ts';
import type { AccessContext, Grant } from '../../server/access/context.ts';
import { handle } from '../../server/fhir/pipeline.ts';
import { splitUrl } from '../../server/fhir/routes.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import { testFhir, type TestFhir } from '../rooms/fhir/support.ts';
import { tenant } from '../rooms/storage/support.ts';
import { mayShow, type Asker, type Everything, type Json } from './evaluator.ts';
import { askers, consentOf, directory, organizationBase, patients, random, record } from './world.ts';

/** What a run found. */
export interface Findings {
  readonly cases: number;
  /** Single decisions that were compared. */
  readonly compared: number;
  readonly shown: number;
  readonly hidden: number;
  readonly differences: readonly string[];
}

const all: readonly Grant[] = [{ type: '*', permissions: new Set(['c', 'r', 'u', 'd', 's']) }];
const times = ['2019-07-01T12:00:00Z', '2020-03-01T12:00:00Z', '2024-02-29T12:00:00Z', '2031-01-01T12:00:00Z'];
const purposes = [['TREAT'], ['TREAT'], ['ETREAT'], ['HPAYMT'], ['HRESCH', 'TREAT'], []];
const maxDifferences = 20;

interface Bundle { readonly total?: number; readonly entry?: readonly { readonly resource: ResourceJson; readonly search?: { readonly mode: string } }[] }

/**
 * Compares what the server shows with what the evaluator says: each round gives every patient new consents, and each of them
 * with one who asks is a case; reads, histories, searches, totals, includes, chains, `_has` and $everything are looked at.
 */
export async function checkConsents({ cases, seed, otherwise }: { readonly cases: number; readonly seed: number; readonly otherwise: 'permit' | 'deny' }): Promise<Findings> {
  const draw = random(seed);
  const fhir = await testFhir();
  let nowMs = 0;
  const consents = new ConsentRegistry({ store: fhir.on.store, values: fhir.services.values, nowMs: () => nowMs, otherwise, organizations: new Map(Object.entries(organizationBase)) });
  const found = { cases: 0, compared: 0, shown: 0, hidden: 0, differences: [] as string[] };
  try {
    const stored = record(draw);
    for (const resource of [...directory, ...stored.map((one) => one.resource)]) await fhir.on.put(resource as ResourceJson, (resource as ResourceJson).id!);
    const resources = new Map([...directory, ...stored.map((one) => one.resource)].map((one) => [`${String(one['resourceType'])}/${String(one['id'])}`, one]));
    const world: Everything = { otherwise, organizationBase, resources };
    while (found.cases < cases && found.differences.length < maxDifferences) {
      const current = new Map<string, Json>();
      for (const patient of patients) {
        for (const part of draw() < 0.6 ? ['a'] : ['a', 'b']) current.set(`${patient}-${part}`, consentOf(`${patient}-${part}`, patient, draw));
        // The other one of the round before goes.
        if (!current.has(`${patient}-b`)) await fhir.on.remove('Consent', `${patient}-b`);
      }
      for (const [id, consent] of current) await fhir.on.put(consent as ResourceJson, id);
      consents.written('Consent');
      for (let turn = 0; turn < 3; turn += 1) {
        const one = askers[Math.floor(draw() * askers.length)]!;
        const asker: Asker = { ...one, purposes: purposes[Math.floor(draw() * purposes.length)]!, at: times[Math.floor(draw() * times.length)]! };
        nowMs = Date.parse(asker.at);
        const subjects = [...stored, ...[...current.values()].map((resource) => ({ resource, patients: patientsOf(resource as ResourceJson) }))];
        const visible = new Map(subjects.map(({ resource, patients: concerned }) => [`${String(resource['resourceType'])}/${String(resource['id'])}`, mayShow(resource, concerned, [...current.values()], asker, world)]));
        await compare({ fhir, consents, asker, visible, resources, draw, found });
        found.cases += patients.length;
      }
    }
    return found;
  } finally {
    await fhir.close();
  }
}

interface Comparing {
  readonly fhir: TestFhir;
  readonly consents: ConsentRegistry;
  readonly asker: Asker;
  readonly visible: ReadonlyMap<string, boolean>;
  readonly resources: ReadonlyMap<string, Json>;
  readonly draw: () => number;
  readonly found: { cases: number; compared: number; shown: number; hidden: number; differences: string[] };
}

async function compare({ fhir, consents, asker, visible, resources, draw, found }: Comparing): Promise<void> {
  const actor = asker.isClient ? ({ kind: 'client', id: 'app' } as const) : ({ kind: 'user', id: 'u', role: 'physician', ...(asker.self === undefined ? {} : { fhirUser: asker.self }) } as const);
  const context: AccessContext = { tenant, requestId: 'r', actor, grants: all, purposeOfUse: asker.purposes };
  const get = async (url: string): Promise<{ status: number; json: Bundle }> => {
    const { path, query } = splitUrl(url);
    try {
      const answer = await handle({ ...fhir.services, consents }, { method: 'GET', path, query: [...new URLSearchParams(query)], headers: {} }, context);
      return { status: answer.status, json: JSON.parse(answer.body!.toString()) as Bundle };
    } catch (error) {
      if (!(error instanceof InterlockError)) throw error;
      return { status: error.status, json: {} };
    }
  };
  const same = (what: string, got: unknown, expected: unknown): void => {
    found.compared += 1;
    if (JSON.stringify(got) !== JSON.stringify(expected)) found.differences.push(`${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(expected)} for ${JSON.stringify(asker)}`);
  };
  const keysOf = ({ entry = [] }: Bundle, mode?: string): string[] => [...new Set(entry.filter(({ search }) => mode === undefined || search?.mode === mode).map(({ resource }) => `${resource.resourceType}/${resource.id ?? ''}`))].sort();
  const keys = [...visible.keys()];
  const shown = (type: string, also: (resource: Json) => boolean = () => true): string[] => keys.filter((key) => key.startsWith(`${type}/`) && visible.get(key) === true && also(resources.get(key)!)).sort();
  for (const is of visible.values()) found[is ? 'shown' : 'hidden'] += 1;

  for (const key of keys.filter(() => draw() < 0.3)) {
    const expected = visible.get(key) === true ? 200 : 404;
    same(`read ${key}`, (await get(key)).status, expected);
    // Of consents the versions of other rounds are there too.
    if (draw() < 0.3 && !key.startsWith('Consent/')) same(`vread ${key}`, (await get(`${key}/_history/1`)).status, expected);
    if (draw() < 0.3 && !key.startsWith('Consent/')) same(`history ${key}`, (await get(`${key}/_history`)).status, expected);
  }
  for (const type of ['Patient', 'Encounter', 'Observation', 'Condition', 'Group', 'Consent']) {
    const { json } = await get(`${type}?_count=200&_total=accurate`);
    same(`search ${type}`, keysOf(json), shown(type));
    same(`total of ${type}`, json.total, shown(type).length);
    same(`count of ${type}`, (await get(`${type}?_summary=count`)).json.total, shown(type).length);
  }
  const reference = (resource: Json, name: string): string => (resource[name] as { reference?: string } | undefined)?.reference ?? '';
  const sees = (key: string): boolean => visible.get(key) === true;
  const included = await get('Observation?_include=Observation:encounter&_include=Observation:subject&_count=200');
  const observations = shown('Observation');
  same('includes', keysOf(included.json, 'include'), [...new Set(observations.flatMap((key) => ['encounter', 'subject'].map((name) => reference(resources.get(key)!, name))).filter(sees))].sort());
  const reverse = await get('Encounter?_revinclude=Observation:encounter&_revinclude=Condition:encounter&_count=200');
  same('reverse includes', keysOf(reverse.json, 'include'), [...shown('Observation', (one) => sees(reference(one, 'encounter'))), ...shown('Condition', (one) => sees(reference(one, 'encounter')))].sort());
  same('chain', keysOf((await get('Observation?encounter.status=finished&_count=200')).json), shown('Observation', (one) => sees(reference(one, 'encounter'))));
  same('_has', keysOf((await get('Patient?_has:Condition:patient:recorded-date=2020&_count=200')).json), shown('Patient', (one) => sees(`Condition/${String(one['id'])}-c`)));
  const patient = patients[Math.floor(draw() * patients.length)]!;
  const everything = await get(`Patient/${patient}/$everything?_count=200`);
  if (!sees(`Patient/${patient}`)) same(`$everything of ${patient}`, everything.status, 404);
  else same(`$everything of ${patient}`, keysOf(everything.json).filter((key) => visible.has(key)), keys.filter((key) => sees(key) && (key === `Patient/${patient}` || key.includes(`/${patient}-`) || (key === 'Group/both' && (patient === 'p1' || patient === 'p2')))).sort());
}
