import { isResourceType } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import { dateRange, normalizeString, parseReference, readsType, referenceValue, type SearchParam, type SearchParamType } from '../../resources/search-values/index.ts';
import type { AskedCriterion, CriterionValue, SearchModifier, SearchPrefix } from './criteria.ts';
import { parseDecimal } from './decimal.ts';
import { hierarchyOf } from './hierarchy.ts';
import { isUrl } from './match.ts';
import { parseNear } from './near.ts';

/** What parsing a value may depend on. */
export interface ValueOptions {
  /** This server's FHIR base URL: absolute references under it are local. */
  readonly baseUrl?: string;
  /** The present, for `ap`. */
  readonly nowMs: number;
  /** IANA name of the time zone of dates that carry none. Default UTC. */
  readonly zone?: string;
  /** Finds the parameters that a composite consists of. */
  readonly param: (code: string) => SearchParam | undefined;
}

type Parse = (raw: string, param: SearchParam, options: ValueOptions) => CriterionValue;
type Modify = (parts: readonly string[], param: SearchParam, options: ValueOptions) => AskedCriterion;

interface Kind {
  /** Values without a modifier. */
  readonly parse: Parse;
  /** What the modifiers of the type make of the values. */
  readonly modifiers?: Readonly<Record<string, Modify>>;
  /** Modifiers that only some parameters of the type have. */
  readonly onlyFor?: Readonly<Record<string, (param: SearchParam) => boolean>>;
}

/** One row for each search parameter type: https://hl7.org/fhir/R4/search.html#ptypes and #modifiers. */
const kinds: Readonly<Partial<Record<SearchParamType, Kind>>> = {
  token: {
    parse: parseToken,
    modifiers: {
      'not': (parts, param, options) => ({ op: 'not', of: plainly(parseToken)(parts, param, options) }),
      'text': compared('text', parseString),
      'of-type': plainly(parseTypedIdentifier),
      'in': inValueSet,
      'not-in': (parts, param) => ({ op: 'not', of: inValueSet(parts, param) }),
      'above': subsumed('above'),
      'below': subsumed('below'),
    },
    onlyFor: { 'of-type': (param) => readsType(param, 'Identifier') },
  },
  string: { parse: parseString, modifiers: { exact: compared('exact', parseString), contains: compared('contains', parseString) } },
  reference: {
    parse: parseReferenceValue,
    modifiers: { identifier: compared('identifier', parseToken), above: inHierarchy('above'), below: inHierarchy('below') },
    onlyFor: { above: isHierarchical, below: isHierarchical },
  },
  date: { parse: parseDate },
  uri: { parse: parseUri, modifiers: { above: uriAbove, below: compared('below', parseUri) } },
  number: { parse: parseNumber },
  quantity: { parse: parseQuantity },
  composite: { parse: parseComposite },
  // The one special parameter that has values: Location's near.
  special: { parse: (raw) => parseNear(splitEscaped(raw, '|').map(unescapeValue)) },
};

/** True for a parameter that can be searched by; any other is treated as unknown. */
export function isSearchable(param: SearchParam): boolean {
  return kinds[param.type] !== undefined && param.posted?.pending !== true;
}

/** The modifiers that a parameter takes, as they are written; `[Type]` stands for the names of the types that it may refer to. */
export function modifiersOf(param: SearchParam): readonly string[] {
  if (param.code === '_id') return ['missing', 'not'];
  if (param.code === '_lastUpdated') return ['missing'];
  const { modifiers = {}, onlyFor = {} } = kinds[param.type] ?? {};
  const own = Object.keys(modifiers).filter((name) => onlyFor[name]?.(param) ?? true);
  return ['missing', ...own, ...(param.type === 'reference' ? ['[Type]'] : [])];
}

/**
 * Parses the value of one search parameter: OR over its comma-separated parts.
 * @param modifier what followed the colon of the name
 * @throws InterlockError `search-invalid` for a bad value or a modifier that the parameter does not have, `search-unsupported`
 */
export function parseCriterion(param: SearchParam, modifier: string | undefined, parts: readonly string[], options: ValueOptions): AskedCriterion {
  const kind = kinds[param.type];
  if (kind === undefined) throw unsupported(param.code);
  if (modifier === undefined) return plainly(kind.parse)(parts, param, options);
  if (modifier === 'missing') {
    const present: AskedCriterion = { op: 'present', param };
    return parseMissing(param, parts) ? { op: 'not', of: present } : present;
  }
  if (Object.hasOwn(kind.modifiers ?? {}, modifier) && (kind.onlyFor?.[modifier]?.(param) ?? true)) return kind.modifiers![modifier]!(parts, param, options);
  if (param.type === 'reference' && mayTarget(param, modifier)) return plainly((raw) => typedReference(raw, modifier, param, options))(parts, param, options);
  throw invalid(param.code, 'It does not have this modifier.');
}

/** Parses a value as it stands without a modifier. @throws InterlockError `search-invalid`, `search-unsupported` */
export function parsePlain(raw: string, param: SearchParam, options: ValueOptions): CriterionValue {
  const kind = kinds[param.type];
  if (kind === undefined) throw unsupported(param.code);
  return kind.parse(raw, param, options);
}

function plainly(parse: Parse): Modify {
  return (parts, param, options) => ({ op: 'param', param, of: parts.map((part) => parse(part, param, options)) });
}

function compared(modifier: SearchModifier, parse: Parse): Modify {
  return (parts, param, options) => ({ op: 'param', param, modifier, of: parts.map((part) => parse(part, param, options)) });
}

/**
 * Parses a date value with its prefix.
 * @throws InterlockError `search-invalid`
 */
export function parseDate(raw: string, { code }: Pick<SearchParam, 'code'>, options: Pick<ValueOptions, 'nowMs' | 'zone'>): Extract<CriterionValue, { kind: 'date' }> {
  const { prefix, rest } = takePrefix(unescapeValue(raw));
  const range = dateRange(rest, options.zone);
  if (range === undefined) throw invalid(code, 'A date is YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss][zone], after an optional prefix.');
  if (prefix !== 'ap') return { kind: 'date', prefix, ...range };
  const marginMs = Math.abs(options.nowMs - (range.lo + range.hi) / 2) / 10;
  return { kind: 'date', prefix, lo: Math.floor(range.lo - marginMs), hi: Math.ceil(range.hi + marginMs) };
}

/** Splits at a separator that no backslash escapes; the parts keep their escapes. */
export function splitEscaped(value: string, separator: ',' | '|' | '$'): string[] {
  const parts: string[] = [];
  let start = 0;
  for (let i = 0; i < value.length; i++) {
    if (value[i] === '\\') i++;
    else if (value[i] === separator) {
      parts.push(value.slice(start, i));
      start = i + 1;
    }
  }
  return [...parts, value.slice(start)];
}

/** Undoes the escapes of https://hl7.org/fhir/R4/search.html#escaping: `\,` `\|` `\$` `\\`. */
export function unescapeValue(value: string): string {
  return value.replace(/\\([,|$\\])/g, '$1');
}

/** A value or modifier that a known parameter does not take. The parameter's name is the only part of the request in it. */
export function invalid(code: string, why: string): InterlockError {
  return new InterlockError('search-invalid', { detail: `Parameter ${code}: ${why}` });
}

/** Something of R4 that is not offered for a known parameter. */
export function unsupported(code: string): InterlockError {
  return new InterlockError('search-unsupported', { detail: `Parameter ${code}.` });
}

function takePrefix(value: string): { prefix: SearchPrefix; rest: string } {
  const match = /^(eq|ne|gt|lt|ge|le|sa|eb|ap)(.*)$/s.exec(value);
  return match === null ? { prefix: 'eq', rest: value } : { prefix: match[1] as SearchPrefix, rest: match[2]! };
}

function parseMissing(param: SearchParam, parts: readonly string[]): boolean {
  if (parts.length !== 1 || (parts[0] !== 'true' && parts[0] !== 'false')) throw invalid(param.code, ':missing takes true or false.');
  return parts[0] === 'true';
}

function parseToken(raw: string, param: SearchParam): CriterionValue {
  const [first, second, ...more] = splitEscaped(raw, '|').map(unescapeValue);
  if (more.length > 0) throw invalid(param.code, 'A token has at most one unescaped |.');
  if (second === undefined) return { kind: 'token', code: first! };
  if (first === '' && second === '') throw invalid(param.code, 'A token needs a system, a code or both.');
  return { kind: 'token', system: first!, ...(second !== '' && { code: second }) };
}

/** `system|code|value`: the first two are of the Identifier's type (https://hl7.org/fhir/R4/search.html#modifiers). */
function parseTypedIdentifier(raw: string, param: SearchParam): CriterionValue {
  const parts = splitEscaped(raw, '|').map(unescapeValue);
  const [typeSystem, typeCode, value] = parts;
  if (parts.length !== 3 || parts.includes('')) throw invalid(param.code, 'With :of-type, the value is system|code|value.');
  return { kind: 'identifier', typeSystem: typeSystem!, typeCode: typeCode!, value: value! };
}

function inValueSet(parts: readonly string[], param: SearchParam): AskedCriterion {
  return { op: 'valueSet', param, of: parts.map(unescapeValue) };
}

function subsumed(direction: 'above' | 'below'): Modify {
  return (parts, param) => ({
    op: 'subsumed',
    param,
    direction,
    of: parts.map((part) => {
      const value = parseToken(part, param);
      if (value.kind !== 'token' || value.code === undefined || value.system === undefined || value.system === '') throw invalid(param.code, `With :${direction}, the value is system|code.`);
      return { system: value.system, code: value.code };
    }),
  });
}

/** An id without its type is one of any hierarchical type that the parameter may refer to. */
function inHierarchy(direction: 'above' | 'below'): Modify {
  return (parts, param, options) => ({
    op: 'hierarchy',
    param,
    direction,
    of: parts.flatMap((part) => {
      const value = parseReferenceValue(part, param, options);
      if (value.kind !== 'reference' || value.id === undefined) throw invalid(param.code, `With :${direction}, the value is an id or Type/id.`);
      const { id } = value;
      const types = value.type === undefined ? (param.target ?? []).filter((type) => hierarchyOf(type) !== undefined) : [value.type];
      if (types.some((type) => hierarchyOf(type) === undefined)) throw invalid(param.code, 'Resources of this type are not parts of each other.');
      return types.map((type) => ({ type, id }));
    }),
  });
}

function isHierarchical(param: SearchParam): boolean {
  return (param.target ?? []).some((type) => hierarchyOf(type) !== undefined);
}

/** The URL and all that it is below, each with and without its last slash; those are few, so that they are asked for as they are. */
function uriAbove(parts: readonly string[], param: SearchParam): AskedCriterion {
  const above = new Set<string>();
  for (const value of parts.map(unescapeValue)) {
    above.add(value);
    if (!isUrl(value)) continue;
    const start = value.indexOf('://') + 3;
    for (let end = value.length; end > start; end = Math.max(...['/', '?', '#', '|'].map((border) => value.lastIndexOf(border, end - 1)))) {
      above.add(value.slice(0, end));
      if (value[end] === '/') above.add(value.slice(0, end + 1));
      if (above.size > maxAncestors) throw new InterlockError('too-costly', { detail: 'The URLs have too many parts.' });
    }
  }
  return { op: 'param', param, of: [...above].map((value) => ({ kind: 'uri', value })) };
}

const maxAncestors = 1_000;

function parseString(raw: string, param: SearchParam): CriterionValue {
  const value = unescapeValue(raw);
  if (normalizeString(value) === '') throw invalid(param.code, 'The value has no characters to compare.');
  return { kind: 'string', value };
}

function parseUri(raw: string): CriterionValue {
  return { kind: 'uri', value: unescapeValue(raw) };
}

function parseNumber(raw: string, { code }: SearchParam): CriterionValue {
  return { kind: 'number', ...prefixedDecimal(unescapeValue(raw), code) };
}

/** `[prefix]number`, `[prefix]number||unit` or `[prefix]number|system|code`. */
function parseQuantity(raw: string, { code }: SearchParam): CriterionValue {
  const [number, system, unit, ...more] = splitEscaped(raw, '|').map(unescapeValue);
  if (more.length > 0 || (system !== undefined && unit === undefined)) throw invalid(code, 'A quantity is number, number||unit or number|system|code.');
  return { kind: 'quantity', ...prefixedDecimal(number!, code), ...(system !== undefined && system !== '' && { system }), ...(unit !== undefined && unit !== '' && { unit }) };
}

function prefixedDecimal(text: string, code: string): { prefix: SearchPrefix; value: string } {
  const { prefix, rest } = takePrefix(text);
  if (parseDecimal(rest) === undefined) throw invalid(code, 'It takes a decimal number after an optional prefix.');
  return { prefix, value: rest };
}

/** Values of the components, joined by `$`. */
function parseComposite(raw: string, { code, components = [] }: SearchParam, options: ValueOptions): CriterionValue {
  const parts = splitEscaped(raw, '$');
  if (parts.length !== components.length || parts.includes('')) throw invalid(code, 'It takes a value for each of its components, joined by $.');
  return {
    kind: 'composite',
    components: parts.map((part, i) => {
      const component = options.param(components[i]!.code);
      const kind = component && kinds[component.type];
      if (kind === undefined) throw unsupported(code);
      return kind.parse(part, component!, options);
    }),
  };
}

const logicalId = /^[A-Za-z0-9\-.]{1,64}$/;

function parseReferenceValue(raw: string, param: SearchParam, options: ValueOptions): CriterionValue {
  const value = unescapeValue(raw);
  if (logicalId.test(value)) return { kind: 'reference', id: value };
  if (!value.includes(':') && parseReference(value) === undefined) throw invalid(param.code, 'A reference is an id, Type/id or an absolute URL.');
  const { type, id, url } = referenceValue(value, options.baseUrl)!;
  return url === undefined ? { kind: 'reference', type: type!, id: id! } : { kind: 'reference', url };
}

function typedReference(raw: string, type: string, param: SearchParam, options: ValueOptions): CriterionValue {
  const value = parseReferenceValue(raw, param, options);
  if (value.kind !== 'reference' || value.id === undefined || (value.type ?? type) !== type) throw invalid(param.code, 'With a type as modifier, the value is an id of that type.');
  return { kind: 'reference', type, id: value.id };
}

function mayTarget(param: SearchParam, type: string): boolean {
  return isResourceType(type) && (param.target === undefined || param.target.includes(type));
}
