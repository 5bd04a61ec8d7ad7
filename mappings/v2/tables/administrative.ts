import type { CodeTable } from './table.ts';

const v3Marital = 'http://terminology.hl7.org/CodeSystem/v3-MaritalStatus';
const v3Null = 'http://terminology.hl7.org/CodeSystem/v3-NullFlavor';
const v3Act = 'http://terminology.hl7.org/CodeSystem/v3-ActCode';
const v3Role = 'http://terminology.hl7.org/CodeSystem/v3-RoleCode';
const v2 = (number: string): string => `http://terminology.hl7.org/CodeSystem/v2-${number}`;

export const administrativeSex: CodeTable = {
  number: '0001',
  system: 'http://hl7.org/fhir/administrative-gender',
  codes: { F: 'female', M: 'male', O: 'other', U: 'unknown', A: 'other', N: 'other' },
};

/** US Core birth sex knows only these. */
export const birthSex: CodeTable = { number: '0001', system: 'http://terminology.hl7.org/CodeSystem/v3-AdministrativeGender', codes: { F: 'F', M: 'M' } };

export const maritalStatus: CodeTable = {
  number: '0002',
  system: v3Marital,
  codes: {
    A: ['L', 'Legally Separated'], B: ['U', 'unmarried'], C: ['C', 'Common Law'], D: ['D', 'Divorced'], E: ['L', 'Legally Separated'],
    G: ['T', 'Domestic partner'], I: ['I', 'Interlocutory'], M: ['M', 'Married'], N: ['A', 'Annulled'], O: ['OTH', 'other', v3Null],
    P: ['T', 'Domestic partner'], R: ['T', 'Domestic partner'], S: ['S', 'Never Married'], T: ['NAVU', 'Not available', v3Null],
    U: ['UNK', 'unknown', v3Null], W: ['W', 'Widowed'],
  },
};

export const patientClass: CodeTable = {
  number: '0004',
  system: v3Act,
  codes: {
    E: ['EMER', 'emergency'], I: ['IMP', 'inpatient encounter'], O: ['AMB', 'ambulatory'], P: ['PRENC', 'pre-admission'],
    R: ['R', 'Recurring patient', v2('0004')], B: ['B', 'Obstetrics', v2('0004')], C: ['C', 'Commercial Account', v2('0004')], U: ['U', 'Unknown', v2('0004')],
    // Not in the table, but what many senders write.
    IP: ['IMP', 'inpatient encounter'], INPATIENT: ['IMP', 'inpatient encounter'], OP: ['AMB', 'ambulatory'], OUTPATIENT: ['AMB', 'ambulatory'],
    ER: ['EMER', 'emergency'], ED: ['EMER', 'emergency'], EMERGENCY: ['EMER', 'emergency'], OBS: ['OBSENC', 'observation encounter'],
  },
};

export const nameUse: CodeTable = {
  number: '0200',
  system: 'http://hl7.org/fhir/name-use',
  codes: { BAD: 'old', D: 'usual', L: 'official', M: 'maiden', MSK: 'anonymous', N: 'nickname', NAV: 'temp', NOUSE: 'old', R: 'official', S: 'anonymous', TEMP: 'temp', U: 'usual', CURRENT: 'usual' },
};

export const addressUse: CodeTable = {
  number: '0190',
  system: 'http://hl7.org/fhir/address-use',
  codes: { B: 'work', BA: 'old', BI: 'billing', C: 'temp', H: 'home', O: 'work', HOME: 'home' },
};

export const addressType: CodeTable = { number: '0190', system: 'http://hl7.org/fhir/address-type', codes: { M: 'postal', SH: 'postal' } };

export const telecomUse: CodeTable = {
  number: '0201',
  system: 'http://hl7.org/fhir/contact-point-use',
  codes: { PRN: 'home', ORN: 'home', VHN: 'temp', WPN: 'work', PRS: 'mobile' },
};

export const telecomSystem: CodeTable = {
  number: '0202',
  system: 'http://hl7.org/fhir/contact-point-system',
  codes: { PH: 'phone', CP: 'phone', SAT: 'phone', FX: 'fax', BP: 'pager', INTERNET: 'email', 'X.400': 'email', MD: 'other', TDD: 'other', TTY: 'other' },
};

export const relationship: CodeTable = {
  number: '0063',
  system: v3Role,
  codes: {
    SEL: ['ONESELF', 'self'], SPO: ['SPS', 'spouse'], DOM: ['SIGOTHR', 'significant other'], CHD: ['CHILD', 'child'], GCH: ['GRNDCHILD', 'grandchild'],
    NCH: ['NCHILD', 'natural child'], SCH: ['STPCHLD', 'step child'], FCH: ['CHLDFOST', 'foster child'], PAR: ['PRN', 'parent'], MTH: ['MTH', 'mother'],
    FTH: ['FTH', 'father'], GRP: ['GRPRN', 'grandparent'], EXF: ['EXT', 'extended family member'], SIB: ['SIB', 'sibling'], BRO: ['BRO', 'brother'],
    SIS: ['SIS', 'sister'], FND: ['FRND', 'unrelated friend'], GRD: ['GUARD', 'guardian'],
    DEP: ['DEP', 'Handicapped dependent', v2('0063')], WRD: ['WRD', 'Ward of court', v2('0063')], CGV: ['CGV', 'Care giver', v2('0063')],
    OAD: ['OAD', 'Other adult', v2('0063')], EME: ['EME', 'Employee', v2('0063')], ASC: ['ASC', 'Associate', v2('0063')], OWN: ['OWN', 'Owner', v2('0063')],
    TRA: ['TRA', 'Trainer', v2('0063')], MGR: ['MGR', 'Manager', v2('0063')], NON: ['NON', 'None', v2('0063')],
    EMR: ['E', 'Employer', v2('0131')], EMC: ['C', 'Emergency Contact', v2('0131')], UNK: ['U', 'Unknown', v2('0131')], OTH: ['O', 'Other', v2('0131')],
    MOTHER: ['MTH', 'mother'], FATHER: ['FTH', 'father'], SPOUSE: ['SPS', 'spouse'], BROTHER: ['BRO', 'brother'], SISTER: ['SIS', 'sister'], CHILD: ['CHILD', 'child'], SELF: ['ONESELF', 'self'],
  },
};

export const contactRole: CodeTable = {
  number: '0131',
  system: v2('0131'),
  codes: {
    E: ['E', 'Employer'], C: ['C', 'Emergency Contact'], F: ['F', 'Federal Agency'], I: ['I', 'Insurance Company'],
    N: ['N', 'Next-of-Kin'], S: ['S', 'State Agency'], O: ['O', 'Other'], U: ['U', 'Unknown'],
  },
};

/** Coverage.relationship has a value set of its own. */
export const subscriberRelationship: CodeTable = {
  number: '0063',
  system: 'http://terminology.hl7.org/CodeSystem/subscriber-relationship',
  codes: { SEL: 'self', SPO: 'spouse', CHD: 'child', NCH: 'child', SCH: 'child', FCH: 'child', PAR: 'parent', MTH: 'parent', FTH: 'parent', DOM: 'common', OTH: 'other', '18': 'self', '01': 'spouse', '19': 'child' },
};

export const yesNo: CodeTable = { number: '0136', system: '', codes: { Y: 'true', N: 'false', '1': 'true', '0': 'false', YES: 'true', NO: 'false' } };

/** Roles of HL7 table 0443 that PV1 fixes by position (https://terminology.hl7.org/CodeSystem/v3-ParticipationType). */
const participation = (code: string, display: string) => ({ type: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ParticipationType', code, display }] }] });

export const participants = {
  attender: participation('ATND', 'attender'),
  referrer: participation('REF', 'referrer'),
  consultant: participation('CON', 'consultant'),
  admitter: participation('ADM', 'admitter'),
  other: participation('PART', 'Participation'),
} as const;
