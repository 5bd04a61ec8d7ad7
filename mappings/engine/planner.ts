import { compact, type Element } from './elements.ts';
import type { Plan, PlannedJson, PlannedMerge, PlannedResource, WriteMode } from './plan.ts';

export interface BusinessIdentifier {
  readonly system: string;
  readonly value: string;
}

export interface Addition {
  readonly resource: Element & { readonly resourceType: string };
  readonly mode?: WriteMode;
  readonly match?: readonly BusinessIdentifier[];
  readonly clear?: Iterable<string>;
  readonly fill?: readonly string[];
  readonly createIfAbsent?: boolean;
}

/** Gathers the resources of one plan under stable local keys. */
export class Planner {
  private readonly resources: PlannedResource[] = [];
  private readonly merges: PlannedMerge[] = [];
  private readonly counts = new Map<string, number>();
  private readonly known = new Map<string, string>();

  /** Reserves the next key of a stem, such as `medicationRequest-2`, for resources that refer to each other. */
  key(stem: string): string {
    const count = (this.counts.get(stem) ?? 0) + 1;
    this.counts.set(stem, count);
    return `${stem}-${count}`;
  }

  /** Adds a resource under a key. One that the plan already holds under the same business identifier is not added twice. @returns its key */
  add(key: string, addition: Addition): string {
    const match = addition.match ?? [];
    const marks = match.map(({ system, value }) => JSON.stringify([addition.resource.resourceType, system, value]));
    const first = marks[0];
    const existing = first === undefined ? undefined : this.known.get(first);
    if (existing !== undefined) return existing;
    for (const mark of marks) this.known.set(mark, key);
    this.resources.push({
      key,
      resource: compact(addition.resource) as PlannedJson,
      mode: match.length === 0 ? 'create' : (addition.mode ?? 'merge'),
      match,
      clear: [...(addition.clear ?? [])],
      ...(addition.fill === undefined || addition.fill.length === 0 ? {} : { fill: addition.fill }),
      createIfAbsent: addition.createIfAbsent ?? true,
    });
    return key;
  }

  /** True when the plan already holds a resource of this type under this identifier. */
  holds(resourceType: string, { system, value }: BusinessIdentifier): boolean {
    return this.known.has(JSON.stringify([resourceType, system, value]));
  }

  /** Sets an element of a resource that is already in the plan; an empty list sets nothing. */
  amend(key: string, element: string, value: readonly Element[]): void {
    const at = this.resources.findIndex((one) => one.key === key);
    const found = this.resources[at];
    if (found !== undefined && value.length > 0) this.resources[at] = { ...found, resource: { ...found.resource, [element]: compact(value) } };
  }

  merge(survivor: string, retired: string): void {
    this.merges.push({ survivor, retired });
  }

  finish(rest: Pick<Plan, 'messageType' | 'eventAtMs' | 'unmapped' | 'untranslated'>): Plan {
    return { ...rest, resources: this.resources, merges: this.merges };
  }
}

/** A reference to a resource of the same plan. */
export function referenceTo(key: string): { reference: string } {
  return { reference: `urn:key:${key}` };
}
