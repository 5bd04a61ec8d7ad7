import type { Element } from '../engine/elements.ts';
import type { Planner } from '../engine/planner.ts';
import type { UnmappedField } from '../engine/plan.ts';
import type { Rule, Source } from '../engine/rules.ts';
import type { V2Time } from './datetime.ts';
import type { V2Message, V2Part, V2Segment } from './message.ts';
import type { Systems } from './systems.ts';
import { ignoredFields } from './ignored.ts';
import type { TableName } from './tables/index.ts';
import type { ConversionName } from './convert.ts';

export type V2Rule = Rule<ConversionName, TableName>;

/** Remembers which fields any rule read, so that what nobody read can be reported. */
export class Usage {
  private readonly used = new Map<V2Segment, Set<number>>();
  private readonly lost = new Map<string, number>();

  mark(segment: V2Segment, field: number): void {
    let fields = this.used.get(segment);
    if (fields === undefined) this.used.set(segment, (fields = new Set()));
    fields.add(field);
  }

  /** A field that was read but whose value could not be expressed, such as an impossible date. */
  drop(path: string): void {
    const field = /^\w{3}-\d+/.exec(path)?.[0] ?? path;
    this.lost.set(field, (this.lost.get(field) ?? 0) + 1);
  }

  /** Populated fields that no rule used, and used ones that yielded nothing. A segment that nothing read at all is named as a whole. */
  unmapped(message: V2Message): UnmappedField[] {
    const counts = new Map(this.lost);
    const count = (path: string): void => void counts.set(path, (counts.get(path) ?? 0) + 1);
    const readNames = new Set([...this.used.keys()].map((segment) => segment.name));
    for (const segment of message.segments) {
      const ignored = ignoredFields[segment.name];
      if (ignored === 'all') continue;
      if (!readNames.has(segment.name)) {
        if (segment.populated.some((field) => ignored?.includes(field) !== true)) count(segment.name);
        continue;
      }
      const used = this.used.get(segment);
      for (const field of segment.populated) if (used?.has(field) !== true && ignored?.includes(field) !== true) count(`${segment.name}-${field}`);
    }
    return [...counts].map(([path, total]) => ({ path, count: total })).sort((a, b) => (a.path < b.path ? -1 : 1));
  }
}

/** When the reported event took place, as far as the message tells. */
export interface EventFacts {
  readonly trigger: string;
  /** EVN-6, EVN-2 or MSH-7. */
  readonly time?: V2Time;
}

/** What all maps of one message share. Pure: the same message gives the same plan. */
export interface V2Context {
  readonly message: V2Message;
  /** IANA zone or fixed offset for times that carry none. */
  readonly zone: string;
  readonly systems: Systems;
  readonly planner: Planner;
  readonly usage: Usage;
  readonly event: EventFacts;
  untranslated(path: string, table: TableName): void;
}

/** A position as rules write it, such as `PID-5` or `PID-3.4.2`. */
interface Position {
  readonly segment: string;
  readonly field: number;
  readonly component?: number;
  readonly subcomponent?: number;
}

/** Positions taken apart. As many as the maps' rules name. */
const positions = new Map<string, Position>();

function positionOf(text: string): Position {
  let position = positions.get(text);
  if (position === undefined) {
    const match = /^(\w{3})-(\d+)(?:\.(\d+))?(?:\.(\d+))?$/.exec(text);
    if (match === null) throw new TypeError(`not a field position: ${text}`);
    const [, segment = '', field, component, subcomponent] = match;
    position = { segment, field: Number(field), ...(component === undefined ? {} : { component: Number(component) }), ...(subcomponent === undefined ? {} : { subcomponent: Number(subcomponent) }) };
    positions.set(text, position);
  }
  return position;
}

/** The segments that one map reads, such as an order's, or one AL1 alone. */
export class Scope implements Source<V2Part> {
  readonly segments: readonly V2Segment[];
  private readonly context: V2Context;

  constructor(segments: readonly V2Segment[], context: V2Context) {
    this.segments = segments;
    this.context = context;
  }

  /** Values of a field of the first such segment in scope; with a component, that component of each repetition. */
  read(position: string): readonly V2Part[] {
    const { segment: name, field, component, subcomponent } = positionOf(position);
    const segment = this.first(name);
    if (segment === undefined) return [];
    this.context.usage.mark(segment, field);
    const repetitions = segment.field(field);
    if (component === undefined) return repetitions;
    return repetitions.map((part) => (subcomponent === undefined ? part.at(component) : part.at(component).at(subcomponent))).filter((part) => !part.isEmpty);
  }

  /** Text of the first value at a position; empty when there is none. */
  text(position: string): string {
    return this.read(position)[0]?.text ?? '';
  }

  first(name: string): V2Segment | undefined {
    for (const segment of this.segments) if (segment.name === name) return segment;
    return undefined;
  }

  all(name: string): Scope[] {
    return this.segments.filter((segment) => segment.name === name).map((segment) => this.narrow([segment]));
  }

  /** Groups that begin with a segment of one of these names and last until the next; what precedes the first is left out. */
  groups(starts: readonly string[], members?: readonly string[]): Scope[] {
    const groups: V2Segment[][] = [];
    let open = false;
    for (const segment of this.segments) {
      if (starts.includes(segment.name)) {
        groups.push([segment]);
        open = true;
      } else if (members !== undefined && !members.includes(segment.name)) open = false;
      else if (open) groups.at(-1)?.push(segment);
    }
    return groups.map((group) => this.narrow(group));
  }

  narrow(segments: readonly V2Segment[]): Scope {
    return new Scope(segments, this.context);
  }
}

/** A resource being filled by rules. */
export interface Draft {
  readonly resource: Element & { resourceType: string };
  readonly clear: Set<string>;
}
