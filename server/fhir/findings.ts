import type { OutcomeIssue } from '../../resources/outcome/render.ts';
import type { Finding } from '../../resources/profiles/index.ts';

/** What a validation found, as an issue of an OperationOutcome (https://hl7.org/fhir/R4/operationoutcome.html). */
export function issueOf({ severity, code, expression, detail }: Finding): OutcomeIssue {
  return { severity, code, details: { text: detail }, ...(expression !== undefined && { expression: [expression] }) };
}
