import { requiredCodings } from '../definitions/index.ts';
import { dateRange, type DateRange } from './date.ts';
import { referenceValue } from './reference.ts';
import type { SearchParamType, SearchValue } from './types.ts';
import type { Walk } from './walk.ts';

/** What conversion needs to know beyond the resource. */
export interface ValueContext {
  /** This server's FHIR base URL: absolute references under it are local. */
  readonly baseUrl?: string;
  /** IANA name of the time zone of dates that carry none. Default UTC. */
  readonly zone?: string;
}

/** Appends the search values of one element to `out`. Content of the wrong JSON type has no values. */
export type Convert = (node: unknown, out: SearchValue[], context: ValueContext) => void;

type Element = Readonly<Record<string, unknown>>;

/**
 * How elements of a FHIR type become values of a parameter type (https://hl7.org/fhir/R4/search.html#ptypes), all
 * combinations that R4's search parameters have. `none` where R4 gives no rule to compare them by.
 */
const converters: Readonly<Record<Exclude<SearchParamType, 'composite'>, Readonly<Record<string, (walk: Walk) => Convert>>>> = {
  token: {
    code: codeToken,
    boolean: () => (node, out) => void out.push({ kind: 'token', code: String(node) }),
    string: () => plainToken,
    id: () => plainToken,
    uri: () => plainToken,
    Coding: () => (node, out) => codingToken(node, out),
    CodeableConcept: () => conceptTokens,
    Identifier: () => identifierToken,
    ContactPoint: () => (node, out) => plainToken((node as Element)['value'], out),
    // Group.value and Patient.deceased name choices of which only some types are tokens.
    Quantity: none,
    Range: none,
    Reference: none,
  },
  string: {
    string: () => stringValue,
    markdown: () => stringValue,
    HumanName: () => partsOf(['text', 'family', 'given', 'prefix', 'suffix']),
    Address: () => partsOf(['text', 'line', 'city', 'district', 'state', 'postalCode', 'country']),
  },
  date: {
    date: () => dateValue,
    dateTime: () => dateValue,
    instant: () => dateValue,
    Period: () => (node, out, context) => pushRange(periodRange(node, context), out),
    Timing: () => (node, out, context) => pushRange(timingRange(node, context), out),
    Age: none,
    Range: none,
    string: none,
  },
  reference: {
    Reference: () => referenceValues,
    canonical: () => canonicalValues,
    uri: () => canonicalValues,
    Attachment: () => (node, out, context) => canonicalValues((node as Element)['url'], out, context),
    Resource: () => resourceValue,
  },
  quantity: {
    Quantity: () => quantityValue,
    Age: () => quantityValue,
    Duration: () => quantityValue,
    Money: () => moneyValue,
    Range: () => quantityRange,
    SampledData: () => sampledValue,
  },
  number: {
    decimal: () => numberValue,
    integer: () => numberValue,
    Range: () => percentRange,
  },
  uri: {
    uri: () => uriValue,
    url: () => uriValue,
    canonical: () => canonicalUriValue,
  },
  // Location.position, for `near`.
  special: { BackboneElement: () => positionValue },
};

/**
 * The conversion for what a walk reaches.
 * @throws Error for a combination that the table above does not name
 */
export function converterFor(paramType: SearchParamType, walk: Walk): Convert {
  const make = paramType === 'composite' ? undefined : converters[paramType][walk.type];
  if (make === undefined) throw new Error(`no search values of type ${paramType} from ${walk.type}`);
  return make(walk);
}

/** True if elements of what a walk reaches can be values of a parameter type. */
export function canConvert(paramType: SearchParamType, { type }: Walk): boolean {
  const make = paramType === 'composite' ? undefined : converters[paramType][type];
  return make !== undefined && make !== none;
}

function none(): Convert {
  return () => undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : value === undefined ? [] : [value];
}

/** Codes carry no system of their own: it is the one whose value set the element is bound to. */
function codeToken(walk: Walk): Convert {
  const codings = walk.valueSet === undefined ? undefined : requiredCodings(walk.valueSet);
  const systemOf = new Map([...(codings ?? [])].flatMap(([system, codes]) => [...codes].map((code) => [code, system] as const)));
  return (node, out) => {
    const code = text(node);
    if (code === undefined) return;
    const system = systemOf.get(code);
    out.push(system === undefined ? { kind: 'token', code } : { kind: 'token', system, code });
  };
}

function plainToken(node: unknown, out: SearchValue[]): void {
  const code = text(node);
  if (code !== undefined) out.push({ kind: 'token', code });
}

function codingToken(node: unknown, out: SearchValue[]): void {
  const { system, code, display } = node as Element;
  pushToken(text(system), text(code), text(display), out);
}

/** One token for each coding, and one that has only the text. */
function conceptTokens(node: unknown, out: SearchValue[]): void {
  const concept = node as Element;
  for (const coding of list(concept['coding'])) if (coding !== null) codingToken(coding, out);
  pushToken(undefined, undefined, text(concept['text']), out);
}

function identifierToken(node: unknown, out: SearchValue[]): void {
  const { system, value, type } = node as Element;
  const { text: typeText, coding } = (type ?? {}) as Element;
  pushToken(text(system), text(value), text(typeText), out);
  const last = out.at(-1);
  if (coding === undefined || last?.kind !== 'token' || text(value) === undefined) return;
  const types = list(coding).flatMap((one) => {
    const { system: typeSystem, code } = (one ?? {}) as Element;
    return typeof code === 'string' ? [{ ...(typeof typeSystem === 'string' && { system: typeSystem }), code }] : [];
  });
  if (types.length > 0) out[out.length - 1] = { ...last, types };
}

function pushToken(system: string | undefined, code: string | undefined, display: string | undefined, out: SearchValue[]): void {
  if (system === undefined && code === undefined && display === undefined) return;
  out.push({ kind: 'token', ...(system !== undefined && { system }), ...(code !== undefined && { code }), ...(display !== undefined && { text: display }) });
}

function stringValue(node: unknown, out: SearchValue[]): void {
  const value = text(node);
  if (value !== undefined) out.push({ kind: 'string', value });
}

function partsOf(names: readonly string[]): Convert {
  return (node, out) => {
    for (const name of names) {
      const part = (node as Element)[name];
      if (part === undefined) continue;
      if (Array.isArray(part)) for (const item of part) stringValue(item, out);
      else stringValue(part, out);
    }
  };
}

function dateValue(node: unknown, out: SearchValue[], context: ValueContext): void {
  pushRange(typeof node === 'string' ? dateRange(node, context.zone) : undefined, out);
}

function pushRange(range: DateRange | undefined, out: SearchValue[]): void {
  if (range !== undefined) out.push({ kind: 'date', lo: range.lo, hi: range.hi });
}

/** A missing end of a period is open; a period without either end has no value. */
function periodRange(node: unknown, context: ValueContext): DateRange | undefined {
  const { start, end } = (node ?? {}) as Element;
  const first = typeof start === 'string' ? dateRange(start, context.zone) : undefined;
  const last = typeof end === 'string' ? dateRange(end, context.zone) : undefined;
  if (first === undefined && last === undefined) return undefined;
  return { lo: first?.lo ?? -Infinity, hi: last?.hi ?? Infinity };
}

/** Only the outer limits of a schedule count: its events and bounds. */
function timingRange(node: unknown, context: ValueContext): DateRange | undefined {
  const { event, repeat } = node as Element;
  const ranges = list(event).map((it) => (typeof it === 'string' ? dateRange(it, context.zone) : undefined));
  const known = [...ranges, periodRange((repeat as Element | undefined)?.['boundsPeriod'], context)].filter((it) => it !== undefined);
  if (known.length === 0) return undefined;
  return { lo: Math.min(...known.map((it) => it.lo)), hi: Math.max(...known.map((it) => it.hi)) };
}

function referenceValues(node: unknown, out: SearchValue[], context: ValueContext): void {
  const { reference, identifier } = node as Element;
  const literal = text(reference);
  const value = literal === undefined ? undefined : referenceValue(literal, context.baseUrl);
  const { system, value: identifierText } = (identifier ?? {}) as Element;
  const [idSystem, idValue] = [text(system), text(identifierText)];
  const logical = idSystem === undefined && idValue === undefined ? undefined : { ...(idSystem !== undefined && { system: idSystem }), ...(idValue !== undefined && { value: idValue }) };
  if (value === undefined && logical === undefined) return;
  out.push({ ...(value ?? { kind: 'reference' }), ...(logical !== undefined && { identifier: logical }) });
}

/** A canonical with a version is found both with and without it; here and where it counts as a reference. */
function canonicalUriValue(node: unknown, out: SearchValue[]): void {
  uriValue(node, out);
  const bar = typeof node === 'string' ? node.indexOf('|') : -1;
  if (bar > 0) out.push({ kind: 'uri', value: (node as string).slice(0, bar) });
}

function canonicalValues(node: unknown, out: SearchValue[], context: ValueContext): void {
  const literal = text(node);
  const value = literal === undefined ? undefined : referenceValue(literal, context.baseUrl);
  if (value === undefined) return;
  out.push(value);
  const bar = value.url?.indexOf('|') ?? -1;
  if (bar > 0) out.push({ kind: 'reference', url: value.url!.slice(0, bar) });
}

/** A resource in place of a reference: the composition or message header that opens a Bundle. */
function resourceValue(node: unknown, out: SearchValue[]): void {
  const { resourceType, id } = node as Element;
  if (typeof resourceType === 'string' && typeof id === 'string') out.push({ kind: 'reference', type: resourceType, id });
}

function quantityValue(node: unknown, out: SearchValue[]): void {
  const { value, comparator } = node as Element;
  const comparison = text(comparator);
  if (typeof value === 'number') out.push({ kind: 'quantity', value: String(value), ...unitOf(node as Element), ...(comparison !== undefined && { comparator: comparison }) });
}

function unitOf(quantity: Element): { system?: string; code?: string; unit?: string } {
  const [system, code, unit] = [text(quantity['system']), text(quantity['code']), text(quantity['unit'])];
  return { ...(system !== undefined && { system }), ...(code !== undefined && { code }), ...(unit !== undefined && { unit }) };
}

/** A range with one end is a half line. */
function quantityRange(node: unknown, out: SearchValue[]): void {
  const { low = {}, high = {} } = node as { readonly low?: Element; readonly high?: Element };
  const [from, to] = [low['value'], high['value']];
  const unit = unitOf(typeof from === 'number' ? low : high);
  if (typeof from === 'number' && typeof to === 'number') out.push({ kind: 'quantity', value: String(from), high: String(to), ...unit });
  else if (typeof from === 'number') out.push({ kind: 'quantity', value: String(from), comparator: '>=', ...unit });
  else if (typeof to === 'number') out.push({ kind: 'quantity', value: String(to), comparator: '<=', ...unit });
}

const maxSampledLength = 5_000_000;

/**
 * From the lowest to the highest sample (https://hl7.org/fhir/R4/datatypes.html#SampledData): origin + sample × factor.
 * Samples below and above what the device can measure (`L`, `U`) are at its limits, failures (`E`) are none.
 */
function sampledValue(node: unknown, out: SearchValue[]): void {
  const { origin, factor = 1, data, lowerLimit, upperLimit } = node as { readonly origin?: Element; readonly [name: string]: unknown };
  const zero = origin?.['value'];
  if (typeof zero !== 'number' || typeof factor !== 'number' || typeof data !== 'string' || data.length > maxSampledLength) return;
  let [low, high] = [Infinity, -Infinity];
  for (const [sample] of data.matchAll(/\S+/g)) {
    const limit = sample === 'L' ? lowerLimit : sample === 'U' ? upperLimit : undefined;
    const value = typeof limit === 'number' ? limit : /^[+-]?\d/.test(sample) ? zero + Number(sample) * factor : NaN;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  // Twelve digits, so that what floating point adds does not count.
  if (low <= high) out.push({ kind: 'quantity', value: String(Number(low.toPrecision(12))), high: String(Number(high.toPrecision(12))), ...unitOf(origin!) });
}

/** The probability of a RiskAssessment as a range: of percentages, while the decimal is a share of 1. */
function percentRange(node: unknown, out: SearchValue[]): void {
  const ends = ['low', 'high'].map((name) => ((node as Element)[name] as Element | undefined)?.['value']);
  const [low = 0, high = 100] = ends;
  if (typeof low !== 'number' || typeof high !== 'number' || ends.every((end) => end === undefined)) return;
  out.push({ kind: 'number', value: share(low), high: share(high) });
}

function share(percentage: number): string {
  return String(Number((percentage / 100).toPrecision(15)));
}

function positionValue(node: unknown, out: SearchValue[]): void {
  const { latitude, longitude } = node as Element;
  if (typeof latitude === 'number' && typeof longitude === 'number' && Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180) out.push({ kind: 'position', latitude, longitude });
}

function moneyValue(node: unknown, out: SearchValue[]): void {
  const { value, currency } = node as Element;
  if (typeof value !== 'number') return;
  const code = text(currency);
  out.push({ kind: 'quantity', value: String(value), ...(code !== undefined && { system: 'urn:iso:std:iso:4217', code }) });
}

function numberValue(node: unknown, out: SearchValue[]): void {
  if (typeof node === 'number') out.push({ kind: 'number', value: String(node) });
}

function uriValue(node: unknown, out: SearchValue[]): void {
  const value = text(node);
  if (value !== undefined) out.push({ kind: 'uri', value });
}
