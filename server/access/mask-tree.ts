import { nodeOf } from '../../resources/validate/nodes.ts';
import type { HiddenTree, Masks } from './context.ts';

/**
 * The JSON properties that masked elements of a type stand for, companions and all forms of a choice included. Narrative goes
 * with any mask: it repeats what elements say.
 * @throws TypeError that tells what is wrong with an element
 */
export function hiddenTree(type: string, elements: readonly string[]): HiddenTree {
  const tree: Map<string, 'hidden' | HiddenTree> = new Map();
  const isNarrated = nodeOf(type).properties.has('text') && nodeOf(type).properties.get('text')!.type === 'Narrative';
  for (const element of isNarrated && elements.length > 0 ? [...elements, 'text'] : elements) hide(tree, type, type, element.split('.'));
  return tree;
}

function hide(tree: Map<string, 'hidden' | HiddenTree>, type: string, node: string, [first = '', ...rest]: readonly string[]): void {
  const { properties, groups, groupOf, isResource } = nodeOf(node);
  const named = [...properties].filter(([, { element }]) => element === first.replace(/\[x\]$/, ''));
  if (named.length === 0) throw new TypeError(`${type} has no element ${first}`);
  if (first === 'id' || first === 'extension' || first === 'modifierExtension' || (isResource && (first === 'meta' || first === 'implicitRules'))) throw new TypeError(`${first} cannot be masked`);
  for (const [name, property] of named) {
    if (rest.length === 0) {
      const group = groupOf.get(name);
      if (group !== undefined && groups[group]!.required) throw new TypeError(`${node}.${first} is mandatory: it cannot be masked, but the type can be closed`);
      tree.set(name, 'hidden');
      continue;
    }
    if (property.companion) continue;
    if (property.kind !== 'node') throw new TypeError(`${node}.${first} has no elements of its own`);
    const below = tree.get(name);
    if (below === 'hidden') continue;
    const next = new Map(below);
    hide(next, type, property.type, rest);
    tree.set(name, next);
  }
}

/** Everything that a role hides; undefined for nothing. */
export function masksOf(byType: readonly (readonly [type: string, elements: readonly string[]])[], closed: readonly string[]): Masks | undefined {
  const masked = byType.filter(([, elements]) => elements.length > 0);
  if (masked.length === 0 && closed.length === 0) return undefined;
  return {
    elements: new Map(masked.map(([type, elements]) => [type, [...new Set([...elements, 'text'])]])),
    trees: new Map(masked.map(([type, elements]) => [type, hiddenTree(type, elements)])),
    closed: new Set(closed),
  };
}
