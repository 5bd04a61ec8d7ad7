import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { resourceTypes } from '../../../../resources/definitions/index.ts';
import { checkProfiles, shippedProfile, supportedProfilesOf, type Finding } from '../../../../resources/profiles/index.ts';

const usCore = 'http://hl7.org/fhir/us/core/StructureDefinition/';

function findingsOn(resource: Record<string, unknown>, profile: string): readonly Finding[] {
  return checkProfiles(resource, [profile.includes(':') ? profile : usCore + profile], { source: shippedProfile, invariants: 'profiles', budgetMs: 10_000, nowMs: () => performance.now() }).findings;
}

const errorsOn = (resource: Record<string, unknown>, profile: string) => findingsOn(resource, profile).filter(({ severity }) => severity === 'error').map(({ expression, detail }) => `${expression ?? ''}: ${detail}`);

const patient = {
  resourceType: 'Patient',
  identifier: [{ system: 'urn:example:mrn', value: '1' }],
  name: [{ family: 'Example' }],
  gender: 'female',
  extension: [
    { url: `${usCore}us-core-race`, extension: [{ url: 'ombCategory', valueCoding: { system: 'urn:oid:2.16.840.1.113883.6.238', code: '2106-3' } }, { url: 'text', valueString: 'White' }] },
    { url: `${usCore}us-core-birthsex`, valueCode: 'F' },
  ],
};

const bloodPressure = {
  resourceType: 'Observation',
  status: 'final',
  category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/observation-category', code: 'vital-signs' }] }],
  code: { coding: [{ system: 'http://loinc.org', code: '85354-9' }] },
  subject: { reference: 'Patient/1' },
  effectiveDateTime: '2024-02-03T10:00:00Z',
  component: [
    { code: { coding: [{ system: 'http://loinc.org', code: '8480-6' }] }, valueQuantity: { value: 120, unit: 'mmHg', system: 'http://unitsofmeasure.org', code: 'mm[Hg]' } },
    { code: { coding: [{ system: 'http://loinc.org', code: '8462-4' }] }, valueQuantity: { value: 80, unit: 'mmHg', system: 'http://unitsofmeasure.org', code: 'mm[Hg]' } },
  ],
};

describe('us-core-patient', () => {
  test('a whole one conforms, by every name of the profile', () => {
    for (const name of ['us-core-patient', 'us-core-patient|6.1.0', 'us-core-patient|7.0.0', 'us-core-patient|5.0.1', 'us-core-patient|6.1']) expect(errorsOn(patient, name)).toEqual([]);
  });

  test('a version that is not shipped is not taken for another', () => {
    expect(findingsOn(patient, 'us-core-patient|3.1.1')).toMatchObject([{ severity: 'error', code: 'not-found' }]);
  });

  test.each([
    ['no identifier', { ...patient, identifier: undefined }, ['Patient: The profile requires identifier.']],
    ['no name', { ...patient, name: undefined }, ['Patient: The profile requires name.']],
    ['an identifier without value', { ...patient, identifier: [{ system: 'urn:example:mrn' }] }, ['Patient.identifier[0]: The profile requires value.']],
    ['a name without parts', { ...patient, name: [{ text: 'Example' }] }, ['Patient.name[0]: A name has a family or given name, or says why it is absent (us-core-6)']],
    ['contact details without system', { ...patient, telecom: [{ value: '1' }] }, ['Patient.telecom[0]: The profile requires system.']],
    ['birth sex twice', { ...patient, extension: [{ url: `${usCore}us-core-birthsex`, valueCode: 'F' }, { url: `${usCore}us-core-birthsex`, valueCode: 'M' }] }, ['Patient: The profile permits at most 1 of extension:birthsex.']],
    ['birth sex of another code', { ...patient, extension: [{ url: `${usCore}us-core-birthsex`, valueCode: 'X' }] }, ['Patient.extension[0].value: No code is in the required value set.']],
    ['birth sex of another type', { ...patient, extension: [{ url: `${usCore}us-core-birthsex`, valueString: 'F' }] }, ['Patient.extension[0].value: Its type is not one that the profile permits.']],
    ['race without text', { ...patient, extension: [{ url: `${usCore}us-core-race`, extension: [{ url: 'ombCategory', valueCoding: { system: 'urn:oid:2.16.840.1.113883.6.238', code: '2106-3' } }] }] }, ['Patient.extension[0]: The profile requires extension:text.']],
    ['race of another code', { ...patient, extension: [{ url: `${usCore}us-core-race`, extension: [{ url: 'ombCategory', valueCoding: { system: 'urn:oid:2.16.840.1.113883.6.238', code: '0' } }, { url: 'text', valueString: 'White' }] }] }, ['Patient.extension[0].extension[0].value: No code is in the required value set.']],
    ['an unknown race beside a known one', {
      ...patient,
      extension: [{
        url: `${usCore}us-core-race`,
        extension: [
          { url: 'ombCategory', valueCoding: { system: 'urn:oid:2.16.840.1.113883.6.238', code: '2106-3' } },
          { url: 'ombCategory', valueCoding: { system: 'http://terminology.hl7.org/CodeSystem/v3-NullFlavor', code: 'UNK' } },
          { url: 'text', valueString: 'White' },
        ],
      }],
    }, ['Patient.extension[0]: Asked but unknown, or unknown, stands alone (us-core-23)']],
  ])('%s', (_, resource, expected) => {
    expect(errorsOn(JSON.parse(JSON.stringify(resource)) as Record<string, unknown>, 'us-core-patient')).toEqual(expected);
  });
});

describe('us-core-blood-pressure, derived from us-core-vital-signs and vitalsigns', () => {
  test('a whole one conforms', () => expect(errorsOn(bloodPressure, 'us-core-blood-pressure')).toEqual([]));

  test.each([
    ['another code', { ...bloodPressure, code: { coding: [{ system: 'http://loinc.org', code: '8867-4' }] } }, ['Observation.code: It does not have the pattern that the profile wants.']],
    ['no category of vital signs', { ...bloodPressure, category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/observation-category', code: 'laboratory' }] }] }, ['Observation: The profile requires category:VSCat.']],
    ['no systolic component', { ...bloodPressure, component: [bloodPressure.component[1], bloodPressure.component[1]] }, ['Observation: The profile requires component:systolic.', 'Observation: The profile permits at most 1 of component:diastolic.']],
    ['another unit', {
      ...bloodPressure,
      component: [{ ...bloodPressure.component[0], valueQuantity: { value: 16, unit: 'kPa', system: 'http://unitsofmeasure.org', code: 'kPa' } }, bloodPressure.component[1]],
    }, ['Observation.component[0].value.code: It is not the value that the profile fixes.']],
    ['a component without value or reason', { ...bloodPressure, component: [{ code: bloodPressure.component[0]!.code }, bloodPressure.component[1]] }, ['Observation.component[0]: If there is no a value a data absent reason must be present (vs-3)']],
    ['of something that is no patient', { ...bloodPressure, subject: { reference: 'Group/1' } }, ['Observation.subject: The profile does not permit a reference to that type of resource.']],
    ['no time', { ...bloodPressure, effectiveDateTime: undefined }, ['Observation: The profile requires effective.']],
  ])('%s', (_, resource, expected) => {
    expect(errorsOn(JSON.parse(JSON.stringify(resource)) as Record<string, unknown>, 'us-core-blood-pressure')).toEqual(expected);
  });
});

test('slices of a value set: a report of a note needs no category of it, a lab report its own', () => {
  const report = { resourceType: 'DiagnosticReport', status: 'registered', code: { text: 'x' }, category: [{ coding: [{ system: 'http://loinc.org', code: 'LP29708-2' }] }], subject: { reference: 'Patient/1' } };
  expect(errorsOn(report, 'us-core-diagnosticreport-note')).toEqual([]);
  expect(errorsOn(report, 'us-core-diagnosticreport-lab')).toEqual(['DiagnosticReport: The profile requires category:LaboratorySlice.']);
  expect(errorsOn({ ...report, status: 'final' }, 'us-core-diagnosticreport-note')).toHaveLength(1);
});

test('every profile of US Core is found, of its type, with all its bases', () => {
  const all = resourceTypes().flatMap((type) => supportedProfilesOf(type).map((url) => ({ type, url })));
  expect(all.length).toBeGreaterThanOrEqual(50);
  for (const { type, url } of all) {
    const findings = findingsOn({ resourceType: type }, url);
    expect(findings.filter(({ code }) => code === 'not-found' || code === 'incomplete')).toEqual([]);
  }
});

const synthea = join(import.meta.dirname, '../../../../../shared/data/synthea');
(existsSync(synthea) ? test : test.skip)('what Synthea claims to be of US Core has no errors', () => {
  const errors: string[] = [];
  for (const file of readdirSync(synthea).filter((name) => name.endsWith('.json')).sort().slice(0, 3)) {
    const bundle = JSON.parse(readFileSync(join(synthea, file), 'utf8')) as { entry: { resource: Record<string, unknown> }[] };
    for (const { resource } of bundle.entry) {
      const { findings } = checkProfiles(resource, [], { source: shippedProfile, invariants: 'all', budgetMs: 10_000, nowMs: () => performance.now() });
      errors.push(...findings.filter(({ severity }) => severity === 'error').map(({ expression, detail }) => `${expression ?? ''}: ${detail}`));
    }
  }
  expect(errors).toEqual([]);
});
