import { isResourceType, structureOf, type Constraint } from '../definitions/index.ts';
import { codingsOf, isBound } from './bindings.ts';
import { verdictOn } from './invariants.ts';
import { childrenNamed, childrenOf, type Item } from './items.ts';
import { equalsFixed, isObject, matchesPattern } from './match.ts';
import type { ValidationRun } from './run.ts';
import { sliceOf, slicingOf, type SliceContext } from './slicing.ts';
import { treeOf, type ProfileTree, type TreeNode } from './tree.ts';
import type { ProfileType } from './types.ts';

/** The resource that is being checked, and what it is in. */
export interface Scope {
  readonly resource: Item;
  /** Of a contained resource its container, else the resource itself. */
  readonly container: Item;
  /** The Bundle that it is an entry of. */
  readonly bundle?: Item;
}

const typeBase = 'http://hl7.org/fhir/StructureDefinition/';
/** How deep profiles of types lead into each other. */
const maxDepth = 40;

/** Checks values against the tree of one profile. */
export class ProfileCheck {
  readonly #run: ValidationRun;
  readonly #scope: Scope;
  readonly #tree: ProfileTree;
  readonly #depth: number;
  readonly #context: SliceContext = {
    rootOf: (canonical) => {
      const profile = this.#run.options.source(canonical);
      return profile === undefined ? undefined : treeOf(profile, this.#run.options.source).root;
    },
    conforms: (item, canonical) => this.#conforms(item, canonical),
    resolve: (item) => resolveWithin(item, this.#scope),
  };

  constructor(run: ValidationRun, scope: Scope, tree: ProfileTree, depth = 0) {
    this.#run = run;
    this.#scope = scope;
    this.#tree = tree;
    this.#depth = depth;
  }

  /** Checks a resource, or a value of the type that the profile constrains. */
  check(item: Item): void {
    const { profile, root, isWhole } = this.#tree;
    if (!isWhole) this.#run.add({ severity: 'information', code: 'incomplete', expression: item.expression, detail: 'A profile that this one is derived from is not known here; what it says was not checked.' });
    if (isResourceType(profile.type) && item.type !== profile.type) {
      this.#run.add({ severity: 'error', code: 'structure', expression: item.expression, detail: 'The profile is of another resource type.' });
      return;
    }
    this.#node(item, root);
  }

  #node(item: Item, node: TreeNode): void {
    if (this.#run.over) return;
    this.#value(item, node);
    this.#types(item, node.types);
    if (node.binding !== undefined) checkBinding(this.#run, item, node.binding);
    for (const constraint of node.constraints) checkConstraint(this.#run, this.#scope, item, constraint, this.#tree.profile.isShipped);
    for (const [name, child] of node.children) this.#child(item, name, child);
  }

  #child(parent: Item, name: string, node: TreeNode): void {
    const items = childrenNamed(parent, name);
    this.#count(items, node, parent, name);
    for (const item of items) this.#node(item, node);
    this.#slices(items, node, parent, name);
  }

  #slices(items: readonly Item[], node: TreeNode, parent: Item, name: string): void {
    const slicing = slicingOf(node, name, items);
    if (slicing === undefined || (node.slices.size === 0 && slicing.rules === 'open')) return;
    const members = new Map<string, Item[]>();
    const order = [...node.slices.keys()];
    let last = 0;
    let hasUnmatched = false;
    for (const item of items) {
      const slice = sliceOf(item, node, slicing, this.#context);
      if (slice === undefined) {
        hasUnmatched = true;
        if (slicing.rules === 'closed' && slicing.discriminators.length > 0) this.#error(item, 'structure', 'It is in none of the slices that the profile permits.');
        continue;
      }
      if (hasUnmatched && slicing.rules === 'openAtEnd') this.#error(item, 'structure', 'What is in none of the profile\'s slices must come last.');
      if (slicing.ordered === true && order.indexOf(slice) < last) this.#error(item, 'structure', 'The order of the profile\'s slices is another.');
      last = Math.max(last, order.indexOf(slice));
      members.set(slice, [...(members.get(slice) ?? []), item]);
    }
    for (const [slice, sliceNode] of node.slices) {
      const own = members.get(slice) ?? [];
      this.#count(own, sliceNode, parent, this.#tree.profile.isShipped ? `${name}:${slice}` : `${name} of one slice`);
      for (const item of own) this.#node(item, sliceNode);
      if (sliceNode.slices.size > 0) this.#slices(own, { ...sliceNode, slicing: sliceNode.slicing ?? slicing }, parent, name);
    }
  }

  /** @param label the element, with its slice; made of names that a definition gives */
  #count(items: readonly Item[], { min = 0, max }: TreeNode, parent: Item, label: string): void {
    if (items.length < min) this.#error(parent, 'required', min === 1 ? `The profile requires ${label}.` : `The profile requires ${min} of ${label}.`);
    if (max !== undefined && max !== '*' && items.length > Number(max)) this.#error(parent, 'structure', max === '0' ? `The profile does not permit ${label}.` : `The profile permits at most ${max} of ${label}.`);
  }

  #value(item: Item, { fixed, pattern, maxLength, minValue, maxValue }: TreeNode): void {
    const { value } = item;
    if (fixed !== undefined && !equalsFixed(value, fixed)) this.#error(item, 'value', 'It is not the value that the profile fixes.');
    if (pattern !== undefined && !matchesPattern(value, pattern)) this.#error(item, 'value', 'It does not have the pattern that the profile wants.');
    if (maxLength !== undefined && typeof value === 'string' && value.length > maxLength) this.#error(item, 'value', 'It is longer than the profile permits.');
    if (typeof value === 'number' && ((minValue !== undefined && value < minValue) || (maxValue !== undefined && value > maxValue))) this.#error(item, 'value', 'It is out of the range that the profile permits.');
  }

  #types(item: Item, types: readonly ProfileType[] | undefined): void {
    if (types === undefined || types.length === 0) return;
    const fitting = types.filter(({ code }) => isOfType(item, code));
    if (fitting.length === 0) {
      this.#error(item, 'structure', 'Its type is not one that the profile permits.');
      return;
    }
    const targets = fitting.flatMap((one) => one.targets ?? []);
    if (item.type === 'Reference' && targets.length > 0 && fitting.every((one) => one.targets !== undefined)) this.#target(item, targets);
    const profiles = fitting.flatMap((one) => one.profiles ?? []);
    if (profiles.length === 0 || fitting.some((one) => one.profiles === undefined) || this.#depth >= maxDepth) return;
    const [only] = profiles;
    if (profiles.length === 1 && only !== undefined) {
      const profile = this.#run.options.source(only);
      if (profile !== undefined) new ProfileCheck(this.#run, this.#scope, treeOf(profile, this.#run.options.source), this.#depth + 1).check(item);
      return;
    }
    if (profiles.every((one) => this.#conforms(item, one) === false)) this.#error(item, 'structure', 'It conforms to none of the profiles that the profile permits here.');
  }

  /** Whether a reference leads to a type that the profile permits; what is said by the reference itself, not by its target. */
  #target(item: Item, targets: readonly string[]): void {
    const type = targetType(item, this.#scope);
    if (type === undefined) return;
    const permitted = targets.map((target) => (target.startsWith(typeBase) && isType(target.slice(typeBase.length)) ? target.slice(typeBase.length) : this.#run.options.source(target)?.type));
    // What a profile that is not known here permits cannot be said.
    if (permitted.includes(undefined) || permitted.includes('Resource') || permitted.includes(type)) return;
    this.#error(item, 'structure', 'The profile does not permit a reference to that type of resource.');
  }

  #conforms(item: Item, canonical: string): boolean | undefined {
    const profile = this.#run.options.source(canonical);
    if (profile === undefined || this.#depth >= maxDepth) return undefined;
    const trial = this.#run.trial();
    new ProfileCheck(trial, this.#scope, treeOf(profile, this.#run.options.source), this.#depth + 1).check(item);
    return trial.findings.every(({ severity }) => severity !== 'error');
  }

  #error(item: Item, code: 'structure' | 'required' | 'value', detail: string): void {
    this.#run.add({ severity: 'error', code, expression: item.expression, detail });
  }
}

/** Checks a coded value against its value set; what is not shipped becomes a question to terminology. */
export function checkBinding(run: ValidationRun, item: Item, { strength, valueSet }: NonNullable<TreeNode['binding']>): void {
  if (strength !== 'required' && strength !== 'extensible') return;
  const codings = codingsOf(item);
  if (codings === undefined) return;
  const isIn = isBound(codings, valueSet);
  if (isIn === true) return;
  if (codings.length === 0) {
    // Where only words are given, an extensible binding asks for no code.
    if (strength === 'required') run.add({ severity: 'error', code: 'code-invalid', expression: item.expression, detail: 'A code of the required value set is missing.' });
  } else if (isIn === undefined) run.ask({ valueSet, strength, codings, expression: item.expression });
  else run.add(bindingFinding(strength, item.expression));
}

/** That no coding is in the value set: an error if the binding is required, else a warning. */
export function bindingFinding(strength: 'required' | 'extensible', expression: string): { severity: 'error' | 'warning'; code: 'code-invalid'; expression: string; detail: string } {
  return strength === 'required'
    ? { severity: 'error', code: 'code-invalid', expression, detail: 'No code is in the required value set.' }
    : { severity: 'warning', code: 'code-invalid', expression, detail: 'No code is in the value set, which should be used where it has a code that fits.' };
}

/** Evaluates an invariant on a value. @param isTrusted false: its text is a user's and not repeated */
export function checkConstraint(run: ValidationRun, { resource, container }: Scope, item: Item, constraint: Constraint, isTrusted: boolean): void {
  if (item.value === undefined || run.over) return;
  const base = isObject(item.value) ? item.type : item.type.startsWith('System.') ? 'string' : item.type;
  const verdict = verdictOn(constraint, item.value, base, resource.value, container.value);
  if (verdict === 'holds') return;
  const key = isTrusted || /^[A-Za-z0-9-]{1,30}$/.test(constraint.key) ? constraint.key : 'posted';
  if (verdict === 'unknown') {
    // Of HL7's own, most give no result for lack of precision; of others it should be known that they were not checked.
    if (!isTrusted) run.add({ severity: 'information', code: 'incomplete', expression: item.expression, detail: `Invariant ${key} could not be evaluated.` });
    return;
  }
  run.add({ severity: constraint.severity, code: 'invariant', expression: item.expression, detail: isTrusted ? `${constraint.human} (${key})` : `Invariant ${key} of the profile does not hold.` });
}

function isOfType(item: Item, code: string): boolean {
  if (item.type === code || code === 'Element' || code === 'BackboneElement' || code === 'Resource' || code === 'DomainResource') return true;
  // Elements with children of their own have their path for a type; the values of primitives and ids have FHIRPath's types.
  if (item.type.includes('.') || code.includes('.') || code === 'xhtml') return true;
  for (let type = structureOf(item.type); type !== undefined; type = type.base === undefined ? undefined : structureOf(type.base)) if (type.type === code) return true;
  return false;
}

function isType(name: string): boolean {
  return name === 'Resource' || isResourceType(name);
}

const literalType = /(?:^|\/)([A-Z][A-Za-z]+)\/[A-Za-z0-9\-.]{1,64}(?:\/_history\/[A-Za-z0-9\-.]{1,64})?$/;

function targetType(item: Item, scope: Scope): string | undefined {
  const { value } = item;
  if (!isObject(value)) return undefined;
  const within = resolveWithin(item, scope);
  if (within !== undefined) return within.type;
  if (typeof value['reference'] === 'string') {
    const found = literalType.exec(value['reference'])?.[1];
    if (found !== undefined && isResourceType(found)) return found;
    const conditional = /^([A-Z][A-Za-z]+)\?/.exec(value['reference'])?.[1];
    if (conditional !== undefined && isResourceType(conditional)) return conditional;
  }
  return typeof value['type'] === 'string' && isResourceType(value['type']) ? value['type'] : undefined;
}

/** A contained resource, or another entry of the same Bundle. */
function resolveWithin(item: Item, { container, bundle }: Scope): Item | undefined {
  const reference = isObject(item.value) ? item.value['reference'] : item.value;
  if (typeof reference !== 'string') return undefined;
  if (reference === '#') return container;
  if (reference.startsWith('#')) return childrenNamed(container, 'contained').find(({ value }) => isObject(value) && value['id'] === reference.slice(1));
  if (bundle === undefined) return undefined;
  const entry = childrenNamed(bundle, 'entry').find(({ value }) => isObject(value) && typeof value['fullUrl'] === 'string' && (value['fullUrl'] === reference || value['fullUrl'].endsWith(`/${reference}`)));
  return entry === undefined ? undefined : childrenOf(entry).find((one) => one.isResource);
}
