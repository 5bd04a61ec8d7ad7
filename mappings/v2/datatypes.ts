import { applyRules, OriginalCode } from '../engine/apply.ts';
import { compact, type Element } from '../engine/elements.ts';
import type { V2Context, V2Rule } from './context.ts';
import { convert } from './convert.ts';
import { parseTime, toDateTime } from './datetime.ts';
import type { V2Part } from './message.ts';
import { codeSystemOf, systemOf, type Authority } from './systems.ts';
import { tables, type TableName } from './tables/index.ts';
import { translate } from './tables/table.ts';

/** XPN → HumanName (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-datatype-xpn-to-humanname.html). */
export const humanName: readonly V2Rule[] = [
  { from: 'XPN.1', to: 'family', as: 'string' },
  { from: 'XPN.2', to: 'given[]', as: 'string' },
  { from: 'XPN.3', to: 'given[]', as: 'string' },
  { from: 'XPN.4', to: 'suffix[]', as: 'string' },
  { from: 'XPN.5', to: 'prefix[]', as: 'string' },
  { from: 'XPN.6', to: 'suffix[]', as: 'string' },
  { from: 'XPN.7', to: 'use', as: 'code', table: 'NameType' },
  { from: 'XPN.12', to: 'period.start', as: 'dateTime' },
  { from: 'XPN.13', to: 'period.end', as: 'dateTime' },
  { from: 'XPN.14', to: 'suffix[]', as: 'string' },
];

/** XCN carries the same name two components later in parts: XCN.2 is the family name. */
export const personName: readonly V2Rule[] = [
  { from: 'XCN.2', to: 'family', as: 'string' },
  { from: 'XCN.3', to: 'given[]', as: 'string' },
  { from: 'XCN.4', to: 'given[]', as: 'string' },
  { from: 'XCN.5', to: 'suffix[]', as: 'string' },
  { from: 'XCN.6', to: 'prefix[]', as: 'string' },
  { from: 'XCN.7', to: 'suffix[]', as: 'string' },
];

/** XAD → Address, but for its lines and XAD.7, which decides two elements. */
const address: readonly V2Rule[] = [
  { from: 'XAD.3', to: 'city', as: 'string' },
  { from: 'XAD.4', to: 'state', as: 'string' },
  { from: 'XAD.5', to: 'postalCode', as: 'string' },
  { from: 'XAD.6', to: 'country', as: 'string' },
  { from: 'XAD.9', to: 'district', as: 'string' },
  { from: 'XAD.13', to: 'period.start', as: 'dateTime' },
  { from: 'XAD.14', to: 'period.end', as: 'dateTime' },
];

/** Components by the positions that the rules above name, such as 5 by `XPN.5`. */
const components = new Map([...humanName, ...personName, ...address].map(({ from }) => [from, Number(from.slice(from.indexOf('.') + 1))]));
const componentOf = (position: string): number => components.get(position) ?? 0;

/** Applies the rules of a data type to one value. @returns undefined when nothing came of it */
export function fromRules(rules: readonly V2Rule[], part: V2Part, context: V2Context, path: string): Element | undefined {
  const target = { element: {} as Element, clear: new Set<string>() };
  const read = (position: string): V2Part[] => {
    const one = part.at(componentOf(position));
    return one.isEmpty || one.isNull ? [] : [one];
  };
  applyRules(rules, { read }, {
    convert: (value, rule) => convert(value, context, `${path}.${componentOf(rule.from)}`, rule),
    dropped: () => context.usage.drop(path),
  }, target);
  return compact(target.element) as Element | undefined;
}

export function addressOf(part: V2Part, context: V2Context, path: string): Element | undefined {
  const rest = fromRules(address, part, context, path) ?? {};
  const street = [1, 2, 3].map((n) => part.at(1).at(n).text).filter((text) => text !== '').join(' ');
  const line = [street, part.at(2).text, part.at(19).text].filter((text) => text !== '');
  if (line.length === 0 && Object.keys(rest).length === 0) return undefined;
  const sent = part.at(7).text;
  const use = translate(tables.AddressUse, sent)?.code;
  const type = translate(tables.AddressType, sent)?.code;
  if (sent !== '' && use === undefined && type === undefined) context.untranslated(`${path}.7`, 'AddressUse');
  return { ...(use === undefined ? {} : { use }), ...(type === undefined ? {} : { type }), ...(line.length === 0 ? {} : { line }), ...rest };
}

/** XTN → ContactPoint. Numbers come in three forms (XTN.12 whole, XTN.5 to 8 in parts, XTN.1 as always before v2.7); the most exact wins. */
export function contactPointOf(part: V2Part, context: V2Context, path: string): Element | undefined {
  const [country, area, local, extension] = [5, 6, 7, 8].map((n) => part.at(n).text);
  const inParts = local === '' ? '' : [country === '' ? '' : `+${(country ?? '').replace(/^\+/, '')}`, area, local, extension === '' ? '' : `X${extension ?? ''}`].filter((text) => text !== '').join(' ');
  const equipment = part.at(3).text;
  const electronic = part.at(4).text;
  const [use, system] = [part.at(2).text, translate(tables.TelecommunicationEquipmentType, equipment)?.code];
  const number = part.at(12).text || inParts || part.at(1).text;
  const value = (system === 'email' || number === '' ? electronic || number : number).trim();
  if (value === '') return undefined;
  const kind = /^[^\s@]+@[^\s@]+$/.test(value) ? 'email' : (system ?? 'phone');
  if (equipment !== '' && system === undefined) context.untranslated(`${path}.3`, 'TelecommunicationEquipmentType');
  const mapped = equipment === 'CP' ? 'mobile' : translate(tables.TelecommunicationUseCode, use)?.code;
  // Not uses of a person's number but kinds of equipment or service; the system says what there is to say.
  if (use !== '' && mapped === undefined && !/^(?:NET|BPN|ASN|EMR)$/.test(use)) context.untranslated(`${path}.2`, 'TelecommunicationUseCode');
  return { system: kind === 'phone' && use === 'BPN' ? 'pager' : kind, value, ...(mapped === undefined ? {} : { use: mapped }) };
}

/** Three triplets of code, text and coding system; each with its version and OID where the type has them. */
const triplets = [[1, 2, 3, 7, 14], [4, 5, 6, 8, 17], [10, 11, 12, 13, 20]] as const;

const plainCode = (text: string): string => (text === '' ? '' : text.replace(/\s+/g, ' ').trim());

/**
 * CWE, CE, CNE, IS or ID → CodeableConcept. With a table the FHIR code comes first and the sent code stays beside it; a code
 * that the table lacks stays alone and is reported.
 */
export function codeableConceptOf(part: V2Part, context: V2Context, path: string, tableName?: TableName): Element | undefined {
  const coding: Element[] = [];
  const table = tableName === undefined ? undefined : tables[tableName];
  for (const [code, text, name, version, oid] of triplets) {
    const sent = plainCode(part.at(code).text);
    if (sent === '') continue;
    const translation = code === 1 && table !== undefined ? translate(table, sent) : undefined;
    if (code === 1 && tableName !== undefined && translation === undefined) context.untranslated(path, tableName);
    // A code of an HL7 table needs no coding system in the message: the field implies it.
    const system = codeSystemOf(context.systems, part.at(name).text, part.at(oid).text) ?? (translation === undefined ? undefined : `http://terminology.hl7.org/CodeSystem/v2-${table?.number ?? ''}`);
    if (translation !== undefined) coding.push({ ...translation });
    if (translation?.system === system && translation?.code === sent) continue;
    coding.push({ system, version: system === undefined ? undefined : part.at(version).text, code: sent, display: part.at(text).text });
  }
  const text = part.at(9).text || part.at(2).text || part.at(5).text || part.at(1).text;
  return compact({ coding, text }) as Element | undefined;
}

/** The code alone, for elements of FHIR type code: only a code of the table will do, else the original goes into an extension. */
export function codeOf(part: V2Part, context: V2Context, path: string, tableName: TableName): string | OriginalCode | undefined {
  const sent = plainCode(part.at(1).text);
  const translation = sent === '' ? undefined : translate(tables[tableName], sent);
  if (translation !== undefined) return translation.code;
  if (sent === '') return undefined;
  context.untranslated(path, tableName);
  return new OriginalCode({ url: 'http://hl7.org/fhir/StructureDefinition/alternate-codes', valueCodeableConcept: codeableConceptOf(part, context, path) });
}

/** The parts of an EI that name its authority, seen as an HD. */
export const authorityOfEi = (part: V2Part): Authority => ({ at: (position) => part.at(position + 1) });

export function identifierOf(value: string, system: string, type: string, more: Element = {}): Element | undefined {
  const code = plainCode(type);
  if (value === '') return undefined;
  return { ...(code === '' ? {} : { type: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0203', code }] } }), system, value, ...more };
}

/**
 * CX → Identifier.
 * @param kind what is counted, for numbers without authority
 * @param type the type where CX.5 gives none
 */
export function identifierOfCx(part: V2Part, context: V2Context, kind: string, type = ''): Element | undefined {
  const code = plainCode(part.at(5).text) || type;
  const period = compact({ start: dateTimeOf(part.at(7), context), end: dateTimeOf(part.at(8), context) });
  const assigner = part.at(4).at(1).text;
  return identifierOf(part.at(1).text, systemOf(context.systems, part.at(4), kind, code), code, { ...(period === undefined ? {} : { period }), ...(assigner === '' ? {} : { assigner: { display: assigner } }) });
}

/** EI → Identifier of a given type, such as PLAC. */
export function identifierOfEi(part: V2Part, context: V2Context, type: string): Element | undefined {
  return identifierOf(part.at(1).text, systemOf(context.systems, authorityOfEi(part), type, part.at(2).isEmpty && part.at(3).isEmpty ? type : ''), type);
}

export function dateTimeOf(part: V2Part, context: V2Context): string | undefined {
  const time = parseTime(part.at(1).text, context.zone);
  return time === undefined ? undefined : toDateTime(time);
}

/** A number as HL7v2 writes it (NM), or undefined. */
export function numberOf(text: string): number | undefined {
  return /^[+-]?(?:\d{1,15}\.?\d{0,15}|\.\d{1,15})$/.test(text.trim()) && /\d/.test(text) ? Number(text) : undefined;
}

/** A value with its unit (CE or CWE). The unit is a UCUM code only when the message says so. */
export function quantityOf(value: number | undefined, unit: V2Part | undefined, context: V2Context): Element | undefined {
  if (value === undefined) return undefined;
  const [code, name] = [plainCode(unit?.at(1).text ?? ''), unit?.at(2).text ?? ''];
  if (code === '' && name === '') return { value };
  const system = codeSystemOf(context.systems, unit?.at(3).text ?? '', unit?.at(14).text ?? '');
  return { value, unit: name || code, ...(system === undefined || code === '' ? {} : { system, code }) };
}
