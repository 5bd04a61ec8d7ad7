import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { observation, patient } from '../storage/support.ts';
import { baseUrl, grant, testFhir, type TestFhir } from './support.ts';

/*
 * Two patients of two organizations, with what concerns them. `mine` is what an app may see that is confined to the first.
 */
let fhir: TestFhir;
const ref = (reference: string) => ({ reference });
const concept = (system: string, code: string) => ({ coding: [{ system, code }] });
const typed = (code: string, value: string) => ({ type: concept('http://terminology.hl7.org/CodeSystem/v2-0203', code), system: 'urn:x', value });
beforeAll(async () => {
  fhir = await testFhir();
  const put = async (resource: Parameters<TestFhir['on']['put']>[0], id: string) => fhir.on.put(resource, id);
  await put({ resourceType: 'Organization', id: 'root', name: 'Root' }, 'root');
  await put({ resourceType: 'Organization', name: 'North', partOf: ref('Organization/root') }, 'north');
  await put({ resourceType: 'Organization', name: 'South', partOf: ref('Organization/root') }, 'south');
  await put({ resourceType: 'Location', name: 'House', status: 'active' }, 'house');
  await put({ resourceType: 'Location', name: 'Ward', partOf: ref('Location/house') }, 'ward');
  await put({ resourceType: 'Location', name: 'Room', partOf: ref('Location/ward') }, 'room');
  await put({ resourceType: 'Practitioner', name: [{ family: 'Careful' }] }, 'dr');
  await put(patient({ name: [{ family: 'Alder', given: ['Ann'] }], managingOrganization: ref('Organization/north'), generalPractitioner: [ref('Practitioner/dr')], identifier: [typed('MR', '1'), typed('DL', '2')] }), 'one');
  await put(patient({ name: [{ family: 'Birch', given: ['Bob'] }], managingOrganization: ref('Organization/south'), generalPractitioner: [ref(`${baseUrl}/Practitioner/dr`)], identifier: [typed('MR', '2')] }), 'two');
  for (const [id, who, place] of [['e1', 'one', 'room'], ['e2', 'two', 'ward'], ['e3', 'two', 'house']] as const) {
    await put({ resourceType: 'Encounter', status: 'finished', class: { code: 'AMB' }, subject: ref(`Patient/${who}`), location: [{ location: ref(`Location/${place}`) }] }, id);
  }
  await put(observation('one', { code: concept('urn:c', 'alpha'), encounter: ref('Encounter/e1'), text: { status: 'generated', div: '<div xmlns="http://www.w3.org/1999/xhtml"><p>Bone <b>marrow</b> &amp; more</p></div>' } }), 'o1');
  await put(observation('two', { code: concept('urn:c', 'alpha'), encounter: ref('Encounter/e2'), performer: [ref('Practitioner/dr')], note: [{ text: 'marrow of the bone' }] }), 'o2');
  await put(observation('two', { code: concept('urn:c', 'beta'), hasMember: [ref('Observation/o2/_history/1')] }), 'o3');
  await put(observation('two', { code: concept('urn:c', 'alpha') }), 'o2');
  await put({ resourceType: 'List', status: 'current', mode: 'working', subject: ref('Patient/one'), entry: [{ item: ref('Observation/o1') }] }, 'l1');
  await put({ resourceType: 'List', status: 'current', mode: 'working', subject: ref('Patient/two'), entry: [{ item: ref('Observation/o1') }, { item: ref('Observation/o2') }] }, 'l2');
  await put({ resourceType: 'MedicationRequest', status: 'active', intent: 'order', subject: ref('Patient/two'), contained: [{ resourceType: 'Medication', id: 'm', code: concept('urn:m', 'inside') }], medicationReference: ref('#m') }, 'mr');
  await put({ resourceType: 'Medication', code: concept('urn:m', 'inside') }, 'outside');
  await put({ resourceType: 'Provenance', target: [ref('Observation/o1'), ref('Patient/one')], recorded: '2020-01-01T00:00:00Z', agent: [{ who: ref('Practitioner/dr') }] }, 'p1');
  await put({ resourceType: 'ValueSet', url: 'http://vs.example/alpha', status: 'active', compose: { include: [{ system: 'urn:c', concept: [{ code: 'alpha' }] }] } }, 'vs');
  await put({ resourceType: 'CodeSystem', url: 'urn:c', status: 'active', content: 'complete', concept: [{ code: 'any', concept: [{ code: 'alpha', concept: [{ code: 'gamma' }] }, { code: 'beta' }] }] }, 'cs');
});
afterAll(() => fhir.close());

const all = [grant('*', 'cruds')];
const mine = [...['Patient', 'Observation', 'Encounter', 'List', 'MedicationRequest', 'Provenance'].map((type) => grant(type, 'cruds', 'one')), ...['Practitioner', 'Organization', 'Location'].map((type) => grant(type, 'rs'))];

interface Bundle { readonly total?: number; readonly link: readonly { readonly url: string }[]; readonly entry?: readonly { readonly fullUrl?: string; readonly search: { readonly mode: string }; readonly resource: { readonly resourceType: string; readonly id: string; readonly meta?: { readonly versionId: string } } }[] }

async function bundle(grants: typeof all, url: string): Promise<Bundle> {
  const { status, json, error } = await fhir.call(grants, 'GET', url);
  expect([url, error?.code ?? status]).toEqual([url, 200]);
  return json as unknown as Bundle;
}

const found = async (grants: typeof all, url: string, mode = 'match') => ((await bundle(grants, url)).entry ?? []).filter(({ search }) => search.mode === mode).map(({ resource }) => resource.id).sort();
const refused = async (grants: typeof all, url: string) => (await fhir.call(grants, 'GET', url)).error?.code;

describe('chains and _has', () => {
  test.each([
    ['Observation?subject:Patient.name=ald', ['o1']], ['Observation?subject.name=ald', ['o1']], ['Observation?patient.family:exact=Birch', ['o2', 'o3']], ['Observation?subject.nonsense-free:missing=x', 'search-invalid'],
    ['Observation?patient.organization.name=south', ['o2', 'o3']], ['Observation?patient.organization.partof.name=root', ['o1', 'o2', 'o3']], ['Observation?patient.organization:Organization.name:contains=ORT', ['o1']],
    ['Observation?encounter.location.name=room', ['o1']], ['Observation?patient.general-practitioner.name=careful', ['o1', 'o2', 'o3']], ['Observation?patient.name=nobody', []], ['Observation?patient._id=one&code=alpha', ['o1']],
    ['Observation?patient.gender:missing=true', []], ['Observation?patient.family=alder,birch', ['o1', 'o2', 'o3']],
    ['Patient?_has:Observation:patient:code=beta', ['two']], ['Patient?_has:Observation:patient:code=alpha', ['one', 'two']], ['Patient?_has:Observation:patient:code=beta&_has:Observation:patient:code=alpha', ['two']],
    ['Patient?_has:Observation:patient:code=alpha&family=alder', ['one']], ['Patient?_has:Observation:patient:encounter.location.name=room', ['one']], ['Patient?_has:Observation:patient:code=zeta', []],
    ['Practitioner?_has:Patient:general-practitioner:_has:Observation:patient:code=beta', ['dr']], ['Encounter?patient._has:Observation:patient:code=beta', ['e2', 'e3']], ['Encounter?_has:Observation:encounter:code=alpha', ['e1']],
    ['Observation?_list=l2', ['o1', 'o2']], ['Observation?_list=List/l1,l2', ['o1', 'o2']], ['Observation?_list=none', []],
    ['Observation?_filter=patient.family eq alder or code eq beta', ['o1', 'o3']], ['Observation?_filter=not (patient.family eq alder)', ['o2', 'o3']], ['Observation?_filter=patient[gender pr true].organization.name eq south and not (code eq beta)', ['o2']],
  ] as const)('%s', async (url, expected) => {
    if (typeof expected === 'string') expect(await refused(all, url)).toBe(expected);
    else expect(await found(all, url)).toEqual(expected);
  });

  test('tell a confined caller nothing of others', async () => {
    for (const [url, expected] of [
      ['Observation?patient.family=birch', 0], ['Observation?patient.family=alder', 1], ['Observation?_filter=not (patient.family eq birch)', 1], ['Practitioner?_has:Patient:general-practitioner:family=birch', 0], ['Practitioner?_has:Patient:general-practitioner:family=alder', 1],
      ['Practitioner?_has:Observation:performer:code=alpha', 0], ['Organization?_has:Patient:organization:family=birch', 0], ['Location?_has:Encounter:location:patient.family=birch', 0], ['Observation?_list=l2', 0], ['Observation?_list=l1', 1],
      ['Patient?_has:Observation:patient:code=beta', 0], ['Organization?_filter=name pr true and not (name eq x)', 3], ['Encounter?location:below=Location/house', 1], ['MedicationRequest?_text=x', 0], ['Observation?_content=marrow', 1],
    ] as const) {
      const { total, entry = [] } = await bundle(mine, `${url}&_total=accurate`);
      expect([url, total, entry.length]).toEqual([url, expected, expected]);
      expect([url, (await bundle(mine, `${url}&_summary=count`)).total]).toEqual([url, expected]);
    }
  });

  test('need the permission to search what they lead to', async () => {
    const some = [grant('Observation', 'rs'), grant('Patient', 'r'), grant('Location', 's')];
    for (const url of ['Observation?subject:Patient.name=a', 'Observation?patient.name=a', 'Observation?_has:DiagnosticReport:result:code=a', 'Observation?_list=l1', 'Observation?encounter.status=finished', 'Observation?_filter=patient.name eq a']) expect([url, await refused(some, url)]).toEqual([url, 'forbidden']);
    // Of the types that it can lead to, one may be searched.
    expect(await found(some, 'Observation?subject.name=ald')).toEqual([]);
    expect(await found([...some, grant('Patient', 's')], 'Observation?subject.name=ald')).toEqual(['o1']);
  });

  test('are no rules: a granular scope with a chain permits nothing', async () => {
    for (const name of ['patient.family', '_has:Provenance:target:agent', 'code:in', '_list', '_elements', '_contained']) expect(await refused([{ ...grant('Observation', 'rs'), criteria: [[name, 'alder']] }], 'Observation')).toBe('forbidden');
  });

  test('decide conditional interactions too', async () => {
    const response = await fhir.call(all, 'POST', 'Observation', observation('one'), { ifNoneExist: 'patient.family=alder&code=alpha' });
    expect(response.status).toBe(200);
    expect((await fhir.call(all, 'PUT', 'Observation?_has:Provenance:target:agent=Practitioner/dr&patient.family=alder', observation('one', { id: 'o9' }))).error?.code).toBe('request-invalid');
    expect((await fhir.call(mine, 'DELETE', 'Observation?patient.family=birch&code=beta')).status).toBe(204);
    expect(await found(all, 'Observation?code=beta')).toEqual(['o3']);
    // What shapes a result is no criterion, and without one nothing may be changed.
    for (const [query, code] of [['_contained=true', 'search-unsupported'], ['code=beta&_contained=both', 'search-unsupported'], ['_cursor=x', 'search-unsupported'], ['_include:iterate=*', 'criteria-required'], ['_count=1', 'criteria-required']]) expect([query, (await fhir.call(all, 'DELETE', `Observation?${query}`)).error?.code]).toEqual([query, code]);
    expect((await fhir.call(mine, 'DELETE', 'Observation?_has:AuditEvent:entity:action=R')).error?.code).toBe('forbidden');
  });
});

describe('modifiers', () => {
  test.each([
    ['Patient?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|2', ['two']], ['Patient?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|DL|2', ['one']], ['Patient?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|DL|1', []],
    ['Observation?code:in=http://vs.example/alpha', ['o1', 'o2']], ['Observation?code:in=ValueSet/vs', ['o1', 'o2']], ['Observation?code:not-in=http://vs.example/alpha', ['o3']], ['Observation?code:below=urn:c|any', ['o1', 'o2', 'o3']], ['Observation?code:below=urn:c|alpha', ['o1', 'o2']],
    ['Observation?code:above=urn:c|gamma', ['o1', 'o2']], ['Observation?code:above=urn:c|any', []], ['Observation?patient.family=birch&code:in=http://vs.example/alpha', ['o2']],
    ['Encounter?location:below=Location/house', ['e1', 'e2', 'e3']], ['Encounter?location:below=ward', ['e1', 'e2']], ['Encounter?location:above=room', ['e1', 'e2', 'e3']], ['Encounter?location:above=Location/ward', ['e2', 'e3']], ['Location?partof:below=house', ['room', 'ward']],
    ['ValueSet?url:below=http://vs.example/', ['vs']], ['ValueSet?url:above=http://vs.example/alpha/1', ['vs']], ['ValueSet?url:above=http://vs.example/', []],
    ['Encounter?location.name:contains=OO', ['e1']], ['Observation?code:not=alpha', ['o3']],
  ] as const)('%s', async (url, expected) => {
    expect(await found(all, url)).toEqual(expected);
  });

  test('are refused where they cannot be', async () => {
    for (const url of ['Observation?code:in=http://vs.example/none', 'Observation?code:in=ValueSet/none', 'Observation?patient:below=one', 'Observation?code:of-type=a|b|c', 'Patient?name:below=x', 'Patient?birthdate:not=2000', 'Observation?code:nonsense=x', 'Encounter?location:below=Patient/one']) expect([url, await refused(all, url)]).toEqual([url, 'search-invalid']);
  });
});

describe('includes', () => {
  const included = async (grants: typeof all, url: string) => found(grants, url, 'include');

  test('one level, types, wildcards', async () => {
    expect(await included(all, 'Observation?_id=o1&_include=Observation:subject')).toEqual(['one']);
    expect(await included(all, 'Observation?_id=o1&_include=Observation:subject:Group')).toEqual([]);
    for (const all_ of ['*', 'Observation:*']) expect(await included(all, `Observation?_id=o1&_include=${all_}`)).toEqual(['e1', 'one']);
    expect(await included(all, 'Patient?_id=one&_revinclude=*')).toEqual(['e1', 'l1', 'o1', 'p1']);
    expect(await included(all, 'Patient?_id=one&_revinclude=Observation:*&_revinclude=Observation:subject')).toEqual(['o1']);
    expect(await included(all, 'Patient?_id=two&_include=Patient:general-practitioner')).toEqual(['dr']);
  });

  test('iterate', async () => {
    expect(await included(all, 'Observation?_id=o1&_include=Observation:subject&_include=Patient:organization')).toEqual(['one']);
    expect(await included(all, 'Observation?_id=o1&_include=Observation:subject&_include:iterate=Patient:organization&_include:recurse=Organization:partof')).toEqual(['north', 'one', 'root']);
    expect(await included(all, 'Location?_id=room&_include:iterate=Location:partof')).toEqual(['house', 'ward']);
    expect(await included(all, 'Location?_id=house&_revinclude:iterate=Location:partof')).toEqual(['room', 'ward']);
    expect(await included(all, 'Location?_include:iterate=Location:partof')).toEqual([]);
    expect(await included(all, 'Encounter?_id=e1&_include=Encounter:patient&_revinclude:iterate=Provenance:target&_include:iterate=*')).toEqual(['dr', 'house', 'north', 'one', 'p1', 'o1', 'room', 'root', 'ward'].sort());
  });

  test('show only what the caller may see', async () => {
    const few = mine.filter(({ type }) => type !== 'Organization');
    expect(await included(few, 'Observation?_include=Observation:subject&_include:iterate=Patient:organization')).toEqual(['one']);
    expect(await included(mine, 'Practitioner?_id=dr&_revinclude=Patient:general-practitioner&_revinclude=Observation:performer')).toEqual(['one']);
    expect(await included(mine, 'Practitioner?_id=dr&_revinclude:iterate=*')).toEqual(expect.not.arrayContaining(['two', 'o2', 'o3', 'l2', 'e2']));
  });

  test('bring the version that a reference names', async () => {
    const { entry = [] } = await bundle(all, 'Observation?_id=o3&_include=Observation:has-member');
    expect(entry.find(({ search }) => search.mode === 'include')?.resource).toMatchObject({ id: 'o2', meta: { versionId: '1' } });
  });
});

describe('words and contained resources', () => {
  test.each([
    ['Observation?_text=marrow', ['o1']], ['Observation?_text=MARROW%20bone', ['o1']], ['Observation?_text="bone marrow"', ['o1']], ['Observation?_text="marrow bone"', []], ['Observation?_text=row', []], ['Observation?_content="marrow of" OR beta', ['o3']], ['Observation?_content=alpha NOT bone', ['o2']],
    ['Observation?_content=bone (alpha OR beta)', ['o1']], ['Medication?code=inside', ['outside']], ['Medication?code=inside&_contained=true', ['mr']], ['Medication?code=inside&_contained=both', ['mr', 'outside']], ['Medication?code=other&_contained=both', []], ['Medication?code=inside&_contained=false', ['outside']],
  ] as const)('%s', async (url, expected) => {
    expect(await found(all, url)).toEqual(expected);
  });

  test('contained resources may be returned themselves', async () => {
    const { entry = [], total } = await bundle(all, 'Medication?code=inside&_contained=true&_containedType=contained');
    expect(entry.map(({ fullUrl, resource }) => [fullUrl, resource.resourceType])).toEqual([[`${baseUrl}/MedicationRequest/mr#m`, 'Medication']]);
    expect(total).toBeUndefined();
    expect(await refused([grant('MedicationRequest', 'rs')], 'Medication?_contained=true')).toBe('forbidden');
    expect(await found([grant('MedicationRequest', 'rs', 'one'), grant('Medication', 'rs')], 'Medication?_contained=true')).toEqual([]);
  });

  test('malformed ones are refused', async () => {
    for (const url of ['Observation?_text="a', 'Observation?_text=OR', 'Observation?_content=(a', 'Observation?_text:exact=a', 'Medication?_contained=maybe', 'Medication?_containedType=x']) expect([url, await refused(all, url)]).toEqual([url, 'search-invalid']);
  });
});

test('of a result, self says what was used', async () => {
  const { link } = await bundle(all, 'Observation?patient.family=birch&nonsense.a=b&_sort=_score,date&_has:Provenance:target:agent=x');
  expect(decodeURIComponent(link[0]!.url)).toBe(`${baseUrl}/Observation?patient.family=birch&_sort=date&_has:Provenance:target:agent=x`);
});
