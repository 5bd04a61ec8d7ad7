import type { GuardServices } from '../access/guard.ts';
import type { GuardedTransaction } from '../access/guarded-transaction.ts';
import { applyMerge, movedBy } from '../fhir/merge.ts';

/**
 * Merges two records of one patient as a message asks for it. A merge that already happened changes nothing, nor does one in
 * the other direction afterwards: both numbers are one record by then.
 *
 * @throws InterlockError `too-costly` if too many resources would have to move
 */
export async function mergePatients(services: Pick<GuardServices, 'store' | 'values'>, tx: GuardedTransaction, survivorId: string | undefined, retiredId: string | undefined): Promise<void> {
  if (survivorId === undefined || retiredId === undefined || survivorId === retiredId) return;
  const [target, source] = [await tx.read('Patient', survivorId), await tx.read('Patient', retiredId)];
  if (target === undefined || source === undefined) return;
  await applyMerge(services, tx, { source, target }, await movedBy(services, tx, retiredId), (tree) => ({ ...tree, active: true }));
}
