import { isResourceType, resourceTypes, searchParamsOf } from '../definitions/index.ts';
import { InterlockError } from '../outcome/error.ts';
import { canConvert } from './convert.ts';
import { parseExpression } from './expression.ts';
import { readsType, type Resource } from './extract.ts';
import { workedOut } from './posted.ts';
import type { SearchParam, SearchParamType } from './types.ts';
import { compileExpression, walkOfType } from './walk.ts';

/** One posted SearchParameter resource as search parameters: for each base type one. */
export type PostedParams = ReadonlyMap<string, SearchParam>;

const types: ReadonlySet<string> = new Set<SearchParamType>(['number', 'date', 'string', 'token', 'reference', 'quantity', 'uri']);
const maxExpressionLength = 1_000;
const maxBases = 50;

const refused = (why: string): InterlockError => new InterlockError('business-rule', { detail: `SearchParameter: ${why}` });

/**
 * Reads a SearchParameter resource (https://hl7.org/fhir/R4/searchparameter.html) that passed structural validation.
 * @param pending see `SearchParam.posted`
 * @returns undefined unless its status is active
 * @throws InterlockError `business-rule` that says what is not supported; no content is in it
 */
export function readSearchParameter(resource: Resource, pending: boolean): PostedParams | undefined {
  if (resource['status'] !== 'active') return undefined;
  const { code, type, expression, base, target, url } = resource as unknown as Readonly<Record<'code' | 'type' | 'expression' | 'url', string | undefined>> & Readonly<Record<'base' | 'target', readonly string[] | undefined>>;
  if (code === undefined || !/^[A-Za-z][A-Za-z0-9-]{0,63}$/.test(code)) throw refused('code must be letters, digits and dashes, at most 64.');
  if (type === undefined || !types.has(type)) throw refused('type must be number, date, string, token, reference, quantity or uri.');
  if (expression === undefined || expression.length > maxExpressionLength) throw refused(`expression must be there, with at most ${maxExpressionLength} characters.`);
  if (base === undefined || base.length === 0 || base.length > maxBases || !base.every(isResourceType)) throw refused('base must name concrete resource types.');
  if (target?.every(isResourceType) === false || (target !== undefined && type !== 'reference')) throw refused('target must name resource types, and only a reference has one.');
  return new Map(
    base.map((one) => {
      const own = expressionFor(expression, one);
      if (own === undefined) throw refused('expression says nothing of one of the types in base.');
      const param = { code, type: type as SearchParamType, url: url ?? '', expression: own, ...(target !== undefined && { target }) };
      return [one, { ...param, posted: { values: valuesOf(param), pending } }];
    }),
  );
}

/**
 * Checks a SearchParameter that is about to be written: as {@link readSearchParameter}, that the expressions can be
 * evaluated, and that no other parameter of a base type has the code.
 * @throws InterlockError `business-rule`
 */
export function assertSearchParameter(resource: Resource): void {
  const params = readSearchParameter(resource, true);
  for (const [type, param] of params ?? []) {
    const other = searchParamsOf(type).get(param.code);
    if (other !== undefined && (other.posted === undefined || other.url !== param.url)) throw refused('another search parameter of a base type has this code.');
    tryOut(param, type);
  }
}

function tryOut(param: SearchParam, type: string): void {
  if (isPath(param.expression)) {
    // An element that R4 does not have, or of a type that cannot be compared so.
    if (!reachesValues(param, type)) throw refused('expression reaches nothing that the type of the parameter can compare.');
    return;
  }
  try {
    workedOut(param)({ resourceType: type }, { resourceType: type }, [], {});
  } catch {
    throw refused('expression cannot be evaluated here.');
  }
}

function isPath(expression: string): boolean {
  try {
    parseExpression(expression);
    return true;
  } catch {
    return false;
  }
}

function reachesValues(param: SearchParam, type: string): boolean {
  try {
    const { walks, presence } = compileExpression(param.expression, walkOfType(type), type);
    return presence || walks.some((walk) => canConvert(param.type, walk));
  } catch {
    return false;
  }
}

/** The alternatives of an expression that concern a type; undefined if none does. */
function expressionFor(expression: string, type: string): string | undefined {
  const own = alternativesOf(expression).filter((one) => {
    const start = /^[\s(]*([A-Z][A-Za-z]*)/.exec(one)?.[1];
    return start === undefined || start === type || start === 'Resource' || start === 'DomainResource';
  });
  return own.length === 0 ? undefined : own.map((one) => one.trim()).join(' | ');
}

/** Splits at `|` outside of brackets and texts. */
function alternativesOf(expression: string): string[] {
  const parts: string[] = [''];
  let depth = 0;
  for (const [piece] of expression.matchAll(/'(?:[^'\\]|\\.)*'|[^]/g)) {
    depth += piece === '(' || piece === '[' ? 1 : piece === ')' || piece === ']' ? -1 : 0;
    if (piece === '|' && depth === 0) parts.push('');
    else parts.push(`${parts.pop() ?? ''}${piece}`);
  }
  return parts;
}

/** How many resources are likely to share one value. */
function valuesOf(param: SearchParam): 'common' | 'clinical' | 'rare' {
  if (['Identifier', 'ContactPoint'].some((type) => readsType(param, type))) return 'rare';
  return ['code', 'boolean'].some((type) => readsType(param, type)) ? 'common' : 'clinical';
}

/** Types that have a search parameter of one of these types. */
export function typesWith(kinds: readonly SearchParamType[]): string[] {
  return resourceTypes().filter((type) => [...searchParamsOf(type).values()].some((param) => kinds.includes(param.type)));
}
