import { describe, expect, test } from '@jest/globals';
import { alternatives } from '../../../../resources/definitions/compact.ts';
import { compartmentParams, elementOf, isResourceType, requiredCodes, requiredCodings, resourceTypes, searchParamsOf, structureOf, structureTypes } from '../../../../resources/definitions/index.ts';

describe('types', () => {
  test('R4 has 146 concrete resource types', () => {
    expect(resourceTypes()).toHaveLength(146);
    expect(isResourceType('Observation')).toBe(true);
    for (const name of ['DomainResource', 'Resource', 'HumanName', 'SubscriptionStatus', 'observation', '']) expect(isResourceType(name)).toBe(false);
  });

  test('every element type, base and content reference leads to a known definition', () => {
    for (const type of structureTypes()) {
      const structure = structureOf(type)!;
      if (structure.base !== undefined) expect(structureOf(structure.base)).toBeDefined();
      expect(structure.elements[0]!.path).toBe(type);
      for (const element of structure.elements.slice(1)) {
        if (element.contentReference !== undefined) expect(elementOf(type, element.contentReference)).toBeDefined();
        else expect(element.types.length).toBeGreaterThan(0);
        for (const { code } of element.types) if (!code.startsWith('System.')) expect(structureOf(code)).toBeDefined();
      }
    }
  });
});

describe('elements', () => {
  test('none but R4\'s', () => {
    for (const path of ['Meta.project', 'Binary.url', 'ResearchStudy.label', 'ResearchStudy.label.id', 'DeviceDefinition.classification']) expect(elementOf(path.split('.')[0]!, path)).toBeUndefined();
    for (const path of ['Meta.tag', 'Binary.data', 'ResearchStudy.arm.id', 'Bundle.entry.link', 'Observation.value[x]']) expect(elementOf(path.split('.')[0]!, path)).toBeDefined();
  });

  test('choice, cardinality, targets, binding, invariants', () => {
    expect(elementOf('Observation', 'Observation.value[x]')!.types.map((it) => it.code)).toEqual(['Quantity', 'CodeableConcept', 'string', 'boolean', 'integer', 'Range', 'Ratio', 'SampledData', 'time', 'dateTime', 'Period']);
    expect(elementOf('Observation', 'Observation.status')).toMatchObject({ min: 1, max: '1', binding: { strength: 'required', valueSet: 'http://hl7.org/fhir/ValueSet/observation-status' } });
    expect(elementOf('Encounter', 'Encounter.subject')!.types).toEqual([{ code: 'Reference', targets: ['Patient', 'Group'] }]);
    expect(elementOf('Observation', 'Observation.component.referenceRange')!.contentReference).toBe('Observation.referenceRange');
    expect(elementOf('Patient', 'Patient.contact')!.constraints!.map((it) => it.key)).toEqual(['pat-1']);
    expect(elementOf('Patient', 'Patient.id')!.types).toEqual([{ code: 'id' }]);
    expect(elementOf('date', 'date.value')!.types[0]!.regex).toContain('[0-9]');
  });
});

describe('required value sets', () => {
  test('codes, with and without version', () => {
    expect([...requiredCodes('http://hl7.org/fhir/ValueSet/administrative-gender')!]).toEqual(['male', 'female', 'other', 'unknown']);
    expect(requiredCodes('http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1')!.has('female')).toBe(true);
    expect([...requiredCodings('http://hl7.org/fhir/ValueSet/administrative-gender')!.keys()]).toEqual(['http://hl7.org/fhir/administrative-gender']);
  });

  test('what cannot be enumerated here is unknown, never empty', () => {
    for (const name of ['mimetypes', 'ucum-units', 'currencies']) expect(requiredCodes(`http://hl7.org/fhir/ValueSet/${name}`)).toBeUndefined();
    for (const type of structureTypes()) {
      for (const { binding } of structureOf(type)!.elements) if (binding?.strength === 'required') expect(requiredCodes(binding.valueSet)?.size).not.toBe(0);
    }
  });
});

describe('search parameters and compartments', () => {
  test('each type has its own part of a shared expression', () => {
    expect(searchParamsOf('Person').get('name')!.expression).toBe('Person.name');
    expect(searchParamsOf('InsurancePlan').get('name')!.expression).toBe('name | alias');
    expect(searchParamsOf('Patient').get('_id')!.expression).toBe('Resource.id');
    expect(searchParamsOf('Observation').get('code-value-quantity')!.components).toEqual([{ code: 'code', expression: 'code' }, { code: 'value-quantity', expression: 'value.as(Quantity)' }]);
    for (const type of resourceTypes()) for (const param of searchParamsOf(type).values()) expect(param.expression).not.toBe('');
  });

  test('a union is split at its top level only', () => {
    expect(alternatives('A.b | (A.c | A.d).e | A.f')).toEqual(['A.b', '(A.c | A.d).e', 'A.f']);
  });

  test('compartment parameters exist on their types', () => {
    expect(compartmentParams('Patient', 'Condition')).toEqual(['patient', 'asserter']);
    expect(compartmentParams('Patient', 'Organization')).toEqual([]);
    expect(compartmentParams('Encounter', 'Encounter')).toEqual([]);
    for (const type of resourceTypes()) for (const code of compartmentParams('Patient', type)) expect(searchParamsOf(type).get(code)?.type).toBe('reference');
  });
});
