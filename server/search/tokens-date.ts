import type { CriterionValue } from './criteria.ts';
import { and, andBounds, anyToken, exactly, not, notBounds, orBounds, ranks, type Bounds } from './token-expr.ts';

/*
 * A date value [lo, hi) is found by tokens of its end points, lo and last = hi - 1 ms: each has one token for its decade,
 * year, month and day (UTC). A half line of time is then a short list: later days of the month, later months of the year,
 * and so on. Only a day that the searched time splits needs the post-filter.
 */

const dayMs = 86_400_000;
const firstYear = 1850;
const endYear = 2150;
const firstDay = Date.UTC(firstYear, 0, 1) / dayMs;
const endDay = Date.UTC(endYear, 0, 1) / dayMs;

/** A span of time as buckets. */
interface Cover {
  /** Buckets that lie wholly within the time asked for. */
  readonly inner: readonly string[];
  /** Buckets that lie partly within. */
  readonly edge: readonly string[];
}

/** The buckets of one end point, coarsest first. */
export function bucketsOf(ms: number): readonly string[] {
  if (ms === -Infinity) return ['-inf'];
  if (ms === Infinity) return ['+inf'];
  const day = Math.floor(ms / dayMs);
  if (day < firstDay) return ['early'];
  if (day >= endDay) return ['late'];
  let buckets = recent.get(day);
  if (buckets === undefined) {
    const iso = new Date(day * dayMs).toISOString();
    buckets = [iso.slice(0, 3), iso.slice(0, 4), iso.slice(0, 7), iso.slice(0, 10)];
    if (recent.size >= maxRecent) recent.clear();
    recent.set(day, buckets);
  }
  return buckets;
}

const recent = new Map<number, readonly string[]>();
const maxRecent = 10_000;

/** The coarsest buckets that make up [fromMs, untilMs). */
export function cover(fromMs: number, untilMs: number): Cover {
  const inner: string[] = [];
  const edge: string[] = [];
  if (!(fromMs < untilMs)) return { inner, edge };
  // The open ends, and what is before and after the days that have buckets.
  const [startMs, endMs] = [firstDay * dayMs, endDay * dayMs];
  if (fromMs === -Infinity) inner.push('-inf');
  if (fromMs < startMs) (fromMs === -Infinity && untilMs >= startMs ? inner : edge).push('early');
  if (untilMs > endMs) (untilMs === Infinity && fromMs <= endMs ? inner : edge).push('late');
  if (untilMs === Infinity) inner.push('+inf');
  const from = Math.max(fromMs / dayMs, firstDay);
  const until = Math.min(untilMs / dayMs, endDay);
  let day = Math.ceil(from);
  const end = Math.floor(until);
  for (const split of new Set([Math.floor(from), Math.floor(until)])) {
    const partly = split < until && split + 1 > from && (split < from || split + 1 > until);
    if (partly) edge.push(dayName(split));
  }
  while (day < end) {
    const date = new Date(day * dayMs);
    const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
    const whole = [
      year % 10 === 0 && month === 0 && date.getUTCDate() === 1 ? Date.UTC(year + 10, 0, 1) : NaN,
      month === 0 && date.getUTCDate() === 1 ? Date.UTC(year + 1, 0, 1) : NaN,
      date.getUTCDate() === 1 ? Date.UTC(year, month + 1, 1) : NaN,
      (day + 1) * dayMs,
    ];
    const size = whole.findIndex((next) => next / dayMs <= end);
    inner.push(date.toISOString().slice(0, [3, 4, 7, 10][size]));
    day = whole[size]! / dayMs;
  }
  return { inner, edge };
}

function dayName(day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10);
}

/** Tokens of a resource's values of one date parameter. */
export function indexDates(scope: string, values: readonly { readonly lo: number; readonly hi: number }[], emit: (label: string) => void): void {
  for (const { lo, hi } of values) {
    for (const bucket of bucketsOf(lo)) emit(`${scope}\nlo\n${bucket}`);
    for (const bucket of bucketsOf(hi - 1)) emit(`${scope}\nlast\n${bucket}`);
  }
  // With several values, tokens of one may answer for another.
  if (values.length > 1) emit(`${scope}\nmany`);
}

/** What tokens say of one date condition (https://hl7.org/fhir/R4/search.html#prefix). */
export function dateBounds(scope: string, { prefix, lo: a, hi: b }: Extract<CriterionValue, { kind: 'date' }>): Bounds {
  const end = (point: 'lo' | 'last', fromMs: number, untilMs: number): Bounds => {
    const { inner, edge } = cover(fromMs, untilMs);
    const rank = inner.length + edge.length <= 2 && untilMs - fromMs <= 31 * dayMs ? ranks.day : ranks.span;
    const labels = (names: readonly string[]) => names.map((name) => `${scope}\n${point}\n${name}`);
    const lower = anyToken(labels(inner), rank);
    return edge.length === 0 ? exactly(lower) : { upper: anyToken(labels([...edge, ...inner]), rank), lower };
  };
  const many = anyToken([`${scope}\nmany`], ranks.presence);
  /** Conditions on both ends, which must hold for one and the same value. */
  const both = (of: readonly Bounds[]): Bounds => {
    const bounds = andBounds(of);
    return { upper: bounds.upper, lower: and([bounds.lower, not(many)]) };
  };
  const within = (): Bounds => both([end('lo', a, b), end('last', a, b)]);
  switch (prefix) {
    case 'eq': return within();
    case 'gt': return end('last', b, Infinity);
    case 'lt': return end('lo', -Infinity, a);
    case 'ge': return orBounds([end('last', b, Infinity), within()]);
    case 'le': return orBounds([end('lo', -Infinity, a), within()]);
    case 'sa': return end('lo', b, Infinity);
    case 'eb': return end('last', -Infinity, a);
    case 'ap': return orBounds([end('lo', a, b), both([end('lo', -Infinity, a), end('last', a, Infinity)])]);
    case 'ne': {
      const present = end('lo', -Infinity, Infinity).upper;
      const outside = notBounds(within());
      return { upper: and([present, outside.upper]), lower: and([present, outside.lower]) };
    }
  }
}
