import { InterlockError } from '../outcome/error.ts';
import type { CodeSystem, Concept, ConceptProperty } from './types.ts';

/** A concept with its place in the hierarchy. */
export interface ConceptNode {
  readonly concept: Concept;
  readonly parents: Set<string>;
  readonly children: Set<string>;
}

/** Concepts that one code system may have. */
const maxConcepts = 200_000;

const hierarchyBase = 'http://hl7.org/fhir/concept-properties#';

/**
 * A code system made ready for questions. The hierarchy comes from nesting and from the properties `parent`, `child` and
 * `subsumedBy` (https://hl7.org/fhir/R4/codesystem.html#hierarchy); it may have several parents, and cycles are survived.
 */
export class CodeSystemIndex {
  readonly resource: CodeSystem;
  readonly #nodes = new Map<string, ConceptNode>();
  readonly #folded: ReadonlyMap<string, string> | undefined;

  /** @throws InterlockError `too-costly` */
  constructor(resource: CodeSystem) {
    this.resource = resource;
    this.#add(resource.concept ?? [], undefined);
    const roles = rolesOf(resource);
    for (const [code, { concept }] of this.#nodes) {
      for (const property of concept.property ?? []) {
        const role = roles.get(property.code);
        const other = property.valueCode ?? property.valueCoding?.code ?? property.valueString;
        if (role !== undefined && other !== undefined) this.#link(role === 'parent' ? other : code, role === 'parent' ? code : other);
      }
    }
    // Absent means unknown; codes are then compared as they are (https://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.caseSensitive).
    if (resource.caseSensitive === false) this.#folded = new Map([...this.#nodes.keys()].map((code) => [code.toLowerCase(), code]));
  }

  get url(): string {
    return this.resource.url ?? '';
  }

  /** False if more codes exist than are held: then a code that is not found may be right nevertheless. */
  get isComplete(): boolean {
    return this.resource.content === undefined || this.resource.content === 'complete';
  }

  /** False for systems of which only the description is held, such as SNOMED CT. */
  get isHeld(): boolean {
    return this.resource.content !== 'not-present' && this.resource.content !== 'supplement' && this.#nodes.size > 0;
  }

  /** True if being a child means being a kind of: only then does the hierarchy answer subsumption. */
  get isSubsuming(): boolean {
    return this.resource.hierarchyMeaning === undefined || this.resource.hierarchyMeaning === 'is-a';
  }

  get size(): number {
    return this.#nodes.size;
  }

  find(code: string): ConceptNode | undefined {
    return this.#nodes.get(code) ?? this.#nodes.get(this.#folded?.get(code.toLowerCase()) ?? '');
  }

  /** All concepts in the order in which they are defined. */
  nodes(): Iterable<ConceptNode> {
    return this.#nodes.values();
  }

  /** Codes below a code, itself excluded. */
  descendants(code: string): ReadonlySet<string> {
    return this.#reach(code, (node) => node.children);
  }

  /** Codes above a code, itself excluded. */
  ancestors(code: string): ReadonlySet<string> {
    return this.#reach(code, (node) => node.parents);
  }

  /** True for codes that are for grouping and not for use. */
  isAbstract({ concept }: ConceptNode): boolean {
    return (concept.property ?? []).some((property) => (property.code === 'notSelectable' || property.code === 'abstract') && isTrue(property));
  }

  /** True for codes that are no longer for use. */
  isInactive({ concept }: ConceptNode): boolean {
    return (concept.property ?? []).some((property) => (property.code === 'inactive' && isTrue(property)) || (property.code === 'status' && (property.valueCode === 'retired' || property.valueCode === 'inactive')));
  }

  #reach(code: string, next: (node: ConceptNode) => ReadonlySet<string>): ReadonlySet<string> {
    const start = this.find(code);
    const seen = new Set(start === undefined || !this.isSubsuming ? [] : next(start));
    for (const one of seen) for (const other of next(this.#nodes.get(one)!)) seen.add(other);
    if (start !== undefined) seen.delete(start.concept.code);
    return seen;
  }

  #add(concepts: readonly Concept[], parent: string | undefined): void {
    for (const concept of concepts) {
      // A code that is defined twice keeps its first definition, and gains a place.
      if (!this.#nodes.has(concept.code)) this.#nodes.set(concept.code, { concept, parents: new Set(), children: new Set() });
      if (this.#nodes.size > maxConcepts) throw new InterlockError('too-costly', { detail: 'A code system has too many concepts.' });
      if (parent !== undefined) this.#link(parent, concept.code);
      this.#add(concept.concept ?? [], concept.code);
    }
  }

  #link(parent: string, child: string): void {
    const above = this.#nodes.get(parent);
    const below = this.#nodes.get(child);
    if (above === undefined || below === undefined || parent === child) return;
    above.children.add(child);
    below.parents.add(parent);
  }
}

function rolesOf({ property = [] }: CodeSystem): ReadonlyMap<string, 'parent' | 'child'> {
  const roles = new Map<string, 'parent' | 'child'>([['parent', 'parent'], ['subsumedBy', 'parent'], ['child', 'child']]);
  for (const { code, uri } of property) {
    if (uri === `${hierarchyBase}parent`) roles.set(code, 'parent');
    if (uri === `${hierarchyBase}child`) roles.set(code, 'child');
  }
  return roles;
}

function isTrue(property: ConceptProperty): boolean {
  return property.valueBoolean === true || property.valueCode === 'true' || property.valueString === 'true';
}

/** A property's value as text, as filters compare it. */
export function textOf(property: ConceptProperty): string {
  const value = property.valueCode ?? property.valueString ?? property.valueCoding?.code ?? property.valueDateTime ?? property.valueInteger ?? property.valueDecimal ?? property.valueBoolean;
  return value === undefined ? '' : String(value);
}
