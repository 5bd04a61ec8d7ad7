import { extractSearchValues, normalizeCode, normalizeString, type Resource, type SearchValue, type ValueContext } from '../../resources/search-values/index.ts';
import type { Criterion, CriterionValue, SearchModifier, SearchPrefix } from './criteria.ts';
import { compareDecimals, parseDecimal, precisionRange } from './decimal.ts';
import { distanceM } from './near.ts';
import { numberMeets } from './number-span.ts';
import { hasPhrase } from './words.ts';

/** What a criterion is tested against: one current version of a resource. */
export interface MatchSubject {
  readonly type: string;
  readonly id: string;
  /** Time of recording, milliseconds since 1970. */
  readonly lastUpdatedMs: number;
  /** As `extractSearchValues` gives them. */
  readonly values: ReadonlyMap<string, readonly SearchValue[]>;
  /** As `patientsOf` gives them. */
  readonly patients: readonly string[];
  /** The resource itself and how its values are read: for conditions on words and contained resources. */
  readonly content?: { readonly resource: Resource; readonly context: ValueContext };
}

/**
 * True if a resource meets a criterion, exactly as https://hl7.org/fhir/R4/search.html says. Whatever an index finds
 * faster must agree with this.
 */
export function matches(subject: MatchSubject, criterion: Criterion): boolean {
  switch (criterion.op) {
    case 'all':
      return criterion.of.every((one) => matches(subject, one));
    case 'any':
      return criterion.of.some((one) => matches(subject, one));
    case 'not':
      return !matches(subject, criterion.of);
    case 'type':
      return criterion.types.includes(subject.type);
    case 'compartment':
      return subject.patients.some((id) => criterion.ids.includes(id));
    case 'id':
      return criterion.ids.length > fewValues ? keysOf(criterion, () => criterion.ids)!.has(subject.id) : criterion.ids.includes(subject.id);
    case 'lastUpdated':
      return dateMeets(subject.lastUpdatedMs, subject.lastUpdatedMs + 1, criterion.prefix, criterion);
    case 'present':
      return subject.values.has(criterion.param.code);
    case 'param': {
      const found = subject.values.get(criterion.param.code);
      if (found === undefined) return false;
      const keys = criterion.of.length > fewValues && criterion.modifier === undefined ? keysOf(criterion, () => criterion.of.map(keyOfAsked)) : undefined;
      if (keys !== undefined) return found.some((value) => keys.has(keyOfValue(value) ?? ''));
      return criterion.of.some((asked) => found.some((value) => valueMeets(value, asked, criterion.modifier)));
    }
    case 'words':
      return hasPhrase(contentOf(subject).resource, criterion.scope, criterion.words);
    case 'rule':
      return criterion.holds(subject);
    case 'contained':
      return containedMatches(contentOf(subject), criterion.type, subject.lastUpdatedMs, criterion.of).length > 0;
  }
}

/** The contained resources of a type that meet a criterion. They have their container's time of recording, and no compartment. */
export function containedMatches({ resource, context }: NonNullable<MatchSubject['content']>, type: string, lastUpdatedMs: number, criterion: Criterion): Resource[] {
  const contained = Array.isArray(resource['contained']) ? (resource['contained'] as readonly Resource[]) : [];
  return contained.filter((one) => {
    if (one.resourceType !== type) return false;
    return matches({ type, id: one.id ?? '', lastUpdatedMs, values: extractSearchValues(one, context), patients: [], content: { resource: one, context } }, criterion);
  });
}

function contentOf(subject: MatchSubject): NonNullable<MatchSubject['content']> {
  if (subject.content === undefined) throw new Error('a condition on content needs the resource');
  return subject.content;
}

/** Longer lists of values, as chains and value sets become, are looked up instead of walked through. */
const fewValues = 32;
const keySets = new WeakMap<Criterion, ReadonlySet<string> | undefined>();

/** The values of a criterion as a set, made once; undefined if some cannot be compared by a key alone. */
function keysOf(criterion: Criterion, keys: () => readonly (string | undefined)[]): ReadonlySet<string> | undefined {
  if (!keySets.has(criterion)) {
    const all = keys();
    keySets.set(criterion, all.every((key) => key !== undefined) ? new Set(all) : undefined);
  }
  return keySets.get(criterion);
}

function keyOfAsked(asked: CriterionValue): string | undefined {
  if (asked.kind === 'reference') return asked.type !== undefined && asked.id !== undefined ? `${asked.type}/${asked.id}` : undefined;
  return asked.kind === 'token' && asked.system !== undefined && asked.code !== undefined ? `${asked.system}|${normalizeCode(asked.code)}` : undefined;
}

function keyOfValue(value: SearchValue): string | undefined {
  if (value.kind === 'reference') return value.type !== undefined && value.id !== undefined ? `${value.type}/${value.id}` : undefined;
  return value.kind === 'token' && value.code !== undefined ? `${value.system ?? ''}|${normalizeCode(value.code)}` : undefined;
}

/** True if a value of a resource is what one value of a criterion asks for. */
export function valueMeets(value: SearchValue, asked: CriterionValue, modifier?: SearchModifier): boolean {
  switch (asked.kind) {
    case 'token':
      if (modifier === 'identifier') return value.kind === 'reference' && value.identifier !== undefined && tokenMeets(value.identifier.system, value.identifier.value, asked);
      if (value.kind !== 'token') return false;
      if (modifier === 'unequal') return value.code !== undefined && !tokenMeets(value.system, value.code, asked);
      return tokenMeets(value.system, value.code, asked);
    case 'identifier':
      return (
        value.kind === 'token' && value.code !== undefined && normalizeCode(value.code) === normalizeCode(asked.value) &&
        (value.types ?? []).some(({ system, code }) => tokenMeets(system, code, { system: asked.typeSystem, code: asked.typeCode }))
      );
    case 'string':
      if (modifier === 'text') return value.kind === 'token' && value.text !== undefined && stringMeets(value.text, asked.value, undefined);
      return value.kind === 'string' && stringMeets(value.value, asked.value, modifier);
    case 'reference':
      if (value.kind !== 'reference') return false;
      if (asked.url !== undefined) return value.url === asked.url;
      return value.id !== undefined && value.id === asked.id && (asked.type === undefined || value.type === asked.type);
    case 'date':
      if (value.kind !== 'date') return false;
      return modifier === 'includes' ? value.lo <= asked.lo && value.hi >= asked.hi : dateMeets(value.lo, value.hi, asked.prefix, asked);
    case 'uri':
      return value.kind === 'uri' && uriMeets(value.value, asked.value, modifier);
    case 'number':
      if (value.kind !== 'number') return false;
      return modifier === 'includes' ? impliedIncludes(value.value, asked.value) : numberMeets(value, asked);
    case 'quantity':
      return value.kind === 'quantity' && numberMeets(value, asked);
    case 'near':
      return value.kind === 'position' && distanceM(value, asked) <= asked.distanceM;
    case 'composite':
      return value.kind === 'composite' && asked.components.every((part, i) => value.components[i]!.some((one) => valueMeets(one, part)));
  }
}

function tokenMeets(system: string | undefined, code: string | undefined, asked: { readonly system?: string; readonly code?: string }): boolean {
  if (asked.system !== undefined && asked.system !== (system ?? '')) return false;
  if (asked.code === undefined) return true;
  return code !== undefined && normalizeCode(code) === normalizeCode(asked.code);
}

function stringMeets(value: string, asked: string, modifier: SearchModifier | undefined): boolean {
  if (modifier === 'exact') return value === asked;
  const [have, want] = [normalizeString(value), normalizeString(asked)];
  switch (modifier) {
    case 'contains':
      return have.includes(want);
    case 'equals':
      return have === want;
    case 'unequal':
      return have !== want;
    case 'ends':
      return have.endsWith(want);
    case 'before':
      return compareCodePoints(have, want) < 0;
    case 'after':
      return compareCodePoints(have, want) > 0;
    default:
      return have.startsWith(want);
  }
}

/** By code points, where `<` would go by UTF-16 units. */
function compareCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Only URLs have a hierarchy (https://hl7.org/fhir/R4/search.html#uri). */
function uriMeets(value: string, asked: string, modifier: SearchModifier | undefined): boolean {
  if (modifier === 'unequal') return value !== asked;
  return value === asked || (modifier === 'below' && isUrl(asked) && value.startsWith(asked));
}

/** True for a URI of which parts of the path have a meaning of their own: no URN. */
export function isUrl(uri: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(uri);
}

/** True if a number, regarded with its precision, includes another. */
function impliedIncludes(value: string, asked: string): boolean {
  const [have, want] = [parseDecimal(value), parseDecimal(asked)];
  if (have === undefined || want === undefined) return false;
  const { lo, hi } = precisionRange(have);
  return compareDecimals(want, lo) >= 0 && compareDecimals(want, hi) < 0;
}

/** Compares the span [lo, hi) of a resource with the span of a search value (https://hl7.org/fhir/R4/search.html#prefix). */
function dateMeets(lo: number, hi: number, prefix: SearchPrefix, asked: { readonly lo: number; readonly hi: number }): boolean {
  const contained = lo >= asked.lo && hi <= asked.hi;
  switch (prefix) {
    case 'eq':
      return contained;
    case 'ne':
      return !contained;
    case 'gt':
      return hi > asked.hi;
    case 'lt':
      return lo < asked.lo;
    case 'ge':
      return contained || hi > asked.hi;
    case 'le':
      return contained || lo < asked.lo;
    case 'sa':
      return lo >= asked.hi;
    case 'eb':
      return hi <= asked.lo;
    case 'ap':
      return lo < asked.hi && hi > asked.lo;
  }
}
