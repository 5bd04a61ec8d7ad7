import type { Rule } from '../engine/rules.ts';

/** Conversions that convert.ts offers. */
export type ScriptConversion = 'string' | 'date' | 'dateTime' | 'gender' | 'HumanName' | 'Address' | 'phone' | 'email' | 'contact' | 'drug' | 'diagnosis' | 'decimal' | 'count' | 'days' | 'unit' | 'substitution';
export type ScriptRule = Rule<ScriptConversion>;

/** Paths that must hold a value. SCRIPT requires them; a prescription without one of them cannot be filled safely. */
export const required: Readonly<Record<'NewRx' | 'CancelRx', readonly (readonly string[])[]>> = {
  NewRx: [
    ['Patient/HumanPatient/Name/LastName', 'Patient/Name/LastName'],
    ['Patient/HumanPatient/Name/FirstName', 'Patient/Name/FirstName'],
    ['Patient/HumanPatient/DateOfBirth/Date', 'Patient/DateOfBirth/Date', 'Patient/HumanPatient/DateOfBirth', 'Patient/DateOfBirth'],
    ['Prescriber/NonVeterinarian/Name/LastName', 'Prescriber/Name/LastName'],
    ['MedicationPrescribed/DrugDescription'],
    ['MedicationPrescribed/Quantity/Value'],
    ['MedicationPrescribed/Sig/SigText', 'MedicationPrescribed/Directions'],
    ['MedicationPrescribed/WrittenDate/Date', 'MedicationPrescribed/WrittenDate/DateTime', 'MedicationPrescribed/WrittenDate'],
  ],
  CancelRx: [],
};

const nameAndContact: readonly ScriptRule[] = [
  { from: 'Name', to: 'name[]', as: 'HumanName' },
  { from: 'CommunicationNumbers/PrimaryTelephone', to: 'telecom[]', as: 'phone', with: { system: 'phone' } },
  { from: 'CommunicationNumbers/HomeTelephone', to: 'telecom[]', as: 'phone', with: { system: 'phone', use: 'home' } },
  { from: 'CommunicationNumbers/WorkTelephone', to: 'telecom[]', as: 'phone', with: { system: 'phone', use: 'work' } },
  { from: 'CommunicationNumbers/OtherTelephone', to: 'telecom[]', as: 'phone', with: { system: 'phone' } },
  { from: 'CommunicationNumbers/Beeper', to: 'telecom[]', as: 'phone', with: { system: 'pager' } },
  { from: 'CommunicationNumbers/Fax', to: 'telecom[]', as: 'phone', with: { system: 'fax' } },
  { from: 'CommunicationNumbers/ElectronicMail', to: 'telecom[]', as: 'email', with: { system: 'email' } },
  { from: 'CommunicationNumbers/Communication', to: 'telecom[]', as: 'contact', why: 'version 10.6: one element with a qualifier' },
  { from: 'Address', to: 'address[]', as: 'Address' },
];

/** Below Patient/HumanPatient (10.6: Patient). */
export const patientRules: readonly ScriptRule[] = [
  ...nameAndContact,
  { from: 'FormerName', to: 'name[]', as: 'HumanName', with: { use: 'old' } },
  { from: 'Gender', to: 'gender', as: 'gender' },
  { from: 'DateOfBirth', to: 'birthDate', as: 'date' },
];

/** Below Prescriber/NonVeterinarian (10.6: Prescriber). */
export const practitionerRules: readonly ScriptRule[] = nameAndContact;

/** Below Pharmacy. */
export const pharmacyRules: readonly ScriptRule[] = [
  { from: 'StoreName', to: 'name', as: 'string', why: 'version 10.6' },
  { from: 'BusinessName', to: 'name', as: 'string' },
  ...nameAndContact.filter(({ from }) => from !== 'Name'),
];

/** Below MedicationPrescribed. */
export const medicationRules: readonly ScriptRule[] = [
  { from: 'DrugDescription', to: 'medicationCodeableConcept.text', as: 'string' },
  { from: 'DrugCoded/DrugDBCode', to: 'medicationCodeableConcept.coding[]', as: 'drug', why: 'RxNorm says what was meant; the NDC below is one package of it' },
  { from: 'DrugCoded/ProductCode', to: 'medicationCodeableConcept.coding[]', as: 'drug' },
  { from: 'WrittenDate', to: 'authoredOn', as: 'dateTime' },
  { from: 'Sig/SigText', to: 'dosageInstruction[]', as: 'string' },
  { from: 'Directions', to: 'dosageInstruction[]', as: 'string', when: { empty: 'Sig/SigText' }, why: 'version 10.6' },
  { from: 'Quantity/QuantityUnitOfMeasure/Code', to: 'dispenseRequest.quantity', as: 'unit' },
  { from: 'Quantity/PotencyUnitCode', to: 'dispenseRequest.quantity', as: 'unit', why: 'version 10.6' },
  { from: 'Quantity/Value', to: 'dispenseRequest.quantity.value', as: 'decimal' },
  { from: 'DaysSupply', to: 'dispenseRequest.expectedSupplyDuration', as: 'days' },
  { from: 'Refills/Value', to: 'dispenseRequest.numberOfRepeatsAllowed', as: 'count', why: 'version 10.6' },
  { from: 'NumberOfRefills', to: 'dispenseRequest.numberOfRepeatsAllowed', as: 'count', why: 'refills, so the first fill is not counted: as in FHIR' },
  { from: 'EffectiveDate', to: 'dispenseRequest.validityPeriod.start', as: 'dateTime' },
  { from: 'ExpirationDate', to: 'dispenseRequest.validityPeriod.end', as: 'dateTime' },
  { from: 'Substitutions', to: 'substitution.allowedBoolean', as: 'substitution' },
  { from: 'Diagnosis/Primary', to: 'reasonCode[]', as: 'diagnosis' },
  { from: 'Diagnosis/Secondary', to: 'reasonCode[]', as: 'diagnosis' },
  { from: 'Note', to: 'note[]', as: 'string' },
];
