import { describe, expect, test } from '@jest/globals';
import type { Plan, PlannedResource } from '../../../../mappings/engine/plan.ts';
import { dangling, fixture, only, planOf, resource } from './support.ts';

const order = (control: string, state = ''): Plan => planOf(`MSH|^~\\&|A|F|||20240510||OMP^O09|1|P|2.5\rPID|1||7\rORC|${control}|P1|||${state}\rRXO|1^Aspirin^L|1||TAB`);

describe('medication orders', () => {
  test('ORM^O01: a drug and a laboratory order', () => {
    const plan = planOf(fixture('orm-o01'));
    expect(only(plan, 'MedicationRequest').match).toEqual([{ system: 'urn:interlock:namespace:adt-north:EHR', value: 'P-100' }, { system: 'urn:interlock:namespace:adt-north:PHARM', value: 'F-100' }]);
    expect(resource(plan, 'MedicationRequest')).toMatchObject({
      status: 'active',
      intent: 'order',
      priority: 'routine',
      medicationCodeableConcept: { coding: [{ system: 'http://www.nlm.nih.gov/research/umls/rxnorm', code: '197361' }] },
      authoredOn: '2024-05-10T09:30:00-04:00',
      requester: { display: 'Dr. Omar Keeler' },
      dosageInstruction: [{
        text: 'Take with water',
        timing: { repeat: { frequency: 1, period: 6, periodUnit: 'h', boundsPeriod: { start: '2024-05-10T10:00:00-04:00' } }, code: { coding: [{ code: 'Q6H' }] } },
        route: { coding: [{ system: 'http://snomed.info/sct', code: '26643006' }, { code: 'PO' }] },
        doseAndRate: [{ doseQuantity: { value: 1, unit: 'tablet' } }],
      }],
      dispenseRequest: { quantity: { value: 30, unit: 'tablet' }, numberOfRepeatsAllowed: 2 },
      substitution: { allowedCodeableConcept: { coding: [{ code: 'G' }, {}] } },
      note: [{ text: 'Check blood pressure first' }],
      reasonReference: [{ reference: 'urn:key:condition-1' }],
    });
    expect(resource(plan, 'ServiceRequest')).toMatchObject({ status: 'active', priority: 'stat', code: { coding: [{ system: 'http://loinc.org', code: '24323-8' }] }, subject: { reference: 'urn:key:patient-1' } });
    expect(dangling(plan)).toEqual([]);
  });

  test('RDE^O11: what the pharmacy encoded stands over what was asked', () => {
    const request = resource(planOf(fixture('rde-o11')), 'MedicationRequest');
    expect(request).toMatchObject({
      medicationReference: { reference: '#mixture', display: 'Ceftriaxone 1000 MG Injection' },
      contained: [{ resourceType: 'Medication', ingredient: [{ strength: { numerator: { value: 50, unit: 'mL' } } }, {}] }],
      priority: 'stat',
      dosageInstruction: [{
        timing: { repeat: { frequency: 2, period: 1, periodUnit: 'd', timeOfDay: ['08:00:00', '20:00:00'], boundsPeriod: { end: '2024-05-13T12:00:00-04:00' } } },
        doseAndRate: [{ doseRange: { low: { value: 1, code: 'g' }, high: { value: 2 } }, rateQuantity: { value: 50, code: 'mL/h' } }],
        site: { text: 'Left arm' },
      }],
      dispenseRequest: { quantity: { value: 5, unit: 'vial' }, numberOfRepeatsAllowed: 0 },
    });
    expect(request.identifier).toMatchObject([{ value: 'P-102' }, { value: 'F-102' }, { value: 'RX-900', type: { text: 'Prescription number' } }]);
  });

  test('OMP^O09: a bare discontinue changes the known order and makes up none', () => {
    expect(only(planOf(fixture('omp-o09')), 'MedicationRequest')).toMatchObject({
      createIfAbsent: false,
      fill: ['intent', 'medicationCodeableConcept'],
      match: [{ value: 'P-100' }, { value: 'F-100' }],
      resource: { status: 'stopped', statusReason: { text: 'Adverse reaction' } },
    });
  });

  test.each([
    ['NW', '', 'active'], ['XO', '', 'active'], ['RL', '', 'active'], ['CA', '', 'cancelled'], ['DC', '', 'stopped'], ['HD', '', 'on-hold'], ['RP', '', 'stopped'], ['RO', '', 'active'],
    ['NW', 'CM', 'completed'], ['SC', 'DC', 'stopped'], ['CA', 'A', 'cancelled'], ['SC', '', 'unknown'],
  ])('ORC-1 %s with ORC-5 %j is %s', (control, state, status) => expect(resource(order(control, state), 'MedicationRequest').status).toBe(status));

  test('a status that the message does not tell never replaces a stored one', () => expect(only(order('SC'), 'MedicationRequest').fill).toContain('status'));

  test('orders under one number within a message stay apart', () => {
    const plan = planOf('MSH|^~\\&|A|F|||20240510||OMP^O09|1|P|2.5\rPID|1||7\rORC|NW|P1\rRXO|1^Aspirin^L\rORC|NW|P1\rRXO|2^Codeine^L');
    const found = plan.resources.filter(({ resource: { resourceType } }) => resourceType === 'MedicationRequest');
    expect(found).toHaveLength(2);
    expect(found[0]?.match).not.toEqual(found[1]?.match);
  });

  test('supplies, orders without number and without patient are refused', () => {
    const text = (rest: string): string => `MSH|^~\\&|A|F|||20240510||ORM^O01|1|P|2.5\r${rest}`;
    expect(() => planOf(text('PID|1||7\rORC|NW|P1\rRQD|1|X'))).toThrow(expect.objectContaining({ condition: '200' }));
    expect(() => planOf(text('PID|1||7\rORC|CA'))).toThrow(expect.objectContaining({ condition: '101' }));
    expect(() => planOf(text('ORC|NW|P1\rRXO|1^Aspirin^L'))).toThrow(expect.objectContaining({ condition: '100' }));
    expect(() => planOf(text('PID|1||7'))).toThrow(expect.objectContaining({ condition: '100' }));
  });

  test.each([
    ['BID', { frequency: 2, period: 1, periodUnit: 'd' }, undefined],
    ['Q8H', { frequency: 1, period: 8, periodUnit: 'h' }, undefined],
    ['5ID', { frequency: 5, period: 1, periodUnit: 'd' }, undefined],
    ['Q4H PRN', { frequency: 1, period: 4, periodUnit: 'h' }, true],
    ['PRN', undefined, true],
    ['as told', undefined, undefined],
  ])('repeat pattern %s', (pattern, repeat, asNeeded) => {
    const plan = planOf(`MSH|^~\\&|A|F|||20240510||OMP^O09|1|P|2.5\rPID|1||7\rORC|NW|P1\rTQ1|1||${pattern}\rRXO|1^Aspirin^L`);
    const dosage = (resource(plan, 'MedicationRequest').dosageInstruction as { timing?: { repeat?: unknown; code?: { text?: string } }; asNeededBoolean?: boolean }[])[0];
    expect([dosage?.timing?.repeat, dosage?.timing?.code?.text, dosage?.asNeededBoolean]).toEqual([repeat, pattern, asNeeded]);
  });
});

describe('results and immunizations', () => {
  test('ORU^R01: one report, an observation per OBX', () => {
    const plan = planOf(fixture('oru-r01'));
    const values = plan.resources.filter(({ resource: { resourceType } }) => resourceType === 'Observation').map((one: PlannedResource) => one.resource);
    expect(values).toMatchObject([
      { status: 'final', valueQuantity: { value: 140, code: 'mmol/L' }, referenceRange: [{ text: '136-145' }], interpretation: [{ coding: [{ code: 'N' }, {}] }], category: [{ coding: [{ code: 'laboratory' }] }], effectiveDateTime: '2024-05-10T09:40:00-04:00' },
      { valueQuantity: { value: 0.5, comparator: '<' } },
      { status: 'preliminary', valueCodeableConcept: { coding: [{ system: 'http://snomed.info/sct', code: '3092008' }] } },
      { valueString: 'line one\nline two', note: [{ text: 'Hemolysis & lipemia absent' }] },
    ]);
    expect(resource(plan, 'DiagnosticReport')).toMatchObject({ status: 'final', issued: '2024-05-10T11:55:00-04:00', result: [{ reference: 'urn:key:observation-1' }, {}, {}, {}] });
    expect(dangling(plan)).toEqual([]);
  });

  test('VXU^V04', () => {
    const plan = planOf(fixture('vxu-v04'));
    expect(resource(plan, 'Immunization')).toMatchObject({
      status: 'completed', vaccineCode: { coding: [{ system: 'http://hl7.org/fhir/sid/cvx', code: '140' }] }, occurrenceDateTime: '2024-05-20', lotNumber: 'L-77', primarySource: true,
      doseQuantity: { value: 0.5, unit: 'mL' }, manufacturer: { display: 'GlaxoSmithKline' }, route: { coding: [{ code: '78421000' }, { code: 'IM' }] },
    });
    expect(resource(plan, 'Observation').partOf).toEqual([{ reference: 'urn:key:immunization-1' }]);
  });
});
