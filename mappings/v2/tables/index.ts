import * as administrative from './administrative.ts';
import * as clinical from './clinical.ts';
import * as orders from './orders.ts';
import type { CodeTable } from './table.ts';

/** Every code table by the name that rules and reports use. */
export const tables = {
  AdministrativeSex: administrative.administrativeSex,
  BirthSex: administrative.birthSex,
  MaritalStatus: administrative.maritalStatus,
  PatientClass: administrative.patientClass,
  NameType: administrative.nameUse,
  AddressUse: administrative.addressUse,
  AddressType: administrative.addressType,
  TelecommunicationUseCode: administrative.telecomUse,
  TelecommunicationEquipmentType: administrative.telecomSystem,
  Relationship: administrative.relationship,
  ContactRole: administrative.contactRole,
  SubscriberRelationship: administrative.subscriberRelationship,
  YesNo: administrative.yesNo,
  AllergyCategory: clinical.allergyCategory,
  AllergyType: clinical.allergyType,
  AllergySeverity: clinical.allergySeverity,
  AllergyClinicalStatus: clinical.allergyClinicalStatus,
  AllergyVerification: clinical.allergyVerification,
  DiagnosisType: clinical.diagnosisUse,
  ConditionVerification: clinical.conditionVerification,
  ObservationStatus: clinical.observationStatus,
  ReportStatus: clinical.reportStatus,
  Interpretation: clinical.interpretations,
  ImmunizationStatus: clinical.immunizationStatus,
  OrderControl: orders.orderControl,
  OrderStatus: orders.orderStatus,
  Priority: orders.priority,
  Substitution: orders.substitution,
  Route: orders.route,
} as const satisfies Record<string, CodeTable>;

export type TableName = keyof typeof tables;

export { orderCodesEnding, repeatPatterns, requestStatus, timingAbbreviations } from './orders.ts';
