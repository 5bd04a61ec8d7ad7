import { InterlockError } from '../../resources/outcome/error.ts';
import type { ValueContext } from '../../resources/search-values/index.ts';
import type { AskedCriterion } from '../search/criteria.ts';
import { isResultParam, parseSearch } from '../search/parse.ts';

/** The criteria of a conditional interaction or reference. */
export interface Condition {
  readonly where: AskedCriterion;
  /** What two requests with the same intent have in common: claimed before the search, so that only one of them creates. */
  readonly claims: readonly string[];
  /** The criteria as they came, for the sealed audit entry. */
  readonly text: string;
}

/**
 * Parses search criteria that decide about a write. Unknown or empty ones are refused: without them the rest would match
 * more than was meant (https://hl7.org/fhir/R4/http.html#ccreate).
 *
 * @param criteria a query string, perhaps with a path before it, or decoded pairs
 * @param values how references and dates in them are read: as in what is stored
 * @throws InterlockError `criteria-required`, `search-invalid`, `search-unsupported`
 */
export function conditionOf(type: string, criteria: string | readonly (readonly [string, string])[], values: ValueContext): Condition {
  const pairs = typeof criteria === 'string' ? [...new URLSearchParams(criteria.replace(/^[^=&]*\?/, ''))] : criteria;
  // What would find more, or stand for other criteria, than the rest says.
  if (pairs.some(([name]) => /^_(?:contained|containedType|cursor)(?::|$)/.test(name))) throw new InterlockError('search-unsupported');
  const given = pairs.filter(([name]) => name !== '_format' && name !== '_pretty' && !isResultParam(name));
  if (given.length === 0 || given.some(([, value]) => value === '')) throw new InterlockError('criteria-required');
  const { where } = parseSearch(type, given, { strict: true, ...values });
  const text = given
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join('&');
  return { where, claims: claimsOf(type, given, text), text };
}

/** By business identifier where one is given, so that a channel that matches by identifier claims the same; else by all criteria. */
function claimsOf(type: string, pairs: readonly (readonly [string, string])[], text: string): string[] {
  const identifiers = pairs.filter(([name, value]) => name === 'identifier' && !value.includes(',')).map(([, value]) => identifierClaim(type, value));
  return identifiers.length > 0 ? identifiers : [`${type}?${text}`];
}

/** The claim of a business identifier, given as `system|value`. */
export function identifierClaim(type: string, token: string): string {
  return `${type}|identifier|${token}`;
}
