import type { ScriptHeader } from './message.ts';

/** Qualifiers of drug codes (ProductCode and DrugDBCode). The four kinds of RxNorm concept are one system in FHIR. */
export const drugCodeSystems: Readonly<Record<string, string>> = {
  ND: 'http://hl7.org/fhir/sid/ndc',
  SCD: 'http://www.nlm.nih.gov/research/umls/rxnorm', SBD: 'http://www.nlm.nih.gov/research/umls/rxnorm',
  GPK: 'http://www.nlm.nih.gov/research/umls/rxnorm', BPK: 'http://www.nlm.nih.gov/research/umls/rxnorm',
};

/** Qualifiers of diagnosis codes. */
export const diagnosisSystems: Readonly<Record<string, string>> = {
  ABF: 'http://hl7.org/fhir/sid/icd-10-cm', DX: 'http://hl7.org/fhir/sid/icd-9-cm', LD: 'http://snomed.info/sct',
};

export const ncitSystem = 'http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl';

/** Readable units of the commonest quantity codes (NCI Thesaurus); others show their code. */
export const quantityUnits: Readonly<Record<string, string>> = {
  C48542: 'tablet', C48480: 'capsule', C28254: 'mL', C48155: 'g', C28253: 'mg', C64933: 'each',
};

/** Administrative gender (https://hl7.org/fhir/R4/valueset-administrative-gender.html). */
export const genders: Readonly<Record<string, string>> = { M: 'male', F: 'female', U: 'unknown' };

/** Identifiers that are unique beyond their sender. */
export const identifierSystems = {
  npi: 'http://hl7.org/fhir/sid/us-npi',
  dea: 'urn:oid:2.16.840.1.113883.4.814',
  ssn: 'http://hl7.org/fhir/sid/us-ssn',
  ncpdpId: 'http://terminology.hl7.org/NamingSystem/NCPDPProviderIdentificationNumber',
} as const;

/**
 * System of a number that only its sender keeps unique: patient 1234 of one practice is not patient 1234 of another.
 * @param kind what is numbered: `MR`, `order` or `message`
 */
export function senderSystem(channelId: string, { from }: Pick<ScriptHeader, 'from'>, kind: 'MR' | 'order' | 'message'): string {
  const sender = [from.qualifier, from.value].map(encodeURIComponent).join(':');
  return `urn:interlock:unqualified:${encodeURIComponent(channelId)}:${sender}:${kind}`;
}
