import { describe, expect, test } from '@jest/globals';
import { dateRange, extractParam, extractSearchValues, normalizeString, patientsOf, type Resource, type ValueContext } from '../../../../resources/search-values/index.ts';

const ms = (iso: string) => Date.parse(iso);
const values = (code: string, resource: Resource, context?: ValueContext) => extractParam(resource, code, context);

describe('token', () => {
  test('a concept gives one token for each coding and one for its text', () => {
    const code = { coding: [{ system: 'urn:a', code: 'X', display: 'Ex' }, { code: 'Y' }], text: 'Words' };
    expect(values('code', { resourceType: 'Observation', code })).toEqual([{ kind: 'token', system: 'urn:a', code: 'X', text: 'Ex' }, { kind: 'token', code: 'Y' }, { kind: 'token', text: 'Words' }]);
  });

  test('a code has the system that its required value set implies', () => {
    expect(values('gender', { resourceType: 'Patient', gender: 'female' })).toEqual([{ kind: 'token', system: 'http://hl7.org/fhir/administrative-gender', code: 'female' }]);
    expect(values('status', { resourceType: 'Observation', status: 'final' })).toEqual([{ kind: 'token', system: 'http://hl7.org/fhir/observation-status', code: 'final' }]);
    expect(values('language', { resourceType: 'Patient', communication: [{ language: { coding: [{ code: 'de' }] } }] })).toEqual([{ kind: 'token', code: 'de' }]);
  });

  test('identifier, contact point, boolean, Coding, id', () => {
    const patient: Resource = {
      resourceType: 'Patient', id: 'p1', active: false, meta: { tag: [{ system: 'urn:t', code: 'T' }] },
      identifier: [{ system: 'urn:mrn', value: 'A1', type: { text: 'MRN' } }, { value: 'B2' }],
      telecom: [{ system: 'phone', value: '555' }, { system: 'email', value: 'a@b.c' }, { system: 'phone' }],
    };
    expect(values('identifier', patient)).toEqual([{ kind: 'token', system: 'urn:mrn', code: 'A1', text: 'MRN' }, { kind: 'token', code: 'B2' }]);
    expect(values('phone', patient)).toEqual([{ kind: 'token', code: '555' }]);
    expect(values('email', patient)).toEqual([{ kind: 'token', code: 'a@b.c' }]);
    expect(values('telecom', patient)).toHaveLength(2);
    expect(values('active', patient)).toEqual([{ kind: 'token', code: 'false' }]);
    expect(values('_id', patient)).toEqual([{ kind: 'token', code: 'p1' }]);
    expect(values('_tag', patient)).toEqual([{ kind: 'token', system: 'urn:t', code: 'T' }]);
  });

  test('deceased is true for a date, false when nothing is said', () => {
    const deceased = (more: object) => values('deceased', { resourceType: 'Patient', ...more });
    expect(deceased({ deceasedDateTime: '2020' })).toEqual([{ kind: 'token', code: 'true' }]);
    expect(deceased({ deceasedBoolean: true })).toEqual([{ kind: 'token', code: 'true' }]);
    expect(deceased({ deceasedBoolean: false })).toEqual([{ kind: 'token', code: 'false' }]);
    expect(deceased({})).toEqual([{ kind: 'token', code: 'false' }]);
  });
});

describe('string', () => {
  test('names and addresses part by part', () => {
    const patient: Resource = { resourceType: 'Patient', name: [{ text: 'Dr Ada B. C.', family: 'C.', given: ['Ada', 'B.'], prefix: ['Dr'] }], address: [{ line: ['1 Road'], city: 'Town', postalCode: '01234' }] };
    expect(values('name', patient).map((it) => it.kind === 'string' && it.value)).toEqual(['Dr Ada B. C.', 'C.', 'Ada', 'B.', 'Dr']);
    expect(values('address', patient).map((it) => it.kind === 'string' && it.value)).toEqual(['1 Road', 'Town', '01234']);
    expect(values('family', patient)).toEqual([{ kind: 'string', value: 'C.' }]);
  });

  test('normalisation: case, marks, compatibility forms, spaces', () => {
    expect(normalizeString('  Éloïse\t MÜLLER ')).toBe('eloise muller');
    expect(normalizeString('ﬁné Ⅻ')).toBe('fine xii');
    for (const text of ['İstanbul', 'ẞ', 'Ångström', '\u0301', 'a\u00a0b', 'ǅ', 'Ω']) expect(normalizeString(normalizeString(text))).toBe(normalizeString(text));
  });
});

describe('date', () => {
  test.each([
    ['2020', '2020-01-01T00:00:00Z', '2021-01-01T00:00:00Z'],
    ['2020-12', '2020-12-01T00:00:00Z', '2021-01-01T00:00:00Z'],
    ['2020-02-29', '2020-02-29T00:00:00Z', '2020-03-01T00:00:00Z'],
    ['2020-02-29T23:59', '2020-02-29T23:59:00Z', '2020-03-01T00:00:00Z'],
    ['2020-01-01T10:00:00+02:00', '2020-01-01T08:00:00Z', '2020-01-01T08:00:01Z'],
    ['2020-01-01T10:00:00.5Z', '2020-01-01T10:00:00.500Z', '2020-01-01T10:00:00.600Z'],
    ['2020-01-01T10:00:00.123456Z', '2020-01-01T10:00:00.123Z', '2020-01-01T10:00:00.124Z'],
    ['2016-12-31T23:59:60Z', '2017-01-01T00:00:00Z', '2017-01-01T00:00:01Z'],
    ['0001-01-01', '0001-01-01T00:00:00Z', '0001-01-02T00:00:00Z'],
  ])('%s covers its precision', (text, lo, hi) => {
    expect(dateRange(text)).toEqual({ lo: ms(lo), hi: ms(hi) });
  });

  test.each(['', '20', '2020-13', '2020-00', '2020-02-30', '2020-1-1', '2020-01-01T24:00:00Z', '2020-01-01T10', '2020-01-01T10:61', '2020Z', 'abc', '2020-01-01 10:00'])('%j is no date', (text) => {
    expect(dateRange(text)).toBeUndefined();
  });

  test('the zone of dates without one; days of 23 and 25 hours', () => {
    expect(dateRange('2020-07-01', 'America/New_York')).toEqual({ lo: ms('2020-07-01T04:00:00Z'), hi: ms('2020-07-02T04:00:00Z') });
    expect(dateRange('2020', 'Asia/Kolkata')).toEqual({ lo: ms('2019-12-31T18:30:00Z'), hi: ms('2020-12-31T18:30:00Z') });
    const hours = (day: string) => { const range = dateRange(day, 'America/New_York')!; return (range.hi - range.lo) / 3_600_000; };
    expect([hours('2020-03-08'), hours('2020-11-01'), hours('2020-03-09')]).toEqual([23, 25, 24]);
    expect(dateRange('2020-07-01T00:00:00Z', 'America/New_York')!.lo).toBe(ms('2020-07-01T00:00:00Z'));
  });

  test('periods with open ends, schedules by their outer limits, choice elements', () => {
    const encounter = (period: object) => values('date', { resourceType: 'Encounter', period });
    expect(encounter({ start: '2020-01', end: '2020-02' })).toEqual([{ kind: 'date', lo: ms('2020-01-01'), hi: ms('2020-03-01') }]);
    expect(encounter({ start: '2020' })).toEqual([{ kind: 'date', lo: ms('2020-01-01'), hi: Infinity }]);
    expect(encounter({ end: '2020' })).toEqual([{ kind: 'date', lo: -Infinity, hi: ms('2021-01-01') }]);
    expect(encounter({})).toEqual([]);
    const observation = (effective: object) => values('date', { resourceType: 'Observation', ...effective });
    expect(observation({ effectiveDateTime: '2020' })).toEqual([{ kind: 'date', lo: ms('2020-01-01'), hi: ms('2021-01-01') }]);
    expect(observation({ effectiveTiming: { event: ['2020-03-01', '2020-01-01'], repeat: { boundsPeriod: { start: '2020-02-01', end: '2020-04-01' } } } })).toEqual([{ kind: 'date', lo: ms('2020-01-01'), hi: ms('2020-04-02') }]);
    expect(observation({ effectiveTiming: { repeat: { frequency: 1 } } })).toEqual([]);
  });
});

describe('reference', () => {
  const subject = (reference: object, context?: ValueContext) => values('subject', { resourceType: 'Observation', subject: reference }, context);

  test('relative, versioned, absolute, urn, logical', () => {
    expect(subject({ reference: 'Patient/1' })).toEqual([{ kind: 'reference', type: 'Patient', id: '1' }]);
    expect(subject({ reference: 'Patient/1/_history/2' })).toEqual([{ kind: 'reference', type: 'Patient', id: '1' }]);
    expect(subject({ reference: 'https://a.example/fhir/Patient/1' })).toEqual([{ kind: 'reference', url: 'https://a.example/fhir/Patient/1' }]);
    expect(subject({ reference: 'https://a.example/fhir/Patient/1/_history/3' }, { baseUrl: 'https://a.example/fhir/' })).toEqual([{ kind: 'reference', type: 'Patient', id: '1' }]);
    expect(subject({ reference: 'urn:uuid:0' })).toEqual([{ kind: 'reference', url: 'urn:uuid:0' }]);
    expect(subject({ identifier: { system: 'urn:mrn', value: '7' } })).toEqual([{ kind: 'reference', identifier: { system: 'urn:mrn', value: '7' } }]);
    expect(subject({ reference: 'Patient/1', identifier: { value: '7' } })).toEqual([{ kind: 'reference', type: 'Patient', id: '1', identifier: { value: '7' } }]);
  });

  test('contained and display-only references have no value', () => {
    expect(subject({ reference: '#p' })).toEqual([]);
    expect(subject({ display: 'someone' })).toEqual([]);
  });

  test('a parameter for one target type takes only that', () => {
    expect(values('patient', { resourceType: 'Observation', subject: { reference: 'Group/1' } })).toEqual([]);
    expect(values('patient', { resourceType: 'Observation', subject: { reference: 'https://a.example/fhir/Patient/1' } })).toHaveLength(1);
    expect(values('patient', { resourceType: 'Observation', subject: { type: 'Patient', identifier: { value: '7' } } })).toHaveLength(1);
    expect(values('patient', { resourceType: 'Observation', subject: { reference: 'urn:uuid:0' } })).toEqual([]);
  });

  test('canonicals, with and without version', () => {
    const urls = values('instantiates-canonical', { resourceType: 'CarePlan', instantiatesCanonical: ['https://a.example/PlanDefinition/x|1'] }).map((it) => it.kind === 'reference' && it.url);
    expect(urls).toEqual(['https://a.example/PlanDefinition/x|1', 'https://a.example/PlanDefinition/x']);
  });
});

describe('number, quantity, uri, composite', () => {
  test('numbers as decimal text', () => {
    expect(values('factor-override', { resourceType: 'ChargeItem', factorOverride: 0.8 })).toEqual([{ kind: 'number', value: '0.8' }]);
    expect(values('probability', { resourceType: 'RiskAssessment', prediction: [{ probabilityDecimal: 0.1 }, { probabilityRange: { low: { value: 1 } } }] })).toEqual([{ kind: 'number', value: '0.1' }, { kind: 'number', value: '0.01', high: '1' }]);
  });

  test('quantities and money', () => {
    expect(values('value-quantity', { resourceType: 'Observation', valueQuantity: { value: 6.5, unit: 'kg', system: 'http://unitsofmeasure.org', code: 'kg', comparator: '<' } })).toEqual([{ kind: 'quantity', value: '6.5', unit: 'kg', system: 'http://unitsofmeasure.org', code: 'kg', comparator: '<' }]);
    expect(values('totalnet', { resourceType: 'Invoice', totalNet: { value: 3, currency: 'EUR' } })).toEqual([{ kind: 'quantity', value: '3', system: 'urn:iso:std:iso:4217', code: 'EUR' }]);
    expect(values('value-quantity', { resourceType: 'Observation', valueQuantity: { unit: 'kg' } })).toEqual([]);
  });

  test('uri', () => {
    expect(values('url', { resourceType: 'ValueSet', url: 'urn:a' })).toEqual([{ kind: 'uri', value: 'urn:a' }]);
    expect(values('_profile', { resourceType: 'ValueSet', meta: { profile: ['urn:p|2'] } })).toEqual([{ kind: 'uri', value: 'urn:p|2' }, { kind: 'uri', value: 'urn:p' }]);
  });

  test('a composite takes its parts from the same repeat', () => {
    const component = (code: string, value: number) => ({ code: { coding: [{ code }] }, valueQuantity: { value } });
    const tuples = values('component-code-value-quantity', { resourceType: 'Observation', component: [component('s', 120), component('d', 80), { code: { coding: [{ code: 'no value' }] } }] });
    expect(tuples).toEqual([
      { kind: 'composite', components: [[{ kind: 'token', code: 's' }], [{ kind: 'quantity', value: '120' }]] },
      { kind: 'composite', components: [[{ kind: 'token', code: 'd' }], [{ kind: 'quantity', value: '80' }]] },
    ]);
    const sequence = { resourceType: 'MolecularSequence', referenceSeq: { chromosome: { coding: [{ code: '1' }] } }, variant: [{ start: 5, end: 9 }] };
    expect(values('chromosome-variant-coordinate', sequence)).toEqual([{ kind: 'composite', components: [[{ kind: 'token', code: '1' }], [{ kind: 'number', value: '5' }], [{ kind: 'number', value: '9' }]] }]);
  });
});

describe('whole resources', () => {
  test('parameters without a value are absent; content of the wrong shape has no values', () => {
    expect([...extractSearchValues({ resourceType: 'Patient' }).keys()]).toEqual(['deceased']);
    expect([...extractSearchValues({ resourceType: 'Patient', birthDate: 7, gender: ['x', null], name: ['x'], telecom: [null] }).keys()]).toEqual(['deceased', 'gender']);
    expect(extractSearchValues({ resourceType: 'Nonsense' }).size).toBe(0);
  });

  test('patients: by compartment parameters, the patient itself, each once', () => {
    expect(patientsOf({ resourceType: 'Patient', id: 'b', link: [{ other: { reference: 'Patient/a' } }, { other: { reference: 'RelatedPerson/r' } }] })).toEqual(['a', 'b']);
    expect(patientsOf({ resourceType: 'Condition', subject: { reference: 'Patient/1' }, asserter: { reference: 'Patient/1' } })).toEqual(['1']);
    expect(patientsOf({ resourceType: 'Appointment', participant: [{ actor: { reference: 'Patient/2' } }, { actor: { reference: 'Patient/1' } }, { actor: { reference: 'Practitioner/3' } }] })).toEqual(['1', '2']);
    expect(patientsOf({ resourceType: 'Condition', subject: { reference: 'https://elsewhere.example/Patient/1' } })).toEqual([]);
    expect(patientsOf({ resourceType: 'Condition', subject: { reference: 'https://here.example/Patient/1' } }, { baseUrl: 'https://here.example' })).toEqual(['1']);
    expect(patientsOf({ resourceType: 'Organization', id: 'o' })).toEqual([]);
  });
});
