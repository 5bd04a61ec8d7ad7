import type { Plan } from '../engine/plan.ts';
import { Planner } from '../engine/planner.ts';
import { Scope, Usage, type V2Context } from './context.ts';
import { isZone, parseTime, type V2Time } from './datetime.ts';
import { V2Error } from './error.ts';
import { buildFor } from './messages.ts';
import type { V2Message } from './message.ts';
import type { Systems } from './systems.ts';

/** What a channel's configuration says about its sender. */
export interface V2Options {
  /** Zone of times that carry none: IANA name or fixed offset such as `+02:00`. There is no default: a wrong one shifts every time. */
  readonly zone: string;
  readonly channelId: string;
  /** Namespaces of assigning authorities to the system URIs that they stand for. */
  readonly assigningAuthorities?: Readonly<Record<string, string>>;
}

/** @returns the systems by which this channel's numbers are known; see systems.ts */
export function systemsOf(message: V2Message, options: V2Options): Systems {
  const msh = message.segments[0];
  const facility = msh?.field(4)[0]?.at(1).text ?? '';
  return { channelId: options.channelId, facility: facility === '' ? (msh?.field(3)[0]?.at(1).text ?? '') : facility, authorities: options.assigningAuthorities ?? {} };
}

/**
 * MSH-9 to MSH-12.
 * @throws V2Error 101 without MSH-9 or MSH-10, 202 and 203 for a processing id or version that does not exist
 */
export function checkHeader(message: V2Message): void {
  const { header } = message;
  const at = (field: number): { segment: string; sequence: number; field: number } => ({ segment: 'MSH', sequence: 1, field });
  if (header.code === '') throw new V2Error('101', at(9));
  if (header.controlId === '') throw new V2Error('101', at(10));
  if (header.processingId !== '' && !/^[DPT](?:$|[^A-Za-z0-9])/.test(header.processingId)) throw new V2Error('202', at(11));
  if (header.version !== '' && !/^2(?:\.\d+){0,2}$/.test(header.version)) throw new V2Error('203', at(12));
}

/**
 * When the event took place. Several fields may tell; the recorded time (EVN-2) orders messages best, since the event's own
 * (EVN-6) may be entered long after. One precise to the second wins over a coarser one, which would put later messages of
 * the same minute before it. A bare date orders nothing.
 */
function eventTimes(message: V2Message, zone: string): { order: V2Time | undefined; occurred: V2Time | undefined } {
  const read = (segment: string, field: number): V2Time | undefined => parseTime(message.all(segment)[0]?.field(field)[0]?.at(1).text ?? '', zone);
  const [recorded, occurred, sent] = [read('EVN', 2), read('EVN', 6), read('MSH', 7)];
  const times = [recorded, occurred, sent].filter((time) => time !== undefined);
  return {
    order: times.find((time) => time.precision === 'second') ?? times.find((time) => time.precision === 'minute'),
    occurred: occurred ?? recorded ?? sent,
  };
}

/**
 * Maps a message to what it asks of the record. Pure: no clock, no randomness; the same message and options give the same
 * plan.
 * @throws V2Error telling the sender what is wrong; RangeError when the zone is none (a fault of the configuration)
 */
export function mapV2(message: V2Message, options: V2Options): Plan {
  if (!isZone(options.zone)) throw new RangeError('The channel needs a valid time zone.');
  checkHeader(message);
  const { code, trigger: declared, structure } = message.header;
  // MSH-9.2 is missing from some senders' messages; EVN-1 or the structure's name then tells.
  const trigger = declared || (message.all('EVN')[0]?.field(1)[0]?.text ?? '') || (structure.split('_')[1] ?? '');
  const build = buildFor(code, trigger);
  const untranslated = new Map<string, { path: string; table: string }>();
  const { order, occurred } = eventTimes(message, options.zone);
  const context: V2Context = {
    message,
    zone: options.zone,
    systems: systemsOf(message, options),
    planner: new Planner(),
    usage: new Usage(),
    event: { trigger, ...(occurred === undefined ? {} : { time: occurred }) },
    untranslated: (path, table) => void untranslated.set(`${path} ${table}`, { path, table }),
  };
  build(new Scope(message.segments, context), context);
  return context.planner.finish({
    messageType: `${code}^${trigger}`,
    ...(order === undefined ? {} : { eventAtMs: order.epochMs }),
    unmapped: context.usage.unmapped(message),
    untranslated: [...untranslated.values()],
  });
}
