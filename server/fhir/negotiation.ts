/** The formats that resources are exchanged in. */
export type Format = 'json' | 'xml';

/** Media types of answers (https://hl7.org/fhir/R4/http.html#mime-type). */
export const mediaTypes: Readonly<Record<Format, string>> = {
  json: 'application/fhir+json; charset=utf-8',
  xml: 'application/fhir+xml; charset=utf-8',
};

/** Every name of a format; those of older releases and the short ones of `_format` too. */
const formats: ReadonlyMap<string, Format> = new Map<string, Format>([
  ...['application/fhir+json', 'application/json', 'application/json+fhir', 'text/json'].map((name) => [name, 'json'] as const),
  ...['application/fhir+xml', 'application/xml', 'application/xml+fhir', 'text/xml'].map((name) => [name, 'xml'] as const),
]);
const shortNames: ReadonlyMap<string, Format> = new Map([['json', 'json'], ['xml', 'xml']]);

interface MediaRange {
  readonly name: string;
  /** Names in lower case, quotes off. */
  readonly parameters: ReadonlyMap<string, string>;
}

/**
 * The format of an answer: `_format` if given, else the best that Accept permits, JSON where both are as good
 * (https://hl7.org/fhir/R4/http.html#parameters, RFC 9110 section 12.5.1).
 * @returns undefined if none is acceptable
 */
export function formatOf(asked: { readonly format?: string | undefined; readonly accept?: string | undefined }): Format | undefined {
  if (asked.format !== undefined && asked.format !== '') {
    // In a query, the plus of a media type arrives as a space.
    const { name, parameters } = parse(asked.format.trim().replace(' ', '+'));
    return isR4(parameters) ? (shortNames.get(name) ?? formats.get(name)) : undefined;
  }
  const ranges = (asked.accept ?? '*/*').split(',').filter((text) => text.trim() !== '').map(parse);
  if (ranges.length === 0) return 'json';
  const [json, xml] = [quality(ranges, 'json'), quality(ranges, 'xml')];
  return json === 0 && xml === 0 ? undefined : xml > json ? 'xml' : 'json';
}

/** The format of a body by its Content-Type; undefined if it is none of FHIR R4's. */
export function bodyFormatOf(contentType: string | undefined): Format | undefined {
  const { name, parameters } = parse(contentType ?? '');
  const charset = parameters.get('charset')?.toLowerCase() ?? 'utf-8';
  return isR4(parameters) && (charset === 'utf-8' || charset === 'utf8') ? formats.get(name) : undefined;
}

/** True if an Accept header names FHIR's own types or anything at all: of a Binary, the resource is meant then. */
export function acceptsFhir(accept: string | undefined): boolean {
  const ranges = (accept ?? '*/*').split(',').map(parse);
  return ranges.some(({ name, parameters }) => weight(parameters) > 0 && (name === '*/*' || name === 'application/*' || name === 'application/json' || name.startsWith('application/fhir+')));
}

/** The most specific range that fits decides (RFC 9110, section 12.5.1). */
function quality(ranges: readonly MediaRange[], format: Format): number {
  let best = { specificity: 0, q: 0 };
  for (const { name, parameters } of ranges) {
    const specificity = formats.get(name) === format ? 3 : name === 'application/*' || name === 'text/*' ? 2 : name === '*/*' || name === '*' ? 1 : 0;
    if (specificity === 0 || !isR4(parameters)) continue;
    const q = weight(parameters);
    if (specificity > best.specificity || (specificity === best.specificity && q > best.q)) best = { specificity, q };
  }
  return best.q;
}

function weight(parameters: ReadonlyMap<string, string>): number {
  const q = Number(parameters.get('q') ?? '1');
  return Number.isNaN(q) ? 0 : Math.min(Math.max(q, 0), 1);
}

/** FHIR's version parameter (https://hl7.org/fhir/R4/http.html#version-parameter). */
function isR4(parameters: ReadonlyMap<string, string>): boolean {
  const version = parameters.get('fhirversion');
  return version === undefined || version === '4.0';
}

function parse(text: string): MediaRange {
  const [name = '', ...rest] = text.split(';').map((part) => part.trim());
  const parameters = rest.flatMap((part): [string, string][] => {
    const [key = '', value] = part.split('=', 2);
    return value === undefined ? [] : [[key.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/, '$1')]];
  });
  return { name: name.toLowerCase(), parameters: new Map(parameters) };
}
