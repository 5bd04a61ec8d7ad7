import { InterlockError } from '../../../resources/outcome/error.ts';

/**
 * Changes the tree of a resource, as `parseExact` gave it, and returns the changed tree, which may be the same one.
 * @throws InterlockError `patch-failed` that names the operation by its index; the tree is of no use then
 */
export type TreePatch = (resource: unknown) => unknown;

/** Bounds on a patch. */
export interface PatchLimits {
  readonly maxBytes: number;
}

/** The failure of one operation: which one, never what stood in it. */
export function patchFailed(index: number, expression?: string): InterlockError {
  return new InterlockError('patch-failed', { detail: `Operation ${index} failed.`, ...(expression === undefined ? {} : { expression }) });
}

/** A JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
