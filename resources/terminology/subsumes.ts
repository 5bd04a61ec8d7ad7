import type { CodeSystemIndex } from './code-system.ts';

/** How two codes relate (https://hl7.org/fhir/R4/valueset-concept-subsumption-outcome.html). */
export type Subsumption = 'equivalent' | 'subsumes' | 'subsumed-by' | 'not-subsumed';

/** How code A relates to code B; undefined if the system does not have one of them. */
export function subsumptionOf(system: CodeSystemIndex, codeA: string, codeB: string): Subsumption | undefined {
  const a = system.find(codeA)?.concept.code;
  const b = system.find(codeB)?.concept.code;
  if (a === undefined || b === undefined) return undefined;
  const above = system.descendants(a).has(b);
  const below = system.descendants(b).has(a);
  // Two concepts that are each a kind of the other are the same.
  if (a === b || (above && below)) return 'equivalent';
  return above ? 'subsumes' : below ? 'subsumed-by' : 'not-subsumed';
}
