import type { CodeTable } from './table.ts';

export const allergyCategory: CodeTable = {
  number: '0127',
  system: 'http://hl7.org/fhir/allergy-intolerance-category',
  codes: { DA: 'medication', FA: 'food', EA: 'environment', AA: 'biologic', PA: 'environment', LA: 'environment', DRUG: 'medication', FOOD: 'food' },
};

export const allergyType: CodeTable = {
  number: '0127',
  system: 'http://hl7.org/fhir/allergy-intolerance-type',
  codes: { DA: 'allergy', FA: 'allergy', MA: 'allergy', EA: 'allergy', AA: 'allergy', PA: 'allergy', LA: 'allergy', DRUG: 'allergy', FOOD: 'allergy' },
};

/** Severity describes the reaction; it is not taken for criticality, the risk of future harm. */
export const allergySeverity: CodeTable = { number: '0128', system: 'http://hl7.org/fhir/reaction-event-severity', codes: { SV: 'severe', MO: 'moderate', MI: 'mild' } };

export const allergyClinicalStatus: CodeTable = {
  number: '0438',
  system: 'http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical',
  codes: { C: 'active', P: 'active', S: 'active', U: 'active', I: 'inactive', D: 'inactive', E: 'inactive', ACTIVE: 'active', INACTIVE: 'inactive', RESOLVED: 'resolved' },
};

export const allergyVerification: CodeTable = {
  number: '0438',
  system: 'http://terminology.hl7.org/CodeSystem/allergyintolerance-verification',
  codes: { C: 'confirmed', P: 'unconfirmed', S: 'unconfirmed', U: 'unconfirmed', I: 'confirmed', D: 'refuted', E: 'entered-in-error' },
};

export const diagnosisUse: CodeTable = {
  number: '0052',
  system: 'http://terminology.hl7.org/CodeSystem/diagnosis-role',
  codes: { A: ['AD', 'Admission diagnosis'], D: ['DD', 'Discharge diagnosis'], W: ['W', 'Working', 'http://terminology.hl7.org/CodeSystem/v2-0052'], F: ['F', 'Final', 'http://terminology.hl7.org/CodeSystem/v2-0052'] },
};

/** A diagnosis that is worked on is provisional; one that is final is confirmed. */
export const conditionVerification: CodeTable = {
  number: '0052',
  system: 'http://terminology.hl7.org/CodeSystem/condition-ver-status',
  codes: { W: 'provisional', F: 'confirmed', A: 'provisional' },
};

export const observationStatus: CodeTable = {
  number: '0085',
  system: 'http://hl7.org/fhir/observation-status',
  codes: { A: 'amended', B: 'final', C: 'corrected', D: 'entered-in-error', F: 'final', I: 'registered', N: 'final', O: 'registered', P: 'preliminary', R: 'preliminary', S: 'preliminary', U: 'final', V: 'final', W: 'entered-in-error', X: 'cancelled' },
};

export const reportStatus: CodeTable = {
  number: '0123',
  system: 'http://hl7.org/fhir/diagnostic-report-status',
  codes: { A: 'partial', C: 'corrected', F: 'final', I: 'registered', M: 'partial', N: 'unknown', O: 'registered', P: 'preliminary', R: 'partial', S: 'registered', X: 'cancelled', Y: 'unknown', Z: 'unknown' },
};

const interpretation = (code: string, display: string): [string, string] => [code, display];

export const interpretations: CodeTable = {
  number: '0078',
  system: 'http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation',
  codes: {
    '<': interpretation('<', 'Off scale low'), '>': interpretation('>', 'Off scale high'), A: interpretation('A', 'Abnormal'), AA: interpretation('AA', 'Critical abnormal'),
    B: interpretation('B', 'Better'), D: interpretation('D', 'Significant change down'), H: interpretation('H', 'High'), HH: interpretation('HH', 'Critical high'),
    HU: interpretation('HU', 'Significantly high'), I: interpretation('I', 'Intermediate'), IE: interpretation('IE', 'Insufficient evidence'), IND: interpretation('IND', 'Indeterminate'),
    L: interpretation('L', 'Low'), LL: interpretation('LL', 'Critical low'), LU: interpretation('LU', 'Significantly low'), N: interpretation('N', 'Normal'), ND: interpretation('ND', 'Not detected'),
    NEG: interpretation('NEG', 'Negative'), NR: interpretation('NR', 'Non-reactive'), NS: interpretation('NS', 'Non-susceptible'), POS: interpretation('POS', 'Positive'),
    R: interpretation('R', 'Resistant'), RR: interpretation('RR', 'Reactive'), S: interpretation('S', 'Susceptible'), U: interpretation('U', 'Significant change up'),
    W: interpretation('W', 'Worse'), WR: interpretation('WR', 'Weakly reactive'),
  },
};

export const immunizationStatus: CodeTable = { number: '0322', system: 'http://hl7.org/fhir/event-status', codes: { CP: 'completed', PA: 'completed', RE: 'not-done', NA: 'not-done' } };
