import type { Asker, Json } from './evaluator.ts';

/** Numbers between 0 and 1, the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export const patients = ['p0', 'p1', 'p2', 'p3', 'p4', 'p5', 'p6', 'p7'];
export const organizationBase = { 'Organization/closed': 'deny', 'Organization/free': 'permit' } as const;

const loinc = 'http://loinc.org';
const confidentiality = 'http://terminology.hl7.org/CodeSystem/v3-Confidentiality';
const sensitivity = 'http://terminology.hl7.org/CodeSystem/v3-ActCode';
const profile = 'https://example.org/StructureDefinition/lab';
const codes = ['1-8', '2-6', '3-4'];
const concept = (code: string) => ({ coding: [{ system: loinc, code }] });
const about = (id: string) => ({ reference: `Patient/${id}` });
const label = (code: string) => ({ system: code.length === 1 ? confidentiality : sensitivity, code });

/** The people and organisations that consents name. */
export const directory: readonly Json[] = [
  { resourceType: 'Organization', id: 'hospital' },
  { resourceType: 'Organization', id: 'clinic', partOf: { reference: 'Organization/hospital' } },
  { resourceType: 'Organization', id: 'closed' },
  { resourceType: 'Organization', id: 'free' },
  { resourceType: 'Practitioner', id: 'ann' },
  { resourceType: 'Practitioner', id: 'bob' },
  { resourceType: 'PractitionerRole', id: 'ann-clinic', active: true, practitioner: { reference: 'Practitioner/ann' }, organization: { reference: 'Organization/clinic' } },
  { resourceType: 'PractitionerRole', id: 'bob-free', active: false, practitioner: { reference: 'Practitioner/bob' }, organization: { reference: 'Organization/free' } },
  { resourceType: 'CareTeam', id: 'team', status: 'active', participant: [{ member: { reference: 'Practitioner/bob' } }] },
];

/** Who asks. What people belong to follows from {@link directory}, written out here. */
export const askers: readonly Omit<Asker, 'purposes' | 'at'>[] = [
  { isClient: false, self: 'Practitioner/ann', memberOf: ['Practitioner/ann', 'PractitionerRole/ann-clinic', 'Organization/clinic'], perhaps: ['Organization/hospital'] },
  { isClient: false, self: 'Practitioner/bob', memberOf: ['Practitioner/bob', 'CareTeam/team'], perhaps: ['PractitionerRole/bob-free', 'Organization/free'] },
  { isClient: false, memberOf: [], perhaps: [] },
  { isClient: true, memberOf: [], perhaps: [] },
  { isClient: false, self: 'Patient/p0', memberOf: ['Patient/p0'], perhaps: [] },
];

/** What is in the record of the patients; two of them share a group. */
export function record(draw: () => number): { readonly resource: Json; readonly patients: readonly string[] }[] {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(draw() * from.length)]!;
  const meta = (): { meta?: Json } => {
    const security = [...(draw() < 0.4 ? [label(pick(['L', 'N', 'R', 'V']))] : []), ...(draw() < 0.3 ? [label(pick(['PSY', 'HIV']))] : [])];
    const profiles = draw() < 0.4 ? [profile] : [];
    return security.length + profiles.length === 0 ? {} : { meta: { ...(security.length > 0 ? { security } : {}), ...(profiles.length > 0 ? { profile: profiles } : {}) } };
  };
  const date = () => pick(['2019-05-01', '2020-02-02', '2021-11-30', '2020']);
  const own = patients.flatMap((id) => [
    { resourceType: 'Patient', id, ...meta() },
    { resourceType: 'Encounter', id: `${id}-e`, status: 'finished', class: { system: sensitivity, code: 'AMB' }, subject: about(id), ...(draw() < 0.7 ? { period: { start: date() } } : {}), ...meta() },
    { resourceType: 'Observation', id: `${id}-o1`, status: 'final', code: concept(pick(codes)), subject: about(id), encounter: { reference: `Encounter/${id}-e` }, effectiveDateTime: date(), performer: [{ reference: pick(['Practitioner/ann', 'Practitioner/bob']) }], ...meta() },
    { resourceType: 'Observation', id: `${id}-o2`, status: 'final', code: concept(pick(codes)), subject: about(id), component: [{ code: concept(pick(codes)) }], ...meta() },
    { resourceType: 'Condition', id: `${id}-c`, code: concept(pick(codes)), subject: about(id), encounter: { reference: `Encounter/${id}-e` }, recordedDate: '2020-06-15', recorder: { reference: 'Practitioner/ann' }, ...meta() },
  ].map((resource) => ({ resource, patients: [id] })));
  const shared = { resourceType: 'Group', id: 'both', type: 'person', actual: true, member: [{ entity: about('p1') }, { entity: about('p2') }] };
  return [...own, { resource: shared, patients: ['p1', 'p2'] }];
}

/** A consent of a patient with provisions to any depth. */
export function consentOf(id: string, patient: string, draw: () => number): Json {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(draw() * from.length)]!;
  const some = <T>(make: () => T): T[] => (draw() < 0.75 ? [make()] : [make(), make()]);
  const period = (from: number): Json => ({ ...(draw() < 0.8 ? { start: pick(['2019-01-01', '2020-01-01', `${from}`]) } : {}), ...(draw() < 0.6 ? { end: pick(['2020-06-30', '2021-12-31', '2030-01-01']) } : {}) });
  const constraints: Readonly<Record<string, () => unknown>> = {
    period: () => period(2024),
    dataPeriod: () => period(2018),
    actor: () => some(() => ({ role: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ParticipationType', code: pick(['PRCP', 'PRCP', 'PRCP', 'CST']) }] }, reference: { reference: pick(['Practitioner/ann', 'Practitioner/bob', 'PractitionerRole/ann-clinic', 'PractitionerRole/bob-free', 'Organization/clinic', 'Organization/hospital', 'Organization/free', 'CareTeam/team', 'Patient/p0']) } })),
    action: () => some(() => ({ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentaction', code: pick(['access', 'access', 'use', 'disclose', 'collect', 'correct']) }] })),
    purpose: () => some(() => ({ system: 'http://terminology.hl7.org/CodeSystem/v3-ActReason', code: pick(['TREAT', 'ETREAT', 'HPAYMT', 'HRESCH']) })),
    class: () => some(() => (draw() < 0.7 ? { system: 'http://hl7.org/fhir/resource-types', code: pick(['Observation', 'Condition', 'Patient', 'Encounter', 'Group']) } : { system: 'urn:ietf:rfc:3986', code: profile })),
    code: () => some(() => concept(pick(codes))),
    securityLabel: () => some(() => label(pick(['N', 'R', 'R', 'V', 'PSY', 'HIV']))),
    data: () => some(() => ({ meaning: pick(['instance', 'related', 'dependents', 'authoredby']), reference: { reference: pick([`Patient/${patient}`, `Observation/${patient}-o1`, `Encounter/${patient}-e`, `Condition/${patient}-c`, 'Practitioner/ann']) } })),
  };
  const provision = (depth: number): Json => {
    const chosen = Object.entries(constraints).filter(() => draw() < (depth === 0 ? 0.08 : 0.2)).map(([name, make]) => [name, make()] as const);
    const count = depth >= 3 ? 0 : Math.floor(draw() * (depth === 0 ? 3.5 : 1.8));
    return {
      ...(depth > 0 || draw() < 0.4 ? { type: pick(['permit', 'deny']) } : {}),
      ...Object.fromEntries(chosen),
      ...(count === 0 ? {} : { provision: Array.from({ length: count }, () => provision(depth + 1)) }),
    };
  };
  return {
    resourceType: 'Consent', id, status: draw() < 0.93 ? 'active' : pick(['inactive', 'draft', 'rejected']),
    scope: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentscope', code: draw() < 0.95 ? 'patient-privacy' : 'research' }] },
    category: [{ coding: [{ system: loinc, code: '59284-0' }] }],
    patient: about(patient), dateTime: '2020-01-01',
    ...(draw() < 0.5 ? { policyRule: { coding: [{ system: sensitivity, code: pick(['OPTIN', 'OPTINR', 'OPTOUT', 'OPTOUTE']) }] } } : {}),
    ...(draw() < 0.3 ? { organization: [{ reference: pick(['Organization/closed', 'Organization/free', 'Organization/clinic']) }] } : {}),
    ...(draw() < 0.95 ? { provision: provision(0) } : {}),
  };
}
