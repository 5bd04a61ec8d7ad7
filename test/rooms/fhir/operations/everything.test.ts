import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { observation, patient } from '../../storage/support.ts';
import { grant, testFhir, type TestFhir } from '../support.ts';

let fhir: TestFhir;
const encounter = (id: string, start: string) => ({ resourceType: 'Encounter', status: 'finished', class: { code: 'IMP' }, subject: { reference: `Patient/${id}` }, period: { start, end: start }, serviceProvider: { reference: 'Organization/ward' }, participant: [{ individual: { reference: 'Practitioner/doctor' } }] });

beforeAll(async () => {
  fhir = await testFhir();
  await fhir.on.put({ resourceType: 'Organization', name: 'Ward' }, 'ward');
  await fhir.on.put({ resourceType: 'Practitioner', name: [{ family: 'Doctor' }] }, 'doctor');
  for (const id of ['mine', 'other']) {
    await fhir.on.put(patient({ managingOrganization: { reference: 'Organization/ward' }, ...(id === 'mine' ? { link: [{ other: { reference: 'Patient/other' }, type: 'seealso' }] } : {}) }), id);
    await fhir.on.put(encounter(id, '2019-05-01'), `visit-${id}`);
    await fhir.on.put(encounter(id, '2020-05-01'), `later-${id}`);
    await fhir.on.put(observation(id, { encounter: { reference: `Encounter/visit-${id}` }, effectiveDateTime: '2019-05-02', performer: [{ reference: 'Practitioner/doctor' }] }), `lab-${id}`);
    await fhir.on.put({ resourceType: 'Coverage', status: 'active', beneficiary: { reference: `Patient/${id}` }, payor: [{ reference: 'Organization/ward' }] }, `cover-${id}`);
  }
});
afterAll(() => fhir.close());

const all = [grant('*', 'cruds')];
const mine = [...['Patient', 'Encounter', 'Observation'].map((type) => grant(type, 'rs', 'mine')), grant('Practitioner', 'rs')];
type Entry = { readonly fullUrl: string; readonly search: { readonly mode: string } };
interface Bundle { readonly type: string; readonly link: readonly { readonly relation: string; readonly url: string }[]; readonly entry?: readonly Entry[] }

async function page(grants: typeof all, url: string, body?: unknown): Promise<Bundle> {
  const { status, json } = await fhir.call(grants, body === undefined ? 'GET' : 'POST', url, body);
  expect([url.split('?')[0], status]).toEqual([url.split('?')[0], 200]);
  return json as unknown as Bundle;
}
const names = ({ entry = [] }: Bundle): string[] => entry.map(({ fullUrl, search }) => `${search.mode === 'match' ? '' : '+'}${fullUrl.split('/').at(-1)!}`);
const nextOf = ({ link }: Bundle): string | undefined => link.find(({ relation }) => relation === 'next')?.url.replace(`${fhir.services.baseUrl}/`, '');

describe('$everything', () => {
  test('of a patient is the compartment, and once each what it refers to', async () => {
    const found = await page(all, 'Patient/mine/$everything');
    expect(found.type).toBe('searchset');
    expect(names(found).sort()).toEqual(['+doctor', '+ward', 'cover-mine', 'lab-mine', 'later-mine', 'mine', 'visit-mine']);
    expect(nextOf(found)).toBeUndefined();
  });

  test('is what the caller sees, of the types of its scopes', async () => {
    expect(names(await page(mine, 'Patient/mine/$everything')).sort()).toEqual(['+doctor', 'lab-mine', 'later-mine', 'mine', 'visit-mine']);
    expect(names(await page(mine, 'Patient/$everything')).sort()).toEqual(['+doctor', 'lab-mine', 'later-mine', 'mine', 'visit-mine']);
    for (const id of ['other', 'absent']) expect((await fhir.call(mine, 'GET', `Patient/${id}/$everything`)).status).toBe(404);
    expect((await fhir.call([grant('Encounter', 'rs', 'mine')], 'GET', 'Patient/mine/$everything')).status).toBe(403);
  });

  test('is narrowed by dates of care, types and time of recording', async () => {
    expect(names(await page(all, 'Patient/mine/$everything?start=2020-01-01')).sort()).toEqual(['+doctor', '+ward', 'cover-mine', 'later-mine', 'mine']);
    expect(names(await page(all, 'Patient/mine/$everything?start=2019-05-02&end=2019-12-31')).sort()).toEqual(['+doctor', '+ward', 'cover-mine', 'lab-mine', 'mine']);
    expect(names(await page(all, 'Patient/mine/$everything?_type=Encounter,Observation')).sort()).toEqual(['lab-mine', 'later-mine', 'visit-mine']);
    expect(names(await page(all, 'Patient/mine/$everything', { resourceType: 'Parameters', parameter: [{ name: '_type', valueCode: 'Practitioner' }, { name: '_type', valueCode: 'Observation' }] })).sort()).toEqual(['+doctor', 'lab-mine']);
    expect(names(await page(all, 'Patient/mine/$everything?_since=2999-01-01T00:00:00Z'))).toEqual([]);
    for (const bad of ['start=soon', '_type=Nothing', '_count=0', 'colour=blue']) expect((await fhir.call(all, 'GET', `Patient/mine/$everything?${bad}`)).status).toBe(400);
  });

  test('is paged: nothing twice, nothing left out, whatever is written meanwhile', async () => {
    const seen: string[] = [];
    let written = 0;
    for (let next: string | undefined = 'Patient/mine/$everything?_count=2'; next !== undefined; ) {
      const found: Bundle = await page(all, next);
      seen.push(...names(found));
      expect(names(found).filter((name) => !name.startsWith('+')).length).toBeLessThanOrEqual(2);
      await fhir.on.put(observation('other'), `meanwhile-${(written += 1)}`);
      next = nextOf(found);
      if (next !== undefined) expect((await fhir.call(mine, 'GET', next)).status).toBe(404);
    }
    expect(seen.sort()).toEqual(['+doctor', '+ward', 'cover-mine', 'lab-mine', 'later-mine', 'mine', 'visit-mine']);
  });

  test('of an encounter is what belongs to it', async () => {
    expect(names(await page(all, 'Encounter/visit-mine/$everything')).sort()).toEqual(['+doctor', '+mine', '+ward', 'lab-mine', 'visit-mine']);
    expect((await fhir.call(mine, 'GET', 'Encounter/visit-other/$everything')).status).toBe(404);
  });

  test('is on record as a call, beside what it disclosed', async () => {
    fhir.records.length = 0;
    await page(mine, 'Patient/mine/$everything');
    expect(fhir.records.map(({ interaction }) => interaction)).toEqual(['read', 'search-system', '$everything']);
    expect(fhir.records[1]!.patients).toContain('mine');
  });
});
