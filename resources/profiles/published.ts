import { structureOf, type Constraint, type ElementRule } from '../definitions/index.ts';
import { isObject } from './match.ts';
import type { Profile, ProfileElement, ProfileType, Slicing } from './types.ts';

type JsonObject = Readonly<Record<string, unknown>>;

const typeBase = 'http://hl7.org/fhir/StructureDefinition/';
const maxElements = 5_000;
const maxIdLength = 500;
const maxListLength = 100;
const maxUrlLength = 2_000;

/**
 * Reads a StructureDefinition as a profile (https://hl7.org/fhir/R4/structuredefinition.html): its snapshot, else its
 * differential. What it only repeats of the type that it constrains is left out.
 *
 * @param isShipped false for what a user posted
 * @returns undefined if it is no constraint on a type of R4, has no elements, or is larger than is accepted
 */
export function profileOf(definition: JsonObject, isShipped: boolean): Profile | undefined {
  const { url, version, type, baseDefinition, derivation } = definition;
  if (definition['resourceType'] !== 'StructureDefinition' || derivation !== 'constraint') return undefined;
  if (!isUrl(url) || typeof type !== 'string' || structureOf(type) === undefined) return undefined;
  const snapshot = elementsOf(definition['snapshot']);
  const published = snapshot ?? elementsOf(definition['differential']);
  if (published === undefined || published.length === 0 || published.length > maxElements) return undefined;
  const elements = published.flatMap((element) => readElement(element, type) ?? []);
  if (elements.length === 0) return undefined;
  const isDifferential = snapshot === undefined && isUrl(baseDefinition);
  return {
    url: unversioned(url),
    ...(typeof version === 'string' && { version }),
    type,
    base: isDifferential ? baseDefinition : `${typeBase}${type}`,
    elements: elements.filter((element) => Object.keys(element).length > 1 || isSlice(element.id)),
    isShipped,
  };
}

function elementsOf(part: unknown): readonly JsonObject[] | undefined {
  return isObject(part) && Array.isArray(part['element']) ? part['element'].filter(isObject) : undefined;
}

function readElement(element: JsonObject, type: string): ProfileElement | undefined {
  const id = typeof element['id'] === 'string' ? element['id'] : element['path'];
  if (typeof id !== 'string' || id.length > maxIdLength || (id !== type && !id.startsWith(`${type}.`))) return undefined;
  const rule = baseRule(type, id);
  const { min, max, maxLength } = element;
  const types = typesOf(element['type']);
  const binding = bindingOf(element['binding']);
  const constraints = constraintsOf(element['constraint'], rule);
  const slicing = slicingOf(element['slicing'], id);
  const fixed = choiceOf(element, 'fixed');
  const pattern = choiceOf(element, 'pattern');
  const minValue = choiceOf(element, 'minValue');
  const maxValue = choiceOf(element, 'maxValue');
  return {
    id,
    ...(typeof min === 'number' && min > 0 && (isSlice(id) || rule?.min !== min) && { min }),
    ...(typeof max === 'string' && /^(?:\*|\d{1,9})$/.test(max) && max !== '*' && (isSlice(id) || rule?.max !== max) && { max }),
    ...(types.length > 0 && !isSameTypes(types, rule) && { types }),
    ...(fixed !== undefined && { fixed }),
    ...(pattern !== undefined && { pattern }),
    ...(binding !== undefined && !(rule?.binding?.strength === binding.strength && rule.binding.valueSet === binding.valueSet) && { binding }),
    ...(constraints.length > 0 && { constraints }),
    ...(slicing !== undefined && { slicing }),
    ...(typeof maxLength === 'number' && maxLength !== rule?.maxLength && { maxLength }),
    ...(typeof minValue === 'number' && minValue !== rule?.minValue && { minValue }),
    ...(typeof maxValue === 'number' && maxValue !== rule?.maxValue && { maxValue }),
  };
}

/** `fixed[x]`, `pattern[x]`: the value under whatever name its type gives it. */
function choiceOf(element: JsonObject, stem: string): unknown {
  const name = Object.keys(element).find((one) => one.startsWith(stem) && /^[A-Z]/.test(one.slice(stem.length)));
  return name === undefined ? undefined : element[name];
}

function typesOf(types: unknown): ProfileType[] {
  if (!Array.isArray(types)) return [];
  return types.filter(isObject).slice(0, maxListLength).flatMap((one) => {
    const { code } = one;
    if (typeof code !== 'string') return [];
    const profiles = urlsOf(one['profile']);
    const targets = urlsOf(one['targetProfile']);
    return [{ code: code.replace('http://hl7.org/fhirpath/', ''), ...(profiles.length > 0 && { profiles }), ...(targets.length > 0 && !targets.includes(`${typeBase}Resource`) && { targets }) }];
  });
}

function isSameTypes(types: readonly ProfileType[], rule: ElementRule | undefined): boolean {
  if (types.every(({ code, profiles, targets }) => (code.startsWith('System.') || code === 'Element' || code === 'BackboneElement') && profiles === undefined && targets === undefined)) return true;
  if (rule === undefined || rule.types.length !== types.length) return false;
  return types.every(({ code, profiles, targets }) => {
    const own = rule.types.find((one) => one.code === code);
    if (own === undefined || !isSameList(profiles, own.profiles)) return false;
    return isSameList(targets?.map((one) => one.replace(typeBase, '')), own.targets);
  });
}

function isSameList(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  return [...(a ?? [])].sort().join(' ') === [...(b ?? [])].sort().join(' ');
}

function bindingOf(binding: unknown): ProfileElement['binding'] {
  if (!isObject(binding) || !isUrl(binding['valueSet'])) return undefined;
  const strength = (['required', 'extensible', 'preferred', 'example'] as const).find((one) => one === binding['strength']);
  return strength === undefined ? undefined : { strength, valueSet: unversioned(binding['valueSet']) };
}

/** Without those that hold for the type anyway. */
function constraintsOf(constraints: unknown, rule: ElementRule | undefined): Constraint[] {
  if (!Array.isArray(constraints)) return [];
  const own = new Set([...(rule?.constraints ?? []), ...(rule?.types.flatMap(({ code }) => structureOf(code)?.elements[0]?.constraints ?? []) ?? [])].map(({ key }) => key));
  return constraints.filter(isObject).slice(0, maxListLength).flatMap(({ key, severity, expression, human }) => {
    if (typeof key !== 'string' || typeof expression !== 'string' || key === 'ele-1' || key === 'ext-1' || own.has(key)) return [];
    return [{ key, severity: severity === 'warning' ? 'warning' as const : 'error' as const, expression, human: typeof human === 'string' ? human : '' }];
  });
}

function isSlice(id: string): boolean {
  return id.slice(id.lastIndexOf('.') + 1).includes(':');
}

function slicingOf(slicing: unknown, id: string): Slicing | undefined {
  // Extensions are told apart by their urls anyway.
  if (!isObject(slicing) || (/\.(?:modifierE|e)xtension$/.test(id) && slicing['rules'] !== 'closed' && slicing['ordered'] !== true)) return undefined;
  const given = Array.isArray(slicing['discriminator']) ? slicing['discriminator'].filter(isObject).slice(0, maxListLength) : [];
  const discriminators = given.flatMap(({ type, path }) => {
    const known = (['value', 'exists', 'pattern', 'type', 'profile'] as const).find((one) => one === type);
    return known === undefined || typeof path !== 'string' || path.length > maxIdLength ? [] : [{ type: known, path }];
  });
  const rules = (['closed', 'openAtEnd'] as const).find((one) => one === slicing['rules']) ?? 'open';
  return { discriminators, rules, ...(slicing['ordered'] === true && { ordered: true as const }) };
}

/** What R4 itself says of the element at an id; undefined where the way there leads through a choice of types. */
export function baseRule(type: string, id: string): ElementRule | undefined {
  let rule = structureOf(type)?.elements[0];
  let owner = type;
  let path = type;
  for (const segment of id.split('.').slice(1)) {
    const name = segment.replace(/:.*$/, '');
    const elements = structureOf(owner)?.elements ?? [];
    let next = elements.find((one) => one.path === `${path}.${name}`);
    if (next === undefined && rule?.contentReference !== undefined) next = elements.find((one) => one.path === `${rule!.contentReference!}.${name}`);
    if (next === undefined) {
      const [only] = rule?.types ?? [];
      if (rule?.types.length !== 1 || only === undefined) return undefined;
      owner = only.code;
      next = structureOf(owner)?.elements.find((one) => one.path === `${owner}.${name}`);
    }
    if (next === undefined) return undefined;
    rule = next;
    path = next.path;
  }
  return rule;
}

function urlsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter(isUrl).slice(0, maxListLength).map(unversionedIfCore) : [];
}

function isUrl(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= maxUrlLength;
}

function unversioned(canonical: string): string {
  return canonical.replace(/\|.*$/, '');
}

function unversionedIfCore(canonical: string): string {
  return canonical.startsWith(typeBase) ? unversioned(canonical) : canonical;
}
