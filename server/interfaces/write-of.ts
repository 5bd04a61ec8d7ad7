import { assertValid } from '../../resources/validate/index.ts';
import type { GuardServices } from '../access/guard.ts';
import type { TransactionWrite } from '../access/guarded-transaction.ts';
import type { ResourceJson } from '../storage/contract.ts';

/** A write of one resource; what a map made wrong is refused here like any client's content. */
export function writeOf(services: Pick<GuardServices, 'store'>, resource: ResourceJson, id: string, ifMatch?: number): TransactionWrite {
  assertValid({ ...resource, id });
  return { type: resource.resourceType, id, resource, prepared: services.store.prepare(resource, id), ...(ifMatch === undefined ? {} : { ifMatch }) };
}
