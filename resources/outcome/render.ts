import { catalogue, type ErrorCode } from './catalogue.ts';
import { InterlockError, type ErrorIssue } from './error.ts';

/** The code system of the catalogue's codes, in `OperationOutcome.issue.details.coding`. */
export const errorCodeSystem = 'urn:interlock:error';

/** An issue of an OperationOutcome as this server sends it (https://hl7.org/fhir/R4/operationoutcome.html). */
export interface OutcomeIssue {
  readonly severity: 'fatal' | 'error' | 'warning' | 'information';
  readonly code: string;
  readonly details: { readonly coding?: readonly { readonly system: string; readonly code: ErrorCode }[]; readonly text: string };
  readonly diagnostics?: string;
  readonly expression?: readonly string[];
}

export interface OperationOutcome {
  readonly resourceType: 'OperationOutcome';
  readonly issue: readonly OutcomeIssue[];
}

// A request id may have come with the request, so only what cannot carry content is repeated.
const plainRequestId = /^[A-Za-z0-9-]{1,64}$/;

/**
 * Renders anything thrown as the OperationOutcome and HTTP status that a client may see. What is not an
 * {@link InterlockError} becomes `internal`: its message, name and stack stay here.
 *
 * @param requestId leads from the answer to the audit trail; given in the first issue's diagnostics
 */
export function toOperationOutcome(error: unknown, requestId?: string): { readonly status: number; readonly outcome: OperationOutcome } {
  const known = error instanceof InterlockError ? error : new InterlockError('internal');
  const diagnostics = requestId !== undefined && plainRequestId.test(requestId) ? `Request id: ${requestId}` : undefined;
  const issue = issuesOf(known).map((one, index) => renderIssue(one, index === 0 ? diagnostics : undefined));
  return { status: known.status, outcome: { resourceType: 'OperationOutcome', issue } };
}

/** The error's own issue, unless it only stands for the list that it brings. */
function issuesOf({ code, options: { expression, detail, issues = [] } }: InterlockError): readonly ErrorIssue[] {
  const standsForItsList = issues.length > 0 && expression === undefined && detail === undefined;
  return standsForItsList ? issues : [{ code, expression, detail }, ...issues];
}

function renderIssue({ code, expression, detail }: ErrorIssue, diagnostics: string | undefined): OutcomeIssue {
  const { status, issue, text } = catalogue[code];
  return {
    severity: status >= 500 ? 'fatal' : 'error',
    code: issue,
    details: { coding: [{ system: errorCodeSystem, code }], text: detail === undefined ? text : `${text} ${detail}` },
    ...(diagnostics !== undefined && { diagnostics }),
    ...(expression !== undefined && { expression: [expression] }),
  };
}
