import { createRequire } from 'node:module';

/** Code system of UCUM units (https://ucum.org/ucum). */
export const ucumSystem = 'http://unitsofmeasure.org';

/** How values in a unit become values that can be compared with those in any commensurable unit: value × factor + offset. */
export interface UcumUnit {
  /** The same for all commensurable units: exponents of the base units, and of the arbitrary units, which nothing else converts to. */
  readonly dimension: string;
  /** Decimals. */
  readonly factor: string;
  readonly offset: string;
}

/** The part of the library that is used; its own types are none. */
interface Library {
  readonly UcumLhcUtils: { getInstance(): { readonly uStrParser_: Parser } };
  readonly UnitTables: { getInstance(): { getUnitByCode(code: string): LibraryUnit | undefined } };
}

interface Parser {
  parseString(code: string, use: 'validate', suggest: false): readonly [unit: LibraryUnit | null, readAs: string | null];
}

interface LibraryUnit {
  readonly magnitude_: number | null;
  readonly dim_: { readonly dimVec_: readonly number[] | null } | null;
  readonly isSpecial_: boolean;
  readonly isArbitrary_: boolean;
  readonly cnv_: string | null;
}

/** Degrees are no multiples of the kelvin. They are compared in degrees Celsius, so that the first digits of body temperatures differ. */
const degrees: Readonly<Record<string, Pick<UcumUnit, 'factor' | 'offset'>>> = {
  'Cel': { factor: '1', offset: '0' },
  'K': { factor: '1', offset: '-273.15' },
  '[degF]': { factor: '0.55555555555555555556', offset: '-17.777777777777777778' },
};

const maxCodeLength = 100;
const maxKnown = 5_000;
const known = new Map<string, UcumUnit | undefined>();
let find: ((code: string) => LibraryUnit | undefined) | undefined;

/**
 * What a UCUM code stands for; undefined if it is none, or a logarithmic unit such as `[pH]`, whose values compare as written.
 * Looked up once for each code.
 */
export function ucumUnit(code: string): UcumUnit | undefined {
  if (known.has(code)) return known.get(code);
  const unit = code.length > maxCodeLength ? undefined : lookUp(code);
  if (known.size >= maxKnown) known.clear();
  known.set(code, unit);
  return unit;
}

function lookUp(code: string): UcumUnit | undefined {
  const degree = Object.hasOwn(degrees, code) ? degrees[code] : undefined;
  if (degree !== undefined) return { dimension: 'temperature', ...degree };
  // UCUM codes are of ASCII without blanks.
  if (!/^[\x21-\x7e]+$/.test(code)) return undefined;
  const unit = (find ??= loadLibrary())(code);
  if (unit === undefined) return undefined;
  const { magnitude_: magnitude, dim_: exponents, isSpecial_: special, isArbitrary_: arbitrary, cnv_: conversion } = unit;
  if (special || conversion !== null || magnitude === null || !(magnitude > 0) || !Number.isFinite(magnitude) || exponents?.dimVec_ == null) return undefined;
  const dimension = exponents.dimVec_.join(' ');
  const own = arbitrary ? (code.match(/\[[^\]]+\]/g) ?? [code]).sort().join(' ') : '';
  // The library's factors carry the noise of floating point in their last digits.
  return { dimension: `${dimension} ${own}`.trim(), factor: String(Number(magnitude.toPrecision(14))), offset: '0' };
}

/**
 * Loaded with the first unit: reading the tables takes a while. The library's own entrance to its parser would print what
 * it cannot read.
 */
function loadLibrary(): (code: string) => LibraryUnit | undefined {
  const { UcumLhcUtils, UnitTables } = createRequire(import.meta.url)('@lhncbc/ucum-lhc') as Library;
  const parser = UcumLhcUtils.getInstance().uStrParser_;
  return (code) => {
    const known = UnitTables.getInstance().getUnitByCode(code);
    if (known !== undefined && known !== null) return known;
    try {
      const [unit, readAs] = parser.parseString(code, 'validate', false);
      // Where it was read as another code, it is not one of UCUM.
      return unit === null || readAs !== code ? undefined : unit;
    } catch {
      return undefined;
    }
  };
}
