/** A part of a message as far as identifiers need it: HD's components. */
export interface Authority {
  at(position: number): { readonly text: string };
}

/**
 * Which URI an assigning authority or a code system of HL7v2 becomes. Deterministic, so that the same number from the same
 * sender always meets the same record:
 *
 * | in the message | system |
 * |---|---|
 * | namespace known to the channel's configuration | the URI given there |
 * | universal id of type ISO, or one that reads as an OID | `urn:oid:…` |
 * | UUID, GUID | `urn:uuid:…` |
 * | URI | the URI itself |
 * | DNS, and other types | `urn:interlock:authority:<type>:<id>` |
 * | namespace only | `urn:interlock:namespace:<channel>:<namespace>` |
 * | nothing | `urn:interlock:unqualified:<channel>:<sending facility>:<kind of number>` |
 *
 * A namespace means something only between two systems, hence the channel in it. A number without any authority means
 * something only within the facility that sent it: two hospitals behind one channel may both have a patient 1234.
 */
export interface Systems {
  readonly channelId: string;
  /** MSH-4, or MSH-3 where that is empty. */
  readonly facility: string;
  /** Namespace to system URI, from the channel's configuration. */
  readonly authorities: Readonly<Record<string, string>>;
}

/** OIDs for which FHIR prescribes a URL (https://hl7.org/fhir/R4/identifier-registry.html). */
const urlOfOid: Readonly<Record<string, string>> = {
  '2.16.840.1.113883.4.6': 'http://hl7.org/fhir/sid/us-npi',
  '2.16.840.1.113883.4.1': 'http://hl7.org/fhir/sid/us-ssn',
  '2.16.840.1.113883.4.927': 'http://hl7.org/fhir/sid/us-mbi',
};

/** Identifier types (table 0203) whose numbers are unique beyond their sender. */
const universalTypes: Readonly<Record<string, string>> = {
  NPI: 'http://hl7.org/fhir/sid/us-npi',
  SS: 'http://hl7.org/fhir/sid/us-ssn',
  MBI: 'http://hl7.org/fhir/sid/us-mbi',
  DEA: 'urn:oid:2.16.840.1.113883.4.814',
};

/**
 * Types that count something other than persons. A facility may give visit 1234 and patient 1234 under one namespace;
 * the type keeps their systems apart.
 */
export const notPersons: ReadonlySet<string> = new Set(['AN', 'ANC', 'AND', 'ANON', 'ANT', 'VN', 'BA', 'BC', 'FI', 'PLAC', 'FILL', 'PGN', 'RX']);

const escaped = (text: string): string => encodeURIComponent(text.trim());
const isOid = (text: string): boolean => /^[0-2](?:\.(?:0|[1-9]\d*)){2,}$/.test(text);

/**
 * @param authority HD: namespace, universal id, universal id type; an empty part where there is none
 * @param kind what is counted, such as `MR` or `practitioner`; separates numbers that come without authority
 * @param type identifier type code of table 0203, where the message gives one
 */
export function systemOf(systems: Systems, authority: Authority, kind: string, type = ''): string {
  const universal = universalTypes[type];
  if (universal !== undefined) return universal;
  const series = notPersons.has(type) ? `:${escaped(type)}` : '';
  const namespace = authority.at(1).text;
  const configured = systems.authorities[namespace];
  if (namespace !== '' && configured !== undefined) return configured;
  const id = authority.at(2).text;
  const idType = authority.at(3).text.toUpperCase();
  if (id !== '') {
    const oid = id.replace(/^urn:oid:/i, '');
    if (isOid(oid)) return urlOfOid[oid] ?? `urn:oid:${oid}`;
    if (/^(?:UUID|GUID)$/.test(idType)) return `urn:uuid:${escaped(id.toLowerCase())}`;
    if (/^(?:https?:\/\/|urn:)[^\s]+$/.test(id)) return id;
    if (idType !== '' && !/^[LMN]$/.test(idType)) return `urn:interlock:authority:${escaped(idType)}:${escaped(id)}${series}`;
  }
  if (isOid(namespace)) return urlOfOid[namespace] ?? `urn:oid:${namespace}`;
  const local = namespace === '' ? id : namespace;
  if (local !== '') return `urn:interlock:namespace:${escaped(systems.channelId)}:${escaped(local)}${series}`;
  return `urn:interlock:unqualified:${escaped(systems.channelId)}:${escaped(systems.facility)}:${escaped(notPersons.has(type) ? type : kind)}`;
}

/** Names of HL7 table 0396 (coding systems), and what senders write instead. */
const codeSystems: Readonly<Record<string, string>> = {
  LN: 'http://loinc.org', LOINC: 'http://loinc.org',
  SCT: 'http://snomed.info/sct', SCT2: 'http://snomed.info/sct', SNOMEDCT: 'http://snomed.info/sct', SNOMED: 'http://snomed.info/sct',
  NDC: 'http://hl7.org/fhir/sid/ndc',
  RXNORM: 'http://www.nlm.nih.gov/research/umls/rxnorm', RXN: 'http://www.nlm.nih.gov/research/umls/rxnorm',
  I10: 'http://hl7.org/fhir/sid/icd-10', ICD10: 'http://hl7.org/fhir/sid/icd-10', I10C: 'http://hl7.org/fhir/sid/icd-10-cm', ICD10CM: 'http://hl7.org/fhir/sid/icd-10-cm',
  I10P: 'http://www.cms.gov/Medicare/Coding/ICD10', ICD10PCS: 'http://www.cms.gov/Medicare/Coding/ICD10',
  I9: 'http://hl7.org/fhir/sid/icd-9-cm', I9C: 'http://hl7.org/fhir/sid/icd-9-cm', I9CDX: 'http://hl7.org/fhir/sid/icd-9-cm', ICD9: 'http://hl7.org/fhir/sid/icd-9-cm', ICD9CM: 'http://hl7.org/fhir/sid/icd-9-cm',
  CVX: 'http://hl7.org/fhir/sid/cvx', MVX: 'http://hl7.org/fhir/sid/mvx',
  C4: 'http://www.ama-assn.org/go/cpt', CPT: 'http://www.ama-assn.org/go/cpt', CPT4: 'http://www.ama-assn.org/go/cpt',
  HCPCS: 'http://terminology.hl7.org/CodeSystem/HCPCS', HPC: 'http://terminology.hl7.org/CodeSystem/HCPCS',
  UCUM: 'http://unitsofmeasure.org',
  CDCREC: 'urn:oid:2.16.840.1.113883.6.238',
  ATC: 'http://www.whocc.no/atc',
  NCIT: 'http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl',
  UNII: 'http://fdasis.nlm.nih.gov',
  ISO6392: 'urn:iso:std:iso:639-2', ISO639: 'urn:iso:std:iso:639-2',
  ISO3166: 'urn:iso:std:iso:3166', ISO31661: 'urn:iso:std:iso:3166',
};

/**
 * System URI of a coding system name (CWE.3, CWE.6).
 * @param universal the coding system's OID, where the message gives one (CWE.14, CWE.17)
 * @returns undefined when the message names none; local names become `urn:interlock:codes:<channel>:<name>`
 */
export function codeSystemOf(systems: Systems, name: string, universal = ''): string | undefined {
  const plain = name.toUpperCase().replace(/[^A-Z0-9]/g, '');
  const known = codeSystems[plain];
  if (known !== undefined) return known;
  const table = /^(?:HL7|V2)(\d{4})$/.exec(plain);
  if (table !== null) return `http://terminology.hl7.org/CodeSystem/v2-${table[1] ?? ''}`;
  if (isOid(universal)) return `urn:oid:${universal}`;
  if (isOid(name)) return `urn:oid:${name}`;
  if (/^(?:https?:\/\/|urn:)[^\s]+$/.test(name)) return name;
  return name === '' ? undefined : `urn:interlock:codes:${escaped(systems.channelId)}:${escaped(name)}`;
}
