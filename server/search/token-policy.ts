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

/** Number parameters with few values, or of values that tell much of a person. */
const commonNumbers = new Set(['abatement-age', 'factor-override', 'length', 'onset-age', 'probability']);

/** Over how many tokens the resources with one frequent value are spread. */
const parts = 4;

/** True for parameters with few values: they never have a token of their own, only one together with the patient. */
export function isCommon(param: SearchParam): boolean {
  if (param.posted !== undefined) return param.type === 'token' && param.posted.values === 'common';
  if (param.type === 'token') return !identifying.has(param.code) && !clinical.has(param.code);
  if (param.type === 'number' || param.type === 'quantity') return commonNumbers.has(param.code);
  return (param.type === 'string' || param.type === 'uri') && commonTexts.has(param.code);
}

/** True for parameters that are often asked together with the patient, and so have a token together with the patient too. */
export function isPaired(param: SearchParam): boolean {
  return param.type === 'token' && param.code === 'code';
}

/** Over how many tokens the resources of each value of a parameter are spread: 1 for values that are rare by nature. */
export function spreadOf(param: SearchParam): number {
  if (param.posted !== undefined) return param.type === 'string' || (param.type === 'token' && param.posted.values === 'clinical') ? parts : 1;
  return param.type === 'string' || (param.type === 'token' && clinical.has(param.code)) ? parts : 1;
}

/** `#n` for each of the tokens over which a label's resources are spread. */
export function spreadLabel(label: string, part: number): string {
  return `${label}\n#${part}`;
}

/** Strings that other parameters find piece by piece: fewer prefixes. */
const broadTexts = new Set(['address', 'name']);
/** Lengths of the starts of a name that have a token. */
export const allPrefixes = { lengths: [3, 4, 6, 8], whole: true } as const;
const fewPrefixes = { lengths: [3, 6], whole: false } as const;

/** Lengths of the prefixes of a string that have a token, and whether longer strings have one as a whole too. */
export function prefixesOf(param: SearchParam): { readonly lengths: readonly number[]; readonly whole: boolean } {
  return broadTexts.has(param.code) ? fewPrefixes : allPrefixes;
}

const parted = new WeakMap<ReadonlyMap<string, SearchParam>, ReadonlyMap<string, readonly SearchParam[]>>();

/**
 * The parameters of the same type and kind whose values together are this one's, by their expressions, such as `code` and
 * `component-code` for `combo-code`: their tokens serve for it. Undefined if it has tokens of its own.
 */
export function partsOf(param: SearchParam, params: ReadonlyMap<string, SearchParam>): readonly SearchParam[] | undefined {
  let parts = parted.get(params);
  if (parts === undefined) {
    parts = partTable(params);
    parted.set(params, parts);
  }
  return parts.get(param.code);
}

function partTable(params: ReadonlyMap<string, SearchParam>): ReadonlyMap<string, readonly SearchParam[]> {
  const table = new Map<string, readonly SearchParam[]>();
  const first = new Map<string, SearchParam>();
  const key = (alternatives: readonly string[], { type, target }: SearchParam): string => [type, alternatives.join('|'), target?.join() ?? ''].join('\n');
  // Composites have no tokens of their own.
  const single = [...params.values()].filter(({ type }) => type !== 'composite');
  for (const param of single) {
    // Of several with one expression the first has the tokens.
    const own = key(alternativesOf(param), param);
    const other = first.get(own);
    if (other !== undefined) table.set(param.code, [other]);
    // A posted parameter may go away, and its tokens with it.
    else if (param.posted === undefined) first.set(own, param);
  }
  for (const param of single) {
    const alternatives = alternativesOf(param);
    if (alternatives.length < 2 || table.has(param.code) || param.type === 'date') continue;
    const found: SearchParam[] = [];
    for (let at = 0; at < alternatives.length;) {
      // The longest run of alternatives that is another parameter's whole expression.
      const part = alternatives.slice(at).map((_, index) => first.get(key(alternatives.slice(at, alternatives.length - index), param))).find((one) => one !== undefined && one !== param);
      if (part === undefined) break;
      found.push(part);
      at += alternativesOf(part).length;
    }
    if (found.reduce((sum, part) => sum + alternativesOf(part).length, 0) === alternatives.length) table.set(param.code, found);
  }
  return table;
}

function alternativesOf({ expression }: SearchParam): readonly string[] {
  return expression.split('|').map((one) => one.trim());
}
