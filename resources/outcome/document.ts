import { catalogue } from './catalogue.ts';
import { errorCodeSystem } from './render.ts';

/** The catalogue as a page for operators and app developers: docs/operating/errors.md. */
export function errorsPage(): string {
  const rows = Object.entries(catalogue).map(([code, { status, issue, text }]) => `| \`${code}\` | ${status} | \`${issue}\` | ${text} |`);
  return `# Errors

Generated from \`resources/outcome/catalogue.ts\` by \`test/support/generated-docs.ts\`; do not edit.

Every refusal is a FHIR OperationOutcome. \`issue.details.coding\` carries one of these codes (system \`${errorCodeSystem}\`),
\`issue.code\` the FHIR issue type and \`issue.details.text\` a text that never repeats what was sent.
\`issue.expression\` names the element, by element names and indexes only. The first issue's \`diagnostics\` gives the request id, under which
the audit trail and the log hold the rest.

Which status a bad resource gets: **400** when it is not a FHIR resource at all (malformed JSON, duplicate property, unknown element,
wrong JSON type, malformed primitive, wrong number of repeats); **422** when it is one, but lacks a required element (\`required-missing\`),
uses a code outside a required value set (\`code-invalid\`) or breaks a rule of the specification (\`business-rule\`). With several issues, one of structure decides.

| Code | HTTP status | Issue type | Text |
| --- | --- | --- | --- |
${rows.join('\n')}
`;
}
