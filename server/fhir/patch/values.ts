import { nodeOf, type Node } from '../../../resources/validate/nodes.ts';

/** A part of a Parameters resource. */
export type Part = Readonly<Record<string, unknown>>;

/** What a value becomes in JSON: the property, and the `_property` beside it that has a primitive's id and extensions. */
export interface Made {
  readonly property: string;
  readonly value: unknown;
  readonly companion?: unknown;
}

/**
 * The value that a part brings for an element: a data type, a resource, or, for an element without a type of its own,
 * parts that are named after its elements (https://hl7.org/fhir/R4/fhirpatch.html#concept). Whether it fits is left to
 * the validation of the result.
 *
 * @param node definition of the object that gets the value
 * @param name of the element, such as `value` for `valueQuantity`
 */
export function valueOf(part: Part, node: Node | undefined, name: string): Made {
  if (part['resource'] !== undefined) return { property: name, value: part['resource'] };
  const typed = Object.keys(part).find((key) => /^_?value[A-Z]/.test(key))?.replace('_', '');
  if (typed !== undefined) {
    const companion = part[`_${typed}`];
    const property = node?.properties.has(name) === true ? name : `${name}${typed.slice('value'.length)}`;
    return { property, value: part[typed], ...(companion === undefined ? {} : { companion }) };
  }
  const own = node?.properties.get(name);
  return { property: name, value: own?.kind === 'node' ? objectOf(part, nodeOf(own.type)) : undefined };
}

function objectOf(part: Part, node: Node): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  for (const child of (part['part'] ?? []) as readonly Part[]) {
    const { property, value, companion } = valueOf(child, node, String(child['name']));
    if (node.properties.get(property)?.repeats === true) placed(object, property, Infinity, value, companion);
    else {
      if (value !== undefined) object[property] = value;
      if (companion !== undefined) object[`_${property}`] = companion;
    }
  }
  return object;
}

/** Puts an item into a list, made if it is not there, and gives the list of companions the same places. */
export function placed(owner: Record<string, unknown>, property: string, index: number, value: unknown, companion: unknown): void {
  const list = (owner[property] ?? []) as readonly unknown[];
  const companions = owner[`_${property}`] as readonly unknown[] | undefined;
  owner[property] = list.toSpliced(index, 0, value ?? null);
  if (companions === undefined && companion === undefined) return;
  owner[`_${property}`] = Array.from(list, (_, place) => companions?.[place] ?? null).toSpliced(index, 0, companion ?? null);
}
