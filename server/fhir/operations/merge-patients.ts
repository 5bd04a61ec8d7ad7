import { InterlockError } from '../../../resources/outcome/error.ts';
import { normalizeCode, parseReference } from '../../../resources/search-values/index.ts';
import type { GuardedTransaction } from '../../access/guarded-transaction.ts';
import type { ResourceJson, StoredVersion } from '../../storage/contract.ts';
import { conditionOf } from '../conditions.ts';
import type { FhirServices } from '../exchange.ts';
import type { PatientLink } from '../merge.ts';
import type { OperationParameter } from './operation.ts';
import type { OperationInput } from './parameters.ts';
import { escaped, type OutParameter } from './terminology.ts';

/** An element `Patient.identifier`. */
export interface Identifier {
  readonly system?: string;
  readonly value?: string;
}

type Side = 'source' | 'target';

/** How merge and unmerge name the two records (https://hl7.org/fhir/R5/patient-operation-merge.html). */
export const patientParameters: readonly OperationParameter[] = (['source', 'target'] as const).flatMap((side) => [
  { name: `${side}-patient`, type: 'Reference', documentation: `The ${side} patient` },
  { name: `${side}-patient-identifier`, type: 'Identifier', isRepeating: true, documentation: `Business identifiers of the ${side} patient, all of which it has` },
]);

/** Bound on identifiers that name one patient. */
const maxIdentifiers = 20;

/**
 * The patient that the input names as its source or target, by reference or identifiers. What the caller does not see does not exist.
 * @throws InterlockError `request-invalid`, `reference-missing`, `multiple-matches`, `forbidden`
 */
export async function patientOf(tx: GuardedTransaction, input: OperationInput, side: Side, { baseUrl, values }: Pick<FhirServices, 'baseUrl' | 'values'>): Promise<StoredVersion> {
  const name = `${side}-patient`;
  const identifiers = identifiersIn(input, side);
  const { reference } = input.object(name) ?? {};
  if (reference !== undefined) {
    const literal = typeof reference === 'string' && !reference.includes('/_history/') ? reference : '';
    const { type, id, base } = parseReference(literal) ?? {};
    if (type !== 'Patient' || (base !== undefined && base !== baseUrl)) throw new InterlockError('request-invalid', { detail: `Parameter ${name} takes a reference to a Patient of this server.` });
    const found = await tx.read('Patient', id!);
    if (found === undefined || !identifiers.every((identifier) => has(found.resource(), identifier))) throw new InterlockError('reference-missing', { expression: name });
    return found;
  }
  if (identifiers.length === 0) throw new InterlockError('request-invalid', { detail: `Parameter ${name} or ${name}-identifier is required.` });
  const pairs = identifiers.map(({ system, value }) => ['identifier', `${system === undefined ? '' : `${escaped(system)}|`}${escaped(value)}`] as const);
  const found = await tx.find(['Patient'], conditionOf('Patient', pairs, values).where, 2);
  if (found.length > 1) throw new InterlockError('multiple-matches', { expression: `${name}-identifier` });
  if (found[0] === undefined) throw new InterlockError('reference-missing', { expression: `${name}-identifier` });
  return found[0];
}

/** The business identifiers that the input names one side by. @throws InterlockError `request-invalid` */
export function identifiersIn(input: OperationInput, side: Side): { readonly system?: string; readonly value: string }[] {
  const name = `${side}-patient-identifier`;
  const given = input.all(name);
  if (given.length > maxIdentifiers) throw new InterlockError('too-costly');
  return given.map((one) => {
    const { system, value } = (typeof one === 'object' && one !== null ? one : {}) as { readonly system?: unknown; readonly value?: unknown };
    if (typeof value !== 'string' || value === '' || (system !== undefined && typeof system !== 'string')) throw new InterlockError('request-invalid', { detail: `Parameter ${name} needs a value.` });
    return { value, ...(system === undefined ? {} : { system }) };
  });
}

/** True if a patient has an identifier, compared like a search does. */
export function has(patient: ResourceJson, { system, value }: Identifier): boolean {
  const all = (patient['identifier'] ?? []) as readonly Identifier[];
  return value !== undefined && all.some((one) => (system === undefined || one.system === system) && one.value !== undefined && normalizeCode(one.value) === normalizeCode(value));
}

/** True if a patient has a link of a type, to one other or to any. */
export function isLinked(patient: ResourceJson, type: PatientLink['type'], otherId?: string): boolean {
  const links = (patient['link'] ?? []) as readonly PatientLink[];
  return links.some((link) => link.type === type && (otherId === undefined || link.other.reference?.endsWith(`Patient/${otherId}`) === true));
}

/** What an answer says of the call: the input as it was understood, and what came of it. */
export function told(input: OperationInput, counts: readonly { readonly type: string }[], text: string): OutParameter[] {
  const given = (['source', 'target'] as const).flatMap((side) => [
    ...input.all(`${side}-patient`).map((valueReference) => ({ name: `${side}-patient`, valueReference })),
    ...input.all(`${side}-patient-identifier`).map((valueIdentifier) => ({ name: `${side}-patient-identifier`, valueIdentifier })),
  ]);
  const preview = input.all('preview').map((valueBoolean) => ({ name: 'preview', valueBoolean }));
  const result = input.all('result-patient').map((resource) => ({ name: 'result-patient', resource }));
  const types = [...Map.groupBy(counts, ({ type }) => type)].map(([type, of]) => `${type}: ${of.length}`).sort();
  const outcome = { resourceType: 'OperationOutcome', issue: [{ severity: 'information', code: 'informational', details: { text }, ...(types.length === 0 ? {} : { diagnostics: types.join(', ') }) }] };
  return [{ name: 'input', resource: { resourceType: 'Parameters', parameter: [...given, ...result, ...preview] } }, { name: 'outcome', resource: outcome }];
}
