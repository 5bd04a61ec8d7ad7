import { compact, type Element } from '../../engine/elements.ts';
import { referenceTo } from '../../engine/planner.ts';
import type { Scope, V2Context, V2Rule } from '../context.ts';
import { draft } from '../convert.ts';
import { codeableConceptOf, dateTimeOf, numberOf, quantityOf } from '../datatypes.ts';
import { parseTime, toDateTime } from '../datetime.ts';
import type { V2Part } from '../message.ts';
import { derivedIdentifier, encounterOf, marksOf, subjectOf, type Links } from './links.ts';

/** OBX → Observation (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-obx-to-observation.html). The value, OBX-2, -5 and -6, is below. */
export const observationRules: readonly V2Rule[] = [
  { from: 'OBX-21', to: 'identifier[]', as: 'FillerNumber' },
  { from: 'OBX-3', to: 'code', as: 'CodeableConcept' },
  { from: 'OBX-11', to: 'status', as: 'code', table: 'ObservationStatus' },
  { from: 'OBX-7', to: 'referenceRange[].text', as: 'text' },
  { from: 'OBX-8', to: 'interpretation[]', as: 'CodeableConcept', table: 'Interpretation' },
  { from: 'OBX-14', to: 'effectiveDateTime', as: 'dateTime' },
  { from: 'OBX-16', to: 'performer[]', as: 'Practitioner' },
  { from: 'OBX-23', to: 'performer[]', as: 'Organization' },
  { from: 'OBX-15', to: 'performer[]', as: 'NamedOnly', when: { empty: 'OBX-23' } },
  { from: 'OBX-17', to: 'method', as: 'CodeableConcept' },
  { from: 'OBX-20', to: 'bodySite', as: 'CodeableConcept' },
];

const text = (value: string): Element | undefined => (value === '' ? undefined : { valueString: value });

/** SN: comparator, first number, separator or suffix, second number. */
function structuredNumeric(part: V2Part, unit: V2Part | undefined, context: V2Context): Element | undefined {
  const [comparator = '', low = '', separator = '', high = ''] = [1, 2, 3, 4].map((n) => part.at(n).text);
  const [first, second] = [quantityOf(numberOf(low), unit, context), quantityOf(numberOf(high), unit, context)];
  if (separator === '-' && first !== undefined && second !== undefined && Number(low) <= Number(high)) return { valueRange: { low: first, high: second } };
  if (/^[:/]$/.test(separator) && first !== undefined && second !== undefined) return { valueRatio: { numerator: first, denominator: second } };
  if (separator === '' && high === '' && first !== undefined && /^(?:|=|<|<=|>|>=)$/.test(comparator)) {
    return { valueQuantity: { ...first, ...(comparator === '' || comparator === '=' ? {} : { comparator }) } };
  }
  return text([comparator, low, separator, high].join(''));
}

/** One value as an element `value[x]`; what does not read as its declared type becomes text rather than nothing. */
function valueOf(part: V2Part, type: string, unit: V2Part | undefined, context: V2Context): Element | undefined {
  const plain = part.whole;
  switch (type === '' && numberOf(plain) !== undefined && unit !== undefined ? 'NM' : type) {
    case 'NM': {
      const quantity = quantityOf(numberOf(part.text), unit, context);
      return quantity === undefined ? text(plain) : { valueQuantity: quantity };
    }
    case 'SN': return structuredNumeric(part, unit, context);
    case 'CE':
    case 'CWE':
    case 'CNE':
    case 'CF':
    case 'IS':
    case 'ID': {
      const concept = codeableConceptOf(part, context, 'OBX-5');
      return concept === undefined ? undefined : { valueCodeableConcept: concept };
    }
    case 'DT':
    case 'TS':
    case 'DTM': {
      const time = dateTimeOf(part, context);
      return time === undefined ? text(plain) : { valueDateTime: time };
    }
    case 'TM': {
      const match = /^([01]\d|2[0-3]):?([0-5]\d)(?::?([0-5]\d))?$/.exec(plain);
      return match === null ? text(plain) : { valueTime: `${match[1] ?? ''}:${match[2] ?? ''}:${match[3] ?? '00'}` };
    }
    case 'NR': {
      const [low, high] = [numberOf(part.at(1).text), numberOf(part.at(2).text)];
      return low === undefined && high === undefined ? text(plain) : { valueRange: compact({ low: quantityOf(low, unit, context), high: quantityOf(high, unit, context) }) };
    }
    case 'DR': {
      const period = compact({ start: dateTimeOf(part.at(1), context), end: dateTimeOf(part.at(2), context) });
      return period === undefined ? text(plain) : { valuePeriod: period };
    }
    // Documents and pointers to them are no observation values in FHIR R4.
    case 'ED':
    case 'RP': return undefined;
    default: return text(plain);
  }
}

/** Sets the value; several values become components of the same code, several lines of text one text. */
function setValue(resource: Element, scope: Scope, context: V2Context): void {
  const parts = scope.read('OBX-5').filter((part) => !part.isNull);
  const unit = scope.read('OBX-6')[0];
  const type = scope.text('OBX-2').toUpperCase();
  const values = parts.map((part) => valueOf(part, type, unit, context));
  if (values.some((value) => value === undefined)) context.usage.drop('OBX-5');
  const found = values.filter((value) => value !== undefined);
  if (found.length > 1 && found.every((value) => typeof value.valueString === 'string')) resource.valueString = found.map((value) => String(value.valueString)).join('\n');
  else if (found.length > 1) resource.component = found.map((value) => ({ code: resource.code, ...value }));
  else Object.assign(resource, found[0] ?? {});
}

/** What the observations of one group share. */
export interface ObservationGroup {
  /** Tells this group's observations from another's, such as the order they belong to. */
  readonly mark: string;
  /** Category, effective time and the like, unless the OBX says otherwise. */
  readonly shared: Element;
}

/** Plans one Observation per OBX, with the NTEs that follow it. @returns their keys */
export function planObservations(scope: Scope, context: V2Context, links: Links, group: ObservationGroup): string[] {
  const keys: string[] = [];
  const seen = new Map<string, number>();
  for (const one of scope.groups(['OBX'], ['OBX', 'NTE'])) {
    const made = draft('Observation', observationRules, one, context, { subject: subjectOf(links), encounter: encounterOf(links) });
    const { resource } = made;
    if (resource.code === undefined) {
      context.usage.drop('OBX-3');
      continue;
    }
    if (resource.status === undefined) resource.status = 'unknown';
    setValue(resource, one, context);
    if (one.text('OBX-11') === 'N') resource.dataAbsentReason = { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/data-absent-reason', code: 'not-asked' }] };
    const notes = one.all('NTE').map((note) => note.read('NTE-3').map((part) => part.whole).join('\n')).filter((note) => note !== '');
    if (notes.length > 0) resource.note = [{ text: notes.join('\n') }];
    for (const [name, value] of Object.entries(group.shared)) resource[name] ??= value;
    const own = marksOf(resource.identifier);
    const parts = [group.mark, one.read('OBX-3')[0]?.raw ?? '', one.read('OBX-4')[0]?.raw ?? '', one.text('OBX-14')];
    const times = (seen.get(JSON.stringify(parts)) ?? 0) + 1;
    seen.set(JSON.stringify(parts), times);
    // Senders repeat code and sub-id within a report, one OBX per line of text: the count keeps the lines apart.
    const derived = derivedIdentifier('obx', links, [...parts, String(times)]);
    if (own.length === 0) resource.identifier = [derived];
    made.clear.delete('identifier');
    keys.push(context.planner.add(context.planner.key('observation'), { resource, match: own.length === 0 ? [derived] : own, clear: made.clear }));
  }
  return keys;
}

/** Rules for OBR → DiagnosticReport (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-obr-to-diagnosticreport.html). */
export const reportRules: readonly V2Rule[] = [
  { from: 'ORC-2', to: 'identifier[]', as: 'PlacerNumber' },
  { from: 'OBR-2', to: 'identifier[]', as: 'PlacerNumber' },
  { from: 'ORC-3', to: 'identifier[]', as: 'FillerNumber' },
  { from: 'OBR-3', to: 'identifier[]', as: 'FillerNumber' },
  { from: 'OBR-4', to: 'code', as: 'CodeableConcept' },
  { from: 'OBR-25', to: 'status', as: 'code', table: 'ReportStatus' },
  { from: 'OBR-24', to: 'category[]', as: 'CodeableConcept' },
  { from: 'OBR-7', to: 'effectiveDateTime', as: 'dateTime' },
  { from: 'OBR-22', to: 'issued', as: 'instant' },
  { from: 'OBR-28', to: 'extension[].valueReference', as: 'Practitioner', with: { url: 'http://hl7.org/fhir/5.0/StructureDefinition/extension-DiagnosticReport.recipient' }, clears: 'extension[url=http://hl7.org/fhir/5.0/StructureDefinition/extension-DiagnosticReport.recipient]' },
];

const laboratory = [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/observation-category', code: 'laboratory' }] }];
/** Diagnostic service sections (table 0074) that are laboratories. */
const laboratories: ReadonlySet<string> = new Set(['LAB', 'CH', 'HM', 'MB', 'MCB', 'BG', 'BLB', 'CG', 'CP', 'CUS', 'GE', 'ICU', 'IMM', 'MYC', 'SP', 'SR', 'TX', 'VR', 'LT', 'AU', 'CTH', 'PAT', 'HEM', 'MICRO']);

/** Plans the DiagnosticReport of one OBR group (ORC, OBR, NTE, OBX …) and its Observations. */
export function planReport(scope: Scope, context: V2Context, links: Links): void {
  const made = draft('DiagnosticReport', reportRules, scope, context, { subject: subjectOf(links), encounter: encounterOf(links) });
  const { resource } = made;
  const number = scope.text('OBR-3') || scope.text('ORC-3') || scope.text('OBR-2') || scope.text('ORC-2');
  const mark = JSON.stringify([number, scope.read('OBR-4')[0]?.raw ?? '', number === '' ? scope.text('OBR-7') : '']);
  const collected = parseTime(scope.text('OBR-7'), context.zone);
  const shared = compact({ category: laboratories.has(scope.text('OBR-24').toUpperCase()) ? laboratory : undefined, effectiveDateTime: collected === undefined ? undefined : toDateTime(collected) }) as Element | undefined;
  const results = planObservations(scope, context, links, { mark, shared: shared ?? {} });
  if (scope.first('OBR') === undefined) return;
  if (resource.code === undefined) {
    context.usage.drop('OBR-4');
    resource.code = { text: 'unknown' };
  }
  resource.status ??= 'unknown';
  resource.result = results.map(referenceTo);
  const first = scope.segments.findIndex((segment) => segment.name === 'OBX');
  const notes = scope.narrow(first < 0 ? scope.segments : scope.segments.slice(0, first)).all('NTE').map((note) => note.read('NTE-3').map((part) => part.whole).join('\n'));
  if (notes.some((note) => note !== '')) resource.conclusion = notes.filter((note) => note !== '').join('\n');
  // One filler number may cover several reports, so the report's code belongs to what identifies it.
  const derived = derivedIdentifier('obr', links, [mark]);
  resource.identifier = [...((resource.identifier as Element[] | undefined) ?? []), derived];
  made.clear.delete('identifier');
  context.planner.add(context.planner.key('diagnosticReport'), { resource, match: [derived], clear: made.clear });
}
