import { isUtf8 } from 'node:buffer';
import { ParseOption, XmlCData, XmlComment, XmlDocument, XmlElement, XmlText, type XmlTreeNode } from 'libxml2-wasm';
import { isResourceType } from '../definitions/index.ts';
import { InterlockError } from '../outcome/error.ts';
import { nodeOf, type Node, type Property } from '../validate/nodes.ts';
import { isAttribute, namespaces } from './write.ts';

/** Attributes such as xsi:schemaLocation say nothing about the resource. */
const schemaInstance = 'http://www.w3.org/2001/XMLSchema-instance';
const safe = (ParseOption.XML_PARSE_NO_XXE | ParseOption.XML_PARSE_NONET | ParseOption.XML_PARSE_NO_SYS_CATALOG | ParseOption.XML_PARSE_IGNORE_ENC) as ParseOption;
const jsonNumber = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;
const numberTypes: ReadonlySet<string> = new Set(['decimal', 'integer', 'positiveInt', 'unsignedInt']);

/**
 * FHIR XML as FHIR JSON (https://hl7.org/fhir/R4/xml.html), numbers digit for digit, properties in the order of the definitions.
 * Element order in the document is not insisted on. Declarations of types or entities are refused, so that nothing is expanded or
 * fetched; values are checked later, as those of any JSON.
 *
 * @throws InterlockError `structure-invalid`; its expression is made of defined names and indexes, and nothing of the content is repeated
 */
export function fromXml(bytes: Uint8Array): Buffer {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!isUtf8(buffer) || buffer.includes(0)) throw fault('It is not UTF-8.');
  if (buffer.includes('<!DOCTYPE')) throw fault('A document type declaration is not permitted.');
  let document: XmlDocument;
  try {
    document = XmlDocument.fromBuffer(buffer, { option: safe });
  } catch {
    // The parser's message quotes the text, so it is not even kept as the cause.
    throw fault('It is not well-formed XML.');
  }
  try {
    return Buffer.from(resource(document.root, undefined));
  } finally {
    document.dispose();
  }
}

/** @param path where the resource stands, undefined for the outermost */
function resource(element: XmlElement, path: string | undefined): string {
  const { name } = element;
  if (element.namespaceUri !== namespaces.fhir || !isResourceType(name)) throw fault('It is not a resource of a type that FHIR R4 has.', path);
  const at = path ?? name;
  attributesOf(element, [], at);
  const members = membersOf(element, nodeOf(name), at);
  return `{${[`"resourceType":"${name}"`, ...members].join(',')}}`;
}

/** JSON members of an element's attributes and children, `value` of a primitive left out. */
function membersOf(element: XmlElement, node: Node, path: string, more: readonly string[] = []): string[] {
  const found = new Map<string, XmlElement[]>();
  for (const child of childrenOf(element, path)) {
    const { name } = child;
    const property = node.properties.get(name);
    const namespace = property?.type === 'xhtml' ? namespaces.xhtml : namespaces.fhir;
    if (property === undefined || property.companion || isAttribute(node, name) || child.namespaceUri !== namespace) throw fault('It has an element that is not defined here.', path);
    const list = found.get(name);
    if (list === undefined) found.set(name, [child]);
    else if (property.repeats) list.push(child);
    else throw fault('An element that cannot repeat does.', `${path}.${property.element}`);
  }
  const members: string[] = [];
  if (!node.isResource) {
    const names = [...node.properties.keys()].filter((name) => isAttribute(node, name));
    for (const [name, value] of attributesOf(element, [...names, ...more], path)) if (!more.includes(name)) members.push(`"${name}":${JSON.stringify(value)}`);
  }
  for (const [name, property] of node.properties) {
    const elements = found.get(name);
    if (elements !== undefined) members.push(...propertyOf(name, property, elements, `${path}.${property.element}`));
  }
  return members;
}

function propertyOf(name: string, property: Property, elements: readonly XmlElement[], path: string): string[] {
  const { kind, type, repeats } = property;
  const at = (index: number) => (repeats ? `${path}[${index}]` : path);
  const asJson = (items: readonly string[]) => (repeats ? `[${items.join(',')}]` : items[0]!);
  if (type === 'xhtml') return [`"${name}":${JSON.stringify(xhtml(elements[0]!, ` xmlns="${namespaces.xhtml}"`, path))}`];
  if (kind === 'resource') return [`"${name}":${asJson(elements.map((element, index) => onlyResource(element, at(index))))}`];
  if (kind === 'node') return [`"${name}":${asJson(elements.map((element, index) => `{${membersOf(element, nodeOf(type), at(index)).join(',')}}`))}`];
  const values: string[] = [];
  const companions: string[] = [];
  for (const [index, element] of elements.entries()) {
    const beside = membersOf(element, nodeOf('Element'), at(index), ['value']);
    const value = element.attrs.find((attribute) => attribute.name === 'value' && attribute.namespaceUri === '')?.value;
    if (value === undefined && beside.length === 0) throw fault('It is an empty element (ele-1).', at(index));
    values.push(value === undefined ? 'null' : primitive(type, value));
    companions.push(beside.length === 0 ? 'null' : `{${beside.join(',')}}`);
  }
  const isUsed = (items: readonly string[]) => items.some((item) => item !== 'null');
  return [...(isUsed(values) ? [`"${name}":${asJson(values)}`] : []), ...(isUsed(companions) ? [`"_${name}":${asJson(companions)}`] : [])];
}

/** What is not written as its type wants stays a string, which validation refuses. */
function primitive(type: string, text: string): string {
  if (numberTypes.has(type) && jsonNumber.test(text)) return text;
  return type === 'boolean' && (text === 'true' || text === 'false') ? text : JSON.stringify(text);
}

function onlyResource(element: XmlElement, path: string): string {
  attributesOf(element, [], path);
  const [child, ...others] = childrenOf(element, path);
  if (child === undefined || others.length > 0) throw fault('It must hold one resource.', path);
  return resource(child, path);
}

/** Children but comments; FHIR has no text between elements, and the library no class for processing instructions. */
function childrenOf(element: XmlElement, path: string): XmlElement[] {
  const children: XmlElement[] = [];
  for (const child of nodesOf(element, path)) {
    if (child instanceof XmlElement) children.push(child);
    else if (child instanceof XmlCData || (child instanceof XmlText && child.content.trim() !== '')) throw fault('It has text where elements are expected.', path);
  }
  return children;
}

function nodesOf(element: XmlElement, path: string): XmlTreeNode[] {
  const nodes: XmlTreeNode[] = [];
  for (let node = element.firstChild as XmlTreeNode | null | undefined; node !== null; node = node.next) {
    if (node === undefined) throw fault('It has a processing instruction.', path);
    nodes.push(node);
  }
  return nodes;
}

function attributesOf(element: XmlElement, names: readonly string[], path: string): [string, string][] {
  return element.attrs
    .filter(({ namespaceUri }) => namespaceUri !== schemaInstance)
    .map(({ name, value, namespaceUri }) => {
      if (namespaceUri !== '' || !names.includes(name)) throw fault('It has an attribute that is not defined here.', path);
      return [name, value];
    });
}

const textEscapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const voidElements: ReadonlySet<string> = new Set(['br', 'col', 'hr', 'img']);

/** Narrative as it stands in JSON, without comments. What it may hold is checked later. */
function xhtml(element: XmlElement, namespace: string, path: string): string {
  if (element.namespaceUri !== namespaces.xhtml) throw fault('The narrative is not in the XHTML namespace.', path);
  const attributes = element.attrs.map(({ prefix, name, value }) => ` ${prefix === '' ? name : `${prefix}:${name}`}="${value.replace(/[&<>"]/g, (character) => textEscapes[character]!)}"`);
  let content = '';
  for (const child of nodesOf(element, path)) {
    if (child instanceof XmlElement) content += xhtml(child, '', path);
    else if ((child instanceof XmlText || child instanceof XmlCData) && !(child instanceof XmlComment)) content += child.content.replace(/[&<>]/g, (character) => textEscapes[character]!);
  }
  const { name } = element;
  return content === '' && voidElements.has(name) ? `<${name}${namespace}${attributes.join('')}/>` : `<${name}${namespace}${attributes.join('')}>${content}</${name}>`;
}

function fault(detail: string, expression?: string): InterlockError {
  return new InterlockError('structure-invalid', { detail, ...(expression === undefined ? {} : { expression }) });
}
