import { compact, type Element } from '../engine/elements.ts';
import { parseTime, toDateTime, type V2Time } from '../v2/datetime.ts';
import { ScriptError } from './error.ts';
import type { ScriptConversion, ScriptRule } from './rules.ts';
import { ScriptScope, type ScriptUsage, type ScriptValue } from './source.ts';
import { diagnosisSystems, drugCodeSystems, genders, ncitSystem, quantityUnits } from './systems.ts';

/** What conversions know beside the value. */
export interface ConversionContext {
  readonly usage: ScriptUsage;
  /** Zone of times that carry none. */
  readonly zone: string;
  readonly channelId: string;
  /** Told of codes that no table maps. */
  untranslated(path: string, table: string): void;
}

type Convert = (scope: ScriptScope, text: string, rule: ScriptRule, context: ConversionContext) => unknown;

/** Numbers and dates that cannot be read refuse the message: a prescription with a guessed or missing quantity is a danger. */
function unreadable(rule: ScriptRule): ScriptError {
  return new ScriptError('content', 'A value is not in the form that its element asks for.', { path: rule.from });
}

function timeOf(scope: ScriptScope, text: string, rule: ScriptRule, context: ConversionContext): V2Time {
  const time = parseTime(text || scope.text('DateTime', 'Date'), context.zone);
  if (time === undefined || time.precision === 'year' || time.precision === 'month') throw unreadable(rule);
  return time;
}

function wholeNumber(text: string, rule: ScriptRule, max: number): number {
  if (!/^\d{1,4}$/.test(text) || Number(text) > max) throw unreadable(rule);
  return Number(text);
}

/** Code and qualifier are children, or text with the qualifier as an attribute (where message.ts also puts those of 10.6). */
function codedOf(scope: ScriptScope, text: string): { code: string; qualifier: string } {
  return { code: text || scope.text('Code', 'Value'), qualifier: scope.text('Qualifier', '@Qualifier').toUpperCase() };
}

function codingOf(coded: { code: string; qualifier: string }, systems: Readonly<Record<string, string>>, rule: ScriptRule, context: ConversionContext): Element | undefined {
  if (coded.code === '') return undefined;
  const system = Object.hasOwn(systems, coded.qualifier) ? systems[coded.qualifier] : undefined;
  if (system !== undefined) return { system, code: coded.code };
  context.untranslated(`${rule.from}/Qualifier`, 'code list qualifier');
  return { system: coded.qualifier === '' ? undefined : `urn:interlock:codes:${encodeURIComponent(context.channelId)}:${encodeURIComponent(coded.qualifier)}`, code: coded.code };
}

const contactSystems: Readonly<Record<string, Element>> = {
  TE: { system: 'phone' }, HP: { system: 'phone', use: 'home' }, WP: { system: 'phone', use: 'work' }, CP: { system: 'phone', use: 'mobile' },
  BN: { system: 'pager' }, FX: { system: 'fax' }, EM: { system: 'email' }, NP: { system: 'phone' },
};

const conversions: Readonly<Record<ScriptConversion, Convert>> = {
  string: (_scope, text, rule) => (rule.to === 'note[]' || rule.to === 'dosageInstruction[]' ? { text } : text),
  date: (scope, text, rule, context) => timeOf(scope, text, rule, context).date,
  dateTime: (scope, text, rule, context) => toDateTime(timeOf(scope, text, rule, context)),
  gender: (_scope, text, rule, context) => {
    if (Object.hasOwn(genders, text.toUpperCase())) return genders[text.toUpperCase()];
    context.untranslated(rule.from, 'gender');
    return undefined;
  },
  HumanName: (scope) => compact({
    family: scope.text('LastName'), given: [scope.text('FirstName'), scope.text('MiddleName')], prefix: [scope.text('Prefix')], suffix: [scope.text('Suffix')],
  }),
  Address: (scope) => compact({
    line: [scope.text('AddressLine1'), scope.text('AddressLine2')], city: scope.text('City'), state: scope.text('StateProvince', 'State'),
    postalCode: scope.text('PostalCode', 'ZipCode'), country: scope.text('CountryCode', 'Country'),
  }),
  phone: (scope, text) => phoneOf(text || scope.text('Number'), scope.text('Extension')),
  email: (_scope, text) => ({ value: text }),
  contact: (scope) => {
    const kind = scope.text('Qualifier').toUpperCase();
    const point = phoneOf(scope.text('Number'), '');
    return point === undefined ? undefined : { ...(Object.hasOwn(contactSystems, kind) ? contactSystems[kind] : { system: 'other' }), ...point };
  },
  drug: (scope, text, rule, context) => codingOf(codedOf(scope, text), drugCodeSystems, rule, context),
  diagnosis: (scope, text, rule, context) => compact({ coding: [codingOf(codedOf(scope, text), diagnosisSystems, rule, context)], text: scope.text('Description') }),
  decimal: (_scope, text, rule) => {
    if (!/^\d{1,11}(?:\.\d{1,6})?$/.test(text)) throw unreadable(rule);
    return Number(text);
  },
  count: (_scope, text, rule) => wholeNumber(text, rule, 99),
  days: (_scope, text, rule) => ({ value: wholeNumber(text, rule, 9999), unit: 'days', system: 'http://unitsofmeasure.org', code: 'd' }),
  unit: (_scope, text) => ({ unit: quantityUnits[text] ?? text, system: ncitSystem, code: text }),
  substitution: (_scope, text, rule, context) => {
    // 0: substitution allowed, 1: not allowed by the prescriber; other reasons are not for prescribers to give.
    if (text === '0' || text === '1') return text === '0';
    context.untranslated(rule.from, 'substitution');
    return undefined;
  },
};

function phoneOf(number: string, extension: string): Element | undefined {
  return number === '' ? undefined : { value: extension === '' ? number : `${number} x${extension}` };
}

/** Converts one value by its rule. @returns undefined if it has no FHIR form */
export function convertScript(value: ScriptValue, rule: ScriptRule, context: ConversionContext): unknown {
  const scope = new ScriptScope(value.node, context.usage);
  return conversions[rule.as](scope, value.text, rule, context);
}
