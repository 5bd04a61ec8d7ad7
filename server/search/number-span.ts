import { ucumSystem, ucumUnit, type SearchValue, type UcumUnit } from '../../resources/search-values/index.ts';
import type { CriterionValue, SearchPrefix } from './criteria.ts';
import { addDecimals, approximateRange, compareDecimals, multiplyDecimals, parseDecimal, precisionRange, roundDecimal, type Decimal } from './decimal.ts';

export type NumberValue = Extract<SearchValue, { kind: 'number' | 'quantity' }>;
export type NumberAsked = Extract<CriterionValue, { kind: 'number' | 'quantity' }>;

/** The numbers that a value of a resource stands for; a missing end is open. */
export interface NumberSpan {
  readonly lo?: Decimal;
  readonly hi?: Decimal;
  /** The ends themselves are not among them. */
  readonly open: boolean;
}

/** What a search compares with: the range of its value's precision for `eq` and `ne`, what is near for `ap`, else the value itself twice. */
export interface NumberRange {
  readonly lo: Decimal;
  readonly hi: Decimal;
}

/** Digits to which converted values are compared: beyond, floating point conversion factors differ. */
const convertedDigits = 13;

/** The unit in which a quantity is compared with others of its dimension; undefined if it compares as written. */
export function commonUnitOf({ system, code }: { readonly system?: string; readonly code?: string }): UcumUnit | undefined {
  return system === ucumSystem && code !== undefined ? ucumUnit(code) : undefined;
}

function converted(value: Decimal, { factor, offset }: UcumUnit): Decimal {
  return roundDecimal(addDecimals(multiplyDecimals(value, parseDecimal(factor)!), parseDecimal(offset)!), convertedDigits);
}

/**
 * The span of a resource's value: a point, a Range's or SampledData's ends, or a half line where a comparator says so
 * (https://hl7.org/fhir/R4/datatypes.html#Quantity). Undefined if it cannot be compared.
 * @param unit converts the ends
 */
export function spanOf(value: NumberValue, unit?: UcumUnit): NumberSpan | undefined {
  const end = (text: string): Decimal | undefined => {
    const decimal = parseDecimal(text);
    return decimal === undefined || unit === undefined ? decimal : converted(decimal, unit);
  };
  const lo = end(value.value);
  const hi = value.high === undefined ? lo : end(value.high);
  if (lo === undefined || hi === undefined) return undefined;
  switch (value.kind === 'quantity' ? value.comparator : undefined) {
    case '<': return { hi, open: true };
    case '<=': return { hi, open: false };
    case '>': return { lo, open: true };
    case '>=': return { lo, open: false };
    default: return { lo, hi, open: false };
  }
}

/** What a search value compares with; its ends converted if a unit is given. Undefined if it is no number. */
export function rangeAsked({ prefix, value }: NumberAsked, unit?: UcumUnit): NumberRange | undefined {
  const decimal = parseDecimal(value);
  if (decimal === undefined) return undefined;
  const range = prefix === 'eq' || prefix === 'ne' ? precisionRange(decimal) : prefix === 'ap' ? approximateRange(decimal) : { lo: decimal, hi: decimal };
  return unit === undefined ? range : { lo: converted(range.lo, unit), hi: converted(range.hi, unit) };
}

/** True if a value of a resource meets a number or quantity condition (https://hl7.org/fhir/R4/search.html#number, #quantity). */
export function numberMeets(value: NumberValue, asked: NumberAsked): boolean {
  let unit: UcumUnit | undefined;
  if (asked.kind === 'quantity') {
    if (value.kind !== 'quantity') return false;
    unit = asked.unit === undefined ? undefined : commonUnitOf({ ...(asked.system !== undefined && { system: asked.system }), code: asked.unit });
    if (unit === undefined ? !sameUnit(value, asked) : commonUnitOf(value)?.dimension !== unit.dimension) return false;
  }
  const have = spanOf(value, unit === undefined ? undefined : commonUnitOf(value as Extract<NumberValue, { kind: 'quantity' }>));
  const want = rangeAsked(asked, unit);
  return have !== undefined && want !== undefined && spanMeets(have, asked.prefix, want);
}

/** Units as written. */
function sameUnit(value: Extract<NumberValue, { kind: 'quantity' }>, asked: { readonly system?: string; readonly unit?: string }): boolean {
  if (asked.system !== undefined && asked.system !== value.system) return false;
  return asked.unit === undefined || asked.unit === value.code || (asked.system === undefined && asked.unit === value.unit);
}

/** https://hl7.org/fhir/R4/search.html#prefix */
function spanMeets({ lo, hi, open }: NumberSpan, prefix: SearchPrefix, asked: NumberRange): boolean {
  /** Has numbers above, or also at, a bound. */
  const reaches = (bound: Decimal, itself: boolean): boolean => hi === undefined || beyond(compareDecimals(hi, bound), itself && !open);
  const startsBefore = (bound: Decimal, itself: boolean): boolean => lo === undefined || beyond(compareDecimals(bound, lo), itself && !open);
  const within = (): boolean => lo !== undefined && hi !== undefined && compareDecimals(lo, asked.lo) >= 0 && compareDecimals(hi, asked.hi) < 0;
  switch (prefix) {
    case 'eq': return within();
    case 'ne': return !within();
    case 'gt': return reaches(asked.lo, false);
    case 'ge': return reaches(asked.lo, true);
    case 'lt': return startsBefore(asked.lo, false);
    case 'le': return startsBefore(asked.lo, true);
    case 'sa': return !startsBefore(asked.lo, true);
    case 'eb': return !reaches(asked.lo, true);
    case 'ap': return startsBefore(asked.hi, true) && reaches(asked.lo, true);
  }
}

function beyond(comparison: number, orEqual: boolean): boolean {
  return comparison > 0 || (orEqual && comparison === 0);
}
