/** A FHIR element or resource under construction. */
export type Element = Record<string, unknown>;

export function isElement(value: unknown): value is Element {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One step of an element path: a name, `name[]` (a new entry) or `name[2]` (that entry). */
interface Step {
  readonly name: string;
  readonly entry: 'none' | 'new' | number;
}

const parsed = new Map<string, readonly Step[]>();

function stepsOf(path: string): readonly Step[] {
  let steps = parsed.get(path);
  if (steps === undefined) {
    steps = path.split('.').map((part) => {
      const match = /^(\w+)(?:\[(\d*)\])?$/.exec(part);
      if (match === null) throw new TypeError(`not an element path: ${path}`);
      return { name: match[1] ?? '', entry: match[2] === undefined ? 'none' : match[2] === '' ? 'new' : Number(match[2]) };
    });
    parsed.set(path, steps);
  }
  return steps;
}

/**
 * Sets a value in a resource.
 * @param path such as `gender`, `period.start`, `name[]` (append) or `participant[].individual` (append an entry, set in it)
 * @param defaults members given to the entry that `[]` opened (or to the value itself) unless the value has them
 */
export function setElement(target: Element, path: string, value: unknown, defaults: Element = {}): void {
  const steps = stepsOf(path);
  let at = target;
  let opened = false;
  for (const [index, step] of steps.entries()) {
    const last = index === steps.length - 1;
    if (step.entry === 'none') {
      if (last) at[step.name] = !opened && isElement(value) ? { ...defaults, ...value } : value;
      else at = (isElement(at[step.name]) ? at[step.name] : (at[step.name] = {})) as Element;
      continue;
    }
    const list = (Array.isArray(at[step.name]) ? at[step.name] : (at[step.name] = [])) as unknown[];
    if (last) {
      const entry = isElement(value) ? { ...defaults, ...value } : value;
      const text = list.length > 0 && isElement(entry) ? JSON.stringify(entry) : undefined;
      if (text === undefined || !list.some((one) => JSON.stringify(one) === text)) list.push(entry);
      return;
    }
    const position = step.entry === 'new' ? list.length : step.entry;
    while (list.length <= position) list.push(step.entry === 'new' ? { ...defaults } : {});
    opened ||= step.entry === 'new';
    at = list[position] as Element;
  }
}

/** Name of the top-level element that a path leads into. */
export function topLevel(path: string): string {
  return /^\w+/.exec(path)?.[0] ?? path;
}

/** A copy without empty objects, empty lists, empty strings and undefined members, which FHIR JSON forbids; undefined when nothing is left. */
export function compact(value: unknown): unknown {
  if (value === undefined || value === null || value === '') return undefined;
  if (Array.isArray(value)) {
    const entries: unknown[] = [];
    for (const entry of value as unknown[]) {
      const kept = compact(entry);
      if (kept !== undefined) entries.push(kept);
    }
    return entries.length === 0 ? undefined : entries;
  }
  if (!isElement(value)) return value;
  const element: Element = {};
  let empty = true;
  for (const name in value) {
    const member = compact(value[name]);
    if (member === undefined) continue;
    element[name] = member;
    empty = false;
  }
  return empty ? undefined : element;
}
