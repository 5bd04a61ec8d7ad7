import type { Element } from './elements.ts';
import { isElement } from './elements.ts';
import type { PlannedJson, PlannedResource } from './plan.ts';

/**
 * How lists of a planned resource meet the stored list. Everything else that the plan carries replaces what is stored.
 * - `entry`: the stored entry with the same key takes the planned entry's members; other stored entries stay
 * - `group`: the planned entries replace the stored entries of their groups; other groups stay (a message that carries
 *   only the home phone says nothing about the work phone)
 */
interface ListRule {
  readonly by: 'entry' | 'group';
  /** What makes two entries the same, or of one group. Entries without a key are of one group. */
  readonly key: (entry: Element) => string;
}

const at = (entry: Element, member: string): string => (typeof entry[member] === 'string' ? entry[member] : '');
const codeOf = (concept: unknown): string => {
  const first: unknown = Array.isArray(concept) ? concept[0] : concept;
  const coding: unknown = isElement(first) && Array.isArray(first.coding) ? first.coding[0] : undefined;
  return isElement(coding) ? at(coding, 'code') : '';
};
const referenceOf = (member: unknown): string => (isElement(member) ? at(member, 'reference') : '');

const lists: Readonly<Record<string, ListRule>> = {
  'identifier': { by: 'entry', key: (entry) => `${at(entry, 'system')}|${at(entry, 'value')}` },
  'extension': { by: 'group', key: (entry) => at(entry, 'url') },
  'telecom': { by: 'group', key: (entry) => at(entry, 'use') },
  'Patient.name': { by: 'group', key: (entry) => (at(entry, 'use') === 'nickname' ? 'alias' : 'name') },
  'Encounter.participant': { by: 'group', key: (entry) => codeOf(entry.type) },
  'Encounter.location': { by: 'entry', key: (entry) => referenceOf(entry.location) },
  'Encounter.diagnosis': { by: 'entry', key: (entry) => referenceOf(entry.condition) },
};

/** Objects of which members merge one by one, because different messages carry different members. */
const composites: ReadonlySet<string> = new Set(['period', 'hospitalization']);

/** Elements with a choice of types: a planned one removes every stored form of it. */
const choices: Readonly<Record<string, readonly string[]>> = {
  Patient: ['deceased', 'multipleBirth'],
  MedicationRequest: ['medication', 'reported'],
  Observation: ['value', 'effective'],
  Condition: ['onset', 'abatement'],
  AllergyIntolerance: ['onset'],
  Procedure: ['performed'],
  Immunization: ['occurrence'],
  ServiceRequest: ['occurrence', 'quantity', 'asNeeded'],
  DiagnosticReport: ['effective'],
};

const elementsIn = (value: unknown): Element[] => (Array.isArray(value) ? value.filter(isElement) : []);

function mergeEntries(stored: readonly Element[], planned: readonly Element[], rule: ListRule): Element[] {
  if (rule.by === 'group') {
    const groups = new Set(planned.map(rule.key));
    return [...stored.filter((entry) => !groups.has(rule.key(entry))), ...planned];
  }
  const merged = [...stored];
  for (const entry of planned) {
    const same = merged.findLastIndex((one) => rule.key(one) === rule.key(entry));
    if (same < 0) merged.push(entry);
    else merged[same] = mergeMembers(merged[same] ?? {}, entry);
  }
  return merged;
}

function mergeMembers(stored: Element, planned: Element): Element {
  const merged = { ...stored };
  for (const [name, value] of Object.entries(planned)) {
    merged[name] = composites.has(name) && isElement(value) && isElement(stored[name]) ? mergeMembers(stored[name], value) : value;
  }
  return merged;
}

/** Moving to a new place ends the stay at every other one, and coming back to a place is a new stay. */
function mergeLocations(stored: readonly Element[], planned: readonly Element[], rule: ListRule): Element[] {
  const arrivals = planned.filter((entry) => entry.status === 'active');
  const named = new Set(planned.map(rule.key));
  const since = arrivals.map((entry) => (isElement(entry.period) ? at(entry.period, 'start') : '')).find((start) => start !== '');
  const ended = stored.map((entry) => {
    if (arrivals.length === 0 || entry.status !== 'active' || named.has(rule.key(entry))) return entry;
    return { ...entry, status: 'completed', ...(since === undefined ? {} : { period: { ...(isElement(entry.period) ? entry.period : {}), end: since } }) };
  });
  const past = ended.filter((entry) => entry.status === 'completed' && arrivals.some((arrival) => rule.key(arrival) === rule.key(entry)));
  const open = ended.filter((entry) => !past.includes(entry));
  return [...past, ...mergeEntries(open, planned, rule)];
}

function clearPath(resource: Element, path: string): void {
  const match = /^(\w+)(?:\.(\w+)|\[(\w+)=([^\]]*)\])?$/.exec(path);
  if (match === null) return;
  const [, name = '', member, key, value] = match;
  const stored = resource[name];
  if (member !== undefined) {
    if (isElement(stored)) resource[name] = Object.fromEntries(Object.entries(stored).filter(([one]) => one !== member));
  } else if (key !== undefined) {
    resource[name] = elementsIn(stored).filter((entry) => (key === 'type' ? codeOf(entry.type) : at(entry, key)) !== value);
  } else {
    Reflect.deleteProperty(resource, name);
  }
  const left = resource[name];
  if ((Array.isArray(left) && left.length === 0) || (isElement(left) && Object.keys(left).length === 0)) Reflect.deleteProperty(resource, name);
}

/**
 * What is stored after a planned resource in mode `merge` met a stored one. Pure; neither argument is changed.
 * @param stored the current resource; its `id` and `meta` stay
 * @param planned with its references already resolved to `Type/id`, so that they compare with stored ones
 */
export function mergePlanned(stored: PlannedJson, planned: Pick<PlannedResource, 'resource' | 'clear' | 'fill'>): PlannedJson {
  const merged: PlannedJson = { ...stored };
  for (const path of planned.clear) clearPath(merged, path);
  const type = stored.resourceType;
  for (const [name, value] of Object.entries(planned.resource)) {
    if (name === 'resourceType' || name === 'id' || name === 'meta') continue;
    const choice = choices[type]?.find((stem) => name.startsWith(stem) && /^[A-Z]/.test(name.slice(stem.length)));
    const present = choice === undefined ? [name].filter((one) => merged[one] !== undefined) : Object.keys(merged).filter((one) => one.startsWith(choice) && /^[A-Z]/.test(one.slice(choice.length)));
    if (planned.fill?.includes(name) === true && present.length > 0) continue;
    if (choice !== undefined) for (const one of present) Reflect.deleteProperty(merged, one);
    const rule = lists[`${type}.${name}`] ?? lists[name];
    if (rule !== undefined && Array.isArray(value)) {
      const [before, after] = [elementsIn(merged[name]), elementsIn(value)];
      merged[name] = type === 'Encounter' && name === 'location' ? mergeLocations(before, after, rule) : mergeEntries(before, after, rule);
    } else {
      merged[name] = composites.has(name) && isElement(value) && isElement(merged[name]) ? mergeMembers(merged[name], value) : value;
    }
  }
  return merged;
}
