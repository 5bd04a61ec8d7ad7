import { ScriptError } from './error.ts';
import { parseXml, type ScriptNode } from './xml.ts';

/** One end of a message: Header/To or Header/From. */
export interface Party {
  readonly qualifier: string;
  readonly value: string;
}

/** What an answer needs of the message that it answers. */
export interface ScriptHeader {
  readonly to: Party;
  readonly from: Party;
  readonly messageId: string;
  /** The message's own namespace, echoed. */
  readonly namespace: string;
  /** Version attributes of the root, echoed. */
  readonly versions: Readonly<Record<string, string>>;
}

/** A message, read but not mapped. */
export interface ScriptMessage {
  readonly header: ScriptHeader;
  /** Name of the body's element, such as `NewRx`. */
  readonly type: string;
  readonly headerNode: ScriptNode;
  readonly bodyNode: ScriptNode;
}

/** Namespaces in use: the standard's own, and the network's that carried version 10.6; some senders write none. */
export const namespaces: readonly string[] = ['', 'http://www.ncpdp.org/schema/SCRIPT', 'http://www.surescripts.com/messaging', 'http://www.ncpdp.org/schema/transport'];
const versionAttributes = ['DatatypesVersion', 'TransportVersion', 'TransactionDomain', 'TransactionVersion', 'StructuresVersion', 'ECLVersion', 'version', 'release'];
const versionText = /^[\w.-]{1,32}$/;
/** Printable, on one line: it is echoed, and names the message in the audit trail. */
const idText = /^[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?$/;

/**
 * Reads a message as far as it must be understood to be answered.
 * @throws ScriptError
 */
export function readScript(bytes: Buffer): ScriptMessage {
  const root = parseXml(bytes);
  if (root.name !== 'Message') throw new ScriptError('syntax', 'The root element is not Message.');
  if (!namespaces.includes(root.namespace)) throw new ScriptError('unsupported', 'The namespace of the message is not one of SCRIPT.');
  const headerNode = only(root, 'Header', 'Header');
  const body = only(root, 'Body', 'Body');
  const from = party(headerNode, 'From');
  const to = party(headerNode, 'To');
  const messageId = textOf(headerNode, 'MessageID');
  if (from === undefined) throw new ScriptError('content', 'A required element is missing.', { path: 'Header/From' });
  if (to === undefined) throw new ScriptError('content', 'A required element is missing.', { path: 'Header/To' });
  if (messageId === '') throw new ScriptError('content', 'A required element is missing.', { path: 'Header/MessageID' });
  if (!idText.test(messageId) || !idText.test(from.value) || !idText.test(to.value)) throw new ScriptError('content', 'An identifier of the header is too long or not printable.', { path: 'Header' });
  const bodyNode = body.children[0];
  if (bodyNode === undefined || body.children.length > 1) throw new ScriptError('content', 'The body must hold exactly one transaction.', { path: 'Body' });
  const versions = Object.fromEntries(versionAttributes.flatMap((name) => {
    const value = root.attributes[name];
    return value !== undefined && versionText.test(value) ? [[name, value]] : [];
  }));
  return { header: { to, from, messageId, namespace: root.namespace, versions }, type: bodyNode.name, headerNode, bodyNode: withQualifiers(bodyNode) };
}

/**
 * The header of a message that cannot be read whole (broken, or only its beginning is there), so that the answer can
 * still name it. Only what is plainly an identifier is taken.
 */
export function peekHeader(bytes: Buffer): Pick<ScriptHeader, 'messageId'> & Partial<Pick<ScriptHeader, 'to' | 'from'>> {
  const text = bytes.subarray(0, 4096).toString('latin1');
  const find = (name: string): Party | undefined => {
    const match = new RegExp(`<(?:\\w{1,20}:)?${name}(?:\\s+Qualifier="(\\w{1,8})")?\\s*>\\s*([\\w.:@-]{1,128})\\s*</`).exec(text);
    return match === null ? undefined : { qualifier: match[1] ?? '', value: match[2] ?? '' };
  };
  const [to, from] = [find('To'), find('From')];
  return { messageId: find('MessageID')?.value ?? '', ...(to === undefined ? {} : { to }), ...(from === undefined ? {} : { from }) };
}

function party(header: ScriptNode, name: string): Party | undefined {
  const node = header.children.find((child) => child.name === name);
  if (node === undefined || node.text === '') return undefined;
  const qualifier = node.attributes.Qualifier ?? '';
  return { qualifier: /^\w{1,8}$/.test(qualifier) ? qualifier : '', value: node.text };
}

function only(parent: ScriptNode, name: string, path: string): ScriptNode {
  const found = parent.children.filter((child) => child.name === name);
  if (found.length !== 1 || found[0] === undefined) throw new ScriptError('content', 'A required element is missing or repeated.', { path });
  return found[0];
}

function textOf(parent: ScriptNode, name: string): string {
  return parent.children.find((child) => child.name === name)?.text ?? '';
}

/** Version 10.6 writes `ProductCode` and `ProductCodeQualifier` side by side; here the qualifier becomes an attribute of what it qualifies. */
function withQualifiers(node: ScriptNode): ScriptNode {
  const qualifiers = new Map(node.children.filter(({ name, text }) => name.length > 9 && name.endsWith('Qualifier') && text !== '').map(({ name, text }) => [name.slice(0, -9), text]));
  const names = new Set(node.children.map(({ name }) => name).filter((name) => qualifiers.has(name)));
  const children = node.children.filter(({ name }) => !(name.endsWith('Qualifier') && names.has(name.slice(0, -9)))).map((child) => {
    const qualifier = qualifiers.get(child.name);
    const inner = withQualifiers(child);
    return qualifier === undefined ? inner : { ...inner, attributes: { ...inner.attributes, Qualifier: qualifier } };
  });
  return { ...node, children };
}
