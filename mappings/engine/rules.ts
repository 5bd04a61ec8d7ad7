/** When a rule applies, read from the same source as the rule. All given parts must hold. */
export interface Condition {
  readonly valued?: string;
  readonly empty?: string;
  /** A position and the codes of which it must hold one. */
  readonly oneOf?: readonly [position: string, ...codes: string[]];
  /** A position and the codes of which it must hold none. */
  readonly noneOf?: readonly [position: string, ...codes: string[]];
}

/**
 * One line of a map: this field, converted so, becomes that element. The unit that an interface analyst reviews.
 * @typeParam As names of the conversions that the source's format offers
 * @typeParam Table names of its code tables
 */
export interface Rule<As extends string = string, Table extends string = string> {
  /** Position in the source, such as `PID-5`, `PID-5.1` or, within a data type, `XPN.2`. */
  readonly from: string;
  /** Element path: `gender`, `period.start`, `name[]` (one entry per repetition), `participant[].individual`. */
  readonly to: string;
  readonly as: As;
  readonly table?: Table;
  readonly when?: Condition;
  /** Members that the entry gets besides, unless the source gave them. */
  readonly with?: Readonly<Record<string, unknown>>;
  /** What a delete (`""`) of the source removes, if not `to` itself, such as `telecom[use=work]`. */
  readonly clears?: string;
  /** Why the line is as it is, where that is not plain. */
  readonly why?: string;
}

/** What a map reads: values at positions. */
export interface Value {
  readonly text: string;
  readonly isNull: boolean;
}

export interface Source<V extends Value> {
  /** Populated values at a position; reading counts as using. */
  read(position: string): readonly V[];
}

/** @returns whether the condition holds */
export function holds(condition: Condition | undefined, source: Source<Value>): boolean {
  if (condition === undefined) return true;
  const text = (position: string): string => source.read(position)[0]?.text ?? '';
  if (condition.valued !== undefined && text(condition.valued) === '') return false;
  if (condition.empty !== undefined && text(condition.empty) !== '') return false;
  const { oneOf, noneOf } = condition;
  if (oneOf !== undefined && !oneOf.slice(1).includes(text(oneOf[0]))) return false;
  return noneOf === undefined || !noneOf.slice(1).includes(text(noneOf[0]));
}
