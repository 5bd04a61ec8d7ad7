import { InterlockError } from '../outcome/error.ts';
import { splitCanonical, type TerminologySource } from './source.ts';
import type { Coding, ConceptMap, Equivalence, MapDependency, MapGroup } from './types.ts';

/** One match of a translation (https://hl7.org/fhir/R4/conceptmap-operation-translate.html). */
export interface Translation {
  readonly equivalence: Equivalence;
  readonly concept?: Coding;
  readonly product?: readonly MapDependency[];
  /** Canonical URL of the map that it comes from. */
  readonly source?: string;
}

export interface TranslationRequest {
  readonly codings: readonly Coding[];
  /** Value set that the code comes from, and the one that is wanted. */
  readonly source?: string;
  readonly target?: string;
  /** Code system that is wanted. */
  readonly targetSystem?: string;
  /** True: from targets to sources. */
  readonly reverse?: boolean;
  readonly dependencies?: readonly MapDependency[];
}

const maxMatches = 1_000;
const maxOtherMaps = 5;

/** What an equivalence is when read from the target's side. */
const reversed: Readonly<Record<Equivalence, Equivalence>> = {
  relatedto: 'relatedto', equivalent: 'equivalent', equal: 'equal', wider: 'narrower', subsumes: 'specializes', narrower: 'wider', specializes: 'subsumes', inexact: 'inexact', unmatched: 'unmatched', disjoint: 'disjoint',
};
const noMatch: ReadonlySet<Equivalence> = new Set(['unmatched', 'disjoint']);

/** Translates codes by these maps. @returns whether any match really maps the code, and all matches */
export function translate(maps: readonly ConceptMap[], request: TranslationRequest, sources: TerminologySource): { readonly result: boolean; readonly matches: readonly Translation[] } {
  const matches = maps.flatMap((map) => (isFor(map, request) ? request.codings.flatMap((coding) => ofMap(map, coding, request, sources, 0)) : []));
  if (matches.length > maxMatches) throw new InterlockError('too-costly', { detail: 'The code has more translations than this server gives.' });
  return { result: matches.some(({ equivalence }) => !noMatch.has(equivalence)), matches };
}

function isFor(map: ConceptMap, { source, target, reverse }: TranslationRequest): boolean {
  const from = map.sourceCanonical ?? map.sourceUri;
  const to = map.targetCanonical ?? map.targetUri;
  return (source === undefined || same(reverse === true ? to : from, source)) && (target === undefined || same(reverse === true ? from : to, target));
}

function ofMap(map: ConceptMap, coding: Coding, request: TranslationRequest, sources: TerminologySource, depth: number): Translation[] {
  return (map.group ?? []).flatMap((group) => {
    const [from, to] = request.reverse === true ? [group.target, group.source] : [group.source, group.target];
    if (coding.system !== undefined && from !== undefined && !same(from, coding.system)) return [];
    if (request.targetSystem !== undefined && to !== undefined && !same(to, request.targetSystem)) return [];
    const found = request.reverse === true ? backward(map, group, coding) : forward(map, group, coding, request.dependencies);
    return found.length > 0 || request.reverse === true ? found : unmapped(map, group, coding, request, sources, depth);
  });
}

function forward(map: ConceptMap, group: MapGroup, coding: Coding, dependencies: readonly MapDependency[] = []): Translation[] {
  return (group.element ?? []).filter(({ code }) => code !== undefined && code === coding.code).flatMap(({ target = [] }) => {
    const meets = (needed: MapDependency) => dependencies.some(({ property, value, system }) => property === needed.property && value === needed.value && (needed.system === undefined || system === undefined || system === needed.system));
    return target.filter(({ dependsOn = [] }) => dependsOn.every(meets)).map(({ code, display, equivalence, product }) => ({
      equivalence,
      ...(code === undefined ? {} : { concept: codingOf(group.target, group.targetVersion, code, display) }),
      ...(product === undefined ? {} : { product }),
      ...sourceOf(map),
    }));
  });
}

function backward(map: ConceptMap, group: MapGroup, coding: Coding): Translation[] {
  return (group.element ?? []).flatMap(({ code, display, target = [] }) =>
    target.filter((one) => one.code !== undefined && one.code === coding.code).map(({ equivalence }) => ({
      equivalence: reversed[equivalence],
      ...(code === undefined ? {} : { concept: codingOf(group.source, group.sourceVersion, code, display) }),
      ...sourceOf(map),
    })),
  );
}

/** What a group says of codes that it does not list (https://hl7.org/fhir/R4/conceptmap-definitions.html#ConceptMap.group.unmapped). */
function unmapped(map: ConceptMap, group: MapGroup, coding: Coding, request: TranslationRequest, sources: TerminologySource, depth: number): Translation[] {
  const rule = group.unmapped;
  // A code that is listed, with no target that applies, is known to have none.
  if (rule === undefined || coding.code === undefined || group.element?.some(({ code }) => code === coding.code) === true) return [];
  if (rule.mode === 'provided') return [{ equivalence: 'equal', concept: codingOf(group.target, group.targetVersion, coding.code, coding.display), ...sourceOf(map) }];
  if (rule.mode === 'fixed') return rule.code === undefined ? [] : [{ equivalence: 'inexact', concept: codingOf(group.target, group.targetVersion, rule.code, rule.display), ...sourceOf(map) }];
  if (depth >= maxOtherMaps) throw new InterlockError('too-costly', { detail: 'Concept maps lead to each other too often.' });
  const { url, version } = splitCanonical(rule.url ?? '');
  const other = sources.conceptMap(url, version);
  return other === undefined ? [] : ofMap(other, coding, request, sources, depth + 1);
}

function codingOf(system: string | undefined, version: string | undefined, code: string, display: string | undefined): Coding {
  return { ...(system === undefined ? {} : { system }), ...(version === undefined ? {} : { version }), code, ...(display === undefined ? {} : { display }) };
}

function sourceOf({ url, version }: ConceptMap): { source?: string } {
  return url === undefined ? {} : { source: version === undefined ? url : `${url}|${version}` };
}

/** Equal canonicals; a version counts only if both name one. */
function same(a: string | undefined, b: string): boolean {
  if (a === undefined) return false;
  const [left, right] = [splitCanonical(a), splitCanonical(b)];
  return left.url === right.url && (left.version === undefined || right.version === undefined || left.version === right.version);
}
