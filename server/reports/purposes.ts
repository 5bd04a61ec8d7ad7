/**
 * Purposes of use (https://terminology.hl7.org/CodeSystem-v3-ActReason.html) in words. `tpo`: treatment, payment or health
 * care operations, which an accounting may leave out (45 CFR 164.528(a)(1)(i)); oversight, fraud, donation and the military
 * are no such operations, though the code system has them there.
 */
const purposes: Readonly<Record<string, { readonly text: string; readonly tpo?: true }>> = {
  TREAT: { text: 'Treatment', tpo: true },
  ETREAT: { text: 'Emergency treatment', tpo: true },
  BTG: { text: 'Emergency (the glass was broken)', tpo: true },
  ERTREAT: { text: 'Emergency room treatment', tpo: true },
  COC: { text: 'Coordination of care', tpo: true },
  CAREMGT: { text: 'Care management', tpo: true },
  HPAYMT: { text: 'Payment', tpo: true },
  CLMATTCH: { text: 'Claim attachment', tpo: true },
  COVAUTH: { text: 'Coverage authorization', tpo: true },
  COVERAGE: { text: 'Coverage', tpo: true },
  ELIGDTRM: { text: 'Eligibility determination', tpo: true },
  ELIGVER: { text: 'Eligibility verification', tpo: true },
  ENROLLM: { text: 'Enrollment', tpo: true },
  REMITADV: { text: 'Remittance advice', tpo: true },
  HOPERAT: { text: 'Health care operations', tpo: true },
  HACCRED: { text: 'Accreditation', tpo: true },
  HCOMPL: { text: 'Compliance', tpo: true },
  HDIRECT: { text: 'Directory', tpo: true },
  HOUTCOMS: { text: 'Outcome measures', tpo: true },
  HPRGRP: { text: 'Program reporting', tpo: true },
  HQUALIMP: { text: 'Quality improvement', tpo: true },
  HSYSADMIN: { text: 'System administration', tpo: true },
  PATADMIN: { text: 'Patient administration', tpo: true },
  PATSFTY: { text: 'Patient safety', tpo: true },
  PERFMSR: { text: 'Performance measurement', tpo: true },
  RECORDMGT: { text: 'Records management', tpo: true },
  TRAIN: { text: 'Training', tpo: true },
  HMARKT: { text: 'Marketing' },
  HRESCH: { text: 'Research' },
  CLINTRCH: { text: 'Clinical trial research' },
  PATRQT: { text: 'Request of the patient' },
  FAMRQT: { text: 'Request of the family' },
  PWATRNY: { text: 'Power of attorney' },
  SUPNWK: { text: 'Support network' },
  PUBHLTH: { text: 'Public health' },
  DISASTER: { text: 'Disaster' },
  THREAT: { text: 'Threat' },
  HLEGAL: { text: 'Legal' },
  GOV: { text: 'Government' },
  FRAUD: { text: 'Fraud detection' },
  DONAT: { text: 'Donation' },
};

/** In words; codes that are not known here stand for themselves. */
export function purposeText(codes: readonly string[]): string {
  return codes.length === 0 ? 'Not stated' : codes.map((code) => purposes[code]?.text ?? code).join(', ');
}

/** True if everything that was stated is treatment, payment or operations. What states nothing is not known to be. */
export function isTpo(codes: readonly string[]): boolean {
  return codes.length > 0 && codes.every((code) => purposes[code]?.tpo === true);
}
