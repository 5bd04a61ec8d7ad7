import type { SearchParam } from '../search-values/types.ts';

const canonical = 'http://hl7.org/fhir/us/core/SearchParameter/us-core-';

/**
 * The search parameters that US Core 6.1 and 7.0 add to R4's and that its server is asked for, by resource type
 * (https://hl7.org/fhir/us/core/searchparameters.html).
 */
export const usCoreSearchParams: Readonly<Record<string, readonly SearchParam[]>> = {
  CareTeam: [{ code: 'role', type: 'token', url: `${canonical}careteam-role`, expression: 'CareTeam.participant.role' }],
  Condition: [{ code: 'asserted-date', type: 'date', url: `${canonical}condition-asserted-date`, expression: "(Condition.extension.where(url='http://hl7.org/fhir/StructureDefinition/condition-assertedDate').value as dateTime)" }],
  Encounter: [{ code: 'discharge-disposition', type: 'token', url: `${canonical}encounter-discharge-disposition`, expression: 'Encounter.hospitalization.dischargeDisposition' }],
  Goal: [{ code: 'description', type: 'token', url: `${canonical}goal-description`, expression: 'Goal.description' }],
};
