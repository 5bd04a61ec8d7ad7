import { Message } from 'node-hl7-client';
import { decodeText } from './charset.ts';
import { V2Error } from './error.ts';
import { unescape, type Delimiters } from './escape.ts';

/** Bounds that no honest message reaches; beyond them a message is refused before it costs more. */
export const messageLimits = { segments: 20_000, fieldsPerSegment: 1_000, characters: 64 * 1024 * 1024 } as const;

/** A repetition of a field, a component or a subcomponent. */
export interface V2Part {
  /** As sent, escapes and delimiters included. */
  readonly raw: string;
  /** The first leaf, unescaped and trimmed; empty for `""`. */
  readonly text: string;
  /** Everything in this part unescaped, for text types in which senders forget to escape delimiters. */
  readonly whole: string;
  /** Sent as `""`: the sender asks that the stored value be deleted. */
  readonly isNull: boolean;
  readonly isEmpty: boolean;
  /** Component (of a repetition) or subcomponent (of a component), counted from 1; an empty part where there is none. */
  at(position: number): V2Part;
}

export interface V2Segment {
  readonly name: string;
  /** Which segment of this name, counted from 1. */
  readonly occurrence: number;
  /** Numbers of the fields that hold anything, `""` included. */
  readonly populated: readonly number[];
  /** Populated repetitions of a field; empty when there is none. MSH-1 is the field separator. */
  field(number: number): readonly V2Part[];
}

/** The facts of MSH, as sent, delimiters and escapes included: what routing and acknowledging need. */
export interface V2Header {
  readonly delimiters: Delimiters;
  /** MSH-3 to MSH-6. */
  readonly sendingApplication: string;
  readonly sendingFacility: string;
  readonly receivingApplication: string;
  readonly receivingFacility: string;
  /** MSH-9.1, MSH-9.2 and MSH-9.3 (derived from the first two where it is missing). */
  readonly code: string;
  readonly trigger: string;
  readonly structure: string;
  /** MSH-10. */
  readonly controlId: string;
  /** MSH-11 and MSH-12. */
  readonly processingId: string;
  readonly version: string;
  /** MSH-15 and MSH-16: AL, NE, ER, SU or empty. */
  readonly acceptAcknowledgment: string;
  readonly applicationAcknowledgment: string;
  /** MSH-18. */
  readonly charset: string;
}

export interface V2Message {
  readonly header: V2Header;
  readonly segments: readonly V2Segment[];
  /** All segments of a name, in order. */
  all(name: string): readonly V2Segment[];
}

/** Structures that several trigger events share (HL7 table 0354), for senders that leave MSH-9.3 out. */
const structures: Readonly<Record<string, string>> = {
  A04: 'ADT_A01', A08: 'ADT_A01', A13: 'ADT_A01', A14: 'ADT_A05', A28: 'ADT_A05', A31: 'ADT_A05', A07: 'ADT_A06', A10: 'ADT_A09', A11: 'ADT_A09',
  A12: 'ADT_A09', A15: 'ADT_A15', A16: 'ADT_A16', A22: 'ADT_A21', A23: 'ADT_A21', A25: 'ADT_A21', A26: 'ADT_A21', A27: 'ADT_A21', A29: 'ADT_A21',
  A34: 'ADT_A30', A39: 'ADT_A39', A40: 'ADT_A39', A47: 'ADT_A30', O25: 'RDE_O11',
};

/** False for text of blanks and delimiters only: `^^^` is an address of no parts. */
function holdsAnything(raw: string, { component, subcomponent, repetition }: Delimiters): boolean {
  for (let index = 0; index < raw.length; index += 1) {
    const character = raw.charAt(index);
    if (character !== component && character !== subcomponent && character !== repetition && character.trim() !== '') return true;
  }
  return false;
}

/** Most text has nothing to split, which is cheaper to find out first. */
function split(text: string, delimiter: string): string[] {
  return text.includes(delimiter) ? text.split(delimiter) : [text];
}

/** A part holds its text and is split when asked for: most of what a message holds is never read. */
class Part implements V2Part {
  readonly raw: string;
  readonly isEmpty: boolean;
  private readonly delimiters: Delimiters;
  /** Levels below that may still be split. */
  private readonly depth: number;
  private known: string | undefined;
  /** What is below, each as text until it is asked for. */
  private children: (string | V2Part)[] | undefined;

  constructor(raw: string, depth: number, delimiters: Delimiters) {
    this.raw = raw;
    this.depth = depth;
    this.delimiters = delimiters;
    this.isEmpty = raw === '';
  }

  get isNull(): boolean {
    return this.raw.includes('""') && this.raw.trim() === '""';
  }

  get text(): string {
    return (this.known ??= this.plain(this.firstLeaf()));
  }

  get whole(): string {
    return this.plain(this.raw);
  }

  at(position: number): V2Part {
    if (this.depth === 0) return position === 1 ? this : emptyPart;
    this.children ??= split(this.raw, this.depth === 2 ? this.delimiters.component : this.delimiters.subcomponent);
    const child = this.children[position - 1];
    if (typeof child !== 'string') return child ?? emptyPart;
    return (this.children[position - 1] = partOf(child, this.depth - 1, this.delimiters));
  }

  private firstLeaf(): string {
    const component = this.raw.indexOf(this.delimiters.component);
    const first = component < 0 ? this.raw : this.raw.slice(0, component);
    const subcomponent = first.indexOf(this.delimiters.subcomponent);
    return subcomponent < 0 ? first : first.slice(0, subcomponent);
  }

  private plain(text: string): string {
    return text.trim() === '""' ? '' : unescape(text, this.delimiters).trim();
  }
}

const emptyPart: V2Part = new Part('', 0, { field: '', component: '', repetition: '', escape: '', subcomponent: '' });

function partOf(raw: string, depth: number, delimiters: Delimiters): V2Part {
  return holdsAnything(raw, delimiters) ? new Part(raw, depth, delimiters) : emptyPart;
}

/** A part for text that is not split at all, such as MSH-1 and MSH-2. */
function verbatim(raw: string): V2Part {
  return raw === '' ? emptyPart : { raw, text: raw, whole: raw, isNull: false, isEmpty: false, at: (position) => (position === 1 ? verbatim(raw) : emptyPart) };
}

/**
 * node-hl7-client splits segments into fields. It is given them one by one because its constructor takes the text `MSH|`
 * anywhere for a second message (a sending application called MSH is enough), throws on blank lines, and takes a short MSH-2
 * apart wrongly. What is in a field is split here: each of the library's nodes is an event emitter, which costs more than
 * the rest of a map. Unescaping is done in escape.ts: the library's drops what it does not know.
 */
class Splitter extends Message {
  constructor(delimiters: Delimiters) {
    super({ text: `MSH${delimiters.field}${delimiters.component}${delimiters.repetition}${delimiters.escape}${delimiters.subcomponent}` });
  }

  /** The segment's name and its fields. */
  split(line: string): string[] {
    return this.addChild(line).toArray().map((field) => field.toRaw());
  }
}

const none: readonly V2Part[] = [];

class Segment implements V2Segment {
  readonly name: string;
  readonly occurrence: number;
  private readonly delimiters: Delimiters;
  /** By number; what precedes the first is the segment's name. */
  private readonly raw: readonly string[];
  private readonly fields: (readonly V2Part[])[] = [];

  constructor(raw: readonly string[], name: string, occurrence: number, delimiters: Delimiters) {
    this.raw = raw;
    this.name = name;
    this.occurrence = occurrence;
    this.delimiters = delimiters;
  }

  get populated(): readonly number[] {
    const numbers: number[] = [];
    for (let number = 1; number < this.raw.length; number += 1) if (number <= this.verbatim || holdsAnything(this.raw[number] ?? '', this.delimiters)) numbers.push(number);
    return numbers;
  }

  field(number: number): readonly V2Part[] {
    return (this.fields[number] ??= this.partsOf(number));
  }

  private partsOf(number: number): readonly V2Part[] {
    const raw = number < 1 ? '' : (this.raw[number] ?? '');
    if (number <= this.verbatim && number > 0) return [verbatim(raw)];
    if (raw === '') return none;
    const parts = split(raw, this.delimiters.repetition).map((repetition) => partOf(repetition, 2, this.delimiters));
    return parts.filter((part) => !part.isEmpty);
  }

  /** MSH-1 and MSH-2 hold the delimiters. */
  private get verbatim(): number {
    return this.name === 'MSH' ? 2 : 0;
  }
}

/** @throws V2Error 100 when the text does not start with MSH, 102 when its delimiters are unusable */
function delimitersOf(text: string): Delimiters {
  if (!text.startsWith('MSH')) throw new V2Error('100', { segment: 'MSH', sequence: 1 }, 'a message starts with MSH');
  const field = text[3] ?? '';
  const encoding = (text.slice(4).split(/[\r\n]/, 1)[0] ?? '').split(field, 1)[0] ?? '';
  // Some senders' programs escape the escape character once too often and write ^~\\\\&: read as meant.
  const [component = '^', repetition = '~', escape = '\\', subcomponent = '&'] = encoding.replace(/(.)\1/, '$1');
  const all = [field, component, repetition, escape, subcomponent];
  if (new Set(all).size !== 5 || all.some((one) => one.length !== 1 || /[A-Za-z0-9\s"]/.test(one))) throw new V2Error('102', { segment: 'MSH', field: field === '' ? 1 : 2 });
  return { field, component, repetition, escape, subcomponent };
}

/** Lines that are segments; a line that cannot be one continues the field before it, since senders put bare line ends into text. */
function linesOf(text: string, field: string): string[] {
  const lines: string[] = [];
  for (const line of text.split(/\r\n|\r|\n/)) {
    if (/^[A-Z][A-Z0-9]{2}$/.test(line.slice(0, 3)) && (line.length === 3 || line[3] === field)) lines.push(line);
    // A header has no free text that could go on in a second line.
    else if (line.trim() !== '' && lines.length === 1) throw new V2Error('100', { segment: 'MSH', sequence: 1 }, 'what follows MSH is no segment');
    else if (line.trim() !== '' && lines.length > 0) lines.push(`${lines.pop() ?? ''}\n${line}`);
    if (lines.length > messageLimits.segments) throw new V2Error('207', undefined, 'too many segments');
  }
  return lines;
}

function headerOf(msh: V2Segment, delimiters: Delimiters): V2Header {
  const raw = (number: number): string => msh.field(number)[0]?.raw.trim() ?? '';
  const type = msh.field(9)[0] ?? emptyPart;
  const [code, trigger] = [type.at(1).text.toUpperCase(), type.at(2).text.toUpperCase()];
  return {
    delimiters,
    sendingApplication: raw(3),
    sendingFacility: raw(4),
    receivingApplication: raw(5),
    receivingFacility: raw(6),
    code,
    trigger,
    structure: type.at(3).text || (structures[trigger] ?? (trigger === '' ? code : `${code}_${trigger}`)),
    controlId: raw(10),
    processingId: raw(11),
    version: msh.field(12)[0]?.at(1).text ?? '',
    acceptAcknowledgment: raw(15),
    applicationAcknowledgment: raw(16),
    charset: raw(18),
  };
}

/** Text without byte order mark, MLLP frame and blank lines around it. */
function trimmed(text: string): string {
  // Frame bytes of MLLP included.
  return text.replace(/^[\uFEFF\u000b\s]+/, '').replace(/[\u001c\s\u0000]+$/, '');
}

/**
 * Reads one message. Nonstandard delimiters, any line ends and a missing MSH-9.3 are fine.
 * @throws V2Error 100, 102 or 207; nothing else
 */
export function parseMessage(input: string): V2Message {
  const text = trimmed(input);
  if (text.length > messageLimits.characters) throw new V2Error('207', undefined, 'too long');
  const delimiters = delimitersOf(text);
  const splitter = new Splitter(delimiters);
  const counts = new Map<string, number>();
  const segments = linesOf(text, delimiters.field).map((line) => {
    const name = line.slice(0, 3);
    const occurrence = (counts.get(name) ?? 0) + 1;
    counts.set(name, occurrence);
    if (name === 'MSH' && occurrence > 1) throw new V2Error('100', { segment: 'MSH', sequence: occurrence }, 'several messages at once need a batch');
    const fields = splitter.split(line);
    if (fields.length > messageLimits.fieldsPerSegment) throw new V2Error('207', { segment: name, sequence: occurrence }, 'too many fields');
    // In a header segment the field separator itself is field 1.
    return new Segment(name === 'MSH' ? fields.toSpliced(1, 0, delimiters.field) : fields, name, occurrence, delimiters);
  });
  const msh = segments[0];
  if (msh === undefined) throw new V2Error('100', { segment: 'MSH', sequence: 1 });
  const byName = Map.groupBy(segments, (segment) => segment.name);
  return { header: headerOf(msh, delimiters), segments, all: (name) => byName.get(name) ?? [] };
}

/** What can be told of a header, for acknowledging a message that may be broken elsewhere. Never throws. */
export function readHeader(text: string): V2Header | undefined {
  try {
    return parseMessage(trimmed(text).split(/[\r\n]/, 1)[0] ?? '').header;
  } catch {
    return undefined;
  }
}

/**
 * Messages of a batch or file (FHS, BHS, MSH …, BTS, FTS), or the one message that the text is. Header and trailer
 * segments of the batch are left out.
 */
export function splitBatch(input: string): string[] {
  const text = trimmed(input);
  if (!/^(?:FHS|BHS)/.test(text) && !/[\r\n]MSH[^A-Za-z0-9\s]/.test(text)) return [text];
  const messages: string[][] = [];
  for (const line of text.split(/\r\n|\r|\n/)) {
    if (/^MSH[^A-Za-z0-9\s]/.test(line)) messages.push([line]);
    else if (!/^(?:FHS|BHS|BTS|FTS)(?:[^A-Za-z0-9]|$)/.test(line)) messages.at(-1)?.push(line);
  }
  return messages.map((lines) => lines.join('\r'));
}

/** Decodes and splits what came over the wire or from a file: one text per message, in order. Never throws. */
export function messagesIn(bytes: Uint8Array): string[] {
  return splitBatch(decodeText(bytes));
}
