/** An exact decimal: digits × 10^exponent. */
export interface Decimal {
  readonly digits: bigint;
  readonly exponent: number;
}

const pattern = /^(?<sign>[+-]?)(?<whole>\d{1,40})(?:\.(?<fraction>\d{1,40}))?(?:[eE](?<exponent>[+-]?\d{1,3}))?$/;

/** Reads a decimal; undefined if it is none, or has more than 40 digits before or after the point. */
export function parseDecimal(text: string): Decimal | undefined {
  const groups = pattern.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const { sign, whole, exponent = '0' } = groups;
  // R4's example gives 1e2 the range 95 to 105, as if it were 1.0e2.
  const fraction = groups['fraction'] ?? (groups['exponent'] === undefined ? '' : '0');
  return { digits: BigInt(`${sign === '-' ? '-' : ''}${whole!}${fraction}`), exponent: Number(exponent) - fraction.length };
}

/** Negative, zero or positive as a is less than, equal to or more than b. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  const exponent = Math.min(a.exponent, b.exponent);
  const difference = scaled(a, exponent) - scaled(b, exponent);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/**
 * The numbers that a search value stands for by its precision, [lo, hi): `100` means 99.5 to 100.5, `1e2` means 95 to 105
 * (https://hl7.org/fhir/R4/search.html#number).
 */
export function precisionRange({ digits, exponent }: Decimal): { readonly lo: Decimal; readonly hi: Decimal } {
  return { lo: { digits: digits * 10n - 5n, exponent: exponent - 1 }, hi: { digits: digits * 10n + 5n, exponent: exponent - 1 } };
}

/** The numbers within a tenth of a value, both ends included. */
export function approximateRange({ digits, exponent }: Decimal): { readonly lo: Decimal; readonly hi: Decimal } {
  const margin = magnitudeOf(digits);
  return { lo: { digits: digits * 10n - margin, exponent: exponent - 1 }, hi: { digits: digits * 10n + margin, exponent: exponent - 1 } };
}

export function addDecimals(a: Decimal, b: Decimal): Decimal {
  const exponent = Math.min(a.exponent, b.exponent);
  return { digits: scaled(a, exponent) + scaled(b, exponent), exponent };
}

export function multiplyDecimals(a: Decimal, b: Decimal): Decimal {
  return { digits: a.digits * b.digits, exponent: a.exponent + b.exponent };
}

/** Rounded to so many significant digits, halves away from zero. */
export function roundDecimal(value: Decimal, significant: number): Decimal {
  const surplus = magnitudeOf(value.digits).toString().length - significant;
  if (surplus <= 0) return value;
  const unit = 10n ** BigInt(surplus);
  const half = value.digits < 0n ? -unit / 2n : unit / 2n;
  return { digits: (value.digits + half) / unit, exponent: value.exponent + surplus };
}

export function magnitudeOf(digits: bigint): bigint {
  return digits < 0n ? -digits : digits;
}

function scaled({ digits, exponent }: Decimal, to: number): bigint {
  return digits * 10n ** BigInt(exponent - to);
}
