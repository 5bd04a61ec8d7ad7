import { isUtf8 } from 'node:buffer';
import { InterlockError } from '../outcome/error.ts';

/** A parsed FHIR resource of any type, not yet checked beyond its having a `resourceType`. */
export interface FhirJson {
  readonly resourceType: string;
  readonly [element: string]: unknown;
}

export interface JsonLimits {
  /** Default 50 MB. */
  readonly maxBytes?: number;
  /** Levels of objects and arrays. Default {@link defaultMaxDepth}. */
  readonly maxDepth?: number;
}

/** Deepest nesting that is accepted: resources in practice stay below 20. */
export const defaultMaxDepth = 64;

/** Most properties of one object. No FHIR type has as many elements; bounds the search for duplicates. */
const maxNames = 256;

const defaultMaxBytes = 50_000_000;

/**
 * Parses the JSON of one resource (https://hl7.org/fhir/R4/json.html), refusing what JSON.parse would quietly accept: property
 * names given twice, which two readers may understand differently (RFC 8259, section 4), bytes that are not UTF-8, and nesting
 * without end. Checked before anything is built in memory.
 *
 * @throws InterlockError `too-large` or `structure-invalid`; neither repeats any of the content
 */
export function parseResource(bytes: Uint8Array, limits: JsonLimits = {}): FhirJson {
  const parsed = parseJson(bytes, limits);
  if (!isFhirJson(parsed)) throw new InterlockError('structure-invalid', { detail: 'It is not a JSON object with a resourceType.' });
  return parsed;
}

/** The same for any JSON, such as a JSON Patch. @throws InterlockError `too-large` or `structure-invalid` */
export function parseJson(bytes: Uint8Array, limits: JsonLimits = {}): unknown {
  if (bytes.length > (limits.maxBytes ?? defaultMaxBytes)) throw new InterlockError('too-large');
  if (!isUtf8(bytes)) throw new InterlockError('structure-invalid', { detail: 'It is not UTF-8.' });
  const fault = findJsonFault(bytes, limits.maxDepth ?? defaultMaxDepth);
  if (fault !== undefined) throw new InterlockError('structure-invalid', { detail: fault });
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch {
    // The parser's message quotes the text, so it is not even kept as the cause.
    throw new InterlockError('structure-invalid', { detail: 'It is not well-formed JSON.' });
  }
}

/** Whether this is a JSON object with a `resourceType`. */
export function isFhirJson(value: unknown): value is FhirJson {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && typeof (value as Partial<FhirJson>).resourceType === 'string';
}

// The names of the objects that are open at the moment, innermost last. One scan runs at a time, so they are shared.
const nameHash = new Int32Array((defaultMaxDepth + 1) * maxNames);
const nameStart = new Int32Array(nameHash.length);
const nameEnd = new Int32Array(nameHash.length);
const firstName = new Int32Array(defaultMaxDepth + 2);
const isObject = new Uint8Array(defaultMaxDepth + 2);

/** One pass over the bytes, about a microsecond per kilobyte. Text that is not JSON at all is left to JSON.parse to refuse. */
function findJsonFault(bytes: Uint8Array, maxDepth: number): string | undefined {
  const deepest = Math.min(maxDepth, defaultMaxDepth);
  let depth = 0;
  let names = 0;
  let nameExpected = false;
  for (let at = 0; at < bytes.length; at += 1) {
    switch (bytes[at]) {
      case 0x7b: // {
      case 0x5b: // [
        depth += 1;
        if (depth > deepest) return 'It is nested too deeply.';
        isObject[depth] = bytes[at] === 0x7b ? 1 : 0;
        firstName[depth] = names;
        nameExpected = bytes[at] === 0x7b;
        break;
      case 0x7d: // }
      case 0x5d: // ]
        if (depth === 0) return undefined;
        names = firstName[depth]!;
        depth -= 1;
        nameExpected = false;
        break;
      case 0x2c: // ,
        nameExpected = isObject[depth] === 1;
        break;
      case 0x22: { // "
        const start = at + 1;
        let hash = 0;
        for (at = start; at < bytes.length && bytes[at] !== 0x22; at += 1) {
          if (bytes[at] === 0x5c) {
            // No name of FHIR needs an escape; without them, names are equal exactly when their bytes are.
            if (nameExpected) return 'A property name has an escape sequence.';
            at += 1;
          } else if (nameExpected) hash = (Math.imul(hash, 31) + bytes[at]!) | 0;
        }
        if (!nameExpected) break;
        nameExpected = false;
        const first = firstName[depth]!;
        if (names - first === maxNames) return 'An object has too many properties.';
        for (let other = first; other < names; other += 1) {
          if (nameHash[other] === hash && sameBytes(bytes, nameStart[other]!, nameEnd[other]!, start, at)) return 'An object has a property twice.';
        }
        nameHash[names] = hash;
        nameStart[names] = start;
        nameEnd[names] = at;
        names += 1;
        break;
      }
    }
  }
  return undefined;
}

function sameBytes(bytes: Uint8Array, start: number, end: number, otherStart: number, otherEnd: number): boolean {
  if (end - start !== otherEnd - otherStart) return false;
  for (let i = 0; i < end - start; i += 1) if (bytes[start + i] !== bytes[otherStart + i]) return false;
  return true;
}
