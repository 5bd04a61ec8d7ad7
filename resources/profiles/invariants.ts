import { compile } from 'fhirpath';
import r4 from 'fhirpath/fhir-context/r4';
import type { Constraint } from '../definitions/index.ts';
import { isBound } from './bindings.ts';
import { isObject } from './match.ts';

/** Longest FHIRPath expression that is compiled. */
const maxExpressionLength = 10_000;
const maxCompiled = 5_000;

/** `unknown`: it could not be evaluated here. */
export type Verdict = 'holds' | 'fails' | 'unknown';

type Evaluator = ReturnType<typeof compile>;
const compiled = new Map<string, Evaluator | undefined>();

/** Steps that one evaluation may take. */
const maxSteps = 200_000;

/** Thrown within an evaluation that needs what is not at hand, or too long. */
class Undecidable extends Error {}

let steps = 0;

const functions = {
  // References lead to other resources; membership of value sets that are not shipped is terminology's to say.
  resolve: { fn: () => undecidable(), arity: { 0: [] } },
  conformsTo: { fn: () => undecidable(), arity: { 1: ['String' as const] } },
  memberOf: {
    fn: (inputs: readonly unknown[], valueSet: string) => inputs.map((input) => member(input, valueSet)),
    arity: { 1: ['String' as const] },
  },
};

function undecidable(): never {
  throw new Undecidable();
}

function member(input: unknown, valueSet: string): boolean {
  const codings = typeof input === 'string' ? [{ code: input }] : isObject(input) && Array.isArray(input['coding']) ? input['coding'].filter(isObject) : isObject(input) ? [input] : [];
  return isBound(codings.flatMap(({ system, code }) => (typeof code === 'string' ? [{ code, ...(typeof system === 'string' && { system }) }] : [])), valueSet) ?? undecidable();
}

/**
 * Evaluates an invariant on an element (https://hl7.org/fhir/R4/conformance-rules.html#constraints). An expression is compiled once.
 *
 * @param base type or path of the element, such as `Patient.contact`
 * @param resource the resource that the element is in: `%resource`; of a contained one its container is `%rootResource`
 * @returns `unknown` also if the expression has no result: that is no proof of a fault
 */
export function verdictOn({ expression }: Constraint, value: unknown, base: string, resource: unknown, rootResource: unknown): Verdict {
  const key = `${base} ${expression}`;
  if (!compiled.has(key)) {
    if (compiled.size >= maxCompiled) compiled.clear();
    compiled.set(key, compileOnce(base, expression));
  }
  const evaluate = compiled.get(key);
  if (evaluate === undefined) return 'unknown';
  try {
    steps = 0;
    const result: unknown = evaluate(value, { resource, rootResource, context: value });
    if (!Array.isArray(result) || result.length === 0) return 'unknown';
    return result.every((one) => one !== false) ? 'holds' : 'fails';
  } catch {
    return 'unknown';
  }
}

function compileOnce(base: string, expression: string): Evaluator | undefined {
  if (expression.length > maxExpressionLength) return undefined;
  try {
    // Its trace() writes to the console unless told otherwise.
    return compile({ base, expression }, r4, { userInvocationTable: functions, traceFn: () => undefined, debugger: countStep });
  } catch {
    return undefined;
  }
}

function countStep(): void {
  steps += 1;
  if (steps > maxSteps) undecidable();
}
