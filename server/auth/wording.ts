import type { ResourceScope, Scope } from '../access/scopes.ts';
import { criterionTitle } from './granular.ts';

/** What a scope means, for people who have never heard of FHIR. */
export interface Wording {
  readonly title: string;
  readonly detail?: string;
}

/** Everyday names of the resource types that apps ask for most; others are named from their type. */
const typeNames: Readonly<Record<string, string>> = {
  '*': 'everything in the record',
  AllergyIntolerance: 'allergies and intolerances',
  Appointment: 'appointments',
  CarePlan: 'care plans',
  CareTeam: 'the care team',
  Condition: 'conditions and diagnoses',
  Coverage: 'insurance coverage',
  Device: 'devices and implants',
  DiagnosticReport: 'reports of tests and examinations',
  DocumentReference: 'documents and notes',
  Encounter: 'visits and stays',
  ExplanationOfBenefit: 'claims and benefits',
  Goal: 'goals of treatment',
  Immunization: 'vaccinations',
  MedicationDispense: 'dispensed medicines',
  MedicationRequest: 'prescriptions',
  Observation: 'measurements and test results',
  Patient: 'name, address and personal details',
  Procedure: 'operations and procedures',
  Provenance: 'where the data came from',
  RelatedPerson: 'relatives and contacts',
  ServiceRequest: 'orders and referrals',
  Specimen: 'samples',
};

/** What belongs to no patient. */
const directoryNames: Readonly<Record<string, string>> = {
  Location: 'places of care',
  Medication: 'descriptions of medicines',
  Organization: 'names and addresses of hospitals and practices',
  Practitioner: 'names and addresses of doctors and other staff',
  PractitionerRole: 'what doctors and other staff do where',
};

/** Words for one scope on the consent page. */
export function wordingOf(scope: Scope): Wording {
  switch (scope.kind) {
    case 'resource':
      return resourceWording(scope);
    case 'identity':
      return { title: scope.text === 'openid' ? 'Know that it is you who signs in' : 'Know who you are in the health record' };
    case 'launch':
      return { title: scope.context === undefined ? 'Start with the record that is open' : scope.context === 'patient' ? 'Know whose record it works with' : 'Know which visit it works with' };
    case 'refresh':
      return scope.text === 'offline_access'
        ? { title: 'Keep this access when you are away', detail: 'Until you or the hospital end it' }
        : { title: 'Keep this access while you are signed in' };
  }
}

function resourceWording(scope: ResourceScope): Wording {
  const name = typeNames[scope.type] ?? directoryNames[scope.type] ?? scope.type.replace(/(?<=[a-z])(?=[A-Z])/g, ' ').toLowerCase();
  const verbs = [
    ...(scope.permissions.has('r') || scope.permissions.has('s') ? ['read'] : []),
    ...(scope.permissions.has('c') ? ['add'] : []),
    ...(scope.permissions.has('u') ? ['change'] : []),
    ...(scope.permissions.has('d') ? ['delete'] : []),
  ];
  const action = verbs.length > 1 ? `${verbs.slice(0, -1).join(', ')} and ${verbs.at(-1)!}` : verbs[0]!;
  const limits = scope.criteria.map(([parameter, value]) => criterionTitle(scope.type, parameter, value)?.toLowerCase() ?? `${parameter.replace(/^_/, '')} ${value.split('|').at(-1)!}`);
  const whose = scope.level === 'user' && !(scope.type in directoryNames) ? ['of every patient you may see'] : [];
  const detail = [...whose, ...(limits.length > 0 ? [`only ${limits.join(', ')}`] : [])].join('; ');
  return { title: `${action[0]!.toUpperCase()}${action.slice(1)} ${name}`, ...(detail === '' ? {} : { detail: `${detail[0]!.toUpperCase()}${detail.slice(1)}` }) };
}
