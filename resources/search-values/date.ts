/** A span of time in milliseconds since 1970: [lo, hi). */
export interface DateRange {
  readonly lo: number;
  readonly hi: number;
}

const dateTime = /^(?<year>\d{4})(?:-(?<month>\d\d)(?:-(?<day>\d\d)(?:T(?<hour>\d\d):(?<minute>\d\d)(?::(?<second>\d\d)(?:\.(?<fraction>\d{1,9}))?)?(?<zone>Z|[+-]\d\d:\d\d)?)?)?)?$/;

/**
 * The span that a FHIR date, dateTime or instant covers at the precision it is written in: `2020` is a whole year,
 * `2020-01-01T10:00:00Z` a second (https://hl7.org/fhir/R4/search.html#date). Undefined if it is no such value.
 * @param zone IANA name of the time zone of values that carry none
 */
export function dateRange(text: string, zone = 'UTC'): DateRange | undefined {
  const groups = dateTime.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const part = (name: string): number | undefined => (groups[name] === undefined ? undefined : Number(groups[name]));
  const [year, month, day, hour, minute, second] = [part('year')!, part('month'), part('day'), part('hour'), part('minute'), part('second')];
  // Second 60 is a leap second: FHIR permits it, JavaScript counts it as the next second's start.
  if ((hour ?? 0) > 23 || (minute ?? 0) > 59 || (second ?? 0) > 60) return undefined;
  const startOfDay = utc(year, (month ?? 1) - 1, day ?? 1);
  const check = new Date(startOfDay);
  if (check.getUTCMonth() + 1 !== (month ?? 1) || check.getUTCDate() !== (day ?? 1)) return undefined;

  const shift = groups['zone'] === undefined ? undefined : offsetMs(groups['zone']);
  const at = (local: number): number => (shift === undefined ? fromLocal(local, zone) : local - shift);
  if (month === undefined) return { lo: at(startOfDay), hi: at(utc(year + 1, 0, 1)) };
  if (day === undefined) return { lo: at(startOfDay), hi: at(utc(year, month, 1)) };
  if (hour === undefined) return { lo: at(startOfDay), hi: at(startOfDay + 86_400_000) };
  const toMinute = startOfDay + hour * 3_600_000 + minute! * 60_000;
  if (second === undefined) return span(at(toMinute), 60_000);
  const toSecond = at(toMinute + second * 1000);
  const fraction = groups['fraction'];
  if (fraction === undefined) return span(toSecond, 1000);
  // Finer than a millisecond is kept as the millisecond that it lies in.
  const digits = Math.min(fraction.length, 3);
  return span(toSecond + Number(fraction.slice(0, 3).padEnd(3, '0')), 10 ** (3 - digits));
}

function span(lo: number, lengthMs: number): DateRange {
  return { lo, hi: lo + lengthMs };
}

function offsetMs(zone: string): number {
  if (zone === 'Z') return 0;
  return (zone.startsWith('-') ? -1 : 1) * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4))) * 60_000;
}

/** Date.UTC, which would read the years 0 to 99 as 1900 to 1999. */
function utc(year: number, month: number, day: number): number {
  return year > 99 ? Date.UTC(year, month, day) : new Date(0).setUTCFullYear(year, month, day);
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** The moment at which clocks of a zone show a local time (given as if it were UTC). */
function fromLocal(local: number, zone: string): number {
  if (zone === 'UTC') return local;
  // The offset is looked up at the guess, then once more at its result, for days on which the clocks change.
  const first = local - zoneOffsetMs(local, zone);
  return local - zoneOffsetMs(first, zone);
}

function zoneOffsetMs(moment: number, zone: string): number {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' });
    formats.set(zone, format);
  }
  const name = format.formatToParts(moment).find((it) => it.type === 'timeZoneName')!.value.slice('GMT'.length);
  return name === '' ? 0 : offsetMs(name.slice(0, 6));
}
