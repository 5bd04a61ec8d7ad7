import { magnitudeOf, type Decimal } from './decimal.ts';
import { commonUnitOf, rangeAsked, spanOf, type NumberAsked, type NumberRange, type NumberValue } from './number-span.ts';
import { spreadLabel } from './token-policy.ts';
import { anyToken, ranks, unknown, type Bounds } from './token-expr.ts';

/*
 * A number is found by its sign and order of magnitude, and with these by its first two and its first three digits. A range of
 * numbers is then a short list: buckets of three digits up to the next two, of two up to the next power of ten, and powers of
 * ten. Only the buckets in which the range begins and ends need the post-filter. A quantity has such tokens for its number as
 * written (two digits, whatever the unit), and for its value in the unit that all of its dimension are compared in.
 */

/** Exponents of ten that have buckets; what is smaller or larger is in one bucket each. */
const firstExponent = -18;
const endExponent = 28;
/** The powers of ten, which are few, are spread over so many tokens. */
export const powerSpread = 2;

type Finest = 2 | 3;

/** Buckets of a range of numbers. */
interface Cover {
  /** Those that lie wholly within. */
  readonly inner: Set<string>;
  /** Those that lie partly within. */
  readonly edge: Set<string>;
}

/** Buckets of one number, coarsest first: its power of ten, then with its digits. */
function bucketsOf(value: Decimal, finest: Finest): readonly string[] {
  const sign = value.digits < 0n ? '-' : '+';
  const place = placeOf(value, finest);
  if (typeof place === 'string') return [place === '0' ? '0' : `${sign}${place}`];
  const perPower = 9 * 10 ** (finest - 1);
  const power = Math.floor(place.index / perPower);
  const digits = String((place.index % perPower) + 10 ** (finest - 1));
  const buckets = [`${sign}${power + firstExponent}`, `${sign}${power + firstExponent}/${digits.slice(0, 2)}`];
  return finest === 2 ? buckets : [...buckets, `${sign}${power + firstExponent}/${digits}`];
}

/** Which of the finest buckets a magnitude is in, counted from the smallest; or that it is zero, or outside of them. */
function placeOf({ digits, exponent }: Decimal, finest: Finest): { readonly index: number; readonly exact: boolean } | '0' | 'tiny' | 'huge' {
  const text = magnitudeOf(digits).toString();
  if (text === '0') return '0';
  const power = text.length - 1 + exponent;
  if (power < firstExponent) return 'tiny';
  if (power >= endExponent) return 'huge';
  const leading = Number(text.slice(0, finest).padEnd(finest, '0'));
  return { index: (power - firstExponent) * 9 * 10 ** (finest - 1) + leading - 10 ** (finest - 1), exact: /^0*$/.test(text.slice(finest)) };
}

/** One end of a range; undefined: open. */
interface End {
  readonly at: Decimal;
  readonly included: boolean;
}

/** Adds the buckets of the numbers between two ends. */
function cover(from: End | undefined, to: End | undefined, finest: Finest, out: Cover): void {
  const signOf = (end: End | undefined, open: number): number => (end === undefined ? open : end.at.digits < 0n ? -1 : end.at.digits > 0n ? 1 : 0);
  const [start, stop] = [signOf(from, -1), signOf(to, 1)];
  const flipped = (end: End | undefined): End | undefined => end && { at: { digits: -end.at.digits, exponent: end.at.exponent }, included: end.included };
  if (start < 0) coverMagnitudes('-', stop < 0 ? flipped(to) : undefined, flipped(from), finest, out);
  if ((start < 0 || (start === 0 && from!.included)) && (stop > 0 || (stop === 0 && to!.included))) out.inner.add('0');
  if (stop > 0) coverMagnitudes('+', start > 0 ? from : undefined, to, finest, out);
}

/** @param from undefined: from zero on, which is not among them */
function coverMagnitudes(sign: '+' | '-', from: End | undefined, to: End | undefined, finest: Finest, out: Cover): void {
  const perPower = 9 * 10 ** (finest - 1);
  const last = (endExponent - firstExponent) * perPower;
  let start = 0;
  let end = last;
  const low = from === undefined ? '0' : placeOf(from.at, finest);
  const high = to === undefined ? undefined : placeOf(to.at, finest);
  if (low === '0') (high === 'tiny' ? out.edge : out.inner).add(`${sign}tiny`);
  else if (low === 'tiny') out.edge.add(`${sign}tiny`);
  else if (low === 'huge') start = last;
  else start = low.exact && from!.included ? low.index : low.index + 1;
  if (high === undefined) (low === 'huge' ? out.edge : out.inner).add(`${sign}huge`);
  else if (high === 'huge') out.edge.add(`${sign}huge`);
  else if (high === 'tiny' || high === '0') end = 0;
  else end = high.index;
  if (typeof low === 'object' && start > low.index) edge(low.index);
  if (typeof high === 'object' && !(high.exact && !to!.included)) edge(high.index);
  for (let at = start; at < end;) {
    const size = [perPower, 10 ** (finest - 2), 1].find((width) => at % width === 0 && at + width <= end)!;
    const power = Math.floor(at / perPower) + firstExponent;
    const digits = String((at % perPower) + 10 ** (finest - 1));
    out.inner.add(size === perPower ? `${sign}${power}` : `${sign}${power}/${size === 1 ? digits : digits.slice(0, 2)}`);
    at += size;
  }

  function edge(index: number): void {
    out.edge.add(`${sign}${Math.floor(index / perPower) + firstExponent}/${(index % perPower) + 10 ** (finest - 1)}`);
  }
}

/**
 * Tokens of a resource's values of one number or quantity parameter.
 * @param emit told whether a token is of a whole power of ten
 */
export function indexNumbers(scope: string, values: readonly NumberValue[], emit: (label: string, coarse?: boolean) => void): void {
  const each = (name: string, at: Decimal, finest: Finest): void => {
    for (const bucket of bucketsOf(at, finest)) emit(`${scope}\n${name}\n${bucket}`, isPower(bucket));
  };
  for (const value of values) {
    const written = spanOf(value);
    if (written === undefined) continue;
    // Ranges are few: all their conditions are left to the post-filter.
    if (written.lo === undefined || written.lo !== written.hi) {
      emit(`${scope}\nwide`);
      continue;
    }
    each('v', written.lo, value.kind === 'number' ? 3 : 2);
    const unit = value.kind === 'quantity' ? commonUnitOf(value) : undefined;
    if (unit !== undefined) each(`u\n${unit.dimension}`, spanOf(value, unit)!.lo!, 3);
  }
}

/**
 * What tokens say of one number or quantity condition.
 * @param spread over how many tokens the powers of ten are spread
 */
export function numberBounds(scope: string, asked: NumberAsked, spread: number): Bounds {
  const unit = asked.kind === 'quantity' && asked.unit !== undefined ? commonUnitOf({ ...(asked.system !== undefined && { system: asked.system }), code: asked.unit }) : undefined;
  const range = rangeAsked(asked, unit);
  if (range === undefined) return unknown;
  const finest = asked.kind === 'number' || unit !== undefined ? 3 : 2;
  const covered: Cover = { inner: new Set(), edge: new Set() };
  for (const [from, to] of endsOf(asked, range)) cover(from, to, finest, covered);
  const labels = (names: Iterable<string>): string[] => [...names].flatMap((name) => {
    const label = `${scope}\n${unit === undefined ? 'v' : `u\n${unit.dimension}`}\n${name}`;
    return isPower(name) && spread > 1 ? Array.from({ length: spread }, (_, part) => spreadLabel(label, part)) : [label];
  });
  // What lies partly within one alternative may lie wholly within the other.
  const inner = labels(covered.inner);
  const rank = inner.length <= 25 ? ranks.day : ranks.span;
  // A unit as written is left to the post-filter.
  const asWritten = asked.kind === 'quantity' && unit === undefined && (asked.unit !== undefined || asked.system !== undefined);
  return { upper: anyToken([...new Set([...labels(covered.edge), ...inner, `${scope}\nwide`])], rank), lower: asWritten ? anyToken([], rank) : anyToken(inner, rank) };
}

function endsOf({ prefix }: NumberAsked, { lo, hi }: NumberRange): readonly (readonly [End | undefined, End | undefined])[] {
  const [at, beside] = [{ at: lo, included: true }, { at: lo, included: false }];
  switch (prefix) {
    case 'eq': return [[at, { at: hi, included: false }]];
    case 'ne': return [[undefined, beside], [{ at: hi, included: true }, undefined]];
    case 'gt': case 'sa': return [[beside, undefined]];
    case 'ge': return [[at, undefined]];
    case 'lt': case 'eb': return [[undefined, beside]];
    case 'le': return [[undefined, at]];
    case 'ap': return [[at, { at: hi, included: true }]];
  }
}

/** True for a bucket that has no digits. */
function isPower(bucket: string): boolean {
  return !bucket.includes('/');
}
