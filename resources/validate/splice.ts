/*
 * Edits of JSON bytes in place. JSON.parse followed by JSON.stringify turns the decimal 1.00 into 1, though FHIR counts its
 * precision as meaning (https://hl7.org/fhir/R4/json.html#decimal); so what a client sent is stored byte for byte, with only
 * the edits made here. Every function wants bytes that `parseResource` accepted.
 */

const quote = 0x22;
const backslash = 0x5c;

/** What the server decides about a version. */
export interface VersionMeta {
  readonly id: string;
  readonly versionId: number;
  readonly lastUpdated: Date;
}

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** One property of a JSON object, by the places of its value. */
export interface Member {
  readonly name: string;
  readonly valueStart: number;
  readonly valueEnd: number;
}

/**
 * The resource's bytes with `id`, `meta.versionId` and `meta.lastUpdated` set; everything else, white space and the digits of
 * numbers included, as it was. New members go after `resourceType`, or to the front of an existing `meta`.
 */
export function withMeta(bytes: Buffer, { id, versionId, lastUpdated }: VersionMeta): Buffer {
  const members = membersOf(bytes, skipSpace(bytes, 0));
  const find = (name: string) => members.find((member) => member.name === name);
  const type = find('resourceType');
  const oldId = find('id');
  const meta = find('meta');
  if (type === undefined) throw new TypeError('withMeta needs a resource');
  const version = JSON.stringify(String(versionId));
  const updated = JSON.stringify(lastUpdated.toISOString());
  const edits: Edit[] = [];
  let added = '';
  if (oldId === undefined) added += `,"id":${JSON.stringify(id)}`;
  else edits.push({ start: oldId.valueStart, end: oldId.valueEnd, text: JSON.stringify(id) });
  if (meta === undefined) added += `,"meta":{"versionId":${version},"lastUpdated":${updated}}`;
  else edits.push(...metaEdits(bytes, meta, version, updated));
  if (added !== '') edits.push({ start: type.valueEnd, end: type.valueEnd, text: added });
  return applyEdits(bytes, edits);
}

function metaEdits(bytes: Buffer, meta: Member, version: string, updated: string): Edit[] {
  const members = membersOf(bytes, meta.valueStart);
  const edits: Edit[] = [];
  const added: string[] = [];
  for (const [name, text] of [['versionId', version], ['lastUpdated', updated]] as const) {
    const member = members.find((one) => one.name === name);
    if (member === undefined) added.push(`"${name}":${text}`);
    else edits.push({ start: member.valueStart, end: member.valueEnd, text });
  }
  if (added.length > 0) edits.push({ start: meta.valueStart + 1, end: meta.valueStart + 1, text: added.join(',') + (members.length > 0 ? ',' : '') });
  return edits;
}

/**
 * The bytes of each entry's resource in a Bundle, in order; `undefined` for an entry without one. Views of `bundle`, not copies.
 */
export function entryResourceBytes(bundle: Buffer): (Buffer | undefined)[] {
  const entries = membersOf(bundle, skipSpace(bundle, 0)).find((member) => member.name === 'entry');
  if (entries === undefined) return [];
  return itemsOf(bundle, entries.valueStart).map((start) => {
    const resource = membersOf(bundle, start).find((member) => member.name === 'resource');
    return resource && bundle.subarray(resource.valueStart, resource.valueEnd);
  });
}

/**
 * Replaces string values anywhere in a resource, such as the `urn:uuid:` references of a transaction.
 *
 * @param replace gets the name of the property that holds the string (of the array, for its items) and the string;
 *   `undefined` keeps it, bytes and all
 */
export function rewriteStrings(bytes: Buffer, replace: (name: string, value: string) => string | undefined): Buffer {
  const edits: Edit[] = [];
  const visit = (name: string, start: number): void => {
    const first = bytes[start];
    if (first === 0x7b) for (const member of membersOf(bytes, start)) visit(member.name, member.valueStart);
    else if (first === 0x5b) for (const item of itemsOf(bytes, start)) visit(name, item);
    else if (first === quote) {
      const end = skipString(bytes, start);
      const text = replace(name, stringAt(bytes, start, end));
      if (text !== undefined) edits.push({ start, end, text: JSON.stringify(text) });
    }
  };
  visit('', skipSpace(bytes, 0));
  return edits.length === 0 ? bytes : applyEdits(bytes, edits);
}

function applyEdits(bytes: Buffer, edits: Edit[]): Buffer {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const { start, end, text } of edits.sort((a, b) => a.start - b.start)) {
    pieces.push(bytes.subarray(at, start), Buffer.from(text));
    at = end;
  }
  pieces.push(bytes.subarray(at));
  return Buffer.concat(pieces);
}

/** The properties of the object that starts at an index. */
export function membersOf(bytes: Buffer, start: number): Member[] {
  const members: Member[] = [];
  let at = skipSpace(bytes, start + 1);
  while (bytes[at] === quote) {
    const nameEnd = skipString(bytes, at);
    const valueStart = skipSpace(bytes, skipSpace(bytes, nameEnd) + 1);
    const valueEnd = skipValue(bytes, valueStart);
    members.push({ name: stringAt(bytes, at, nameEnd), valueStart, valueEnd });
    at = skipSpace(bytes, valueEnd);
    if (bytes[at] === 0x2c) at = skipSpace(bytes, at + 1);
  }
  return members;
}

/** Where the items of the array start that starts at an index. */
export function itemsOf(bytes: Buffer, start: number): number[] {
  const starts: number[] = [];
  let at = skipSpace(bytes, start + 1);
  while (at < bytes.length && bytes[at] !== 0x5d) {
    starts.push(at);
    at = skipSpace(bytes, skipValue(bytes, at));
    if (bytes[at] === 0x2c) at = skipSpace(bytes, at + 1);
  }
  return starts;
}

function stringAt(bytes: Buffer, start: number, end: number): string {
  const raw = bytes.toString('utf8', start + 1, end - 1);
  return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
}

/** The index of the next byte that is no white space. */
export function skipSpace(bytes: Buffer, start: number): number {
  let at = start;
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) at += 1;
  return at;
}

/** @returns the index after the closing quote */
function skipString(bytes: Buffer, start: number): number {
  let at = start + 1;
  while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1;
  return at + 1;
}

/** @returns the index after the value */
export function skipValue(bytes: Buffer, start: number): number {
  let depth = 0;
  for (let at = start; at < bytes.length; at += 1) {
    switch (bytes[at]) {
      case quote:
        at = skipString(bytes, at) - 1;
        if (depth === 0) return at + 1;
        break;
      case 0x7b:
      case 0x5b:
        depth += 1;
        break;
      case 0x7d:
      case 0x5d:
        // At depth 0 this closes the container, right after a number or literal.
        if (depth === 0) return at;
        depth -= 1;
        if (depth === 0) return at + 1;
        break;
      case 0x2c:
      case 0x20:
      case 0x0a:
      case 0x0d:
      case 0x09:
        if (depth === 0) return at;
        break;
    }
  }
  return bytes.length;
}
