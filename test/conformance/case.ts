/** One request and what has to come back. In texts `{name}` stands for something kept by an earlier step. */
export interface Step {
  /** Method and path below the FHIR base: `GET Patient/{id}`. */
  readonly send: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON; a string is sent as it is. */
  readonly body?: unknown;
  /** Who asks; default: one who may do everything. */
  readonly as?: 'everyone' | 'reader' | 'other' | 'stranger';
  readonly status: number | readonly number[];
  /** Patterns that headers must match; null: must be absent. */
  readonly expectHeaders?: Readonly<Record<string, string | null>>;
  /** FHIRPath expressions over the body that must all be true. */
  readonly expect?: readonly string[];
  /** True: the body must be empty. */
  readonly isEmpty?: boolean;
  /** A pattern for the body as text. */
  readonly text?: string;
  /** What later steps need: FHIRPath expressions over the body, or `header:Name`. */
  readonly keep?: Readonly<Record<string, string>>;
}

/** A requirement as requests and answers. */
export interface Case {
  /** Line of the checklist, with a letter where a line takes several cases. */
  readonly id: string;
  readonly title: string;
  readonly steps: readonly Step[];
}

/** A named list of cases. */
export interface Chapter {
  readonly name: string;
  readonly cases: readonly Case[];
}
