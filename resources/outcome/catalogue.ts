/**
 * The one error catalogue. Every refusal and failure that can reach a client, a partner or an operator has a code here,
 * with its HTTP status, its FHIR IssueType (https://hl7.org/fhir/R4/valueset-issue-type.html) and a text that is safe to
 * send: texts never hold identifiers, values or anything else that came with a request.
 */
export const catalogue = {
  // Requests
  'structure-invalid': { status: 400, issue: 'structure', text: 'The content is not a well-formed FHIR resource.' },
  'request-invalid': { status: 400, issue: 'invalid', text: 'The request is not valid.' },
  'search-invalid': { status: 400, issue: 'invalid', text: 'A search parameter has a value or modifier that is not valid.' },
  'search-unsupported': { status: 400, issue: 'not-supported', text: 'A search parameter is not supported.' },
  'criteria-required': { status: 412, issue: 'required', text: 'A conditional interaction needs at least one known search criterion with a value.' },
  'login-required': { status: 401, issue: 'login', text: 'Sign in or send an access token.' },
  'token-invalid': { status: 401, issue: 'login', text: 'The access token is unknown, expired or revoked.' },
  'credentials-invalid': { status: 401, issue: 'login', text: 'User name, password, code or client credentials are not right.' },
  'grant-refused': { status: 400, issue: 'forbidden', text: 'The authorization server refused this request.' },
  'certificate-required': { status: 401, issue: 'login', text: 'A client certificate that this server issued is required.' },
  'forbidden': { status: 403, issue: 'forbidden', text: 'This access is not permitted.' },
  'not-found': { status: 404, issue: 'not-found', text: 'No such resource.' },
  'interaction-unsupported': { status: 405, issue: 'not-supported', text: 'This interaction is not offered for this type.' },
  'not-acceptable': { status: 406, issue: 'not-supported', text: 'The requested format is not offered; use application/fhir+json or application/fhir+xml.' },
  'version-conflict': { status: 409, issue: 'conflict', text: 'The resource changed while it was being written; try again.' },
  'deleted': { status: 410, issue: 'deleted', text: 'The resource was deleted.' },
  'version-stale': { status: 412, issue: 'conflict', text: 'The current version is not the one that If-Match names, or If-None-Match forbids it.' },
  'multiple-matches': { status: 412, issue: 'multiple-matches', text: 'The criteria match more than one resource.' },
  'too-large': { status: 413, issue: 'too-long', text: 'The content is larger than this server accepts.' },
  'too-costly': { status: 413, issue: 'too-costly', text: 'The request would cost more than this server allows; narrow it.' },
  'media-type-unsupported': { status: 415, issue: 'not-supported', text: 'The content type is not supported; use application/fhir+json or application/fhir+xml.' },
  'range-unsatisfiable': { status: 416, issue: 'invalid', text: 'The range lies outside the content.' },
  'required-missing': { status: 422, issue: 'required', text: 'A required element is missing.' },
  'code-invalid': { status: 422, issue: 'code-invalid', text: 'A code is not in the required value set.' },
  'business-rule': { status: 422, issue: 'business-rule', text: 'The content breaks a rule of this server.' },
  'not-enumerable': { status: 422, issue: 'not-supported', text: 'The codes of the value set cannot be told here.' },
  'patch-failed': { status: 422, issue: 'processing', text: 'The patch cannot be applied to the current version; nothing was changed.' },
  'throttled': { status: 429, issue: 'throttled', text: 'Too many requests; wait and try again.' },
  // The server's own state
  'internal': { status: 500, issue: 'exception', text: 'Something went wrong here. The request id leads support to the cause.' },
  'unavailable': { status: 503, issue: 'transient', text: 'The server cannot take this request now; try again.' },
  'audit-unavailable': { status: 503, issue: 'transient', text: 'The audit trail cannot be written, so nothing can be disclosed; try again.' },
  'outcome-unknown': { status: 503, issue: 'incomplete', text: 'The write may have happened, but its audit entry is not yet durable; read before repeating it.' },
  'integrity-failure': { status: 500, issue: 'security', text: 'Stored data failed its integrity check and was not released.' },
  // Start-up and operation; shown to operators on the command line
  'key-missing': { status: 500, issue: 'security', text: 'The master key is missing, though data sealed with it exists. Restore the keys directory from its backup.' },
  'key-wrong': { status: 500, issue: 'security', text: 'The master key does not open the data keys. Restore the keys directory that belongs to this data.' },
  'keys-inside-data': { status: 500, issue: 'security', text: 'The keys directory must lie outside the data directory, so that a copy of the data never carries its keys. Set INTERLOCK_KEYS_DIR to another place.' },
  'data-locked': { status: 500, issue: 'lock-error', text: 'Another process uses this data directory. Stop it, or set INTERLOCK_DATA_DIR to another directory.' },
  'data-damaged': { status: 500, issue: 'exception', text: 'The data directory is incomplete. Restore it from its backup, or set INTERLOCK_DATA_DIR to an empty directory.' },
  'disk-full': { status: 500, issue: 'no-store', text: 'The disk is full. Free some space, or move the data directory to a larger disk, and start again.' },
  'mongod-missing': { status: 500, issue: 'not-found', text: 'No mongod was found and none could be fetched. Install MongoDB, name its program in INTERLOCK_MONGOD, or set MONGODB_URI and AUDIT_MONGODB_URI.' },
  'mongod-version': { status: 500, issue: 'not-supported', text: 'This version of MongoDB cannot be used. Install MongoDB 7 or 8 (6.0.27 at least) and name its program in INTERLOCK_MONGOD.' },
  'mongod-port-taken': { status: 500, issue: 'conflict', text: 'The port configured for the embedded MongoDB is taken. Stop what listens there, or leave the port out and one is chosen.' },
  'mongod-failed': { status: 500, issue: 'exception', text: 'The embedded MongoDB did not start. Its log is mongo/mongod.log in the data directory.' },
  'mongo-unreachable': { status: 500, issue: 'transient', text: 'MongoDB does not answer. Check that it runs and that MONGODB_URI and AUDIT_MONGODB_URI name it with the right user, password and certificates.' },
  'mongo-unsafe': { status: 500, issue: 'security', text: 'MongoDB is not set up safely for this server; docs/operating/mongodb.md says how.' },
  'config-invalid': { status: 500, issue: 'invalid', text: 'The configuration is not valid.' },
} as const satisfies Record<string, { status: number; issue: string; text: string }>;

export type ErrorCode = keyof typeof catalogue;
