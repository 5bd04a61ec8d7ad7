/** What is kept of a FHIR ElementDefinition (https://hl7.org/fhir/R4/elementdefinition.html). */
export interface ElementRule {
  /** Dotted path from the type; choice elements end in `[x]`. */
  readonly path: string;
  readonly min: number;
  /** A number, or `*`. */
  readonly max: string;
  /** Permitted types; empty for the root element and where `contentReference` says whose content it has. */
  readonly types: readonly ElementType[];
  readonly binding?: { readonly strength: 'required' | 'extensible' | 'preferred' | 'example'; readonly valueSet: string };
  /** Path of the element whose children this one has too, e.g. `Observation.referenceRange`. */
  readonly contentReference?: string;
  /**
   * Invariants. Two that hold for every element are left out: ele-1 (an element has a value or children) everywhere, and
   * ext-1 (value or nested extensions, not both) everywhere but on Extension itself.
   */
  readonly constraints?: readonly Constraint[];
  /** Part of the `_summary=true` view. */
  readonly summary?: true;
  /** Changes what other elements mean: a view that leaves it out misleads. */
  readonly modifier?: true;
  readonly maxLength?: number;
  readonly minValue?: number;
  readonly maxValue?: number;
}

export interface ElementType {
  /** A FHIR type name. On the `value` of primitive types a FHIRPath system type, e.g. `System.String`. */
  readonly code: string;
  /** Canonical URLs of profiles of which the value must satisfy one. */
  readonly profiles?: readonly string[];
  /** Types that a Reference may point to, or canonical URLs where these are not types; absent: any. */
  readonly targets?: readonly string[];
  /** Regular expression of a primitive type's value, to match as a whole. */
  readonly regex?: string;
}

export interface Constraint {
  readonly key: string;
  readonly severity: 'error' | 'warning';
  /** FHIRPath, evaluated on the element. */
  readonly expression: string;
  readonly human: string;
}

/** What is kept of a StructureDefinition: a resource type or data type, with the elements of its snapshot in order. */
export interface Structure {
  readonly type: string;
  readonly kind: 'primitive-type' | 'complex-type' | 'resource';
  readonly abstract: boolean;
  /** Name of the type it specialises; absent for Element and Resource. */
  readonly base?: string;
  readonly elements: readonly ElementRule[];
}
