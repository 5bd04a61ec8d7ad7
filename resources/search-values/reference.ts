import { isResourceType } from '../definitions/index.ts';
import type { SearchValue } from './types.ts';

/** What a literal reference points to (https://hl7.org/fhir/R4/references.html#literal). */
export interface ParsedReference {
  /** Base URL without its last slash, for an absolute RESTful URL. */
  readonly base?: string;
  readonly type: string;
  readonly id: string;
}

const restful = /^(?:(?<base>[a-z][a-z0-9+.-]*:\/\/[^\s?#]+)\/)?(?<type>[A-Z][A-Za-z]+)\/(?<id>[A-Za-z0-9\-.]{1,64})(?:\/_history\/[A-Za-z0-9\-.]{1,64})?$/;

/** Takes a RESTful reference apart, a version left out; undefined for urn, fragment and other URLs. */
export function parseReference(reference: string): ParsedReference | undefined {
  const groups = restful.exec(reference)?.groups;
  if (groups === undefined || !isResourceType(groups['type']!)) return undefined;
  return { ...(groups['base'] !== undefined && { base: groups['base'] }), type: groups['type']!, id: groups['id']! };
}

/** Type that a Reference names, by its literal or else its `type`; undefined if it does not say. */
export function targetTypeOf(node: unknown): string | undefined {
  const { reference, type } = node as { readonly reference?: unknown; readonly type?: unknown };
  const literal = typeof reference === 'string' ? parseReference(reference)?.type : undefined;
  return literal ?? (typeof type === 'string' ? type : undefined);
}

/**
 * Search value of a literal reference; undefined for a contained one (`#id`), which no search can name.
 * @param baseUrl this server's FHIR base, under which absolute references are local
 */
export function referenceValue(reference: string, baseUrl: string | undefined): Extract<SearchValue, { kind: 'reference' }> | undefined {
  if (reference.startsWith('#') || reference === '') return undefined;
  const parsed = parseReference(reference);
  if (parsed === undefined) return { kind: 'reference', url: reference };
  if (parsed.base === undefined || parsed.base === baseUrl?.replace(/\/$/, '')) return { kind: 'reference', type: parsed.type, id: parsed.id };
  return { kind: 'reference', url: `${parsed.base}/${parsed.type}/${parsed.id}` };
}
