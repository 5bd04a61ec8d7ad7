import { parseScope, type ResourceScope, type Scope } from '../access/scopes.ts';

/** A part of a resource type that can be granted by itself. */
export interface Kind {
  /** The granular scope, such as `patient/Observation.rs?category=http://…|laboratory`. */
  readonly scope: ResourceScope;
  readonly title: string;
}

const observation = 'http://terminology.hl7.org/CodeSystem/observation-category';
const condition = 'http://terminology.hl7.org/CodeSystem/condition-category';

/** The categories that US Core 7 wants to be chosen by (https://hl7.org/fhir/us/core/STU7/scopes.html). */
const categories: Readonly<Record<string, readonly (readonly [category: string, title: string])[]>> = {
  Condition: [
    [`${condition}|encounter-diagnosis`, 'Diagnoses of visits'],
    [`${condition}|problem-list-item`, 'Problem list'],
    ['http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern', 'Health concerns'],
  ],
  Observation: [
    [`${observation}|laboratory`, 'Laboratory results'],
    [`${observation}|vital-signs`, 'Vital signs'],
    [`${observation}|social-history`, 'Social history, such as smoking'],
    [`${observation}|survey`, 'Answers to questionnaires'],
    ['http://hl7.org/fhir/us/core/CodeSystem/us-core-category|sdoh', 'Living conditions'],
  ],
};

/** The parts of a scope that can be granted instead of it: none if it is granular already, of v1, or of another type. */
export function kindsOf(scope: Scope): readonly Kind[] {
  if (scope.kind !== 'resource' || scope.v1 || scope.criteria.length > 0) return [];
  return (categories[scope.type] ?? []).flatMap(([category, title]) => {
    const narrowed = parseScope(`${scope.text}?category=${category}`);
    return narrowed?.kind === 'resource' ? [{ scope: narrowed, title }] : [];
  });
}

/** Everyday words for a criterion of a granular scope, if it is one of the categories above. */
export function criterionTitle(type: string, parameter: string, value: string): string | undefined {
  return parameter === 'category' ? categories[type]?.find(([category]) => category === value)?.[1] : undefined;
}

/** The granular scopes that are supported of all types, for discovery. */
export const granularScopes: readonly string[] = (['patient', 'user'] as const).flatMap((level) => Object.entries(categories).flatMap(([type, list]) => list.map(([category]) => `${level}/${type}.rs?category=${category}`)));
