import { isResourceType, structureOf, type ElementRule } from '../definitions/index.ts';
import { primitiveSchema } from './primitives.ts';

/** What one JSON property holds. */
export interface Property {
  /** Element name as FHIRPath has it: `value` for `valueQuantity`, `given` for `_given`. */
  readonly element: string;
  /** FHIR type; for elements with children of their own, the node's name. */
  readonly type: string;
  readonly kind: 'primitive' | 'node' | 'resource';
  /** A JSON array, even for one value. */
  readonly repeats: boolean;
  /** The `_name` property that carries ids and extensions of a primitive. */
  readonly companion: boolean;
  /** Types that a Reference may point to; absent: any. */
  readonly targets?: ReadonlySet<string>;
  /** Value set of a required binding. */
  readonly valueSet?: string;
}

/** An element that must be there, or that only one of several properties may stand for, or both. */
export interface ElementGroup {
  /** Such as `status` or `value[x]`. */
  readonly label: string;
  readonly required: boolean;
}

/** A JSON object as FHIR defines it: a resource, a data type, or an element with children. */
export interface Node {
  /** Such as `Patient`, `HumanName` or `Patient.contact`. */
  readonly name: string;
  readonly isResource: boolean;
  readonly properties: ReadonlyMap<string, Property>;
  /** Elements that need a check across properties: required ones and choices. */
  readonly groups: readonly ElementGroup[];
  /** Property name (without the underscore of companions) -> index of its group. */
  readonly groupOf: ReadonlyMap<string, number>;
}

const nodes = new Map<string, Node>();

/** The node of this name, made from the definitions on first use. @throws TypeError if there is none */
export function nodeOf(name: string): Node {
  let node = nodes.get(name);
  if (node === undefined) {
    node = buildNode(name);
    nodes.set(name, node);
  }
  return node;
}

function buildNode(name: string): Node {
  const dot = name.indexOf('.');
  const structure = structureOf(dot === -1 ? name : name.slice(0, dot));
  if (structure === undefined) throw new TypeError(`No definition of ${name}`);
  const isResource = dot === -1 && structure.kind === 'resource';
  const properties = new Map<string, Property>();
  const groups: ElementGroup[] = [];
  const groupOf = new Map<string, number>();
  const parents = new Set(structure.elements.map(({ path }) => path.slice(0, path.lastIndexOf('.'))));
  for (const rule of structure.elements) {
    if (!rule.path.startsWith(`${name}.`) || rule.path.includes('.', name.length + 1) || rule.max === '0') continue;
    const label = rule.path.slice(name.length + 1);
    const choices = alternatives(rule, label, parents.has(rule.path));
    if (rule.min > 0 || choices.length > 1) {
      for (const [property] of choices) groupOf.set(property, groups.length);
      groups.push({ label, required: rule.min > 0 });
    }
    for (const [property, type] of choices) {
      const described = describe(rule, label.replace('[x]', ''), type);
      properties.set(property, described);
      // Ids of elements, urls of extensions and narrative text are XML attributes or content: nothing can be added to them.
      const bare = type === 'xhtml' || (property === 'id' && !isResource) || rule.path === 'Extension.url';
      if (described.kind === 'primitive' && !bare) properties.set(`_${property}`, { element: described.element, type: 'Element', kind: 'node', repeats: described.repeats, companion: true });
    }
  }
  return { name, isResource, properties, groups, groupOf };
}

/** JSON names and types of an element: one, or for `value[x]` one per type (https://hl7.org/fhir/R4/formats.html#choice). */
function alternatives(rule: ElementRule, label: string, hasChildren: boolean): (readonly [string, string])[] {
  if (rule.contentReference !== undefined) return [[label, rule.contentReference]];
  if (hasChildren) return [[label, rule.path]];
  if (!label.endsWith('[x]')) return [[label, rule.types[0]!.code]];
  const stem = label.slice(0, -3);
  return rule.types.map(({ code }) => [stem + code.charAt(0).toUpperCase() + code.slice(1), code] as const);
}

function describe(rule: ElementRule, element: string, type: string): Property {
  const kind = primitiveSchema(type) !== undefined ? 'primitive' : isResourceLike(type) ? 'resource' : 'node';
  // Targets that are not R4 types are profiles; what they permit is not known here.
  const targets = rule.types.find(({ code }) => code === 'Reference' && type === 'Reference')?.targets;
  return {
    element,
    type,
    kind,
    repeats: rule.max !== '1',
    companion: false,
    ...(targets?.every(isResourceType) === true && { targets: new Set(targets) }),
    ...(rule.binding?.strength === 'required' && (type === 'code' || type === 'CodeableConcept') && { valueSet: rule.binding.valueSet }),
  };
}

/** `Resource` where any may stand, or one type, as in `Bundle.entry.response.outcome`. */
function isResourceLike(type: string): boolean {
  return type === 'Resource' || isResourceType(type);
}
