import { compartmentParams, searchParamsOf, searchParamsRevision, structureOf } from '../definitions/index.ts';
import { converterFor, type Convert, type ValueContext } from './convert.ts';
import { withinTime, workedOut } from './posted.ts';
import type { SearchParam, SearchValue } from './types.ts';
import { compileExpression, visitNodes, walkOfType, type Walk } from './walk.ts';

export type { ValueContext } from './convert.ts';

/** Any FHIR resource as parsed JSON. */
export interface Resource {
  readonly resourceType: string;
  readonly id?: string;
  readonly [element: string]: unknown;
}

/** Appends one parameter's values of `node`, a part of `resource`, to `out`. */
type Extract = (node: unknown, resource: unknown, out: SearchValue[], context: ValueContext) => void;

const defaultContext: ValueContext = {};

/**
 * All search values of a resource by parameter code; parameters without a value are absent. Contained resources count
 * for nothing. The resource must have passed structural validation.
 */
export function extractSearchValues(resource: Resource, context: ValueContext = defaultContext): ReadonlyMap<string, readonly SearchValue[]> {
  const values = new Map<string, SearchValue[]>();
  let out: SearchValue[] = [];
  const { all, slow } = extractorsOf(resource.resourceType);
  for (const [code, extract] of all) {
    extract(resource, resource, out, context);
    if (out.length === 0) continue;
    values.set(code, out);
    out = [];
  }
  if (slow.size === 0) return values;
  return withinTime(() => {
    for (const [code, extract] of slow) {
      out = [];
      extract(resource, resource, out, context);
      if (out.length > 0) values.set(code, out);
    }
    return values;
  });
}

/** The values that a resource has for one parameter of its type. */
export function extractParam(resource: Resource, code: string, context: ValueContext = defaultContext): readonly SearchValue[] {
  const { all, slow } = extractorsOf(resource.resourceType);
  const out: SearchValue[] = [];
  const worked = slow.get(code);
  if (worked !== undefined) withinTime(() => worked(resource, resource, out, context));
  else all.get(code)?.(resource, resource, out, context);
  return out;
}

const typesRead = new WeakMap<SearchParam, ReadonlySet<string>>();

/** True if a parameter's values are read out of elements of a FHIR type, such as `Identifier`. */
export function readsType(param: SearchParam, type: string): boolean {
  let types = typesRead.get(param);
  if (types === undefined) {
    const base = /[A-Z][A-Za-z]+/.exec(param.expression)?.[0] ?? '';
    try {
      types = new Set(structureOf(base) === undefined ? [] : compileExpression(param.expression, walkOfType(base), base).walks.map((walk) => walk.type));
    } catch {
      // An expression beyond paths, which only values that are worked out have.
      types = new Set();
    }
    typesRead.set(param, types);
  }
  return types.has(type);
}

/**
 * Logical ids of the patients in whose compartment a resource is (https://hl7.org/fhir/R4/compartmentdefinition-patient.html),
 * sorted, each once; a Patient is in its own. Only local references count.
 */
export function patientsOf(resource: Resource, context: ValueContext = defaultContext): string[] {
  const ids = new Set<string>();
  if (resource.resourceType === 'Patient' && resource.id !== undefined) ids.add(resource.id);
  for (const code of compartmentParams('Patient', resource.resourceType)) {
    for (const value of extractParam(resource, code, context)) {
      if (value.kind === 'reference' && value.type === 'Patient' && value.id !== undefined) ids.add(value.id);
    }
  }
  return [...ids].sort();
}

/** Compiled walks, and what runs FHIRPath: the expressions of posted parameters that are more than paths. */
interface Extractors {
  readonly all: ReadonlyMap<string, Extract>;
  readonly slow: ReadonlyMap<string, Extract>;
}

const extractorsByType = new Map<string, Extractors>();
let compiledRevision = 0;

function extractorsOf(type: string): Extractors {
  if (compiledRevision !== searchParamsRevision()) {
    compiledRevision = searchParamsRevision();
    extractorsByType.clear();
  }
  let extractors = extractorsByType.get(type);
  if (extractors === undefined) {
    const [all, slow] = [new Map<string, Extract>(), new Map<string, Extract>()];
    for (const [code, param] of searchParamsOf(type)) {
      try {
        all.set(code, compileParam(param, type));
      } catch (error) {
        if (param.posted === undefined) throw error;
        slow.set(code, workedOut(param));
      }
    }
    extractors = { all, slow };
    if (all.size > 0) extractorsByType.set(type, extractors);
  }
  return extractors;
}

/**
 * Compiles a parameter of a resource type.
 * @throws Error if its expression or the type of what it reaches is not supported
 */
export function compileParam(param: SearchParam, type: string): Extract {
  return param.type === 'composite' ? compileComposite(param, type) : compileSimple(param, param.expression, walkOfType(type), type);
}

function compileSimple(param: Pick<SearchParam, 'type'>, expression: string, context: Walk, type: string): Extract {
  const { walks, presence } = compileExpression(expression, context, type);
  if (presence) {
    return (node, resource, out) => {
      let present = false;
      for (const walk of walks) visitNodes(walk, node, resource, (found) => (present ||= found !== false));
      out.push({ kind: 'token', code: String(present) });
    };
  }
  const parts: readonly { readonly walk: Walk; readonly convert: Convert }[] = walks.map((walk) => ({ walk, convert: converterFor(param.type, walk) }));
  return (node, resource, out, values) => {
    for (const { walk, convert } of parts) visitNodes(walk, node, resource, (found) => convert(found, out, values));
  };
}

/** Tuples are formed within one node of the composite's expression; a node that lacks a component has none. */
function compileComposite(param: SearchParam, type: string): Extract {
  const params = searchParamsOf(type);
  const alternatives = compileExpression(param.expression, walkOfType(type), type).walks.map((walk) => ({
    walk,
    components: param.components!.map((component) => compileSimple(params.get(component.code)!, component.expression, walk, type)),
  }));
  return (node, resource, out, values) => {
    for (const { walk, components } of alternatives) {
      visitNodes(walk, node, resource, (found) => {
        const tuple: SearchValue[][] = [];
        for (const component of components) {
          const part: SearchValue[] = [];
          component(found, resource, part, values);
          if (part.length === 0) return;
          tuple.push(part);
        }
        out.push({ kind: 'composite', components: tuple });
      });
    }
  };
}
