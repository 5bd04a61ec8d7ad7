import type { Scope, V2Context } from './context.ts';
import { V2Error } from './error.ts';
import { planAllergies, planDiagnoses, planProblems, planProcedures } from './resources/clinical.ts';
import { planCoverages } from './resources/coverage.ts';
import { planEncounter } from './resources/encounter.ts';
import { planImmunization } from './resources/immunization.ts';
import type { Links } from './resources/links.ts';
import { planObservations, planReport } from './resources/observation.ts';
import { planOrder } from './resources/order.ts';
import { planChangedIdentifier, planMerge, planPatient } from './resources/patient.ts';
import { planRelatedPersons } from './resources/related-person.ts';

type Build = (scope: Scope, context: V2Context) => void;

/** The patient and visit that a message is about, and what PID's neighbours say of them. */
function planVisit(scope: Scope, context: V2Context): Links {
  const patient = planPatient(scope, context);
  const encounterKey = planEncounter(scope, context, patient);
  return encounterKey === undefined ? patient : { ...patient, encounterKey };
}

/** ADT about one patient: visit, next of kin, allergies, diagnoses, procedures, insurance, observations. */
const visit: Build = (scope, context) => {
  const patient = planPatient(scope, context);
  // Diagnoses refer to the visit and the visit to its diagnoses, so the visit's key is known before its content.
  const encounterKey = planEncounter(scope, context, patient);
  const links: Links = encounterKey === undefined ? patient : { ...patient, encounterKey };
  planRelatedPersons(scope, context, links);
  planAllergies(scope, context, links);
  const diagnoses = planDiagnoses(scope, context, links);
  if (encounterKey !== undefined) context.planner.amend(encounterKey, 'diagnosis', diagnoses.map(({ diagnosis }) => diagnosis));
  planProblems(scope, context, links);
  planProcedures(scope, context, links);
  planCoverages(scope, context, links);
  planObservations(scope, context, links, { mark: 'adt', shared: {} });
};

/** Segments of the merge structures that belong to the PID before them. */
const perPatient = (scope: Scope): Scope[] => scope.groups(['PID']);

/** One or several pairs of PID and MRG: the first stays, the second is retired. */
const merge: Build = (scope, context) => {
  const groups = perPatient(scope);
  if (groups.length === 0) throw new V2Error('100', { segment: 'PID', sequence: 1 }, 'a merge needs PID and MRG');
  for (const group of groups) {
    if (group.first('MRG') === undefined) throw new V2Error('100', { segment: 'MRG', sequence: 1 }, 'a merge needs an MRG after each PID');
    planMerge(group, context, planPatient(group, context));
  }
};

/** A patient's number was corrected: PID has the new, MRG the old. */
const changeIdentifier: Build = (scope, context) => {
  for (const group of perPatient(scope)) planChangedIdentifier(group, context);
  if (scope.first('PID') === undefined) throw new V2Error('100', { segment: 'PID', sequence: 1 });
};

/** A45: visits move to the patient in PID; each MRG and PV1 pair names one. */
const moveVisit: Build = (scope, context) => {
  const patient = planPatient(scope, context);
  const pid = scope.first('PID');
  const groups = scope.groups(['MRG'], ['MRG', 'PV1']);
  if (groups.length === 0) throw new V2Error('100', { segment: 'MRG', sequence: 1 });
  for (const group of groups) {
    group.read('MRG-1'); // the patient that the visit leaves: the new subject says all
    if (planEncounter(scope.narrow(pid === undefined ? group.segments : [pid, ...group.segments]), context, patient) === undefined) throw new V2Error('101', { segment: 'PV1', sequence: 1, field: 19 });
  }
};

/** Orders: what precedes the first ORC is about patient and visit, then one group per ORC. */
const orders = (medicationOnly: boolean): Build => (scope, context) => {
  const first = scope.segments.findIndex((segment) => ['ORC', 'RXO', 'RXE', 'OBR'].includes(segment.name));
  if (first < 0) throw new V2Error('100', { segment: 'ORC', sequence: 1 }, 'an order message needs an order');
  const head = scope.narrow(scope.segments.slice(0, first));
  const links = planVisit(head, context);
  planAllergies(head, context, links);
  planCoverages(head, context, links);
  planRelatedPersons(head, context, links);
  const body = scope.narrow(scope.segments.slice(first));
  for (const group of body.first('ORC') === undefined ? [body] : body.groups(['ORC'])) planOrder(group, context, links, medicationOnly);
};

/** ORU: per patient, per OBR a report with its observations. */
const results: Build = (scope, context) => {
  if (scope.first('PID') === undefined) throw new V2Error('100', { segment: 'PID', sequence: 1 }, 'results need a patient');
  for (const group of perPatient(scope)) {
    const links = planVisit(group, context);
    planRelatedPersons(group, context, links);
    let current: typeof group.segments[number][] = [];
    const reports: (typeof current)[] = [];
    for (const segment of group.segments.slice(group.segments.findIndex(({ name }) => name === 'ORC' || name === 'OBR' || name === 'OBX'))) {
      // An ORC opens a report; so does an OBR, unless the ORC before it did.
      const opens = segment.name === 'ORC' || (segment.name === 'OBR' && current.some(({ name }) => name === 'OBR' || name === 'OBX')) || (segment.name === 'OBR' && current.length === 0);
      if (opens || reports.length === 0) reports.push((current = []));
      current.push(segment);
    }
    for (const report of reports) planReport(scope.narrow(report), context, links);
  }
};

/** VXU: one immunization per ORC group. */
const immunizations: Build = (scope, context) => {
  const links = planVisit(scope, context);
  planRelatedPersons(scope, context, links);
  for (const group of scope.groups(scope.first('ORC') === undefined ? ['RXA'] : ['ORC'])) planImmunization(group, context, links);
};

/** PPR: problems and their context. */
const problems: Build = (scope, context) => {
  const links = planVisit(scope, context);
  if (scope.first('PRB') === undefined) throw new V2Error('100', { segment: 'PRB', sequence: 1 });
  planProblems(scope, context, links);
};

/**
 * The messages that are understood: type, trigger events, how they are read. What is not here is refused, never accepted
 * and ignored. Deliberately absent: A17 (two patients swap beds), A24 and A37 (links), A41, A44 and the like (accounts,
 * which are not kept).
 */
const maps: readonly (readonly [type: string, triggers: readonly string[], build: Build])[] = [
  ['ADT', ['A01', 'A02', 'A03', 'A04', 'A05', 'A06', 'A07', 'A08', 'A09', 'A10', 'A11', 'A12', 'A13', 'A14', 'A15', 'A16', 'A21', 'A22', 'A23', 'A25', 'A26', 'A27', 'A28', 'A29', 'A31', 'A38', 'A60'], visit],
  ['ADT', ['A18', 'A30', 'A34', 'A39', 'A40'], merge],
  ['ADT', ['A46', 'A47'], changeIdentifier],
  ['ADT', ['A45'], moveVisit],
  ['ORM', ['O01'], orders(false)],
  ['OMP', ['O09'], orders(true)],
  ['RDE', ['O01', 'O11', 'O25'], orders(true)],
  ['OMG', ['O19'], orders(false)],
  ['OML', ['O21'], orders(false)],
  ['ORU', ['R01'], results],
  ['VXU', ['V04'], immunizations],
  ['PPR', ['PC1', 'PC2', 'PC3'], problems],
];

/** @throws V2Error 200 for an unknown message type, 201 for an unknown event of a known type */
export function buildFor(type: string, trigger: string): Build {
  const found = maps.find(([code, triggers]) => code === type && triggers.includes(trigger));
  if (found !== undefined) return found[2];
  throw new V2Error(maps.some(([code]) => code === type) ? '201' : '200', { segment: 'MSH', sequence: 1, field: 9 });
}

/** Every supported message, such as `ADT^A01`. */
export const supportedMessages: readonly string[] = maps.flatMap(([type, triggers]) => triggers.map((trigger) => `${type}^${trigger}`));
