import type { Element } from '../../engine/elements.ts';
import { referenceTo, type BusinessIdentifier } from '../../engine/planner.ts';
import type { Draft, Scope, V2Context, V2Rule } from '../context.ts';
import { draft } from '../convert.ts';
import { V2Error } from '../error.ts';
import { orderCodesEnding, requestStatus, tables } from '../tables/index.ts';
import { translate } from '../tables/table.ts';
import { orderTimings, type OrderTiming } from '../timing.ts';
import { planDiagnoses } from './clinical.ts';
import { derivedIdentifier, encounterOf, marksOf, subjectOf, type Links } from './links.ts';
import { planObservations } from './observation.ts';

/** ORC → what any order has in common. */
export const orderRules: readonly V2Rule[] = [
  { from: 'ORC-2', to: 'identifier[]', as: 'PlacerNumber' },
  { from: 'ORC-3', to: 'identifier[]', as: 'FillerNumber' },
  { from: 'ORC-9', to: 'authoredOn', as: 'dateTime' },
];

/** ORC, RXO, RXE, RXR → MedicationRequest (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-rxo-to-medicationrequest.html). What the pharmacy encoded (RXE) stands over what was requested (RXO). */
export const medicationRules: readonly V2Rule[] = [
  ...orderRules,
  { from: 'ORC-4', to: 'groupIdentifier', as: 'GroupNumber' },
  { from: 'ORC-10', to: 'recorder', as: 'Practitioner' },
  { from: 'RXO-14', to: 'requester', as: 'Practitioner' },
  { from: 'RXE-13', to: 'requester', as: 'Practitioner' },
  { from: 'ORC-12', to: 'requester', as: 'Practitioner' },
  { from: 'RXO-1', to: 'medicationCodeableConcept', as: 'CodeableConcept' },
  { from: 'RXE-2', to: 'medicationCodeableConcept', as: 'CodeableConcept' },
  { from: 'RXO-9', to: 'substitution.allowedCodeableConcept', as: 'CodeableConcept', table: 'Substitution' },
  { from: 'RXE-9', to: 'substitution.allowedCodeableConcept', as: 'CodeableConcept', table: 'Substitution' },
  { from: 'RXO-11', to: 'dispenseRequest.quantity.value', as: 'decimal' },
  { from: 'RXO-12', to: 'dispenseRequest.quantity.unit', as: 'UnitText', when: { valued: 'RXO-11' } },
  { from: 'RXE-10', to: 'dispenseRequest.quantity.value', as: 'decimal' },
  { from: 'RXE-11', to: 'dispenseRequest.quantity.unit', as: 'UnitText', when: { valued: 'RXE-10' } },
  { from: 'RXO-13', to: 'dispenseRequest.numberOfRepeatsAllowed', as: 'unsignedInt' },
  { from: 'RXE-12', to: 'dispenseRequest.numberOfRepeatsAllowed', as: 'unsignedInt' },
  { from: 'RXE-40', to: 'dispenseRequest.performer', as: 'NamedOnly' },
  { from: 'RXO-20', to: 'reasonCode[]', as: 'CodeableConcept' },
  { from: 'RXE-27', to: 'reasonCode[]', as: 'CodeableConcept' },
  { from: 'RXO-6', to: 'note[]', as: 'ConceptNote', why: 'for the pharmacist, so no dosage instruction' },
  { from: 'RXE-21', to: 'note[]', as: 'ConceptNote' },
];

/** RXR → how it is given. */
export const routeRules: readonly V2Rule[] = [
  { from: 'RXR-1', to: 'route', as: 'CodeableConcept', table: 'Route' },
  { from: 'RXR-2', to: 'site', as: 'CodeableConcept' },
  { from: 'RXR-4', to: 'method', as: 'CodeableConcept' },
  { from: 'RXR-5', to: 'additionalInstruction[]', as: 'CodeableConcept' },
];

/** ORC, OBR → ServiceRequest (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-obr-to-servicerequest.html). */
export const serviceRules: readonly V2Rule[] = [
  ...orderRules,
  { from: 'OBR-2', to: 'identifier[]', as: 'PlacerNumber' },
  { from: 'OBR-3', to: 'identifier[]', as: 'FillerNumber' },
  { from: 'ORC-4', to: 'requisition', as: 'GroupNumber' },
  { from: 'OBR-4', to: 'code', as: 'CodeableConcept' },
  { from: 'OBR-16', to: 'requester', as: 'Practitioner' },
  { from: 'ORC-12', to: 'requester', as: 'Practitioner' },
  { from: 'OBR-5', to: 'priority', as: 'code', table: 'Priority' },
  { from: 'OBR-6', to: 'occurrenceDateTime', as: 'dateTime' },
  { from: 'OBR-36', to: 'occurrenceDateTime', as: 'dateTime' },
  { from: 'OBR-15', to: 'bodySite[]', as: 'SpecimenSite' },
  { from: 'OBR-31', to: 'reasonCode[]', as: 'CodeableConcept' },
  { from: 'OBR-13', to: 'note[]', as: 'Annotation' },
];

/** The order's state after this message; undefined when the message does not tell. */
function statusOf(scope: Scope, context: V2Context): string | undefined {
  const [control, state] = [scope.text('ORC-1'), scope.text('ORC-5')];
  const byControl = control === '' ? undefined : translate(tables.OrderControl, control)?.code;
  const byState = state === '' ? undefined : translate(tables.OrderStatus, state)?.code;
  if (control !== '' && byControl === undefined) context.untranslated('ORC-1', 'OrderControl');
  if (state !== '' && byState === undefined) context.untranslated('ORC-5', 'OrderStatus');
  return byControl !== undefined && orderCodesEnding.has(byControl) ? byControl : (byState ?? byControl);
}

const textsOf = (scope: Scope, position: string): string[] => scope.read(position).map((part) => part.at(9).text || part.at(2).text || part.at(1).text).filter((text) => text !== '');

function amounts(scope: Scope, context: V2Context): Element {
  const [least, most, unit] = scope.first('RXE') === undefined ? ['RXO-2', 'RXO-3', 'RXO-4'] : ['RXE-3', 'RXE-4', 'RXE-5'];
  const made = draft('x', [
    { from: least ?? '', to: 'low', as: 'decimal' },
    { from: most ?? '', to: 'high', as: 'decimal' },
    { from: 'RXE-23', to: 'rate', as: 'decimal' },
  ], scope, context).resource;
  const quantity = (value: unknown, position: string): Element | undefined => (typeof value === 'number' ? { value, unit: textUnit(scope, position), ...codedUnit(scope, position) } : undefined);
  const [low, high, rate] = [quantity(made.low, unit ?? ''), quantity(made.high, unit ?? ''), quantity(made.rate, 'RXE-24')];
  const range = low !== undefined && high !== undefined && (made.low as number) < (made.high as number);
  return { ...(range ? { doseRange: { low, high } } : { doseQuantity: low ?? high }), rateQuantity: rate };
}

const textUnit = (scope: Scope, position: string): string | undefined => scope.read(position).map((part) => part.at(2).text || part.at(1).text)[0];
const codedUnit = (scope: Scope, position: string): Element => {
  const part = scope.read(position)[0];
  return part?.at(3).text.toUpperCase() === 'UCUM' && part.at(1).text !== '' ? { system: 'http://unitsofmeasure.org', code: part.at(1).text } : {};
};

/** Segments after RXE describe the encoded order; where it has its own TQ1 or RXR, those before belong to the request. */
function encodedPart(scope: Scope, name: string): Scope {
  const at = scope.segments.findIndex((segment) => segment.name === 'RXE');
  const after = at < 0 ? [] : scope.segments.slice(at);
  return scope.narrow(after.some((segment) => segment.name === name) ? [...scope.segments.filter((segment) => segment.name === 'ORC'), ...after] : scope.segments);
}

function dosages(scope: Scope, context: V2Context, timings: readonly OrderTiming[]): Element[] {
  const dose = amounts(scope, context);
  const routes = encodedPart(scope, 'RXR').all('RXR').map((one) => draft('x', routeRules, one, context).resource);
  const route: Element = { ...(routes[0] ?? {}) };
  Reflect.deleteProperty(route, 'resourceType');
  if (routes.length > 1) context.usage.drop('RXR-1');
  const instructions = [...(scope.first('RXE') === undefined ? [] : textsOf(scope, 'RXE-7')), ...(textsOf(scope, 'RXE-7').length === 0 ? textsOf(scope, 'RXO-7') : [])];
  return (timings.length === 0 ? [undefined] : timings).map((timing, index) => ({
    ...(timings.length > 1 ? { sequence: index + 1 } : {}),
    text: [...(index === 0 ? instructions : []), ...(timing?.instructions ?? [])].join('; '),
    timing: timing?.timing,
    ...(timing?.asNeeded === true ? { asNeededBoolean: true } : {}),
    ...route,
    doseAndRate: [dose.doseQuantity === undefined && dose.doseRange === undefined ? { ...dose, doseQuantity: timing?.doseQuantity } : dose],
  }));
}

/** RXC: the parts of a mixture, as a contained Medication. */
function mixture(scope: Scope, context: V2Context, name: unknown): Element | undefined {
  const ingredient = scope.all('RXC').map((one) => draft('x', [
    { from: 'RXC-2', to: 'itemCodeableConcept', as: 'CodeableConcept' },
    { from: 'RXC-3', to: 'strength.numerator.value', as: 'decimal' },
    { from: 'RXC-4', to: 'strength.numerator.unit', as: 'UnitText', when: { valued: 'RXC-3' } },
  ], one, context).resource).filter((one) => one.itemCodeableConcept !== undefined).map(({ itemCodeableConcept, strength }) => ({
    itemCodeableConcept,
    strength: strength === undefined ? undefined : { ...(strength as Element), denominator: { value: 1 } },
  }));
  if (ingredient.length === 0) return undefined;
  return { resourceType: 'Medication', id: 'mixture', code: name, ingredient };
}

const notesOf = (scope: Scope): Element[] => scope.all('NTE').map((note) => note.read('NTE-3').map((part) => part.whole).join('\n')).filter((text) => text !== '').map((text) => ({ text }));

/** Identifiers that find the order again. Where a sender repeats a number within one message, what is ordered tells the orders apart. */
function identify(made: Draft, context: V2Context, links: Links, what: string): BusinessIdentifier[] {
  const own = marksOf(made.resource.identifier);
  const first = own[0];
  if (first === undefined || context.planner.holds(made.resource.resourceType, first)) {
    const derived = derivedIdentifier('order', links, [first?.system ?? context.message.header.controlId, first?.value ?? '', what]);
    made.resource.identifier = [...((made.resource.identifier as Element[] | undefined) ?? []), derived];
    return [derived];
  }
  return own;
}

/** Elements common to both kinds of request: subject, visit, state, notes, reasons, observations that came with the order. */
function finishRequest(made: Draft, scope: Scope, context: V2Context, links: Links, status: string | undefined, timings: readonly OrderTiming[]): string[] {
  const { resource } = made;
  const fill = ['intent'];
  resource.status = status ?? 'unknown';
  if (status === undefined) fill.push('status');
  resource.priority ??= timings.map((timing) => timing.priority).find((one) => one !== undefined);
  resource.note = [...((resource.note as Element[] | undefined) ?? []), ...notesOf(scope)];
  resource.reasonReference = planDiagnoses(scope, context, links).map(({ key }) => referenceTo(key));
  const number = marksOf(resource.identifier)[0];
  resource.supportingInfo = planObservations(scope, context, links, { mark: JSON.stringify([number?.system, number?.value]), shared: {} }).map(referenceTo);
  for (const required of ['identifier', 'medicationCodeableConcept', 'status']) made.clear.delete(required);
  return fill;
}

function planMedication(scope: Scope, context: V2Context, links: Links): void {
  const made = draft('MedicationRequest', medicationRules, scope, context, { intent: 'order', subject: subjectOf(links), encounter: encounterOf(links) });
  const { resource } = made;
  const status = statusOf(scope, context);
  const timings = orderTimings(encodedPart(scope, 'TQ1'), context);
  const fill = finishRequest(made, scope, context, links, status, timings);
  resource.supportingInformation = resource.supportingInfo;
  Reflect.deleteProperty(resource, 'supportingInfo');
  resource.dosageInstruction = dosages(scope, context, timings);
  if (status !== undefined && status !== 'active' && scope.read('ORC-16').length > 0) {
    resource.statusReason = draft('x', [{ from: 'ORC-16', to: 'reason', as: 'CodeableConcept' }], scope, context).resource.reason;
  }
  const drug = (resource.medicationCodeableConcept as { text?: string } | undefined)?.text ?? '';
  const match = identify(made, context, links, drug);
  // A prescription number is reused over the years, so it describes the order but never finds it.
  const prescription = scope.text('RXE-15');
  if (prescription !== '') resource.identifier = [...((resource.identifier as Element[] | undefined) ?? []), { type: { text: 'Prescription number' }, system: `urn:interlock:unqualified:${encodeURIComponent(context.systems.channelId)}:${encodeURIComponent(context.systems.facility)}:RX`, value: prescription }];
  const known = resource.medicationCodeableConcept !== undefined;
  const contained = mixture(scope, context, resource.medicationCodeableConcept);
  if (contained !== undefined) {
    resource.contained = [contained];
    resource.medicationReference = { reference: '#mixture', display: drug || undefined };
    Reflect.deleteProperty(resource, 'medicationCodeableConcept');
  } else if (!known) {
    // A cancel often names the order only by its number; what was ordered is then already on record.
    resource.medicationCodeableConcept = { text: 'not stated' };
    fill.push('medicationCodeableConcept');
  }
  context.planner.add(context.planner.key('medicationRequest'), { resource, match, clear: made.clear, fill, createIfAbsent: known || contained !== undefined });
}

function planService(scope: Scope, context: V2Context, links: Links): void {
  const made = draft('ServiceRequest', serviceRules, scope, context, { intent: 'order', subject: subjectOf(links), encounter: encounterOf(links) });
  const { resource } = made;
  const status = statusOf(scope, context);
  const timings = orderTimings(scope, context);
  const fill = finishRequest(made, scope, context, links, status, timings);
  resource.status = requestStatus[String(resource.status)] ?? 'unknown';
  resource.occurrenceDateTime ??= timings.map((timing) => timing.start).find((one) => one !== undefined);
  const code = resource.code as { text?: string } | undefined;
  const match = identify(made, context, links, code?.text ?? '');
  context.planner.add(context.planner.key('serviceRequest'), { resource, match, clear: made.clear, fill, createIfAbsent: code !== undefined });
}

/**
 * Plans one order group (ORC and what follows it).
 * @param medicationOnly for OMP and RDE, whose orders are medications even when only ORC is sent
 * @throws V2Error 101 without any order number, 200 for supplies, diets and the like, which have no map: accepting them would lose them
 */
export function planOrder(scope: Scope, context: V2Context, links: Links, medicationOnly: boolean): void {
  const has = (...names: string[]): boolean => names.some((name) => scope.first(name) !== undefined);
  if (has('RXO', 'RXE')) {
    planMedication(scope, context, links);
    return;
  }
  if (has('OBR') && !medicationOnly) {
    planService(scope, context, links);
    return;
  }
  const foreign = ['RQD', 'RQ1', 'ODS', 'ODT', 'RXD', 'RXG', 'RXA', 'BPO'].find((name) => has(name));
  if (foreign !== undefined) throw new V2Error('200', { segment: foreign, sequence: 1 }, 'only medication and service orders are mapped');
  const orc = scope.first('ORC')?.occurrence ?? 1;
  if (scope.text('ORC-2') === '' && scope.text('ORC-3') === '') throw new V2Error('101', { segment: 'ORC', sequence: orc, field: 2 });
  // A bare ORC may speak of either kind: whichever is on record under its number is changed.
  planMedication(scope, context, links);
  if (!medicationOnly) planService(scope, context, links);
}
