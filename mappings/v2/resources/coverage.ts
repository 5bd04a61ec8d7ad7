import type { Scope, V2Context, V2Rule } from '../context.ts';
import { draft } from '../convert.ts';
import { parseTime } from '../datetime.ts';
import { insurerOf } from '../parties.ts';
import { derivedIdentifier, dropReversedEnd, marksOf, subjectOf, type Links } from './links.ts';
import type { Element } from '../../engine/elements.ts';

/** IN1 → Coverage (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-in1-to-coverage.html). Payor comes from IN1-3, -4, -5 and -7 together. */
export const coverageRules: readonly V2Rule[] = [
  { from: 'IN1-49', to: 'identifier[]', as: 'PolicyIdentifier' },
  { from: 'IN1-36', to: 'subscriberId', as: 'string', why: 'the policy number is what an insurer knows the subscriber by' },
  { from: 'IN1-49.1', to: 'subscriberId', as: 'string' },
  { from: 'IN1-12', to: 'period.start', as: 'date' },
  { from: 'IN1-13', to: 'period.end', as: 'date' },
  { from: 'IN1-15', to: 'type', as: 'CodeableConcept' },
  { from: 'IN1-17', to: 'relationship', as: 'CodeableConcept', table: 'SubscriberRelationship' },
  { from: 'IN1-22', to: 'order', as: 'positiveInt', why: 'coordination of benefits priority' },
  { from: 'IN1-8', to: 'class[].value', as: 'string', with: { type: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/coverage-class', code: 'group' }] } }, clears: 'class' },
  { from: 'IN1-2', to: 'class[]', as: 'PlanClass', with: { type: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/coverage-class', code: 'plan' }] } }, clears: 'class' },
];

const unknownPayor = { extension: [{ url: 'http://hl7.org/fhir/StructureDefinition/data-absent-reason', valueCode: 'unknown' }] };

/** Plans one Coverage per IN1. */
export function planCoverages(scope: Scope, context: V2Context, links: Links): void {
  for (const one of scope.all('IN1')) {
    const made = draft('Coverage', coverageRules, one, context, { status: 'active', beneficiary: subjectOf(links) });
    const [id, name, address, phone] = ['IN1-3', 'IN1-4', 'IN1-5', 'IN1-7'].map((position) => one.read(position).find((part) => !part.isNull));
    const payor = insurerOf(id, name, address, phone, context);
    made.resource.payor = [payor ?? unknownPayor];
    if (dropReversedEnd(made.resource.period, parseTime(one.text('IN1-12'), context.zone), parseTime(one.text('IN1-13'), context.zone))) context.usage.drop('IN1-13');
    const relation = made.resource.relationship as { coding?: { code?: string }[] } | undefined;
    if (relation?.coding?.some(({ code }) => code === 'self') === true) made.resource.subscriber = subjectOf(links);
    const derived = derivedIdentifier('in1', links, [one.text('IN1-2'), one.text('IN1-3'), name?.text ?? '', one.text('IN1-36') || one.text('IN1-49')]);
    made.resource.identifier = [...((made.resource.identifier as Element[] | undefined) ?? []), derived];
    made.clear.delete('identifier');
    // A member number is shared by a family, so it never decides which Coverage is meant: only the derived identifier does.
    context.planner.add(context.planner.key('coverage'), { resource: made.resource, match: marksOf([derived]), clear: made.clear, fill: payor === undefined ? ['payor', 'status'] : ['status'] });
  }
}
