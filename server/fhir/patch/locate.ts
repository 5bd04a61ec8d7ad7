import { createRequire } from 'node:module';
import type * as Fhirpath from 'fhirpath';
import { nodeOf, type Node, type Property } from '../../../resources/validate/nodes.ts';
import { isRecord } from './patch-tree.ts';

/** Where an element is: its parent object, the JSON property, and the index if that is an array. */
export interface Location {
  /** Property names and indexes from the resource to the parent object. */
  readonly parent: readonly (string | number)[];
  /** The JSON name: `valueQuantity` for the element `value`. */
  readonly property: string;
  readonly index?: number;
}

/** What a FHIRPath found: the resource itself, or elements of it. */
export type Found = { readonly parent: readonly (string | number)[]; readonly isObject: boolean; readonly at?: Location };

const maxPathLength = 500;

// Navigation and simple conditions. None of these can take more time than the path's length times the resource's size:
// no recursion into all descendants, no regular expressions, no other resources, no variables to start over from.
const functions: ReadonlySet<string> = new Set(['where', 'first', 'last', 'single', 'tail', 'skip', 'take', 'extension', 'ofType', 'as', 'is', 'exists', 'empty', 'not', 'count', 'startsWith', 'endsWith', 'contains', 'lower', 'upper', 'toString', 'hasValue', 'getValue']);

interface Ast {
  readonly type: string;
  readonly text?: string;
  readonly children?: readonly Ast[];
}

/** What fhirpath hands to a function that asks for its internal structures: a value with the place that it came from. */
interface ResourceNode {
  readonly data: unknown;
  readonly parentResNode: ResourceNode | null;
  readonly propName: string | null;
  readonly index: number | null;
}

interface Engine {
  readonly fhirpath: typeof Fhirpath;
  readonly model: Fhirpath.Model;
}

let engine: Engine | undefined;

/** Loaded on first use: it takes a tenth of a second and some megabytes. */
function loaded(): Engine {
  const require = createRequire(import.meta.url);
  engine ??= { fhirpath: require('fhirpath') as typeof Fhirpath, model: require('fhirpath/fhir-context/r4') as Fhirpath.Model };
  return engine;
}

/**
 * Evaluates a path of a FHIRPath Patch on a resource with plain numbers.
 * @returns undefined if the path is none, is too long, or uses more than navigation and simple conditions
 */
export function locate(resource: unknown, path: string): readonly Found[] | undefined {
  if (path.length > maxPathLength) return undefined;
  const { fhirpath, model } = loaded();
  const nodes: ResourceNode[] = [];
  const capture = { fn: (found: readonly ResourceNode[]) => { nodes.push(...found); return []; }, arity: { 0: [] }, internalStructures: true };
  try {
    if (!isPermitted(fhirpath.parse(path) as Ast)) return undefined;
    fhirpath.evaluate(resource, `(${path}).capture()`, {}, model, { userInvocationTable: { capture } });
    return nodes.map((node) => place(resource, node));
  } catch {
    // What the engine says of a path or a resource may quote them.
    return undefined;
  }
}

function isPermitted({ type, text, children = [] }: Ast): boolean {
  if (type === 'ExternalConstantTerm' || type === 'TotalInvocation') return false;
  if (type === 'Functn' && !functions.has(text ?? '')) return false;
  return children.every(isPermitted);
}

/** @throws TypeError for a value that is no part of the resource, such as a literal */
function place(resource: unknown, found: ResourceNode): Found {
  const steps: ResourceNode[] = [];
  let root = found;
  while (root.parentResNode !== null && root.parentResNode !== undefined) {
    steps.unshift(root);
    root = root.parentResNode;
  }
  if (root.data !== resource) throw new TypeError('not a part of the resource');
  let parent: (string | number)[] = [];
  let at: Location | undefined;
  let value: unknown = resource;
  let node: Node | undefined = nodeAt(resource, undefined);
  for (const { propName, index } of steps) {
    if (!isRecord(value) || propName === null) throw new TypeError('not an element');
    const owner: Readonly<Record<string, unknown>> = value;
    const name = propertyOf(node, propName, owner);
    if (at !== undefined) parent = [...at.parent, at.property, ...(at.index === undefined ? [] : [at.index])];
    value = owner[name];
    if (index !== null && Array.isArray(value)) value = (value as readonly unknown[])[index];
    at = { parent, property: name, ...(index === null ? {} : { index }) };
    node = nodeAt(value, node?.properties.get(name));
  }
  return { parent: at === undefined ? [] : [...at.parent, at.property, ...(at.index === undefined ? [] : [at.index])], isObject: isRecord(value), ...(at === undefined ? {} : { at }) };
}

/** The property that holds an element: its own name, that of its type for a choice, or only its companion. */
function propertyOf(node: Node | undefined, element: string, owner: Readonly<Record<string, unknown>>): string {
  if (Object.hasOwn(owner, element)) return element;
  for (const [name, property] of node?.properties ?? []) {
    if (property.element === element && Object.hasOwn(owner, name)) return name.startsWith('_') ? name.slice(1) : name;
  }
  throw new TypeError('no such element');
}

/** The definition of the object at a place: of a resource by its type, else by the property that holds it. */
export function nodeAt(value: unknown, property: Property | undefined): Node | undefined {
  if (isRecord(value) && typeof value['resourceType'] === 'string') return nodeOf(value['resourceType']);
  return property?.kind === 'node' ? nodeOf(property.type) : undefined;
}

/** The definition of the object that steps lead to. */
export function nodeAlong(resource: unknown, steps: readonly (string | number)[]): Node | undefined {
  let value = resource;
  let property: Property | undefined;
  let node = nodeAt(value, undefined);
  for (const step of steps) {
    if (typeof step === 'string') property = node?.properties.get(step);
    value = (value as Readonly<Record<string | number, unknown>>)[step];
    node = nodeAt(value, property);
  }
  return node;
}
