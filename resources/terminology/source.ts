import { InterlockError } from '../outcome/error.ts';
import type { CodeSystemIndex } from './code-system.ts';
import type { ConceptMap, ValueSet } from './types.ts';

/** Where questions find the content that they need: shipped, posted, or both. */
export interface TerminologySource {
  codeSystem(url: string, version?: string): CodeSystemIndex | undefined;
  valueSet(url: string, version?: string): ValueSet | undefined;
  /** Concept maps by canonical URL. */
  conceptMap(url: string, version?: string): ConceptMap | undefined;
  /** All concept maps, for translations that name none. */
  conceptMaps(): readonly ConceptMap[];
}

/** A canonical reference and its version, if it names one (https://hl7.org/fhir/R4/references.html#canonical). */
export function splitCanonical(canonical: string): { readonly url: string; readonly version?: string } {
  const bar = canonical.indexOf('|');
  if (bar < 0) return { url: canonical };
  const version = canonical.slice(bar + 1);
  return version === '' ? { url: canonical.slice(0, bar) } : { url: canonical.slice(0, bar), version };
}

/** Well-known code systems of which only the name is held: their licences, or their size, keep them out. */
const notShipped: Readonly<Record<string, string>> = {
  'http://snomed.info/sct': 'SNOMED CT',
  'http://loinc.org': 'LOINC',
  'http://www.nlm.nih.gov/research/umls/rxnorm': 'RxNorm',
  'http://www.ama-assn.org/go/cpt': 'CPT',
  'http://hl7.org/fhir/sid/icd-10': 'ICD-10',
  'http://hl7.org/fhir/sid/icd-10-cm': 'ICD-10-CM',
  'http://hl7.org/fhir/sid/cvx': 'CVX',
  'http://hl7.org/fhir/sid/ndc': 'NDC',
  'http://unitsofmeasure.org': 'UCUM',
  'http://nucc.org/provider-taxonomy': 'the NUCC provider taxonomy',
  'urn:ietf:bcp:47': 'the language tags of BCP 47',
  'urn:ietf:bcp:13': 'the media types of BCP 13',
};

/** The refusal where the codes of a system are needed and not held. Names the system only if its name is ours. */
export function notHeld(system: string): InterlockError {
  const name = Object.hasOwn(notShipped, system) ? notShipped[system] : undefined;
  return new InterlockError('not-enumerable', { detail: name === undefined ? 'Post the CodeSystem that it names.' : `It needs ${name}, which does not come with this server.` });
}
