import { elementOf, structureOf, type ElementRule } from '../definitions/index.ts';
import { parseExpression, type PathExpression } from './expression.ts';
import { targetTypeOf } from './reference.ts';

/** One property to step into; arrays are flattened on the way. */
interface Step {
  readonly property: string;
  /** Only this item of the array. */
  readonly index?: number;
  /** Only nodes whose property has this value. */
  readonly whereEquals?: { readonly property: string; readonly value: string };
  /** Only References to this type. */
  readonly whereTarget?: string;
}

/** A compiled path: which properties to step through, and which FHIR type its nodes have. */
export interface Walk {
  /** Starts at the whole resource even when the expression is evaluated on a part of it (`%resource`). */
  readonly fromResource: boolean;
  readonly steps: readonly Step[];
  /** FHIR type of the nodes, e.g. `HumanName`. */
  readonly type: string;
  /** Canonical URL of the value set that a required binding names. */
  readonly valueSet?: string;
  /** Where the children of these nodes are defined: a path within a structure. */
  readonly structure: string;
  readonly path: string;
}

/** The walk that stays on a node of this type. */
export function walkOfType(type: string): Walk {
  return { fromResource: false, steps: [], type, structure: type, path: type };
}

/** An expression compiled to walks: one for each alternative and for each type of a choice element. */
export interface CompiledExpression {
  readonly walks: readonly Walk[];
  /** The value is a boolean: has any walk a node other than `false`? */
  readonly presence: boolean;
}

/**
 * Compiles a search parameter's expression.
 * @param context what the expression is evaluated on
 * @param resourceType type of the resource that contains it
 * @throws Error if the expression is not supported or names an element that R4 does not have
 */
export function compileExpression(expression: string, context: Walk, resourceType: string): CompiledExpression {
  const start: Walk = { ...context, fromResource: false, steps: [] };
  const { path, presence } = parseExpression(expression);
  return { walks: compile(path), presence };

  function compile(tree: PathExpression): Walk[] {
    switch (tree.kind) {
      case 'union':
        return tree.of.flatMap(compile);
      case 'resource':
        return [{ ...walkOfType(resourceType), fromResource: true }];
      case 'start':
        return /^[A-Z]/.test(tree.name) ? [start] : children([start], tree.name);
      case 'child':
        return children(compile(tree.of), tree.name);
      case 'cast':
        return compile(tree.of).filter((walk) => isA(walk.type, tree.type));
      case 'index':
        return compile(tree.of).map((walk) => refineLast(walk, { index: tree.at }));
      case 'whereEquals':
        return compile(tree.of).map((walk) => refineLast(walk, { whereEquals: { property: tree.name, value: tree.value } }));
      case 'whereTarget':
        return compile(tree.of).map((walk) => refineLast(walk, { whereTarget: tree.type }));
    }
  }

  function children(walks: readonly Walk[], name: string): Walk[] {
    const found = walks.flatMap((walk) => childrenOf(walk, name));
    if (found.length === 0) throw new Error(`${expression}: R4 has no element ${name} there`);
    return found;
  }
}

/** Type or subtype; compared without case because R4 writes `as(DateTime)` once. */
function isA(type: string, ancestor: string): boolean {
  for (let at: string | undefined = type; at !== undefined; at = structureOf(at)?.base) if (at.toLowerCase() === ancestor.toLowerCase()) return true;
  return false;
}

function childrenOf(walk: Walk, name: string): Walk[] {
  const path = `${walk.path}.${name}`;
  const element = elementOf(walk.structure, path);
  if (element !== undefined) return [stepInto(walk, name, element)];
  const choice = elementOf(walk.structure, `${path}[x]`);
  if (choice === undefined) return [];
  return choice.types.map((type) => stepInto(walk, `${name}${type.code[0]!.toUpperCase()}${type.code.slice(1)}`, { ...choice, types: [type] }));
}

function stepInto(walk: Walk, property: string, element: ElementRule): Walk {
  const steps = [...walk.steps, { property }];
  const { fromResource, structure } = walk;
  if (element.contentReference !== undefined) return { fromResource, steps, type: 'BackboneElement', structure, path: element.contentReference };
  const type = element.types[0]!.code;
  const inline = type === 'BackboneElement' || type === 'Element';
  return {
    fromResource,
    steps,
    type,
    structure: inline ? structure : type,
    path: inline ? element.path : type,
    ...(element.binding?.strength === 'required' && { valueSet: element.binding.valueSet }),
  };
}

function refineLast(walk: Walk, refinement: Partial<Step>): Walk {
  return { ...walk, steps: walk.steps.with(-1, { ...walk.steps.at(-1)!, ...refinement }) };
}

/** Calls `visit` on every node that a walk reaches. */
export function visitNodes(walk: Walk, node: unknown, resource: unknown, visit: (node: unknown) => void): void {
  descend(walk.fromResource ? resource : node, walk.steps, 0, visit);
}

function descend(node: unknown, steps: readonly Step[], at: number, visit: (node: unknown) => void): void {
  const step = steps[at];
  if (step === undefined) {
    visit(node);
    return;
  }
  const child = (node as Readonly<Record<string, unknown>>)[step.property];
  if (child === undefined || child === null) return;
  if (!Array.isArray(child)) {
    if ((step.index ?? 0) === 0 && admits(step, child)) descend(child, steps, at + 1, visit);
    return;
  }
  for (let i = 0; i < child.length; i++) {
    const item: unknown = child[i];
    if (item !== null && item !== undefined && (step.index ?? i) === i && admits(step, item)) descend(item, steps, at + 1, visit);
  }
}

function admits(step: Step, node: unknown): boolean {
  if (step.whereEquals !== undefined && (node as Readonly<Record<string, unknown>>)[step.whereEquals.property] !== step.whereEquals.value) return false;
  return step.whereTarget === undefined || targetTypeOf(node) === step.whereTarget;
}
