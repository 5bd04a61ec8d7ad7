import { normalizeString, type SearchParam, type SearchValue } from '../../resources/search-values/index.ts';
import { foldedModifiers, type Criterion } from '../search/criteria.ts';
import { isCommon } from '../search/token-policy.ts';
import type { SearchValues } from '../search/tokens.ts';
import { InterlockError } from '../../resources/outcome/error.ts';

/*
 * The columns of a version, for sorting and for conditions that have no token: its logical id, then an entry for each search
 * parameter that it has a value for (which answers :missing), with the values where they are short and of use:
 *   format (1 byte), id (length byte), entries of: parameter (3 bytes), kind (1), length (2), data; then zeros
 */

const format = 1;
const kinds = { present: 0, dates: 1, strings: 2, tokens: 3 } as const;
/** Set on the kind of an entry that does not hold all values whole. */
const partial = 0x80;

const maxValues = 8;
const maxStringBytes = 64;
const maxTokenBytes = 255;
const maxColumnsBytes = 8192;

/** What columns tell of a version. */
export interface OpenColumns {
  readonly id: string;
  /** Values of the parameters that were asked for; strings normalised. */
  readonly values: ReadonlyMap<string, readonly SearchValue[]>;
  /** Codes of parameters whose values are not all here, though there are some. */
  readonly partial: ReadonlySet<string>;
}

/** Lays out the columns of a version, padded to 32 bytes. */
export function encodeColumns(id: string, params: ReadonlyMap<string, SearchParam>, values: SearchValues): Buffer {
  const out = Buffer.alloc(maxColumnsBytes);
  let at = out.writeUInt8(format, 0);
  at = out.writeUInt8(id.length, at);
  at += out.write(id, at, 'latin1');
  for (const [code, found] of values) {
    const param = params.get(code);
    if (param === undefined || found.length === 0) continue;
    const start = at;
    at = out.writeUIntBE(columnOf(code), at, 3);
    at += 3;
    const kind = kindOf(param);
    let whole = kind !== kinds.present && found.length <= maxValues;
    const room = maxColumnsBytes - 1024;
    if (kind !== kinds.present) {
      for (const value of found.slice(0, maxValues)) {
        if (at > room) { whole = false; break; }
        if (kind === kinds.dates && value.kind === 'date') {
          at = out.writeDoubleBE(value.hi, out.writeDoubleBE(value.lo, at));
          continue;
        }
        const text = kind === kinds.strings ? (value.kind === 'string' ? normalizeString(value.value) : undefined) : value.kind === 'token' ? tokenText(value) : undefined;
        if (text === undefined) { whole = false; continue; }
        const length = out.write(text, at + 1, kind === kinds.strings ? maxStringBytes : maxTokenBytes, 'utf8');
        if (length < text.length || (length > text.length && length < Buffer.byteLength(text))) whole = false;
        out.writeUInt8(length, at);
        at += 1 + out[at]!;
      }
    }
    out.writeUInt8(kind === kinds.present || whole ? kind : kind | partial, start + 3);
    out.writeUInt16BE(at - start - 6, start + 4);
    if (at > room) throw new InterlockError('too-large', { detail: 'The resource has too many search values.' });
  }
  return out.subarray(0, Math.ceil(at / 32) * 32);
}

/**
 * Reads the id and the values of some parameters.
 * @param wanted codes by {@link columnOf}
 * @throws InterlockError `integrity-failure` if the bytes are no columns
 */
export function decodeColumns(bytes: Buffer, wanted: ReadonlyMap<number, string>): OpenColumns {
  if (bytes[0] !== format) throw new InterlockError('integrity-failure');
  let at = 2 + bytes[1]!;
  const id = bytes.toString('latin1', 2, at);
  const values = new Map<string, readonly SearchValue[]>();
  const incomplete = new Set<string>();
  while (at + 6 <= bytes.length) {
    const column = bytes.readUIntBE(at, 3);
    if (column === 0) break;
    const kind = bytes[at + 3]!;
    const end = at + 6 + bytes.readUInt16BE(at + 4);
    const code = wanted.get(column);
    if (code !== undefined) {
      values.set(code, readValues(bytes.subarray(at + 6, end), kind & ~partial));
      if ((kind & partial) !== 0 || kind === kinds.present) incomplete.add(code);
    }
    at = end;
  }
  return { id, values, partial: incomplete };
}

function readValues(data: Buffer, kind: number): SearchValue[] {
  const values: SearchValue[] = [];
  let at = 0;
  while (at < data.length) {
    if (kind === kinds.dates) {
      values.push({ kind: 'date', lo: data.readDoubleBE(at), hi: data.readDoubleBE(at + 8) });
      at += 16;
      continue;
    }
    const text = data.toString('utf8', at + 1, at + 1 + data[at]!);
    at += 1 + data[at]!;
    if (kind === kinds.strings) values.push({ kind: 'string', value: text });
    else {
      const [code, system] = text.split('\n', 2);
      values.push({ kind: 'token', ...(code === '' ? {} : { code: code! }), ...(system === undefined ? {} : { system: unabbreviated(system) }) });
    }
  }
  return values;
}

function tokenText({ code, system }: { readonly code?: string; readonly system?: string }): string {
  return system === undefined ? (code ?? '') : `${code ?? ''}\n${abbreviated(system)}`;
}

// Most code systems begin with one of these.
const abbreviations = ['http://terminology.hl7.org/CodeSystem/', 'http://hl7.org/fhir/'] as const;

function abbreviated(system: string): string {
  const index = abbreviations.findIndex((start) => system.startsWith(start));
  return index < 0 ? system : `${String.fromCharCode(index + 1)}${system.slice(abbreviations[index]!.length)}`;
}

function unabbreviated(system: string): string {
  const start = abbreviations[system.charCodeAt(0) - 1];
  return start === undefined ? system : start + system.slice(1);
}

/** True if columns can hold whole values of a parameter. */
export function hasColumn(param: SearchParam): boolean {
  return kindOf(param) !== kinds.present;
}

function kindOf(param: SearchParam): number {
  if (param.type === 'date') return kinds.dates;
  if (param.type === 'string') return kinds.strings;
  return param.type === 'token' && isCommon(param) ? kinds.tokens : kinds.present;
}

/** Number of a parameter's column: 24 bits of FNV-1a over its code, never 0. No two parameters of one type share it. */
export function columnOf(code: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < code.length; index += 1) hash = Math.imul(hash ^ code.charCodeAt(index), 0x01000193);
  return ((hash >>> 8) ^ (hash & 0xff)) & 0xffffff || 1;
}

/**
 * Parameters whose columns decide a criterion, by column; undefined if columns cannot decide it. A version whose columns are
 * partial for one of them needs its resource all the same, unless only presence is asked.
 */
export function columnsFor(criterion: Criterion): ReadonlyMap<number, string> | undefined {
  const wanted = new Map<number, string>();
  const decidable = (part: Criterion): boolean => {
    switch (part.op) {
      case 'all': case 'any': return part.of.every(decidable);
      case 'not': return decidable(part.of);
      case 'type': case 'id': case 'lastUpdated': return true;
      case 'compartment': case 'words': case 'contained': case 'rule': return false;
      case 'present':
        wanted.set(columnOf(part.param.code), part.param.code);
        return true;
      case 'param':
        wanted.set(columnOf(part.param.code), part.param.code);
        return hasColumn(part.param) && (part.modifier === undefined || foldedModifiers.has(part.modifier)) && part.of.every(({ kind }) => kind !== 'identifier');
    }
  };
  return decidable(criterion) ? wanted : undefined;
}

/** Codes of the parameters of which a criterion compares values. */
export function comparedParams(criterion: Criterion): readonly string[] {
  switch (criterion.op) {
    case 'all': case 'any': return criterion.of.flatMap(comparedParams);
    case 'not': return comparedParams(criterion.of);
    case 'param': return [criterion.param.code];
    default: return [];
  }
}
