import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { InterlockError } from '../outcome/error.ts';
import { CodeSystemIndex } from './code-system.ts';
import { membersOf, memberKey, type Members } from './expand.ts';
import type { TerminologySource } from './source.ts';
import type { CodeSystem, ConceptMap, TerminologyResource, TerminologyType, ValueSet } from './types.ts';

/** Lines of `data/` by `type url`. Unpacked on first use, parsed one by one: importing this costs nothing. */
let lines: ReadonlyMap<string, string> | undefined;
const resources = new Map<string, TerminologyResource>();
const indexes = new Map<string, CodeSystemIndex>();

function load(): ReadonlyMap<string, string> {
  lines ??= new Map(
    brotliDecompressSync(readFileSync(join(import.meta.dirname, 'data/terminology.ndjson.br')))
      .toString()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [, type, url] = /^\{"resourceType":"(\w+)","url":"([^"]+)"/.exec(line)!;
        return [`${type!} ${url!}`, line];
      }),
  );
  return lines;
}

/** Canonical URLs of what is shipped. */
export function shippedUrls(type: TerminologyType): readonly string[] {
  return [...load().keys()].filter((key) => key.startsWith(`${type} `)).map((key) => key.slice(type.length + 1));
}

/** A shipped resource; shared, never change it. */
export function shippedResource(type: 'CodeSystem', url: string, version?: string): CodeSystem | undefined;
export function shippedResource(type: 'ValueSet', url: string, version?: string): ValueSet | undefined;
export function shippedResource(type: 'ConceptMap', url: string, version?: string): ConceptMap | undefined;
export function shippedResource(type: TerminologyType, url: string, version?: string): TerminologyResource | undefined {
  const key = `${type} ${url}`;
  let resource = resources.get(key);
  if (resource === undefined) {
    const line = load().get(key);
    if (line === undefined) return undefined;
    resource = JSON.parse(line) as TerminologyResource;
    resources.set(key, resource);
  }
  return version === undefined || resource.version === version ? resource : undefined;
}

/** What HL7 published with FHIR R4 (see README.md). */
export const shipped: TerminologySource = {
  codeSystem(url, version) {
    const resource = shippedResource('CodeSystem', url, version);
    if (resource === undefined) return undefined;
    const index = indexes.get(url) ?? new CodeSystemIndex(resource);
    indexes.set(url, index);
    return index;
  },
  valueSet: (url, version) => shippedResource('ValueSet', url, version),
  conceptMap: (url, version) => shippedResource('ConceptMap', url, version),
  conceptMaps: () => shippedUrls('ConceptMap').map((url) => shippedResource('ConceptMap', url)!),
};

const members = new Map<string, Members>();
// Only URLs of what is shipped get here, which bounds it.
const notEnumerable = new Set<string>();

/**
 * The codes of a shipped value set; undefined if none of the name is shipped.
 * @param canonical URL, optionally with `|version`; the version is not compared, since one alone is shipped
 * @throws InterlockError `not-enumerable` if it needs a code system that is not shipped, `too-costly`
 */
export function codesOfShipped(canonical: string): Members | undefined {
  const url = canonical.replace(/\|.*$/, '');
  const known = members.get(url);
  if (known !== undefined) return known;
  const valueSet = shippedResource('ValueSet', url);
  if (valueSet === undefined) return undefined;
  const found = membersOf(valueSet, shipped);
  members.set(url, found);
  return found;
}

/**
 * Whether a code is in a shipped value set; undefined if that cannot be told here.
 * @param system absent for elements of type `code`, which carry none
 */
export function isMember(canonical: string, code: string, system?: string): boolean | undefined {
  const url = canonical.replace(/\|.*$/, '');
  if (notEnumerable.has(url)) return undefined;
  try {
    const found = codesOfShipped(url);
    if (found === undefined) return undefined;
    if (system !== undefined) return found.has(memberKey(system, code));
    for (const member of found.values()) if (member.code === code) return true;
    return false;
  } catch (error) {
    if (!(error instanceof InterlockError)) throw error;
    notEnumerable.add(url);
    return undefined;
  }
}
