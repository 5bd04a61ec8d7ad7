import { compact, type Element } from '../engine/elements.ts';
import type { Scope, V2Context } from './context.ts';
import { codeableConceptOf, numberOf, quantityOf } from './datatypes.ts';
import { parseTime, toDateTime } from './datetime.ts';
import type { V2Part } from './message.ts';
import { repeatPatterns, timingAbbreviations, tables } from './tables/index.ts';
import { translate } from './tables/table.ts';

/** What TQ1, or the older TQ data type, says about an order. */
export interface OrderTiming {
  readonly timing?: Element;
  readonly doseQuantity?: Element;
  readonly asNeeded: boolean;
  /** Conditions and instructions in words. */
  readonly instructions: readonly string[];
  readonly priority?: string;
  readonly start?: string;
}

const ucum = 'http://unitsofmeasure.org';
const units: Readonly<Record<string, string>> = { S: 's', SEC: 's', M: 'min', MIN: 'min', H: 'h', HR: 'h', D: 'd', DAY: 'd', W: 'wk', WK: 'wk', WEEK: 'wk', L: 'mo', MO: 'mo', MONTH: 'mo', A: 'a', ANN: 'a', YR: 'a' };

/** Parts of a repeat that different patterns contribute. */
interface Pattern {
  readonly repeat: Element;
  readonly code?: Element;
  readonly asNeeded: boolean;
}

/** Meals and bedtime (HL7 table 0528 and table 0335), as Timing.repeat.when. */
const eventTimes: ReadonlySet<string> = new Set(['HS', 'AC', 'ACM', 'ACD', 'ACV', 'C', 'CM', 'CD', 'CV', 'PC', 'PCM', 'PCD', 'PCV']);

/** A repeat pattern of table 0335, such as `BID`, `Q6H`, `3ID`, `PRN` or `Q4H PRN`. What no pattern fits stays as text. */
function patternOf(part: V2Part, context: V2Context): Pattern {
  const sent = part.at(1).text.trim();
  const code = sent.toUpperCase();
  const asNeeded = /(?:^|[\s_])PRN|^PRN/.test(code);
  const bare = code.replace(/[\s_]*PRN[\s_]*/, '');
  const every = /^Q(\d{1,3})([SMHDWL])$/.exec(bare);
  const times = /^(\d{1,2})ID$/.exec(bare);
  let repeat: Element = {};
  if (repeatPatterns[bare] !== undefined) repeat = { ...repeatPatterns[bare] };
  else if (every !== null && Number(every[1]) > 0) repeat = { frequency: 1, period: Number(every[1]), periodUnit: units[every[2] ?? ''] };
  else if (times !== null && Number(times[1]) > 0) repeat = { frequency: Number(times[1]), period: 1, periodUnit: 'd' };
  else if (eventTimes.has(bare) && bare !== 'C') repeat = { when: [bare] };
  if (sent === '') return { repeat, asNeeded };
  const known = timingAbbreviations.has(bare);
  const concept = codeableConceptOf(part, context, 'TQ1-3') ?? {};
  return { repeat, asNeeded, code: compact({ coding: known ? [{ system: 'http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation', code: bare }] : undefined, text: concept.text ?? sent }) as Element };
}

const timeOfDay = (text: string): string | undefined => {
  const match = /^([01]?\d|2[0-3]):?([0-5]\d)(?::?([0-5]\d))?$/.exec(text.trim());
  return match === null ? undefined : `${(match[1] ?? '').padStart(2, '0')}:${match[2] ?? ''}:${match[3] ?? '00'}`;
};

interface Bounds {
  readonly start: string;
  readonly end: string;
  /** A duration as FHIR Duration, or a number of occurrences. */
  readonly duration?: Element;
}

function boundsOf({ start, end, duration }: Bounds, context: V2Context): Element {
  const [from, to] = [parseTime(start, context.zone), parseTime(end, context.zone)];
  if (from === undefined && to === undefined) return duration === undefined ? {} : { boundsDuration: duration };
  const reversed = from !== undefined && to !== undefined && to.epochMs < from.epochMs;
  return { boundsPeriod: compact({ start: from === undefined ? undefined : toDateTime(from), end: to === undefined || reversed ? undefined : toDateTime(to) }) };
}

const durationOf = (value: number | undefined, unit: string): Element | undefined => {
  const code = units[unit.toUpperCase()] ?? (Object.values(units).includes(unit) ? unit : undefined);
  return value === undefined || code === undefined ? undefined : { value, unit: code, system: ucum, code };
};

function timingOf(pattern: Pattern, times: readonly string[], rest: Element): Element | undefined {
  const hours = times.map(timeOfDay).filter((time) => time !== undefined);
  // FHIR allows times of day or meals, not both (tim-10).
  const repeat = compact({ ...rest, ...pattern.repeat, timeOfDay: pattern.repeat.when === undefined ? hours : undefined });
  return compact({ repeat, code: pattern.code }) as Element | undefined;
}

const priorityOf = (text: string): string | undefined => (text === '' ? undefined : translate(tables.Priority, text)?.code);

/** TQ1 (https://build.fhir.org/ig/HL7/v2-to-fhir/ConceptMap-segment-tq1-to-medicationrequest.html). */
export function timingFromTq1(scope: Scope, context: V2Context): OrderTiming {
  const repetition = scope.read('TQ1-3')[0];
  const pattern: Pattern = repetition === undefined ? { repeat: {}, asNeeded: false } : patternOf(repetition.at(1), context);
  const quantity = scope.read('TQ1-2')[0];
  const [length, occurrence] = [scope.read('TQ1-6')[0], scope.read('TQ1-13')[0]];
  const duration = length === undefined ? undefined : durationOf(numberOf(length.at(1).text), length.at(2).text);
  const each = occurrence === undefined ? undefined : durationOf(numberOf(occurrence.at(1).text), occurrence.at(2).text);
  const total = numberOf(scope.text('TQ1-14'));
  const start = scope.text('TQ1-7');
  const started = parseTime(start, context.zone);
  const timing = timingOf(pattern, scope.read('TQ1-4').map((part) => part.text), {
    ...boundsOf({ start, end: scope.text('TQ1-8'), ...(duration === undefined ? {} : { duration }) }, context),
    ...(each === undefined ? {} : { duration: each.value, durationUnit: each.code }),
    ...(total === undefined || total < 1 || !Number.isInteger(total) ? {} : { count: total }),
  });
  const dose = quantity === undefined ? undefined : quantityOf(numberOf(quantity.at(1).text), quantity.at(2), context);
  const priority = priorityOf(scope.text('TQ1-9'));
  return {
    ...(timing === undefined ? {} : { timing }),
    ...(dose === undefined ? {} : { doseQuantity: dose }),
    asNeeded: pattern.asNeeded,
    instructions: ['TQ1-10', 'TQ1-11'].flatMap((position) => scope.read(position).map((part) => part.whole)).filter((text) => text !== ''),
    ...(priority === undefined ? {} : { priority }),
    ...(started === undefined ? {} : { start: toDateTime(started) }),
  };
}

/** TQ, the data type of ORC-7, OBR-27 and RXE-1 before v2.7 (HL7 v2.5.1 section 2.A.81). */
export function timingFromTq(part: V2Part, context: V2Context): OrderTiming {
  const pattern = patternOf(part.at(2), context);
  // TQ.3: X10 ten times, D4 four days, INDEF.
  const length = /^([XSMHDWL])(\d{1,5})$/.exec(part.at(3).text.toUpperCase());
  const count = length?.[1] === 'X' ? Number(length[2]) : undefined;
  const duration = length === null || count !== undefined ? undefined : durationOf(Number(length[2]), length[1] ?? '');
  const start = part.at(4).text;
  const started = parseTime(start, context.zone);
  const timing = timingOf(pattern, part.at(2).at(2).text.split(','), {
    ...boundsOf({ start, end: part.at(5).text, ...(duration === undefined ? {} : { duration }) }, context),
    ...(count === undefined || count < 1 ? {} : { count }),
  });
  const dose = quantityOf(numberOf(part.at(1).at(1).text), part.at(1).at(2), context);
  const priority = priorityOf(part.at(6).text);
  return {
    ...(timing === undefined ? {} : { timing }),
    ...(dose === undefined ? {} : { doseQuantity: dose }),
    asNeeded: pattern.asNeeded,
    instructions: [part.at(7).whole, part.at(8).whole].filter((text) => text !== ''),
    ...(priority === undefined ? {} : { priority }),
    ...(started === undefined ? {} : { start: toDateTime(started) }),
  };
}

/** The order's timings: its TQ1 segments, else RXE-1 or ORC-7 or OBR-27 of older messages. */
export function orderTimings(scope: Scope, context: V2Context): OrderTiming[] {
  const tq1 = scope.all('TQ1');
  if (tq1.length > 0) return tq1.map((one) => timingFromTq1(one, context));
  const older = ['RXE-1', 'ORC-7', 'OBR-27'].map((position) => scope.read(position).filter((part) => !part.isNull));
  return (older.find((parts) => parts.some((part) => part.raw.replace(/[\^&]/g, '') !== '')) ?? []).map((part) => timingFromTq(part, context));
}
