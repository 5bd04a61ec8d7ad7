import { parseReference } from '../../resources/search-values/index.ts';
import type { ResourceJson } from '../storage/contract.ts';

/** A literal reference to a resource of this server. */
export interface LocalReference {
  readonly type: string;
  readonly id: string;
  /** The version that it names, as written. */
  readonly version?: string;
  /** The element that holds it, by names and indexes, such as `Observation.performer[0]`. */
  readonly expression: string;
}

/**
 * The references of a resource that name another by `Type/id` or by its URL on this server, perhaps with a version; those in
 * contained resources and extensions too. What is contained (`#…`), a urn, a query, or elsewhere is not among them.
 */
export function referencesIn(resource: ResourceJson, baseUrl: string | undefined): LocalReference[] {
  const found: LocalReference[] = [];
  const base = baseUrl?.replace(/\/$/, '');
  const visit = (node: unknown, expression: string): void => {
    if (Array.isArray(node)) {
      for (const [index, item] of node.entries()) if (typeof item === 'object') visit(item, `${expression}[${index}]`);
      return;
    }
    if (typeof node !== 'object' || node === null) return;
    for (const [name, value] of Object.entries(node)) {
      if (typeof value === 'object') visit(value, `${expression}.${name}`);
      else if (name === 'reference' && typeof value === 'string') {
        const parsed = parseReference(value);
        if (parsed === undefined || (parsed.base !== undefined && parsed.base !== base)) continue;
        const version = /\/_history\/([^/]+)$/.exec(value)?.[1];
        found.push({ type: parsed.type, id: parsed.id, expression, ...(version === undefined ? {} : { version }) });
      }
    }
  };
  visit(resource, resource.resourceType);
  return found;
}
