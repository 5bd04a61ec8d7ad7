import { ucumUnit } from '../../resources/search-values/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { CriterionValue } from './criteria.ts';
import { parseDecimal } from './decimal.ts';
import { anyToken, atMost, ranks, unknown, type Bounds } from './token-expr.ts';

/*
 * `near` of Location (https://hl7.org/fhir/R4/location.html#search). A position is found by the cells of three grids in
 * which it lies, 10, 1 and a tenth of a degree wide; the distance itself is post-filtered.
 */

export type NearAsked = Extract<CriterionValue, { kind: 'near' }>;

interface Position {
  readonly latitude: number;
  readonly longitude: number;
}

/** Mean radius of the Earth (IUGG), in metres. */
const earthRadiusM = 6_371_008.8;
/** How far "near" is where the search does not say. */
const defaultDistanceM = 25_000;
const gridsDegrees = [0.1, 1, 10] as const;
const maxCells = 64;

const invalid = (why: string): InterlockError => new InterlockError('search-invalid', { detail: `Parameter near: ${why}` });

/**
 * Reads `latitude|longitude[|distance[|units]]`; units are UCUM codes of lengths, km if left out.
 * @throws InterlockError `search-invalid`
 */
export function parseNear(parts: readonly string[]): NearAsked {
  const [latitude, longitude, distance = '', units = ''] = parts;
  const at = [latitude, longitude].map((text) => (text !== undefined && parseDecimal(text) !== undefined ? Number(text) : NaN));
  if (parts.length > 4 || !(Math.abs(at[0]!) <= 90) || !(Math.abs(at[1]!) <= 180)) throw invalid('It takes latitude|longitude|distance|units, in degrees.');
  const unit = ucumUnit(units === '' ? 'km' : units);
  if (unit?.dimension !== ucumUnit('m')!.dimension) throw invalid('The unit is not a UCUM code of a length.');
  if (distance !== '' && !(parseDecimal(distance) !== undefined && Number(distance) >= 0)) throw invalid('The distance is a decimal that is not negative.');
  return { kind: 'near', latitude: at[0]!, longitude: at[1]!, distanceM: distance === '' ? defaultDistanceM : Number(distance) * Number(unit.factor) };
}

/** Great-circle distance (haversine), in metres. */
export function distanceM(a: Position, b: Position): number {
  const rad = Math.PI / 180;
  const [halfLat, halfLon] = [((b.latitude - a.latitude) * rad) / 2, ((b.longitude - a.longitude) * rad) / 2];
  const h = Math.sin(halfLat) ** 2 + Math.cos(a.latitude * rad) * Math.cos(b.latitude * rad) * Math.sin(halfLon) ** 2;
  return 2 * earthRadiusM * Math.asin(Math.min(1, Math.sqrt(h)));
}

/** The cells in which a position lies. */
export function cellsOf({ latitude, longitude }: Position): string[] {
  return gridsDegrees.map((width) => cell(width, Math.floor(latitude / width), column(Math.floor(longitude / width), width)));
}

/** Tokens of the finest grid of which few cells cover the circle; unknown where it is too large for any. */
export function nearBounds(scope: string, asked: NearAsked): Bounds {
  // A little more than the distance, so that rounding loses nothing.
  const angle = (asked.distanceM / earthRadiusM) * (1 + 1e-9) + 1e-9;
  const spanLat = (angle * 180) / Math.PI;
  const [south, north] = [asked.latitude - spanLat, asked.latitude + spanLat];
  // A circle around a pole has all longitudes; else its widest place is a little nearer to the pole than its centre.
  const polar = south <= -90 || north >= 90;
  const spanLon = polar ? 180 : (Math.asin(Math.min(1, Math.sin(angle) / Math.cos((asked.latitude * Math.PI) / 180))) * 180) / Math.PI + 1e-9;
  for (const width of gridsDegrees) {
    const [firstRow, lastRow] = [Math.floor(Math.max(south, -90) / width), Math.floor(Math.min(north, 90) / width)];
    const [firstColumn, lastColumn] = [Math.floor((asked.longitude - spanLon) / width), Math.floor((asked.longitude + spanLon) / width)];
    const columns = Math.min(lastColumn - firstColumn + 1, Math.ceil(360 / width) + 1);
    if ((lastRow - firstRow + 1) * columns > maxCells) continue;
    const cells = new Set<string>();
    for (let row = firstRow; row <= lastRow; row += 1) for (let at = 0; at < columns; at += 1) cells.add(cell(width, row, column(firstColumn + at, width)));
    return atMost(anyToken([...cells].map((name) => `${scope}\n${name}`), ranks.day));
  }
  return unknown;
}

/** Columns go round: 180° east is 180° west. */
function column(index: number, width: number): number {
  const count = Math.round(360 / width);
  return ((index % count) + count) % count;
}

function cell(width: number, row: number, at: number): string {
  return `g${width}\n${row}\n${at}`;
}
