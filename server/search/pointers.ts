import { parseReference } from '../../resources/search-values/index.ts';

/** A place in a resource that names a Binary of this server. */
export interface BinaryPointer {
  readonly id: string;
  /** The element, by names and indexes, such as `DocumentReference.content[0].attachment.url`. */
  readonly expression: string;
}

/**
 * Where a resource points to Binaries: references, URLs of attachments, and every other element whose whole text is one's URL,
 * as wherever it stands a reader can follow it.
 * @param baseUrl this server's FHIR base
 */
export function binariesNamedIn(resource: { readonly resourceType: string; readonly [element: string]: unknown }, baseUrl: string | undefined): BinaryPointer[] {
  const found: BinaryPointer[] = [];
  const base = baseUrl?.replace(/\/$/, '');
  const visit = (node: unknown, expression: string): void => {
    if (typeof node === 'string') {
      if (node.length > maxLength || !node.includes('Binary/')) return;
      const parsed = parseReference(node);
      if (parsed?.type === 'Binary' && (parsed.base === undefined || parsed.base === base)) found.push({ id: parsed.id, expression });
    } else if (Array.isArray(node)) for (const [index, item] of node.entries()) visit(item, `${expression}[${index}]`);
    else if (typeof node === 'object' && node !== null) for (const [name, value] of Object.entries(node)) visit(value, `${expression}.${name}`);
  };
  if (resource.resourceType !== 'Binary') visit(resource, resource.resourceType);
  return found;
}

const maxLength = 2_000;

/** Label of the token of what points to a Binary. */
export function pointerLabel(id: string): string {
  return `*\n@\nBinary/${id}`;
}
