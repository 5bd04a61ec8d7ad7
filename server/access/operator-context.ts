import { defaultTenant } from '../kms/keyring.ts';
import type { AccessContext } from './context.ts';

/**
 * What an operator's command may read of the record: these types, nothing else, for the operations of the house.
 * @param operator `operator:<os user>`
 */
export function contextOfOperator(operator: string, types: readonly string[], requestId: string): AccessContext {
  return {
    tenant: defaultTenant,
    requestId,
    actor: { kind: 'operator', id: operator, display: operator.replace(/^operator:/, '') },
    grants: types.map((type) => ({ type, permissions: new Set(['r'] as const) })),
    purposeOfUse: ['HOPERAT'],
  };
}
