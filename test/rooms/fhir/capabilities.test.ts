import { expect, test } from '@jest/globals';
import { validateResource } from '../../../resources/validate/index.ts';
import type { CapabilityFacts } from '../../../server/fhir/capabilities.ts';
import { FhirDocuments, type DocumentName } from '../../../server/fhir/documents.ts';
import { operations } from '../../../server/fhir/operations/index.ts';

const facts: CapabilityFacts = { baseUrl: 'https://localhost/fhir/R4', smart: { authorization_endpoint: 'https://localhost/a', token_endpoint: 'https://localhost/t' }, version: '1', date: new Date(0), conditionalDelete: 'single', enforcesReferences: true };

interface Resource {
  readonly type: string;
  readonly interaction: { readonly code: string }[];
  readonly searchParam: { readonly name: string; readonly documentation?: string }[];
  readonly operation?: { readonly name: string; readonly definition: string }[];
  readonly supportedProfile?: string[];
  readonly searchRevInclude?: string[];
}
const read = (name: DocumentName) => JSON.parse(new FhirDocuments(facts).get(name).bytes.toString()) as { rest: { resource: Resource[]; compartment: string[]; operation?: { name: string }[] }[] };

test('both statements are valid, and change their ETag with their content', () => {
  expect(validateResource(read('capabilities'))).toEqual([]);
  expect(validateResource(read('terminology'))).toEqual([]);
  const etag = (of: CapabilityFacts) => new FhirDocuments(of).get('capabilities').etag;
  expect(etag({ ...facts })).toBe(etag(facts));
  expect(etag({ ...facts, conditionalDelete: 'multiple' })).not.toBe(etag(facts));
});

test('the statement announces profiles, includes, operations and compartments', () => {
  const [rest] = read('capabilities').rest;
  const of = (type: string) => rest!.resource.find((resource) => resource.type === type)!;
  expect(of('Patient').supportedProfile).toContain('http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient');
  expect(of('Patient').searchRevInclude).toContain('Observation:patient');
  expect(of('Observation').searchParam.find(({ name }) => name === '_lastUpdated')!.documentation).toMatch(/update/);
  expect(of('AuditEvent').interaction.map(({ code }) => code).sort()).toEqual(['read', 'search-type']);
  expect(rest!.compartment).toHaveLength(5);
  for (const operation of operations) {
    const places = [...(operation.levels.includes('system') ? [rest!] : []), ...(operation.levels.some((level) => level !== 'system') ? [of(operation.types === 'every' ? 'Patient' : operation.types[0]!)] : [])];
    for (const { operation: offered } of places) expect(offered!.map(({ name }) => name)).toContain(operation.name);
  }
});
