import type { Permission } from './context.ts';

/** What a role may do, before scopes narrow it. The first rule that names the type decides. */
export interface RolePolicy {
  readonly rules: readonly { readonly types: '*' | readonly string[]; readonly permissions: string }[];
  /** Limits the role to the compartment of the person's own Patient resource. */
  readonly ownCompartment?: boolean;
}

/** Only auditors see the audit trail, and nobody writes it. */
const trail = { types: ['AuditEvent'], permissions: '' } as const;

/** Types about money: closed to those who only care for patients. */
const financial = [
  'Account', 'ChargeItem', 'ChargeItemDefinition', 'Claim', 'ClaimResponse', 'Contract', 'Coverage', 'CoverageEligibilityRequest', 'CoverageEligibilityResponse',
  'EnrollmentRequest', 'EnrollmentResponse', 'ExplanationOfBenefit', 'InsurancePlan', 'Invoice', 'PaymentNotice', 'PaymentReconciliation',
] as const;

/**
 * Directory and knowledge types that belong to no patient: with a patient-level scope they can be read, never written.
 * Everything else outside the Patient compartment (Binary, Task, Bundle …) stays closed to such scopes.
 */
export const sharedTypes: ReadonlySet<string> = new Set([
  'ActivityDefinition', 'CapabilityStatement', 'CodeSystem', 'ConceptMap', 'Endpoint', 'HealthcareService', 'Library', 'Location', 'Measure', 'Medication', 'MedicationKnowledge',
  'NamingSystem', 'OperationDefinition', 'Organization', 'OrganizationAffiliation', 'PlanDefinition', 'Practitioner', 'PractitionerRole', 'Questionnaire', 'SearchParameter',
  'StructureDefinition', 'Substance', 'ValueSet',
]);

/** The roles that Interlock ships. */
export const roles: Readonly<Record<string, RolePolicy>> = {
  physician: { rules: [trail, { types: financial, permissions: 'rs' }, { types: '*', permissions: 'cruds' }] },
  nurse: { rules: [trail, { types: financial, permissions: '' }, { types: '*', permissions: 'crus' }] },
  pharmacist: {
    rules: [
      { types: ['Medication', 'MedicationAdministration', 'MedicationDispense', 'MedicationKnowledge', 'MedicationRequest', 'MedicationStatement'], permissions: 'cruds' },
      { types: ['AllergyIntolerance', 'Condition', 'Encounter', 'Location', 'Observation', 'Organization', 'Patient', 'Practitioner', 'PractitionerRole', 'RelatedPerson'], permissions: 'rs' },
    ],
  },
  billing: {
    rules: [
      { types: financial, permissions: 'cruds' },
      { types: ['Encounter', 'Location', 'Organization', 'Patient', 'Practitioner', 'PractitionerRole', 'RelatedPerson'], permissions: 'rs' },
    ],
  },
  patient: { rules: [trail, { types: ['Consent', 'QuestionnaireResponse'], permissions: 'crus' }, { types: '*', permissions: 'rs' }], ownCompartment: true },
  auditor: { rules: [{ types: ['AuditEvent'], permissions: 'rs' }] },
  'integration-admin': { rules: [] },
  'security-admin': { rules: [] },
};

/** What a channel may write and look up on behalf of a partner. */
export const interfacePolicy: RolePolicy = { rules: [trail, { types: '*', permissions: 'crus' }] };

/** The permissions that a policy gives on a type. */
export function permissionsOf(policy: RolePolicy, type: string): ReadonlySet<Permission> {
  const rule = policy.rules.find(({ types }) => types === '*' || types.includes(type));
  return new Set((rule?.permissions ?? '') as Iterable<Permission>);
}
