import type { Element } from '../../engine/elements.ts';
import type { Scope, V2Context, V2Rule } from '../context.ts';
import { draft } from '../convert.ts';
import { identifierOfCx } from '../datatypes.ts';
import { parseTime, toDateTime } from '../datetime.ts';
import { participants } from '../tables/administrative.ts';
import { dropReversedEnd, marksOf, subjectOf, type Links } from './links.ts';

const modeOfArrival = 'http://hl7.org/fhir/StructureDefinition/encounter-modeOfArrival';

/** PV1, PV2 → Encounter (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-pv1-to-encounter.html). Status comes from `visitEvents`. */
export const encounterRules: readonly V2Rule[] = [
  { from: 'PV1-19', to: 'identifier[]', as: 'VisitIdentifier' },
  { from: 'PV1-50', to: 'identifier[]', as: 'VisitIdentifier' },
  { from: 'PV1-2', to: 'class', as: 'Coding', table: 'PatientClass' },
  { from: 'PV1-4', to: 'type[]', as: 'CodeableConcept' },
  { from: 'PV1-10', to: 'serviceType', as: 'CodeableConcept' },
  { from: 'PV2-25', to: 'priority', as: 'CodeableConcept' },
  { from: 'PV1-7', to: 'participant[].individual', as: 'Practitioner', with: participants.attender, clears: 'participant[type=ATND]' },
  { from: 'PV1-8', to: 'participant[].individual', as: 'Practitioner', with: participants.referrer, clears: 'participant[type=REF]' },
  { from: 'PV1-9', to: 'participant[].individual', as: 'Practitioner', with: participants.consultant, clears: 'participant[type=CON]' },
  { from: 'PV1-17', to: 'participant[].individual', as: 'Practitioner', with: participants.admitter, clears: 'participant[type=ADM]' },
  { from: 'PV1-52', to: 'participant[].individual', as: 'Practitioner', with: participants.other, clears: 'participant[type=PART]' },
  { from: 'PV1-44', to: 'period.start', as: 'dateTime' },
  { from: 'PV1-45', to: 'period.end', as: 'dateTime' },
  { from: 'PV2-3', to: 'reasonCode[]', as: 'CodeableConcept' },
  { from: 'PV1-5', to: 'hospitalization.preAdmissionIdentifier', as: 'VisitIdentifier' },
  { from: 'PV1-13', to: 'hospitalization.reAdmission', as: 'CodeableConcept' },
  { from: 'PV1-14', to: 'hospitalization.admitSource', as: 'CodeableConcept' },
  { from: 'PV1-15', to: 'hospitalization.specialArrangement[]', as: 'CodeableConcept' },
  { from: 'PV1-16', to: 'hospitalization.specialCourtesy[]', as: 'CodeableConcept' },
  { from: 'PV1-36', to: 'hospitalization.dischargeDisposition', as: 'CodeableConcept' },
  { from: 'PV1-37', to: 'hospitalization.destination', as: 'NamedOnly', why: 'DLD names a place by a local code; no Location can be known by it' },
  { from: 'PV1-38', to: 'hospitalization.dietPreference[]', as: 'CodeableConcept' },
  { from: 'PV1-6', to: 'location[].location', as: 'Location', with: { status: 'completed' } },
  { from: 'PV1-3', to: 'location[].location', as: 'Location', with: { status: 'active' } },
  { from: 'PV1-11', to: 'location[].location', as: 'Location', with: { status: 'active' } },
  { from: 'PV1-42', to: 'location[].location', as: 'Location', with: { status: 'reserved' } },
  { from: 'PV1-39', to: 'serviceProvider', as: 'NamedOnly' },
  { from: 'PV2-38', to: 'extension[].valueCoding', as: 'Coding', with: { url: modeOfArrival }, clears: `extension[url=${modeOfArrival}]` },
  { from: 'PID-18', to: 'account[].identifier', as: 'AccountIdentifier', clears: 'account', why: 'the bill is not the visit; Account itself is not kept' },
];

/** What a trigger event says about a visit. */
interface VisitEvent {
  readonly status: 'planned' | 'in-progress' | 'onleave' | 'finished' | 'cancelled' | 'entered-in-error';
  /** False when an unknown visit is not to be made up from the message that cancels it. */
  readonly creates: boolean;
}

const visit = (status: VisitEvent['status'], creates = true): VisitEvent => ({ status, creates });

/** Trigger events (HL7 table 0003) that set the state of a visit; all others leave it as it is. */
export const visitEvents: Readonly<Record<string, VisitEvent>> = {
  A01: visit('in-progress'),
  A02: visit('in-progress'),
  A03: visit('finished'),
  A04: visit('in-progress'),
  A05: visit('planned'),
  A06: visit('in-progress'),
  A07: visit('in-progress'),
  A09: visit('in-progress'),
  A10: visit('in-progress'),
  A11: visit('cancelled', false),
  A12: visit('in-progress'),
  A13: visit('in-progress'),
  A14: visit('planned'),
  A15: visit('in-progress'),
  A16: visit('in-progress'),
  A21: visit('onleave'),
  A22: visit('in-progress'),
  A23: visit('entered-in-error', false),
  A25: visit('in-progress', false),
  A26: visit('in-progress', false),
  A27: visit('cancelled', false),
  A38: visit('cancelled', false),
};

/** Events about a person: a PV1 in them is often a dummy (class N), so it may update a visit but never make one. */
const personEvents: ReadonlySet<string> = new Set(['A28', 'A31', 'A29', 'A60']);

const unknownClass = { system: 'http://terminology.hl7.org/CodeSystem/v3-NullFlavor', code: 'UNK', display: 'unknown' };

function placePeriods(locations: Element[], trigger: string, at: string | undefined, end: string | undefined): void {
  for (const location of locations) {
    if (location.status === 'completed' && trigger === 'A02' && at !== undefined) location.period = { end: at };
    if (location.status !== 'active') continue;
    if (trigger === 'A02' && at !== undefined) location.period = { start: at };
    if (trigger === 'A05' || trigger === 'A14') location.status = 'planned';
    if (trigger === 'A03') Object.assign(location, { status: 'completed' }, end === undefined ? {} : { period: { end } });
  }
}

/** @returns the Encounter's key, or undefined when the message tells of no visit that could be found again */
export function planEncounter(scope: Scope, context: V2Context, links: Links): string | undefined {
  const { trigger, time } = context.event;
  if (scope.first('PV1') === undefined || scope.text('PV1-2') === 'N') return undefined;
  const event = visitEvents[trigger];
  // Where a sender has no visit numbers, the account number is what stays the same for a visit.
  const numbered = scope.text('PV1-19') !== '' || scope.text('PV1-50') !== '' || scope.text('PID-18') !== '';
  if (!numbered && event?.creates !== true) return undefined;
  const made = draft('Encounter', encounterRules, scope, context, { subject: subjectOf(links) });
  const { resource } = made;
  const account = scope.read('PID-18')[0];
  if (resource.identifier === undefined && account !== undefined) resource.identifier = [identifierOfCx(account, context, 'account', 'AN')].filter((one) => one !== undefined);
  const match = marksOf(resource.identifier);
  if (match.length === 0 && event?.creates !== true) return undefined;

  const fill: string[] = [];
  if (resource.class === undefined) {
    resource.class = unknownClass;
    fill.push('class');
  }
  const [start, discharge] = [parseTime(scope.text('PV1-44'), context.zone), parseTime(scope.text('PV1-45'), context.zone)];
  if (event !== undefined) resource.status = event.status;
  else {
    resource.status = discharge !== undefined ? 'finished' : scope.text('PV1-2') === 'P' ? 'planned' : 'in-progress';
    if (discharge === undefined) fill.push('status');
  }
  const period = (resource.period ?? {}) as Element;
  const at = time === undefined ? undefined : toDateTime(time);
  if (trigger === 'A03' && period.end === undefined && at !== undefined) period.end = at;
  if (trigger === 'A13') {
    // The discharge never took place: whatever PV1 still carries of it goes.
    Reflect.deleteProperty(period, 'end');
    Reflect.deleteProperty(resource.hospitalization ?? {}, 'dischargeDisposition');
    for (const path of ['period.end', 'hospitalization.dischargeDisposition', 'hospitalization.destination']) made.clear.add(path);
  }
  if (dropReversedEnd(period, start, discharge ?? (period.end === at ? time : undefined))) context.usage.drop('PV1-45');
  if (Object.keys(period).length > 0) resource.period = period;
  if (event?.status === 'cancelled' || event?.status === 'entered-in-error') Reflect.deleteProperty(resource, 'location');
  placePeriods((resource.location ?? []) as Element[], trigger, at, typeof period.end === 'string' ? period.end : undefined);
  for (const required of ['class', 'identifier']) made.clear.delete(required);
  return context.planner.add(context.planner.key('encounter'), { resource, match, clear: made.clear, fill, createIfAbsent: (event?.creates ?? true) && !personEvents.has(trigger) });
}
