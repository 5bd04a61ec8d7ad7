import { createHash } from 'node:crypto';
import { applyRules } from '../engine/apply.ts';
import type { Element } from '../engine/elements.ts';
import type { Plan } from '../engine/plan.ts';
import { Planner, referenceTo, type BusinessIdentifier } from '../engine/planner.ts';
import { parseTime } from '../v2/datetime.ts';
import { convertScript, type ConversionContext } from './convert.ts';
import { ScriptError } from './error.ts';
import type { ScriptMessage } from './message.ts';
import { medicationRules, patientRules, pharmacyRules, practitionerRules, required, type ScriptRule } from './rules.ts';
import { ScriptScope, ScriptUsage } from './source.ts';
import { identifierSystems, senderSystem } from './systems.ts';

/** What a channel's configuration says. */
export interface ScriptOptions {
  /** IANA zone of times that carry none. */
  readonly zone: string;
  readonly channelId: string;
}

interface Mapping extends ConversionContext {
  readonly message: ScriptMessage;
  readonly body: ScriptScope;
  readonly planner: Planner;
  /** How the sender numbers the prescription; undefined if it does not. */
  readonly orderNumber: BusinessIdentifier | undefined;
}

/**
 * Maps a message to what it asks of the record. Pure: the same message and options give the same plan.
 * @throws ScriptError
 */
export function mapScript(message: ScriptMessage, options: ScriptOptions): Plan {
  const { type } = message;
  if (type !== 'NewRx' && type !== 'CancelRx') throw new ScriptError('unsupported', 'This channel takes NewRx and CancelRx.', { path: 'Body' });
  const usage = new ScriptUsage();
  const untranslated = new Map<string, { path: string; table: string }>();
  const mapping: Mapping = {
    ...options, message, usage, planner: new Planner(), body: new ScriptScope(message.bodyNode, usage), orderNumber: orderNumberOf(message, options.channelId),
    untranslated: (path, table) => void untranslated.set(`${path} ${table}`, { path, table }),
  };
  for (const paths of required[type]) if (mapping.body.text(...paths) === '') throw new ScriptError('content', 'A required element is missing.', { path: `Body/${type}/${paths[0] ?? ''}` });
  const sent = new ScriptScope(message.headerNode, usage).text('SentTime');
  const sentAt = sent === '' ? undefined : parseTime(sent, options.zone);
  if (sent !== '' && sentAt?.time === undefined) throw new ScriptError('content', 'A value is not in the form that its element asks for.', { path: 'Header/SentTime' });
  try {
    if (type === 'NewRx') planNewRx(mapping);
    else planCancelRx(mapping);
  } catch (error) {
    // A rule's path is relative to the part that it maps.
    if (error instanceof ScriptError && error.path !== undefined && !error.path.startsWith('Body')) throw new ScriptError(error.fault, error.message, { path: `Body/${type}/…/${error.path}` });
    throw error;
  }
  return mapping.planner.finish({
    messageType: type,
    ...(sentAt === undefined ? {} : { eventAtMs: sentAt.epochMs }),
    unmapped: type === 'NewRx' ? usage.unmapped(message.bodyNode) : [],
    untranslated: [...untranslated.values()],
  });
}

/**
 * What a message must stay in order with: its prescription, by the sender's order number and by the message that first
 * told of it, which a cancel may name instead.
 */
export function orderingKeysOf(message: ScriptMessage, channelId: string): string[] {
  const order = orderNumberOf(message, channelId);
  const related = new ScriptScope(message.headerNode, new ScriptUsage()).text('RelatesToMessageID');
  const system = senderSystem(channelId, message.header, 'message');
  return [...(order === undefined ? [] : [`${order.system}|${order.value}`]), ...[message.header.messageId, related].filter((id) => id !== '').map((id) => `${system}|${id}`)];
}

function orderNumberOf(message: ScriptMessage, channelId: string): BusinessIdentifier | undefined {
  const value = new ScriptScope(message.headerNode, new ScriptUsage()).text('PrescriberOrderNumber');
  return value === '' ? undefined : { system: senderSystem(channelId, message.header, 'order'), value };
}

function messageIdentifier({ message, channelId }: Mapping, messageId: string): BusinessIdentifier {
  return { system: senderSystem(channelId, message.header, 'message'), value: messageId };
}

function draft(resourceType: string, rules: readonly ScriptRule[], scope: ScriptScope | undefined, mapping: Mapping): Element & { resourceType: string } {
  const element: Element & { resourceType: string } = { resourceType };
  if (scope === undefined) return element;
  const conversion = { convert: (value: Parameters<typeof convertScript>[0], rule: ScriptRule): unknown => convertScript(value, rule, mapping), dropped: () => undefined };
  applyRules(rules, scope, conversion, { element, clear: new Set() });
  return element;
}

function planNewRx(mapping: Mapping): void {
  const { planner, body, message, orderNumber } = mapping;
  const messageMark = messageIdentifier(mapping, message.header.messageId);
  const resource = draft('MedicationRequest', medicationRules, body.at('MedicationPrescribed'), mapping);
  const pharmacy = planPharmacy(mapping);
  planner.add('medicationRequest', {
    resource: {
      ...resource,
      identifier: [
        ...(orderNumber === undefined ? [] : [{ type: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0203', code: 'PLAC', display: 'Placer Identifier' }] }, ...orderNumber }]),
        messageMark,
      ],
      status: 'active', intent: 'order',
      subject: planPatient(mapping, orderNumber ?? messageMark),
      requester: planPrescriber(mapping),
      ...(pharmacy === undefined ? {} : { dispenseRequest: { ...(resource.dispenseRequest as Element | undefined), performer: pharmacy } }),
    },
    // Message ids recycle, so one finds the prescription only where the sender does not number its orders.
    match: [orderNumber ?? messageMark],
  });
}

/** Who cancels says which prescription by the order number, or by the message that brought it. What is not on record is not invented. */
function planCancelRx(mapping: Mapping): void {
  const { planner, body, message, orderNumber, usage } = mapping;
  const related = new ScriptScope(message.headerNode, usage).text('RelatesToMessageID');
  const match = [...(orderNumber === undefined ? [] : [orderNumber]), ...(related === '' ? [] : [messageIdentifier(mapping, related)])];
  if (match.length === 0) throw new ScriptError('content', 'Neither PrescriberOrderNumber nor RelatesToMessageID says what is to be cancelled.', { path: 'Header/PrescriberOrderNumber' });
  // D: discontinue, so doses already given were right; C or nothing: cancel.
  const flag = body.text('ChangeOfPrescriptionStatusFlag', 'MedicationPrescribed/ChangeOfPrescriptionStatusFlag');
  planner.add('medicationRequest', { resource: { resourceType: 'MedicationRequest', status: flag.toUpperCase() === 'D' ? 'stopped' : 'cancelled' }, match, createIfAbsent: false });
}

/**
 * The patient, found by the sender's record number; where there is none, by social security number, and then the stored
 * record is left as it is. Without either the patient is known by this prescription only: two people are never made one
 * because names and birth dates agree, and a person can merge the records later.
 */
function planPatient(mapping: Mapping, prescription: BusinessIdentifier): Element {
  const scope = mapping.body.at('Patient/HumanPatient', 'Patient');
  const recordNumber = scope?.text('Identification/MedicalRecordIdentificationNumberEHR', 'Identification/FileID') ?? '';
  const ssn = (scope?.text('Identification/SocialSecurity', 'Identification/SocialSecurityNumber') ?? '').replaceAll('-', '');
  const identifiers: (BusinessIdentifier & { readonly type?: Element })[] = [];
  if (recordNumber !== '') identifiers.push({ type: typeOf('MR', 'Medical record number'), system: senderSystem(mapping.channelId, mapping.message.header, 'MR'), value: recordNumber });
  if (/^(?!000|666|9)\d{3}(?!00)\d{2}(?!0000)\d{4}$/.test(ssn)) identifiers.push({ type: typeOf('SS', 'Social Security number'), system: identifierSystems.ssn, value: ssn });
  if (identifiers.length === 0) {
    const content = JSON.stringify([prescription.system, prescription.value]);
    identifiers.push({ system: 'urn:interlock:derived:patient', value: createHash('sha256').update(content).digest('hex').slice(0, 32) });
  }
  const { system, value } = identifiers[0]!;
  const key = mapping.planner.add('patient', {
    resource: { ...draft('Patient', patientRules, scope, mapping), identifier: identifiers },
    mode: system === identifierSystems.ssn ? 'keep' : 'merge',
    match: [{ system, value }],
  });
  return referenceTo(key);
}

/** The prescriber, known by NPI, else by DEA number, else only by name. */
function planPrescriber(mapping: Mapping): Element {
  const scope = mapping.body.at('Prescriber/NonVeterinarian', 'Prescriber/Veterinarian', 'Prescriber');
  const display = ['Prefix', 'FirstName', 'MiddleName', 'LastName', 'Suffix'].map((part) => scope?.text(`Name/${part}`) ?? '').filter((part) => part !== '').join(' ');
  const npi = scope?.text('Identification/NPI') ?? '';
  const dea = (scope?.text('Identification/DEANumber') ?? '').toUpperCase();
  const identifiers: (BusinessIdentifier & { readonly type: Element })[] = [];
  if (/^\d{10}$/.test(npi)) identifiers.push({ type: typeOf('NPI', 'National provider identifier'), system: identifierSystems.npi, value: npi });
  if (/^[A-Z][A-Z9]\d{7}(?:-\w{1,15})?$/.test(dea)) identifiers.push({ type: typeOf('DEA', 'Drug Enforcement Administration registration number'), system: identifierSystems.dea, value: dea });
  const first = identifiers[0];
  if (first === undefined) return { display };
  const key = mapping.planner.add('practitioner', {
    resource: { ...draft('Practitioner', practitionerRules, scope, mapping), identifier: identifiers }, mode: 'keep', match: [{ system: first.system, value: first.value }],
  });
  return { ...referenceTo(key), display };
}

/** The pharmacy, known by NCPDP id, else by NPI, else only by name. */
function planPharmacy(mapping: Mapping): Element | undefined {
  const scope = mapping.body.at('Pharmacy');
  if (scope === undefined) return undefined;
  const display = scope.text('BusinessName', 'StoreName');
  const ncpdpId = scope.text('Identification/NCPDPID');
  const npi = scope.text('Identification/NPI');
  const identifiers: BusinessIdentifier[] = [];
  if (/^\d{7}$/.test(ncpdpId)) identifiers.push({ system: identifierSystems.ncpdpId, value: ncpdpId });
  if (/^\d{10}$/.test(npi)) identifiers.push({ system: identifierSystems.npi, value: npi });
  if (identifiers[0] === undefined) return display === '' ? undefined : { display };
  const key = mapping.planner.add('organization', { resource: { ...draft('Organization', pharmacyRules, scope, mapping), identifier: identifiers }, mode: 'keep', match: [identifiers[0]] });
  return { ...referenceTo(key), ...(display === '' ? {} : { display }) };
}

function typeOf(code: string, display: string): Element {
  return { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0203', code, display }] };
}
