import { describe, expect, test } from '@jest/globals';
import fhirpath from 'fhirpath';
import r4 from 'fhirpath/fhir-context/r4/index.js';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { requiredCodes, resourceTypes, searchParamsOf, structureOf, type ElementRule } from '../../../../resources/definitions/index.ts';
import { extractSearchValues } from '../../../../resources/search-values/index.ts';
import { compileExpression, visitNodes, walkOfType } from '../../../../resources/search-values/walk.ts';

interface Json {
  resourceType: string;
  [name: string]: unknown;
}

type Evaluate = (resource: unknown) => unknown[];

const evaluators = new Map<string, Evaluate>();

/**
 * FHIRPath's own answer to an expression, said in its strict form: `as` is for single items there, where R4 means
 * `ofType`; and `resolve() is T` is put as what it comes to without a network, the type that the reference names.
 */
function evaluate(expression: string, resource: Json): unknown[] {
  let evaluator = evaluators.get(expression);
  if (evaluator === undefined) {
    const strict = expression
      .replace(/ as ([A-Za-z]+)\)/g, '.ofType($1))')
      .replace(/\.as\(/g, '.ofType(')
      .replace(/resolve\(\) is ([A-Za-z]+)/g, (_, type: string) => `reference.matches('^(.*/)?${type}/[A-Za-z0-9.-]+$')`);
    evaluator = fhirpath.compile(strict, r4) as unknown as Evaluate;
    evaluators.set(expression, evaluator);
  }
  return evaluator(resource);
}

/** The nodes that the compiled walks of an expression reach. */
function walk(expression: string, resource: Json): unknown[] {
  const { walks, presence } = compileExpression(expression, walkOfType(resource.resourceType), resource.resourceType);
  const nodes: unknown[] = [];
  for (const one of walks) visitNodes(one, resource, resource, (node) => nodes.push(node));
  return presence ? [nodes.some((node) => node !== false)] : nodes;
}

function disagreements(resource: Json): string[] {
  const wrong: string[] = [];
  for (const param of searchParamsOf(resource.resourceType).values()) {
    // As sets: a FHIRPath union drops duplicates, which do not matter to a search.
    const distinct = (nodes: unknown[]) => [...new Set(nodes.map((node) => JSON.stringify(node)))].sort();
    if (distinct(walk(param.expression, resource)).join() !== distinct(evaluate(param.expression, resource)).join()) wrong.push(`${resource.resourceType}.${param.code}`);
  }
  return wrong;
}

const primitives: Readonly<Record<string, unknown>> = {
  boolean: true, integer: 3, positiveInt: 4, unsignedInt: 5, decimal: 1.5, date: '2020-02', dateTime: '2020-02-03T04:05:06Z', instant: '2020-02-03T04:05:06.789Z', time: '04:05:06',
  id: 'an-id', code: 'a-code', uri: 'urn:a:b', url: 'https://example.org/a', canonical: 'https://example.org/c|1', oid: 'urn:oid:1.2', uuid: 'urn:uuid:7b1f8a0e-4a39-4b62-9f5a-0e2b7d1c6a11', base64Binary: 'AA==', xhtml: '<div/>',
};

const childrenByPath = new Map<string, ElementRule[]>();

function childrenOf(structure: string, path: string): ElementRule[] {
  let children = childrenByPath.get(path);
  if (children === undefined) {
    const isChild = new RegExp(`^${path}\\.(?!extension$|modifierExtension$|contained$)[^.]+$`);
    children = structureOf(structure)!.elements.filter((element) => isChild.test(element.path));
    childrenByPath.set(path, children);
  }
  return children;
}

/** A resource or element with every child there is, down to a depth; `pick` chooses among the types of choice elements. */
function fill(structure: string, path: string, depth: number, pick: number): Record<string, unknown> {
  const filled: Record<string, unknown> = {};
  for (const element of childrenOf(structure, path)) {
    const name = element.path.slice(path.length + 1);
    const type = element.types[pick % Math.max(element.types.length, 1)];
    const value = valueOf(structure, element, type, depth, pick);
    if (value === undefined) continue;
    const property = name.replace('[x]', type === undefined ? '' : `${type.code[0]!.toUpperCase()}${type.code.slice(1)}`);
    filled[property] = element.max === '1' ? value : [value, valueOf(structure, element, type, depth, pick + 1)];
  }
  return filled;
}

function valueOf(structure: string, element: ElementRule, type: ElementRule['types'][number] | undefined, depth: number, pick: number): unknown {
  if (element.contentReference !== undefined) return depth > 0 ? fill(structure, element.contentReference, depth - 1, pick) : undefined;
  if (type!.code === 'Resource') return { resourceType: 'Composition', id: `c${pick}` };
  if (type!.code === 'code' && element.binding?.strength === 'required') return codeAt(element.binding.valueSet, pick);
  if (structureOf(type!.code)!.kind === 'primitive-type') return primitives[type!.code] ?? `text ${pick}`;
  if (type!.code === 'BackboneElement' || type!.code === 'Element') return fill(structure, element.path, depth, pick);
  if (type!.code === 'Reference') {
    const targets = type!.targets ?? ['Patient'];
    return { reference: `${targets[pick % targets.length]!}/r${pick}` };
  }
  return depth > 0 ? fill(type!.code, type!.code, depth - 1, pick) : undefined;
}

function codeAt(valueSet: string, pick: number): string {
  const codes = [...(requiredCodes(valueSet) ?? ['a-code'])];
  return codes[pick % codes.length]!;
}

describe('compiled walks find what FHIRPath finds', () => {
  test('every parameter of every type, on resources that have every element', () => {
    const wrong = new Set<string>();
    for (const type of resourceTypes()) {
      for (let pick = 0; pick < 6; pick++) for (const one of disagreements({ ...fill(type, type, 2, pick), resourceType: type, id: 'x' })) wrong.add(one);
    }
    expect([...wrong]).toEqual([]);
  });

  test('every parameter has values where its elements are there', () => {
    const unreached: string[] = [];
    for (const type of resourceTypes()) {
      const reached = new Set<string>();
      for (let pick = 0; pick < 12; pick++) for (const code of extractSearchValues({ ...fill(type, type, 3, pick), resourceType: type, id: 'x' }).keys()) reached.add(code);
      // Generated resources have no extensions of a given URL.
      for (const { code, expression } of searchParamsOf(type).values()) if (!reached.has(code) && !expression.includes('.extension.where(')) unreached.push(`${type}.${code}`);
    }
    expect(unreached).toEqual([]);
  });

  test('presence: deceased', () => {
    for (const deceased of [{}, { deceasedBoolean: false }, { deceasedBoolean: true }, { deceasedDateTime: '2020' }]) {
      expect(disagreements({ resourceType: 'Patient', ...deceased })).toEqual([]);
    }
  });

  const synthea = join(import.meta.dirname, '../../../../../shared/data/synthea');
  (existsSync(synthea) ? test : test.skip)('every resource of the Synthea bundles', () => {
    const wrong = new Set<string>();
    for (const file of readdirSync(synthea)) {
      const text = readFileSync(join(synthea, file), 'utf8');
      const entries = (JSON.parse(text) as { entry: { fullUrl: string; resource: Json }[] }).entry;
      const typeOf = new Map(entries.map(({ fullUrl, resource }) => [fullUrl, resource.resourceType]));
      const literal = text.replace(/"(urn:uuid:[0-9a-f-]{36})"/g, (_, urn: string) => `"${typeOf.get(urn) ?? 'Basic'}/${urn.slice(9)}"`);
      for (const { resource } of (JSON.parse(literal) as { entry: { resource: Json }[] }).entry) for (const one of disagreements(resource)) wrong.add(one);
    }
    expect([...wrong]).toEqual([]);
  });
});
