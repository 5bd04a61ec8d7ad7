import { InterlockError } from '../../../resources/outcome/error.ts';
import { assertValid } from '../../../resources/validate/index.ts';
import type { ResourceJson } from '../../storage/contract.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { recordMerge } from '../merge-provenance.ts';
import { applyMerge, movedBy, type Merge } from '../merge.ts';
import { assertWhole } from '../shape.ts';
import { has, identifiersIn, isLinked, patientOf, patientParameters, told, type Identifier } from './merge-patients.ts';
import type { Operation } from './operation.ts';
import type { OperationInput } from './parameters.ts';
import { parametersResponse } from './terminology.ts';

/** Merges two records of one patient (R5's operation, for R4: https://hl7.org/fhir/R5/patient-operation-merge.html). */
export const merge: Operation = {
  name: 'merge',
  definition: 'http://hl7.org/fhir/OperationDefinition/Patient-merge',
  summary: 'Merges two records of one patient',
  levels: ['type'],
  types: ['Patient'],
  affectsState: true,
  parameters: [
    ...patientParameters,
    { name: 'result-patient', type: 'Patient', documentation: 'What the target is to be like afterwards; by default as it is, with the identifiers of the source' },
    { name: 'preview', type: 'boolean', documentation: 'True: tells what a merge would do, and does nothing' },
  ],
  run,
};

/** Looks up, decides and writes all in one transaction, so that a merge happens as a whole or not at all. */
async function run({ guard, services, context }: Exchange, input: OperationInput): Promise<FhirResponse> {
  const isPreview = input.flag('preview') === true;
  return guard.transaction({ interaction: 'transaction', action: 'E', type: 'Patient' }, async (tx) => {
    const both: Merge = { source: await patientOf(tx, input, 'source', services), target: await patientOf(tx, input, 'target', services) };
    assertMayMerge(both);
    const result = resultOf(input, both, services);
    await tx.assertMayChange([both.source, both.target]);
    const moved = await movedBy(services, tx, both.source.id);
    const targetAfter = (tree: Record<string, unknown>): Record<string, unknown> => (result === undefined ? withIdentifiers(tree, both.source.resource()) : { ...result, id: both.target.id });
    if (isPreview) return parametersResponse([...told(input, moved, 'This is what a merge would move; nothing was changed.'), { name: 'result', resource: targetAfter(both.target.resource()) }]);
    const written = await applyMerge(services, tx, both, moved, targetAfter);
    await recordMerge(services, tx, 'merge', both, written.map(({ version }) => version), context);
    return parametersResponse([...told(input, moved, 'The patients are merged, and what referred to the source refers to the target.'), { name: 'result', resource: written[0]!.version.resource() }]);
  });
}

/** @throws InterlockError `business-rule` */
function assertMayMerge({ source, target }: Merge): void {
  const refuse = (detail: string): never => {
    throw new InterlockError('business-rule', { detail });
  };
  if (source.id === target.id) refuse('Source and target are the same patient.');
  if (isLinked(source.resource(), 'replaced-by')) refuse('The source is merged already.');
  if (isLinked(target.resource(), 'replaced-by')) refuse('The target is merged into another patient.');
  if (target.resource()['active'] === false) refuse('The target is inactive.');
}

/** What the caller wants the target to be like. @throws InterlockError what validation finds; `business-rule` if it is not the target any more */
function resultOf(input: OperationInput, { source, target }: Merge, { rules }: Exchange['services']): ResourceJson | undefined {
  const result = input.resource('result-patient');
  if (result === undefined) return undefined;
  if (result.resourceType !== 'Patient') throw new InterlockError('request-invalid', { detail: 'Parameter result-patient takes a Patient.' });
  assertValid(result);
  assertWhole(result);
  rules?.assert(result);
  const named = [...identifiersIn(input, 'source'), ...identifiersIn(input, 'target')];
  const isTarget = result.id === target.id && result['active'] !== false && !isLinked(result, 'replaced-by');
  if (!isTarget || !isLinked(result, 'replaces', source.id) || !named.every((identifier) => has(result, identifier))) {
    throw new InterlockError('business-rule', { detail: 'result-patient has the id of the target, all identifiers that were given, and a link that replaces the source; it is active.', expression: 'result-patient' });
  }
  return result;
}

/** The target with the identifiers of the source that it lacks, as old ones. */
function withIdentifiers(target: Record<string, unknown>, source: ResourceJson): Record<string, unknown> {
  const own = (target['identifier'] ?? []) as readonly Identifier[];
  const added = ((source['identifier'] ?? []) as readonly Identifier[]).filter((one) => !has(target as ResourceJson, one)).map((one) => ({ ...one, use: 'old' }));
  return own.length + added.length === 0 ? target : { ...target, identifier: [...own, ...added] };
}
