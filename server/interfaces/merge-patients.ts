import { compartmentParams, resourceTypes } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { GuardServices } from '../access/guard.ts';
import type { GuardedTransaction } from '../access/guarded-transaction.ts';
import type { ResourceJson } from '../storage/contract.ts';
import { writeOf } from './write-of.ts';

/** Bound on what one merge moves: it all happens in one transaction. */
const maxMoved = 5_000;

type Link = { readonly other: { readonly reference: string }; readonly type: string };

/**
 * Merges two records of one patient: the retired one becomes inactive and is replaced by the survivor, and everything
 * that refers to it refers to the survivor afterwards (https://hl7.org/fhir/R4/patient.html#merging).
 * A merge that already happened changes nothing, nor does one in the other direction afterwards: both numbers are one record by then.
 *
 * @throws InterlockError `too-costly` if more than 5,000 resources would have to move
 */
export async function mergePatients(services: Pick<GuardServices, 'store'>, tx: GuardedTransaction, survivorId: string | undefined, retiredId: string | undefined): Promise<void> {
  if (survivorId === undefined || retiredId === undefined || survivorId === retiredId) return;
  const [survivor, retired] = [await tx.read('Patient', survivorId), await tx.read('Patient', retiredId)];
  if (survivor === undefined || retired === undefined) return;
  const replaces: Link = { other: { reference: `Patient/${retiredId}` }, type: 'replaces' };
  const replacedBy: Link = { other: { reference: `Patient/${survivorId}` }, type: 'replaced-by' };
  await tx.update(writeOf(services, { ...withLink(survivor.resource(), replaces, `Patient/${retiredId}`), active: true }, survivorId, survivor.versionId));
  await tx.update(writeOf(services, { ...withLink(retired.resource(), replacedBy, `Patient/${survivorId}`), active: false }, retiredId, retired.versionId));
  const found = await tx.find(movingTypes(), { op: 'compartment', type: 'Patient', ids: [retiredId] }, maxMoved + 1);
  if (found.length > maxMoved) throw new InterlockError('too-costly', { detail: `A merge may move ${maxMoved} resources.` });
  for (const version of found) {
    const text = JSON.stringify(version.resource()).replaceAll(`"Patient/${retiredId}"`, `"Patient/${survivorId}"`);
    await tx.update(writeOf(services, JSON.parse(text) as ResourceJson, version.id, version.versionId));
  }
}

/** What belongs to a patient and moves with a merge. A Provenance stays: it tells what was true when it was recorded. */
function movingTypes(): string[] {
  return resourceTypes().filter((type) => type !== 'Patient' && type !== 'Provenance' && type !== 'AuditEvent' && compartmentParams('Patient', type).length > 0);
}

function withLink(patient: ResourceJson, link: Link, other: string): ResourceJson {
  const links = (patient['link'] ?? []) as Link[];
  return { ...patient, link: [...links.filter(({ other: { reference } }) => reference !== other), link] };
}
