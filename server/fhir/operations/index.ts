import { meta } from './meta.ts';
import type { Operation, OperationLevel } from './operation.ts';

/** Every operation that this server offers. */
export const operations: readonly Operation[] = [meta];

/** The operation of a name that can be called at a place. */
export function operationAt(name: string, level: OperationLevel, type: string | undefined): Operation | undefined {
  return operations.find((operation) => operation.name === name && operation.levels.includes(level) && (type === undefined || operation.types === 'every' || operation.types.includes(type)));
}
