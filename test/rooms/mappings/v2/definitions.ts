import { nodeOf, type Node, type Property } from '../../../../resources/validate/nodes.ts';

/** True when an element path of a rule, such as `participant[].individual`, names an element of the type, lists as lists. */
export function definitionOf(type: string, path: string): boolean {
  let node: Node | undefined = nodeOf(type);
  for (const step of path.split('.')) {
    const [, name = '', list] = /^(\w+)(\[\d*\])?$/.exec(step) ?? [];
    const property: Property | undefined = node?.properties.get(name);
    if (property === undefined || property.repeats !== (list !== undefined)) return false;
    node = property.kind === 'node' ? nodeOf(property.type) : undefined;
  }
  return true;
}
