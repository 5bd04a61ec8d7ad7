import { referenceTo } from '../../engine/planner.ts';
import type { Element } from '../../engine/elements.ts';
import type { Draft, Scope, V2Context, V2Rule } from '../context.ts';
import { draft } from '../convert.ts';
import { identifierOfCx } from '../datatypes.ts';
import { parseTime, toDateTime } from '../datetime.ts';
import { V2Error } from '../error.ts';
import type { V2Part } from '../message.ts';
import { notPersons } from '../systems.ts';
import { marksOf, type Links } from './links.ts';

const extension = (name: string): string => `http://hl7.org/fhir/StructureDefinition/${name}`;

/** PID, PD1 → Patient (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-pid-to-patient.html). */
export const patientRules: readonly V2Rule[] = [
  { from: 'PID-3', to: 'identifier[]', as: 'PatientIdentifier' },
  { from: 'PID-2', to: 'identifier[]', as: 'PatientIdentifier', why: 'before v2.3.1 the external number; still sent' },
  { from: 'PID-4', to: 'identifier[]', as: 'PatientIdentifier' },
  { from: 'PID-19', to: 'identifier[]', as: 'SocialSecurityNumber' },
  { from: 'PID-20', to: 'identifier[]', as: 'DriversLicense' },
  { from: 'PID-5', to: 'name[]', as: 'HumanName' },
  { from: 'PID-9', to: 'name[]', as: 'HumanName', with: { use: 'nickname' }, clears: 'name[use=nickname]' },
  { from: 'PID-6', to: 'extension[].valueString', as: 'string', with: { url: extension('patient-mothersMaidenName') }, clears: `extension[url=${extension('patient-mothersMaidenName')}]` },
  { from: 'PID-7', to: 'birthDate', as: 'date' },
  { from: 'PID-8', to: 'gender', as: 'code', table: 'AdministrativeSex' },
  { from: 'PID-10', to: 'extension[]', as: 'Race', clears: 'extension[url=http://hl7.org/fhir/us/core/StructureDefinition/us-core-race]' },
  { from: 'PID-11', to: 'address[]', as: 'Address' },
  { from: 'PID-12', to: 'address[0].district', as: 'string', when: { valued: 'PID-11', empty: 'PID-11.9' }, why: 'withdrawn in v2.6 in favour of PID-11.9' },
  { from: 'PID-13', to: 'telecom[]', as: 'ContactPoint', with: { use: 'home' }, clears: 'telecom[use=home]' },
  { from: 'PID-14', to: 'telecom[]', as: 'ContactPoint', with: { use: 'work' }, clears: 'telecom[use=work]' },
  { from: 'PID-40', to: 'telecom[]', as: 'ContactPoint' },
  { from: 'PID-15', to: 'communication[].language', as: 'CodeableConcept', clears: 'communication' },
  { from: 'PID-16', to: 'maritalStatus', as: 'CodeableConcept', table: 'MaritalStatus' },
  { from: 'PID-17', to: 'extension[].valueCodeableConcept', as: 'CodeableConcept', with: { url: extension('patient-religion') }, clears: `extension[url=${extension('patient-religion')}]` },
  { from: 'PID-22', to: 'extension[]', as: 'Ethnicity', clears: 'extension[url=http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity]' },
  { from: 'PID-23', to: 'extension[].valueAddress.text', as: 'string', with: { url: extension('patient-birthPlace') }, clears: `extension[url=${extension('patient-birthPlace')}]` },
  { from: 'PID-24', to: 'multipleBirthBoolean', as: 'boolean' },
  { from: 'PID-25', to: 'multipleBirthInteger', as: 'positiveInt' },
  { from: 'PID-29', to: 'deceasedDateTime', as: 'dateTime' },
  { from: 'PID-30', to: 'deceasedBoolean', as: 'boolean' },
  { from: 'PD1-3', to: 'generalPractitioner[]', as: 'Organization' },
  { from: 'PD1-4', to: 'generalPractitioner[]', as: 'Practitioner' },
];

/** Numbers that a person only carries, and that are often mistyped or shared within a family: never decide who somebody is. */
const weakTypes: ReadonlySet<string> = new Set(['SS', 'DL', 'PPN', 'MC', 'MA', 'MB', 'MCD', 'MCR', 'SN', 'PN', 'NPI', 'TAX', 'EN', 'EI', 'CZ', 'BR', 'NIIP']);
const strongTypes: ReadonlySet<string> = new Set(['MR', 'PI', 'PT']);

const typeOf = (identifier: Element): string => {
  const coding = (identifier.type as { coding?: { code?: string }[] } | undefined)?.coding;
  return coding?.[0]?.code ?? '';
};

/** Identifiers that may decide who somebody is, medical record numbers first; weak ones only when there is nothing else. */
export function decisive(identifiers: readonly Element[]): Element[] {
  const persons = identifiers.filter((one) => !notPersons.has(typeOf(one)));
  const trusted = persons.filter((one) => !weakTypes.has(typeOf(one)));
  return [...trusted.filter((one) => strongTypes.has(typeOf(one))), ...trusted.filter((one) => !strongTypes.has(typeOf(one))), ...(trusted.length === 0 ? persons : [])];
}

function finishPatient(made: Draft, scope: Scope, context: V2Context): void {
  const birth = parseTime(scope.text('PID-7'), context.zone);
  if (birth?.time !== undefined && birth.precision !== 'hour') made.resource._birthDate = { extension: [{ url: extension('patient-birthTime'), valueDateTime: toDateTime(birth) }] };
  // A time of death or a birth order says more than "yes"; FHIR takes one of them.
  if (made.resource.deceasedDateTime !== undefined) Reflect.deleteProperty(made.resource, 'deceasedBoolean');
  if (made.resource.multipleBirthInteger !== undefined) Reflect.deleteProperty(made.resource, 'multipleBirthBoolean');
}

/** @throws V2Error 101 when the message has no number that tells who the patient is */
export function planPatient(scope: Scope, context: V2Context): Links {
  if (scope.first('PID') === undefined) throw new V2Error('100', { segment: 'PID', sequence: 1 }, 'the message needs a PID segment');
  const made = draft('Patient', patientRules, scope, context, { active: true });
  finishPatient(made, scope, context);
  const identifiers = (made.resource.identifier as Element[] | undefined) ?? [];
  const match = marksOf(decisive(identifiers));
  const patientMark = match[0];
  if (patientMark === undefined) throw new V2Error('101', { segment: 'PID', sequence: scope.first('PID')?.occurrence ?? 1, field: 3 });
  const removed = context.event.trigger === 'A29';
  if (removed) made.resource.active = false;
  made.clear.delete('identifier');
  const patientKey = context.planner.add(context.planner.key('patient'), { resource: made.resource, match, clear: made.clear, fill: removed ? [] : ['active'], createIfAbsent: !removed });
  return { patientKey, patientMark };
}

const identifiersOf = (parts: readonly V2Part[], context: V2Context): Element[] => parts.map((part) => identifierOfCx(part, context, 'patient')).filter((one) => one !== undefined);

/** MRG-1 (and MRG-4, the former external number): what the patient was known by before. */
export function formerIdentifiers(scope: Scope, context: V2Context): Element[] {
  return identifiersOf([...scope.read('MRG-1'), ...scope.read('MRG-4')].filter((part) => !part.isNull), context);
}

/**
 * MRG → the record that is retired in favour of the patient (A18, A30, A34, A36, A39, A40).
 * @throws V2Error 101 when MRG-1 names nobody, 102 when it names the survivor itself
 */
export function planMerge(scope: Scope, context: V2Context, links: Links): void {
  const former = formerIdentifiers(scope, context);
  const match = marksOf(decisive(former));
  const mark = match[0];
  const location = { segment: 'MRG', sequence: scope.first('MRG')?.occurrence ?? 1, field: 1 };
  if (mark === undefined) throw new V2Error('101', location);
  if (mark.system === links.patientMark.system && mark.value === links.patientMark.value) throw new V2Error('102', location, 'a record cannot be merged into itself');
  const retired = context.planner.add(context.planner.key('retired'), {
    resource: { resourceType: 'Patient', identifier: former, active: false, link: [{ other: referenceTo(links.patientKey), type: 'replaced-by' }] },
    match,
  });
  context.planner.merge(links.patientKey, retired);
}

/**
 * A46, A47 and their like: one patient, whose number changed. Found by the old number or the new; keeps both, the old one
 * marked so.
 */
export function planChangedIdentifier(scope: Scope, context: V2Context): void {
  const made = draft('Patient', patientRules, scope, context, { active: true });
  finishPatient(made, scope, context);
  const identifiers = (made.resource.identifier as Element[] | undefined) ?? [];
  const former = formerIdentifiers(scope, context);
  const match = [...marksOf(decisive(identifiers)), ...marksOf(decisive(former))];
  if (identifiers.length === 0) throw new V2Error('101', { segment: 'PID', sequence: 1, field: 3 });
  if (former.length === 0) throw new V2Error('101', { segment: 'MRG', sequence: 1, field: 1 });
  made.resource.identifier = [...identifiers, ...former.map((one) => ({ ...one, use: 'old' }))];
  made.clear.delete('identifier');
  context.planner.add(context.planner.key('patient'), { resource: made.resource, match, clear: made.clear, fill: ['active'] });
}
