/** The search parameter types of FHIR R4 (https://hl7.org/fhir/R4/search.html#ptypes). */
export type SearchParamType = 'number' | 'date' | 'string' | 'token' | 'reference' | 'composite' | 'quantity' | 'uri' | 'special';

/** One search parameter on one resource type, as HL7's SearchParameter resources define it. */
export interface SearchParam {
  readonly code: string;
  readonly type: SearchParamType;
  /** Canonical URL of the SearchParameter. */
  readonly url: string;
  /** The part of the FHIRPath expression that concerns this base type. */
  readonly expression: string;
  /** Target types of a reference parameter. */
  readonly target?: readonly string[];
  /** A user posted it. `common`: its values are few, as codes are that one table lists; `rare`: they name one thing. */
  readonly posted?: { readonly values: 'common' | 'clinical' | 'rare'; /** Not all resources have its tokens yet: it cannot be searched by. */ readonly pending: boolean };
  /** Components of a composite parameter: the SearchParameter's code and an expression relative to the composite's. */
  readonly components?: readonly { readonly code: string; readonly expression: string }[];
}

/** One value that a resource has for a search parameter. */
export type SearchValue =
  /** `types`: of an Identifier, the codings of its type. */
  | { readonly kind: 'token'; readonly system?: string; readonly code?: string; readonly text?: string; readonly types?: readonly { readonly system?: string; readonly code: string }[] }
  | { readonly kind: 'string'; readonly value: string }
  | {
      readonly kind: 'reference';
      /** Target type and logical id, where the reference is local (relative, or absolute under a FHIR base). */
      readonly type?: string;
      readonly id?: string;
      /** Absolute URL or urn, where it is not relative. */
      readonly url?: string;
      readonly identifier?: { readonly system?: string; readonly value?: string };
    }
  /** Milliseconds since 1970: [lo, hi). Open ends are -Infinity and Infinity. */
  | { readonly kind: 'date'; readonly lo: number; readonly hi: number }
  /** The decimal as written, so that its precision survives. `high`: the upper end, where the value is a range from `value` on. */
  | { readonly kind: 'number'; readonly value: string; readonly high?: string }
  | { readonly kind: 'quantity'; readonly value: string; readonly high?: string; readonly system?: string; readonly code?: string; readonly unit?: string; readonly comparator?: string }
  /** A place on the Earth (WGS 84), in degrees. */
  | { readonly kind: 'position'; readonly latitude: number; readonly longitude: number }
  | { readonly kind: 'uri'; readonly value: string }
  /** One tuple: for each component, its values within the same repeat. */
  | { readonly kind: 'composite'; readonly components: readonly (readonly SearchValue[])[] };
