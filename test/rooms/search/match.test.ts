import { describe, expect, test } from '@jest/globals';
import { extractSearchValues, patientsOf, type Resource } from '../../../resources/search-values/index.ts';
import { isSettled, type AskedCriterion, type Criterion, type SearchPrefix } from '../../../server/search/criteria.ts';
import { matches, type MatchSubject } from '../../../server/search/match.ts';
import { parseSearch } from '../../../server/search/parse.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');

function subject(resource: Resource): MatchSubject {
  return { type: resource.resourceType, id: resource.id ?? 'x', lastUpdatedMs: Date.parse('2020-06-15T12:00:00Z'), values: extractSearchValues(resource), patients: patientsOf(resource), content: { resource, context: {} } };
}

function settled(asked: AskedCriterion): Criterion {
  if (!isSettled(asked)) throw new Error('it depends on other resources');
  return asked;
}

function found(resource: Resource, query: string): boolean {
  return matches(subject(resource), settled(parseSearch(resource.resourceType, [...new URLSearchParams(query)], { strict: true, nowMs }).where));
}

const patient: Resource = {
  resourceType: 'Patient', id: 'p1', gender: 'female', birthDate: '1970-05-05', active: true,
  identifier: [{ system: 'urn:mrn', value: 'A1', type: { text: 'Medical Record' } }, { value: 'B2' }],
  name: [{ family: 'Müller', given: ['Anna Maria', 'Eve'] }],
  meta: { tag: [{ system: 'urn:t', code: 'T' }], profile: ['urn:profile|2'] },
};
const observation: Resource = {
  resourceType: 'Observation', id: 'o1', status: 'final', subject: { reference: 'Patient/p1', identifier: { system: 'urn:mrn', value: 'A1' } },
  code: { coding: [{ system: 'http://loinc.org', code: '1-1', display: 'Glucose in blood' }], text: 'Blood sugar' }, valueCodeableConcept: { text: 'only text' },
};

describe('token', () => {
  test.each([
    ['identifier=A1', true], ['identifier=a1', true], ['identifier=urn:mrn|A1', true], ['identifier=urn:MRN|A1', false], ['identifier=urn:mrn|', true], ['identifier=urn:other|', false],
    ['identifier=|B2', true], ['identifier=|A1', false], ['identifier=C3,A1', true], ['identifier=A', false], ['identifier:text=medical', true], ['identifier:text=record', false],
    ['gender=female', true], ['gender=http://hl7.org/fhir/administrative-gender|female', true], ['gender:not=male', true], ['gender:not=male,female', false], ['language:not=de', true], ['active=true', true],
    ['_tag=urn:t|T', true], ['_profile=urn:profile', true], ['_profile=urn:profile|2', true], ['_profile=urn:profile|1', false], ['gender:missing=false', true], ['language:missing=true', true], ['language:missing=false', false],
  ])('%s: %s', (query, expected) => {
    expect(found(patient, query)).toBe(expected);
  });

  test('a concept with only text has no code', () => {
    for (const query of ['value-concept=only', 'value-concept=|only']) expect(found(observation, query)).toBe(false);
    expect(found(observation, 'value-concept:text=ONLY')).toBe(true);
    expect(found(observation, 'code:text=glucose')).toBe(true);
    expect(found(observation, 'code:text=blood sugar')).toBe(true);
    expect(found(observation, 'code=http://loinc.org|1-1')).toBe(true);
  });
});

describe('string', () => {
  test.each([
    ['family=mul', true], ['family=MÜLLER', true], ['family=uller', false], ['family:contains=uller', true], ['family:exact=Müller', true], ['family:exact=muller', false], ['family:exact=Mül', false],
    ['given=anna m', true], ['given=anna%20%20maria', true], ['given=maria', false], ['name=eve', true], ['name=x,eve', true], ['name=eve&name=anna', true], ['name=eve&name=zoe', false],
  ])('%s: %s', (query, expected) => {
    expect(found(patient, query)).toBe(expected);
  });
});

describe('reference', () => {
  test.each([
    ['subject=p1', true], ['subject=Patient/p1', true], ['subject=Group/p1', false], ['subject:Patient=p1', true], ['subject:Group=p1', false], ['subject=P1', false],
    ['subject=Patient/p1/_history/9', true], ['subject=https://a.example/Patient/p1', false], ['subject:identifier=urn:mrn|A1', true], ['subject:identifier=A2', false], ['patient=p1', true],
    ['encounter:missing=true', true], ['subject:missing=true', false],
  ])('%s: %s', (query, expected) => {
    expect(found(observation, query)).toBe(expected);
  });

  test('absolute references match themselves', () => {
    const remote: Resource = { resourceType: 'Observation', subject: { reference: 'https://a.example/Patient/p1' } };
    expect(found(remote, 'subject=https://a.example/Patient/p1')).toBe(true);
    for (const query of ['subject=p1', 'subject=Patient/p1']) expect(found(remote, query)).toBe(false);
  });
});

describe('date: each prefix against each position of the resource (https://hl7.org/fhir/R4/search.html#prefix)', () => {
  const positions = {
    before: { start: '2019-01', end: '2019-02' },
    meetsStart: { start: '2019-01', end: '2019-12' },
    overlapsStart: { start: '2019-12', end: '2020-02' },
    within: { start: '2020-02', end: '2020-03' },
    equal: { start: '2020', end: '2020' },
    around: { start: '2019', end: '2021' },
    overlapsEnd: { start: '2020-12', end: '2021-01' },
    meetsEnd: { start: '2021-01', end: '2021-02' },
    after: { start: '2022', end: '2023' },
    openEnd: { start: '2020-02' },
    openStart: { end: '2020-02' },
    openEndAfter: { start: '2022' },
    openStartBefore: { end: '2018' },
  };
  const truth: Readonly<Record<Exclude<SearchPrefix, 'ap'>, readonly string[]>> = {
    eq: ['within', 'equal'],
    ne: ['before', 'meetsStart', 'overlapsStart', 'around', 'overlapsEnd', 'meetsEnd', 'after', 'openEnd', 'openStart', 'openEndAfter', 'openStartBefore'],
    gt: ['around', 'overlapsEnd', 'meetsEnd', 'after', 'openEnd', 'openEndAfter'],
    lt: ['before', 'meetsStart', 'overlapsStart', 'around', 'openStart', 'openStartBefore'],
    ge: ['within', 'equal', 'around', 'overlapsEnd', 'meetsEnd', 'after', 'openEnd', 'openEndAfter'],
    le: ['before', 'meetsStart', 'overlapsStart', 'within', 'equal', 'around', 'openStart', 'openStartBefore'],
    sa: ['meetsEnd', 'after', 'openEndAfter'],
    eb: ['before', 'meetsStart', 'openStartBefore'],
  };

  test.each(Object.entries(truth))('%s', (prefix, expected) => {
    const matched = Object.entries(positions).filter(([, period]) => found({ resourceType: 'Encounter', period }, `date=${prefix}2020`));
    expect(matched.map(([name]) => name)).toEqual(expected);
  });

  test('ap, no value, several values, precision', () => {
    expect(found({ resourceType: 'Encounter', period: positions.meetsEnd }, 'date=ap2020')).toBe(true);
    expect(found({ resourceType: 'Encounter', period: positions.openStartBefore }, 'date=ap2020')).toBe(false);
    for (const prefix of Object.keys(truth)) expect(found({ resourceType: 'Encounter' }, `date=${prefix}2020`)).toBe(false);
    expect(found(patient, 'birthdate=1970')).toBe(true);
    expect(found(patient, 'birthdate=1970-05-05')).toBe(true);
    expect(found(patient, 'birthdate=1970-05-05T10:00')).toBe(false);
    expect(found(patient, 'birthdate=ge1970-05-05&birthdate=lt1970-05-06')).toBe(true);
  });
});

describe('number, quantity, composite (https://hl7.org/fhir/R4/search.html#number)', () => {
  const risk = (probabilityDecimal: number): Resource => ({ resourceType: 'RiskAssessment', prediction: [{ probabilityDecimal }] });
  test.each([
    ['100', 100, true], ['100', 99.5, true], ['100', 99.49, false], ['100', 100.5, false], ['100', 100.49, true], ['100.00', 100.004, true], ['100.00', 100.006, false], ['1e2', 104, true], ['1e2', 105, false],
    ['ne100', 100.2, false], ['ne100', 101, true], ['gt100', 100.2, true], ['gt100', 100, false], ['ge100', 100, true], ['lt100', 99.99, true], ['lt100', 100, false], ['le100', 100, true], ['le100', 100.1, false],
    ['sa100', 100.1, true], ['eb100', 99.9, true], ['ap100', 110, true], ['ap100', 110.1, false], ['ap-100', -90, true], ['ap-100', -89, false], ['0.1', 0.1, true], ['0.3', 0.30000000000000004, true], ['0.30000000000000000', 0.30000000000000004, false], ['-5', -5.2, true], ['1e-7', 1e-7, true],
  ])('%s against %d: %s', (query, value, expected) => {
    expect(found(risk(value), `probability=${query}`)).toBe(expected);
  });

  test('quantities by code of a system, or by any code or unit', () => {
    const weight: Resource = { resourceType: 'Observation', valueQuantity: { value: 6.5, unit: 'kilo', system: 'http://unitsofmeasure.org', code: 'kg' } };
    for (const query of ['6.5', '6.5||kg', '6.5||kilo', '6.5|http://unitsofmeasure.org|kg', 'gt6|http://unitsofmeasure.org|']) expect(found(weight, `value-quantity=${query}`)).toBe(true);
    for (const query of ['6.4', '6.5||g', '6.5|urn:other|kg', '6.5|http://unitsofmeasure.org|kilo', 'gt7||kg']) expect(found(weight, `value-quantity=${query}`)).toBe(false);
  });

  test('a composite matches within one repeat only', () => {
    const component = (code: string, value: number) => ({ code: { coding: [{ code }] }, valueQuantity: { value } });
    const pressure: Resource = { resourceType: 'Observation', component: [component('s', 120), component('d', 80)] };
    for (const query of ['s$120', 'd$lt100', 's$80,d$80']) expect(found(pressure, `component-code-value-quantity=${query}`)).toBe(true);
    for (const query of ['s$80', 'd$gt100', 'x$120']) expect(found(pressure, `component-code-value-quantity=${query}`)).toBe(false);
  });
});

describe('tree', () => {
  test('type, id, compartment, time of recording, and the empty all and any', () => {
    const one = subject(observation);
    expect(matches(one, { op: 'type', types: ['Patient', 'Observation'] })).toBe(true);
    expect(matches(one, { op: 'compartment', type: 'Patient', ids: ['p1'] })).toBe(true);
    expect(matches(one, { op: 'compartment', type: 'Patient', ids: ['p2'] })).toBe(false);
    expect(matches(subject(patient), { op: 'compartment', type: 'Patient', ids: ['p1'] })).toBe(true);
    expect(matches(one, { op: 'all', of: [] })).toBe(true);
    expect(matches(one, { op: 'any', of: [] })).toBe(false);
    expect(found(observation, '_id=o2,o1')).toBe(true);
    expect(found(observation, '_id:not=o1')).toBe(false);
    expect(found(observation, '_lastUpdated=2020-06-15')).toBe(true);
    expect(found(observation, '_lastUpdated=gt2020-06-15')).toBe(false);
    expect(found(observation, '_lastUpdated=ge2020-06-15T12:00:00Z')).toBe(true);
  });
});
