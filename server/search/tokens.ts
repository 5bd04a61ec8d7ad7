import { normalizeCode, normalizeString, typesWith, type SearchParam, type SearchValue } from '../../resources/search-values/index.ts';
import { resourceTypes, searchParamsOf } from '../../resources/definitions/index.ts';
import type { Criterion, CriterionValue, SearchModifier } from './criteria.ts';
import { indexNamePairs, namedTypes, namePairScheme } from './name-pairs.ts';
import { cellsOf, nearBounds } from './near.ts';
import { isCommon, isPaired, partsOf, prefixesOf, spreadLabel, spreadOf } from './token-policy.ts';
import { dateBounds, indexDates } from './tokens-date.ts';
import { indexNumbers, numberBounds, powerSpread } from './tokens-number.ts';
import { andBounds, anyToken, atMost, exactly, orBounds, ranks, unknown, type Bounds } from './token-expr.ts';

/** Values of a resource by parameter code. */
export type SearchValues = ReadonlyMap<string, readonly SearchValue[]>;

/** Takes the text of a token and over how many tokens its resources are spread. */
export type Emit = (label: string, spread: number) => void;

/**
 * How values of one kind become tokens and how a condition on them is asked. Exactness is the `Bounds` of a condition:
 * equal sides are exact, otherwise the tokens match more than the condition does and a post-filter decides.
 */
interface TokenKind {
  /** @param emit told of tokens that many resources share whatever the parameter */
  index(scope: string, param: SearchParam, values: readonly SearchValue[], emit: (label: string, coarse?: boolean) => void): void;
  bounds(scope: string, param: SearchParam, modifier: SearchModifier | undefined, value: CriterionValue): Bounds;
}

/** Exact, but over-matching where the condition wants no system. A code alone, and with its system. */
const token: TokenKind = {
  index(scope, _param, values, emit) {
    for (const value of values) {
      if (value.kind !== 'token' || value.code === undefined) continue;
      const code = normalizeCode(value.code);
      emit(`${scope}\nc\n${code}`);
      if (value.system !== undefined) emit(`${scope}\ns\n${value.system}\n${code}`);
    }
  },
  bounds(scope, param, modifier, value) {
    if (value.kind === 'identifier') return atMost(anyToken([`${scope}\nc\n${normalizeCode(value.value)}`], ranks.identifier));
    if (value.kind !== 'token' || value.code === undefined || modifier !== undefined) return unknown;
    const code = normalizeCode(value.code);
    const rank = spreadOf(param) > 1 ? ranks.code : ranks.identifier;
    if (value.system === '') return atMost(anyToken([`${scope}\nc\n${code}`], rank));
    return exactly(anyToken([value.system === undefined ? `${scope}\nc\n${code}` : `${scope}\ns\n${value.system}\n${code}`], rank));
  },
};

/** Exact for a start as long as one of the parameter's prefixes; over-matching for other lengths and for `:exact`. */
const string: TokenKind = {
  index(scope, param, values, emit) {
    const { lengths, whole } = prefixesOf(param);
    for (const value of values) {
      if (value.kind !== 'string') continue;
      const text = normalizeString(value.value);
      for (const length of lengths) if (text.length >= length) emit(`${scope}\np\n${text.slice(0, length)}`);
      if (whole && text.length > lengths.at(-1)!) emit(`${scope}\ne\n${text}`);
    }
  },
  bounds(scope, param, modifier, value) {
    const { lengths, whole } = prefixesOf(param);
    if (value.kind !== 'string' || (modifier !== undefined && modifier !== 'exact' && modifier !== 'equals')) return unknown;
    const text = normalizeString(value.value);
    if (modifier !== undefined && whole && text.length > lengths.at(-1)!) return (modifier === 'equals' ? exactly : atMost)(anyToken([`${scope}\ne\n${text}`], ranks.text));
    const length = lengths.findLast((it) => it <= text.length);
    if (length === undefined) return unknown;
    const expr = anyToken([`${scope}\np\n${text.slice(0, length)}`], ranks.text);
    return modifier === undefined && length === text.length ? exactly(expr) : atMost(expr);
  },
};

/** Exact. `Type/id`, absolute URL, and the identifier of a logical reference. */
const reference: TokenKind = {
  index(scope, param, values, emit) {
    for (const value of values) {
      if (value.kind !== 'reference') continue;
      if (value.type !== undefined && value.id !== undefined) {
        emit(`${scope}\nr\n${value.type}/${value.id}`);
        // An id without its type is looked for under the parameter's target types; this one would be missed.
        if (param.target?.includes(value.type) !== true) emit(`${scope}\nr\n*/${value.id}`);
      } else if (value.url !== undefined) emit(`${scope}\nu\n${value.url}`);
      if (value.identifier?.value !== undefined) token.index(`${scope}\ni`, param, [identifierToken(value.identifier)], emit);
    }
  },
  bounds(scope, param, modifier, value) {
    if (modifier === 'identifier') return token.bounds(`${scope}\ni`, param, undefined, value);
    if (value.kind !== 'reference' || modifier !== undefined) return unknown;
    if (value.id !== undefined) {
      const types = value.type !== undefined ? [value.type] : [...(param.target ?? []), '*'];
      return exactly(anyToken(types.map((type) => `${scope}\nr\n${type}/${value.id!}`), ranks.reference));
    }
    return value.url === undefined ? unknown : exactly(anyToken([`${scope}\nu\n${value.url}`], ranks.reference));
  },
};

function identifierToken({ system, value }: { readonly system?: string; readonly value?: string }): SearchValue {
  return { kind: 'token', ...(system === undefined ? {} : { system }), ...(value === undefined ? {} : { code: value }) };
}

/** Exact but for days that the condition splits and for resources with several values. */
const date: TokenKind = {
  index(scope, _param, values, emit) {
    indexDates(scope, values.filter((value) => value.kind === 'date'), emit);
  },
  bounds(scope, _param, modifier, value) {
    return value.kind !== 'date' || modifier !== undefined ? unknown : dateBounds(scope, value);
  },
};

/** Exact: the whole URI. */
const uri: TokenKind = {
  index(scope, _param, values, emit) {
    for (const value of values) if (value.kind === 'uri') emit(`${scope}\nx\n${value.value}`);
  },
  bounds(scope, _param, modifier, value) {
    return value.kind !== 'uri' || modifier !== undefined ? unknown : exactly(anyToken([`${scope}\nx\n${value.value}`], ranks.identifier));
  },
};

/** Exact but for the ends of the range that the condition stands for, for units as written, and for values that are ranges. */
const number: TokenKind = {
  index(scope, _param, values, emit) {
    indexNumbers(scope, values.filter((value) => value.kind === 'number' || value.kind === 'quantity'), emit);
  },
  bounds(scope, param, modifier, value) {
    if ((value.kind !== 'number' && value.kind !== 'quantity') || modifier !== undefined) return unknown;
    return numberBounds(scope, value, isCommon(param) ? 1 : powerSpread);
  },
};

/** Over-matching: cells of a grid. */
const special: TokenKind = {
  index(scope, _param, values, emit) {
    for (const value of values) if (value.kind === 'position') for (const name of cellsOf(value)) emit(`${scope}\n${name}`);
  },
  bounds(scope, _param, modifier, value) {
    return value.kind !== 'near' || modifier !== undefined ? unknown : nearBounds(scope, value);
  },
};

/** One row per parameter type; of composites the components' tokens serve. */
const kinds: { readonly [type in SearchParam['type']]?: TokenKind } = { token, string, reference, date, uri, number, quantity: number, special };

/**
 * Which tokens documents have. It rises when kinds are added: documents written before have to be indexed anew, and until
 * then searches do without the new kinds.
 */
export const tokenScheme = 4;

/** Which tokens all stored documents have. */
export interface TokensPresent {
  readonly scheme: number;
  /** Tokens of words, see word-tokens.ts. */
  readonly words: boolean;
}

/** Parameter types whose tokens came with a later scheme. */
const schemeOf: { readonly [type in SearchParam['type']]?: number } = { number: 2, quantity: 2, special: 2 };

/** The scheme that came with tokens of what points to Binaries, whatever the type. */
export const pointerScheme = 3;

/** Types of which documents of a scheme lack tokens. */
export function typesIndexedSince(scheme: number): readonly string[] {
  if (scheme < pointerScheme) return resourceTypes();
  const kindTypes = typesWith(Object.entries(schemeOf).flatMap(([type, since]) => (since > scheme ? [type as SearchParam['type']] : [])));
  return scheme < namePairScheme ? [...new Set([...kindTypes, ...namedTypes])] : kindTypes;
}

/** Emits the tokens of a resource. `patients`: those in whose compartment it is. */
export function indexTokens(type: string, params: ReadonlyMap<string, SearchParam>, values: SearchValues, patients: readonly string[], emit: Emit): void {
  const alone = (label: string): void => emit(label, 1);
  for (const patient of patients) emit(compartmentLabel(type, patient), 1);
  indexNamePairs(type, values, emit);
  const owners = type === 'Patient' ? [] : [...new Set([...patients, ...patientReferences(values)])];
  for (const [code, found] of values) {
    const param = params.get(code);
    const kind = param && kinds[param.type];
    if (param === undefined || kind === undefined || isHandledApart(code) || partsOf(param, params) !== undefined) continue;
    if (isCommon(param) || isPaired(param)) for (const patient of owners) kind.index(patientScope(type, code, patient), param, found, alone);
    if (isCommon(param)) continue;
    const spread = spreadOf(param);
    kind.index(`${type}\n${code}`, param, found, spread > 1 ? (label) => emit(label, spread) : (label, coarse) => emit(label, coarse === true ? powerSpread : 1));
  }
}

/**
 * What tokens say of a parameter condition on one type.
 * @param patients of whom the resource must concern one, by another condition beside this; empty: unknown
 * @param scheme which tokens all documents have
 */
export function paramBounds(type: string, { param, modifier, of }: Extract<Criterion, { op: 'param' }>, patients: readonly string[], scheme = tokenScheme): Bounds {
  const parts = partsOf(param, searchParamsOf(type));
  if (parts !== undefined) return orBounds(parts.map((part) => paramBounds(type, { op: 'param', param: part, ...(modifier && { modifier }), of }, patients, scheme)));
  if (param.type === 'composite') return modifier === undefined ? orBounds(of.map((value) => compositeBounds(type, param, value, patients, scheme))) : unknown;
  const kind = kinds[param.type];
  if (kind === undefined || isHandledApart(param.code) || (schemeOf[param.type] ?? 0) > scheme) return unknown;
  // A chain may name thousands of patients, whose tokens with every value would be too many to ask for.
  const withPatient = patients.length > 0 && type !== 'Patient' && patients.length * of.length <= maxPairs;
  if (!isCommon(param) && !(isPaired(param) && withPatient)) return spreadOut(orBounds(of.map((value) => kind.bounds(`${type}\n${param.code}`, param, modifier, value))), spreadOf(param));
  if (!withPatient) return unknown;
  const bounds = orBounds(patients.flatMap((patient) => of.map((value) => kind.bounds(patientScope(type, param.code, patient), param, modifier, value))));
  return mapTokens(bounds, (expr) => ({ ...expr, rank: ranks.patientValue }));
}

/** Tokens of a value together with a patient that one condition may ask for. */
const maxPairs = 1_000;

/** Over-matching: each component has the value that is asked for, but perhaps not within the same repeat. */
function compositeBounds(type: string, { components = [] }: SearchParam, value: CriterionValue, patients: readonly string[], scheme: number): Bounds {
  if (value.kind !== 'composite') return unknown;
  const params = searchParamsOf(type);
  const parts = value.components.map((asked, at) => {
    const param = params.get(components[at]?.code ?? '');
    // A component's values are among those of the parameter that defines it.
    return param === undefined ? unknown : paramBounds(type, { op: 'param', param, of: [asked] }, patients, scheme);
  });
  return atMost(andBounds(parts).upper);
}

/** Token of being in a patient's compartment. */
export function compartmentLabel(type: string, patient: string): string {
  return `${type}\n*\n${patient}`;
}

/** Patients that a condition restricts a resource to, so that tokens of theirs may be asked for beside it. */
export function patientsNamed(criterion: Criterion): readonly string[] {
  if (criterion.op === 'compartment') return criterion.ids;
  if (criterion.op !== 'param' || !isPatientParam(criterion.param.code) || criterion.modifier !== undefined) return [];
  const ids: string[] = [];
  for (const value of criterion.of) {
    if (value.kind !== 'reference' || value.id === undefined || (value.type ?? criterion.param.target?.join()) !== 'Patient') return [];
    ids.push(value.id);
  }
  return ids;
}

function spreadOut(bounds: Bounds, spread: number): Bounds {
  if (spread === 1) return bounds;
  return mapTokens(bounds, (expr) => ({ ...expr, labels: expr.labels.flatMap((label) => Array.from({ length: spread }, (_, part) => spreadLabel(label, part))) }));
}

type TokenList = Extract<Bounds['upper'], { op: 'in' }>;

/** Rewrites the token lists of bounds that are lists or constants, as those of common and spread values are. */
function mapTokens({ upper, lower }: Bounds, change: (expr: TokenList) => TokenList): Bounds {
  const changed = upper.op === 'in' ? change(upper) : upper;
  return { upper: changed, lower: lower === upper ? changed : lower.op === 'in' ? change(lower) : lower };
}

function patientScope(type: string, code: string, patient: string): string {
  return `${type}\n${code}\n@${patient}`;
}

function isPatientParam(code: string): boolean {
  return code === 'patient' || code === 'subject';
}

function patientReferences(values: SearchValues): string[] {
  return ['patient', 'subject'].flatMap((code) => (values.get(code) ?? []).flatMap((value) => (value.kind === 'reference' && value.type === 'Patient' && value.id !== undefined ? [value.id] : [])));
}

/** `_id` is asked by document id, `_lastUpdated` by order of recording. */
function isHandledApart(code: string): boolean {
  return code === '_id' || code === '_lastUpdated';
}
