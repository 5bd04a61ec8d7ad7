import { isResourceType } from '../definitions/index.ts';
import { nodeOf } from '../validate/nodes.ts';
import { isObject } from './match.ts';

type JsonObject = Readonly<Record<string, unknown>>;

/** One value of an element, with where it stands. */
export interface Item {
  /** JSON of the value; of a primitive without value, undefined. */
  readonly value: unknown;
  /** Ids and extensions of a primitive (its `_name` property). */
  readonly companion?: JsonObject;
  /** FHIR type; of an element with children of its own its path, such as `Patient.contact`; of a resource its resource type. */
  readonly type: string;
  /** JSON name without underscore, such as `valueQuantity`. */
  readonly property: string;
  /** Element name, such as `value`. */
  readonly element: string;
  readonly expression: string;
  readonly isResource: boolean;
}

/** The resource itself as an item. @param expression where it stands; its type by default */
export function resourceItem(resource: JsonObject, expression: string): Item {
  const type = String(resource['resourceType']);
  return { value: resource, type, property: '', element: '', expression, isResource: true };
}

const cache = new WeakMap<Item, readonly Item[]>();

/**
 * All values of all elements below an item, in the order of the JSON. Properties that FHIR does not define are left out:
 * the check of the structure reports them.
 */
export function childrenOf(item: Item): readonly Item[] {
  const known = cache.get(item);
  if (known !== undefined) return known;
  const data = isObject(item.value) ? item.value : item.companion;
  const children = data === undefined ? [] : read(item, data);
  cache.set(item, children);
  return children;
}

function read(item: Item, data: JsonObject): Item[] {
  const node = propertiesOf(item);
  if (node === undefined) return [];
  const items: Item[] = [];
  const seen = new Set<string>();
  for (const name of Object.keys(data)) {
    const property = name.startsWith('_') ? name.slice(1) : name;
    const described = node.get(property);
    if (described === undefined || seen.has(property)) continue;
    seen.add(property);
    const value = data[property];
    const companion = data[`_${property}`];
    const add = (one: unknown, beside: unknown, expression: string): void => {
      if (one === undefined && beside === undefined) return;
      const isResource = described.kind === 'resource';
      const type = isResource ? typeOfResource(one) : described.type;
      if (type === undefined) return;
      items.push({ value: one ?? undefined, ...(isObject(beside) && { companion: beside }), type, property, element: described.element, expression, isResource });
    };
    const expression = `${item.expression}.${described.element}`;
    if (!described.repeats) add(value, companion, expression);
    else {
      const values = Array.isArray(value) ? value : [];
      const companions = Array.isArray(companion) ? companion : [];
      for (let index = 0; index < Math.max(values.length, companions.length); index += 1) add(values[index] ?? undefined, companions[index] ?? undefined, `${expression}[${index}]`);
    }
  }
  return items;
}

function propertiesOf(item: Item): ReturnType<typeof nodeOf>['properties'] | undefined {
  try {
    return nodeOf(isObject(item.value) ? item.type : 'Element').properties;
  } catch {
    return undefined;
  }
}

function typeOfResource(value: unknown): string | undefined {
  return isObject(value) && typeof value['resourceType'] === 'string' && isResourceType(value['resourceType']) ? value['resourceType'] : undefined;
}

/** The values of one child: by element name (all types of a choice) or by the JSON name of one type of it. */
export function childrenNamed(item: Item, name: string): readonly Item[] {
  return childrenOf(item).filter((child) => child.element === name || child.property === name);
}
