import { isResourceType } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import { rewriteStrings } from '../../resources/validate/index.ts';
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
    const { where, text } = conditionOf(type, query);
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

/**
 * Replaces references to entries of the same Bundle, and conditional ones, by `Type/id`: wherever the URL stands as a
 * whole value, and inside narrative. Bytes are edited in place, so that decimals keep their precision.
 */
export function rewriteReferences(resource: ResourceJson, bytes: Buffer | undefined, urls: ReadonlyMap<string, string>): { resource: ResourceJson; bytes: Buffer } {
  const before = bytes ?? Buffer.from(JSON.stringify(resource));
  let changed = false;
  const after = rewriteStrings(before, (name, text) => {
    const replaced = name === 'div' ? inNarrative(text, urls) : name === 'reference' || text.startsWith('urn:') ? urls.get(text) : undefined;
    changed ||= replaced !== undefined;
    return replaced;
  });
  return changed ? { resource: JSON.parse(after.toString()) as ResourceJson, bytes: after } : { resource, bytes: before };
}

function inNarrative(div: string, urls: ReadonlyMap<string, string>): string | undefined {
  if (!div.includes('urn:uuid:')) return undefined;
  return div.replaceAll(/urn:uuid:[0-9a-fA-F-]{36}/g, (url) => urls.get(url) ?? url);
}

/** Calls back for every string of a JSON tree with the name of the member that holds it. */
function eachString(node: unknown, visit: (text: string, key: string) => void, key = ''): void {
  if (typeof node === 'string') visit(node, key);
  else if (Array.isArray(node)) for (const item of node) eachString(item, visit, key);
  else if (typeof node === 'object' && node !== null) for (const [name, value] of Object.entries(node)) eachString(value, visit, name);
}
