/**
 * The part of FHIRPath (http://hl7.org/fhirpath/N1/) that R4's search parameters are written in, parsed to a tree:
 * paths, unions, `as`/`ofType` casts, `where(a='b')`, `where(resolve() is T)`, an index, and `X.exists() and X != false`.
 */
export type PathExpression =
  | { readonly kind: 'union'; readonly of: readonly PathExpression[] }
  /** A name at the start of a path: with a capital the type of the context, else an element of it. */
  | { readonly kind: 'start'; readonly name: string }
  | { readonly kind: 'resource' }
  | { readonly kind: 'child'; readonly of: PathExpression; readonly name: string }
  | { readonly kind: 'cast'; readonly of: PathExpression; readonly type: string }
  | { readonly kind: 'index'; readonly of: PathExpression; readonly at: number }
  | { readonly kind: 'whereEquals'; readonly of: PathExpression; readonly name: string; readonly value: string }
  | { readonly kind: 'whereTarget'; readonly of: PathExpression; readonly type: string };

export interface SearchExpression {
  readonly path: PathExpression;
  /** `X.exists() and X != false`: the value is true if the path has a value other than `false`, else false. */
  readonly presence: boolean;
}

const presencePattern = /^(?<path>[A-Za-z.]+)\.exists\(\) and \k<path> != false$/;
const token = /\s*(%resource\b|[A-Za-z][A-Za-z0-9]*|[0-9]+|'[^']*'|[.()[\]|=])/y;

/**
 * Parses a search parameter's expression.
 * @throws Error if it uses more than the subset above
 */
export function parseExpression(expression: string): SearchExpression {
  const operandOfPresence = presencePattern.exec(expression)?.groups?.['path'];
  const tokens = tokenize(operandOfPresence ?? expression);
  let at = 0;
  const path = union();
  if (at < tokens.length) throw unsupported(expression);
  return { path, presence: operandOfPresence !== undefined };

  function union(): PathExpression {
    const parts = [operand()];
    while (accept('|')) parts.push(operand());
    return parts.length === 1 ? parts[0]! : { kind: 'union', of: parts };
  }

  function operand(): PathExpression {
    let left = first();
    for (;;) {
      if (accept('.')) left = step(left);
      else if (accept('[')) {
        left = { kind: 'index', of: left, at: Number(name(/^[0-9]+$/)) };
        expect(']');
      } else if (accept('as')) left = { kind: 'cast', of: left, type: name() };
      else return left;
    }
  }

  function first(): PathExpression {
    if (accept('(')) {
      const inner = union();
      expect(')');
      return inner;
    }
    return accept('%resource') ? { kind: 'resource' } : { kind: 'start', name: name() };
  }

  function step(of: PathExpression): PathExpression {
    const word = name();
    if (!accept('(')) return { kind: 'child', of, name: word };
    let next: PathExpression;
    if (word === 'as' || word === 'ofType') next = { kind: 'cast', of, type: name() };
    else if (word === 'where') next = condition(of);
    else throw unsupported(expression);
    expect(')');
    return next;
  }

  function condition(of: PathExpression): PathExpression {
    const word = name();
    if (word === 'resolve') {
      for (const symbol of ['(', ')', 'is']) expect(symbol);
      return { kind: 'whereTarget', of, type: name() };
    }
    expect('=');
    return { kind: 'whereEquals', of, name: word, value: name(/^'.*'$/).slice(1, -1) };
  }

  function accept(symbol: string): boolean {
    if (tokens[at] !== symbol) return false;
    at++;
    return true;
  }

  function expect(symbol: string): void {
    if (!accept(symbol)) throw unsupported(expression);
  }

  function name(pattern = /^[A-Za-z]/): string {
    const word = tokens[at++];
    if (word === undefined || !pattern.test(word)) throw unsupported(expression);
    return word;
  }
}

function tokenize(expression: string): string[] {
  const tokens: string[] = [];
  token.lastIndex = 0;
  while (token.lastIndex < expression.length) {
    const match = token.exec(expression);
    if (match === null) throw unsupported(expression);
    tokens.push(match[1]!);
  }
  return tokens;
}

function unsupported(expression: string): Error {
  return new Error(`not a supported search expression: ${expression}`);
}
