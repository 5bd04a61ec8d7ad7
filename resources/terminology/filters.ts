import { InterlockError } from '../outcome/error.ts';
import { textOf, type CodeSystemIndex, type ConceptNode } from './code-system.ts';
import { compileRegex } from './regex.ts';
import type { ValueSetFilter } from './types.ts';

/** Tells whether a concept passes a filter. */
export type ConceptTest = (node: ConceptNode) => boolean;

/**
 * Compiles a filter of a value set's include (https://hl7.org/fhir/R4/valueset-filter-operator.html).
 * @throws InterlockError `request-invalid` for an operator that R4 does not have, `too-costly`
 */
export function compileFilter(filter: ValueSetFilter, system: CodeSystemIndex): ConceptTest {
  const { op, property, value } = filter;
  switch (op) {
    case 'is-a':
      return within(system, value, true);
    case 'descendent-of':
      return within(system, value, false);
    case 'is-not-a': {
      const isA = within(system, value, true);
      return (node) => !isA(node);
    }
    case 'generalizes': {
      const ancestors = system.ancestors(value);
      const self = system.find(value)?.concept.code;
      return ({ concept }) => concept.code === self || ancestors.has(concept.code);
    }
    case '=':
      return (node) => valuesOf(property, node, system).includes(value);
    case 'in':
    case 'not-in': {
      const listed = new Set(value.split(',').map((one) => one.trim()));
      return (node) => valuesOf(property, node, system).some((one) => listed.has(one)) === (op === 'in');
    }
    case 'exists':
      return (node) => valuesOf(property, node, system).length > 0 === (value === 'true');
    case 'regex': {
      const matches = compileRegex(value);
      return (node) => valuesOf(property, node, system).some((one) => one.length <= maxMatched && matches(one));
    }
    default:
      throw new InterlockError('request-invalid', { detail: 'A value set has a filter whose operator R4 does not have.' });
  }
}

/** Characters of a value that a regex is tried on; codes and displays are far shorter. */
const maxMatched = 1_000;

function within(system: CodeSystemIndex, code: string, itself: boolean): ConceptTest {
  const self = system.find(code)?.concept.code;
  const descendants = system.descendants(code);
  return ({ concept }) => (itself && concept.code === self) || descendants.has(concept.code);
}

function valuesOf(property: string, node: ConceptNode, system: CodeSystemIndex): readonly string[] {
  const { concept, parents, children } = node;
  const given = (concept.property ?? []).filter(({ code }) => code === property).map(textOf);
  switch (property) {
    case 'code':
    case 'concept':
      return [concept.code];
    case 'display':
    case 'definition':
      return concept[property] === undefined ? [] : [concept[property]];
    case 'parent':
      return [...parents];
    case 'child':
      return [...children];
    case 'inactive':
      return [String(system.isInactive(node))];
    case 'notSelectable':
      return [String(system.isAbstract(node))];
    default:
      return given;
  }
}
