import { structureOf, type Constraint, type ElementRule } from '../definitions/index.ts';
import { checkBinding, checkConstraint, ProfileCheck, type Scope } from './check.ts';
import { childrenOf, resourceItem, type Item } from './items.ts';
import { isObject } from './match.ts';
import { ValidationRun, type ValidationOptions } from './run.ts';
import { treeOf } from './tree.ts';
import type { BindingQuestion, Finding } from './types.ts';

export { bindingFinding } from './check.ts';
export { profileOf } from './published.ts';
export { maxFindings, type ValidationOptions } from './run.ts';
export { shippedProfile, supportedProfilesOf } from './shipped.ts';
export type { BindingQuestion, Finding, Profile, ProfileSource } from './types.ts';

/** What a validation found, and what only terminology can answer. */
export interface ProfileReport {
  readonly findings: readonly Finding[];
  readonly questions: readonly BindingQuestion[];
}

/**
 * Checks a resource against profiles (https://hl7.org/fhir/R4/profiling.html): those asked for, those that it and the
 * resources in it claim in `meta.profile`, and the definitions of its extensions, as far as they are known; also invariants
 * and extensible bindings. Its structure is for validateResource to check, first.
 *
 * @param profiles canonical URLs, with or without `|version`
 * @returns at most {@link maxFindings} findings; their texts hold nothing of the content
 */
export function checkProfiles(resource: Readonly<Record<string, unknown>>, profiles: readonly string[], options: ValidationOptions): ProfileReport {
  const run = new ValidationRun(options);
  const item = resourceItem(resource, String(resource['resourceType']));
  const scope = { resource: item, container: item };
  for (const canonical of profiles) checkProfile(run, scope, item, canonical, 'asked');
  checkItem(run, scope, item, undefined);
  return { findings: run.findings, questions: run.questions };
}

function checkProfile(run: ValidationRun, scope: Scope, item: Item, canonical: string, why: 'asked' | 'claimed'): void {
  const profile = run.options.source(canonical);
  if (profile !== undefined) new ProfileCheck(run, scope, treeOf(profile, run.options.source)).check(item);
  else if (why === 'asked') run.add({ severity: 'error', code: 'not-found', detail: 'The profile is not known here: it is neither shipped nor stored where the caller may read it.' });
  else run.add({ severity: 'information', code: 'not-found', expression: item.expression, detail: 'A profile that is claimed in meta.profile is not known here and was not checked.' });
}

/** What holds of an item wherever it stands, then of all below it. */
function checkItem(run: ValidationRun, scope: Scope, item: Item, rule: ElementRule | undefined): void {
  if (run.over) return;
  if (item.isResource && run.options.claims !== false) for (const canonical of claimsOf(item)) checkProfile(run, scope, item, canonical, 'claimed');
  if (item.type === 'Extension' && run.options.claims !== false) checkExtension(run, scope, item);
  if (run.options.invariants === 'all') {
    const own = structureOf(item.type)?.elements[0]?.constraints ?? [];
    for (const constraint of withoutDoubles([...own, ...(rule?.constraints ?? [])])) checkConstraint(run, scope, item, constraint, true);
    if (rule?.binding?.strength === 'extensible') checkBinding(run, item, rule.binding);
  }
  for (const child of childrenOf(item)) checkItem(run, child.isResource ? scopeOf(child, item, scope) : scope, child, ruleOf(item, child));
}

function scopeOf(child: Item, parent: Item, scope: Scope): Scope {
  if (child.element === 'contained') return { ...scope, resource: child };
  const isEntry = scope.resource.type === 'Bundle' && parent.type === 'Bundle.entry';
  return { resource: child, container: child, ...(isEntry && { bundle: scope.resource }) };
}

/** The profiles that a resource says it conforms to. */
export function claimsOf({ value }: { readonly value: unknown }): readonly string[] {
  const meta = isObject(value) && isObject(value['meta']) ? value['meta'] : {};
  return Array.isArray(meta['profile']) ? [...new Set(meta['profile'].filter((one) => typeof one === 'string'))].slice(0, maxClaims) : [];
}

/** Profiles that one resource may claim before the rest is left unchecked. */
const maxClaims = 20;

/** An extension must be what its definition says, where that is shipped (https://hl7.org/fhir/R4/extensibility.html). */
function checkExtension(run: ValidationRun, scope: Scope, item: Item): void {
  const url = isObject(item.value) ? item.value['url'] : undefined;
  // The parts of an extension have relative urls; their definition is that of the whole.
  if (typeof url !== 'string' || !url.includes(':')) return;
  const profile = run.options.source(url);
  if (profile?.type === 'Extension') new ProfileCheck(run, scope, treeOf(profile, run.options.source)).check(item);
}

const rules = new Map<string, ReadonlyMap<string, ElementRule>>();

function ruleOf(parent: Item, child: Item): ElementRule | undefined {
  let known = rules.get(parent.type);
  if (known === undefined) {
    const dot = parent.type.indexOf('.');
    const elements = structureOf(dot < 0 ? parent.type : parent.type.slice(0, dot))?.elements ?? [];
    const depth = parent.type.length + 1;
    known = new Map(elements.filter(({ path }) => path.startsWith(`${parent.type}.`) && !path.includes('.', depth)).map((rule) => [rule.path.slice(depth).replace('[x]', ''), rule]));
    rules.set(parent.type, known);
  }
  return known.get(child.element);
}

function withoutDoubles(constraints: readonly Constraint[]): readonly Constraint[] {
  return [...new Map(constraints.map((one) => [one.key, one])).values()];
}
