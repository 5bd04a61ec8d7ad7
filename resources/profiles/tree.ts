import type { Constraint } from '../definitions/index.ts';
import type { Profile, ProfileBinding, ProfileElement, ProfileSource, ProfileType, Slicing } from './types.ts';

/** An element of a profile with all that its bases say of it too; its children by name and its slices. */
export interface TreeNode {
  min?: number;
  max?: string;
  types?: readonly ProfileType[];
  fixed?: unknown;
  pattern?: unknown;
  binding?: ProfileBinding;
  slicing?: Slicing;
  maxLength?: number;
  minValue?: number;
  maxValue?: number;
  constraints: readonly Constraint[];
  /** By element name without `[x]`; by JSON name where a profile names one type of a choice. */
  readonly children: Map<string, TreeNode>;
  readonly slices: Map<string, TreeNode>;
}

/** A profile ready for checking. */
export interface ProfileTree {
  readonly profile: Profile;
  readonly root: TreeNode;
  /** False: a base of it is not known, so that only what it says itself is checked. */
  readonly isWhole: boolean;
}

const typeBase = 'http://hl7.org/fhir/StructureDefinition/';
/** Profiles derived from profiles: how far up is followed. */
const maxBases = 12;
/** Elements of a tree, over all its bases. */
const maxNodes = 20_000;

const trees = new WeakMap<Profile, ProfileTree>();

/**
 * The elements of a profile and of all its bases as one tree: what a derived profile says narrows what its base says
 * (https://hl7.org/fhir/R4/profiling.html). Made once for each profile object.
 */
export function treeOf(profile: Profile, source: ProfileSource): ProfileTree {
  const known = trees.get(profile);
  if (known !== undefined) return known;
  const chain = [profile];
  let isWhole = true;
  for (let base = profile.base; !isCoreType(base, profile.type); ) {
    const next = chain.length < maxBases ? source(base) : undefined;
    if (next === undefined || chain.includes(next)) {
      isWhole = false;
      break;
    }
    chain.push(next);
    base = next.base;
  }
  const root = emptyNode();
  let count = 0;
  for (const { elements } of chain.reverse()) {
    for (const element of elements) {
      count += 1;
      if (count > maxNodes) break;
      apply(nodeAt(root, element.id), element);
    }
  }
  const tree = { profile, root, isWhole };
  trees.set(profile, tree);
  return tree;
}

/** HL7's own definition of a type; its structure and invariants are checked apart from profiles. */
function isCoreType(base: string, type: string): boolean {
  return base === `${typeBase}${type}` || base === '' || ['Element', 'BackboneElement', 'Resource', 'DomainResource'].some((name) => base === `${typeBase}${name}`);
}

function emptyNode(): TreeNode {
  return { constraints: [], children: new Map(), slices: new Map() };
}

/** `Observation.component:systolic.value[x]` -> the node, made on the way if need be. */
function nodeAt(root: TreeNode, id: string): TreeNode {
  let node = root;
  for (const segment of id.split('.').slice(1)) {
    const colon = segment.indexOf(':');
    node = below(node.children, (colon < 0 ? segment : segment.slice(0, colon)).replace('[x]', ''));
    // A slice of a slice is named `slice/inner`.
    if (colon >= 0) for (const name of segment.slice(colon + 1).split('/')) node = below(node.slices, name);
  }
  return node;
}

function below(nodes: Map<string, TreeNode>, name: string): TreeNode {
  let node = nodes.get(name);
  if (node === undefined) {
    node = emptyNode();
    nodes.set(name, node);
  }
  return node;
}

function apply(node: TreeNode, element: ProfileElement): void {
  const { id: _, constraints, ...facts } = element;
  Object.assign(node, facts);
  // Fixed values and patterns replace each other: the narrower one is said later.
  if (facts.fixed !== undefined) delete node.pattern;
  if (constraints !== undefined) {
    const keys = new Set(constraints.map(({ key }) => key));
    node.constraints = [...node.constraints.filter(({ key }) => !keys.has(key)), ...constraints];
  }
}
