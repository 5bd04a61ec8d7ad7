import { namespaces, type Party, type ScriptHeader } from './message.ts';

/** What the sender is told. */
export type ScriptVerdict =
  | { readonly kind: 'status'; readonly code: '000' | '010' }
  | { readonly kind: 'error'; readonly code: '600' | '601' | '602' | '900'; readonly descriptionCode: string; readonly description: string };

export interface ScriptAnswerOptions {
  /** Header of the message answered, as far as it could be read. */
  readonly request: Partial<ScriptHeader> & { readonly messageId: string };
  readonly verdict: ScriptVerdict;
  /** The answer's own id. */
  readonly messageId: string;
  readonly nowMs: number;
  readonly softwareVersion: string;
}

const nobody: Party = { qualifier: 'ZZZ', value: 'UNKNOWN' };
const ourselves: Party = { qualifier: 'ZZZ', value: 'INTERLOCK' };
const currentVersions = { DatatypesVersion: '2017071', TransportVersion: '2017071', TransactionDomain: 'SCRIPT', TransactionVersion: '2017071', StructuresVersion: '2017071', ECLVersion: '2017071' };

/** Writes a Status or Error: sender and receiver change places, RelatesToMessageID names the message answered. */
export function buildScriptAnswer({ request, verdict, messageId, nowMs, softwareVersion }: ScriptAnswerOptions): string {
  const namespace = request.namespace !== undefined && namespaces.includes(request.namespace) ? request.namespace : '';
  const versions = request.versions !== undefined && Object.keys(request.versions).length > 0 ? request.versions : currentVersions;
  const attributes = [...(namespace === '' ? [] : [['xmlns', namespace]]), ...Object.entries(versions)].map(([name = '', value = '']) => ` ${name}="${escaped(value)}"`).join('');
  const body = verdict.kind === 'status'
    ? element('Status', element('Code', escaped(verdict.code)))
    : element('Error', element('Code', escaped(verdict.code)), element('DescriptionCode', escaped(verdict.descriptionCode)), element('Description', escaped(verdict.description)));
  const header = element('Header',
    party('To', request.from ?? nobody), party('From', request.to ?? ourselves),
    element('MessageID', escaped(messageId)), request.messageId === '' ? '' : element('RelatesToMessageID', escaped(request.messageId)),
    element('SentTime', escaped(new Date(nowMs).toISOString())),
    element('SenderSoftware', element('SenderSoftwareDeveloper', 'Interlock'), element('SenderSoftwareProduct', 'Interlock'), element('SenderSoftwareVersionRelease', escaped(softwareVersion))));
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Message${attributes}>${header}${element('Body', body)}</Message>\n`;
}

function party(name: string, { qualifier, value }: Party): string {
  return `<${name}${qualifier === '' ? '' : ` Qualifier="${escaped(qualifier)}"`}>${escaped(value)}</${name}>`;
}

function element(name: string, ...content: readonly string[]): string {
  return `<${name}>${content.join('')}</${name}>`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
