import type { Random } from '../oracle/random.ts';
import { otherIds, otherTypes, type Attempt, type Json } from './worlds.ts';

type Make = (random: Random) => Attempt;

const ownIds: Readonly<Record<string, readonly string[]>> = {
  Patient: ['me'], Encounter: ['own-enc'], Observation: ['own-obs0', 'own-obs1', 'own-obs2', 'own-derived'], Condition: ['own-cond', 'own-linked'], DocumentReference: ['own-doc'], Binary: ['own-bin'], List: ['own-list'], Composition: ['own-comp'], Task: [], Basic: [], QuestionnaireResponse: [],
};

const get = (url: string): Attempt => ({ method: 'GET', url });
const type = (random: Random): string => random.pick(otherTypes);
const other = (random: Random): string => random.pick(otherIds);
const anyId = (random: Random, of: string): string => (random.chance(0.3) && (ownIds[of] ?? []).length > 0 ? random.pick(ownIds[of]!) : other(random));
const reference = (random: Random): string => `Patient/${anyId(random, 'Patient')}`;
const mrn = (random: Random): string => `urn:mrn|${random.below(6)}`;

/** Criteria of each kind, on types that others have. */
const criteria: readonly (readonly [type: string, (random: Random) => string])[] = [
  ['Observation', (r) => `code=${r.below(3)}`], ['Observation', (r) => `subject=${reference(r)}`], ['Observation', (r) => `patient=${other(r)}`], ['Observation', (r) => `patient.name=${r.pick(['own', 'other'])}`], ['Observation', (r) => `subject:Patient.gender=${r.pick(['male', 'female'])}`],
  ['Observation', (r) => `derived-from=Observation/${anyId(r, 'Observation')}`], ['Observation', (r) => `derived-from.code=${r.below(3)}`], ['Observation', (r) => `has-member:Observation.value-quantity=gt${r.below(9)}`], ['Observation', () => 'encounter.status=in-progress'], ['Observation', () => 'encounter:missing=true'],
  ['Observation', (r) => `identifier=${mrn(r)}`], ['Observation', (r) => `value-quantity=gt${r.below(9)}`], ['Observation', (r) => `date=ge202${r.below(4)}`], ['Observation', (r) => `_id=${anyId(r, 'Observation')},${other(r)}`], ['Observation', (r) => `code:not=${r.below(3)}`], ['Observation', (r) => `_filter=code eq ${r.below(3)} or subject eq Patient/${other(r)}`], ['Observation', (r) => `performer.name=${r.pick(['doc', 'other'])}`],
  ['Observation', (r) => `_list=${anyId(r, 'List')}`], ['Observation', (r) => `_content=${r.pick(['final', 'other'])}`], ['Observation', (r) => `_has:Observation:derived-from:code=${r.below(3)}`], ['Observation', (r) => `_has:List:item:subject=Patient/${other(r)}`], ['Observation', () => '_has:Task:focus:status=requested'], ['Observation', (r) => `_has:Composition:entry:title=${r.pick(['own', 'x'])}`],
  ['Patient', (r) => `identifier=${mrn(r)}`], ['Patient', (r) => `name=${r.pick(['own', 'other', 'third'])}`], ['Patient', (r) => `_has:Observation:patient:code=${r.below(3)}`], ['Patient', (r) => `_has:Observation:subject:value-quantity=lt${r.below(9)}`], ['Patient', () => '_has:Encounter:patient:status=in-progress'], ['Patient', () => 'general-practitioner=Practitioner/doc'], ['Patient', (r) => `_id=${anyId(r, 'Patient')}`], ['Patient', () => 'gender=male,female'],
  ['Patient', (r) => `link.name=${r.pick(['own', 'other'])}`], ['Encounter', () => 'participant=Practitioner/doc2'], ['Encounter', (r) => `patient.identifier=${mrn(r)}`], ['Encounter', (r) => `_has:Condition:encounter:code=${r.pick(['own', 'other'])}`], ['Encounter', (r) => `_has:Observation:encounter:code=${r.below(3)}`], ['Encounter', () => 'status=in-progress'],
  ['Condition', (r) => `encounter=Encounter/${anyId(r, 'Encounter')}`], ['Condition', () => 'encounter.status=in-progress'], ['Condition', (r) => `identifier=${mrn(r)}`], ['Practitioner', (r) => `_has:Patient:general-practitioner:name=${r.pick(['own', 'other'])}`], ['Practitioner', () => '_has:Encounter:practitioner:status=in-progress'], ['Practitioner', (r) => `_has:Observation:performer:patient=${other(r)}`],
  ['Location', () => '_has:Encounter:location:status=finished'], ['List', (r) => `item=Observation/${anyId(r, 'Observation')}`], ['Task', (r) => `identifier=${mrn(r)}`], ['Basic', (r) => `identifier=${mrn(r)}`], ['DocumentReference', (r) => `identifier=${mrn(r)}`], ['Binary', () => '_id:missing=false'], ['Composition', (r) => `entry.code=${r.below(3)}`], ['Composition', (r) => `entry=Observation/${other(r)}`],
];

const shaping: readonly Make[] = [
  () => get(''), () => get('_total=accurate'), () => get('_total=estimate'), () => get('_summary=count'), () => get('_count=1'), () => get('_count=0'), () => get('_sort=-_lastUpdated'), () => get('_sort=date,code'), () => get('_include=*'), () => get('_include=*&_include:iterate=*'), () => get('_revinclude=*'), () => get('_revinclude=Observation:derived-from'),
  () => get('_revinclude=Observation:patient&_revinclude:iterate=Observation:derived-from'), () => get('_include=Observation:derived-from&_include=Observation:has-member'), () => get('_include=Condition:encounter'), () => get('_include=Composition:entry'), () => get('_revinclude=Task:focus&_revinclude=List:item'), () => get('_contained=both'), () => get('_elements=id'), () => get('_revinclude=Provenance:target'),
];

function query(random: Random): { of: string; text: string } {
  const [of, one] = random.pick(criteria);
  const more = random.chance(0.25) ? criteria.filter(([same]) => same === of) : [];
  const parts = [one(random), ...(more.length > 0 ? [random.pick(more)[1](random)] : [])];
  return { of, text: parts.join('&') };
}

const searched: Make = (random) => {
  const { of, text } = query(random);
  const shape = [random.pick(shaping)(random).url, random.chance(0.2) ? random.pick(shaping)(random).url : ''].filter(Boolean);
  return get(`${of}?${[text, ...shape].join('&')}`);
};

const bodyOf = (random: Random, of: string, id: string | undefined, owner: string): Json => ({
  resourceType: of, ...(id === undefined ? {} : { id }),
  ...({
    Patient: { name: [{ family: 'Written' }] }, Encounter: { status: 'finished', class: { code: 'AMB' }, subject: { reference: owner } }, Observation: { status: 'final', code: { coding: [{ system: 'http://loinc.org', code: '2' }] }, subject: { reference: owner }, ...(random.chance(0.3) ? { derivedFrom: [{ reference: `Observation/${other(random)}` }] } : {}) },
    Condition: { subject: { reference: owner }, code: { text: 'written' }, ...(random.chance(0.3) ? { encounter: { reference: `Encounter/${anyId(random, 'Encounter')}` } } : {}) }, DocumentReference: { status: 'current', subject: { reference: owner }, content: [{ attachment: { url: 'Binary/x0' } }] }, List: { status: 'current', mode: 'working', subject: { reference: owner }, entry: [{ item: { reference: `Observation/${other(random)}` } }] },
    Task: { status: 'requested', intent: 'order' }, Basic: { code: { text: 'a' } }, QuestionnaireResponse: { status: 'completed', subject: { reference: owner } }, Binary: { contentType: 'text/plain', data: 'eA==', securityContext: { reference: `DocumentReference/${anyId(random, 'DocumentReference')}` } },
  } as Record<string, Json>)[of],
});

const owner = (random: Random): string => (random.chance(0.7) ? 'Patient/me' : reference(random));
const patches: readonly Json[] = [{ op: 'add', path: '/language', value: 'en' }, { op: 'test', path: '/resourceType', value: 'Observation' }, { op: 'remove', path: '/language' }];

/** Reads, writes, conditions and operations on one resource. */
const single: Readonly<Record<string, Make>> = {
  'read': (r) => { const of = type(r); return get(`${of}/${anyId(r, of)}`); },
  'vread': (r) => { const of = type(r); return get(`${of}/${anyId(r, of)}/_history/${1 + r.below(3)}`); },
  'history': (r) => { const of = type(r); return get(r.pick([`${of}/${anyId(r, of)}/_history`, `${of}/_history?_count=${1 + r.below(5)}`, `_history?_count=${1 + r.below(9)}`, `${of}/_history?_since=2020-01-01`, `${of}/${other(r)}/_history?_since=2020-01-01`])); },
  'search': searched,
  'search by POST': (r) => searched(r),
  'system search': (r) => get(r.pick([`?_type=${type(r)},${type(r)}`, `?_type=Observation,Patient&_id=${other(r)},me`, `?_id=${other(r)}&_total=accurate`, '?_summary=count', `?_content=other`, `?_type=Observation,Condition&_count=2&_total=accurate`])),
  'compartment': (r) => get(r.pick([`Patient/${anyId(r, 'Patient')}/Observation`, `Patient/${other(r)}/*`, `Encounter/${anyId(r, 'Encounter')}/Observation?_total=accurate`, `Encounter/own-enc/Condition`, `Practitioner/doc/Observation?_summary=count`, `Practitioner/doc2/Encounter`, 'Practitioner/doc/*', `Patient/${anyId(r, 'Patient')}/Condition?code=other`])),
  'operation': (r) => get(r.pick([
    `Patient/${anyId(r, 'Patient')}/$everything`, 'Patient/$everything?_count=5', `Encounter/${anyId(r, 'Encounter')}/$everything`, `Observation/$lastn?patient=${anyId(r, 'Patient')}&category=laboratory&max=3`, 'Observation/$lastn?subject:Patient.gender=male&category=laboratory', `Observation/${anyId(r, 'Observation')}/$diff`,
    `$diff?from=Observation/own-obs0&to=Observation/${other(r)}`, `$diff?from=Observation/${other(r)}/_history/1&to=Observation/own-obs0`, `${type(r)}/${other(r)}/$meta`, 'Observation/$meta', '$meta', `Observation/${anyId(r, 'Observation')}/$validate`, `Observation/${other(r)}/$validate?mode=delete`, `Patient/${other(r)}/$validate?profile=http://hl7.org/fhir/StructureDefinition/Patient`,
  ])),
  'match': (r) => ({ method: 'POST', url: 'Patient/$match', body: { resourceType: 'Parameters', parameter: [{ name: 'resource', resource: { resourceType: 'Patient', identifier: [{ system: 'urn:mrn', value: String(r.below(6)) }], name: [{ family: r.pick(['Own', 'Other', 'Third']) }], gender: 'female' } }, { name: 'count', valueInteger: 5 }] } }),
  'validate': (r) => ({ method: 'POST', url: r.pick(['Observation/$validate', `Observation/${other(r)}/$validate`]), body: bodyOf(r, 'Observation', undefined, reference(r)) }),
  'meta-add': (r) => ({ method: 'POST', url: `Observation/${anyId(r, 'Observation')}/$meta-add`, body: { resourceType: 'Parameters', parameter: [{ name: 'meta', valueMeta: { tag: [{ system: 'urn:t', code: 'a' }] } }] } }),
  'create': (r) => { const of = type(r); return { method: 'POST', url: of, body: bodyOf(r, of, undefined, owner(r)), headers: r.chance(0.5) ? { ifNoneExist: r.chance(0.5) ? `identifier=${mrn(r)}` : query(r).text } : {} }; },
  'update': (r) => { const of = type(r); const id = anyId(r, of); return { method: 'PUT', url: `${of}/${id}`, body: bodyOf(r, of, id, owner(r)), headers: r.chance(0.3) ? { ifMatch: `W/"${1 + r.below(3)}"` } : r.chance(0.1) ? { ifNoneMatch: '*' } : {} }; },
  'conditional update': (r) => { const { of, text } = query(r); return { method: 'PUT', url: `${of}?${text}`, body: bodyOf(r, of, r.chance(0.2) ? other(r) : undefined, owner(r)) }; },
  'patch': (r) => { const of = type(r); return { method: 'PATCH', url: `${of}/${anyId(r, of)}`, body: [r.pick(patches)], contentType: 'application/json-patch+json' }; },
  'conditional patch': (r) => { const { of, text } = query(r); return { method: 'PATCH', url: `${of}?${text}`, body: [r.pick(patches)], contentType: 'application/json-patch+json' }; },
  'delete': (r) => { const of = type(r); return { method: 'DELETE', url: `${of}/${other(r)}`, headers: r.chance(0.3) ? { ifMatch: 'W/"1"' } : {} }; },
  'conditional delete': (r) => ({ method: 'DELETE', url: `${r.pick(['Observation', 'Task', 'Basic', 'Encounter'])}?identifier=${mrn(r)}` }),
  'Binary': (r) => ({ method: 'GET', url: `Binary/${anyId(r, 'Binary')}`, headers: r.chance(0.7) ? { accept: '*/*', ...(r.chance(0.3) ? { range: 'bytes=0-3' } : {}) } : {} }),
};

/** Names of the kinds of attempts. */
export const kinds = [...Object.keys(single), 'bundle', 'next page', 'page of another'] as const;

function entryOf(random: Random): Json {
  const { method, url, body, headers = {}, contentType } = random.pick(Object.values(single))(random);
  const conditional = { ifNoneExist: headers['ifNoneExist'], ifMatch: headers['ifMatch'], ifNoneMatch: headers['ifNoneMatch'] };
  const resource = contentType === undefined ? body : { resourceType: 'Binary', contentType, data: Buffer.from(JSON.stringify(body)).toString('base64') };
  return { ...(resource === undefined ? {} : { resource }), request: { method, url: url === '' ? '_history' : url, ...Object.fromEntries(Object.entries(conditional).filter(([, value]) => value !== undefined)) } };
}

/** An attempt of some kind; undefined for those that follow a link, which only the asking world knows. */
export function attemptOf(random: Random, kind: string): Attempt | undefined {
  if (kind === 'next page' || kind === 'page of another') return undefined;
  if (kind !== 'bundle') return single[kind]!(random);
  const entry = random.some(3, () => entryOf(random));
  if (random.chance(0.3)) entry.push({ resource: { resourceType: 'Observation', status: 'final', code: { text: 'x' }, subject: { reference: random.pick([`Patient?identifier=${mrn(random)}`, 'Patient?name=own', `Patient?_id=${other(random)}`]) } }, request: { method: 'POST', url: 'Observation' } });
  return { method: 'POST', url: '', body: { resourceType: 'Bundle', type: random.pick(['batch', 'batch', 'transaction']), entry } };
}
