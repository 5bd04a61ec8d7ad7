import type { Element } from '../../engine/elements.ts';
import { referenceTo } from '../../engine/planner.ts';
import type { Scope, V2Context, V2Rule } from '../context.ts';
import { draft } from '../convert.ts';
import { tables } from '../tables/index.ts';
import { translate } from '../tables/table.ts';
import { derivedIdentifier, encounterOf, marksOf, subjectOf, type Links } from './links.ts';

/** AL1 → AllergyIntolerance (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-al1-to-allergyintolerance.html). */
export const al1Rules: readonly V2Rule[] = [
  { from: 'AL1-2', to: 'type', as: 'code', table: 'AllergyType' },
  { from: 'AL1-2', to: 'category[]', as: 'code', table: 'AllergyCategory' },
  { from: 'AL1-3', to: 'code', as: 'CodeableConcept' },
  { from: 'AL1-5', to: 'reaction[0].manifestation[]', as: 'TextOrConcept', clears: 'reaction' },
  { from: 'AL1-4', to: 'reaction[0].severity', as: 'code', table: 'AllergySeverity', when: { valued: 'AL1-5' }, why: 'a severity without reaction has no place: reaction needs a manifestation' },
  { from: 'AL1-6', to: 'onsetDateTime', as: 'dateTime' },
];

/** IAM → AllergyIntolerance, which numbers its allergies and says what is to be done with them (IAM-6). */
export const iamRules: readonly V2Rule[] = [
  { from: 'IAM-7', to: 'identifier[]', as: 'EntityIdentifier' },
  { from: 'IAM-2', to: 'type', as: 'code', table: 'AllergyType' },
  { from: 'IAM-2', to: 'category[]', as: 'code', table: 'AllergyCategory' },
  { from: 'IAM-3', to: 'code', as: 'CodeableConcept' },
  { from: 'IAM-5', to: 'reaction[0].manifestation[]', as: 'TextOrConcept', clears: 'reaction' },
  { from: 'IAM-4', to: 'reaction[0].severity', as: 'code', table: 'AllergySeverity', when: { valued: 'IAM-5' } },
  { from: 'IAM-11', to: 'onsetDateTime', as: 'dateTime' },
  { from: 'IAM-12', to: 'onsetString', as: 'string', when: { empty: 'IAM-11' } },
  { from: 'IAM-13', to: 'recordedDate', as: 'dateTime' },
  { from: 'IAM-20', to: 'recordedDate', as: 'dateTime', when: { empty: 'IAM-13' } },
  { from: 'IAM-18', to: 'recorder', as: 'Practitioner' },
];

/** DG1 → Condition (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-dg1-to-condition.html). */
export const dg1Rules: readonly V2Rule[] = [
  { from: 'DG1-20', to: 'identifier[]', as: 'EntityIdentifier' },
  { from: 'DG1-3', to: 'code', as: 'CodeableConcept' },
  { from: 'DG1-4', to: 'code.text', as: 'string', why: 'the description belongs to the code' },
  { from: 'DG1-5', to: 'onsetDateTime', as: 'dateTime' },
  { from: 'DG1-16', to: 'asserter', as: 'Practitioner' },
  { from: 'DG1-19', to: 'recordedDate', as: 'dateTime' },
];

/** DG1 → Encounter.diagnosis: what the Condition is to the visit. */
const diagnosisRules: readonly V2Rule[] = [
  { from: 'DG1-6', to: 'use', as: 'CodeableConcept', table: 'DiagnosisType' },
  { from: 'DG1-15', to: 'rank', as: 'positiveInt', why: '0 means not ranked' },
];

/** PRB → Condition on the problem list. */
export const prbRules: readonly V2Rule[] = [
  { from: 'PRB-4', to: 'identifier[]', as: 'EntityIdentifier' },
  { from: 'PRB-3', to: 'code', as: 'CodeableConcept' },
  { from: 'PRB-16', to: 'onsetDateTime', as: 'dateTime' },
  { from: 'PRB-9', to: 'abatementDateTime', as: 'dateTime' },
  { from: 'PRB-7', to: 'recordedDate', as: 'dateTime' },
];

/** PR1 → Procedure (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-pr1-to-procedure.html). */
export const pr1Rules: readonly V2Rule[] = [
  { from: 'PR1-19', to: 'identifier[]', as: 'EntityIdentifier' },
  { from: 'PR1-3', to: 'code', as: 'CodeableConcept' },
  { from: 'PR1-4', to: 'code.text', as: 'string' },
  { from: 'PR1-5', to: 'performedDateTime', as: 'dateTime' },
  { from: 'PR1-6', to: 'category', as: 'CodeableConcept' },
  { from: 'PR1-8', to: 'performer[].actor', as: 'Practitioner', with: { function: { coding: [{ system: 'http://snomed.info/sct', code: '88189002', display: 'Anesthesiologist' }] } }, clears: 'performer' },
  { from: 'PR1-11', to: 'performer[].actor', as: 'Practitioner', with: { function: { coding: [{ system: 'http://snomed.info/sct', code: '304292004', display: 'Surgeon' }] } }, clears: 'performer' },
  { from: 'PR1-12', to: 'performer[].actor', as: 'Practitioner', clears: 'performer' },
  { from: 'PR1-15', to: 'reasonCode[]', as: 'CodeableConcept' },
];

const status = (element: 'allergyintolerance-clinical' | 'allergyintolerance-verification' | 'condition-clinical' | 'condition-ver-status', code: string): Element =>
  ({ coding: [{ system: `http://terminology.hl7.org/CodeSystem/${element}`, code }] });

/** Adds the identifier that finds the resource again: the sender's own, else one derived from its content. */
function identify(resource: Element, kind: string, links: Links, parts: readonly string[]): { system: string; value: string }[] {
  const own = marksOf(resource.identifier);
  if (own.length > 0) return own;
  const derived = derivedIdentifier(kind, links, parts);
  resource.identifier = [derived];
  return [derived];
}

const codeText = (scope: Scope, position: string): string => scope.read(position)[0]?.raw.toUpperCase() ?? '';

/** Plans one AllergyIntolerance per AL1 and IAM. */
export function planAllergies(scope: Scope, context: V2Context, links: Links): void {
  for (const one of scope.all('AL1')) {
    const made = draft('AllergyIntolerance', al1Rules, one, context, { patient: subjectOf(links), clinicalStatus: status('allergyintolerance-clinical', 'active') });
    if (made.resource.code === undefined) {
      context.usage.drop('AL1-3');
      continue;
    }
    if (one.text('AL1-4') !== '' && one.text('AL1-5') === '') context.usage.drop('AL1-4');
    const match = identify(made.resource, 'al1', links, [codeText(one, 'AL1-3')]);
    context.planner.add(context.planner.key('allergyIntolerance'), { resource: made.resource, match, clear: made.clear, fill: ['clinicalStatus'] });
  }
  for (const one of scope.all('IAM')) {
    const made = draft('AllergyIntolerance', iamRules, one, context, { patient: subjectOf(links) });
    const { resource } = made;
    const sent = one.text('IAM-17');
    const removed = one.text('IAM-6') === 'D';
    const fill: string[] = [];
    const verification = removed ? 'entered-in-error' : translate(tables.AllergyVerification, sent)?.code;
    if (verification !== undefined) resource.verificationStatus = status('allergyintolerance-verification', verification);
    // FHIR forbids a clinical status on an allergy that was entered in error (ait-2).
    if (verification !== 'entered-in-error') {
      const clinical = translate(tables.AllergyClinicalStatus, sent)?.code;
      if (clinical === undefined) fill.push('clinicalStatus');
      resource.clinicalStatus = status('allergyintolerance-clinical', clinical ?? 'active');
    } else made.clear.add('clinicalStatus');
    if (sent !== '' && translate(tables.AllergyClinicalStatus, sent) === undefined) context.untranslated('IAM-17', 'AllergyClinicalStatus');
    if (resource.code === undefined && marksOf(resource.identifier).length === 0) {
      context.usage.drop('IAM-3');
      continue;
    }
    const match = identify(resource, 'al1', links, [codeText(one, 'IAM-3')]);
    made.clear.delete('identifier');
    context.planner.add(context.planner.key('allergyIntolerance'), { resource, match, clear: made.clear, fill, createIfAbsent: !removed });
  }
}

/** A Condition and how the visit or order relates to it. */
export interface PlannedCondition {
  readonly key: string;
  readonly diagnosis: Element;
}

/** Plans one Condition per DG1. @returns their keys, with what Encounter.diagnosis says about each */
export function planDiagnoses(scope: Scope, context: V2Context, links: Links): PlannedCondition[] {
  const planned: PlannedCondition[] = [];
  for (const one of scope.all('DG1')) {
    const made = draft('Condition', dg1Rules, one, context, {
      category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/condition-category', code: 'encounter-diagnosis' }] }],
      subject: subjectOf(links),
      encounter: encounterOf(links),
    });
    const { resource } = made;
    const removed = one.text('DG1-21') === 'D';
    const verification = removed ? 'entered-in-error' : translate(tables.ConditionVerification, one.text('DG1-6'))?.code;
    if (verification !== undefined) resource.verificationStatus = status('condition-ver-status', verification);
    // FHIR forbids a clinical status on a condition that was entered in error (con-5).
    if (removed) made.clear.add('clinicalStatus');
    else resource.clinicalStatus = status('condition-clinical', 'active');
    if (resource.code === undefined) {
      context.usage.drop('DG1-3');
      continue;
    }
    const match = identify(resource, 'dg1', links, [links.encounterKey === undefined ? '' : scope.text('PV1-19'), codeText(one, 'DG1-3'), one.text('DG1-4'), one.text('DG1-6')]);
    made.clear.delete('identifier');
    const key = context.planner.add(context.planner.key('condition'), { resource, match, clear: made.clear, fill: removed ? [] : ['clinicalStatus'], createIfAbsent: !removed });
    if (removed) continue;
    const use = draft('Encounter', diagnosisRules, one, context).resource;
    planned.push({ key, diagnosis: { condition: referenceTo(key), use: use.use, rank: use.rank } });
  }
  return planned;
}

/** Plans one Condition per PRB. */
export function planProblems(scope: Scope, context: V2Context, links: Links): void {
  for (const one of scope.all('PRB')) {
    const made = draft('Condition', prbRules, one, context, {
      category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/condition-category', code: 'problem-list-item' }] }],
      subject: subjectOf(links),
    });
    const { resource } = made;
    const removed = one.text('PRB-1') === 'DE';
    if (removed) resource.verificationStatus = status('condition-ver-status', 'entered-in-error');
    // An abated condition is not active (con-4).
    else resource.clinicalStatus = status('condition-clinical', resource.abatementDateTime === undefined ? 'active' : 'resolved');
    if (resource.code === undefined) {
      context.usage.drop('PRB-3');
      continue;
    }
    const match = identify(resource, 'prb', links, [codeText(one, 'PRB-3')]);
    made.clear.delete('identifier');
    context.planner.add(context.planner.key('condition'), { resource, match, clear: removed ? [...made.clear, 'clinicalStatus'] : made.clear, createIfAbsent: !removed });
  }
}

/** Plans one Procedure per PR1. */
export function planProcedures(scope: Scope, context: V2Context, links: Links): void {
  for (const one of scope.all('PR1')) {
    const made = draft('Procedure', pr1Rules, one, context, { status: one.text('PR1-20') === 'D' ? 'entered-in-error' : 'completed', subject: subjectOf(links), encounter: encounterOf(links) });
    if (made.resource.code === undefined) {
      context.usage.drop('PR1-3');
      continue;
    }
    const match = identify(made.resource, 'pr1', links, [codeText(one, 'PR1-3'), one.text('PR1-5')]);
    made.clear.delete('identifier');
    context.planner.add(context.planner.key('procedure'), { resource: made.resource, match, clear: made.clear });
  }
}
