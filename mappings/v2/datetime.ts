/** A DT, TM-less TS or DTM value, with exactly the precision that was sent. */
export interface V2Time {
  readonly precision: 'year' | 'month' | 'day' | 'hour' | 'minute' | 'second';
  /** FHIR date part, such as `2024`, `2024-05` or `2024-05-17`. */
  readonly date: string;
  /** `HH:MM:SS[.fff]`; absent when only a date was sent. */
  readonly time?: string;
  /** `Z` or `±HH:MM`: the sender's, or the channel's zone at that moment. Present with `time`. */
  readonly offset?: string;
  /** Milliseconds since 1970; the start of the stated interval. A date without time is taken in the channel's zone. */
  readonly epochMs: number;
}

// YYYY[MM[DD[HH[MM[SS[.ffff]]]]]][±ZZ[ZZ]], and the ISO 8601 form that newer senders write by mistake.
const dtm = /^(\d{4})(?:-?(\d{2})(?:-?(\d{2})(?:[T ]?(\d{2})(?::?(\d{2})(?::?(\d{2})(?:[.,](\d{1,9}))?)?)?)?)?)?(Z|[+-]\d{2}(?::?\d{2})?)?$/;

const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterOf(zone: string): Intl.DateTimeFormat {
  let formatter = formatters.get(zone);
  if (formatter === undefined) {
    if (formatters.size >= 100) formatters.clear();
    formatter = new Intl.DateTimeFormat('en-US', { timeZone: zone, hourCycle: 'h23', year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit' });
    formatters.set(zone, formatter);
  }
  return formatter;
}

const offsets = new Map<string, Map<number, number>>();

/** Minutes east of Greenwich of a zone at a moment. Remembered per quarter of an hour, since no zone changes within one. */
function offsetAtMinutes(zone: string, epochMs: number): number {
  const quarter = Math.floor(epochMs / 900_000);
  let known = offsets.get(zone);
  if (known === undefined) {
    if (offsets.size >= 20) offsets.clear();
    offsets.set(zone, (known = new Map<number, number>()));
  }
  let offset = known.get(quarter);
  if (offset === undefined) {
    if (known.size >= 5_000) known.clear();
    known.set(quarter, (offset = computeOffsetMinutes(zone, epochMs)));
  }
  return offset;
}

function computeOffsetMinutes(zone: string, epochMs: number): number {
  const parts: Record<string, number> = {};
  for (const part of formatterOf(zone).formatToParts(epochMs)) parts[part.type] = Number(part.value);
  const local = Date.UTC(parts.year ?? 0, (parts.month ?? 1) - 1, parts.day ?? 1, parts.hour ?? 0, parts.minute ?? 0, parts.second ?? 0);
  return Math.round((local - Math.floor(epochMs / 1000) * 1000) / 60_000);
}

/** Offset of a local wall time; where clocks repeat an hour its first pass, where they skip one the new offset. */
function offsetOfLocalMinutes(zone: string, localMs: number): number {
  const fixed = /^([+-])(\d{2}):?(\d{2})$/.exec(zone);
  if (fixed !== null) return (fixed[1] === '-' ? -1 : 1) * (Number(fixed[2]) * 60 + Number(fixed[3]));
  const before = offsetAtMinutes(zone, localMs - 86_400_000);
  return offsetAtMinutes(zone, localMs - before * 60_000) === before ? before : offsetAtMinutes(zone, localMs - offsetAtMinutes(zone, localMs) * 60_000);
}

function offsetText(minutes: number): string {
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${String(Math.floor(size / 60)).padStart(2, '0')}:${String(size % 60).padStart(2, '0')}`;
}

/** True when the name is an IANA zone or a fixed offset such as `+02:00`. */
export function isZone(zone: string): boolean {
  if (/^[+-]\d{2}:?\d{2}$/.test(zone)) return true;
  try {
    formatterOf(zone);
    return true;
  } catch {
    return false;
  }
}

/**
 * Reads a DT, DTM or TS value (HL7 v2.5.1 section 2.A.22). The sender's offset is kept; without one the channel's zone
 * applies. Nothing is guessed: an impossible date gives undefined.
 * @param zone IANA name or fixed offset; valid (see isZone)
 */
export function parseTime(text: string, zone: string): V2Time | undefined {
  const match = dtm.exec(text.trim());
  if (match === null) return undefined;
  const [, year = '', month, day, hour, minute, second, fraction, zoned] = match;
  const [y, mo, d, h, mi, s] = [Number(year), Number(month ?? 1), Number(day ?? 1), Number(hour ?? 0), Number(minute ?? 0), Number(second ?? 0)];
  const local = Date.UTC(y, mo - 1, d, h, mi, s);
  const check = new Date(local);
  if (y < 1000 || check.getUTCFullYear() !== y || check.getUTCMonth() !== mo - 1 || check.getUTCDate() !== d || h > 23 || mi > 59 || s > 59) return undefined;
  const date = [year, month, day].filter((part) => part !== undefined).join('-');
  const sent = zoned === undefined ? undefined : zoned === 'Z' ? 0 : Number(`${zoned[0] ?? ''}1`) * (Number(zoned.slice(1, 3)) * 60 + Number(zoned.replace(':', '').slice(3)));
  if (sent !== undefined && Math.abs(sent) > 14 * 60) return undefined;
  const offset = sent ?? offsetOfLocalMinutes(zone, local);
  const epochMs = local - offset * 60_000 + (fraction === undefined ? 0 : Math.floor(Number(`0.${fraction}`) * 1000));
  if (hour === undefined) return { precision: day !== undefined ? 'day' : month !== undefined ? 'month' : 'year', date, epochMs };
  const time = `${hour}:${minute ?? '00'}:${second ?? '00'}${fraction === undefined ? '' : `.${fraction}`}`;
  return { precision: second !== undefined ? 'second' : minute !== undefined ? 'minute' : 'hour', date, time, offset: zoned === 'Z' ? 'Z' : offsetText(offset), epochMs };
}

/**
 * FHIR dateTime (https://hl7.org/fhir/R4/datatypes.html#dateTime). FHIR demands seconds with any time, "which may be
 * zero-filled"; an hour alone has no FHIR form, so only its date is kept rather than minutes invented.
 */
export function toDateTime(time: V2Time): string {
  return time.time === undefined || time.precision === 'hour' ? time.date : `${time.date}T${time.time}${time.offset ?? ''}`;
}

/** FHIR instant, or undefined when the value is less precise than a minute: an instant cannot be partial. */
export function toInstant(time: V2Time): string | undefined {
  return time.precision === 'minute' || time.precision === 'second' ? toDateTime(time) : undefined;
}
