import { isDeepStrictEqual } from 'node:util';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { nodeOf, type Node, type Property } from '../../../resources/validate/nodes.ts';
import { isRecord } from './patch-tree.ts';

/** An operation of a FHIRPath Patch (https://hl7.org/fhir/R4/fhirpatch.html) as the entry of a Parameters resource. */
export interface PatchParameter {
  readonly name: 'operation';
  readonly part: readonly Part[];
}

type Part = { readonly name: string } & Readonly<Record<string, unknown>>;
type Json = Readonly<Record<string, unknown>>;

const maxOperations = 5_000;
/** Pairs of list entries that are compared to find what stayed; longer lists are compared place by place. */
const maxPairs = 250_000;

/**
 * What turns one tree of a resource (as `parseExact` gives it) into another of the same type, as a FHIRPath Patch whose
 * operations are applied in order. What was there before stands as `previousValue`.
 * @param ignored elements of the resource that are not compared, such as `meta`
 * @throws InterlockError `too-costly`
 */
export function diffOf(before: unknown, after: unknown, ignored: ReadonlySet<string>): readonly PatchParameter[] {
  if (!isRecord(before) || !isRecord(after)) return [];
  const type = String(after['resourceType']);
  const without = (tree: Json) => Object.fromEntries(Object.entries(tree).filter(([name]) => !ignored.has(name.replace(/^_/, ''))));
  return new Diff().object(without(before), without(after), nodeOf(type), type).operations;
}

/** A list of primitives has a list of their ids and extensions beside it; one entry of both. */
interface Entry {
  readonly value: unknown;
  readonly companion?: unknown;
}

class Diff {
  readonly operations: PatchParameter[] = [];

  object(before: Json, after: Json, node: Node, path: string): this {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)].map((name) => (node.properties.get(name)?.companion === true ? name.slice(1) : name)))].filter((name) => name !== 'resourceType');
    // What goes is told before what comes: the same element may come again with another type.
    for (const name of names) if (entryOf(after, name) === undefined) this.#change(before, after, name, node, path);
    for (const name of names) if (entryOf(after, name) !== undefined) this.#change(before, after, name, node, path);
    return this;
  }

  #change(before: Json, after: Json, name: string, node: Node, path: string): void {
    const property = node.properties.get(name);
    if (property === undefined) return;
    const [old, now] = [entryOf(before, name), entryOf(after, name)];
    const place = `${path}.${property.element}`;
    if (property.repeats) this.#list(entriesOf(old), entriesOf(now), property, path);
    else if (now === undefined) this.#put('delete', { path: place, previous: [old!, property] });
    else if (old === undefined) this.#put('add', { path, name: property.element, value: [now, property] });
    else this.#value(old, now, property, place);
  }

  #value(old: Entry, now: Entry, property: Property, path: string): void {
    if (isDeepStrictEqual(old, now)) return;
    // An object of which nothing stays would vanish between two operations; a narrative is one whole.
    const { value: was } = old;
    const { value: is } = now;
    if (property.kind === 'node' && property.type !== 'Narrative' && isRecord(was) && isRecord(is) && Object.keys(was).some((name) => Object.hasOwn(is, name))) this.object(was, is, nodeOf(property.type), path);
    else this.#put('replace', { path, value: [now, property], previous: [old, property] });
  }

  #list(old: readonly Entry[], now: readonly Entry[], property: Property, parent: string): void {
    const path = `${parent}.${property.element}`;
    // What comes after the last entry is added: an empty list is no place to insert into.
    let length = old.length;
    for (const { gone, come } of gapsOf(old, now)) {
      const both = Math.min(gone.length, come.length);
      const at = come.start;
      for (let index = 0; index < both; index++) this.#value(gone.entries[index]!, come.entries[index]!, property, `${path}[${at + index}]`);
      for (const entry of gone.entries.slice(both)) {
        this.#put('delete', { path: `${path}[${at + both}]`, previous: [entry, property] });
        length--;
      }
      for (const [index, entry] of come.entries.slice(both).entries()) {
        if (at + both + index === length) this.#put('add', { path: parent, name: property.element, value: [entry, property] });
        else this.#put('insert', { path, index: at + both + index, value: [entry, property] });
        length++;
      }
    }
  }

  #put(type: string, { path, name, index, value, previous }: { readonly path: string; readonly name?: string; readonly index?: number; readonly value?: readonly [Entry, Property]; readonly previous?: readonly [Entry, Property] }): void {
    if (this.operations.length >= maxOperations) throw new InterlockError('too-costly', { detail: 'The two differ in more places than this server tells.' });
    this.operations.push({
      name: 'operation',
      part: [
        { name: 'type', valueCode: type },
        { name: 'path', valueString: path },
        ...(name === undefined ? [] : [{ name: 'name', valueString: name }]),
        ...(index === undefined ? [] : [{ name: 'index', valueInteger: index }]),
        ...(previous === undefined ? [] : [partOf('previousValue', ...previous)]),
        ...(value === undefined ? [] : [partOf('value', ...value)]),
      ],
    });
  }
}

function entryOf(tree: Json, name: string): Entry | undefined {
  const [value, companion] = [tree[name], tree[`_${name}`]];
  return value === undefined && companion === undefined ? undefined : { value, ...(companion === undefined ? {} : { companion }) };
}

function entriesOf(entry: Entry | undefined): readonly Entry[] {
  if (entry === undefined) return [];
  const values = (entry.value ?? []) as readonly unknown[];
  const companions = (entry.companion ?? []) as readonly unknown[];
  return Array.from({ length: Math.max(values.length, companions.length) }, (_, index) => {
    const companion = companions[index] ?? undefined;
    return { value: values[index] ?? undefined, ...(companion === undefined ? {} : { companion }) };
  });
}

interface Gap {
  readonly gone: { readonly entries: readonly Entry[]; readonly length: number };
  readonly come: { readonly entries: readonly Entry[]; readonly length: number; readonly start: number };
}

/** The stretches between entries that stayed as they are (a longest common subsequence), from start to end. */
function gapsOf(old: readonly Entry[], now: readonly Entry[]): readonly Gap[] {
  const kept: (readonly [number, number])[] = [];
  if (old.length * now.length <= maxPairs) {
    const lengths = Array.from({ length: old.length + 1 }, () => new Uint32Array(now.length + 1));
    const isSame = old.map((one) => now.map((other) => isDeepStrictEqual(one, other)));
    for (let i = old.length - 1; i >= 0; i--) for (let j = now.length - 1; j >= 0; j--) lengths[i]![j] = isSame[i]![j]! ? lengths[i + 1]![j + 1]! + 1 : Math.max(lengths[i + 1]![j]!, lengths[i]![j + 1]!);
    for (let i = 0, j = 0; i < old.length && j < now.length; ) {
      if (isSame[i]![j]!) kept.push([i++, j++]);
      else if (lengths[i + 1]![j]! >= lengths[i]![j + 1]!) i++;
      else j++;
    }
  }
  const gaps: Gap[] = [];
  let [from, start] = [0, 0];
  for (const [i, j] of [...kept, [old.length, now.length] as const]) {
    if (i > from || j > start) gaps.push({ gone: { entries: old.slice(from, i), length: i - from }, come: { entries: now.slice(start, j), length: j - start, start } });
    [from, start] = [i + 1, j + 1];
  }
  return gaps;
}

/** A value as a part: of its data type, or where Parameters cannot have that type, of a part for each of its children. */
function partOf(name: string, { value, companion }: Entry, property: Property): Part {
  if (property.kind === 'resource') return { name, resource: value };
  const type = property.type === 'xhtml' ? 'string' : property.type;
  const typed = `value${type.charAt(0).toUpperCase()}${type.slice(1)}`;
  // A reference to a contained resource would point out of Parameters, which has none.
  const isLocal = property.type === 'Reference' && String((value as Json)['reference']).startsWith('#');
  if (property.kind === 'node' && (isLocal || !nodeOf('Parameters.parameter').properties.has(typed))) return { name, part: partsOf(value as Json, nodeOf(type)) };
  return { name, ...(value === undefined ? {} : { [typed]: value }), ...(companion === undefined ? {} : { [`_${typed}`]: companion }) };
}

function partsOf(value: Json, node: Node): readonly Part[] {
  const names = [...new Set(Object.keys(value).map((name) => (node.properties.get(name)?.companion === true ? name.slice(1) : name)))];
  return names.flatMap((name) => {
    const property = node.properties.get(name);
    const entry = entryOf(value, name);
    if (property === undefined || entry === undefined) return [];
    return (property.repeats ? entriesOf(entry) : [entry]).map((one) => partOf(property.element, one, property));
  });
}
