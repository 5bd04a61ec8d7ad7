import type { Exchange, FhirResponse } from '../exchange.ts';
import type { OperationInput } from './parameters.ts';

/** Where an operation can be called (https://hl7.org/fhir/R4/operations.html). */
export type OperationLevel = 'system' | 'type' | 'instance';

/** One input parameter of an operation. */
export interface OperationParameter {
  readonly name: string;
  /** A FHIR data type, or `Resource`. Primitive ones may also stand in the URL. */
  readonly type: string;
  readonly isRequired?: boolean;
  readonly isRepeating?: boolean;
  readonly documentation: string;
}

/**
 * An extended operation. Routes, the CapabilityStatement and the OpenAPI document are made from these rows; each call is
 * audited as `$name` beside what the guarded repository records of the accesses it makes.
 */
export interface Operation {
  /** Without the dollar sign. */
  readonly name: string;
  /** Canonical URL of its OperationDefinition. */
  readonly definition: string;
  readonly summary: string;
  readonly levels: readonly OperationLevel[];
  /** Resource types that it can be called on, where on types or instances at all. */
  readonly types: readonly string[] | 'every';
  /** True: by POST only. */
  readonly affectsState: boolean;
  readonly parameters: readonly OperationParameter[];
  /** True: parameters that are not listed are search parameters; see {@link OperationInput.search}. */
  readonly takesSearch?: boolean;
  /**
   * Carries the call out: all access to the record by `exchange.guard`.
   * @throws InterlockError
   */
  run(exchange: Exchange, input: OperationInput): Promise<FhirResponse>;
}
