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
  | { readonly kind: 'composite'; readonly components: readonly CriterionValue[] }
  /** `near`: no farther from a place than so many metres. */
  | { readonly kind: 'near'; readonly latitude: number; readonly longitude: number; readonly distanceM: number }
  /** An Identifier's value, and the system and code of its type: the value of `:of-type`. */
  | { readonly kind: 'identifier'; readonly typeSystem: string; readonly typeCode: string; readonly value: string };

/**
 * How the values of a `param` criterion compare, where not by the default of their type
 * (https://hl7.org/fhir/R4/search.html#modifiers). `exact` and `contains`: string values on a string parameter; `text`:
 * string values that start a token's text; `identifier`: token values on a Reference's identifier; `below`: URIs that start
 * so. The others come from `_filter` (https://hl7.org/fhir/R4/search_filter.html#ops): `equals`, `ends`, `before` and
 * `after` compare strings as wholes, their ends and their order; `unequal` wants some value that is another; `includes` a
 * date or number whose implied range includes the value. Modifiers that are not here never reach a criterion: `:not` and
 * `:missing` become tree nodes, `:[Type]` part of the reference value, `:in` lists of codes.
 */
export type SearchModifier = 'exact' | 'contains' | 'text' | 'identifier' | 'below' | 'equals' | 'unequal' | 'ends' | 'before' | 'after' | 'includes';

/** Modifiers that compare strings as `normalizeString` leaves them, or values of other types as they are indexed. */
export const foldedModifiers: ReadonlySet<SearchModifier> = new Set(['contains', 'equals', 'unequal', 'ends', 'before', 'after', 'includes']);

/** A boolean tree over conditions. */
export type Tree<Leaf> =
  /** AND; of nothing: true. */
  | { readonly op: 'all'; readonly of: readonly Tree<Leaf>[] }
  /** OR; of nothing: false. */
  | { readonly op: 'any'; readonly of: readonly Tree<Leaf>[] }
  | { readonly op: 'not'; readonly of: Tree<Leaf> }
  | Leaf;

/** What can be told of one resource by itself. */
export type ResourceCondition =
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
  | { readonly op: 'param'; readonly param: SearchParam; readonly modifier?: SearchModifier; readonly of: readonly CriterionValue[] }
  /** These normalised words stand in this order in the narrative (`_text`) or anywhere in the resource (`_content`). */
  | { readonly op: 'words'; readonly scope: 'narrative' | 'content'; readonly words: readonly string[] }
  /** A rule of access beyond what is searched by, such as patients' consents: told by the resource as a whole. */
  | { readonly op: 'rule'; readonly name: string; readonly holds: (subject: RuleSubject) => boolean }
  /** Some contained resource of the type meets the criterion (`_contained`). */
  | { readonly op: 'contained'; readonly type: string; readonly of: Criterion };

/** What a rule is told of a resource. */
export interface RuleSubject {
  readonly type: string;
  readonly id: string;
  readonly patients: readonly string[];
  readonly content?: { readonly resource: { readonly resourceType: string; readonly [element: string]: unknown } };
}

/**
 * What a search asks of a resource, as a boolean tree. The access rules are the same kind of tree, so that what a caller
 * may see and what a caller asks for become one filter.
 */
export type Criterion = Tree<ResourceCondition>;

/** What depends on other resources, or on terminology. It is resolved, as the caller, to a {@link Criterion} before the store is asked. */
export type OpenCondition =
  /** The parameter refers to a resource of one of these types that meets its condition: `subject:Patient.name=x`. */
  | { readonly op: 'chain'; readonly param: SearchParam; readonly of: readonly { readonly type: string; readonly where: AskedCriterion }[] }
  /** Some resource of the type that meets the condition refers to this one by the parameter: `_has:Observation:patient:code=x`. */
  | { readonly op: 'has'; readonly type: string; readonly param: SearchParam; readonly where: AskedCriterion }
  /** A code of the parameter is in one of these value sets, named by URL or `ValueSet/id`: `:in`. */
  | { readonly op: 'valueSet'; readonly param: SearchParam; readonly of: readonly string[] }
  /** A code of the parameter is one of these or subsumed by (`below`), or subsumes (`above`), one of these. */
  | { readonly op: 'subsumed'; readonly param: SearchParam; readonly direction: 'above' | 'below'; readonly of: readonly { readonly system: string; readonly code: string }[] }
  /** The parameter refers to one of these, or to what is part of (`below`), or has as a part (`above`), one of these. */
  | { readonly op: 'hierarchy'; readonly param: SearchParam; readonly direction: 'above' | 'below'; readonly of: readonly { readonly type: string; readonly id: string }[] };

/** A search as it was asked. */
export type AskedCriterion = Tree<ResourceCondition | OpenCondition>;

/** True if nothing is left to resolve. */
export function isSettled(asked: AskedCriterion): asked is Criterion {
  switch (asked.op) {
    case 'all': case 'any': return asked.of.every(isSettled);
    case 'not': return isSettled(asked.of);
    case 'chain': case 'has': case 'valueSet': case 'subsumed': case 'hierarchy': return false;
    default: return true;
  }
}

export interface SortKey {
  readonly param: SearchParam | '_lastUpdated' | '_id';
  readonly descending: boolean;
}

/** A parsed search: pure data, no storage knowledge, no access rules. */
export interface ParsedSearch {
  readonly types: readonly string[];
  readonly where: AskedCriterion;
  readonly sort: readonly SortKey[];
  /** Page size; 0 asks for the total only. */
  readonly count: number;
  readonly total: 'none' | 'estimate' | 'accurate' | 'default';
  readonly summary?: 'true' | 'text' | 'data' | 'count' | 'false';
  readonly elements?: readonly string[];
  /** `_contained`: whether contained resources are searched, with the others or alone, and what of a match is returned. */
  readonly contained?: { readonly mode: 'true' | 'both'; readonly returned: 'container' | 'contained' };
  readonly include: readonly IncludeSpec[];
  readonly revInclude: readonly IncludeSpec[];
  /** Opaque page cursor, still sealed. */
  readonly cursor?: string;
  /** The parameters that were really used, for the self link. */
  readonly used: readonly (readonly [string, string])[];
  /** Names of parameters that were ignored (lenient handling). */
  readonly ignored: readonly string[];
}

/** A search of which nothing depends on other resources any more. */
export interface SettledSearch extends ParsedSearch {
  readonly where: Criterion;
}

/** `_include` or `_revinclude` (https://hl7.org/fhir/R4/search.html#include). */
export interface IncludeSpec {
  /** Type that refers; `*` for every one. */
  readonly sourceType: string;
  /** The reference parameter; `*` for every one of the type. */
  readonly param: SearchParam | '*';
  /** Only references to this type. */
  readonly targetType?: string;
  /** `:iterate`: also from what was included. */
  readonly iterates?: boolean;
}
