import { Message, type Segment } from 'node-hl7-client';
import { errorConditions, type V2Error } from './error.ts';
import type { V2Header } from './message.ts';

/** MSA-1 (HL7 table 0008): original mode AA, AE, AR; enhanced mode accept level CA, CE, CR. */
export type AckCode = 'AA' | 'AE' | 'AR' | 'CA' | 'CE' | 'CR';

export interface AckRequest {
  /** Facts of the message's MSH; undefined when it could not be read. */
  readonly header: V2Header | undefined;
  readonly code: AckCode;
  /** What was wrong; positions and names of our own only. */
  readonly errors?: readonly Pick<V2Error, 'condition' | 'location'>[];
  /** Our own MSH-10, unique for every answer. At most 20 characters fit every version. */
  readonly controlId: string;
  readonly nowMs: number;
}

const plain = { field: '|', component: '^', repetition: '~', escape: '\\', subcomponent: '&' } as const;

/** YYYYMMDDHHMMSS+0000. */
function timestamp(nowMs: number): string {
  return `${new Date(nowMs).toISOString().slice(0, 19).replace(/[-:T]/g, '')}+0000`;
}

/** ERR-2 (ERL): SEG^sequence^field^repetition^component; empty trailing components are left out. */
function locate(segment: Segment, field: number, { location }: Pick<V2Error, 'location'>): void {
  if (location === undefined) return;
  const parts = [location.segment, location.sequence ?? 1, location.field, location.repetition, location.component];
  parts.forEach((part, index) => part !== undefined && segment.set(`${field}.${index + 1}`, String(part)));
}

const version = (text: string): number => {
  const match = /^2\.(\d+)/.exec(text);
  return match === null ? 5 : Number(match[1]);
};

/**
 * Builds the acknowledgement of a message: sender and receiver swapped, version, processing id, character set and
 * delimiters as the sender has them (HL7 v2.5.1 section 2.9). Errors go into ERR-2, -3, -4 and -8 from v2.5 on, into ERR-1 and
 * MSA-6 in v2.3 to v2.4, into MSA-3 alone before. What came as MSH-10 is echoed as it was written.
 *
 * node-hl7-client writes the segments and escapes our own texts. MSH is written by hand: the library's builder takes clock
 * and random numbers of its own and knows no ACK of another's message, and echoed fields are escaped already.
 * @returns segments each ended by CR
 */
export function buildAck({ header, code, errors = [], controlId, nowMs }: AckRequest): string {
  const d = header?.delimiters ?? plain;
  const minor = version(header?.version ?? '');
  // A header field can hold no line end; one that a sender smuggled in would start a segment here.
  const echo = (text: string | undefined): string => (text ?? '').replace(/[\r\n]/g, ' ');
  const type = minor < 3 || header === undefined || header.trigger === '' ? 'ACK' : ['ACK', header.trigger.replace(/[^A-Za-z0-9]/g, ''), ...(minor >= 4 ? ['ACK'] : [])].join(d.component);
  const fields = [
    `${d.component}${d.repetition}${d.escape}${d.subcomponent}`,
    echo(header?.receivingApplication), echo(header?.receivingFacility), echo(header?.sendingApplication), echo(header?.sendingFacility),
    timestamp(nowMs), '', type, controlId, echo(header?.processingId) || 'P', echo(header?.version) || '2.5.1', '', '', '', '', '', echo(header?.charset),
  ];
  const message = new Message({ text: `MSH${d.field}${d.component}${d.repetition}${d.escape}${d.subcomponent}` });
  const texts = errors.map((error) => errorConditions[error.condition]);
  const msa = message.addSegment('MSA');
  msa.set('1', code);
  if (errors.length > 0 && minor < 5) msa.set('3', texts.join('; '));
  const first = errors[0];
  if (first !== undefined && minor >= 3 && minor < 5) conditionIn(msa, '6', first);
  const segments = [msa];
  for (const error of minor >= 3 ? errors : []) {
    const err = message.addSegment('ERR');
    if (minor < 5) {
      const { location } = error;
      [location?.segment ?? 'MSH', location?.sequence ?? 1, location?.field ?? ''].forEach((part, index) => part !== '' && err.set(`1.${index + 1}`, String(part)));
      [error.condition, errorConditions[error.condition], 'HL70357'].forEach((part, index) => err.set(`1.4.${index + 1}`, part));
    } else {
      locate(err, 2, error);
      conditionIn(err, '3', error);
      err.set('4', 'E');
      err.set('8', errorConditions[error.condition]);
    }
    segments.push(err);
  }
  const [acknowledged = '', ...rest] = segments.map((segment) => segment.toRaw());
  // MSA-2 is spliced in as it came: setting it would escape what is escaped already.
  const parts = acknowledged.split(d.field);
  parts[2] = echo(header?.controlId);
  const lines = [`MSH${d.field}${fields.join(d.field)}`.replace(new RegExp(`${escapeForRegExp(d.field)}+$`), ''), parts.join(d.field), ...rest];
  return lines.map((line) => `${line}\r`).join('');
}

function conditionIn(segment: Segment, field: string, { condition }: Pick<V2Error, 'condition'>): void {
  segment.set(`${field}.1`, condition);
  segment.set(`${field}.2`, errorConditions[condition]);
  segment.set(`${field}.3`, 'HL70357');
}

const escapeForRegExp = (text: string): string => text.replace(/[-/\\^$*+?.()|[\]{}]/g, '\\$&');
