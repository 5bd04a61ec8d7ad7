import type { TypePlan } from '../search/plan.ts';
import type { TokenExpr } from '../search/token-expr.ts';
import { firstOrderAt } from './clock.ts';
import type { DocumentCodec } from './document.ts';
import type { TokenHasher } from './token-hash.ts';

type TokenList = Extract<TokenExpr, { op: 'in' }>;

/** Turns token expressions into MongoDB filters over `resources`. */
export class FilterWriter {
  readonly #codec: DocumentCodec;
  readonly #hasher: TokenHasher;

  constructor(codec: DocumentCodec, hasher: TokenHasher) {
    this.#codec = codec;
    this.#hasher = hasher;
  }

  /**
   * Documents of some types that meet an expression each; undefined if none can.
   * @param pick which of a plan's expressions is meant
   */
  filterOf(plans: readonly TypePlan[], pick: (plan: TypePlan) => TokenExpr): object | undefined {
    const parts = plans.map((plan) => ({ type: plan.type, expr: pick(plan) })).filter(({ expr }) => expr.op !== 'false');
    if (parts.length === 0) return undefined;
    const labels = parts.flatMap(({ expr }) => (expr.op === 'in' ? expr.labels : []));
    // Tokens name their type, so that lists of several types are one list.
    if (parts.every(({ expr }) => expr.op === 'in')) return this.#has(labels);
    const filters = parts.map(({ type, expr }) => this.#ofType(type, expr));
    return filters.length === 1 ? filters[0] : { $or: filters };
  }

  /** The same as lists of which a document must have a token each, the most selective first; undefined if more is asked. */
  tokenListsOf(plans: readonly TypePlan[], pick: (plan: TypePlan) => TokenExpr): readonly (readonly Buffer[])[] | undefined {
    const exprs = plans.map(pick).filter(({ op }) => op !== 'false');
    if (exprs.every((expr) => expr.op === 'in')) return [this.#tokens(exprs.flatMap(({ labels }) => labels))];
    const [only] = exprs;
    if (exprs.length > 1 || only?.op !== 'and') return undefined;
    const leader = leaderOf(only.of);
    const rest = only.of.filter((part) => part !== leader);
    if (leader === undefined || !rest.every((part) => part.op === 'in')) return undefined;
    return [leader, ...rest].map(({ labels }) => this.#tokens(labels));
  }

  #ofType(type: string, expr: TokenExpr): object {
    const filter = this.#write(expr, type, true);
    if (hasTokens(expr)) return filter;
    // Nothing that only living documents of this type have.
    const scope = { t: this.#codec.typeCode(type), del: false };
    return expr.op === 'true' ? scope : { $and: [scope, filter] };
  }

  /** @param leads false where another condition is to lead: then this one is written so that no index is tried for it */
  #write(expr: TokenExpr, type: string, leads: boolean): object {
    switch (expr.op) {
      case 'in': return leads ? this.#has(expr.labels) : { $nor: [{ x: { $nin: this.#tokens(expr.labels) } }] };
      case 'id': return { _id: { $in: expr.ids.map((id) => this.#codec.docId(type, id)) } };
      case 'recorded': return { o: { $gte: firstOrderAt(expr.fromMs), ...(expr.untilMs === Infinity ? {} : { $lt: firstOrderAt(expr.untilMs) }) } };
      case 'and': {
        const leader = leads ? leaderOf(expr.of) : undefined;
        return { $and: expr.of.map((part) => this.#write(part, type, leads && (part.op !== 'in' || part === leader))) };
      }
      case 'or': return { $or: expr.of.map((part) => this.#write(part, type, leads)) };
      case 'not': return expr.of.op === 'in' ? { x: { $nin: this.#tokens(expr.of.labels) } } : { $nor: [this.#write(expr.of, type, false)] };
      case 'true': return {};
      case 'false': return { _id: { $in: [] } };
    }
  }

  #has(labels: readonly string[]): object {
    const tokens = this.#tokens(labels);
    return { x: tokens.length === 1 ? tokens[0] : { $in: tokens } };
  }

  #tokens(labels: readonly string[]): Buffer[] {
    return labels.map((label) => this.#hasher.hash(label).token);
  }
}

/** Of conditions that must all hold, the token list whose index is walked: one only, so that MongoDB has nothing to weigh; none beside ids. */
function leaderOf(parts: readonly TokenExpr[]): TokenList | undefined {
  let leader: TokenList | undefined;
  for (const part of parts) {
    if (part.op === 'id') return undefined;
    if (part.op === 'in' && (leader === undefined || part.rank < leader.rank || (part.rank === leader.rank && valueLength(part) > valueLength(leader)))) leader = part;
  }
  return leader;
}

/** Length of what a token list asks for: of values of one kind, longer ones are rarer. */
function valueLength({ labels }: TokenList): number {
  return Math.min(...labels.map((label) => label.length - label.indexOf('\n', label.indexOf('\n') + 1)));
}

/** True if whatever meets the expression has some token, and so is a living document of the type that the tokens name. */
function hasTokens(expr: TokenExpr): boolean {
  switch (expr.op) {
    case 'in': return true;
    case 'and': return expr.of.some(hasTokens);
    case 'or': return expr.of.every(hasTokens);
    default: return false;
  }
}
