/** Prefixes of ordered parameters. */
export type Prefix = 'eq' | 'ne' | 'gt' | 'lt' | 'ge' | 'le' | 'sa' | 'eb' | 'ap';

/** One value of a parameter, as it is meant; `render` writes it. */
export type Value =
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'token'; readonly system?: string; readonly code?: string }
  | { readonly kind: 'of-type'; readonly system: string; readonly code: string; readonly value: string }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'date'; readonly prefix: Prefix; readonly text: string }
  | { readonly kind: 'number'; readonly prefix: Prefix; readonly text: string }
  | { readonly kind: 'quantity'; readonly prefix: Prefix; readonly text: string; readonly system?: string; readonly unit?: string }
  | { readonly kind: 'reference'; readonly type?: string; readonly id: string }
  | { readonly kind: 'uri'; readonly value: string }
  | { readonly kind: 'composite'; readonly parts: readonly Value[] };

/** One criterion of a search. */
export type Clause =
  | { readonly kind: 'param'; readonly code: string; readonly modifier?: string; readonly values: readonly Value[] }
  | { readonly kind: 'chain'; readonly code: string; readonly targetType?: string; readonly next: Clause }
  | { readonly kind: 'has'; readonly type: string; readonly code: string; readonly next: Clause }
  | { readonly kind: 'filter'; readonly of: Filter };

/** A `_filter` expression. */
export type Filter =
  | { readonly op: 'and' | 'or'; readonly left: Filter; readonly right: Filter }
  | { readonly op: 'not'; readonly of: Filter }
  | { readonly op: 'test'; readonly code: string; readonly operator: 'eq' | 'ne' | 'co' | 'sw' | 'gt' | 'lt' | 'ge' | 'le'; readonly value: Value };

/** A search of one type. */
export interface Query {
  readonly type: string;
  readonly where: readonly Clause[];
  readonly sort: readonly { readonly code: string; readonly isDescending: boolean }[];
  readonly count: number;
  readonly total: 'none' | 'accurate' | undefined;
}

const prefixed = (prefix: Prefix, text: string): string => (prefix === 'eq' ? text : `${prefix}${text}`);

/** Escapes what separates values (https://hl7.org/fhir/R4/search.html#escaping). */
const escaped = (text: string): string => text.replace(/[\\,|$]/g, String.raw`\$&`);

function valueText(value: Value): string {
  switch (value.kind) {
    case 'string': case 'uri': return escaped(value.value);
    case 'boolean': return String(value.value);
    case 'token': return value.system === undefined ? escaped(value.code!) : `${escaped(value.system)}|${escaped(value.code ?? '')}`;
    case 'of-type': return `${escaped(value.system)}|${escaped(value.code)}|${escaped(value.value)}`;
    case 'date': case 'number': return prefixed(value.prefix, value.text);
    case 'quantity': return prefixed(value.prefix, value.text) + (value.system === undefined && value.unit === undefined ? '' : `|${value.system ?? ''}|${escaped(value.unit ?? '')}`);
    case 'reference': return value.type === undefined ? value.id : `${value.type}/${value.id}`;
    case 'composite': return value.parts.map(valueText).join('$');
  }
}

function filterText(filter: Filter): string {
  switch (filter.op) {
    case 'and': case 'or': return `(${filterText(filter.left)}) ${filter.op} (${filterText(filter.right)})`;
    case 'not': return `not (${filterText(filter.of)})`;
    case 'test': {
      const { value } = filter;
      const text = value.kind === 'string' ? JSON.stringify(value.value) : value.kind === 'date' ? value.text : value.kind === 'boolean' ? String(value.value) : value.kind === 'token' ? (value.system === undefined ? value.code! : `${value.system}|${value.code ?? ''}`) : valueText(value);
      return `${filter.code} ${filter.operator} ${text}`;
    }
  }
}

/** Name and value of a clause, as they stand in a URL. */
export function clausePair(clause: Clause): readonly [string, string] {
  switch (clause.kind) {
    case 'param': return [clause.modifier === undefined ? clause.code : `${clause.code}:${clause.modifier}`, clause.values.map(valueText).join(',')];
    case 'chain': {
      const [name, text] = clausePair(clause.next);
      return [`${clause.code}${clause.targetType === undefined ? '' : `:${clause.targetType}`}.${name}`, text];
    }
    case 'has': {
      const [name, text] = clausePair(clause.next);
      return [`_has:${clause.type}:${clause.code}:${name}`, text];
    }
    case 'filter': return ['_filter', filterText(clause.of)];
  }
}

/** The search below the FHIR base. */
export function queryUrl({ type, where, sort, count, total }: Query): string {
  const pairs: (readonly [string, string])[] = where.map(clausePair);
  if (sort.length > 0) pairs.push(['_sort', sort.map(({ code, isDescending }) => `${isDescending ? '-' : ''}${code}`).join(',')]);
  if (total !== undefined) pairs.push(['_total', total]);
  pairs.push(['_count', String(count)]);
  return `${type}?${pairs.map(([name, text]) => `${encodeURIComponent(name)}=${encodeURIComponent(text)}`).join('&')}`;
}
