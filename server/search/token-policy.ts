import type { SearchParam } from '../../resources/search-values/index.ts';

/*
 * Equal values give equal tokens, so the frequency of a token tells something about a value that few others share the
 * parameter with. Tokens of their own are therefore given only to values that are many and rare each; where a frequent one
 * may be among them its resources are spread over several tokens; all others are tokened only together with the patient.
 */

/** Token parameters whose values name one thing: identifiers, contact points, numbers. */
const identifying = new Set([
  'accession', 'altid', 'base-path', 'container', 'container-id', 'container-identifier', 'email', 'ext-context', 'group-identifier', 'identifier', 'instance',
  'lot-number', 'path', 'phone', 'referenceseqid', 'related-id', 'requisition', 'response-id', 'series', 'telecom',
]);

/** Token parameters over large clinical code systems: many values, some of them frequent. */
const clinical = new Set([
  '_tag', 'body-site', 'bodysite', 'code', 'combo-code', 'combo-value-concept', 'component-code', 'component-value-concept', 'conclusion', 'event', 'evidence', 'finding-code',
  'ingredient-code', 'manifestation', 'reason-code', 'service-type', 'source-code', 'specialty', 'substance-code', 'target-code', 'target-disease', 'vaccine-code', 'value-concept',
]);

/** String and URI parameters with few values. */
const commonTexts = new Set(['_profile', 'address-country', 'address-state']);

/** Over how many tokens the resources with one frequent value are spread. */
const parts = 4;

/** True for parameters with few values: they never have a token of their own, only one together with the patient. */
export function isCommon(param: SearchParam): boolean {
  if (param.type === 'token') return !identifying.has(param.code) && !clinical.has(param.code);
  return (param.type === 'string' || param.type === 'uri') && commonTexts.has(param.code);
}

/** Over how many tokens the resources of each value of a parameter are spread: 1 for values that are rare by nature. */
export function spreadOf(param: SearchParam): number {
  return param.type === 'string' || (param.type === 'token' && clinical.has(param.code)) ? parts : 1;
}
