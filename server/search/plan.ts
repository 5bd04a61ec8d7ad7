import type { Criterion } from './criteria.ts';
import { namePairScheme, narrowedByNames } from './name-pairs.ts';
import { compartmentLabel, paramBounds, patientsNamed, tokenScheme, type TokensPresent } from './tokens.ts';
import { always, and, andBounds, anyToken, exactly, isExact, never, not, notBounds, orBounds, ranks, unknown, type Bounds, type TokenExpr } from './token-expr.ts';
import { wordBounds } from './word-tokens.ts';

/** How one resource type is searched. */
export interface TypePlan {
  readonly type: string;
  /** Every match meets this. */
  readonly candidates: TokenExpr;
  /** Everything that meets this matches. */
  readonly certain: TokenExpr;
  /** The two are the same: no post-filter is needed. */
  readonly exact: boolean;
  /** What is left to check of candidates: the conditions that their tokens do not settle. */
  readonly residual: Criterion;
  /** Candidates that only the post-filter can decide about. */
  readonly doubtful: TokenExpr;
}

/**
 * Plans a search of one type: which documents the tokens pick, and whether that is the answer already.
 * @param present which tokens all documents have
 */
export function planType(type: string, where: Criterion, present: TokensPresent = { scheme: tokenScheme, words: false }): TypePlan {
  const boundsOf = (criterion: Criterion, of: string, patients: readonly string[]): Bounds => boundsIn(present, criterion, of, patients);
  const bounds = boundsOf(where, type, []);
  const named = namedBy(flatten(where), []);
  return {
    type,
    candidates: bounds.upper,
    certain: bounds.lower,
    exact: isExact(bounds),
    residual: { op: 'all', of: flatten(where).filter((part) => !isExact(boundsOf(part, type, named))) },
    doubtful: isExact(bounds) ? never : and([bounds.upper, not(bounds.lower)]),
  };
}

/** @param patients a matching resource concerns one of these, as a condition beside this one asks; empty: unknown */
function boundsIn(present: TokensPresent, criterion: Criterion, type: string, patients: readonly string[]): Bounds {
  const boundsOf = (part: Criterion, of: string, named: readonly string[]): Bounds => boundsIn(present, part, of, named);
  switch (criterion.op) {
    case 'all': {
      const parts = flatten(criterion);
      const named = namedBy(parts, patients);
      const bounds = andBounds(parts.map((part) => boundsOf(part, type, named)));
      return present.scheme < namePairScheme ? bounds : narrowedByNames(type, parts, bounds);
    }
    case 'any': return orBounds(criterion.of.map((part) => boundsOf(part, type, patients)));
    case 'not': return notBounds(boundsOf(criterion.of, type, patients));
    case 'type': return exactly(criterion.types.includes(type) ? always : never);
    case 'compartment': return exactly(anyToken(criterion.ids.map((id) => compartmentLabel(type, id)), ranks.patient));
    case 'id': return exactly(criterion.ids.length === 0 ? never : { op: 'id', ids: criterion.ids });
    case 'lastUpdated': return exactly(recorded(criterion));
    case 'words': return present.words ? wordBounds(type, criterion) : unknown;
    case 'present': case 'contained': case 'rule': return unknown;
    case 'param': return paramBounds(type, criterion, patients, present.scheme);
  }
}

function namedBy(parts: readonly Criterion[], otherwise: readonly string[]): readonly string[] {
  return parts.map(patientsNamed).find((ids) => ids.length > 0) ?? otherwise;
}

/** Conditions that must all hold, nested ones and lone alternatives of which only one fits the type included. */
function flatten(criterion: Criterion): readonly Criterion[] {
  if (criterion.op === 'all') return criterion.of.flatMap(flatten);
  if (criterion.op === 'any' && criterion.of.length === 1) return flatten(criterion.of[0]!);
  return [criterion];
}

/** A time of recording is a point: one millisecond long (https://hl7.org/fhir/R4/search.html#lastUpdated). */
function recorded({ prefix, lo, hi }: Extract<Criterion, { op: 'lastUpdated' }>): TokenExpr {
  const span = (fromMs: number, untilMs: number): TokenExpr => (fromMs < untilMs ? { op: 'recorded', fromMs, untilMs } : never);
  switch (prefix) {
    case 'eq': case 'ap': return span(lo, hi);
    case 'ne': return not(span(lo, hi));
    case 'gt': case 'sa': return span(hi, Infinity);
    case 'lt': case 'eb': return span(-Infinity, lo);
    case 'ge': return span(lo, Infinity);
    case 'le': return span(-Infinity, hi);
  }
}
