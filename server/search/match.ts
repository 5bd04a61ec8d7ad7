import { normalizeCode, normalizeString, type SearchValue } from '../../resources/search-values/index.ts';
import type { Criterion, CriterionValue, SearchModifier, SearchPrefix } from './criteria.ts';
import { approximateRange, compareDecimals, parseDecimal, precisionRange } from './decimal.ts';

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
      return criterion.ids.includes(subject.id);
    case 'lastUpdated':
      return dateMeets(subject.lastUpdatedMs, subject.lastUpdatedMs + 1, criterion.prefix, criterion);
    case 'present':
      return subject.values.has(criterion.param.code);
    case 'param': {
      const found = subject.values.get(criterion.param.code);
      return found !== undefined && criterion.of.some((asked) => found.some((value) => valueMeets(value, asked, criterion.modifier)));
    }
  }
}

/** True if a value of a resource is what one value of a criterion asks for. */
export function valueMeets(value: SearchValue, asked: CriterionValue, modifier?: SearchModifier): boolean {
  switch (asked.kind) {
    case 'token':
      if (modifier === 'identifier') return value.kind === 'reference' && value.identifier !== undefined && tokenMeets(value.identifier.system, value.identifier.value, asked);
      return value.kind === 'token' && tokenMeets(value.system, value.code, asked);
    case 'string':
      if (modifier === 'text') return value.kind === 'token' && value.text !== undefined && stringMeets(value.text, asked.value, undefined);
      return value.kind === 'string' && stringMeets(value.value, asked.value, modifier);
    case 'reference':
      if (value.kind !== 'reference') return false;
      if (asked.url !== undefined) return value.url === asked.url;
      return value.id !== undefined && value.id === asked.id && (asked.type === undefined || value.type === asked.type);
    case 'date':
      return value.kind === 'date' && dateMeets(value.lo, value.hi, asked.prefix, asked);
    case 'uri':
      return value.kind === 'uri' && value.value === asked.value;
    case 'number':
      return value.kind === 'number' && numberMeets(value.value, asked);
    case 'quantity':
      return value.kind === 'quantity' && unitMeets(value, asked) && numberMeets(value.value, asked);
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
  return modifier === 'contains' ? have.includes(want) : have.startsWith(want);
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

/** A resource's number is a point; only `eq` and `ne` regard the precision of the search value (https://hl7.org/fhir/R4/search.html#number). */
function numberMeets(value: string, asked: { readonly prefix: SearchPrefix; readonly value: string }): boolean {
  const [have, want] = [parseDecimal(value), parseDecimal(asked.value)];
  if (have === undefined || want === undefined) return false;
  const within = ({ lo, hi }: ReturnType<typeof precisionRange>) => compareDecimals(have, lo) >= 0 && compareDecimals(have, hi) < 0;
  switch (asked.prefix) {
    case 'eq':
      return within(precisionRange(want));
    case 'ne':
      return !within(precisionRange(want));
    case 'gt':
    case 'sa':
      return compareDecimals(have, want) > 0;
    case 'lt':
    case 'eb':
      return compareDecimals(have, want) < 0;
    case 'ge':
      return compareDecimals(have, want) >= 0;
    case 'le':
      return compareDecimals(have, want) <= 0;
    case 'ap': {
      const { lo, hi } = approximateRange(want);
      return compareDecimals(have, lo) >= 0 && compareDecimals(have, hi) <= 0;
    }
  }
}

/** Units compare as written: none is converted into another. */
function unitMeets(value: Extract<SearchValue, { kind: 'quantity' }>, asked: { readonly system?: string; readonly unit?: string }): boolean {
  if (asked.system !== undefined && asked.system !== value.system) return false;
  return asked.unit === undefined || asked.unit === value.code || (asked.system === undefined && asked.unit === value.unit);
}
