import { isResourceType, resourceTypes, searchParamsOf } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { SearchParam } from '../../resources/search-values/index.ts';
import type { AskedCriterion } from './criteria.ts';
import { parseFilter } from './parse-filter.ts';
import { invalid, isSearchable, parseCriterion, parseDate, splitEscaped, unescapeValue, unsupported, type ValueOptions } from './parse-value.ts';
import { parseWords } from './parse-words.ts';

/** Where a condition is read: the types that it is about, and what the whole search has left to spend. */
export interface Place extends ValueOptions {
  readonly types: readonly string[];
  /** References followed to get here. */
  readonly depth: number;
  /** Conditions that may still be read: untyped chains stand for one on every type that they can lead to. */
  readonly left: { conditions: number };
}

/** Bounds on chains. */
const maxDepth = 6;
export const maxConditions = 2_000;

type Special = (value: string, place: Place) => AskedCriterion;

/** Parameters that no SearchParameter of a type describes: https://hl7.org/fhir/R4/search.html#all. One row each. */
const specials: Readonly<Record<string, Special>> = {
  _filter: (value, place) => parseFilter(value, place),
  _list: (value) => listed(value),
  _text: (value) => parseWords('_text', 'narrative', value),
  _content: (value) => parseWords('_content', 'content', value),
  _query: () => {
    throw unsupported('_query');
  },
};

/** Searchable parameters that mean the same on all types: of one type its own, of several the ones with the same definition. */
export function placeOf(types: readonly string[], options: Omit<ValueOptions, 'param'>): Place {
  return { ...options, types, param: paramIn(types), depth: 0, left: { conditions: maxConditions } };
}

/**
 * Reads one search parameter: a plain one, a special one, a chain or `_has`.
 * @param name as it stands in the query: `name:exact`, `subject:Patient.name`, `_has:Observation:patient:code`
 * @param parts the value's parts between commas, at least one and none empty
 * @returns undefined for a parameter that the types do not have
 * @throws InterlockError `search-invalid`, `search-unsupported`, `too-costly`
 */
export function parseCondition(name: string, value: string, parts: readonly string[], place: Place): AskedCriterion | undefined {
  place.left.conditions -= 1;
  if (place.left.conditions < 0) throw new InterlockError('too-costly', { detail: 'The chains can lead to too many types; name them, as in subject:Patient.name.' });
  if (name === '_has' || name.startsWith('_has:')) return parseHas(name, value, parts, place);
  const dot = name.indexOf('.');
  if (dot >= 0) return parseChain(name.slice(0, dot), name.slice(dot + 1), value, parts, place);
  const colon = name.indexOf(':');
  const [code, modifier] = colon < 0 ? [name, undefined] : [name.slice(0, colon), name.slice(colon + 1)];
  if (Object.hasOwn(specials, code)) {
    if (modifier !== undefined) throw invalid(code, 'It does not have this modifier.');
    return specials[code]!(value, place);
  }
  const param = place.param(code);
  return param === undefined ? undefined : criterionOf(param, modifier, parts, place);
}

/**
 * Follows a reference: the condition on what it leads to, for each type that it can lead to and that has such a condition.
 * @param of what is asked of a resource of the type; undefined if the type does not know it
 * @throws InterlockError what the reading on the only type, or on all of them, was refused for
 */
export function chained(param: SearchParam, type: string | undefined, place: Place, of: (place: Place) => AskedCriterion | undefined): AskedCriterion {
  if (param.type !== 'reference') throw invalid(param.code, 'Only references can be chained.');
  if (type !== undefined && (!isResourceType(type) || param.target?.includes(type) === false)) throw invalid(param.code, 'It does not refer to this type.');
  const targets: { type: string; where: AskedCriterion }[] = [];
  let refusal: unknown = invalid(param.code, 'What it refers to has no such parameter.');
  for (const target of type === undefined ? (param.target ?? resourceTypes()) : [type]) {
    try {
      const where = of(within(target, place));
      if (where !== undefined) targets.push({ type: target, where });
    } catch (error) {
      // The same name may stand for another kind of parameter on another type.
      if (!(error instanceof InterlockError) || error.code === 'too-costly') throw error;
      refusal = error;
    }
  }
  if (targets.length === 0) throw refusal;
  return { op: 'chain', param, of: targets };
}

/** The place of what is asked about resources of another type. */
function within(type: string, place: Place): Place {
  if (place.depth >= maxDepth) throw new InterlockError('too-costly', { detail: `At most ${maxDepth} references can be followed.` });
  return { ...place, types: [type], param: paramIn([type]), depth: place.depth + 1 };
}

/** `subject:Patient.name`: https://hl7.org/fhir/R4/search.html#chaining */
function parseChain(head: string, rest: string, value: string, parts: readonly string[], place: Place): AskedCriterion | undefined {
  const [code = '', type, ...more] = head.split(':');
  const param = place.param(code);
  if (param === undefined) return undefined;
  if (more.length > 0) throw invalid(code, 'A chain is reference.parameter or reference:Type.parameter.');
  return chained(param, type, place, (target) => parseCondition(rest, value, parts, target));
}

/** `_has:Observation:patient:code`: https://hl7.org/fhir/R4/search.html#has */
function parseHas(name: string, value: string, parts: readonly string[], place: Place): AskedCriterion {
  const [, type = '', code = '', rest = ''] = /^_has:([^:]*):([^:]*):(.+)$/s.exec(name) ?? [];
  const param = isResourceType(type) ? searchParamsOf(type).get(code) : undefined;
  if (param?.type !== 'reference' || (param.target !== undefined && !place.types.some((one) => param.target!.includes(one)))) {
    throw invalid('_has', 'It is _has:Type:reference:parameter, where resources of the type refer to what is searched.');
  }
  const where = parseCondition(rest, value, parts, within(type, place));
  if (where === undefined) throw invalid('_has', 'The type has no such parameter.');
  return { op: 'has', type, param, where };
}

/** What a List has for items: `_list=42` is `_has:List:item:_id=42` (https://hl7.org/fhir/R4/search.html#list). */
function listed(value: string): AskedCriterion {
  const ids = splitEscaped(value, ',').filter((part) => part !== '').map((part) => part.replace(/^List\//, ''));
  // Functional lists, such as $current-allergies.
  if (ids.some((id) => id.startsWith('$'))) throw unsupported('_list');
  if (!ids.every((id) => /^[A-Za-z0-9\-.]{1,64}$/.test(id))) throw invalid('_list', 'It takes ids of Lists.');
  return { op: 'has', type: 'List', param: searchParamsOf('List').get('item')!, where: { op: 'id', ids } };
}

/** A condition on a parameter of the types searched. */
export function criterionOf(param: SearchParam, modifier: string | undefined, parts: readonly string[], options: ValueOptions): AskedCriterion {
  // These two are the store's own knowledge, not extracted values.
  if (param.code === '_id' && (modifier === undefined || modifier === 'not')) {
    const ids: AskedCriterion = { op: 'id', ids: parts.map(unescapeValue) };
    return modifier === 'not' ? { op: 'not', of: ids } : ids;
  }
  if (param.code === '_lastUpdated' && modifier === undefined) {
    const spans = parts.map((part): AskedCriterion => {
      const { prefix, lo, hi } = parseDate(part, param, options);
      return { op: 'lastUpdated', prefix, lo, hi };
    });
    return spans.length === 1 ? spans[0]! : { op: 'any', of: spans };
  }
  if ((param.code === '_id' || param.code === '_lastUpdated') && modifier !== 'missing') throw invalid(param.code, 'It does not have this modifier.');
  const criterion = parseCriterion(param, modifier, parts, options);
  if (param.code !== '_id' && param.code !== '_lastUpdated') return criterion;
  // Every stored resource has both.
  return { op: criterion.op === 'not' ? 'any' : 'all', of: [] };
}

function paramIn(types: readonly string[]): ValueOptions['param'] {
  const [first, ...others] = types.map(searchParamsOf);
  return (code) => {
    const param = first?.get(code);
    return param !== undefined && isSearchable(param) && others.every((params) => params.get(code)?.url === param.url) ? param : undefined;
  };
}
