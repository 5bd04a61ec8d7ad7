import { codingsOf, isBound } from './bindings.ts';
import { childrenNamed, type Item } from './items.ts';
import { equalsFixed, isObject, matchesPattern } from './match.ts';
import type { TreeNode } from './tree.ts';
import type { Slicing } from './types.ts';

/** What telling slices apart asks of the check that does it. */
export interface SliceContext {
  /** The tree of a profile of a type, such as an extension's definition. */
  readonly rootOf: (canonical: string) => TreeNode | undefined;
  readonly conforms: (item: Item, canonical: string) => boolean | undefined;
  /** The resource that a reference within the resource or Bundle leads to. */
  readonly resolve: (item: Item) => Item | undefined;
}

const extensionSlicing: Slicing = { discriminators: [{ type: 'value', path: 'url' }], rules: 'open' };
const choiceSlicing: Slicing = { discriminators: [{ type: 'type', path: '$this' }], rules: 'open' };

/** The slicing of an element; extensions and choices of types have one even where the profile names none. */
export function slicingOf(node: TreeNode, name: string, items: readonly Item[]): Slicing | undefined {
  if (node.slicing !== undefined && node.slicing.discriminators.length > 0) return node.slicing;
  if (node.slices.size === 0) return node.slicing;
  if (name === 'extension' || name === 'modifierExtension') return { ...extensionSlicing, rules: node.slicing?.rules ?? 'open' };
  if (items.every(({ property, element }) => property !== element) && [...node.slices.keys()].every((slice) => slice.startsWith(name))) return { ...choiceSlicing, rules: node.slicing?.rules ?? 'open' };
  return node.slicing;
}

/** The name of the slice that an item is in; undefined if in none. */
export function sliceOf(item: Item, node: TreeNode, { discriminators }: Slicing, context: SliceContext): string | undefined {
  if (discriminators.length === 0) return undefined;
  for (const [name, slice] of node.slices) {
    if (discriminators.every(({ type, path }) => isToldApart(item, name, slice, type, path, context))) return name;
  }
  return undefined;
}

function isToldApart(item: Item, name: string, slice: TreeNode, type: Slicing['discriminators'][number]['type'], path: string, context: SliceContext): boolean {
  const steps = stepsOf(path);
  if (steps === undefined) return false;
  if (type === 'type') {
    const node = nodeAlong(slice, steps, context).at(-1);
    const codes = node?.types?.map(({ code }) => code) ?? (steps.length === 0 ? [] : undefined);
    if (codes === undefined) return false;
    return valuesAlong([item], steps, context).some((one) => (codes.length > 0 ? codes.includes(one.type) : one.property === name));
  }
  if (type === 'profile') {
    const profiles = nodeAlong(slice, steps, context).at(-1)?.types?.flatMap((one) => one.profiles ?? []) ?? [];
    return valuesAlong([item], steps, context).some((one) => profiles.some((profile) => context.conforms(one, profile) === true));
  }
  if (type === 'exists') {
    const node = nodeAlong(slice, steps, context).at(-1);
    const exists = valuesAlong([item], steps, context).length > 0;
    return node?.max === '0' ? !exists : (node?.min ?? 0) > 0 ? exists : false;
  }
  return hasExpectedValue(item, slice, steps, context);
}

/** `value` and `pattern`: what the slice fixes at the path, or on the way to it, is there. */
function hasExpectedValue(item: Item, slice: TreeNode, steps: readonly Step[], context: SliceContext): boolean {
  const definitions = slice.types?.flatMap(({ profiles }) => profiles ?? []) ?? [];
  // An extension bears the URL of its definition, whether that is known here or not.
  if (item.type === 'Extension' && definitions.length > 0 && steps.length === 1 && steps[0]?.kind === 'child' && steps[0].name === 'url') {
    return isObject(item.value) && definitions.some((canonical) => canonical.replace(/\|.*$/, '') === (item.value as { url?: unknown }).url);
  }
  const nodes = nodeAlong(slice, steps, context);
  let isExpecting = false;
  for (const [depth, node] of nodes.entries()) {
    const isAtPath = depth === steps.length;
    if (!isAtPath && node.fixed === undefined && node.pattern === undefined) continue;
    const values = valuesAlong([item], steps.slice(0, depth), context);
    if (isAtPath) {
      if (!expects(node)) continue;
      isExpecting = true;
      if (!values.some((one) => meets(one, node))) return false;
    } else {
      isExpecting = true;
      if (!values.some((one) => meetsOwn(one, node))) return false;
    }
  }
  return isExpecting;
}

function expects(node: TreeNode): boolean {
  return node.fixed !== undefined || node.pattern !== undefined || node.binding?.strength === 'required' || [...node.children.values()].some(expects);
}

function meets(item: Item, node: TreeNode): boolean {
  return meetsOwn(item, node) && [...node.children].every(([name, child]) => !expects(child) || childrenNamed(item, name).some((one) => meets(one, child)));
}

function meetsOwn(item: Item, { fixed, pattern, binding }: TreeNode): boolean {
  if (fixed !== undefined && !equalsFixed(item.value, fixed)) return false;
  if (pattern !== undefined && !matchesPattern(item.value, pattern)) return false;
  if (fixed !== undefined || pattern !== undefined || binding?.strength !== 'required') return true;
  const codings = codingsOf(item);
  return codings !== undefined && isBound(codings, binding.valueSet) === true;
}

type Step = { readonly kind: 'child'; readonly name: string } | { readonly kind: 'extension'; readonly url: string } | { readonly kind: 'ofType'; readonly type: string } | { readonly kind: 'resolve' };

/** The restricted FHIRPath of discriminators (https://hl7.org/fhir/R4/profiling.html#discriminator); undefined if it is not that. */
function stepsOf(path: string): Step[] | undefined {
  const steps: Step[] = [];
  const token = /\s*(?:(?<this>\$this)|extension\('(?<url>[^']+)'\)|ofType\((?<type>[A-Za-z]+)\)|(?<resolve>resolve\(\))|(?<name>[A-Za-z][A-Za-z0-9]*)(?:\[x\])?)(?:\.|$)/y;
  while (token.lastIndex < path.length) {
    const groups = token.exec(path)?.groups;
    if (groups === undefined) return undefined;
    if (groups['url'] !== undefined) steps.push({ kind: 'extension', url: groups['url'] });
    else if (groups['type'] !== undefined) steps.push({ kind: 'ofType', type: groups['type'] });
    else if (groups['resolve'] !== undefined) steps.push({ kind: 'resolve' });
    else if (groups['name'] !== undefined) steps.push({ kind: 'child', name: groups['name'] });
  }
  return steps;
}

function valuesAlong(items: readonly Item[], steps: readonly Step[], context: SliceContext): readonly Item[] {
  let values = items;
  for (const step of steps) {
    values = values.flatMap((item) => {
      switch (step.kind) {
        case 'child':
          return childrenNamed(item, step.name);
        case 'extension':
          return childrenNamed(item, 'extension').filter(({ value }) => isObject(value) && value['url'] === step.url);
        case 'ofType':
          return item.type === step.type ? [item] : [];
        case 'resolve':
          return [context.resolve(item)].filter((one) => one !== undefined);
      }
    });
  }
  return values;
}

/** The slice's nodes along the path, itself first; shorter than the path where the profile says nothing of an element. */
function nodeAlong(slice: TreeNode, steps: readonly Step[], context: SliceContext): TreeNode[] {
  const nodes = [slice];
  for (const step of steps) {
    const node = nodes.at(-1)!;
    if (step.kind === 'ofType' || step.kind === 'resolve') {
      nodes.push(node);
      continue;
    }
    const name = step.kind === 'child' ? step.name : 'extension';
    const own = step.kind === 'extension' ? [...(node.children.get('extension')?.slices.values() ?? [])].find((one) => one.types?.some(({ profiles }) => profiles?.includes(step.url))) : node.children.get(name);
    const profile = node.types?.flatMap(({ profiles }) => profiles ?? [])[0];
    const next = own ?? (profile === undefined ? undefined : context.rootOf(profile)?.children.get(name));
    if (next === undefined) break;
    nodes.push(next);
  }
  return nodes;
}
