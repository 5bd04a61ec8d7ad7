import { WorkBudget } from '../../../resources/outcome/budget.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { assertValid, parseResource } from '../../../resources/validate/index.ts';
import type { Node } from '../../../resources/validate/nodes.ts';
import { parseExact, plain } from './exact-json.ts';
import { locate, nodeAlong, type Found, type Location } from './locate.ts';
import { patchFailed, type PatchLimits, type TreePatch } from './patch-tree.ts';
import { placed, valueOf, type Part } from './values.ts';

/** Most operations of one FHIRPath Patch, and how long they may take together. */
const maxOperations = 200;
const maxMs = 1_000;

type Step = string | number;

/** One operation; a failure is `undefined`, so that who calls can name it. */
interface Operation {
  readonly type: string;
  readonly path: string;
  readonly name?: string;
  readonly value?: Part;
  readonly index?: number;
  readonly source?: number;
  readonly destination?: number;
}

const operationTypes: ReadonlySet<string> = new Set(['add', 'insert', 'delete', 'replace', 'move']);

/**
 * Reads a FHIRPath Patch (https://hl7.org/fhir/R4/fhirpatch.html).
 * @throws InterlockError `structure-invalid` if it is none, `too-costly` if it has too many operations
 */
export function fhirPathPatch(body: Buffer, { maxBytes }: PatchLimits): TreePatch {
  const given = parseResource(body, { maxBytes });
  if (given.resourceType !== 'Parameters') throw new InterlockError('structure-invalid', { detail: 'A FHIRPath Patch is a Parameters resource.' });
  assertValid(given);
  const parameters = ((parseExact(body.toString()) as Part)['parameter'] ?? []) as readonly Part[];
  if (parameters.length > maxOperations) throw new InterlockError('too-costly', { detail: `A patch may have ${maxOperations} operations.` });
  const operations = parameters.map(readOperation);
  return (resource) => {
    const budget = new WorkBudget(maxMs);
    const trees: Trees = { exact: resource as Record<string, unknown>, plain: plain(resource) as Record<string, unknown> };
    for (const [index, operation] of operations.entries()) {
      if (budget.isSpent) throw new InterlockError('too-costly', { detail: 'The patch takes too long.' });
      if (!apply(trees, operation)) throw patchFailed(index, `Parameters.parameter[${index}]`);
    }
    return trees.exact;
  };
}

/** The resource twice: as it will be written, and with plain numbers, as FHIRPath wants it. All changes are made to both. */
interface Trees {
  readonly exact: Record<string, unknown>;
  readonly plain: Record<string, unknown>;
}

function readOperation(parameter: Part, index: number): Operation {
  const invalid = (): InterlockError => new InterlockError('structure-invalid', { detail: 'It is no operation of a FHIRPath Patch.', expression: `Parameters.parameter[${index}]` });
  const parts = new Map(((parameter['part'] ?? []) as readonly Part[]).map((part) => [part['name'], part]));
  const text = (name: string): string | undefined => Object.entries(parts.get(name) ?? {}).find(([key, value]) => key.startsWith('value') && typeof value === 'string')?.[1] as string | undefined;
  const number = (name: string): number | undefined => {
    const value = parts.get(name)?.['valueInteger'] ?? parts.get(name)?.['valueUnsignedInt'] ?? parts.get(name)?.['valuePositiveInt'];
    return typeof value === 'number' && value >= 0 ? value : undefined;
  };
  const [type, path, name, value] = [text('type'), text('path'), text('name'), parts.get('value')];
  const [at, source, destination] = [number('index'), number('source'), number('destination')];
  if (parameter['name'] !== 'operation' || type === undefined || !operationTypes.has(type) || path === undefined) throw invalid();
  const isComplete =
    type === 'delete' ||
    (type === 'add' && name !== undefined && value !== undefined) ||
    (type === 'insert' && at !== undefined && value !== undefined) ||
    (type === 'replace' && value !== undefined) ||
    (type === 'move' && source !== undefined && destination !== undefined);
  if (!isComplete) throw invalid();
  return {
    type, path,
    ...(name === undefined ? {} : { name }), ...(value === undefined ? {} : { value }), ...(at === undefined ? {} : { index: at }),
    ...(source === undefined ? {} : { source }), ...(destination === undefined ? {} : { destination }),
  };
}

/** @returns false if it cannot be done */
function apply(trees: Trees, operation: Operation): boolean {
  const found = locate(trees.plain, operation.path);
  if (found === undefined) return false;
  const [only, second] = found;
  switch (operation.type) {
    case 'add':
      return only !== undefined && second === undefined && only.isObject && add(trees, only.parent, operation.name!, operation.value!);
    case 'insert': {
      const list = listOf(trees, found) ?? emptyListAt(trees, operation.path);
      return list !== undefined && insert(trees, list, operation.index!, operation.value!);
    }
    // Nothing to delete is no failure (https://hl7.org/fhir/R4/fhirpatch.html#concept).
    case 'delete':
      if (only === undefined) return true;
      if (second !== undefined || only.at === undefined) return false;
      return remove(trees, only.at);
    case 'replace':
      return only?.at !== undefined && second === undefined && replace(trees, only.at, operation.value!);
    default: {
      const list = listOf(trees, found);
      return list !== undefined && move(trees, list, operation.source!, operation.destination!);
    }
  }
}

function add({ exact, plain: copy }: Trees, parent: readonly Step[], name: string, part: Part): boolean {
  const node = nodeAlong(copy, parent);
  const made = valueOf(part, node, name);
  const repeats = node?.properties.get(made.property)?.repeats;
  if (repeats === undefined) return false;
  for (const [tree, convert] of both(exact, copy)) {
    const owner = at(tree, parent) as Record<string, unknown>;
    if (repeats) {
      const list = (owner[made.property] ?? []) as unknown[];
      placed(owner, made.property, list.length, convert(made.value), convert(made.companion));
    } else {
      // A choice may have only one of its types.
      const element = node!.properties.get(made.property)!.element;
      if ([...node!.properties].some(([other, property]) => property.element === element && Object.hasOwn(owner, other))) return false;
      if (made.value !== undefined) owner[made.property] = convert(made.value);
      if (made.companion !== undefined) owner[`_${made.property}`] = convert(made.companion);
    }
  }
  return true;
}

function insert({ exact, plain: copy }: Trees, list: Location, index: number, part: Part): boolean {
  const node = nodeAlong(copy, list.parent);
  const made = valueOf(part, node, elementName(node, list.property));
  if (made.property !== list.property) return false;
  const current = ((at(copy, list.parent) as Record<string, unknown>)[list.property] ?? []) as readonly unknown[];
  if (index > current.length) return false;
  for (const [tree, convert] of both(exact, copy)) {
    const owner = at(tree, list.parent) as Record<string, unknown>;
    placed(owner, list.property, index, convert(made.value), convert(made.companion));
  }
  return true;
}

function replace({ exact, plain: copy }: Trees, place: Location, part: Part): boolean {
  const node = nodeAlong(copy, place.parent);
  const made = valueOf(part, node, elementName(node, place.property));
  if (node?.properties.has(made.property) !== true || (place.index !== undefined && made.property !== place.property)) return false;
  for (const [tree, convert] of both(exact, copy)) {
    const owner = at(tree, place.parent) as Record<string, unknown>;
    if (place.index !== undefined) {
      (owner[place.property] as unknown[])[place.index] = convert(made.value);
      const companions = owner[`_${place.property}`] as unknown[] | undefined;
      if (companions !== undefined) companions[place.index] = convert(made.companion) ?? null;
      continue;
    }
    Reflect.deleteProperty(owner, `_${place.property}`);
    if (made.property !== place.property) Reflect.deleteProperty(owner, place.property);
    owner[made.property] = convert(made.value);
    if (made.companion !== undefined) owner[`_${made.property}`] = convert(made.companion);
  }
  return true;
}

function remove({ exact, plain: copy }: Trees, place: Location): boolean {
  for (const tree of [exact, copy]) removeFrom(tree, place);
  return true;
}

/** Removes an element, and what is empty without it: FHIR knows no empty objects and arrays. */
function removeFrom(tree: Record<string, unknown>, { parent, property, index }: Location): void {
  const owner = at(tree, parent) as Record<string, unknown>;
  for (const name of [property, `_${property}`]) {
    const value = owner[name];
    if (index !== undefined && Array.isArray(value)) value.splice(index, 1);
    if (index === undefined || (Array.isArray(value) && value.every((item) => item === null))) Reflect.deleteProperty(owner, name);
  }
  const up = parent.at(-1);
  if (up === undefined || Object.keys(owner).length > 0) return;
  removeFrom(tree, typeof up === 'number' ? { parent: parent.slice(0, -2), property: String(parent.at(-2)), index: up } : { parent: parent.slice(0, -1), property: up });
}

function move({ exact, plain: copy }: Trees, list: Location, source: number, destination: number): boolean {
  const { length } = (at(copy, list.parent) as Record<string, unknown>)[list.property] as readonly unknown[];
  if (source >= length || destination >= length) return false;
  for (const tree of [exact, copy]) {
    const owner = at(tree, list.parent) as Record<string, unknown>;
    for (const name of [list.property, `_${list.property}`]) {
      const items = owner[name] as unknown[] | undefined;
      if (items === undefined) continue;
      while (items.length < length) items.push(null);
      items.splice(destination, 0, ...items.splice(source, 1));
    }
  }
  return true;
}

/** The list that the items found are all of; undefined if they are not one whole list. */
function listOf({ plain: copy }: Trees, found: readonly Found[]): Location | undefined {
  const first = found[0]?.at;
  if (first?.index === undefined) return undefined;
  const { length } = (at(copy, first.parent) as Record<string, unknown>)[first.property] as readonly unknown[];
  const isWhole = found.length === length && found.every((one, index) => one.at?.property === first.property && one.at.index === index && one.at.parent.join('/') === first.parent.join('/'));
  return isWhole ? { parent: first.parent, property: first.property } : undefined;
}

/** A list that has no items yet: the path without its last name leads to its one owner. */
function emptyListAt({ plain: copy }: Trees, path: string): Location | undefined {
  const cut = /^(?<owner>.+)\.(?<name>[A-Za-z]+)$/.exec(path)?.groups;
  if (cut === undefined) return undefined;
  const [owner, second] = locate(copy, cut['owner']!) ?? [];
  if (owner === undefined || second !== undefined || !owner.isObject) return undefined;
  const name = cut['name']!;
  const isAbsent = nodeAlong(copy, owner.parent)?.properties.get(name)?.repeats === true && !Object.hasOwn(at(copy, owner.parent) as object, name);
  return isAbsent ? { parent: owner.parent, property: name } : undefined;
}

/** Both trees, each with how values are copied into it. */
function both(exact: Record<string, unknown>, copy: Record<string, unknown>): readonly (readonly [Record<string, unknown>, (value: unknown) => unknown])[] {
  return [[exact, structuredClone], [copy, plain]];
}

function at(tree: unknown, steps: readonly Step[]): unknown {
  return steps.reduce((node, step) => (node as Readonly<Record<Step, unknown>>)[step], tree);
}

function elementName(node: Node | undefined, property: string): string {
  return node?.properties.get(property)?.element ?? property;
}
