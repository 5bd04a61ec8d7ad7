import type { Element } from '../../engine/elements.ts';
import { referenceTo } from '../../engine/planner.ts';
import type { Scope, V2Context, V2Rule } from '../context.ts';
import { draft } from '../convert.ts';
import { derivedIdentifier, encounterOf, marksOf, subjectOf, type Links } from './links.ts';
import { planObservations } from './observation.ts';

/** ORC, RXA, RXR → Immunization (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-rxa-to-immunization.html). */
export const immunizationRules: readonly V2Rule[] = [
  { from: 'ORC-3', to: 'identifier[]', as: 'FillerNumber' },
  { from: 'ORC-2', to: 'identifier[]', as: 'PlacerNumber' },
  { from: 'RXA-20', to: 'status', as: 'code', table: 'ImmunizationStatus' },
  { from: 'RXA-5', to: 'vaccineCode', as: 'CodeableConcept' },
  { from: 'RXA-3', to: 'occurrenceDateTime', as: 'dateTime' },
  { from: 'RXA-22', to: 'recorded', as: 'dateTime' },
  { from: 'RXA-15', to: 'lotNumber', as: 'string' },
  { from: 'RXA-16', to: 'expirationDate', as: 'date' },
  { from: 'RXA-17', to: 'manufacturer', as: 'NamedOnly' },
  { from: 'RXA-18', to: 'statusReason', as: 'CodeableConcept' },
  { from: 'RXA-19', to: 'reasonCode[]', as: 'CodeableConcept' },
  { from: 'RXR-1', to: 'route', as: 'CodeableConcept', table: 'Route' },
  { from: 'RXR-2', to: 'site', as: 'CodeableConcept' },
  { from: 'RXA-10', to: 'performer[].actor', as: 'Practitioner', with: { function: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0443', code: 'AP', display: 'Administering Provider' }] } }, clears: 'performer' },
  { from: 'ORC-12', to: 'performer[].actor', as: 'Practitioner', with: { function: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0443', code: 'OP', display: 'Ordering Provider' }] } }, clears: 'performer' },
];

/** Plans the Immunization of one order group of a VXU^V04, and the OBX that describe it. */
export function planImmunization(scope: Scope, context: V2Context, links: Links): void {
  const vaccine = scope.text('RXA-5');
  // CVX 998 says that no vaccine was given: the group only carries observations, such as a forecast.
  if (scope.first('RXA') === undefined || vaccine === '998') {
    planObservations(scope, context, links, { mark: JSON.stringify([scope.text('ORC-3'), vaccine]), shared: {} });
    return;
  }
  const made = draft('Immunization', immunizationRules, scope, context, { patient: subjectOf(links), encounter: encounterOf(links) });
  const { resource } = made;
  if (scope.text('RXA-21') === 'D') resource.status = 'entered-in-error';
  const amount = draft('x', [
    { from: 'RXA-6', to: 'value', as: 'decimal', when: { noneOf: ['RXA-6', '999', '0'] }, why: '999 and 0 say that the amount is not known' },
    { from: 'RXA-7', to: 'unit', as: 'UnitText', when: { noneOf: ['RXA-6', '999', '0', ''] } },
  ], scope, context).resource;
  if (amount.value !== undefined) resource.doseQuantity = { value: amount.value, unit: amount.unit };
  // RXA-9 (NIP001): 00 a new record made by who gave it, 01 to 08 a history told by others.
  const source = scope.text('RXA-9');
  if (/^0\d$/.test(source)) resource.primarySource = source === '00';
  resource.status ??= 'completed';
  if (resource.vaccineCode === undefined) {
    context.usage.drop('RXA-5');
    return;
  }
  if (resource.occurrenceDateTime === undefined) resource.occurrenceString = 'unknown';
  const notes = scope.all('NTE').map((note) => note.read('NTE-3').map((part) => part.whole).join('\n')).filter((text) => text !== '');
  if (notes.length > 0 && scope.first('OBX') === undefined) resource.note = notes.map((text) => ({ text }));
  // 9999 is what a registry sends as filler number of records that it does not own.
  const own = marksOf(resource.identifier).filter(({ value }) => value !== '9999');
  const derived = derivedIdentifier('rxa', links, [vaccine, scope.text('RXA-3')]);
  const match = own.length > 0 ? own.slice(0, 1) : [derived];
  if (own.length === 0) resource.identifier = [...((resource.identifier as Element[] | undefined) ?? []), derived];
  for (const required of ['identifier', 'status', 'vaccineCode', 'occurrenceDateTime']) made.clear.delete(required);
  const key = context.planner.add(context.planner.key('immunization'), { resource, match, clear: made.clear });
  planObservations(scope, context, links, { mark: JSON.stringify(match), shared: { partOf: [referenceTo(key)] } });
}
