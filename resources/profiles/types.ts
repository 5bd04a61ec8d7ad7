import type { Constraint } from '../definitions/index.ts';

/** A binding of coded values to a value set (https://hl7.org/fhir/R4/terminologies.html#strength). */
export interface ProfileBinding {
  readonly strength: 'required' | 'extensible' | 'preferred' | 'example';
  /** Canonical URL, without a version. */
  readonly valueSet: string;
}

/** How the repeats of an element, or the types of a choice, are told apart (https://hl7.org/fhir/R4/profiling.html#slicing). */
export interface Slicing {
  readonly discriminators: readonly { readonly type: 'value' | 'exists' | 'pattern' | 'type' | 'profile'; readonly path: string }[];
  readonly rules: 'open' | 'closed' | 'openAtEnd';
  readonly ordered?: true;
}

/** A type that an element of a profile may have. */
export interface ProfileType {
  readonly code: string;
  /** Canonical URLs; the value must conform to one. */
  readonly profiles?: readonly string[];
  /** Canonical URLs of what a Reference may point to. */
  readonly targets?: readonly string[];
}

/** What a profile says of one element, beyond its base (https://hl7.org/fhir/R4/elementdefinition.html). */
export interface ProfileElement {
  /** Path with slice names, such as `Observation.component:systolic.value[x]`. */
  readonly id: string;
  readonly min?: number;
  readonly max?: string;
  readonly types?: readonly ProfileType[];
  readonly fixed?: unknown;
  readonly pattern?: unknown;
  readonly binding?: ProfileBinding;
  readonly constraints?: readonly Constraint[];
  readonly slicing?: Slicing;
  readonly maxLength?: number;
  readonly minValue?: number;
  readonly maxValue?: number;
}

/** A profile: a StructureDefinition that constrains a type, cut down to what is checked. */
export interface Profile {
  /** Canonical URL, without a version. */
  readonly url: string;
  readonly version?: string;
  /** Resource or data type that it constrains. */
  readonly type: string;
  /** Canonical URL of what it was derived from. */
  readonly base: string;
  /** Differential or snapshot, in order. */
  readonly elements: readonly ProfileElement[];
  /** False: posted by a user; texts of its own are not repeated and its expressions not trusted. */
  readonly isShipped: boolean;
}

/**
 * Finds a profile by canonical URL, with or without `|version`; undefined if it is not known. Synchronous: what has to be
 * read is read before.
 */
export type ProfileSource = (canonical: string) => Profile | undefined;

/** Something found by a validation. */
export interface Finding {
  readonly severity: 'error' | 'warning' | 'information';
  /** An IssueType (https://hl7.org/fhir/R4/valueset-issue-type.html). */
  readonly code: 'structure' | 'required' | 'value' | 'invariant' | 'code-invalid' | 'business-rule' | 'not-found' | 'not-supported' | 'incomplete' | 'too-costly' | 'informational' | 'forbidden' | 'conflict';
  /** FHIRPath made of element names and indexes only. */
  readonly expression?: string;
  /** Holds nothing of the content. */
  readonly detail: string;
}

/** A coded value whose value set is not among the shipped ones: for terminology to answer. */
export interface BindingQuestion {
  readonly valueSet: string;
  readonly strength: 'required' | 'extensible';
  readonly codings: readonly { readonly system?: string; readonly code: string }[];
  readonly expression: string;
}
