import { describe, expect, test } from '@jest/globals';
import { checkProfiles, maxFindings, profileOf, type Finding, type ValidationOptions } from '../../../../resources/profiles/index.ts';

const url = 'http://example.org/StructureDefinition/test';

/** Checks a resource against a profile of these elements, posted by a user. */
function report(type: string, elements: readonly Record<string, unknown>[], resource: Record<string, unknown>, options: Partial<ValidationOptions> = {}): { findings: readonly Finding[]; questions: readonly unknown[] } {
  const profile = profileOf(
    { resourceType: 'StructureDefinition', url, type, derivation: 'constraint', baseDefinition: `http://hl7.org/fhir/StructureDefinition/${type}`, differential: { element: elements.map((one) => ({ id: one['id'], path: String(one['id']).replace(/:[^.]+/g, ''), ...one })) } },
    false,
  );
  return checkProfiles({ resourceType: type, ...resource }, [url], { source: (canonical) => (canonical === url ? profile : undefined), invariants: 'profiles', budgetMs: 10_000, nowMs: () => performance.now(), ...options });
}

const texts = (of: { findings: readonly Finding[] }) => of.findings.map(({ severity, expression, detail }) => `${severity} ${expression ?? ''}: ${detail}`);

const bySystem = { id: 'Patient.identifier', slicing: { discriminator: [{ type: 'value', path: 'system' }], rules: 'open' } };
const a = { id: 'Patient.identifier:a', min: 1, max: '1' };
const aSystem = { id: 'Patient.identifier:a.system', min: 1, fixedUri: 'urn:a' };
const b = { id: 'Patient.identifier:b' };
const bSystem = { id: 'Patient.identifier:b.system', min: 1, fixedUri: 'urn:b' };

describe('slicing', () => {
  test('open, by value', () => {
    expect(texts(report('Patient', [bySystem, a, aSystem], { identifier: [{ system: 'urn:a' }, { system: 'urn:other' }] }))).toEqual([]);
    expect(texts(report('Patient', [bySystem, a, aSystem], { identifier: [{ system: 'urn:other' }] }))).toEqual(['error Patient: The profile requires identifier of one slice.']);
    expect(texts(report('Patient', [bySystem, a, aSystem], { identifier: [{ system: 'urn:a' }, { system: 'urn:a' }] }))).toEqual(['error Patient: The profile permits at most 1 of identifier of one slice.']);
  });

  test('closed: what is in no slice is an error', () => {
    const closed = { ...bySystem, slicing: { ...bySystem.slicing, rules: 'closed' } };
    expect(texts(report('Patient', [closed, a, aSystem], { identifier: [{ system: 'urn:a' }, { system: 'urn:other' }] }))).toEqual(['error Patient.identifier[1]: It is in none of the slices that the profile permits.']);
  });

  test('open at the end', () => {
    const atEnd = { ...bySystem, slicing: { ...bySystem.slicing, rules: 'openAtEnd' } };
    expect(texts(report('Patient', [atEnd, a, aSystem], { identifier: [{ system: 'urn:a' }, { system: 'urn:other' }] }))).toEqual([]);
    expect(texts(report('Patient', [atEnd, a, aSystem], { identifier: [{ system: 'urn:other' }, { system: 'urn:a' }] }))).toHaveLength(1);
  });

  test('ordered', () => {
    const ordered = { ...bySystem, slicing: { ...bySystem.slicing, ordered: true } };
    expect(texts(report('Patient', [ordered, a, aSystem, b, bSystem], { identifier: [{ system: 'urn:a' }, { system: 'urn:b' }] }))).toEqual([]);
    expect(texts(report('Patient', [ordered, a, aSystem, b, bSystem], { identifier: [{ system: 'urn:b' }, { system: 'urn:a' }] }))).toEqual(["error Patient.identifier[1]: The order of the profile's slices is another."]);
  });

  test('by pattern, exists, type and profile', () => {
    const category = (type: string, path: string) => ({ id: 'Observation.category', slicing: { discriminator: [{ type, path }], rules: 'open' } });
    const lab = { coding: [{ system: 'urn:s', code: 'lab' }] };
    const slice = { id: 'Observation.category:lab', min: 1, patternCodeableConcept: lab };
    expect(texts(report('Observation', [category('pattern', '$this'), slice], { category: [{ ...lab, text: 'x' }] }))).toEqual([]);
    expect(texts(report('Observation', [category('pattern', '$this'), slice], { category: [{ coding: [{ system: 'urn:s', code: 'other' }] }] }))).toHaveLength(1);
    const withText = [category('exists', 'text'), { id: 'Observation.category:worded', max: '1' }, { id: 'Observation.category:worded.text', min: 1 }];
    expect(texts(report('Observation', withText, { category: [{ text: 'x' }, { coding: [] }] }))).toEqual([]);
    expect(texts(report('Observation', withText, { category: [{ text: 'x' }, { text: 'y' }] }))).toHaveLength(1);
    const value = [{ id: 'Observation.value[x]', slicing: { discriminator: [{ type: 'type', path: '$this' }], rules: 'closed' } }, { id: 'Observation.value[x]:valueQuantity', type: [{ code: 'Quantity' }] }, { id: 'Observation.value[x]:valueQuantity.unit', min: 1 }];
    expect(texts(report('Observation', value, { valueQuantity: { value: 1, unit: 'g' } }))).toEqual([]);
    expect(texts(report('Observation', value, { valueQuantity: { value: 1 } }))).toEqual(['error Observation.value: The profile requires unit.']);
    expect(texts(report('Observation', value, { valueString: 'x' }))).toHaveLength(1);
  });

  test('of entries of a Bundle by the type of their resource', () => {
    const elements = [
      { id: 'Bundle.entry', slicing: { discriminator: [{ type: 'type', path: 'resource' }], rules: 'open' } },
      { id: 'Bundle.entry:patient', min: 1, max: '1' },
      { id: 'Bundle.entry:patient.resource', min: 1, type: [{ code: 'Patient' }] },
    ];
    const entry = (resourceType: string) => ({ resource: { resourceType } });
    expect(texts(report('Bundle', elements, { type: 'collection', entry: [entry('Observation'), entry('Patient')] }))).toEqual([]);
    expect(texts(report('Bundle', elements, { type: 'collection', entry: [entry('Observation')] }))).toHaveLength(1);
  });

  test('within slices, and slices of slices', () => {
    const reslice = [
      bySystem, a, aSystem,
      { id: 'Patient.identifier:a', max: '2', slicing: { discriminator: [{ type: 'value', path: 'use' }], rules: 'open' } },
      { id: 'Patient.identifier:a/official', max: '1' },
      { id: 'Patient.identifier:a/official.use', fixedCode: 'official' },
    ];
    expect(texts(report('Patient', reslice, { identifier: [{ system: 'urn:a', use: 'official' }, { system: 'urn:a', use: 'old' }] }))).toEqual([]);
    expect(texts(report('Patient', reslice, { identifier: [{ system: 'urn:a', use: 'official' }, { system: 'urn:a', use: 'official' }] }))).toHaveLength(1);
  });
});

describe('elements', () => {
  test.each([
    ['cardinality', { id: 'Patient.name', min: 1 }, {}, 'The profile requires name.'],
    ['prohibition', { id: 'Patient.photo', max: '0' }, { photo: [{ url: 'urn:x' }] }, 'The profile does not permit photo.'],
    ['fixed', { id: 'Patient.gender', fixedCode: 'female' }, { gender: 'male' }, 'It is not the value that the profile fixes.'],
    ['pattern', { id: 'Patient.maritalStatus', patternCodeableConcept: { text: 'x' } }, { maritalStatus: { text: 'y' } }, 'It does not have the pattern that the profile wants.'],
    ['type of a choice', { id: 'Patient.deceased[x]', type: [{ code: 'boolean' }] }, { deceasedDateTime: '2020' }, 'Its type is not one that the profile permits.'],
    ['length', { id: 'Patient.name.family', maxLength: 3 }, { name: [{ family: 'Longer' }] }, 'It is longer than the profile permits.'],
    ['target', { id: 'Patient.generalPractitioner', type: [{ code: 'Reference', targetProfile: ['http://hl7.org/fhir/StructureDefinition/Organization'] }] }, { generalPractitioner: [{ reference: 'Practitioner/1' }] }, 'The profile does not permit a reference to that type of resource.'],
    ['target that is contained', { id: 'Patient.generalPractitioner', type: [{ code: 'Reference', targetProfile: ['http://hl7.org/fhir/StructureDefinition/Organization'] }] }, { contained: [{ resourceType: 'Practitioner', id: 'p' }], generalPractitioner: [{ reference: '#p' }] }, 'The profile does not permit a reference to that type of resource.'],
    ['extension of a primitive', { id: 'Patient.birthDate.extension', min: 1 }, { birthDate: '2020-01-01' }, 'The profile requires extension.'],
    ['binding', { id: 'Patient.gender', binding: { strength: 'required', valueSet: 'http://hl7.org/fhir/ValueSet/observation-status' } }, { gender: 'male' }, 'No code is in the required value set.'],
    ['invariant', { id: 'Patient', constraint: [{ key: 'x-1', severity: 'error', human: 'secret', expression: 'active.exists()' }] }, {}, 'Invariant x-1 of the profile does not hold.'],
  ])('%s', (_, element, resource, expected) => {
    expect(report('Patient', [element], resource).findings.map(({ severity, detail }) => `${severity} ${detail}`)).toEqual([`error ${expected}`]);
  });

  test('an unknown value set is a question, never an error', () => {
    const bound = report('Patient', [{ id: 'Patient.gender', binding: { strength: 'required', valueSet: 'http://example.org/vs|2' } }], { gender: 'male' });
    expect(bound).toEqual({ findings: [], questions: [{ valueSet: 'http://example.org/vs', strength: 'required', codings: [{ code: 'male' }], expression: 'Patient.gender' }] });
  });

  test('an extensible binding warns', () => {
    expect(texts(report('Patient', [{ id: 'Patient.gender', binding: { strength: 'extensible', valueSet: 'http://hl7.org/fhir/ValueSet/observation-status' } }], { gender: 'male' }))).toHaveLength(1);
  });

  test('what is claimed within contained resources and entries is checked too', () => {
    const claim = { resourceType: 'Patient', meta: { profile: [url] } };
    const found = report('Patient', [{ id: 'Patient.name', min: 1 }], { name: [{ text: 'x' }], contained: [claim] });
    expect(texts(found)).toEqual(['error Patient.contained[0]: The profile requires name.']);
  });
});

describe('bounds', () => {
  test('an expression that cannot be evaluated is told, and is no error', () => {
    for (const expression of ['name.resolve().exists()', 'nonsense((', 'x'.repeat(20_000), "%resource.memberOf('urn:x')"]) {
      const { findings } = report('Patient', [{ id: 'Patient', constraint: [{ key: 'x-1', severity: 'error', human: '', expression }] }], { name: [{ text: 'x' }] });
      expect(findings.map(({ severity }) => severity)).toEqual(['information']);
    }
  });

  test('an expression that goes on and on is left', () => {
    const expression = 'repeat(iif(true, %resource.descendants(), $this)).count() = 0';
    const name = Array.from({ length: 50 }, () => ({ given: Array.from({ length: 50 }, () => 'x') }));
    const started = performance.now();
    report('Patient', [{ id: 'Patient.name.given', constraint: [{ key: 'x-1', severity: 'error', human: '', expression }] }], { name }, { budgetMs: 1_000 });
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  test('findings are bounded', () => {
    const name = Array.from({ length: 500 }, () => ({ text: 'x' }));
    expect(report('Patient', [{ id: 'Patient.name.family', min: 1 }], { name }).findings).toHaveLength(maxFindings);
  });

  test('a profile whose types lead back to itself ends', () => {
    const element = [{ id: 'Extension.extension', type: [{ code: 'Extension', profile: [url] }] }];
    expect(texts(report('Extension', element, { url: 'urn:x', extension: [{ url: 'y', valueString: 'z' }] }))).toEqual([]);
  });

  test('what is no profile of R4 is none', () => {
    expect(profileOf({ resourceType: 'StructureDefinition', url, type: 'Nothing', derivation: 'constraint', snapshot: { element: [{ id: 'Nothing' }] } }, false)).toBeUndefined();
    expect(profileOf({ resourceType: 'StructureDefinition', url, type: 'Patient', derivation: 'constraint' }, false)).toBeUndefined();
  });
});
