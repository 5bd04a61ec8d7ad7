/** The elements of terminology resources that this room reads (https://hl7.org/fhir/R4/terminology-module.html). */
export interface Coding {
  readonly system?: string;
  readonly version?: string;
  readonly code?: string;
  readonly display?: string;
}

export interface Designation {
  readonly language?: string;
  readonly use?: Coding;
  readonly value: string;
}

/** A property of a concept: exactly one of the values is there. */
export interface ConceptProperty {
  readonly code: string;
  readonly valueCode?: string;
  readonly valueCoding?: Coding;
  readonly valueString?: string;
  readonly valueInteger?: number;
  readonly valueBoolean?: boolean;
  readonly valueDateTime?: string;
  readonly valueDecimal?: number;
}

export interface Concept {
  readonly code: string;
  readonly display?: string;
  readonly definition?: string;
  readonly designation?: readonly Designation[];
  readonly property?: readonly ConceptProperty[];
  readonly concept?: readonly Concept[];
}

/** https://hl7.org/fhir/R4/codesystem.html */
export interface CodeSystem {
  readonly resourceType: 'CodeSystem';
  readonly url?: string;
  readonly version?: string;
  readonly name?: string;
  readonly title?: string;
  readonly status?: string;
  readonly language?: string;
  readonly caseSensitive?: boolean;
  readonly content?: 'not-present' | 'example' | 'fragment' | 'complete' | 'supplement';
  readonly hierarchyMeaning?: 'grouped-by' | 'is-a' | 'part-of' | 'classified-with';
  readonly property?: readonly { readonly code: string; readonly uri?: string; readonly type?: string }[];
  readonly concept?: readonly Concept[];
}

export interface ValueSetFilter {
  readonly property: string;
  readonly op: string;
  readonly value: string;
}

export interface ValueSetInclude {
  readonly system?: string;
  readonly version?: string;
  readonly concept?: readonly { readonly code: string; readonly display?: string; readonly designation?: readonly Designation[] }[];
  readonly filter?: readonly ValueSetFilter[];
  readonly valueSet?: readonly string[];
}

export interface ExpansionContains {
  readonly system?: string;
  readonly abstract?: boolean;
  readonly inactive?: boolean;
  readonly version?: string;
  readonly code?: string;
  readonly display?: string;
  readonly designation?: readonly Designation[];
  readonly contains?: readonly ExpansionContains[];
}

/** https://hl7.org/fhir/R4/valueset.html */
export interface ValueSet {
  readonly resourceType: 'ValueSet';
  readonly url?: string;
  readonly version?: string;
  readonly name?: string;
  readonly title?: string;
  readonly status?: string;
  readonly compose?: { readonly inactive?: boolean; readonly include?: readonly ValueSetInclude[]; readonly exclude?: readonly ValueSetInclude[] };
  readonly expansion?: { readonly total?: number; readonly contains?: readonly ExpansionContains[] };
}

/** The equivalences of R4 (https://hl7.org/fhir/R4/valueset-concept-map-equivalence.html). */
export type Equivalence = 'relatedto' | 'equivalent' | 'equal' | 'wider' | 'subsumes' | 'narrower' | 'specializes' | 'inexact' | 'unmatched' | 'disjoint';

export interface MapTarget {
  readonly code?: string;
  readonly display?: string;
  readonly equivalence: Equivalence;
  readonly dependsOn?: readonly MapDependency[];
  readonly product?: readonly MapDependency[];
}

export interface MapDependency {
  readonly property: string;
  readonly system?: string;
  readonly value: string;
  readonly display?: string;
}

export interface MapGroup {
  readonly source?: string;
  readonly sourceVersion?: string;
  readonly target?: string;
  readonly targetVersion?: string;
  readonly element?: readonly { readonly code?: string; readonly display?: string; readonly target?: readonly MapTarget[] }[];
  readonly unmapped?: { readonly mode: 'provided' | 'fixed' | 'other-map'; readonly code?: string; readonly display?: string; readonly url?: string };
}

/** https://hl7.org/fhir/R4/conceptmap.html */
export interface ConceptMap {
  readonly resourceType: 'ConceptMap';
  readonly url?: string;
  readonly version?: string;
  readonly status?: string;
  readonly sourceUri?: string;
  readonly sourceCanonical?: string;
  readonly targetUri?: string;
  readonly targetCanonical?: string;
  readonly group?: readonly MapGroup[];
}

/** A terminology resource. */
export type TerminologyResource = CodeSystem | ValueSet | ConceptMap;
export type TerminologyType = TerminologyResource['resourceType'];
