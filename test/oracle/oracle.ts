import { at, oracleParams, type OracleParam } from './params.ts';
import type { Clause, Filter, Prefix, Query, Value } from './query.ts';
import type { Json, Resource } from './resources.ts';

/** A resource as it was stored: `order` counts recordings, `lastUpdatedMs` is what the server said. */
export interface Recorded {
  readonly resource: Resource;
  readonly order: number;
  readonly lastUpdatedMs: number;
}

/** What a search has to answer, in its order. */
export function answerOf(query: Query, world: readonly Recorded[]): string[] {
  const found = world.filter(({ resource }) => resource.resourceType === query.type).filter((one) => query.where.every((clause) => meets(one, clause, world)));
  return found.sort((a, b) => compare(a, b, query)).map(({ resource }) => resource.id);
}

/** True if a resource meets one criterion; chains look at `world` alone. */
export function meets(subject: Recorded, clause: Clause, world: readonly Recorded[]): boolean {
  const { resource } = subject;
  switch (clause.kind) {
    case 'param': return paramMeets(subject, clause);
    case 'filter': return filterMeets(subject, clause.of);
    case 'chain': {
      const targets = at(resource, oracleParams[resource.resourceType]![clause.code]!.paths[0]!).map((reference) => (reference as Json)['reference']);
      return world.some((one) => (clause.targetType === undefined || one.resource.resourceType === clause.targetType) && targets.includes(keyOf(one)) && isKnown(one, clause.next) && meets(one, clause.next, world));
    }
    case 'has':
      return world.some((one) => one.resource.resourceType === clause.type && at(one.resource, oracleParams[clause.type]![clause.code]!.paths[0]!).some((reference) => (reference as Json)['reference'] === keyOf(subject)) && meets(one, clause.next, world));
  }
}

const keyOf = ({ resource }: Recorded): string => `${resource.resourceType}/${resource.id}`;

/** Of the types that an untyped chain may lead to, some may not have the parameter. */
function isKnown({ resource }: Recorded, clause: Clause): boolean {
  return clause.kind === 'has' || clause.kind === 'filter' || clause.code.startsWith('_') || oracleParams[resource.resourceType]?.[clause.code] !== undefined;
}

function paramMeets({ resource, lastUpdatedMs }: Recorded, { code, modifier, values }: Extract<Clause, { kind: 'param' }>): boolean {
  if (code === '_id') return values.some((value) => value.kind === 'token' && value.code === resource.id);
  if (code === '_lastUpdated') return values.some((value) => value.kind === 'date' && spanMeets({ lo: lastUpdatedMs, hi: lastUpdatedMs + 1 }, value.prefix, spanOf(value.text)));
  const param = oracleParams[resource.resourceType]![code]!;
  if (modifier === 'missing') return (valuesAt(resource, param).length === 0) === (values[0] as { value: boolean }).value;
  if (modifier === 'not') return !values.some((value) => anyMeets(resource, param, value, undefined));
  return values.some((value) => anyMeets(resource, param, value, modifier));
}

function valuesAt(root: unknown, param: OracleParam): unknown[] {
  return param.paths.flatMap((path) => at(root, path));
}

function anyMeets(root: unknown, param: OracleParam, value: Value, modifier: string | undefined): boolean {
  if (param.type === 'composite') {
    const repeats = param.of === undefined ? [root] : at(root, param.of);
    return value.kind === 'composite' && repeats.some((repeat) => param.components!.every((component, index) => anyMeets(repeat, component, value.parts[index]!, undefined)));
  }
  return valuesAt(root, param).some((have) => oneMeets(have, value, modifier));
}

const folded = (text: string): string => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();

function oneMeets(have: unknown, want: Value, modifier: string | undefined): boolean {
  switch (want.kind) {
    case 'string': {
      if (modifier === 'exact') return have === want.value;
      if (modifier === 'text') return textsOf(have as Json).some((text) => folded(text).startsWith(folded(want.value)));
      return modifier === 'contains' ? folded(have as string).includes(folded(want.value)) : folded(have as string).startsWith(folded(want.value));
    }
    case 'boolean': return have === want.value;
    case 'token': {
      const tokens = modifier === 'identifier' ? tokensOf((have as Json)['identifier']) : tokensOf(have);
      return tokens.some(({ system, code }) => (want.system === undefined || want.system === (system ?? '')) && (want.code === undefined || want.code.toLowerCase() === code?.toLowerCase()));
    }
    case 'of-type':
      return at(have, 'type.coding').some((type) => (type as Json)['system'] === want.system && (type as Json)['code'] === want.code) && ((have as Json)['value'] as string | undefined)?.toLowerCase() === want.value.toLowerCase();
    case 'date': return spanMeets(typeof have === 'string' ? spanOf(have) : periodSpan(have as Json), want.prefix, spanOf(want.text));
    case 'number': return decimalMeets(decimal(String(have)), want.prefix, want.text, 1n);
    case 'quantity': return quantityMeets(have as Json, want);
    case 'reference': {
      const reference = (have as Json)['reference'];
      return want.type === undefined ? typeof reference === 'string' && reference.endsWith(`/${want.id}`) : reference === `${want.type}/${want.id}`;
    }
    case 'uri': return modifier === 'below' ? isBelow(have as string, want.value) : modifier === 'above' ? isBelow(want.value, have as string) : have === want.value;
    case 'composite': return false;
  }
}

/** URLs are trees of segments; of other URIs each is its own. */
function isBelow(uri: string, root: string): boolean {
  return uri === root || (root.startsWith('http') && uri.startsWith(root.endsWith('/') ? root : `${root}/`));
}

function tokensOf(have: unknown): { system?: string; code?: string }[] {
  if (have === undefined) return [];
  if (typeof have === 'string' || typeof have === 'boolean') return [{ code: String(have) }];
  const { coding, system, code, value } = have as { coding?: { system?: string; code?: string }[]; system?: string; code?: string; value?: string };
  return coding ?? [{ ...(system === undefined ? {} : { system }), code: (code ?? value)! }];
}

function textsOf(have: Json): string[] {
  return [...at(have, 'text'), ...at(have, 'display'), ...at(have, 'coding.display'), ...at(have, 'type.text')] as string[];
}

interface Span {
  readonly lo: number;
  readonly hi: number;
}

/** The milliseconds that a date of any precision covers, [lo, hi), in UTC where it names no zone. */
function spanOf(text: string): Span {
  const [, year, month, day, time, fraction, zone] = /^(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?$/.exec(text)!;
  if (month === undefined) return { lo: Date.UTC(Number(year), 0), hi: Date.UTC(Number(year) + 1, 0) };
  if (day === undefined) return { lo: Date.UTC(Number(year), Number(month) - 1), hi: Date.UTC(Number(year), Number(month)) };
  if (time === undefined) return { lo: Date.UTC(Number(year), Number(month) - 1, Number(day)), hi: Date.UTC(Number(year), Number(month) - 1, Number(day) + 1) };
  const lo = Date.parse(`${year}-${month}-${day}T${time}${fraction ?? ''}${zone}`);
  return { lo, hi: lo + (fraction === undefined ? 1000 : 1) };
}

function periodSpan({ start, end }: Json): Span {
  return { lo: start === undefined ? -Infinity : spanOf(start as string).lo, hi: end === undefined ? Infinity : spanOf(end as string).hi };
}

/** https://hl7.org/fhir/R4/search.html#prefix */
function spanMeets(have: Span, prefix: Prefix, want: Span): boolean {
  const isInside = have.lo >= want.lo && have.hi <= want.hi;
  switch (prefix) {
    case 'eq': return isInside;
    case 'ne': return !isInside;
    case 'gt': return have.hi > want.hi;
    case 'lt': return have.lo < want.lo;
    case 'ge': return isInside || have.hi > want.hi;
    case 'le': return isInside || have.lo < want.lo;
    case 'sa': return have.lo >= want.hi;
    case 'eb': return have.hi <= want.lo;
    case 'ap': return have.lo < want.hi && have.hi > want.lo;
  }
}

/** Decimals in units of 10^-12. */
function decimal(text: string): bigint {
  const [, sign, whole, fraction = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text)!;
  const scaled = BigInt(whole! + fraction.padEnd(12, '0'));
  return sign === '-' ? -scaled : scaled;
}

/** https://hl7.org/fhir/R4/search.html#number: only `eq` and `ne` regard the precision. `factor` turns the asked unit into that of `have`. */
function decimalMeets(have: bigint, prefix: Prefix, text: string, factor: bigint): boolean {
  const want = decimal(text) * factor;
  const half = (5n * 10n ** BigInt(11 - (text.split('.')[1]?.length ?? 0))) * factor;
  const isEqual = have >= want - half && have < want + half;
  const tenth = (want < 0n ? -want : want) / 10n;
  switch (prefix) {
    case 'eq': return isEqual;
    case 'ne': return !isEqual;
    case 'gt': case 'sa': return have > want;
    case 'lt': case 'eb': return have < want;
    case 'ge': return have >= want;
    case 'le': return have <= want;
    case 'ap': return have >= want - tenth && have <= want + tenth;
  }
}

/** Units in queries' pools that can be converted: dimension and size. */
const sizes: Readonly<Record<string, readonly [string, bigint]>> = { mg: ['mass', 1n], g: ['mass', 1000n], kg: ['mass', 1_000_000n], cm: ['length', 1n], m: ['length', 100n] };

function quantityMeets(have: Json, want: Extract<Value, { kind: 'quantity' }>): boolean {
  const value = decimal(String(have['value']));
  if (want.unit === undefined) return (want.system === undefined || want.system === have['system']) && decimalMeets(value, want.prefix, want.text, 1n);
  if (want.system === undefined) return (have['code'] === want.unit || have['unit'] === want.unit) && decimalMeets(value, want.prefix, want.text, 1n);
  if (have['system'] !== want.system) return false;
  if (have['code'] === want.unit) return decimalMeets(value, want.prefix, want.text, 1n);
  const [mine, theirs] = [sizes[want.unit], sizes[have['code'] as string]];
  return mine !== undefined && theirs !== undefined && mine[0] === theirs[0] && decimalMeets(value * theirs[1], want.prefix, want.text, mine[1]);
}

function filterMeets(subject: Recorded, filter: Filter): boolean {
  switch (filter.op) {
    case 'and': return filterMeets(subject, filter.left) && filterMeets(subject, filter.right);
    case 'or': return filterMeets(subject, filter.left) || filterMeets(subject, filter.right);
    case 'not': return !filterMeets(subject, filter.of);
    case 'test': {
      const { code, operator, value } = filter;
      if (value.kind === 'string') return paramMeets(subject, { kind: 'param', code, values: [value], ...(operator === 'sw' ? {} : { modifier: 'contains' }) });
      if (value.kind === 'date') return paramMeets(subject, { kind: 'param', code, values: [{ ...value, prefix: operator as Prefix }] });
      const isEqual = paramMeets(subject, { kind: 'param', code, values: [value] });
      // Some value that is unequal: there has to be one.
      return operator === 'ne' ? !isEqual && !paramMeets(subject, { kind: 'param', code, modifier: 'missing', values: [{ kind: 'boolean', value: true }] }) : isEqual;
    }
  }
}

type Key = number | string | undefined;

/** Smallest value when ascending, largest when descending, none last; then the order of recording. */
function compare(a: Recorded, b: Recorded, { sort }: Query): number {
  for (const { code, isDescending } of sort) {
    const [x, y] = [keyOfSort(a, code, isDescending), keyOfSort(b, code, isDescending)];
    if (x === y) continue;
    if (x === undefined || y === undefined) return x === undefined ? 1 : -1;
    return (x < y ? -1 : 1) * (isDescending ? -1 : 1);
  }
  // Alone or first, the time of recording is the order itself.
  return (a.order - b.order) * (sort[0]?.code === '_lastUpdated' && sort[0].isDescending ? -1 : 1);
}

function keyOfSort({ resource, order }: Recorded, code: string, isDescending: boolean): Key {
  if (code === '_id') return resource.id;
  if (code === '_lastUpdated') return order;
  const param = oracleParams[resource.resourceType]![code]!;
  const keys = valuesAt(resource, param).flatMap((value): (number | string)[] => {
    if (param.type === 'date') {
      const span = typeof value === 'string' ? spanOf(value) : periodSpan(value as Json);
      return [isDescending ? span.hi : span.lo];
    }
    if (param.type === 'string') return [folded(value as string)];
    if (param.type === 'number') return [value as number];
    if (param.type === 'uri') return [value as string];
    return tokensOf(value).map((token) => token.code!.toLowerCase());
  });
  return keys.reduce<Key>((best, key) => (best === undefined || (isDescending ? key > best : key < best) ? key : best), undefined);
}
