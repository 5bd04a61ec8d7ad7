import { InterlockError } from '../../resources/outcome/error.ts';
import { extractParam, type ValueContext } from '../../resources/search-values/index.ts';
import type { Terminology, TerminologyCode } from '../../resources/terminology/contract.ts';
import { isSettled, type AskedCriterion, type Criterion, type CriterionValue, type OpenCondition } from '../search/criteria.ts';
import { hierarchyOf } from '../search/hierarchy.ts';
import type { SearchPage, SearchRequest, StoredVersion } from '../storage/contract.ts';
import type { AccessContext } from './context.ts';
import { permitted, reachableTypes } from './decide.ts';

/** What resolving a search needs. */
export interface Resolving {
  readonly context: AccessContext;
  /** The store or the audit trail; inside a transaction its snapshot. */
  readonly search: (request: SearchRequest) => Promise<SearchPage>;
  readonly values: ValueContext;
  readonly terminology?: Terminology | undefined;
}

/** What resolving may cost: resources in one step, levels of a hierarchy, time of all steps; less time if a step cannot tell its size. */
export const resolveLimits = { idsPerStep: 10_000, pageSize: 1_000, levels: 32, narrow: 200, budgetMs: 5_000, unsizedBudgetMs: 800 } as const;

const never: Criterion = { op: 'any', of: [] };

/**
 * Turns a search as it was asked into one that each resource can be tested by: chains, `_has`, hierarchies and value sets
 * become lists of references, ids and codes. Every step is searched with the caller's own permission, so that nothing can
 * be learnt about resources that the caller may not see (https://hl7.org/fhir/R4/search.html#chaining).
 *
 * @param types what is searched
 * @throws InterlockError `forbidden` if the caller may search none of the types that a chain leads to; `too-costly` beyond
 *   {@link resolveLimits}; `search-invalid` for an unknown value set; `search-unsupported` without terminology
 */
export async function resolveCriterion(asked: AskedCriterion, types: readonly string[], by: Resolving): Promise<Criterion> {
  return isSettled(asked) ? asked : new Resolver(by).settle(asked, types);
}

class Resolver {
  readonly #by: Resolving;
  readonly #startedMs = performance.now();
  #budgetMs: number = resolveLimits.budgetMs;

  constructor(by: Resolving) {
    this.#by = by;
  }

  async settle(asked: AskedCriterion, types: readonly string[]): Promise<Criterion> {
    if (isSettled(asked)) return asked;
    switch (asked.op) {
      case 'all': return this.#all(asked.of, types);
      case 'any': {
        const of: Criterion[] = [];
        for (const part of asked.of) of.push(await this.settle(part, types));
        return { op: 'any', of };
      }
      case 'not': return { op: 'not', of: await this.settle(asked.of, types) };
      case 'chain': return this.#chain(asked);
      case 'has': return this.#has(asked);
      case 'hierarchy': return this.#hierarchy(asked);
      case 'valueSet': return this.#codes(asked.param, asked.of.map((valueSet) => async (terminology) => this.#expand(terminology, valueSet)));
      case 'subsumed': {
        const { direction } = asked;
        return this.#codes(asked.param, asked.of.map(({ system, code }) => async (terminology) => (direction === 'below' ? terminology.descendantsOf(system, code) : terminology.ancestorsOf(system, code))));
      }
    }
  }

  /** Of conditions that must all hold, what is settled may leave so few resources that others need be asked about these alone. */
  async #all(of: readonly AskedCriterion[], types: readonly string[]): Promise<Criterion> {
    const settled: Criterion[] = [];
    const backward: Extract<OpenCondition, { op: 'has' }>[] = [];
    for (const part of of) {
      if (part.op === 'has') backward.push(part);
      else settled.push(await this.settle(part, types));
    }
    const few = backward.length === 0 || settled.length === 0 || types.length !== 1 ? undefined : await this.#few(types[0]!, { op: 'all', of: settled });
    for (const part of backward) {
      const where: AskedCriterion = few === undefined ? part.where : { op: 'all', of: [{ op: 'param', param: part.param, of: few }, part.where] };
      settled.push(await this.#has({ ...part, where }));
    }
    return { op: 'all', of: settled };
  }

  /** References to what meets a criterion, if that is little. */
  async #few(type: string, where: Criterion): Promise<CriterionValue[] | undefined> {
    const page = await this.#by.search({ types: [type], where: permitted(this.#by.context, [type], where), sort: [], count: resolveLimits.narrow, total: 'none' });
    return page.next === undefined ? page.matches.map(({ id }) => ({ kind: 'reference', type, id })) : undefined;
  }

  async #chain({ param, of }: Extract<OpenCondition, { op: 'chain' }>): Promise<Criterion> {
    const searchable = new Set(reachableTypes(this.#by.context, ['s']));
    const reachable = of.filter(({ type }) => searchable.has(type));
    // Refuses, if none of the types can be reached.
    if (reachable.length === 0) permitted(this.#by.context, of.map(({ type }) => type), never);
    const values: CriterionValue[] = [];
    for (const { type, where } of reachable) {
      for await (const { id } of this.#matches(type, where)) {
        values.push({ kind: 'reference', type, id });
        if (values.length > resolveLimits.idsPerStep) throw tooCostly();
      }
    }
    return values.length === 0 ? never : { op: 'param', param, of: values };
  }

  async #has({ type, param, where }: Extract<OpenCondition, { op: 'has' }>): Promise<Criterion> {
    const idsByType = new Map<string, Set<string>>();
    for await (const version of this.#matches(type, where)) {
      for (const value of extractParam(version.resource(), param.code, this.#by.values)) {
        if (value.kind !== 'reference' || value.type === undefined || value.id === undefined) continue;
        const ids = idsByType.get(value.type) ?? new Set();
        idsByType.set(value.type, ids.add(value.id));
        if (ids.size > resolveLimits.idsPerStep) throw tooCostly();
      }
    }
    return { op: 'any', of: [...idsByType].map(([target, ids]) => ({ op: 'all', of: [{ op: 'type', types: [target] }, { op: 'id', ids: [...ids] }] })) };
  }

  /** The resources named themselves, and step by step what is part of them or what they are part of, as far as the caller sees it. */
  async #hierarchy({ param, direction, of }: Extract<OpenCondition, { op: 'hierarchy' }>): Promise<Criterion> {
    const found = new Map<string, CriterionValue>();
    for (const type of new Set(of.map((one) => one.type))) {
      const partOf = hierarchyOf(type)!;
      const seen = new Set<string>();
      let next = of.filter((one) => one.type === type).map(({ id }) => id);
      for (let level = 0; next.length > 0; level += 1) {
        if (level > resolveLimits.levels) throw tooCostly();
        for (const id of next) found.set(`${type}/${id}`, { kind: 'reference', type, id });
        for (const id of next) seen.add(id);
        if (seen.size > resolveLimits.idsPerStep) throw tooCostly();
        const where: Criterion = direction === 'below' ? { op: 'param', param: partOf, of: next.map((id) => ({ kind: 'reference', type, id })) } : { op: 'id', ids: next };
        next = [];
        for await (const version of this.#matches(type, where)) {
          if (direction === 'below') next.push(version.id);
          else for (const value of extractParam(version.resource(), partOf.code, this.#by.values)) if (value.kind === 'reference' && value.type === type && value.id !== undefined) next.push(value.id);
        }
        next = [...new Set(next)].filter((id) => !seen.has(id));
      }
    }
    return { op: 'param', param, of: [...found.values()] };
  }

  async #codes(param: OpenCondition['param'], asked: readonly ((terminology: Terminology) => Promise<readonly TerminologyCode[]>)[]): Promise<Criterion> {
    const { terminology } = this.#by;
    if (terminology === undefined) throw new InterlockError('search-unsupported', { detail: `Parameter ${param.code}: there is no terminology here.` });
    const found = new Map<string, CriterionValue>();
    for (const codes of asked) {
      for (const { system, code } of await codes(terminology)) found.set(`${system}|${code}`, { kind: 'token', system, code });
      if (found.size > resolveLimits.idsPerStep) throw tooCostly();
      this.#assertInTime();
    }
    return found.size === 0 ? never : { op: 'param', param, of: [...found.values()] };
  }

  /** A value set's codes; one that is named by its id is looked up as the caller. */
  async #expand(terminology: Terminology, valueSet: string): Promise<readonly TerminologyCode[]> {
    const id = /^(?:\/?|.*\/)ValueSet\/([A-Za-z0-9\-.]{1,64})$/.exec(this.#local(valueSet))?.[1];
    let url: string | undefined = valueSet;
    if (id !== undefined) {
      url = undefined;
      for await (const version of this.#matches('ValueSet', { op: 'id', ids: [id] })) url = version.resource()['url'] as string | undefined;
    }
    try {
      if (url !== undefined) return await terminology.codesOf(url);
    } catch (error) {
      if (!(error instanceof InterlockError) || error.code !== 'not-found') throw error;
    }
    throw new InterlockError('search-invalid', { detail: 'The value set is not known here, or its codes cannot be listed.' });
  }

  /** What stands below this server's base URL without it; of any other URL nothing. */
  #local(url: string): string {
    const base = this.#by.values.baseUrl;
    if (base !== undefined && url.startsWith(`${base}/`)) return url.slice(base.length + 1);
    return url.includes(':') ? '' : url;
  }

  /** What of a type meets a condition and may be searched by the caller. */
  async *#matches(type: string, asked: AskedCriterion): AsyncGenerator<StoredVersion> {
    // Decided before anything is looked at.
    permitted(this.#by.context, [type], never);
    const settled = await this.settle(asked, [type]);
    if (settled.op === 'any' && settled.of.length === 0) return;
    const where = permitted(this.#by.context, [type], settled);
    let after: string | undefined;
    let count = 0;
    do {
      this.#assertInTime();
      const page: SearchPage = await this.#by.search({ types: [type], where, sort: [], count: resolveLimits.pageSize, total: after === undefined ? 'default' : 'none', ...(after !== undefined && { after }) });
      count += page.matches.length;
      if (Math.max(count, page.total ?? 0) > resolveLimits.idsPerStep) throw tooCostly();
      // Nothing is known of what is still to come, so that it is tried for a short while only.
      if (after === undefined && page.next !== undefined && page.total === undefined) this.#budgetMs = resolveLimits.unsizedBudgetMs;
      yield* page.matches;
      after = page.next;
    } while (after !== undefined);
  }

  #assertInTime(): void {
    if (performance.now() > this.#startedMs + this.#budgetMs) throw tooCostly();
  }
}

function tooCostly(): InterlockError {
  return new InterlockError('too-costly', { detail: `A chain, _has or hierarchy leads over more than ${resolveLimits.idsPerStep} resources, or takes too long; narrow it.` });
}
