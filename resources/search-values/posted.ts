import { createRequire } from 'node:module';
import { createContext, Script } from 'node:vm';
import type * as Fhirpath from 'fhirpath';
import { InterlockError } from '../outcome/error.ts';
import { converterFor, type Convert, type ValueContext } from './convert.ts';
import type { SearchParam, SearchValue } from './types.ts';
import { walkOfType } from './walk.ts';

/** How long FHIRPath may take for all posted parameters of one resource. */
const limitMs = 250;

/** Functions that would make values depend on more than the resource, or that cost without bound. */
const forbidden = /\b(?:repeat|descendants|trace|now|today|timeOfDay|resolve|memberOf|conformsTo|subsumes|subsumedBy|aggregate)\s*\(|%(?!resource\b|context\b|ucum\b)/;

let engine: { readonly fhirpath: typeof Fhirpath; readonly model: Fhirpath.Model } | undefined;

/** Loaded with the first expression that needs it: it takes half a second. */
function loaded(): NonNullable<typeof engine> {
  const require = createRequire(import.meta.url);
  engine ??= { fhirpath: require('fhirpath') as typeof Fhirpath, model: require('fhirpath/fhir-context/r4') as Fhirpath.Model };
  return engine;
}

/**
 * Values of a parameter whose expression is more than a path, worked out by FHIRPath (http://hl7.org/fhirpath/N1/). Run it
 * under {@link withinTime}.
 * @throws Error if the expression is no FHIRPath, or uses a function that is not permitted here
 */
export function workedOut(param: Pick<SearchParam, 'type' | 'expression'>): (node: unknown, resource: unknown, out: SearchValue[], context: ValueContext) => void {
  if (forbidden.test(param.expression.replaceAll(/'(?:[^'\\]|\\.)*'/g, "''"))) throw new Error('the expression uses a function that is not permitted');
  const { fhirpath, model } = loaded();
  const values = fhirpath.compile(param.expression, model);
  const types = fhirpath.compile(`(${param.expression}).select($this.type().name)`, model);
  const converters = new Map<string, Convert | undefined>();
  return (node, _resource, out, context) => {
    const found = values(node, {}) as unknown[];
    if (found.length === 0) return;
    const names = types(node, {}) as unknown[];
    for (const [at, value] of found.entries()) {
      const name = String(names[at]);
      const type = systemTypes[name] ?? name;
      if (!converters.has(type)) converters.set(type, converterOf(param, type));
      // FHIRPath's own dates are objects that know their text.
      const text = type === name ? undefined : (value as { readonly asStr?: unknown } | null)?.asStr;
      converters.get(type)?.(text ?? value, out, context);
    }
  };
}

/** Types of FHIRPath's own, as the FHIR types that are written alike. */
const systemTypes: Readonly<Record<string, string>> = { String: 'string', Boolean: 'boolean', Integer: 'integer', Decimal: 'decimal', Date: 'date', DateTime: 'dateTime' };

function converterOf(param: Pick<SearchParam, 'type'>, type: string): Convert | undefined {
  try {
    return converterFor(param.type, walkOfType(type));
  } catch {
    // A choice has types that the parameter's type does not know; they have no values.
    return undefined;
  }
}

const script = new Script('run()');

/**
 * Runs what may take long.
 * @throws InterlockError `too-costly` after a quarter of a second
 */
export function withinTime<T>(work: () => T): T {
  const result: { value?: T } = {};
  try {
    script.runInContext(createContext({ run: () => void (result.value = work()) }), { timeout: limitMs });
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw new InterlockError('too-costly', { detail: 'A posted search parameter takes too long on the resource.', cause });
    throw cause;
  }
  return result.value as T;
}
