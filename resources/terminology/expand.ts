import { InterlockError } from '../outcome/error.ts';
import type { CodeSystemIndex, ConceptNode } from './code-system.ts';
import { compileFilter } from './filters.ts';
import { notHeld, splitCanonical, type TerminologySource } from './source.ts';
import type { Designation, ExpansionContains, ValueSet, ValueSetInclude } from './types.ts';
import { WorkBudget } from '../outcome/budget.ts';

/** A code of a value set. */
export interface Member {
  readonly system: string;
  readonly version?: string;
  readonly code: string;
  readonly display?: string;
  readonly definition?: string;
  readonly designations: readonly Designation[];
  readonly isAbstract: boolean;
  readonly isInactive: boolean;
}

/** The codes of a value set in order, by `system|code`. */
export type Members = ReadonlyMap<string, Member>;

/** What one question may cost. */
export interface ExpansionBounds {
  /** Codes that a value set may have. Default 50,000. */
  readonly maxCodes?: number;
}

const defaultMaxCodes = 50_000;
/** Concepts that are looked at for one question, over all includes and imports. */
const maxExamined = 1_000_000;
/** Time of one question; patterns on long texts are what takes it. */
const maxMs = 1_000;
/** Words of a text filter. */
const maxWords = 20;
/** Value sets that import each other, one in another. */
const maxImportDepth = 20;

/** The key of a code in {@link Members}. */
export function memberKey(system: string, code: string): string {
  return `${system}|${code}`;
}

/**
 * All codes of a value set (https://hl7.org/fhir/R4/valueset.html#compositions): what any include gives, less what any
 * exclude gives. A value set whose definition cannot be evaluated here but that carries a whole expansion is that expansion.
 *
 * @throws InterlockError `not-enumerable` if the codes of a system or a value set that it needs are not held;
 *   `request-invalid` for value sets that import themselves; `too-costly`
 */
export function membersOf(valueSet: ValueSet, source: TerminologySource, bounds: ExpansionBounds = {}): Members {
  return new Evaluation(source, bounds.maxCodes ?? defaultMaxCodes).members(valueSet, []);
}

/** The codes that are surely in a value set of which some includes cannot be evaluated here; none if it excludes any. */
export function certainMembersOf(valueSet: ValueSet, source: TerminologySource, bounds: ExpansionBounds = {}): Members {
  return new Evaluation(source, bounds.maxCodes ?? defaultMaxCodes).certain(valueSet);
}

/** Concepts between two looks at the clock. */
const checkEvery = 1_000;

class Evaluation {
  readonly #source: TerminologySource;
  readonly #maxCodes: number;
  readonly #known = new Map<ValueSet, Members>();
  readonly #budget = new WorkBudget(maxMs);
  #examined = 0;
  #nextCheck = checkEvery;

  constructor(source: TerminologySource, maxCodes: number) {
    this.#source = source;
    this.#maxCodes = maxCodes;
  }

  members(valueSet: ValueSet, path: readonly ValueSet[]): Members {
    const known = this.#known.get(valueSet);
    if (known !== undefined) return known;
    if (path.includes(valueSet)) throw new InterlockError('request-invalid', { detail: 'Value sets import each other in a circle.' });
    if (path.length >= maxImportDepth) throw new InterlockError('too-costly', { detail: 'Value sets import each other too deeply.' });
    const members = this.#evaluate(valueSet, [...path, valueSet]);
    this.#known.set(valueSet, members);
    return members;
  }

  certain({ compose }: ValueSet): Members {
    const members = new Map<string, Member>();
    if ((compose?.exclude ?? []).length > 0) return members;
    for (const include of compose?.include ?? []) {
      try {
        for (const [key, member] of this.#include(include, [])) members.set(key, member);
      } catch (error) {
        if (!(error instanceof InterlockError) || error.code !== 'not-enumerable') throw error;
      }
      if (members.size > this.#maxCodes) throw tooMany();
    }
    return members;
  }

  #evaluate(valueSet: ValueSet, path: readonly ValueSet[]): Members {
    const { compose, expansion } = valueSet;
    const stored = expansion?.contains;
    if (compose?.include === undefined || compose.include.length === 0) {
      if (stored === undefined) throw new InterlockError('not-enumerable', { detail: 'It has neither a definition nor an expansion.' });
      return this.#stored(stored);
    }
    try {
      const members = new Map<string, Member>();
      for (const include of compose.include) {
        for (const [key, member] of this.#include(include, path)) {
          if (compose.inactive === false && member.isInactive) continue;
          if (!members.has(key)) members.set(key, member);
          if (members.size > this.#maxCodes) throw tooMany();
        }
      }
      for (const exclude of compose.exclude ?? []) for (const key of this.#include(exclude, path).keys()) members.delete(key);
      return members;
    } catch (error) {
      const isWhole = stored !== undefined && (expansion?.total === undefined || expansion.total === sizeOf(stored));
      if (error instanceof InterlockError && error.code === 'not-enumerable' && isWhole) return this.#stored(stored);
      throw error;
    }
  }

  /** Codes that an include picks: of its system, and in every value set that it names. */
  #include(include: ValueSetInclude, path: readonly ValueSet[]): Members {
    const imports = (include.valueSet ?? []).map((canonical) => {
      const { url, version } = splitCanonical(canonical);
      const imported = this.#source.valueSet(url, version);
      if (imported === undefined) throw new InterlockError('not-enumerable', { detail: 'It imports a value set that is not known here.' });
      return this.members(imported, path);
    });
    const first = include.system === undefined ? imports.shift() : this.#ofSystem(include, include.system, imports);
    if (first === undefined) throw new InterlockError('not-enumerable', { detail: 'It includes neither a system nor a value set.' });
    this.#count(first.size * (imports.length + 1));
    if (imports.length === 0) return first;
    return new Map([...first].filter(([key]) => imports.every((members) => members.has(key))));
  }

  #ofSystem(include: ValueSetInclude, url: string, imports: readonly Members[]): Members {
    const system = this.#source.codeSystem(url, include.version);
    const members = new Map<string, Member>();
    const put = (member: Member) => {
      if (members.size >= this.#maxCodes) throw tooMany();
      members.set(memberKey(url, member.code), member);
    };
    if (include.concept !== undefined) {
      this.#count(include.concept.length);
      for (const { code, display, designation } of include.concept) {
        const node = system?.find(code);
        // Of a system that is held as a whole, a code that it does not have is not a code.
        if (node === undefined && system?.isHeld === true && system.isComplete) continue;
        const known = node === undefined ? undefined : memberOf(system!, node);
        put({ system: url, ...(include.version === undefined ? {} : { version: include.version }), isAbstract: false, isInactive: false, ...known, code, ...(display === undefined ? {} : { display }), designations: [...(designation ?? []), ...(known?.designations ?? [])] });
      }
      return members;
    }
    if (system?.isHeld !== true) {
      // Whatever of this system the imported value sets have, they have with their codes.
      const imported = include.filter === undefined ? imports[0] : undefined;
      if (imported === undefined) throw notHeld(url);
      return new Map([...imported].filter(([, member]) => member.system === url));
    }
    const filters = (include.filter ?? []).map((filter) => compileFilter(filter, system));
    this.#count(system.size * Math.max(1, filters.length));
    for (const node of system.nodes()) {
      if (filters.every((passes) => passes(node))) put(memberOf(system, node));
      this.#count(0);
    }
    return members;
  }

  #stored(contains: readonly ExpansionContains[]): Members {
    const members = new Map<string, Member>();
    const add = (entries: readonly ExpansionContains[]) => {
      this.#count(entries.length);
      for (const entry of entries) {
        if (entry.system !== undefined && entry.code !== undefined) {
          const { system, code, version, display, designation } = entry;
          if (members.size >= this.#maxCodes) throw tooMany();
          members.set(memberKey(system, code), { system, code, ...(version === undefined ? {} : { version }), ...(display === undefined ? {} : { display }), designations: designation ?? [], isAbstract: entry.abstract === true, isInactive: entry.inactive === true });
        }
        add(entry.contains ?? []);
      }
    };
    add(contains);
    return members;
  }

  #count(examined: number): void {
    this.#examined += examined;
    if (this.#examined > maxExamined) throw tooMany();
    if (this.#examined < this.#nextCheck) return;
    this.#nextCheck = this.#examined + checkEvery;
    if (this.#budget.isSpent) throw tooMany();
  }
}

/** A concept as the member of a value set. */
export function memberOf(system: CodeSystemIndex, node: ConceptNode): Member {
  const { code, display, definition, designation } = node.concept;
  const { version } = system.resource;
  return {
    system: system.url,
    ...(version === undefined ? {} : { version }),
    code,
    ...(display === undefined ? {} : { display }),
    ...(definition === undefined ? {} : { definition }),
    designations: designation ?? [],
    isAbstract: system.isAbstract(node),
    isInactive: system.isInactive(node),
  };
}

/** What a caller asks of an expansion (https://hl7.org/fhir/R4/valueset-operation-expand.html). */
export interface ExpansionRequest extends ExpansionBounds {
  readonly filter?: string;
  readonly offset?: number;
  readonly count?: number;
  readonly activeOnly?: boolean;
  readonly excludeNotForUi?: boolean;
  readonly includeDesignations?: boolean;
  /** Languages or uses (`system|code`) that designations are limited to. */
  readonly designations?: readonly string[];
  readonly displayLanguage?: string;
  readonly excludeSystems?: readonly string[];
}

/** A page of the codes of a value set, as `ValueSet.expansion` has them: flat, in the order of the definition. */
export function expand(valueSet: ValueSet, source: TerminologySource, request: ExpansionRequest): { readonly total: number; readonly contains: readonly ExpansionContains[] } {
  const words = (request.filter ?? '').toLowerCase().split(/\s+/).filter((word) => word !== '');
  if (words.length > maxWords) throw new InterlockError('too-costly', { detail: `A text filter has at most ${maxWords} words.` });
  const excluded = new Set(request.excludeSystems);
  const asked = [...membersOf(valueSet, source, request).values()].filter(
    (member) =>
      !(request.activeOnly === true && member.isInactive) &&
      !(request.excludeNotForUi === true && member.isAbstract) &&
      !excluded.has(member.system) &&
      words.every((word) => [member.code, member.display, ...member.designations.map(({ value }) => value)].some((text) => text?.toLowerCase().includes(word) === true)),
  );
  const offset = request.offset ?? 0;
  const page = asked.slice(offset, request.count === undefined ? undefined : offset + request.count);
  return { total: asked.length, contains: page.map((member) => containsOf(member, request)) };
}

function containsOf(member: Member, { includeDesignations, designations = [], displayLanguage }: ExpansionRequest): ExpansionContains {
  const isAsked = ({ language, use }: Designation) => designations.length === 0 || designations.some((one) => one === language || one === `${use?.system ?? ''}|${use?.code ?? ''}`);
  const shown = includeDesignations === true || designations.length > 0 ? member.designations.filter(isAsked) : [];
  const display = displayIn(member, displayLanguage);
  return {
    system: member.system,
    ...(member.isAbstract ? { abstract: true } : {}),
    ...(member.isInactive ? { inactive: true } : {}),
    ...(member.version === undefined ? {} : { version: member.version }),
    code: member.code,
    ...(display === undefined ? {} : { display }),
    ...(shown.length === 0 ? {} : { designation: shown }),
  };
}

/** The display in a language (BCP 47; `de` finds `de-AT` too), else the system's own. */
export function displayIn({ display, designations }: Pick<Member, 'display' | 'designations'>, language: string | undefined): string | undefined {
  if (language === undefined) return display;
  const asked = language.toLowerCase();
  const inLanguage = designations.filter((one) => one.language?.toLowerCase() === asked || one.language?.toLowerCase().startsWith(`${asked}-`) === true);
  return (inLanguage.find(({ use }) => use === undefined || use.code === 'display' || use.code === 'preferred') ?? inLanguage[0])?.value ?? display;
}

function sizeOf(contains: readonly ExpansionContains[]): number {
  return contains.reduce((size, entry) => size + 1 + sizeOf(entry.contains ?? []), 0);
}

function tooMany(): InterlockError {
  return new InterlockError('too-costly', { detail: 'The value set has more codes, or takes longer, than this server expands.' });
}
