import { InterlockError } from '../../../resources/outcome/error.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { keyOf, madeByMerge, recordMerge } from '../merge-provenance.ts';
import { replacedBy } from '../merge.ts';
import { isLinked, patientOf, patientParameters, told } from './merge-patients.ts';
import type { Operation } from './operation.ts';
import type { OperationInput } from './parameters.ts';
import { parametersResponse } from './terminology.ts';

/** Undoes a `$merge`: what it changed becomes again what it was before. FHIR defines no such operation. */
export const unmerge: Operation = {
  name: 'unmerge',
  definition: 'urn:interlock:OperationDefinition:Patient-unmerge',
  summary: 'Undoes a merge of two records of one patient',
  levels: ['type'],
  types: ['Patient'],
  affectsState: true,
  parameters: patientParameters,
  run,
};

const noRecord = 'There is no record of a merge that could be undone.';

async function run({ guard, services, context }: Exchange, input: OperationInput): Promise<FhirResponse> {
  return guard.transaction({ interaction: 'transaction', action: 'E', type: 'Patient' }, async (tx) => {
    const [source, target] = [await patientOf(tx, input, 'source', services), await patientOf(tx, input, 'target', services)];
    if (!isLinked(source.resource(), 'replaced-by', target.id)) throw new InterlockError('business-rule', { detail: 'The source is not merged into the target.' });
    const made = await madeByMerge(services, tx, source.id, target.id);
    if (made.length === 0) throw new InterlockError('business-rule', { detail: noRecord });
    const current = new Map((await tx.toChange(made)).map((version) => [keyOf(version), version]));
    const changed = made.filter((one) => current.get(keyOf(one))?.versionId !== one.versionId).map(({ type }) => type);
    if (changed.length > 0) throw new InterlockError('merge-changed', { detail: `Changed since: ${[...new Set(changed)].sort().join(', ')}.` });
    const before = new Map((await tx.before([...current.values()])).map((version) => [keyOf(version), version]));
    const changes = made.map((one) => {
      const previous = before.get(keyOf(one));
      // A merge creates nothing and brings nothing back, so that something was there before.
      if (previous === undefined || previous.deleted) throw new InterlockError('business-rule', { detail: noRecord });
      return replacedBy(services, current.get(keyOf(one))!, previous.bytes);
    });
    const restored = (await tx.updateMany(changes)).map(({ version }) => version);
    await recordMerge(services, tx, 'unmerge', { source }, restored, context);
    return parametersResponse([...told(input, restored.slice(2), 'The merge is undone.'), { name: 'result', resource: restored[0]!.resource() }]);
  });
}
