import { CodeSystemIndex } from './code-system.ts';
import { shipped } from './shipped.ts';
import { splitCanonical, type TerminologySource } from './source.ts';
import type { CodeSystem, ConceptMap, TerminologyResource, TerminologyType, ValueSet } from './types.ts';

/** A resource that was posted; `index` keeps what was made of it from one question to the next. */
export interface Posted {
  readonly resource: TerminologyResource;
  index?: CodeSystemIndex;
}

/**
 * Posted content before shipped content. A reference with a version gets that version; what HL7 published under it cannot
 * be posted anew. One without gets the latest that is active, a posted one if there is any.
 */
export class TerminologyCollection implements TerminologySource {
  readonly #posted = new Map<string, Posted[]>();

  add(posted: Posted): void {
    const { resourceType, url } = posted.resource;
    if (url === undefined) return;
    const key = `${resourceType} ${url}`;
    const list = this.#posted.get(key) ?? [];
    list.push(posted);
    this.#posted.set(key, list);
  }

  codeSystem(url: string, version?: string): CodeSystemIndex | undefined {
    const own = version === undefined ? undefined : shipped.codeSystem(url, version);
    if (own !== undefined) return own;
    const posted = this.#best('CodeSystem', url, version);
    if (posted === undefined) return version === undefined ? shipped.codeSystem(url) : undefined;
    posted.index ??= new CodeSystemIndex(posted.resource as CodeSystem);
    return posted.index;
  }

  valueSet(url: string, version?: string): ValueSet | undefined {
    const own = version === undefined ? undefined : shipped.valueSet(url, version);
    return own ?? (this.#best('ValueSet', url, version)?.resource as ValueSet | undefined) ?? shipped.valueSet(url, version);
  }

  conceptMap(url: string, version?: string): ConceptMap | undefined {
    const own = version === undefined ? undefined : shipped.conceptMap(url, version);
    return own ?? (this.#best('ConceptMap', url, version)?.resource as ConceptMap | undefined) ?? shipped.conceptMap(url, version);
  }

  conceptMaps(): readonly ConceptMap[] {
    const urls = [...this.#posted.keys()].filter((key) => key.startsWith('ConceptMap ')).map((key) => key.slice('ConceptMap '.length));
    return [...urls.map((url) => this.conceptMap(url)!), ...shipped.conceptMaps().filter(({ url }) => !urls.includes(url!))];
  }

  #best(type: TerminologyType, url: string, version: string | undefined): Posted | undefined {
    const candidates = (this.#posted.get(`${type} ${url}`) ?? []).filter(({ resource }) => version === undefined || resource.version === version);
    return candidates.toSorted((a, b) => rankOf(b.resource) - rankOf(a.resource) || compareVersions(b.resource.version, a.resource.version))[0];
  }
}

const statuses = ['retired', 'unknown', 'draft', 'active'];

function rankOf({ status }: TerminologyResource): number {
  return statuses.indexOf(status ?? 'unknown');
}

/** Orders versions by their numbers and words: 2.10 after 2.9, 2024-01-01 after 2023-12-31. */
export function compareVersions(a: string | undefined, b: string | undefined): number {
  const parts = (version: string | undefined) => (version ?? '').split(/[.\-_+]/);
  const [left, right] = [parts(a), parts(b)];
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const [one = '', other = ''] = [left[index], right[index]];
    if (one === other) continue;
    const areNumbers = /^\d+$/.test(one) && /^\d+$/.test(other);
    return areNumbers ? Number(one) - Number(other) || one.length - other.length : one < other ? -1 : 1;
  }
  return 0;
}

/** The canonical references of a resource that its evaluation may follow. */
export function needsOf(resource: TerminologyResource): readonly { readonly type: TerminologyType; readonly url: string }[] {
  if (resource.resourceType === 'ValueSet') {
    const includes = [...(resource.compose?.include ?? []), ...(resource.compose?.exclude ?? [])];
    return includes.flatMap(({ system, valueSet = [] }) => [
      ...(system === undefined ? [] : [{ type: 'CodeSystem' as const, url: system }]),
      ...valueSet.map((canonical) => ({ type: 'ValueSet' as const, url: splitCanonical(canonical).url })),
    ]);
  }
  if (resource.resourceType === 'ConceptMap') {
    return (resource.group ?? []).flatMap(({ unmapped }) => (unmapped?.url === undefined ? [] : [{ type: 'ConceptMap' as const, url: splitCanonical(unmapped.url).url }]));
  }
  return [];
}
