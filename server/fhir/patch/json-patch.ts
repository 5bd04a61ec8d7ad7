import { isDeepStrictEqual } from 'node:util';
import { applyPatch, Pointer, type Operation } from 'rfc6902';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { parseJson } from '../../../resources/validate/index.ts';
import { parseExact, plain } from './exact-json.ts';
import { isRecord, patchFailed, type PatchLimits, type TreePatch } from './patch-tree.ts';

/** Most operations of one JSON Patch. */
const maxOperations = 1_000;

const operationNames: ReadonlySet<string> = new Set(['add', 'remove', 'replace', 'move', 'copy', 'test']);

/**
 * Reads a JSON Patch (RFC 6902; https://hl7.org/fhir/R4/http.html#patch).
 * @throws InterlockError `structure-invalid` if it is none, `too-costly` if it has too many operations, `too-large`
 */
export function jsonPatch(body: Buffer, { maxBytes }: PatchLimits): TreePatch {
  parseJson(body, { maxBytes });
  const operations = parseExact(body.toString());
  if (!Array.isArray(operations)) throw new InterlockError('structure-invalid', { detail: 'A JSON Patch is an array of operations.' });
  if (operations.length > maxOperations) throw new InterlockError('too-costly', { detail: `A patch may have ${maxOperations} operations.` });
  const checked = operations.map((operation: unknown, index) => {
    if (!isOperation(operation)) throw new InterlockError('structure-invalid', { detail: `Operation ${index} is not one of RFC 6902.` });
    return operation;
  });
  return (resource) => {
    let tree = resource;
    let copied = 0;
    for (const [index, operation] of checked.entries()) {
      const failed = (): InterlockError => patchFailed(index);
      if (operation.op === 'copy') {
        // Copies of copies double each time, so what they add up to is bounded while they are made.
        copied += sizeOf(valueAt(tree, operation.from), maxBytes - copied);
        if (copied >= maxBytes) throw new InterlockError('too-large');
      }
      tree = applied(tree, operation, failed);
    }
    return tree;
  };
}

function isOperation(operation: unknown): operation is Operation {
  if (!isRecord(operation)) return false;
  const { op, path, from } = operation;
  if (typeof op !== 'string' || !operationNames.has(op) || !isPointer(path)) return false;
  if (op === 'move' || op === 'copy') return isPointer(from);
  return op === 'remove' || Object.hasOwn(operation, 'value');
}

/** RFC 6901. */
function isPointer(path: unknown): path is string {
  return typeof path === 'string' && /^(?:\/(?:[^~/]|~[01])*)*$/.test(path);
}

function applied(tree: unknown, operation: Operation, failed: () => InterlockError): unknown {
  const { op, path } = operation;
  if (op === 'test') {
    if (!isDeepStrictEqual(plain(valueAt(tree, path)), plain(operation.value))) throw failed();
    return tree;
  }
  if (path === '') {
    if (op !== 'add' && op !== 'replace') throw failed();
    return structuredClone(operation.value);
  }
  if ((op === 'move' || op === 'copy') && (valueAt(tree, operation.from) === undefined || operation.from === '')) throw failed();
  if (op === 'move' && path.startsWith(`${operation.from}/`)) throw failed();
  if (op === 'replace' || op === 'remove' ? valueAt(tree, path) === undefined : !isPlace(tree, path)) throw failed();
  // After a move out of an array its places are fewer, which the library checks.
  const [error] = applyPatch(tree, [operation]);
  if (error !== null) throw failed();
  return tree;
}

/**
 * The value at a pointer, by own properties and array indexes only.
 * @returns undefined if there is none
 */
function valueAt(tree: unknown, path: string): unknown {
  let node = tree;
  for (const token of Pointer.fromJSON(path).tokens.slice(1)) {
    if (Array.isArray(node)) node = /^(?:0|[1-9][0-9]{0,8})$/.test(token) ? (node as unknown[])[Number(token)] : undefined;
    else node = isRecord(node) && Object.hasOwn(node, token) ? node[token] : undefined;
  }
  return node;
}

/** Whether something can be added there: the parent exists, and takes a member of that name. */
function isPlace(tree: unknown, path: string): boolean {
  const cut = path.lastIndexOf('/');
  const parent = valueAt(tree, path.slice(0, cut));
  const token = path.slice(cut + 1);
  if (Array.isArray(parent)) return token === '-' || (/^(?:0|[1-9][0-9]{0,8})$/.test(token) && Number(token) <= parent.length);
  // The name of a FHIR element, perhaps with the underscore of a companion: none that means something to JavaScript.
  return isRecord(parent) && /^_?[a-zA-Z][a-zA-Z0-9]*$/.test(token) && !(token in Object.prototype);
}

/** Roughly the characters of a value as JSON; stops counting at `limit`. */
function sizeOf(value: unknown, limit: number): number {
  let size = 0;
  const pending: unknown[] = [value];
  while (pending.length > 0 && size < limit) {
    const node = pending.pop();
    if (typeof node === 'string') size += node.length + 2;
    else if (typeof node !== 'object' || node === null) size += 5;
    else for (const [name, part] of Object.entries(node)) {
      size += name.length + 4;
      pending.push(part);
    }
  }
  return size;
}
