/** A condition on what MongoDB can see of a stored document. Labels are token texts before they are hashed. */
export type TokenExpr =
  | { readonly op: 'true' }
  | { readonly op: 'false' }
  /** Has any of these tokens. */
  | { readonly op: 'in'; readonly labels: readonly string[]; readonly rank: number }
  /** Has one of these logical ids (of the type being searched). */
  | { readonly op: 'id'; readonly ids: readonly string[] }
  /** Was recorded within [fromMs, untilMs). */
  | { readonly op: 'recorded'; readonly fromMs: number; readonly untilMs: number }
  | { readonly op: 'and'; readonly of: readonly TokenExpr[] }
  | { readonly op: 'or'; readonly of: readonly TokenExpr[] }
  | { readonly op: 'not'; readonly of: TokenExpr };

/**
 * What tokens can say of a criterion: every match meets `upper`, and everything that meets `lower` matches. Where both are
 * the same object the tokens are exact; in between, the post-filter decides.
 */
export interface Bounds {
  readonly upper: TokenExpr;
  readonly lower: TokenExpr;
}

export const always: TokenExpr = { op: 'true' };
export const never: TokenExpr = { op: 'false' };

/** Tokens say nothing: only the post-filter can tell. */
export const unknown: Bounds = { upper: always, lower: never };

export function exactly(expr: TokenExpr): Bounds {
  return { upper: expr, lower: expr };
}

/** Every match has one of the tokens, but not everything that has one matches. */
export function atMost(expr: TokenExpr): Bounds {
  return { upper: expr, lower: never };
}

export function isExact({ upper, lower }: Bounds): boolean {
  return upper === lower;
}

/**
 * How selective a token is expected to be, best first: of several conditions that must all hold, MongoDB walks the index
 * of the best one only.
 */
export const ranks = { identifier: 0, reference: 1, patientValue: 2, patient: 3, names: 4, text: 5, code: 6, day: 7, span: 8, presence: 9 } as const;

export function anyToken(labels: readonly string[], rank: number): TokenExpr {
  return labels.length === 0 ? never : { op: 'in', labels, rank };
}

export function and(of: readonly TokenExpr[]): TokenExpr {
  const flat = [...new Set(of.flatMap((expr) => (expr.op === 'and' ? expr.of : [expr])))].filter((expr) => expr.op !== 'true');
  if (flat.some((expr) => expr.op === 'false')) return never;
  return flat.length === 0 ? always : flat.length === 1 ? flat[0]! : { op: 'and', of: flat };
}

/** Alternatives; those that are token lists of the same rank become one list, which MongoDB can merge in order. */
export function or(of: readonly TokenExpr[]): TokenExpr {
  const flat = [...new Set(of.flatMap((expr) => (expr.op === 'or' ? expr.of : [expr])))].filter((expr) => expr.op !== 'false');
  if (flat.some((expr) => expr.op === 'true')) return always;
  const lists = flat.filter((expr) => expr.op === 'in');
  const rest: TokenExpr[] = flat.filter((expr) => expr.op !== 'in');
  if (lists.length > 1) rest.push({ op: 'in', labels: [...new Set(lists.flatMap(({ labels }) => labels))], rank: Math.max(...lists.map(({ rank }) => rank)) });
  else rest.push(...lists);
  return rest.length === 0 ? never : rest.length === 1 ? rest[0]! : { op: 'or', of: rest };
}

/** Negation, pushed down to the leaves. */
export function not(expr: TokenExpr): TokenExpr {
  switch (expr.op) {
    case 'true': return never;
    case 'false': return always;
    case 'not': return expr.of;
    case 'and': return or(expr.of.map(not));
    case 'or': return and(expr.of.map(not));
    default: return { op: 'not', of: expr };
  }
}

export function andBounds(of: readonly Bounds[]): Bounds {
  const upper = and(of.map((bounds) => bounds.upper));
  return { upper, lower: of.every(isExact) ? upper : and(of.map((bounds) => bounds.lower)) };
}

export function orBounds(of: readonly Bounds[]): Bounds {
  const upper = or(of.map((bounds) => bounds.upper));
  return { upper, lower: of.every(isExact) ? upper : or(of.map((bounds) => bounds.lower)) };
}

export function notBounds(bounds: Bounds): Bounds {
  const upper = not(bounds.lower);
  return { upper, lower: isExact(bounds) ? upper : not(bounds.upper) };
}

/** True if few resources can be expected to meet an expression, however many there are. */
export function isSelective(expr: TokenExpr): boolean {
  switch (expr.op) {
    case 'in': return expr.rank <= ranks.text;
    case 'id': return true;
    case 'and': return expr.of.some(isSelective);
    case 'or': return expr.of.every(isSelective);
    default: return false;
  }
}
