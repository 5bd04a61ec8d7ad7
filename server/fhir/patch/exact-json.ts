/*
 * JSON whose numbers keep their digits: JSON.parse makes 1 of the decimal 1.00, though FHIR counts its precision as meaning
 * (https://hl7.org/fhir/R4/json.html#decimal). A number that would not be written as it was read is held as a string that
 * starts with a mark which no FHIR string may contain (https://hl7.org/fhir/R4/datatypes.html#string).
 */
import { InterlockError } from '../../../resources/outcome/error.ts';

const mark = '\u0000';

type Reviver = (this: unknown, name: string, value: unknown, context: { readonly source?: string }) => unknown;

// ECMAScript's "JSON.parse source text access", which TypeScript's library does not describe yet.
const json = JSON as unknown as { parse(text: string, reviver: Reviver): unknown; rawJSON(text: string): unknown };

/**
 * Parses well-formed JSON; {@link writeExact} gives its numbers back as they were.
 * @throws InterlockError `structure-invalid` for a string that starts with U+0000
 */
export function parseExact(text: string): unknown {
  return json.parse(text, (_name, value, { source }) => {
    if (typeof value === 'number' && source !== undefined && String(value) !== source) return mark + source;
    if (typeof value === 'string' && value.startsWith(mark)) throw new InterlockError('structure-invalid', { detail: 'A string has a control character.' });
    return value;
  });
}

/** The JSON text of what {@link parseExact} gave. */
export function writeExact(value: unknown): string {
  return JSON.stringify(value, (_name, part: unknown) => (typeof part === 'string' && part.startsWith(mark) ? json.rawJSON(part.slice(1)) : part));
}

/** A copy with plain numbers, for comparing and for FHIRPath. */
export function plain(value: unknown): unknown {
  if (typeof value === 'string') return value.startsWith(mark) ? Number(value.slice(1)) : value;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plain(part)]));
}
