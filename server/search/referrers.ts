import { resourceTypes, searchParamsOf } from '../../resources/definitions/index.ts';
import type { SearchParam } from '../../resources/search-values/types.ts';
import { paramBounds } from './tokens.ts';

/**
 * Types whose references do not keep what they refer to: they record what was true at a time, and outlive it
 * (https://hl7.org/fhir/R4/provenance.html#bnr).
 */
const records: ReadonlySet<string> = new Set(['Provenance', 'AuditEvent']);

const referringParams = new Map<string, readonly (readonly [string, SearchParam])[]>();

/** The reference parameters of all types that may lead to a resource of this type. */
function paramsTo(target: string): readonly (readonly [string, SearchParam])[] {
  let found = referringParams.get(target);
  if (found === undefined) {
    found = resourceTypes()
      .filter((type) => !records.has(type))
      .flatMap((type) => [...searchParamsOf(type).values()].filter((param) => param.type === 'reference' && (param.target?.includes(target) ?? true)).map((param) => [type, param] as const));
    referringParams.set(target, found);
  }
  return found;
}

/** Labels of the tokens that a resource has which refers to this one by some search parameter, each once. */
export function referrerLabels(type: string, id: string): readonly string[] {
  const labels = new Set<string>();
  for (const [source, param] of paramsTo(type)) {
    const { upper } = paramBounds(source, { op: 'param', param, of: [{ kind: 'reference', type, id }] }, []);
    if (upper.op === 'in') for (const label of upper.labels) labels.add(label);
  }
  return [...labels];
}
