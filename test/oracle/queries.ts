import { oracleParams, type OracleParam } from './params.ts';
import type { Clause, Filter, Prefix, Query, Value } from './query.ts';
import type { Random } from './random.ts';
import { anyDate, categorySystem, identifierTypeSystem, localSystem, loincSystem, pools, ucum, type Resource } from './resources.ts';

/** What a caller may ask: types, and how deep chains go. */
export interface Range {
  readonly types: readonly string[];
  /** Resources whose ids references are made of. */
  readonly resources: readonly Resource[];
}

const codePools: Readonly<Record<string, { readonly system?: string; readonly codes: readonly string[] }>> = {
  tag: { system: 'urn:example:tags', codes: pools.tag },
  gender: { codes: pools.gender },
  obsStatus: { codes: pools.obsStatus },
  encounterStatus: { codes: ['finished', 'in-progress', 'planned'] },
  locationStatus: { codes: ['active', 'suspended', 'inactive'] },
  publicationStatus: { codes: ['active', 'draft'] },
  class: { system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', codes: ['AMB', 'IMP', 'EMER'] },
  category: { system: categorySystem, codes: pools.category },
};
const stringPools: Readonly<Record<string, readonly string[]>> = { family: pools.family, given: pools.given, name: [...pools.family, ...pools.given], city: pools.city };
const ordered: readonly Prefix[] = ['eq', 'eq', 'ne', 'gt', 'lt', 'ge', 'le', 'sa', 'eb'];

/** Pools of tokens that a resource has at most one of. */
const singleValued: ReadonlySet<string> = new Set(['boolean', 'gender', 'obsStatus', 'encounterStatus', 'locationStatus', 'publicationStatus', 'class']);

/** Makes a search at random; `depth` bounds chains. */
export function makeQuery(random: Random, range: Range): Query {
  const type = random.pick(range.types);
  const where = random.chance(0.05) ? [] : random.some(3, () => clauseOf(random, range, type, 2));
  const sortable = Object.entries(oracleParams[type]!).filter(([, param]) => ['date', 'string', 'token', 'number', 'uri'].includes(param.type)).map(([code]) => code);
  const codes = random.chance(0.5) ? [] : random.some(2, () => (random.chance(0.15) ? random.pick(['_id', '_lastUpdated']) : random.pick(sortable)));
  return {
    type, where,
    sort: [...new Set(codes)].map((code) => ({ code, isDescending: random.chance(0.5) })),
    count: random.pick([3, 10, 50, 200]), total: random.pick(['none', 'accurate', undefined]),
  };
}

function clauseOf(random: Random, range: Range, type: string, depth: number): Clause {
  const params = oracleParams[type]!;
  const roll = random.next();
  if (depth > 0 && roll < 0.15) {
    const chains = Object.entries(params).filter(([, param]) => param.type === 'reference' && param.targets!.some((target) => range.types.includes(target)));
    if (chains.length > 0) {
      const [code, { targets }] = random.pick(chains);
      const target = random.pick(targets!.filter((one) => range.types.includes(one)));
      const next = clauseOf(random, range, target, depth - 1);
      const isShared = targets!.length === 1 || (next.kind === 'param' && targets!.every((one) => oracleParams[one]![next.code] !== undefined) && next.modifier !== 'missing');
      return { kind: 'chain', code, next, ...(isShared && random.chance(0.5) && range.types.includes(targets![0]!) ? {} : { targetType: target }) };
    }
  }
  if (depth > 0 && roll > 0.85) {
    const sources = range.types.flatMap((source) => Object.entries(oracleParams[source]!).filter(([, param]) => param.targets?.includes(type) === true).map(([code]) => ({ source, code })));
    if (sources.length > 0) {
      const { source, code } = random.pick(sources);
      return { kind: 'has', type: source, code, next: clauseOf(random, range, source, depth - 1) };
    }
  }
  if (depth === 2 && random.chance(0.07) && filterable(type).length > 0) return { kind: 'filter', of: filterOf(random, type, 2) };
  if (random.chance(0.04)) return { kind: 'param', code: '_id', values: random.some(3, () => ({ kind: 'token', code: idOf(random, range, type) })) };
  const [code, param] = random.pick(Object.entries(params));
  if (random.chance(0.06) && param.type !== 'composite') return { kind: 'param', code, modifier: 'missing', values: [{ kind: 'boolean', value: random.chance(0.5) }] };
  return paramClause(random, range, code, param);
}

function paramClause(random: Random, range: Range, code: string, param: OracleParam): Clause {
  const plain = (modifier?: string): Clause => ({ kind: 'param', code, ...(modifier === undefined ? {} : { modifier }), values: random.some(2, () => valueOf(random, range, param)) });
  switch (param.type) {
    case 'string':
      return plain(random.pick([undefined, undefined, 'exact', 'contains']));
    case 'token':
      if (param.pool === 'concept' && random.chance(0.12)) return { kind: 'param', code, modifier: 'text', values: [{ kind: 'string', value: random.pick(pools.text).slice(0, 4 + random.below(6)).trim() }] };
      if (param.pool === 'identifier' && random.chance(0.2)) return { kind: 'param', code, modifier: 'of-type', values: [{ kind: 'of-type', system: identifierTypeSystem, code: random.pick(pools.identifierType), value: random.pick(pools.identifierValue) }] };
      return plain(random.chance(0.2) ? 'not' : undefined);
    case 'reference':
      if (random.chance(0.15)) return { kind: 'param', code, modifier: 'identifier', values: [{ kind: 'token', ...(random.chance(0.7) ? { system: random.pick(pools.identifierSystem) } : {}), code: random.pick(pools.identifierValue) }] };
      return plain();
    case 'uri':
      return plain(random.pick([undefined, undefined, 'above', 'below']));
    default:
      return plain();
  }
}

function valueOf(random: Random, range: Range, param: OracleParam): Value {
  switch (param.type) {
    case 'string': {
      const whole = random.pick(stringPools[param.pool!]!);
      const start = random.chance(0.2) ? random.below(whole.length) : 0;
      return { kind: 'string', value: random.chance(0.4) ? whole : whole.slice(start, start + 1 + random.below(9)).trim() || whole };
    }
    case 'token':
      return tokenOf(random, param.pool!);
    case 'date':
      return { kind: 'date', prefix: random.pick(ordered), text: anyDate(random, true) };
    case 'number':
      return { kind: 'number', prefix: random.pick([...ordered, 'ap']), text: random.pick(pools.probability) };
    case 'quantity': {
      const shape = random.below(3);
      const unit = random.pick(pools.units);
      return { kind: 'quantity', prefix: random.pick([...ordered, 'ap']), text: random.pick(pools.decimals), ...(shape === 0 ? {} : shape === 1 ? { unit } : { system: ucum, unit }) };
    }
    case 'reference': {
      const type = random.pick(param.targets!);
      const id = idOf(random, range, type);
      return random.chance(0.6) ? { kind: 'reference', type, id } : { kind: 'reference', id };
    }
    case 'uri':
      return { kind: 'uri', value: random.pick(pools.url) };
    case 'composite':
      return { kind: 'composite', parts: param.components!.map((component) => valueOf(random, range, component)) };
  }
}

function tokenOf(random: Random, pool: string): Value {
  if (pool === 'boolean') return { kind: 'boolean', value: random.chance(0.5) };
  if (pool === 'identifier') {
    const shape = random.below(4);
    const [system, code] = [random.pick(pools.identifierSystem), random.pick(pools.identifierValue)];
    return { kind: 'token', ...(shape === 0 ? { code } : shape === 1 ? { system } : shape === 2 ? { system: '', code } : { system, code }) };
  }
  if (pool === 'concept') {
    const isLoinc = random.chance(0.6);
    const code = random.pick(isLoinc ? pools.loinc : pools.local);
    const system = isLoinc ? loincSystem : localSystem;
    const shape = random.below(4);
    return { kind: 'token', ...(shape === 0 ? { system } : shape === 1 ? { system: isLoinc ? loincSystem : '', code } : shape === 2 ? { system, code } : { code }) };
  }
  const { system, codes } = codePools[pool]!;
  const code = random.pick(codes);
  return { kind: 'token', ...(system !== undefined && random.chance(0.5) ? { system } : {}), code: random.chance(0.1) ? code.toUpperCase() : code };
}

function idOf(random: Random, { resources }: Range, type: string): string {
  const known = resources.filter(({ resourceType }) => resourceType === type);
  return known.length === 0 || random.chance(0.1) ? 'nothing-there' : random.pick(known).id;
}

const filterable = (type: string): [string, OracleParam][] => Object.entries(oracleParams[type]!).filter(([, param]) => param.type === 'string' || param.type === 'date' || (param.type === 'token' && param.pool !== 'identifier'));

/** Strings by `co` and `sw`, tokens by `eq` and `ne`, dates by the operators that order them. */
function filterOf(random: Random, type: string, depth: number): Filter {
  const roll = random.next();
  if (depth > 0 && roll < 0.4) return { op: random.pick(['and', 'or']), left: filterOf(random, type, depth - 1), right: filterOf(random, type, depth - 1) };
  if (depth > 0 && roll < 0.55) return { op: 'not', of: filterOf(random, type, depth - 1) };
  const [code, param] = random.pick(filterable(type));
  if (param.type === 'string') return { op: 'test', code, operator: random.pick(['co', 'sw']), value: { kind: 'string', value: random.pick(stringPools[param.pool!]!).slice(0, 1 + random.below(5)).trim() } };
  if (param.type === 'date') return { op: 'test', code, operator: random.pick(['gt', 'lt', 'ge', 'le']), value: { kind: 'date', prefix: 'eq', text: anyDate(random, false) } };
  const value = tokenOf(random, param.pool!);
  if (value.kind === 'token' && value.code === undefined) return filterOf(random, type, depth);
  // What `ne` means of several values, readers of the specification disagree.
  return { op: 'test', code, operator: singleValued.has(param.pool!) ? random.pick(['eq', 'ne']) : 'eq', value };
}
