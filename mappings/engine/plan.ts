/** Stands in a reference or url for the Binary that keeps the message's own bytes, so that they are not stored twice. */
export const sourceUrn = 'urn:key:source';

/** Any FHIR resource under construction. References to other resources of the plan are `urn:key:<key>`. */
export interface PlannedJson {
  resourceType: string;
  [element: string]: unknown;
}

/**
 * How a planned resource meets what is stored:
 * - `merge`: found by identifier; elements that the message carries replace the stored ones, others stay (merge.ts does it); else created
 * - `keep`: found by identifier and left as it is (a referenced Practitioner or Location known by its identifier only); else created
 * - `create`: always new
 */
export type WriteMode = 'merge' | 'keep' | 'create';

export interface PlannedResource {
  /** Local name within the plan, such as `patient` or `medicationRequest-1`; `source` is taken by {@link sourceUrn}. */
  readonly key: string;
  readonly resource: PlannedJson;
  readonly mode: WriteMode;
  /** Business identifiers, most trusted first: the first that matches a stored resource of the type decides. Empty with `create`. */
  readonly match: readonly { readonly system: string; readonly value: string }[];
  /** Elements that the message deletes (HL7v2 `""`): `maritalStatus`, `period.end`, or entries of a list as `telecom[use=work]`. */
  readonly clear: readonly string[];
  /** Top-level elements of `resource` that are defaults of the map: they fill a gap and never replace what is stored. */
  readonly fill?: readonly string[];
  /** Only change a stored resource if it exists (a cancel for an unknown visit creates nothing when false). */
  readonly createIfAbsent: boolean;
}

/** Two records of one patient: afterwards the retired one is inactive, `replaced-by` the survivor, and what referred to it refers to the survivor. */
export interface PlannedMerge {
  readonly survivor: string;
  readonly retired: string;
}

/** A field that the message carried and no map rule used. Position only, never content. */
export interface UnmappedField {
  /** Such as `PID-22` or `ZPD`. */
  readonly path: string;
  readonly count: number;
}

/** What a message asks of the record, before anything is looked up: pure data, the same for the same message. */
export interface Plan {
  /** What the message is, such as `ADT^A01` or `NewRx`. */
  readonly messageType: string;
  /** Media type of the message's bytes, where it differs from message to message. Default: the format's. */
  readonly contentType?: string;
  /** When the event happened (ms), for refusing to let an older message overwrite a newer one. */
  readonly eventAtMs?: number;
  readonly resources: readonly PlannedResource[];
  readonly merges: readonly PlannedMerge[];
  readonly unmapped: readonly UnmappedField[];
  /** Codes kept as they came because no table maps them: field position and table name, never values. */
  readonly untranslated: readonly { readonly path: string; readonly table: string }[];
}
