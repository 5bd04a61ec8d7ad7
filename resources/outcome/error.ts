import { catalogue, type ErrorCode } from './catalogue.ts';

/** One further issue of an error that has several, such as a validation report. */
export interface ErrorIssue {
  readonly code: ErrorCode;
  /** FHIRPath of the element concerned, made of element names and indexes only. */
  readonly expression?: string;
  /** What is wrong, in words that hold no value from the request. */
  readonly detail?: string;
}

export interface ErrorOptions {
  /** Which element or parameter is concerned: names only, never values. */
  readonly expression?: string;
  /** A safe addition to the catalogue's text. Must never hold a value from a request or a record. */
  readonly detail?: string;
  readonly issues?: readonly ErrorIssue[];
  /** For the sealed audit entry only: which rule refused. Never rendered to a client. */
  readonly rule?: string;
  /** Seconds after which trying again makes sense; sent as Retry-After. */
  readonly retryAfterSeconds?: number;
  /** Of a 401: the value of WWW-Authenticate, where the code's usual one does not tell what is wrong. */
  readonly challenge?: string;
  /** Sent as DPoP-Nonce (RFC 9449, section 9). */
  readonly dpopNonce?: string;
  readonly cause?: unknown;
}

/** An expected refusal or failure, named by its code in the catalogue. */
export class InterlockError extends Error {
  override readonly name = 'InterlockError';
  readonly code: ErrorCode;
  readonly options: ErrorOptions;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    super(options.detail === undefined ? catalogue[code].text : `${catalogue[code].text} ${options.detail}`, { cause: options.cause });
    this.code = code;
    this.options = options;
  }

  /** HTTP status of this error. */
  get status(): number {
    return catalogue[this.code].status;
  }
}
