import type { Role } from './roles.ts';

/** Types about money: closed to those who only care for patients. */
const financial = [
  'Account', 'ChargeItem', 'ChargeItemDefinition', 'Claim', 'ClaimResponse', 'Contract', 'Coverage', 'CoverageEligibilityRequest', 'CoverageEligibilityResponse',
  'EnrollmentRequest', 'EnrollmentResponse', 'ExplanationOfBenefit', 'InsurancePlan', 'Invoice', 'PaymentNotice', 'PaymentReconciliation',
] as const;

const medication = ['Medication', 'MedicationAdministration', 'MedicationDispense', 'MedicationKnowledge', 'MedicationRequest', 'MedicationStatement'] as const;

/** The roles that Interlock ships (docs/compliance/access.md). */
export const shippedRoles: Readonly<Record<string, Role>> = {
  physician: {
    summary: 'Treats patients: reads and writes the record; reads what is about money',
    breaksGlass: true,
    purposes: ['TREAT', 'ETREAT', 'CAREMGT'],
    rows: [
      { types: financial, interactions: 'rs' },
      { types: '*', interactions: 'cruds' },
    ],
  },
  nurse: {
    summary: 'Cares for patients: reads and writes the record, deletes nothing; sees nothing about money',
    breaksGlass: true,
    purposes: ['TREAT', 'ETREAT', 'CAREMGT'],
    rows: [
      { types: financial, interactions: '' },
      { types: '*', interactions: 'crus' },
    ],
  },
  pharmacist: {
    summary: 'Dispenses: writes medications, reads what dispensing needs to know',
    purposes: ['TREAT', 'ETREAT'],
    rows: [
      { types: medication, interactions: 'cruds' },
      { types: ['AllergyIntolerance', 'Condition', 'Encounter', 'Location', 'Observation', 'Organization', 'Patient', 'Practitioner', 'PractitionerRole', 'RelatedPerson'], interactions: 'rs' },
    ],
  },
  billing: {
    summary: 'Bills: writes what is about money, reads who was treated when and by whom; no clinical notes',
    purposes: ['HPAYMT', 'HOPERAT'],
    rows: [
      { types: financial, interactions: 'cruds' },
      // A narrative repeats whatever the visit was about.
      { types: ['Encounter'], interactions: 'rs', masks: ['text', 'reasonReference'] },
      { types: ['Location', 'Organization', 'Patient', 'Practitioner', 'PractitionerRole', 'RelatedPerson'], interactions: 'rs' },
    ],
  },
  patient: {
    summary: 'Reads the own record; writes consents and answers to questionnaires',
    purposes: ['PATRQT'],
    rows: [
      { types: ['Consent', 'QuestionnaireResponse'], interactions: 'crus', compartment: 'self' },
      { types: '*', interactions: 'rs', compartment: 'self' },
    ],
  },
  auditor: { summary: 'Reads the audit trail and nothing else', purposes: ['HOPERAT'], rows: [{ types: ['AuditEvent'], interactions: 'rs' }] },
  'integration-admin': { summary: 'Runs channels and clients; reads no patient data', purposes: ['HOPERAT'], rows: [], administers: true },
  'security-admin': { summary: 'Administers people, keys and access; reads no patient data', purposes: ['HOPERAT'], rows: [], administers: true },
};
