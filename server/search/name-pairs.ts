import { searchParamsOf } from '../../resources/definitions/index.ts';
import { normalizeString } from '../../resources/search-values/index.ts';
import type { Criterion } from './criteria.ts';
import { and, anyToken, isExact, ranks, type Bounds, type TokenExpr } from './token-expr.ts';
import { allPrefixes } from './token-policy.ts';
import type { Emit, SearchValues } from './tokens.ts';

/** The scheme that came with these tokens. */
export const namePairScheme = 4;

/** Types whose people have a family and a given name. */
export const namedTypes = ['Patient', 'Practitioner'] as const;

const { lengths } = allPrefixes;
const givenLength = lengths[0];
/** Pairs of one resource that are indexed. One with more is among the candidates of every search for a pair. */
const maxPairs = 32;

/**
 * Emits a token for the start of each family name together with the start of each given name: a family name alone has
 * thousands of candidates in a large store, both together have few.
 */
export function indexNamePairs(type: string, values: SearchValues, emit: Emit): void {
  if (!isNamed(type)) return;
  const [families, givens] = [textsOf(values, 'family'), [...new Set(textsOf(values, 'given').map((text) => text.slice(0, givenLength)))]];
  const isMany = families.length * givens.length > maxPairs;
  if (isMany) emit(manyLabel(type), 1);
  else for (const family of families) for (const given of givens) for (const length of lengths) if (family.length >= length) emit(pairLabel(type, family.slice(0, length), given), 1);
}

/**
 * Bounds of conditions that must all hold, narrowed by the token that every resource with such a family and given name has.
 * @param parts the conditions
 */
export function narrowedByNames(type: string, parts: readonly Criterion[], bounds: Bounds): Bounds {
  const pair = isNamed(type) ? pairAsked(type, parts) : undefined;
  if (pair === undefined) return bounds;
  const upper = and([pair, bounds.upper]);
  // Whatever meets the conditions has the token.
  return { upper, lower: isExact(bounds) ? upper : bounds.lower };
}

function pairAsked(type: string, parts: readonly Criterion[]): TokenExpr | undefined {
  const [families, givens] = [startsAsked(parts, 'family'), startsAsked(parts, 'given')];
  if (families === undefined || givens === undefined || families.length * givens.length > maxPairs) return undefined;
  const pairs = families.flatMap((family) => givens.map((given) => pairLabel(type, family.slice(0, lengths.findLast((length) => length <= family.length)), given.slice(0, givenLength))));
  return anyToken([manyLabel(type), ...pairs], ranks.names);
}

/** The alternatives of the first condition on a parameter, if each tells how a name starts. */
function startsAsked(parts: readonly Criterion[], code: string): string[] | undefined {
  for (const part of parts) {
    if (part.op !== 'param' || part.param.code !== code || part.param.type !== 'string' || part.param.posted !== undefined) continue;
    if (part.modifier !== undefined && part.modifier !== 'exact' && part.modifier !== 'equals') continue;
    const texts = part.of.map((value) => (value.kind === 'string' ? normalizeString(value.value) : ''));
    if (texts.length > 0 && texts.every((text) => text.length >= givenLength)) return texts;
  }
  return undefined;
}

function textsOf(values: SearchValues, code: string): string[] {
  const texts = (values.get(code) ?? []).map((value) => (value.kind === 'string' ? normalizeString(value.value) : ''));
  return [...new Set(texts)].filter((text) => text.length >= givenLength);
}

/** A posted parameter of the same code is none of HL7's. */
function isNamed(type: string): boolean {
  return namedTypes.some((named) => named === type) && searchParamsOf(type).get('family')?.posted === undefined;
}

function pairLabel(type: string, family: string, given: string): string {
  return `${type}\nfamily given\n${family}\n${given}`;
}

function manyLabel(type: string): string {
  return `${type}\nfamily given\nmany`;
}
