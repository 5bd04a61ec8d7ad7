import { InterlockError } from '../../resources/outcome/error.ts';
import type { FileManifest } from './contract.ts';

/** What is sealed as the body of a version: everything about it that is content. */
export interface VersionBody {
  readonly type: string;
  readonly id: string;
  /** Logical ids of the patients in whose compartment the version is. */
  readonly patients: readonly string[];
  /** The JSON as it is sent; empty for a deletion. */
  readonly json: Buffer;
  /** Content that is kept in chunks of its own. */
  readonly file?: FileManifest;
}

const format = 1;
/** The same, followed by the manifest of a file: length (4), JSON. */
const formatWithFile = 2;
const smallestBytes = 256;

/**
 * Lays a body out so that type, id and patients are found without parsing JSON, and pads it so that its length tells
 * little: format (1 byte), type, id (length byte each), count of patients (2), patients, length of JSON (4), JSON, zeros.
 */
export function encodeBody({ type, id, patients, json, file }: VersionBody): Buffer {
  const manifest = file === undefined ? undefined : Buffer.from(JSON.stringify(file));
  let headBytes = 1 + 1 + type.length + 1 + id.length + 2 + 4;
  for (const patient of patients) headBytes += 1 + patient.length;
  const out = Buffer.alloc(paddedBytes(headBytes + json.length + (manifest === undefined ? 0 : 4 + manifest.length)));
  let at = out.writeUInt8(manifest === undefined ? format : formatWithFile, 0);
  at = writeShort(out, type, at);
  at = writeShort(out, id, at);
  at = out.writeUInt16BE(patients.length, at);
  for (const patient of patients) at = writeShort(out, patient, at);
  at = out.writeUInt32BE(json.length, at);
  at += json.copy(out, at);
  if (manifest !== undefined) manifest.copy(out, out.writeUInt32BE(manifest.length, at));
  return out;
}

/** Reads what {@link encodeBody} wrote; `json` is a view of `bytes`. @throws InterlockError `integrity-failure` on an unknown format */
export function decodeBody(bytes: Buffer): VersionBody {
  if (bytes[0] !== format && bytes[0] !== formatWithFile) throw new InterlockError('integrity-failure');
  let at = 1;
  const short = (): string => {
    const end = at + 1 + bytes[at]!;
    const text = bytes.toString('latin1', at + 1, end);
    at = end;
    return text;
  };
  const type = short();
  const id = short();
  const count = bytes.readUInt16BE(at);
  at += 2;
  const patients: string[] = [];
  for (let index = 0; index < count; index += 1) patients.push(short());
  const jsonBytes = bytes.readUInt32BE(at);
  at += 4;
  const json = bytes.subarray(at, at + jsonBytes);
  if (bytes[0] === format) return { type, id, patients, json };
  at += jsonBytes;
  const file = JSON.parse(bytes.toString('utf8', at + 4, at + 4 + bytes.readUInt32BE(at))) as FileManifest;
  return { type, id, patients, json, file };
}

/** Type names and logical ids are ASCII and at most 64 characters (https://hl7.org/fhir/R4/datatypes.html#id). */
function writeShort(out: Buffer, text: string, at: number): number {
  out.writeUInt8(text.length, at);
  return at + 1 + out.write(text, at + 1, 'latin1');
}

/**
 * Padmé (https://lbarman.ch/blog/padme/): lengths keep only their leading bits, so that at most 12 % is added and few
 * distinct lengths exist.
 */
export function paddedBytes(bytes: number, atLeastBytes: number = smallestBytes): number {
  if (bytes <= atLeastBytes) return atLeastBytes;
  const exponent = 31 - Math.clz32(bytes);
  const kept = 32 - Math.clz32(exponent);
  const unit = 2 ** (exponent - kept);
  return Math.ceil(bytes / unit) * unit;
}
