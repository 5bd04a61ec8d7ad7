import { applyRules } from '../engine/apply.ts';
import type { Element } from '../engine/elements.ts';
import type { Draft, Scope, V2Context, V2Rule } from './context.ts';
import { addressOf, codeableConceptOf, codeOf, contactPointOf, dateTimeOf, fromRules, humanName, identifierOf, identifierOfCx, identifierOfEi, numberOf, quantityOf } from './datatypes.ts';
import { parseTime, toInstant } from './datetime.ts';
import type { V2Part } from './message.ts';
import { locationOf, organizationOf, practitionerOf } from './parties.ts';
import type { TableName } from './tables/index.ts';

type Conversion = (part: V2Part, context: V2Context, path: string, table?: TableName) => unknown;

const integer = (part: V2Part, least: number): number | undefined => {
  const value = numberOf(part.at(1).text);
  return value === undefined || !Number.isInteger(value) || value < least || value > 2_147_483_647 ? undefined : value;
};

/** US Core race and ethnicity have OMB categories; everything else is told as text only. */
const ombCategories: Readonly<Record<string, ReadonlySet<string>>> = {
  race: new Set(['1002-5', '2028-9', '2054-5', '2076-8', '2106-3']),
  ethnicity: new Set(['2135-2', '2186-5']),
};
const ethnicityOfTable0189: Readonly<Record<string, string>> = { H: '2135-2', N: '2186-5' };

/** PID-10, PID-22 → US Core extension (https://hl7.org/fhir/us/core/STU6.1/StructureDefinition-us-core-race.html). */
function usCore(part: V2Part, kind: 'race' | 'ethnicity'): Element | undefined {
  const sent = part.at(1).text;
  const code = kind === 'ethnicity' ? (ethnicityOfTable0189[sent] ?? sent) : sent;
  const text = part.at(9).text || part.at(2).text || sent;
  if (text === '') return undefined;
  const known = ombCategories[kind]?.has(code) === true;
  const category = { url: 'ombCategory', valueCoding: { system: 'urn:oid:2.16.840.1.113883.6.238', code, ...(part.at(2).text === '' ? {} : { display: part.at(2).text }) } };
  return { url: `http://hl7.org/fhir/us/core/StructureDefinition/us-core-${kind}`, extension: [...(known ? [category] : []), { url: 'text', valueString: text }] };
}

const conversions = {
  /** The first component's text; of a code without code its name. */
  string: (part) => part.text || part.at(2).text || undefined,
  /** All of the value's text, for types in which senders leave delimiters unescaped. */
  text: (part) => part.whole || undefined,
  code: (part, context, path, table) => (table === undefined ? undefined : codeOf(part, context, path, table)),
  boolean: (part, context, path) => {
    const code = codeOf(part, context, path, 'YesNo');
    return code === 'true' ? true : code === 'false' ? false : undefined;
  },
  decimal: (part) => numberOf(part.text),
  positiveInt: (part) => integer(part, 1),
  unsignedInt: (part) => integer(part, 0),
  dateTime: (part, context) => dateTimeOf(part, context),
  date: (part, context) => parseTime(part.at(1).text, context.zone)?.date,
  instant: (part, context) => {
    const time = parseTime(part.at(1).text, context.zone);
    return time === undefined ? undefined : toInstant(time);
  },
  CodeableConcept: codeableConceptOf,
  Coding: (part, context, path, table) => {
    const coding = codeableConceptOf(part, context, path, table)?.coding;
    return Array.isArray(coding) ? (coding[0] as Element) : undefined;
  },
  /** Fields that are plain text in older versions and coded in newer ones. */
  TextOrConcept: (part, context, path, table) => (part.at(2).isEmpty && part.at(3).isEmpty ? { text: part.text } : codeableConceptOf(part, context, path, table)),
  PatientIdentifier: (part, context) => identifierOfCx(part, context, 'patient'),
  AccountIdentifier: (part, context) => identifierOfCx(part, context, 'account', 'AN'),
  VisitIdentifier: (part, context) => identifierOfCx(part, context, 'visit', 'VN'),
  PolicyIdentifier: (part, context) => identifierOfCx(part, context, 'policy', 'MB'),
  RelatedIdentifier: (part, context) => identifierOfCx(part, context, 'relatedperson'),
  PlacerNumber: (part, context) => identifierOfEi(part, context, 'PLAC'),
  FillerNumber: (part, context) => identifierOfEi(part, context, 'FILL'),
  GroupNumber: (part, context) => identifierOfEi(part, context, 'PGN'),
  /** PID-19: a social security number without type or authority. */
  SocialSecurityNumber: (part) => identifierOf(part.at(1).text, 'http://hl7.org/fhir/sid/us-ssn', 'SS'),
  /** DLN: number, issuing state. */
  DriversLicense: (part, context) => identifierOf(part.at(1).text, `urn:interlock:authority:DL:${encodeURIComponent(part.at(2).text || context.systems.facility)}`, 'DL'),
  EntityIdentifier: (part, context) => identifierOfEi(part, context, ''),
  HumanName: (part, context, path) => fromRules(humanName, part, context, path),
  Address: addressOf,
  ContactPoint: contactPointOf,
  Race: (part) => usCore(part, 'race'),
  Ethnicity: (part) => usCore(part, 'ethnicity'),
  /** CQ: number and unit in one value. */
  Quantity: (part, context) => quantityOf(numberOf(part.at(1).text), part.at(2), context),
  Practitioner: practitionerOf,
  Location: (part, context) => locationOf(part, context),
  Organization: (part, context) => organizationOf(part, context),
  /** IN1-2: a health plan's id and name. */
  PlanClass: (part) => (part.at(1).text === '' && part.at(2).text === '' ? undefined : { value: part.at(1).text || part.at(2).text, ...(part.at(2).text === '' ? {} : { name: part.at(2).text }) }),
  /** A place, person or company that is only named. */
  NamedOnly: (part) => ((part.at(2).text || part.at(1).text) === '' ? undefined : { display: part.at(2).text || part.at(1).text }),
  /** A coded unit by its name. */
  UnitText: (part) => part.at(2).text || part.at(1).text || undefined,
  /** A coded remark as a note. */
  ConceptNote: (part) => ((part.at(9).text || part.at(2).text || part.at(1).text) === '' ? undefined : { text: part.at(9).text || part.at(2).text || part.at(1).text }),
  /** SPS.4: the body site of OBR-15. */
  SpecimenSite: (part, context, path) => (part.at(4).isEmpty ? undefined : codeableConceptOf(part.at(4), context, path)),
  Annotation: (part) => (part.whole === '' ? undefined : { text: part.whole }),
} as const satisfies Record<string, Conversion>;

/** What a rule's `as` may name. */
export type ConversionName = keyof typeof conversions;

/** Converts one value as a rule says. @returns undefined when it cannot be expressed */
export function convert(part: V2Part, context: V2Context, path: string, rule: Pick<V2Rule, 'as' | 'table'>): unknown {
  const conversion: Conversion = conversions[rule.as];
  return conversion(part, context, path, rule.table);
}

/** Starts a resource with everything that rules make of a scope. */
export function draft(resourceType: string, rules: readonly V2Rule[], scope: Scope, context: V2Context, constants: Element = {}): Draft {
  const target = { element: { resourceType, ...constants } as Draft['resource'], clear: new Set<string>() };
  applyRules(rules, scope, {
    convert: (value, rule) => convert(value, context, rule.from, rule),
    dropped: (rule) => context.usage.drop(rule.from),
  }, target);
  return { resource: target.element, clear: target.clear };
}
