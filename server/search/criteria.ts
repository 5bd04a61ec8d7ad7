import type { SearchParam } from '../../resources/search-values/types.ts';

/** Prefixes of ordered parameter types (https://hl7.org/fhir/R4/search.html#prefix). */
export type SearchPrefix = 'eq' | 'ne' | 'gt' | 'lt' | 'ge' | 'le' | 'sa' | 'eb' | 'ap';

/** One comma-separated value of a search parameter, parsed by its parameter's type. */
export type CriterionValue =
  /** `system` absent: any system; empty: explicitly none. `code` absent: any code of the system. Codes compare without case. */
  | { readonly kind: 'token'; readonly system?: string; readonly code?: string }
  /** As written; how it compares is the modifier's matter. Never empty once normalised. */
  | { readonly kind: 'string'; readonly value: string }
  /** Either `id` (with or without `type`) or `url`. */
  | { readonly kind: 'reference'; readonly type?: string; readonly id?: string; readonly url?: string }
  /** Milliseconds since 1970, [lo, hi), at the precision written; for `ap` already widened by a tenth of the distance to now. */
  | { readonly kind: 'date'; readonly prefix: SearchPrefix; readonly lo: number; readonly hi: number }
  | { readonly kind: 'uri'; readonly value: string }
  /** The decimal as written: `eq` and `ne` depend on its precision. */
  | { readonly kind: 'number'; readonly prefix: SearchPrefix; readonly value: string }
  /** Without `system`, `unit` is a code of any system or a unit as people write it; with it, a code of that system. */
  | { readonly kind: 'quantity'; readonly prefix: SearchPrefix; readonly value: string; readonly system?: string; readonly unit?: string }
  /** One value for each component of the parameter, in its order. */
  | { readonly kind: 'composite'; readonly components: readonly CriterionValue[] };

/**
 * How the values of a `param` criterion compare, where not by the default of their type
 * (https://hl7.org/fhir/R4/search.html#modifiers). `exact` and `contains`: string values on a string parameter; `text`:
 * string values that start a token's text; `identifier`: token values on a Reference's identifier. The others never reach
 * a criterion: `:not` and `:missing` become tree nodes, `:[Type]` part of the reference value.
 */
export type SearchModifier = 'exact' | 'contains' | 'text' | 'identifier';

/**
 * What a search asks of a resource, as a boolean tree. The access rules are the same kind of tree, so that what a caller
 * may see and what a caller asks for become one filter.
 */
export type Criterion =
  /** AND; of nothing: true. */
  | { readonly op: 'all'; readonly of: readonly Criterion[] }
  /** OR; of nothing: false. */
  | { readonly op: 'any'; readonly of: readonly Criterion[] }
  | { readonly op: 'not'; readonly of: Criterion }
  /** Resource type is one of these. */
  | { readonly op: 'type'; readonly types: readonly string[] }
  /** The resource is in the compartment of one of these patients (or is one of them). */
  | { readonly op: 'compartment'; readonly type: 'Patient'; readonly ids: readonly string[] }
  /** Logical id is one of these. */
  | { readonly op: 'id'; readonly ids: readonly string[] }
  /** Time of recording, compared like a date value with [lo, hi), milliseconds. */
  | { readonly op: 'lastUpdated'; readonly prefix: SearchPrefix; readonly lo: number; readonly hi: number }
  /** The resource has some value for the parameter: `:missing=false`; its negation is `:missing=true`. */
  | { readonly op: 'present'; readonly param: SearchParam }
  /** The parameter has any (`of` is OR) of these values, which are all of one kind. `:not` is its negation. */
  | { readonly op: 'param'; readonly param: SearchParam; readonly modifier?: SearchModifier; readonly of: readonly CriterionValue[] };

export interface SortKey {
  readonly param: SearchParam | '_lastUpdated' | '_id';
  readonly descending: boolean;
}

/** A parsed search: pure data, no storage knowledge, no access rules. */
export interface ParsedSearch {
  readonly types: readonly string[];
  readonly where: Criterion;
  readonly sort: readonly SortKey[];
  /** Page size; 0 asks for the total only. */
  readonly count: number;
  readonly total: 'none' | 'estimate' | 'accurate' | 'default';
  readonly summary?: 'true' | 'text' | 'data' | 'count' | 'false';
  readonly elements?: readonly string[];
  readonly include: readonly IncludeSpec[];
  readonly revInclude: readonly IncludeSpec[];
  /** Opaque page cursor, still sealed. */
  readonly cursor?: string;
  /** The parameters that were really used, for the self link. */
  readonly used: readonly (readonly [string, string])[];
  /** Names of parameters that were ignored (lenient handling). */
  readonly ignored: readonly string[];
}

export interface IncludeSpec {
  readonly sourceType: string;
  readonly param: SearchParam;
  readonly targetType?: string;
}
