import { isResourceType } from '../definitions/index.ts';
import { narrativeFault } from '../validate/narrative.ts';
import { nodeOf, type Node, type Property } from '../validate/nodes.ts';

/** Namespaces of FHIR's elements and of narrative (https://hl7.org/fhir/R4/xml.html). */
export const namespaces = { fhir: 'http://hl7.org/fhir', xhtml: 'http://www.w3.org/1999/xhtml' } as const;

/** A number by its digits: 1.00 is not 1 (https://hl7.org/fhir/R4/datatypes.html#decimal). */
class Digits {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Json = Readonly<Record<string, unknown>>;

/**
 * A resource as FHIR XML (https://hl7.org/fhir/R4/xml.html): elements in the order of the definitions, numbers digit for digit.
 * Characters that XML cannot hold become U+FFFD.
 *
 * @param json bytes of a valid resource; what the definitions do not know is left out
 * @param pretty indents by two spaces, outside of narrative
 * @throws TypeError if it is no resource of R4
 */
export function toXml(json: Uint8Array, pretty = false): string {
  const resource: unknown = JSON.parse(Buffer.from(json.buffer, json.byteOffset, json.byteLength).toString(), keepDigits);
  const out = new Writer(pretty);
  out.resource(resource, ` xmlns="${namespaces.fhir}"`);
  return `<?xml version="1.0" encoding="UTF-8"?>${pretty ? '' : '\n'}${out.text}`.toWellFormed().replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd');
}

function keepDigits(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  return typeof value === 'number' ? new Digits(context?.source ?? String(value)) : value;
}

class Writer {
  // Pieces, joined once: a string that grows and is looked at costs time squared.
  readonly #pieces: string[] = [];
  readonly #pretty: boolean;
  #depth = 0;

  constructor(pretty: boolean) {
    this.#pretty = pretty;
  }

  get text(): string {
    return this.#pieces.join('');
  }

  resource(json: unknown, attributes = ''): void {
    if (!isRecord(json)) throw new TypeError('not a resource');
    const { resourceType } = json;
    if (typeof resourceType !== 'string' || !isResourceType(resourceType)) throw new TypeError('not a resource');
    this.#element(resourceType, attributes, () => this.#children(json, nodeOf(resourceType)));
  }

  #children(json: Json, node: Node): void {
    for (const [name, property] of node.properties) {
      if (property.companion || isAttribute(node, name)) continue;
      const values = itemsOf(json[name]);
      const companions = itemsOf(json[`_${name}`]);
      for (let index = 0; index < Math.max(values.length, companions.length); index += 1) this.#property(name, property, values[index], companions[index]);
    }
  }

  #property(name: string, { kind, type }: Property, value: unknown, companion: unknown): void {
    if (kind === 'resource') this.#element(name, '', () => this.resource(value));
    else if (type === 'xhtml') this.#raw(narrative(textOf(value)));
    else if (kind === 'primitive') {
      const beside = isRecord(companion) ? companion : {};
      const own = value === undefined || value === null ? '' : ` value="${escaped(textOf(value))}"`;
      if (own !== '' || isRecord(companion)) this.#node(name, beside, nodeOf('Element'), own);
    } else if (isRecord(value)) this.#node(name, value, nodeOf(type), '');
  }

  #node(name: string, json: Json, node: Node, more: string): void {
    const attributes = ['id', 'url'].flatMap((key) => (isAttribute(node, key) && typeof json[key] === 'string' ? [` ${key}="${escaped(json[key])}"`] : []));
    this.#element(name, attributes.join('') + more, () => this.#children(json, node));
  }

  #element(name: string, attributes: string, content: () => void): void {
    this.#raw(`<${name}${attributes}>`);
    const start = this.#pieces.length - 1;
    this.#depth += 1;
    content();
    this.#depth -= 1;
    if (this.#pieces.length === start + 1) this.#pieces[start] = `${this.#pieces[start]!.slice(0, -1)}/>`;
    else this.#raw(`</${name}>`);
  }

  #raw(text: string): void {
    this.#pieces.push(this.#pretty ? `\n${'  '.repeat(this.#depth)}${text}` : text);
  }
}

/** Ids of elements and the urls of extensions are attributes; ids of resources are elements. */
export function isAttribute(node: Node, name: string): boolean {
  return !node.isResource && (name === 'id' || (name === 'url' && node.name === 'Extension'));
}

function itemsOf(value: unknown): readonly unknown[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}

function textOf(value: unknown): string {
  return value instanceof Digits ? value.text : typeof value === 'string' ? value : JSON.stringify(value);
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Digits);
}

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\t': '&#9;', '\n': '&#10;', '\r': '&#13;' };

/** Text as an attribute's value that a parser gives back unchanged. */
function escaped(text: string): string {
  return text.replace(/[&<>"\t\n\r]/g, (character) => escapes[character]!);
}

/** The `div` of a narrative: well-formed XML already but for what only HTML knows. */
function narrative(div: string): string {
  if (narrativeFault(div) !== undefined) return `<div xmlns="${namespaces.xhtml}">${escaped(div)}</div>`;
  return div
    .trim()
    .replace(/<!--[\s\S]*?-->/g, '')
    .replaceAll('&nbsp;', '&#160;')
    .replace(/&(?!(?:amp|lt|gt|quot|apos);)(?:#(\d{1,7}|x[0-9a-fA-F]{1,6});)?/g, (whole: string, digits: string | undefined) => (digits === undefined ? '&amp;' : isCharacter(Number(digits.replace('x', '0x'))) ? whole : '&#xFFFD;'))
    .replaceAll(']]>', ']]&gt;');
}

/** XML 1.0, production 2. */
function isCharacter(code: number): boolean {
  return code === 9 || code === 10 || code === 13 || (code >= 0x20 && code <= 0xd7ff) || (code >= 0xe000 && code <= 0xfffd) || (code >= 0x10000 && code <= 0x10ffff);
}
