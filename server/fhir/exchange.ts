import type { AccessContext } from '../access/context.ts';
import type { GuardedRepository, GuardServices } from '../access/guard.ts';
import type { TerminologyService } from '../access/terminology.ts';
import type { ParsedSearch } from '../search/criteria.ts';
import type { ResourceJson } from '../storage/contract.ts';
import type { Compartment } from './compartments.ts';
import type { Cursors } from './cursors.ts';
import type { DocumentName, FhirDocument } from './documents.ts';
import type { Operation } from './operations/operation.ts';
import type { OperationInput } from './operations/parameters.ts';
import type { WriteRules } from './write-rules.ts';

/** The interactions of FHIR R4 that Interlock offers (https://hl7.org/fhir/R4/http.html). */
export type Interaction =
  | 'capabilities'
  | 'read'
  | 'vread'
  | 'update'
  | 'delete'
  | 'patch'
  | 'create'
  | 'conditional-update'
  | 'conditional-delete'
  | 'conditional-patch'
  | 'search'
  | 'history'
  | 'bundle'
  | 'operation';

/** A request to the FHIR API, by HTTP or as an entry of a Bundle. */
export interface FhirRequest {
  readonly method: string;
  /** Path below the FHIR base, without a leading slash, undecoded. */
  readonly path: string;
  /** Query parameters in order, decoded; of a `_search` by POST, the form's follow the URL's. */
  readonly query: readonly (readonly [string, string])[];
  readonly headers: {
    readonly prefer?: string;
    readonly ifMatch?: string;
    readonly ifNoneMatch?: string;
    readonly ifModifiedSince?: string;
    readonly ifNoneExist?: string;
    /** Only where the native format of a Binary was asked for. */
    readonly accept?: string;
    readonly range?: string;
    readonly ifRange?: string;
  };
  /** Media type of the body, where an interaction takes more than one. */
  readonly contentType?: string;
  /** Body bytes as they came. */
  readonly body?: Buffer;
  /** Parsed body, where the caller has it already (Bundle entries). */
  readonly resource?: ResourceJson;
  /** Content that belongs to `resource` and is still to be read. */
  readonly content?: { readonly source: AsyncIterable<Uint8Array>; readonly maxBytes: number };
}

/** A body that is not held in memory. */
export interface BodyStream {
  readonly sizeBytes: number;
  /** Called once, and not for HEAD. A failure before the first piece is an answer of its own. */
  open(): AsyncIterable<Buffer>;
}

/** What goes back. */
export interface FhirResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** Instead of a body. */
  readonly stream?: BodyStream;
}

/** What the FHIR room needs from the rest of the server. */
export interface FhirServices extends GuardServices {
  /** `https://host:port/fhir/R4`, without a trailing slash. */
  readonly baseUrl: string;
  readonly cursors: Cursors;
  readonly terminology: TerminologyService;
  /** What writes must satisfy beyond structure and required bindings; absent: nothing. */
  readonly rules?: WriteRules;
  readonly limits: {
    readonly maxResourceSizeBytes: number;
    readonly maxBinarySizeBytes: number;
    readonly maxBundleSizeBytes: number;
    readonly maxBundleEntries: number;
    readonly defaultPageCount: number;
    readonly maxPageCount: number;
    /** Most resources that one conditional delete may delete; 1: a condition that matches more is refused. */
    readonly maxConditionalDeletes: number;
  };
  readonly document: (name: DocumentName) => FhirDocument;
}

/** One request on its way through the pipeline: each step fills in what the next ones need. */
export interface Exchange {
  readonly services: FhirServices;
  readonly request: FhirRequest;
  readonly context: AccessContext;
  interaction: Interaction;
  type?: string;
  id?: string;
  versionId?: number;
  compartment?: Compartment;
  operation?: Operation;
  input?: OperationInput;
  resource?: ResourceJson;
  search?: ParsedSearch;
  /** Continuation of a page, opened from its cursor. */
  after?: string;
  guard: GuardedRepository;
  response?: FhirResponse;
}
