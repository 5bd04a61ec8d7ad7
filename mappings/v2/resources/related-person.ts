import type { Element } from '../../engine/elements.ts';
import type { Scope, V2Context, V2Rule } from '../context.ts';
import { draft } from '../convert.ts';
import { derivedIdentifier, marksOf, subjectOf, type Links } from './links.ts';

/** NK1 → RelatedPerson (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-nk1-to-relatedperson.html). */
export const nextOfKinRules: readonly V2Rule[] = [
  { from: 'NK1-33', to: 'identifier[]', as: 'RelatedIdentifier' },
  { from: 'NK1-2', to: 'name[]', as: 'HumanName' },
  { from: 'NK1-3', to: 'relationship[]', as: 'CodeableConcept', table: 'Relationship' },
  { from: 'NK1-7', to: 'relationship[]', as: 'CodeableConcept', table: 'ContactRole' },
  { from: 'NK1-4', to: 'address[]', as: 'Address' },
  { from: 'NK1-5', to: 'telecom[]', as: 'ContactPoint', with: { use: 'home' }, clears: 'telecom[use=home]' },
  { from: 'NK1-6', to: 'telecom[]', as: 'ContactPoint', with: { use: 'work' }, clears: 'telecom[use=work]' },
  { from: 'NK1-40', to: 'telecom[]', as: 'ContactPoint' },
  { from: 'NK1-8', to: 'period.start', as: 'date' },
  { from: 'NK1-9', to: 'period.end', as: 'date' },
  { from: 'NK1-15', to: 'gender', as: 'code', table: 'AdministrativeSex' },
  { from: 'NK1-16', to: 'birthDate', as: 'date' },
  { from: 'NK1-20', to: 'communication[].language', as: 'CodeableConcept', clears: 'communication' },
];

/** GT1 → RelatedPerson: who pays for the patient, unless it is the patient. */
export const guarantorRules: readonly V2Rule[] = [
  { from: 'GT1-2', to: 'identifier[]', as: 'RelatedIdentifier' },
  { from: 'GT1-3', to: 'name[]', as: 'HumanName' },
  { from: 'GT1-11', to: 'relationship[]', as: 'CodeableConcept', table: 'Relationship' },
  { from: 'GT1-5', to: 'address[]', as: 'Address' },
  { from: 'GT1-6', to: 'telecom[]', as: 'ContactPoint', with: { use: 'home' }, clears: 'telecom[use=home]' },
  { from: 'GT1-7', to: 'telecom[]', as: 'ContactPoint', with: { use: 'work' }, clears: 'telecom[use=work]' },
  { from: 'GT1-8', to: 'birthDate', as: 'date' },
  { from: 'GT1-9', to: 'gender', as: 'code', table: 'AdministrativeSex' },
  { from: 'GT1-13', to: 'period.start', as: 'date' },
  { from: 'GT1-14', to: 'period.end', as: 'date' },
];

const guarantor = { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-RoleCode', code: 'GUAR', display: 'guarantor' }] };

/** Plans one RelatedPerson per NK1 and GT1. */
export function planRelatedPersons(scope: Scope, context: V2Context, links: Links): void {
  for (const [name, rules, nameField, relationField] of [['NK1', nextOfKinRules, 'NK1-2', 'NK1-3'], ['GT1', guarantorRules, 'GT1-3', 'GT1-11']] as const) {
    for (const one of scope.all(name)) {
      if (name === 'GT1' && /^(?:SEL|SELF|18|S)$/i.test(one.text(relationField))) continue;
      const made = draft('RelatedPerson', rules, one, context, { patient: subjectOf(links) });
      const person = one.read(nameField)[0];
      const who = person === undefined || person.isNull ? '' : `${person.at(1).text}^${person.at(2).text}`.toUpperCase();
      if (who === '' && made.resource.identifier === undefined) {
        if (name === 'NK1') context.usage.drop('NK1');
        continue;
      }
      if (name === 'GT1') made.resource.relationship = [...((made.resource.relationship as Element[] | undefined) ?? []), guarantor];
      const derived = derivedIdentifier(name.toLowerCase(), links, [who, one.text(relationField)]);
      const own = marksOf(made.resource.identifier);
      made.resource.identifier = [...((made.resource.identifier as Element[] | undefined) ?? []), derived];
      made.clear.delete('identifier');
      context.planner.add(context.planner.key('relatedPerson'), { resource: made.resource, match: [...own, derived], clear: made.clear });
    }
  }
}
