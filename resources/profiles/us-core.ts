import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Constraint } from '../definitions/index.ts';
import type { Profile, ProfileBinding, ProfileElement, ProfileType, Slicing } from './types.ts';

/** A file of `us-core/`: facts of profiles of US Core, by name. */
interface UsCoreFile {
  readonly profiles: Readonly<Record<string, UsCoreProfile>>;
}

interface UsCoreProfile {
  readonly type: string;
  /** Name of the US Core profile, or canonical URL, that it is derived from; absent: the type itself. */
  readonly base?: string;
  /** Versions of US Core that have it. Default: both. */
  readonly versions?: readonly string[];
  /** By id without the type, such as `name.family`; the empty one is the resource itself. */
  readonly elements: Readonly<Record<string, Facts>>;
  /** Elements that a version has otherwise, by version. */
  readonly in?: Readonly<Record<string, Readonly<Record<string, Facts>>>>;
}

/** What a profile says of an element. Profiles and value sets of US Core are named by the last part of their URLs. */
interface Facts {
  readonly min?: number;
  readonly max?: string;
  readonly fixed?: string;
  readonly pattern?: unknown;
  /** Pattern of a CodeableConcept: system and code. */
  readonly coding?: readonly [string, string];
  /** Pattern of a Quantity in UCUM: it has a value and this unit. */
  readonly unit?: string;
  /** The same, with a unit of this value set. */
  readonly units?: string;
  /** Types of a choice. */
  readonly choice?: readonly string[];
  /** What a Reference may point to. */
  readonly refs?: readonly string[];
  /** Definition of the extension. */
  readonly profile?: string;
  readonly binding?: readonly [ProfileBinding['strength'], string];
  readonly constraints?: readonly Constraint[];
  readonly slicing?: Slicing;
}

/** The versions of US Core (http://hl7.org/fhir/us/core/) whose profiles are known. */
const usCoreVersions = ['6.1.0', '7.0.0'] as const;

const profileBase = 'http://hl7.org/fhir/us/core/StructureDefinition/';
const valueSetBase = 'http://hl7.org/fhir/us/core/ValueSet/';
const ucum = 'http://unitsofmeasure.org';
const directory = join(import.meta.dirname, 'us-core');

let profiles: ReadonlyMap<string, Profile> | undefined;
let codings: ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string>>> | undefined;

/** US Core's profiles by `url|version`. Read on first use. */
export function usCoreProfiles(): ReadonlyMap<string, Profile> {
  if (profiles !== undefined) return profiles;
  const made = new Map<string, Profile>();
  for (const file of readdirSync(directory).filter((name) => name.endsWith('.json') && name !== 'value-sets.json').sort()) {
    const content = read(file) as UsCoreFile;
    for (const [name, facts] of Object.entries(content.profiles)) {
      for (const version of facts.versions ?? usCoreVersions) made.set(`${profileBase}${name}|${version}`, profileFrom(name, version, facts));
    }
  }
  profiles = made;
  return made;
}

/** Codes by system of US Core's own small value sets; undefined for others. */
export function usCoreCodings(valueSet: string): ReadonlyMap<string, ReadonlySet<string>> | undefined {
  codings ??= new Map(
    Object.entries((read('value-sets.json') as { valueSets: Record<string, Record<string, string[]>> }).valueSets).map(([url, systems]) => [url, new Map(Object.entries(systems).map(([system, codes]) => [system, new Set(codes)]))]),
  );
  return codings.get(valueSet);
}

function read(file: string): unknown {
  return JSON.parse(readFileSync(join(directory, file), 'utf8'));
}

function profileFrom(name: string, version: string, { type, base, elements, in: changes }: UsCoreProfile): Profile {
  return {
    url: `${profileBase}${name}`,
    version,
    type,
    base: canonicalOf(base ?? type, version),
    elements: Object.entries({ ...(type === 'Extension' && { url: { fixed: `${profileBase}${name}` } }), ...elements, ...changes?.[version] }).flatMap(([id, facts]) => elementsFrom(id === '' ? type : `${type}.${id}`, facts, version)),
    isShipped: true,
  };
}

function elementsFrom(id: string, { coding, unit, units, choice, refs, profile, binding, ...facts }: Facts, version: string): ProfileElement[] {
  const types = typesFrom(choice, refs, profile, version);
  const element: ProfileElement = {
    id,
    ...facts,
    ...(types !== undefined && { types }),
    ...(coding !== undefined && { pattern: { coding: [{ system: coding[0], code: coding[1] }] } }),
    ...(binding !== undefined && { binding: { strength: binding[0], valueSet: binding[1].includes(':') ? binding[1] : `${valueSetBase}${binding[1]}` } }),
  };
  if (unit === undefined && units === undefined) return [element];
  return [
    element,
    { id: `${id}.value`, min: 1 },
    { id: `${id}.unit`, min: 1 },
    { id: `${id}.system`, min: 1, fixed: ucum },
    { id: `${id}.code`, min: 1, ...(unit !== undefined && { fixed: unit }), ...(units !== undefined && { binding: { strength: 'required' as const, valueSet: units } }) },
  ];
}

function typesFrom(choice: Facts['choice'], refs: Facts['refs'], profile: Facts['profile'], version: string): ProfileType[] | undefined {
  if (profile !== undefined) return [{ code: 'Extension', profiles: [canonicalOf(profile, version)] }];
  const targets = refs?.map((ref) => canonicalOf(ref, version));
  const codes = choice ?? (targets === undefined ? undefined : ['Reference']);
  return codes?.map((code) => ({ code, ...(code === 'Reference' && targets !== undefined && { targets }) }));
}

/** `us-core-patient` -> its canonical in the same version; `Patient` -> that of the type; a URL stays. */
function canonicalOf(name: string, version: string): string {
  if (name.includes(':')) return name;
  return /^[A-Z]/.test(name) ? `http://hl7.org/fhir/StructureDefinition/${name}` : `${profileBase}${name}|${version}`;
}
