import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Json } from '../support/callers.ts';

/** A transaction Bundle, with how many resources it stores. */
export interface LoadBundle {
  readonly body: string;
  readonly resources: number;
}

const synthea = join(import.meta.dirname, '..', '..', '..', 'shared', 'data', 'synthea');

/** Where the data to load come from. */
export const source = existsSync(synthea) ? 'Synthea bundles' : 'generated bundles';

/** Bundles to load first, in their order: hospitals and practitioners before the patients who refer to them. */
export function firstBundles(): LoadBundle[] {
  if (!existsSync(synthea)) return Array.from({ length: 10 }, (_, index) => patientBundle(`load-${index}`));
  return readdirSync(synthea).filter((name) => name.endsWith('.json')).sort().map((name) => {
    const body = readFileSync(join(synthea, name), 'utf8');
    return { body, resources: (JSON.parse(body) as { entry: unknown[] }).entry.length };
  });
}

const given = ['Ada', 'Ben', 'Cleo', 'Dan', 'Eva', 'Finn', 'Gina', 'Hugo', 'Ines', 'Jon', 'Kira', 'Leo'];
const family = ['Alder', 'Birch', 'Cedar', 'Dogwood', 'Elm', 'Fir', 'Ginkgo', 'Hazel', 'Ivy', 'Juniper', 'Katsura', 'Larch', 'Maple'];
const labs = [['2339-0', 'Glucose', 'mg/dL'], ['2160-0', 'Creatinine', 'mg/dL'], ['718-7', 'Hemoglobin', 'g/dL'], ['6299-2', 'Urea nitrogen', 'mg/dL']] as const;

/** How generated patients are numbered. */
export const mrnSystem = 'urn:example:mrn';

/** The name of the n-th generated patient: frequent family names, and rarer pairs. */
export function nameOf(n: number): { readonly family: string; readonly given: string } {
  return { family: `${family[n % family.length]!}${Math.floor(n / 500)}`, given: given[Math.floor(n / family.length) % given.length]! };
}

/** A patient of about 1 kB. */
export function patientOf(mrn: string, n = 0): Json {
  const name = nameOf(n);
  return {
    resourceType: 'Patient', active: true,
    identifier: [{ type: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0203', code: 'MR' }] }, system: mrnSystem, value: mrn }],
    name: [{ use: 'official', family: name.family, given: [name.given] }], gender: n % 2 === 0 ? 'female' : 'male', birthDate: `19${50 + (n % 50)}-0${1 + (n % 9)}-1${n % 10}`,
    telecom: [{ system: 'phone', value: `555-${String(n % 10_000).padStart(4, '0')}`, use: 'home' }, { system: 'email', value: `p${mrn}@example.org` }],
    address: [{ line: [`${1 + (n % 900)} Mill Lane`], city: 'Rivertown', state: 'OH', postalCode: String(44_000 + (n % 900)) }],
    communication: [{ language: { coding: [{ system: 'urn:ietf:bcp:47', code: 'en' }] } }],
  };
}

/** A patient with encounters, laboratory results and prescriptions, as one transaction. */
export function patientBundle(mrn: string, n = 0): LoadBundle {
  const urn = (kind: number, index: number): string => `urn:uuid:00000000-0000-4${String(kind).padStart(3, '0')}-8000-${String(index).padStart(12, '0')}`;
  const subject = { reference: urn(0, 0) };
  const day = (index: number): string => `2024-${String(1 + (index % 12)).padStart(2, '0')}-${String(1 + (index % 28)).padStart(2, '0')}T08:00:00Z`;
  const lab = (index: number): Json => {
    const [code, display, unit] = labs[index % labs.length]!;
    return {
      resourceType: 'Observation', status: 'final', subject, effectiveDateTime: day(index), issued: day(index),
      category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/observation-category', code: 'laboratory' }] }],
      code: { coding: [{ system: 'http://loinc.org', code, display }], text: display }, encounter: { reference: urn(1, index % 5) },
      valueQuantity: { value: 80 + (index % 40), unit, system: 'http://unitsofmeasure.org', code: unit },
    };
  };
  const resources: [string, Json][] = [
    [urn(0, 0), patientOf(mrn, n)],
    [urn(4, 0), { resourceType: 'Practitioner', identifier: [{ system: 'http://hl7.org/fhir/sid/us-npi', value: `99${mrn}` }], name: [{ family: 'Keeler' }] }],
    ...Array.from({ length: 5 }, (_, index): [string, Json] => [urn(1, index), {
      resourceType: 'Encounter', status: 'finished', class: { system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'AMB' }, subject, period: { start: day(index), end: day(index) },
    }]),
    ...Array.from({ length: 20 }, (_, index): [string, Json] => [urn(2, index), lab(index)]),
    ...Array.from({ length: 5 }, (_, index): [string, Json] => [urn(3, index), {
      resourceType: 'MedicationRequest', status: 'active', intent: 'order', subject, requester: { reference: urn(4, 0) }, authoredOn: day(index),
      medicationCodeableConcept: { coding: [{ system: 'http://www.nlm.nih.gov/research/umls/rxnorm', code: String(197_361 + index) }] },
    }]),
  ];
  const entry = resources.map(([fullUrl, resource]) => ({ fullUrl, resource, request: { method: 'POST', url: resource['resourceType'] } }));
  return { body: JSON.stringify({ resourceType: 'Bundle', type: 'transaction', entry }), resources: entry.length };
}
