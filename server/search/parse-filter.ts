import { InterlockError } from '../../resources/outcome/error.ts';
import type { SearchParam, SearchParamType } from '../../resources/search-values/index.ts';
import type { AskedCriterion, CriterionValue, SearchModifier } from './criteria.ts';
import { chained, criterionOf, type Place } from './parse-condition.ts';
import { invalid, parsePlain } from './parse-value.ts';

/** Bounds on one filter. */
const maxTests = 100;
const maxNesting = 20;

const token = /\s*(?:("(?:[^"\\]|\\.)*")|([()[\]])|([^\s()[\]"]+))/y;

/**
 * Reads a `_filter` (https://hl7.org/fhir/R4/search_filter.html). Of several `and` and `or`, the leftmost binds first.
 * @throws InterlockError `search-invalid` for what is no filter, or an operator that the type of its parameter does not
 *   have; `too-costly`
 */
export function parseFilter(text: string, place: Place): AskedCriterion {
  const tokens = tokenize(text);
  let at = 0;
  let tests = 0;
  const asked = filter(place, 0);
  if (at < tokens.length) throw malformed();
  return asked;

  function filter(inside: Place, depth: number): AskedCriterion {
    if (depth > maxNesting) throw new InterlockError('too-costly', { detail: 'The filter is nested too deeply.' });
    let left = operand(inside, depth);
    for (;;) {
      const op = accept('and') ? 'all' : accept('or') ? 'any' : undefined;
      if (op === undefined) return left;
      left = { op, of: [left, operand(inside, depth)] };
    }
  }

  function operand(inside: Place, depth: number): AskedCriterion {
    if (tokens[at]?.toLowerCase() === 'not' && tokens[at + 1] === '(') {
      at += 1;
      return { op: 'not', of: operand(inside, depth) };
    }
    if (accept('(')) {
      const inner = filter(inside, depth + 1);
      if (!accept(')')) throw malformed();
      return inner;
    }
    tests += 1;
    if (tests > maxTests) throw new InterlockError('too-costly', { detail: `A filter has at most ${maxTests} tests.` });
    return test(next(), inside, depth);
  }

  /** `a.b.c op value`, or `a[filter].b op value`: then what `a` refers to must meet the filter too. */
  function test(path: string, inside: Place, depth: number): AskedCriterion {
    const [code = '', ...rest] = path.split('.');
    inside.left.conditions -= 1;
    if (inside.left.conditions < 0) throw new InterlockError('too-costly', { detail: 'The chains of the filter can lead to too many types.' });
    const param = inside.param(code);
    if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(code)) throw malformed();
    if (param === undefined) throw invalid('_filter', 'It names a parameter that the type does not have.');
    const isFiltered = rest.length === 0 && tokens[at] === '[';
    if (!isFiltered && rest.length === 0) return compare(param, next().toLowerCase(), next(), inside);
    const [start, before] = [at, tests];
    let end: number | undefined;
    const followed = chained(param, undefined, inside, (target) => {
      // Each type that the reference can lead to reads the same text.
      [at, tests] = [start, before];
      const conditions: AskedCriterion[] = [];
      let remaining = rest.join('.');
      if (isFiltered) {
        at += 1;
        conditions.push(filter(target, depth + 1));
        if (!accept(']')) throw malformed();
        const dotted = next();
        if (!dotted.startsWith('.')) throw malformed();
        remaining = dotted.slice(1);
      }
      conditions.push(test(remaining, target, depth + 1));
      end = at;
      return conditions.length === 1 ? conditions[0] : { op: 'all', of: conditions };
    });
    // The last type may have refused the text half way.
    at = end!;
    return followed;
  }

  function next(): string {
    const found = tokens[at++];
    if (found === undefined) throw malformed();
    return found;
  }

  function accept(symbol: string): boolean {
    if (tokens[at]?.toLowerCase() !== symbol) return false;
    at += 1;
    return true;
  }
}

function tokenize(text: string): string[] {
  const tokens: string[] = [];
  const trimmed = text.trimEnd();
  for (token.lastIndex = 0; token.lastIndex < trimmed.length; ) {
    const match = token.exec(trimmed);
    if (match === null) throw malformed();
    tokens.push(match[1] ?? match[2] ?? match[3]!);
  }
  if (tokens.length === 0) throw malformed();
  return tokens;
}

function malformed(): InterlockError {
  return invalid('_filter', 'It is not a filter: see https://hl7.org/fhir/R4/search_filter.html.');
}

type Operator = (value: string, param: SearchParam, place: Place) => AskedCriterion;

const present: Operator = (value, param, place) => {
  if (value !== 'true' && value !== 'false') throw invalid('_filter', 'pr takes true or false.');
  return criterionOf(param, 'missing', [String(value === 'false')], place);
};

/** The value as it would stand after the parameter's own name, perhaps with a prefix or modifier. */
function searched(modifier?: string, prefix = ''): Operator {
  return (value, param, place) => criterionOf(param, modifier, [`${prefix}${value}`], place);
}

function compared(modifier: SearchModifier): Operator {
  return (value, param, place) => comparedWith(modifier, param, parsePlain(value, param, place));
}

function comparedWith(modifier: SearchModifier | undefined, param: SearchParam, value: CriterionValue): AskedCriterion {
  return { op: 'param', param, ...(modifier !== undefined && { modifier }), of: [value] };
}

function text(...modifiers: readonly (SearchModifier | undefined)[]): Operator {
  return (value, param) => {
    if (value.trim() === '') throw malformed();
    const of = modifiers.map((modifier) => comparedWith(modifier, param, { kind: 'string', value }));
    return of.length === 1 ? of[0]! : { op: 'any', of };
  };
}

/** Prefixes that stand for themselves, as in `ge2014-10-10`. */
function prefixes(...names: readonly string[]): Record<string, Operator> {
  return Object.fromEntries(names.map((name) => [name, searched(undefined, name)]));
}

/** Namespaces that need not be written out. */
const namespaces: Readonly<Record<string, string>> = {
  loinc: 'http://loinc.org', snomed: 'http://snomed.info/sct', rxnorm: 'http://www.nlm.nih.gov/research/umls/rxnorm', ucum: 'http://unitsofmeasure.org',
};

function withNamespace(operator: Operator): Operator {
  return (value, param, place) => {
    const bar = value.indexOf('|');
    const system = bar < 0 ? undefined : namespaces[value.slice(0, bar).toLowerCase()];
    return operator(system === undefined ? value : `${system}${value.slice(bar)}`, param, place);
  };
}

/** What the operators mean, by the type of the parameter: https://hl7.org/fhir/R4/search_filter.html#ops */
const operators: Readonly<Partial<Record<SearchParamType, Readonly<Record<string, Operator>>>>> = {
  string: {
    eq: text('equals'), ne: text('unequal'), co: text('contains'), sw: text(undefined), ew: text('ends'),
    gt: text('after'), lt: text('before'), ge: text('after', 'equals'), le: text('before', 'equals'),
  },
  number: { ...prefixes('eq', 'ne', 'gt', 'lt', 'ge', 'le', 'ap', 'sa', 'eb'), co: compared('includes') },
  date: {
    ...prefixes('eq', 'ne', 'gt', 'lt', 'ge', 'le', 'ap', 'sa', 'eb'),
    co: compared('includes'),
    // An overlap, as `ap` is, but with no more than the value implies.
    po: (value, param, place) => {
      const asked = parsePlain(value, param, place);
      return comparedWith(undefined, param, asked.kind === 'date' ? { ...asked, prefix: 'ap' } : asked);
    },
  },
  token: {
    eq: withNamespace(searched()), ne: withNamespace(compared('unequal')),
    ss: withNamespace(searched('below')), sb: withNamespace(searched('above')), in: searched('in'), ni: searched('not-in'),
  },
  reference: { re: searched(), eq: searched() },
  quantity: prefixes('eq', 'ne', 'gt', 'lt', 'ge', 'le', 'ap', 'sa', 'eb'),
  uri: { eq: searched(), ne: compared('unequal'), sw: searched('below') },
};

function compare(param: SearchParam, name: string, raw: string, place: Place): AskedCriterion {
  if (raw.length === 1 && '()[]'.includes(raw)) throw malformed();
  const value = raw.startsWith('"') ? unquoted(raw) : raw;
  if (value === '') throw malformed();
  const table = operators[param.type];
  const operator = name === 'pr' ? present : table !== undefined && Object.hasOwn(table, name) ? table[name] : undefined;
  if (operator === undefined) throw invalid('_filter', 'The parameter does not have this operator.');
  if (name === 'pr') return operator(value, param, place);
  // Two parameters are the store's own knowledge: an id is one or is not, a time of recording is compared by its prefix.
  if (param.code === '_id' && name === 'ne') return criterionOf(param, 'not', [value], place);
  if (param.code === '_lastUpdated' && !Object.hasOwn(prefixes('eq', 'ne', 'gt', 'lt', 'ge', 'le', 'ap', 'sa', 'eb'), name)) {
    if (name !== 'po') throw invalid('_filter', 'The parameter does not have this operator.');
    return criterionOf(param, undefined, [value], place);
  }
  if (param.code === '_id' && name !== 'eq') throw invalid('_filter', 'The parameter does not have this operator.');
  return operator(value, param, place);
}

function unquoted(text: string): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    throw malformed();
  }
}
