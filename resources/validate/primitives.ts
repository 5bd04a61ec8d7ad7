import { structureOf } from '../definitions/index.ts';

/** How a FHIR primitive type looks in JSON (https://hl7.org/fhir/R4/json.html#primitive). */
export type PrimitiveSchema =
  | { readonly type: 'boolean' }
  | { readonly type: 'number' }
  | { readonly type: 'integer'; readonly minimum: number; readonly maximum: number }
  | { readonly type: 'string'; readonly format: string };

const maxInteger = 2_147_483_647;

/** Longest string, in UTF-16 units (https://hl7.org/fhir/R4/datatypes.html#string); base64 is bounded by the body's size alone. */
const maxStringLength = 1_048_576;

// Spelled out where the published expression is slow on hostile input or lets control characters through.
const text = /^[^\u0000-\u0008\u000b\u000c\u000e-\u001f]+$/u;
const token = /^[^\s\u0000-\u001f]+$/u;
const code = /^[^\s\u0000-\u001f]+(?: [^\s\u0000-\u001f]+)*$/u;
const base64Alphabet = /^[A-Za-z0-9+/]*={0,2}$/;

/** Checks by type name. Each takes time linear in the length of its input. */
const formats: Readonly<Record<string, (value: string) => boolean>> = {
  base64Binary: isBase64,
  canonical: isToken,
  code: (value) => value.length <= maxStringLength && code.test(value),
  date: published('date', isCalendarDate),
  dateTime: published('dateTime', isCalendarDate),
  id: published('id'),
  instant: published('instant', isCalendarDate),
  markdown: isText,
  oid: published('oid'),
  string: isText,
  time: published('time'),
  uri: isToken,
  url: isToken,
  uuid: published('uuid'),
  xhtml: isText,
};

/** All string formats, for registering them with a schema compiler. */
export const primitiveFormats: readonly (readonly [name: string, check: (value: string) => boolean])[] = Object.entries(formats);

/** Schema of a primitive type; undefined if the type is not primitive. */
export function primitiveSchema(type: string): PrimitiveSchema | undefined {
  switch (type) {
    case 'boolean':
      return { type: 'boolean' };
    case 'decimal':
      return { type: 'number' };
    case 'integer':
      return { type: 'integer', minimum: -maxInteger - 1, maximum: maxInteger };
    case 'positiveInt':
      return { type: 'integer', minimum: 1, maximum: maxInteger };
    case 'unsignedInt':
      return { type: 'integer', minimum: 0, maximum: maxInteger };
    case 'System.String':
      return { type: 'string', format: 'string' };
    default:
      return Object.hasOwn(formats, type) ? { type: 'string', format: type } : undefined;
  }
}

/** The regular expression of the type's own definition, compiled on first use, and a further check. */
function published(type: string, further: (value: string) => boolean = () => true): (value: string) => boolean {
  let pattern: RegExp | undefined;
  return (value) => {
    pattern ??= new RegExp(`^(?:${structureOf(type)!.elements.find((element) => element.path === `${type}.value`)!.types[0]!.regex!})$`);
    return value.length <= maxStringLength && pattern.test(value) && further(value);
  };
}

function isText(value: string): boolean {
  return value.length <= maxStringLength && text.test(value);
}

function isToken(value: string): boolean {
  return value.length <= maxStringLength && token.test(value);
}

/** Whether the day exists in its month. The value already has the form of a date, with or without a time. */
function isCalendarDate(value: string): boolean {
  if (value.length < 10) return true;
  const day = Number(value.slice(8, 10));
  return day <= 28 || day <= new Date(Date.UTC(Number(value.slice(0, 4)), Number(value.slice(5, 7)), 0)).getUTCDate();
}

/** RFC 4648, section 4, with white space allowed between the characters. */
function isBase64(value: string): boolean {
  const dense = /\s/.test(value) ? value.replaceAll(/\s+/g, '') : value;
  return dense.length > 0 && dense.length % 4 === 0 && base64Alphabet.test(dense);
}
