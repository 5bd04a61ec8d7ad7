import { isResourceType, structureOf } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import { rewriteStrings } from '../../resources/validate/index.ts';
import { nodeOf } from '../../resources/validate/nodes.ts';
import type { ResourceJson } from '../storage/contract.ts';
import type { BundleEntry } from './bundle-entries.ts';
import { conditionOf } from './conditions.ts';
import type { Exchange } from './exchange.ts';
import { splitUrl } from './routes.ts';

/** Bound on the distinct conditional references of one transaction. */
const maxConditionalReferences = 1_000;

/**
 * Resolves the references of the form `Type?criteria` that stand in a transaction's resources: each must match exactly
 * one resource that the caller may search (https://hl7.org/fhir/R4/http.html#trules).
 *
 * @returns reference as written -> `Type/id`
 * @throws InterlockError `business-rule` (none), `multiple-matches`, `too-costly`
 */
export async function conditionalReferences(exchange: Exchange, entries: readonly BundleEntry[]): Promise<Map<string, string>> {
  const firstUse = new Map<string, number>();
  for (const { resource, index } of entries) {
    if (resource !== undefined) eachString(resource, (text, key) => {
      if (key === 'reference' && isConditional(text) && !firstUse.has(text)) firstUse.set(text, index);
    });
  }
  if (firstUse.size > maxConditionalReferences) throw new InterlockError('too-costly', { detail: 'The transaction has too many conditional references.' });
  const resolved = new Map<string, string>();
  const resolveOne = async (reference: string, index: number): Promise<void> => {
    const expression = `Bundle.entry[${index}]`;
    const { path: type, query } = splitUrl(reference);
    const { where, text } = conditionOf(type, query, exchange.services.values);
    const search = { types: [type], where, sort: [], count: 2, total: 'none' as const, include: [], revInclude: [], used: [], ignored: [] };
    const { matches } = await exchange.guard.search(search, `conditional reference ${type}?${text}`);
    const [only, second] = matches;
    if (only === undefined) throw new InterlockError('business-rule', { detail: 'A conditional reference matches nothing.', expression });
    if (second !== undefined) throw new InterlockError('multiple-matches', { detail: 'A conditional reference matches more than one resource.', expression });
    resolved.set(reference, `${type}/${only.id}`);
  };
  const pending = [...firstUse];
  // Side by side, so that their audit entries share flushes.
  while (pending.length > 0) await Promise.all(pending.splice(0, 64).map(([reference, index]) => resolveOne(reference, index)));
  return resolved;
}

function isConditional(reference: string): boolean {
  const mark = reference.indexOf('?');
  return mark > 0 && isResourceType(reference.slice(0, mark));
}

/** What an entry of the Bundle becomes. */
export interface EntryTarget {
  readonly type: string;
  readonly id: string;
  /** It will be created, and so have one version. */
  readonly isNew: boolean;
}

/** Finds what a reference in an entry leads to: as `Type/id`, if that is not what it says already. */
export type Resolve = (text: string) => string | undefined;

/**
 * Resolves references within a Bundle (https://hl7.org/fhir/R4/bundle.html#references): by the full URL of an entry, with or
 * without a version; relative ones against the base of the referring entry's own full URL, or this server's.
 *
 * @param targets by full URL
 * @param conditional by the reference as written
 */
export function entryResolver(baseUrl: string, targets: ReadonlyMap<string, EntryTarget>, conditional: ReadonlyMap<string, string>): (fullUrl: string | undefined) => Resolve {
  const byUrl = new Map([...targets].flatMap(([url, target]) => (/^[A-Z][A-Za-z]+\/[^/]+$/.test(url) ? [[url, target], [`${baseUrl}/${url}`, target]] as const : [[url, target]] as const)));
  return (fullUrl) => {
    const base = /^(?<base>https?:\/\/.+)\/[A-Z][A-Za-z]+\/[^/]+$/.exec(fullUrl ?? '')?.groups?.['base'] ?? baseUrl;
    return (text) => {
      const [plain = '', version] = text.split('/_history/');
      const target = byUrl.get(plain) ?? byUrl.get(`${base}/${plain}`);
      if (target === undefined) return conditional.get(text);
      const resolved = `${target.type}/${target.id}${version === undefined ? '' : `/_history/${target.isNew ? '1' : version}`}`;
      return resolved === text ? undefined : resolved;
    };
  };
}

/**
 * Replaces references to entries of the same Bundle, and conditional ones, by `Type/id`: in references, in elements of type
 * uri, url, oid and uuid, and in the links of narrative; canonical URLs stay (https://hl7.org/fhir/R4/http.html#trules).
 * Bytes are edited in place, so that decimals keep their precision.
 */
export function rewriteReferences(resource: ResourceJson, bytes: Buffer | undefined, resolve: Resolve): { resource: ResourceJson; bytes: Buffer } {
  const before = bytes ?? Buffer.from(JSON.stringify(resource));
  const uris = uriNames(resource.resourceType);
  let changed = false;
  const after = rewriteStrings(before, (name, text) => {
    const isUri = name === 'reference' || (uris.has(name) && /^[a-z]+:/.test(text));
    const replaced = name === 'div' ? inNarrative(text, resolve) : isUri && !text.startsWith('#') ? resolve(text) : undefined;
    changed ||= replaced !== undefined;
    return replaced;
  });
  return changed ? { resource: JSON.parse(after.toString()) as ResourceJson, bytes: after } : { resource, bytes: before };
}

/** The targets of `<a href>` and `<img src>`. */
function inNarrative(div: string, resolve: Resolve): string | undefined {
  const after = div.replaceAll(/(\s(?:href|src)\s*=\s*)(?:"([^"]*)"|'([^']*)')/g, (whole, start: string, double?: string, single?: string) => {
    const replaced = resolve((double ?? single ?? '').replaceAll('&amp;', '&'));
    return replaced === undefined ? whole : `${start}"${replaced}"`;
  });
  return after === div ? undefined : after;
}

const uriNamesByType = new Map<string, ReadonlySet<string>>();
const uriTypes: ReadonlySet<string> = new Set(['uri', 'url', 'oid', 'uuid']);

/** Names of the properties, at any depth of a type, that hold a URI which is not a canonical one. */
function uriNames(type: string): ReadonlySet<string> {
  let names = uriNamesByType.get(type);
  if (names !== undefined) return names;
  const [found, canonical, seen, pending] = [new Set<string>(), new Set<string>(), new Set([type]), [type]];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (structureOf(name.split('.', 1)[0]!) === undefined) continue;
    for (const [property, { kind, type: of }] of nodeOf(name).properties) {
      if (kind === 'primitive' && uriTypes.has(of)) found.add(property);
      if (kind === 'primitive' && of === 'canonical') canonical.add(property);
      if (kind !== 'node' || seen.has(of)) continue;
      seen.add(of);
      pending.push(of);
    }
  }
  names = found.difference(canonical);
  uriNamesByType.set(type, names);
  return names;
}

/** Calls back for every string of a JSON tree with the name of the member that holds it. */
function eachString(node: unknown, visit: (text: string, key: string) => void, key = ''): void {
  if (typeof node === 'string') visit(node, key);
  else if (Array.isArray(node)) for (const item of node) eachString(item, visit, key);
  else if (typeof node === 'object' && node !== null) for (const [name, value] of Object.entries(node)) eachString(value, visit, name);
}
