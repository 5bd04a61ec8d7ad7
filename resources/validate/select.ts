import { elementOf, type ElementRule } from '../definitions/index.ts';
import { nodeOf, type Node, type Property } from './nodes.ts';
import { itemsOf, membersOf, skipSpace, skipValue } from './splice.ts';

/** What is kept of a JSON object: properties by name, whole or in part. */
export type Selection = ReadonlyMap<string, 'whole' | Selection>;

/** A resource that carries this tag lacks elements that its original has (https://hl7.org/fhir/R4/resource.html#simple-tags). */
export const subsetted = { system: 'http://terminology.hl7.org/CodeSystem/v3-ObservationValue', code: 'SUBSETTED' } as const;

/** The views of `_summary` (https://hl7.org/fhir/R4/search.html#summary). */
export type SummaryView = 'true' | 'text' | 'data';

const alwaysKept: ReadonlySet<string> = new Set(['id', 'meta']);

/** What a view of `_summary` keeps of a type. Mandatory elements stay in each. */
export function summarySelection(type: string, view: SummaryView): Selection {
  const node = nodeOf(type);
  if (view === 'data') return selectionOf(node, (name) => name !== 'text');
  if (view === 'text') return selectionOf(node, (name, rule) => name === 'text' || rule.min > 0);
  return inSummary(node);
}

function inSummary(node: Node): Selection {
  return selectionOf(node, (_name, rule, { kind, type }) => {
    if (rule.summary !== true && rule.min === 0) return false;
    // Elements with children of their own are summarised in turn; data types stay whole.
    return kind === 'node' && type.includes('.') ? inSummary(nodeOf(type)) : true;
  });
}

/**
 * What `_elements` keeps of a type: the elements named, at the top or below (`name.family`), and what is mandatory or changes the
 * meaning of the rest (https://hl7.org/fhir/R4/search.html#elements).
 */
export function elementsSelection(type: string, paths: readonly (readonly string[])[]): Selection {
  return namedIn(nodeOf(type), paths);
}

function namedIn(node: Node, paths: readonly (readonly string[])[]): Selection {
  return selectionOf(node, (name, rule, { kind, type, element }) => {
    const named = paths.filter(([first]) => first === element || first === name);
    const below = named.map((path) => path.slice(1));
    if (rule.min > 0 || rule.modifier === true || below.some((path) => path.length === 0)) return true;
    if (below.length === 0) return false;
    return kind === 'node' ? namedIn(nodeOf(type), below) : true;
  });
}

function selectionOf(node: Node, keep: (name: string, rule: ElementRule, property: Property) => boolean | Selection): Selection {
  const kept = new Map<string, 'whole' | Selection>(node.isResource ? [['resourceType', 'whole']] : []);
  const root = node.name.split('.', 1)[0]!;
  for (const [name, property] of node.properties) {
    const path = `${node.name}.${property.element}`;
    const rule = elementOf(root, path) ?? elementOf(root, `${path}[x]`);
    if (rule === undefined) continue;
    const verdict = (node.isResource && alwaysKept.has(property.element)) || keep(name, rule, property);
    if (verdict !== false) kept.set(name, verdict === true || property.companion ? 'whole' : verdict);
  }
  return kept;
}

const tag = JSON.stringify(subsetted);

/** The resource's bytes without what a selection leaves out, tagged as subsetted; what stays is byte for byte as it was. */
export function selectFrom(bytes: Buffer, selection: Selection): Buffer {
  return Buffer.concat(objectOf(bytes, skipSpace(bytes, 0), selection, true)!);
}

/** The resource's bytes with the tag that says that something is missing. */
export function withSubsettedTag(bytes: Buffer): Buffer {
  const start = skipSpace(bytes, 0);
  const meta = membersOf(bytes, start).find(({ name }) => name === 'meta');
  if (meta !== undefined) return Buffer.concat([bytes.subarray(0, meta.valueStart), ...tagged(bytes, meta.valueStart, meta.valueEnd), bytes.subarray(meta.valueEnd)]);
  return Buffer.concat([bytes.subarray(0, start), Buffer.from(`{"meta":{"tag":[${tag}]},`), bytes.subarray(start + 1)]);
}

/** @returns undefined if nothing is left */
function objectOf(bytes: Buffer, start: number, selection: Selection, isTagged: boolean): Buffer[] | undefined {
  const pieces: Buffer[] = [];
  const add = (name: string, value: readonly Buffer[]) => {
    pieces.push(Buffer.from(`${pieces.length === 0 ? '{' : ','}${JSON.stringify(name)}:`), ...value);
  };
  let needsTag = isTagged;
  for (const { name, valueStart, valueEnd } of membersOf(bytes, start)) {
    const kept = selection.get(name);
    if (kept === undefined) continue;
    if (name === 'meta' && needsTag) {
      add(name, tagged(bytes, valueStart, valueEnd));
      needsTag = false;
    } else if (kept === 'whole') add(name, [bytes.subarray(valueStart, valueEnd)]);
    else {
      const value = bytes[valueStart] === 0x5b ? arrayOf(bytes, valueStart, kept) : objectOf(bytes, valueStart, kept, false);
      if (value !== undefined) add(name, value);
    }
  }
  if (needsTag) add('meta', [Buffer.from(`{"tag":[${tag}]}`)]);
  return pieces.length === 0 ? undefined : [...pieces, Buffer.from('}')];
}

function arrayOf(bytes: Buffer, start: number, selection: Selection): Buffer[] | undefined {
  const items = itemsOf(bytes, start).flatMap((item) => {
    const kept = objectOf(bytes, item, selection, false);
    return kept === undefined ? [] : [Buffer.concat(kept)];
  });
  return items.length === 0 ? undefined : [Buffer.from('['), ...items.flatMap((item, index) => (index === 0 ? [item] : [Buffer.from(','), item])), Buffer.from(']')];
}

function tagged(bytes: Buffer, start: number, end: number): Buffer[] {
  const members = membersOf(bytes, start);
  const tags = members.find(({ name }) => name === 'tag');
  // Said once, though more than one thing may have left something out.
  if (tags !== undefined && itemsOf(bytes, tags.valueStart).some((item) => isSubsetted(bytes.toString('utf8', item, skipValue(bytes, item))))) return [bytes.subarray(start, end)];
  if (tags === undefined) {
    const last = members.at(-1);
    return [bytes.subarray(start, last?.valueEnd ?? start + 1), Buffer.from(`${last === undefined ? '' : ','}"tag":[${tag}]}`)];
  }
  const lastItem = itemsOf(bytes, tags.valueStart).at(-1);
  const at = lastItem === undefined ? tags.valueStart + 1 : skipValue(bytes, lastItem);
  return [bytes.subarray(start, at), Buffer.from(`${lastItem === undefined ? '' : ','}${tag}`), bytes.subarray(at, end)];
}

function isSubsetted(json: string): boolean {
  const { system, code } = JSON.parse(json) as { readonly system?: unknown; readonly code?: unknown };
  return system === subsetted.system && code === subsetted.code;
}
