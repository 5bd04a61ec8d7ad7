import { breakGlass, breakGlassEnd } from './break-glass.ts';
import { diff } from './diff.ts';
import { encounterEverything, patientEverything } from './everything.ts';
import { expand } from './expand.ts';
import { lastn } from './lastn.ts';
import { lookup, subsumes } from './lookup.ts';
import { match } from './match.ts';
import { merge } from './merge.ts';
import { meta, metaAdd, metaDelete } from './meta.ts';
import { translate } from './translate.ts';
import { unmerge } from './unmerge.ts';
import { validate } from './validate.ts';
import { validateCodeInCodeSystem, validateCodeInValueSet } from './validate-code.ts';
import type { Operation, OperationLevel } from './operation.ts';

/** Every operation that this server offers. */
export const operations: readonly Operation[] = [meta, metaAdd, metaDelete, diff, lastn, patientEverything, encounterEverything, match, merge, unmerge, expand, lookup, subsumes, translate, validateCodeInCodeSystem, validateCodeInValueSet, breakGlass, breakGlassEnd, validate];

/** The operation of a name that can be called at a place. */
export function operationAt(name: string, level: OperationLevel, type: string | undefined): Operation | undefined {
  return operations.find((operation) => operation.name === name && operation.levels.includes(level) && (type === undefined || operation.types === 'every' || operation.types.includes(type)));
}
