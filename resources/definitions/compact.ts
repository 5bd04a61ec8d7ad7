import type { SearchParam, SearchParamType } from '../search-values/types.ts';
import type { Constraint, ElementRule, ElementType, Structure } from './types.ts';

/** Any definition resource as published; the functions below read what they need. */
export interface Definition {
  readonly resourceType: string;
  readonly url?: string;
  readonly version?: string;
  readonly name?: string;
  readonly type?: string;
  readonly kind?: string;
  readonly content?: string;
  readonly derivation?: string;
  readonly abstract?: boolean;
  readonly baseDefinition?: string;
  readonly snapshot?: { readonly element: readonly PublishedElement[] };
  readonly compose?: { readonly include: readonly Include[]; readonly exclude?: readonly Include[] };
  readonly concept?: readonly Concept[];
  readonly code?: string;
  readonly base?: readonly string[];
  readonly expression?: string;
  readonly target?: readonly string[];
  readonly component?: readonly { readonly definition: string; readonly expression: string }[];
  readonly resource?: readonly { readonly code: string; readonly param?: readonly string[] }[];
}

interface PublishedElement {
  readonly path: string;
  readonly min: number;
  readonly max: string;
  readonly type?: readonly {
    readonly code: string;
    readonly profile?: readonly string[];
    readonly targetProfile?: readonly string[];
    readonly extension?: readonly { readonly url: string; readonly valueUrl?: string; readonly valueString?: string }[];
  }[];
  readonly binding?: { readonly strength: NonNullable<ElementRule['binding']>['strength']; readonly valueSet?: string };
  readonly contentReference?: string;
  readonly constraint?: readonly Constraint[];
  readonly isSummary?: boolean;
  readonly isModifier?: boolean;
  readonly maxLength?: number;
  readonly minValueInteger?: number;
  readonly maxValueInteger?: number;
}

interface Include {
  readonly system?: string;
  readonly concept?: readonly Concept[];
  readonly filter?: readonly unknown[];
  readonly valueSet?: readonly string[];
}

interface Concept {
  readonly code: string;
  readonly concept?: readonly Concept[];
}

const typeBase = 'http://hl7.org/fhir/StructureDefinition/';
/** Errata: component expressions that R4 publishes in the wrong order for the parameters they are of. */
const componentErrata: Readonly<Record<string, string>> = {
  'http://hl7.org/fhir/SearchParameter/DocumentReference-relatesto': 'target',
  'http://hl7.org/fhir/SearchParameter/DocumentReference-relation': 'code',
};
/** In the package, but of a later release than R4 4.0.1. */
const laterTypes: ReadonlySet<string> = new Set(['SubscriptionStatus']);

/**
 * Resource and data types, ordered by kind and name. Profiles and logical models are left out.
 *
 * @param isR4 tells whether R4 has an element: the package has some of later releases and of its own server
 */
export function compactStructures(definitions: readonly Definition[], isR4: (path: string) => boolean): Structure[] {
  return definitions
    .filter((it) => it.resourceType === 'StructureDefinition' && it.derivation !== 'constraint' && it.kind !== 'logical' && !laterTypes.has(it.name!))
    .filter((it) => it.name !== 'MetadataResource')
    .map((it) => ({
      type: it.name!,
      kind: it.kind as Structure['kind'],
      abstract: it.abstract ?? false,
      ...(it.baseDefinition !== undefined && { base: it.baseDefinition.replace(typeBase, '') }),
      elements: it.snapshot!.element.filter(({ path }) => it.kind === 'primitive-type' || isR4(path)).map((element) => compactElement(element, it)),
    }))
    .sort((a, b) => compare(a.kind, b.kind) || compare(a.type, b.type));
}

function compactElement(element: PublishedElement, owner: Definition): ElementRule {
  const constraints = (element.constraint ?? [])
    .filter((it) => it.key !== 'ele-1' && (it.key !== 'ext-1' || element.path === 'Extension'))
    .map(({ key, severity, expression, human }) => ({ key, severity, expression, human }));
  return {
    path: element.path,
    min: element.min,
    max: element.max,
    types: (element.type ?? []).map((type) => compactType(type, element.path, owner)),
    ...(element.binding?.valueSet !== undefined && { binding: { strength: element.binding.strength, valueSet: unversioned(element.binding.valueSet) } }),
    ...(element.contentReference !== undefined && { contentReference: element.contentReference.replace('#', '') }),
    ...(constraints.length > 0 && { constraints }),
    ...(element.isSummary === true && { summary: true as const }),
    ...(element.isModifier === true && { modifier: true as const }),
    ...(element.maxLength !== undefined && { maxLength: element.maxLength }),
    ...(element.minValueInteger !== undefined && { minValue: element.minValueInteger }),
    ...(element.maxValueInteger !== undefined && { maxValue: element.maxValueInteger }),
  };
}

function compactType(type: NonNullable<PublishedElement['type']>[number], path: string, owner: Definition): ElementType {
  const extension = (name: string) => type.extension?.find((it) => it.url === `${typeBase}${name}`);
  const regex = extension('regex')?.valueString;
  const fhirType = extension('structuredefinition-fhir-type')?.valueUrl;
  const isPrimitiveValue = owner.kind === 'primitive-type' && path.endsWith('.value');
  // Published as string, though resource ids have the narrower type (https://hl7.org/fhir/R4/resource.html#id).
  const isResourceId = owner.kind === 'resource' && path === `${owner.name!}.id`;
  const code = isResourceId ? 'id' : isPrimitiveValue ? type.code : (fhirType ?? type.code);
  return {
    code: code.replace('http://hl7.org/fhirpath/', ''),
    ...(type.profile !== undefined && { profiles: type.profile }),
    ...(type.targetProfile !== undefined && !type.targetProfile.includes(`${typeBase}Resource`) && { targets: type.targetProfile.filter((it) => it.startsWith(typeBase)).map((it) => it.replace(typeBase, '')) }),
    ...(regex !== undefined && { regex }),
  };
}

/** One value set's codes by code system: `{url, systems: {system: codes}}`. */
export interface CompactValueSet {
  readonly url: string;
  readonly systems: Readonly<Record<string, readonly string[]>>;
}

/** Most codes of a value set of an extensible binding that is taken over. */
const maxExtensibleCodes = 1_000;

/** What bindings are read from: types and profiles. */
interface Bound {
  readonly elements: readonly { readonly binding?: { readonly strength: string; readonly valueSet: string } }[];
}

/**
 * The value sets of required and extensible bindings whose every code is known here. Left out are the rest (MIME types, UCUM,
 * currencies, all of LOINC) and long ones of extensible bindings alone.
 */
export function compactValueSets(terminology: readonly Definition[], bound: readonly Bound[]): CompactValueSet[] {
  const byUrl = (resourceType: string) => new Map(terminology.filter((it) => it.resourceType === resourceType).map((it) => [it.url!, it]));
  const valueSets = byUrl('ValueSet');
  const codeSystems = byUrl('CodeSystem');
  const bindings = bound.flatMap(({ elements }) => elements.flatMap(({ binding }) => binding ?? []));
  const required = new Set(bindings.flatMap(({ strength, valueSet }) => (strength === 'required' ? [valueSet] : [])));
  const extensible = bindings.flatMap(({ strength, valueSet }) => (strength === 'extensible' ? [valueSet] : []));
  const rows: CompactValueSet[] = [];
  for (const url of [...new Set([...required, ...extensible])].sort(compare)) {
    const systems: Record<string, string[]> = {};
    if (!expandInto(systems, url)) continue;
    const isLong = Object.values(systems).reduce((sum, codes) => sum + codes.length, 0) > maxExtensibleCodes;
    if (required.has(url) || !isLong) rows.push({ url, systems });
  }
  return rows;

  function expandInto(systems: Record<string, string[]>, url: string): boolean {
    const compose = valueSets.get(url)?.compose;
    if (compose === undefined || compose.exclude !== undefined) return false;
    return compose.include.every((include) => {
      if (include.filter !== undefined) return false;
      if (include.valueSet !== undefined) return include.system === undefined && include.valueSet.every((it) => expandInto(systems, unversioned(it)));
      const concepts = include.concept ?? wholeSystem(include.system!);
      if (concepts === undefined) return false;
      systems[include.system!] = [...new Set([...(systems[include.system!] ?? []), ...concepts.flatMap(codesOf)])];
      return true;
    });
  }

  function wholeSystem(url: string): readonly Concept[] | undefined {
    const system = codeSystems.get(url);
    return system?.content === 'complete' ? system.concept : undefined;
  }
}

function codesOf(concept: Concept): string[] {
  return [concept.code, ...(concept.concept ?? []).flatMap(codesOf)];
}

/** One resource type's parameters, those of Resource and DomainResource included. */
export interface CompactSearchParams {
  readonly type: string;
  readonly params: readonly SearchParam[];
}

/**
 * Search parameters by resource type. A published expression serves several types (`Patient.name | Person.name`); each
 * type gets its own alternatives. Left out: those of later releases, and those without an expression (`_text`, `_content`,
 * `_query`).
 */
export function compactSearchParams(definitions: readonly Definition[], types: readonly string[]): CompactSearchParams[] {
  const codeByUrl = new Map(definitions.map((it) => [it.url!, it.code!]));
  return types.map((type) => ({
    type,
    params: definitions
      .flatMap((it): SearchParam[] => {
        const base = [type, 'DomainResource', 'Resource'].find((name) => it.base?.includes(name));
        if (base === undefined || it.expression === undefined || it.version !== '4.0.1') return [];
        const components = it.component?.map((part) => ({ code: codeByUrl.get(part.definition)!, expression: componentErrata[part.definition] ?? part.expression }));
        return [{
          code: it.code!,
          type: it.type as SearchParamType,
          url: it.url!,
          expression: alternatives(it.expression).filter((part) => rootOf(part) === base || /^[a-z]/.test(part)).join(' | '),
          ...(it.target !== undefined && { target: it.target }),
          ...(components !== undefined && { components }),
        }];
      })
      .sort((a, b) => compare(a.code, b.code)),
  }));
}

/** Splits a FHIRPath union at its top level. */
export function alternatives(expression: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < expression.length; i++) {
    if (expression[i] === '(') depth++;
    else if (expression[i] === ')') depth--;
    else if (expression[i] === '|' && depth === 0) {
      parts.push(expression.slice(start, i).trim());
      start = i + 1;
    }
  }
  return [...parts, expression.slice(start).trim()];
}

function rootOf(expression: string): string | undefined {
  return /^\(*([A-Za-z]+)/.exec(expression)?.[1];
}

/** One compartment: resource type -> parameters that place a resource in it; `{def}` means the resource itself. */
export interface CompactCompartment {
  readonly compartment: string;
  readonly params: Readonly<Record<string, readonly string[]>>;
}

/** The five compartments of R4 (https://hl7.org/fhir/R4/compartmentdefinition.html). */
export function compactCompartments(definitions: readonly Definition[]): CompactCompartment[] {
  return definitions
    .filter((it) => it.resourceType === 'CompartmentDefinition')
    .map((it) => ({
      compartment: it.code!,
      params: Object.fromEntries(it.resource!.filter((row) => row.param !== undefined).map((row) => [row.code, row.param!])),
    }))
    .sort((a, b) => compare(a.compartment, b.compartment));
}

function unversioned(canonical: string): string {
  return canonical.replace(/\|.*$/, '');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
