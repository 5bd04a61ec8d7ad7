import type { CodeTable } from './table.ts';

/**
 * ORC-1 as the state that the order is in afterwards. Requests of the placer count as done: Interlock records what the
 * sender holds true. A replaced order (RP, RQ, RU) has ended; its replacement comes as RO with its own numbers.
 */
export const orderControl: CodeTable = {
  number: '0119',
  system: 'http://hl7.org/fhir/CodeSystem/medicationrequest-status',
  codes: {
    NW: 'active', OK: 'active', OP: 'active', PY: 'active', RO: 'active', XO: 'active', XR: 'active', XX: 'active', RL: 'active', OE: 'active', OR: 'active',
    AF: 'active', RF: 'active', OF: 'active', FU: 'active', PA: 'active', CH: 'active', SN: 'active', NA: 'active', PR: 'active', RE: 'active',
    CA: 'cancelled', OC: 'cancelled', CR: 'cancelled', UA: 'cancelled',
    DC: 'stopped', OD: 'stopped', DR: 'stopped', RP: 'stopped', RQ: 'stopped', RU: 'stopped', DF: 'stopped',
    HD: 'on-hold', OH: 'on-hold', HR: 'on-hold',
    DE: 'entered-in-error',
  },
};

/** ORC-5, which states the order's state outright and so decides where ORC-1 says no end. */
export const orderStatus: CodeTable = {
  number: '0038',
  system: 'http://hl7.org/fhir/CodeSystem/medicationrequest-status',
  codes: { A: 'active', CA: 'cancelled', CM: 'completed', DC: 'stopped', ER: 'entered-in-error', HD: 'on-hold', IP: 'active', SC: 'active' },
};

/** The same states in the words of ServiceRequest. */
export const requestStatus: Readonly<Record<string, string>> = {
  'active': 'active', 'cancelled': 'revoked', 'stopped': 'revoked', 'completed': 'completed', 'on-hold': 'on-hold', 'entered-in-error': 'entered-in-error', 'unknown': 'unknown',
};

export const priority: CodeTable = {
  number: '0485',
  system: 'http://hl7.org/fhir/request-priority',
  codes: { S: 'stat', A: 'asap', R: 'routine', P: 'routine', C: 'routine', T: 'urgent', STAT: 'stat', ASAP: 'asap', ROUTINE: 'routine', URGENT: 'urgent', U: 'urgent' },
};

export const substitution: CodeTable = {
  number: '0167',
  system: 'http://terminology.hl7.org/CodeSystem/v3-substanceAdminSubstitution',
  codes: { N: ['N', 'none'], '0': ['N', 'none'], '1': ['N', 'none'], G: ['G', 'generic composition'], T: ['TE', 'therapeutic alternative'], '2': ['E', 'equivalent'], '3': ['E', 'equivalent'] },
};

const snomed = 'http://snomed.info/sct';

/** Routes with one plain SNOMED CT equivalent; every route keeps its own code besides. */
export const route: CodeTable = {
  number: '0162',
  system: snomed,
  codes: {
    PO: ['26643006', 'Oral route'], IV: ['47625008', 'Intravenous route'], IM: ['78421000', 'Intramuscular route'], SC: ['34206005', 'Subcutaneous route'], SQ: ['34206005', 'Subcutaneous route'],
    SL: ['37839007', 'Sublingual route'], PR: ['37161004', 'Rectal route'], IH: ['447694001', 'Respiratory tract route'], NS: ['46713006', 'Nasal route'], IN: ['46713006', 'Nasal route'],
    OP: ['54485002', 'Ophthalmic route'], OT: ['10547007', 'Otic route'], TD: ['45890007', 'Transdermal route'], TP: ['6064005', 'Topical route'], ID: ['372464004', 'Intradermal route'],
    VG: ['16857009', 'Vaginal route'], EP: ['404820008', 'Epidural route'], B: ['54471007', 'Buccal route'], NG: ['127492001', 'Nasogastric route'],
  },
};

/** FHIR Timing.repeat of the repeat patterns (table 0335) that have one; `Q6H` and its like are computed. */
export const repeatPatterns: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  QD: { frequency: 1, period: 1, periodUnit: 'd' }, DAILY: { frequency: 1, period: 1, periodUnit: 'd' },
  BID: { frequency: 2, period: 1, periodUnit: 'd' }, TID: { frequency: 3, period: 1, periodUnit: 'd' }, QID: { frequency: 4, period: 1, periodUnit: 'd' },
  QOD: { frequency: 1, period: 2, periodUnit: 'd' }, QAM: { frequency: 1, period: 1, periodUnit: 'd', when: ['MORN'] }, QPM: { frequency: 1, period: 1, periodUnit: 'd', when: ['AFT'] },
  QHS: { frequency: 1, period: 1, periodUnit: 'd', when: ['HS'] }, QSHIFT: { frequency: 3, period: 1, periodUnit: 'd' }, ONCE: { count: 1 },
  Q1H: { frequency: 1, period: 1, periodUnit: 'h' },
};

/** Patterns that https://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation also names. */
export const timingAbbreviations: ReadonlySet<string> = new Set(['BID', 'TID', 'QID', 'AM', 'PM', 'QD', 'QOD', 'Q1H', 'Q2H', 'Q3H', 'Q4H', 'Q6H', 'Q8H', 'BED', 'WK', 'MO']);

/** States that ORC-1 itself brings about, whatever ORC-5 still says. */
export const orderCodesEnding: ReadonlySet<string> = new Set(['cancelled', 'stopped', 'on-hold', 'entered-in-error']);
