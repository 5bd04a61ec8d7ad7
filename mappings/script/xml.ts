import { isUtf8 } from 'node:buffer';
import { ParseOption, XmlCData, XmlDocument, XmlElement, XmlEntityReference, XmlText } from 'libxml2-wasm';
import { ScriptError } from './error.ts';

/** An element as plain data: nothing of the parser's memory is kept. */
export interface ScriptNode {
  /** Local name. */
  readonly name: string;
  readonly namespace: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** Text directly within, trimmed. */
  readonly text: string;
  readonly children: readonly ScriptNode[];
}

/** Bounds on one document. The largest real messages have a few hundred elements, 12 deep. */
const limits = { elements: 20_000, depth: 64, attributes: 32, textCharacters: 20_000 } as const;
const xincludeNamespace = 'http://www.w3.org/2001/XInclude';

/**
 * Reads XML without anything that reaches beyond the document: no document type (so no entities, XXE or expansion), no
 * XInclude, no network, bounded size and depth.
 * @throws ScriptError `syntax`; its text says what, never the content
 */
export function parseXml(bytes: Buffer): ScriptNode {
  if (bytes.length === 0) throw new ScriptError('syntax', 'The message is empty.');
  refuseDoctype(bytes);
  let document: XmlDocument;
  try {
    document = XmlDocument.fromBuffer(bytes, {
      option: ParseOption.XML_PARSE_NONET | ParseOption.XML_PARSE_NO_XXE | ParseOption.XML_PARSE_NO_SYS_CATALOG | ParseOption.XML_PARSE_NOERROR | ParseOption.XML_PARSE_NOWARNING,
    });
  } catch (cause) {
    // The parser's own text may quote the document.
    const line = lineOf(cause);
    throw new ScriptError('syntax', `The message is not well-formed XML${line === undefined ? '' : ` (line ${line})`}.`);
  }
  try {
    if (document.dtd !== null) throw doctypeRefused();
    return read(document.root, 1, { elements: 0 });
  } finally {
    document.dispose();
  }
}

/** Refused before parsing, in every encoding that the parser knows; what slips through is refused after it. */
function refuseDoctype(bytes: Buffer): void {
  const isWide = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff) || bytes.subarray(0, 4).includes(0);
  const text = bytes.toString('latin1');
  if (/<!DOCTYPE/i.test(isWide ? text.replaceAll('\0', '') : text)) throw doctypeRefused();
  const declared = /^(?:\xef\xbb\xbf)?<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.-]{1,40})["']/.exec(text)?.[1]?.toUpperCase();
  if (!isWide && (declared === undefined || declared === 'UTF-8') && !isUtf8(bytes)) throw new ScriptError('syntax', 'The message is not in the encoding that it declares.');
}

function doctypeRefused(): ScriptError {
  return new ScriptError('syntax', 'A document type declaration is not accepted.');
}

function lineOf(error: unknown): number | undefined {
  const details: unknown = typeof error === 'object' && error !== null && 'details' in error ? error.details : undefined;
  const first: unknown = Array.isArray(details) ? details[0] : undefined;
  return typeof first === 'object' && first !== null && 'line' in first && typeof first.line === 'number' ? first.line : undefined;
}

function read(element: XmlElement, depth: number, seen: { elements: number }): ScriptNode {
  seen.elements += 1;
  if (seen.elements > limits.elements || depth > limits.depth) throw new ScriptError('syntax', 'The message has more elements or levels than this channel accepts.');
  const namespace = element.namespaceUri;
  if (namespace === xincludeNamespace) throw new ScriptError('syntax', 'Inclusion of other documents is not accepted.');
  const attrs = element.attrs;
  if (attrs.length > limits.attributes) throw new ScriptError('syntax', 'An element has more attributes than this channel accepts.');
  const attributes: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const attr of attrs) attributes[attr.name] = bounded(attr.value);
  const children: ScriptNode[] = [];
  let text = '';
  for (let node = element.firstChild; node !== null; node = node.next) {
    if (node instanceof XmlElement) children.push(read(node, depth + 1, seen));
    else if (node instanceof XmlText || node instanceof XmlCData) text = bounded(text + node.content);
    else if (node instanceof XmlEntityReference) throw new ScriptError('syntax', 'The message refers to an entity that XML does not predefine.');
  }
  return { name: element.name, namespace, attributes, text: text.trim(), children };
}

function bounded(text: string): string {
  if (text.length > limits.textCharacters) throw new ScriptError('syntax', 'An element or attribute is longer than this channel accepts.');
  return text;
}
