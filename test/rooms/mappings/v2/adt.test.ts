import { describe, expect, test } from '@jest/globals';
import { V2Error } from '../../../../mappings/v2/error.ts';
import { orderingKeysOf } from '../../../../mappings/v2/ordering.ts';
import { parseMessage } from '../../../../mappings/v2/message.ts';
import { dangling, fixture, only, options, planOf, resource } from './support.ts';

const mrn = { system: 'urn:oid:2.16.840.1.113883.19.5', value: '10023' };
const visit = { system: 'urn:interlock:namespace:adt-north:NORTH:VN', value: 'V-5001' };

describe('patient', () => {
  const plan = planOf(fixture('adt-a28'));

  test('is found by the medical record number, never by the social security number', () => {
    expect(only(plan, 'Patient')).toMatchObject({ mode: 'merge', match: [mrn], createIfAbsent: true });
    expect(resource(plan, 'Patient').identifier).toMatchObject([mrn, { system: 'http://hl7.org/fhir/sid/us-ssn', value: '900-00-1234' }]);
  });

  test('carries PID', () => expect(resource(plan, 'Patient')).toMatchObject({
    name: [{ use: 'official', family: 'Sample', given: ['Ada', 'Marie'], prefix: ['Dr.'] }, { use: 'nickname', family: 'Sample', given: ['Addie'] }],
    birthDate: '1970-02-14',
    gender: 'female',
    deceasedBoolean: false,
    address: [{ use: 'home', line: ['12 Mill Lane', 'Apt 3'], city: 'Rivertown', state: 'OH', postalCode: '44101', country: 'USA' }],
    telecom: [{ system: 'phone', use: 'home', value: '(216)555-0101' }, { system: 'email', value: 'ada@example.org' }, { system: 'phone', use: 'work', value: '(216)555-0102' }],
    maritalStatus: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-MaritalStatus', code: 'M' }, { system: 'http://terminology.hl7.org/CodeSystem/v2-0002', code: 'M' }], text: 'Married' },
    extension: [{ url: 'http://hl7.org/fhir/us/core/StructureDefinition/us-core-race' }, { url: 'http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity', extension: [{ valueCoding: { code: '2186-5' } }, { valueString: 'Not Hispanic or Latino' }] }, { valueAddress: { text: 'Rivertown' } }],
  }));

  test('a person event makes no visit', () => {
    expect(plan.resources.map(({ resource: { resourceType } }) => resourceType)).toEqual(['Patient', 'RelatedPerson']);
    expect(planOf(fixture('adt-a31')).resources.map(({ resource: { resourceType } }) => resourceType)).toEqual(['Patient']);
  });

  test('without any number is refused', () => {
    expect(() => planOf('MSH|^~\\&|A|F|||2024||ADT^A28|1|P|2.5\rPID|1||||Doe')).toThrow(expect.objectContaining({ condition: '101', location: expect.objectContaining({ segment: 'PID', field: 3 }) }));
    expect(() => planOf('MSH|^~\\&|A|F|||2024||ADT^A28|1|P|2.5\rEVN|A28')).toThrow(expect.objectContaining({ condition: '100' }));
  });

  test('numbers without authority stay within their facility, numbers of accounts apart from those of persons', () => {
    const match = (pid3: string, facility = 'F1'): unknown => only(planOf(`MSH|^~\\&|A|${facility}|||2024||ADT^A28|1|P|2.5\rPID|1||${pid3}`, { assigningAuthorities: { KNOWN: 'https://known.example/mrn' } }), 'Patient').match;
    expect(match('12')).toEqual([{ system: 'urn:interlock:unqualified:adt-north:F1:patient', value: '12' }]);
    expect(match('12', 'F2')).toEqual([{ system: 'urn:interlock:unqualified:adt-north:F2:patient', value: '12' }]);
    expect(match('12^^^KNOWN')).toEqual([{ system: 'https://known.example/mrn', value: '12' }]);
    expect(match('12^^^&4bd3-a&UUID')).toEqual([{ system: 'urn:uuid:4bd3-a', value: '12' }]);
    expect(match('5^^^H^AN~12^^^H^LR~13^^^H^MR')).toEqual([{ system: 'urn:interlock:namespace:adt-north:H', value: '13' }, { system: 'urn:interlock:namespace:adt-north:H', value: '12' }]);
  });
});

describe('visit', () => {
  test('A01 opens it with everything around it', () => {
    const plan = planOf(fixture('adt-a01'));
    expect(only(plan, 'Encounter')).toMatchObject({ match: [visit], createIfAbsent: true });
    expect(resource(plan, 'Encounter')).toMatchObject({
      status: 'in-progress',
      class: { code: 'IMP', system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode' },
      subject: { reference: 'urn:key:patient-1' },
      period: { start: '2024-05-10T08:30:00-04:00' },
      location: [{ status: 'active', location: { display: 'A, 301, 3W, NORTH' } }],
      participant: [{ type: [{ coding: [{ code: 'ATND' }] }] }, { type: [{ coding: [{ code: 'REF' }] }] }, { type: [{ coding: [{ code: 'ADM' }] }] }],
      diagnosis: [{ condition: { reference: 'urn:key:condition-1' }, rank: 1 }],
      account: [{ identifier: { value: 'ACC-77' } }],
    });
    expect(resource(plan, 'Coverage')).toMatchObject({ status: 'active', beneficiary: { reference: 'urn:key:patient-1' }, payor: [{ display: 'Lakeside Insurance' }], subscriberId: 'POL-4711', period: { start: '2024-01-01', end: '2024-12-31' }, relationship: { coding: [{ code: 'self' }, {}] } });
    expect(resource(plan, 'AllergyIntolerance')).toMatchObject({ code: { coding: [{ system: 'http://www.nlm.nih.gov/research/umls/rxnorm', code: '7980' }] }, category: ['medication'], reaction: [{ severity: 'severe', manifestation: [{ text: 'Hives' }] }] });
    expect(resource(plan, 'Condition')).toMatchObject({ code: { coding: [{ system: 'http://hl7.org/fhir/sid/icd-10-cm', code: 'I20.9' }], text: 'Angina' }, encounter: { reference: 'urn:key:encounter-1' } });
    expect(resource(plan, 'Observation')).toMatchObject({ status: 'final', valueQuantity: { value: 168, code: 'cm', system: 'http://unitsofmeasure.org' } });
    expect(resource(plan, 'Procedure')).toMatchObject({ performedDateTime: '2024-05-10T09:00:00-04:00' });
    expect(plan.resources.filter(({ mode }) => mode === 'keep').map(({ key }) => key)).toEqual(['organization-1', 'practitioner-1', 'practitioner-2', 'practitioner-3', 'location-1', 'organization-2']);
    expect(plan.eventAtMs).toBe(Date.parse('2024-05-10T08:35:00-04:00'));
    expect(plan.unmapped).toEqual([{ path: 'ZPD', count: 1 }]);
    expect(dangling(plan)).toEqual([]);
  });

  test('A02 ends the stay at the old place and starts the one at the new', () => {
    expect(resource(planOf(fixture('adt-a02')), 'Encounter').location).toMatchObject([
      { status: 'completed', location: { display: 'A, 301, 3W, NORTH' }, period: { end: '2024-05-11T10:15:00-04:00' } },
      { status: 'active', location: { display: 'B, 2, ICU, NORTH' }, period: { start: '2024-05-11T10:15:00-04:00' } },
    ]);
  });

  test('A03 finishes it, with the event time where no discharge time is sent', () => {
    expect(resource(planOf(fixture('adt-a03')), 'Encounter')).toMatchObject({ status: 'finished', period: { end: '2024-05-14T16:00:00-04:00' }, hospitalization: { dischargeDisposition: { text: 'Home' } }, location: [{ status: 'completed' }] });
    expect(resource(planOf(fixture('adt-a03').replace('|20240514160000', '|')), 'Encounter')).toMatchObject({ status: 'finished', period: { start: '2024-05-10T08:30:00-04:00', end: '2024-05-14T16:05:00-04:00' } });
  });

  test('A13 opens it again, whatever PV1 still says of the discharge', () => {
    const planned = only(planOf(fixture('adt-a13')), 'Encounter');
    expect(planned.resource).toMatchObject({ status: 'in-progress', period: { start: '2024-05-10T08:30:00-04:00' } });
    expect(JSON.stringify(planned.resource)).not.toContain('"end"');
    expect(planned.clear).toContain('period.end');
  });

  test('A11 cancels a known visit and makes up none', () => {
    const planned = only(planOf(fixture('adt-a11')), 'Encounter');
    expect(planned).toMatchObject({ createIfAbsent: false, match: [visit], resource: { status: 'cancelled' } });
    expect(planned.resource.location).toBeUndefined();
  });

  test('A04 from a sender without MSH-9.3, in minutes', () => {
    expect(resource(planOf(fixture('adt-a04')), 'Encounter')).toMatchObject({ status: 'in-progress', class: { code: 'AMB' }, period: { start: '2024-06-01T08:55:00-04:00' } });
  });

  test('A08 leaves what it does not carry and deletes what it says', () => {
    const plan = planOf(fixture('adt-a08'));
    expect(only(plan, 'Patient').clear).toEqual(['telecom[use=work]', 'maritalStatus']);
    expect(resource(plan, 'Patient').maritalStatus).toBeUndefined();
    expect(only(plan, 'Encounter')).toMatchObject({ fill: ['class', 'status'], resource: { class: { code: 'UNK' }, status: 'in-progress' } });
  });

  test('without number it cannot be updated, only opened', () => {
    const text = (trigger: string): string => `MSH|^~\\&|A|F|||20240510||ADT^${trigger}|1|P|2.5\rPID|1||7\rPV1|1|I`;
    expect(planOf(text('A08')).resources.map(({ key }) => key)).toEqual(['patient-1']);
    expect(only(planOf(text('A01')), 'Encounter').mode).toBe('create');
  });

  test('a discharge before the admission is dropped and reported', () => {
    const plan = planOf('MSH|^~\\&|A|F|||20240510||ADT^A08|1|P|2.5\rPID|1||7\rPV1|1|I|||||||||||||||||V|||||||||||||||||||||||||20240510|20240501');
    expect(resource(plan, 'Encounter').period).toEqual({ start: '2024-05-10' });
    expect(plan.unmapped).toEqual([{ path: 'PV1-45', count: 1 }]);
  });
});

describe('merge', () => {
  test('A40 with several pairs names each survivor and its retired record', () => {
    const plan = planOf(fixture('adt-a40'));
    expect(plan.merges).toEqual([{ survivor: 'patient-1', retired: 'retired-1' }, { survivor: 'patient-2', retired: 'retired-2' }]);
    const retired = plan.resources.find(({ key }) => key === 'retired-2');
    expect(retired).toMatchObject({ match: [{ value: '20046' }, { value: '20047' }], resource: { active: false, link: [{ other: { reference: 'urn:key:patient-2' }, type: 'replaced-by' }] } });
  });

  test('into itself, without MRG or with an empty one is refused', () => {
    const text = (rest: string): string => `MSH|^~\\&|A|F|||20240510||ADT^A40|1|P|2.5\rPID|1||7^^^H\r${rest}`;
    expect(() => planOf(text('MRG|7^^^H'))).toThrow(expect.objectContaining({ condition: '102' }));
    expect(() => planOf(text('PV1|1|I'))).toThrow(expect.objectContaining({ condition: '100' }));
    expect(() => planOf(text('MRG|""'))).toThrow(expect.objectContaining({ condition: '101' }));
  });

  test('A47 keeps one patient with both numbers', () => {
    const planned = only(planOf('MSH|^~\\&|A|F|||20240510||ADT^A47|1|P|2.5\rPID|1||8^^^H\rMRG|7^^^H'), 'Patient');
    expect(planned.match.map(({ value }) => value)).toEqual(['8', '7']);
    expect(planned.resource.identifier).toMatchObject([{ value: '8' }, { value: '7', use: 'old' }]);
  });

  test('ordering keys name both sides', () => {
    const keys = (name: string): string[] => orderingKeysOf(parseMessage(fixture(name)), options);
    expect(keys('adt-a40')).toEqual(['10023', '10031', '20045', '20046', '20047'].map((number) => `${mrn.system}|${number}`));
    expect(keys('adt-a40').some((key) => keys('adt-a01').includes(key))).toBe(true);
  });
});

describe('refusals', () => {
  test.each([
    ['SIU^S12', '200'], ['ADT^A17', '201'], ['ADT^A99', '201'], ['', '101'], ['ADT', '201'],
  ])('%s is refused with %s', (type, condition) => expect(() => planOf(`MSH|^~\\&|A|F|||2024||${type}|1|P|2.5\rPID|1||7`)).toThrow(expect.objectContaining({ condition })));

  test('header faults have their own codes', () => {
    const text = (id: string, processing: string, version: string): string => `MSH|^~\\&|A|F|||2024||ADT^A01|${id}|${processing}|${version}\rPID|1||7`;
    for (const [id, processing, version, condition] of [['', 'P', '2.5', '101'], ['1', 'X', '2.5', '202'], ['1', 'P', '3.0', '203']] as const) {
      expect(() => planOf(text(id, processing, version))).toThrow(expect.objectContaining({ condition }));
    }
    expect(planOf(text('1', '', '')).messageType).toBe('ADT^A01');
  });

  test('texts of errors hold no content', () => {
    try {
      planOf('MSH|^~\\&|A|F|||2024||ADT^A28|1|P|2.5\rPID|1||||Secretname');
    } catch (error) {
      expect(error).toBeInstanceOf(V2Error);
      expect(String(error)).not.toContain('Secretname');
    }
    expect.assertions(2);
  });
});

test('codes that no table knows stay, and are reported by position', () => {
  const plan = planOf('MSH|^~\\&|A|F|||20240510||ADT^A28|1|P|2.5\rPID|1||7|||||X||||||||Q^Quite single');
  expect(resource(plan, 'Patient')).toMatchObject({ maritalStatus: { coding: [{ code: 'Q', display: 'Quite single' }], text: 'Quite single' }, _gender: { extension: [{ url: 'http://hl7.org/fhir/StructureDefinition/alternate-codes', valueCodeableConcept: { text: 'X' } }] } });
  expect(plan.untranslated).toEqual([{ path: 'PID-8', table: 'AdministrativeSex' }, { path: 'PID-16', table: 'MaritalStatus' }]);
});
