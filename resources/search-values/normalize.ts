/**
 * A string as it is compared by default: without case, accents or other combining marks, with single spaces
 * (https://hl7.org/fhir/R4/search.html#string). Idempotent.
 */
export function normalizeString(value: string): string {
  // Most strings are plain ASCII, for which the decomposition would cost several times the rest.
  const bare = /^[\x20-\x7e]*$/.test(value) ? value : value.normalize('NFKD').replace(/\p{M}+/gu, '');
  return bare.toLowerCase().normalize('NFKD').replace(/\p{M}+/gu, '').replace(/\s+/g, ' ').trim();
}

/**
 * A token's code as it is compared: without case, as R4 advises wherever a code system is not known to be case-sensitive
 * (https://hl7.org/fhir/R4/search.html#token). Systems are compared exactly.
 */
export function normalizeCode(code: string): string {
  return code.toLowerCase();
}
