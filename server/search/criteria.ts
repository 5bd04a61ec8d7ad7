import type { SearchParam } from '../../resources/search-values/types.ts';

/** Prefixes of ordered parameter types (https://hl7.org/fhir/R4/search.html#prefix). */
export type SearchPrefix = 'eq' | 'ne' | 'gt' | 'lt' | 'ge' | 'le' | 'sa' | 'eb' | 'ap';

/** One comma-separated value of a search parameter, parsed by its parameter's type. */
export type CriterionValue =
  /** `system` absent: any system; empty: explicitly none. `code` absent: any code of the system. */
  | { readonly kind: 'token'; readonly system?: string; readonly code?: string }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'reference'; readonly type?: string; readonly id?: string; readonly url?: string }
  | { readonly kind: 'date'; readonly prefix: SearchPrefix; readonly lo: number; readonly hi: number };

/**
 * What a search asks of a resource, as a boolean tree. The access rules are the same kind of tree, so that what a caller
 * may see and what a caller asks for become one filter.
 */
export type Criterion =
  | { readonly op: 'all'; readonly of: readonly Criterion[] }
  | { readonly op: 'any'; readonly of: readonly Criterion[] }
  | { readonly op: 'not'; readonly of: Criterion }
  /** Resource type is one of these. */
  | { readonly op: 'type'; readonly types: readonly string[] }
  /** The resource is in the compartment of one of these patients (or is one of them). */
  | { readonly op: 'compartment'; readonly type: 'Patient'; readonly ids: readonly string[] }
  /** Logical id is one of these. */
  | { readonly op: 'id'; readonly ids: readonly string[] }
  /** Time of recording within [lo, hi), milliseconds. */
  | { readonly op: 'lastUpdated'; readonly prefix: SearchPrefix; readonly lo: number; readonly hi: number }
  /** The parameter has any (`of` is OR) of these values. */
  | { readonly op: 'param'; readonly param: SearchParam; readonly modifier?: string; readonly of: readonly CriterionValue[] };

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
