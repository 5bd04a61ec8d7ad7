/**
 * QR codes (ISO/IEC 18004) of short texts: byte mode, error correction level M, versions 1 to 10, the mask chosen by the
 * standard's penalties. Enough for an `otpauth` URL of up to 213 bytes.
 */

/** Per version: codewords in all, error correction codewords a block, blocks (level M). */
const versions: readonly (readonly [total: number, ecPerBlock: number, blocks: number])[] = [
  [26, 10, 1], [44, 16, 1], [70, 26, 1], [100, 18, 2], [134, 24, 2], [172, 16, 4], [196, 18, 4], [242, 22, 4], [292, 22, 5], [346, 26, 5],
];
/** Centres of alignment patterns. */
const alignments: readonly (readonly number[])[] = [[], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50]];
const masks: readonly ((x: number, y: number) => boolean)[] = [
  (x, y) => (x + y) % 2 === 0,
  (_x, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];
const quietModules = 4;

type Modules = (boolean | undefined)[][];

/** The modules of a code, row by row; true is dark. @throws RangeError if the text is too long */
export function qrModules(text: string): readonly (readonly boolean[])[] {
  const bytes = Buffer.from(text, 'utf8');
  const version = 1 + versions.findIndex(([total, ec, blocks], index) => bytes.length * 8 + 4 + (index < 9 ? 8 : 16) <= (total - ec * blocks) * 8);
  if (version === 0) throw new RangeError('the text is too long for a QR code here');
  const fixed = fixedModules(version);
  const codewords = withErrorCorrection(version, dataCodewords(version, bytes));
  const drawn = masks.map((mask, index) => draw(fixed, codewords, mask, index));
  return drawn.reduce((best, one) => (penalty(one) < penalty(best) ? one : best));
}

/** The path data of an SVG image, and the width of its square view box with the quiet zone that scanners need. */
export function qrPath(text: string): { readonly path: string; readonly size: number } {
  const modules = qrModules(text);
  const path = modules.flatMap((row, y) => row.flatMap((dark, x) => (dark ? [`M${x + quietModules} ${y + quietModules}h1v1h-1z`] : []))).join('');
  return { path, size: modules.length + 2 * quietModules };
}

function dataCodewords(version: number, bytes: Buffer): number[] {
  const [total, ec, blocks] = versions[version - 1]!;
  const capacity = total - ec * blocks;
  const lengthBits = version < 10 ? 8 : 16;
  const bits = [...bitsOf(0b0100, 4), ...bitsOf(bytes.length, lengthBits), ...[...bytes].flatMap((byte) => bitsOf(byte, 8))];
  bits.push(...Array<number>(Math.min(4, capacity * 8 - bits.length)).fill(0));
  while (bits.length % 8 !== 0) bits.push(0);
  const words = Array.from({ length: bits.length / 8 }, (_, index) => bits.slice(index * 8, index * 8 + 8).reduce((sum, bit) => sum * 2 + bit, 0));
  for (let pad = 0; words.length < capacity; pad += 1) words.push(pad % 2 === 0 ? 0xec : 0x11);
  return words;
}

/** Splits into blocks, appends Reed-Solomon codewords, interleaves. The later blocks are one codeword longer. */
function withErrorCorrection(version: number, data: readonly number[]): number[] {
  const [total, ec, count] = versions[version - 1]!;
  const short = Math.floor(total / count) - ec;
  const longer = total % count;
  const generator = generatorOf(ec);
  let at = 0;
  const blocks = Array.from({ length: count }, (_, index) => {
    const block = data.slice(at, (at += short + (index >= count - longer ? 1 : 0)));
    return { block, rest: remainder(block, generator) };
  });
  const across = (lists: readonly (readonly number[])[]): number[] => Array.from({ length: Math.max(...lists.map(({ length }) => length)) }, (_, index) => lists.flatMap((list) => (index < list.length ? [list[index]!] : []))).flat();
  return [...across(blocks.map(({ block }) => block)), ...across(blocks.map(({ rest }) => rest))];
}

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 7; bit >= 0; bit -= 1) {
    product = (product << 1) ^ ((product >>> 7) * 0x11d);
    product ^= ((b >>> bit) & 1) * a;
  }
  return product;
}

function generatorOf(degree: number): number[] {
  const result = [...Array<number>(degree - 1).fill(0), 1];
  let root = 1;
  for (let i = 0; i < degree; i += 1) {
    for (let j = 0; j < degree; j += 1) result[j] = multiply(result[j]!, root) ^ (result[j + 1] ?? 0);
    root = multiply(root, 2);
  }
  return result;
}

function remainder(block: readonly number[], generator: readonly number[]): number[] {
  const result = Array<number>(generator.length).fill(0);
  for (const word of block) {
    const factor = word ^ result.shift()!;
    result.push(0);
    generator.forEach((coefficient, index) => (result[index]! ^= multiply(coefficient, factor)));
  }
  return result;
}

/** Finder, timing and alignment patterns, version information; room for the format is kept light. */
function fixedModules(version: number): Modules {
  const size = version * 4 + 17;
  const modules: Modules = Array.from({ length: size }, () => Array<boolean | undefined>(size).fill(undefined));
  const set = (x: number, y: number, dark: boolean): void => {
    if (x >= 0 && y >= 0 && x < size && y < size) modules[y]![x] = dark;
  };
  for (let i = 0; i < size; i += 1) {
    set(6, i, i % 2 === 0);
    set(i, 6, i % 2 === 0);
  }
  for (const [cx, cy] of [[3, 3], [size - 4, 3], [3, size - 4]] as const) {
    for (let dy = -4; dy <= 4; dy += 1) for (let dx = -4; dx <= 4; dx += 1) set(cx + dx, cy + dy, ![2, 4].includes(Math.max(Math.abs(dx), Math.abs(dy))));
  }
  const centres = alignments[version - 1]!;
  const last = centres.at(-1);
  for (const cx of centres) for (const cy of centres) {
    if ((cx === 6 && cy === 6) || (cx === 6 && cy === last) || (cx === last && cy === 6)) continue;
    for (let dy = -2; dy <= 2; dy += 1) for (let dx = -2; dx <= 2; dx += 1) set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
  }
  drawFormat(set, size, 0);
  if (version >= 7) {
    let rest = version;
    for (let i = 0; i < 12; i += 1) rest = (rest << 1) ^ ((rest >>> 11) * 0x1f25);
    const bits = (version << 12) | rest;
    for (let i = 0; i < 18; i += 1) {
      const dark = ((bits >>> i) & 1) === 1;
      set(size - 11 + (i % 3), Math.floor(i / 3), dark);
      set(Math.floor(i / 3), size - 11 + (i % 3), dark);
    }
  }
  return modules;
}

/** Level M has the two bits 00. */
function drawFormat(set: (x: number, y: number, dark: boolean) => void, size: number, mask: number): void {
  let rest = mask;
  for (let i = 0; i < 10; i += 1) rest = (rest << 1) ^ ((rest >>> 9) * 0x537);
  const bits = ((mask << 10) | rest) ^ 0x5412;
  const bit = (i: number): boolean => ((bits >>> i) & 1) === 1;
  for (let i = 0; i <= 5; i += 1) set(8, i, bit(i));
  set(8, 7, bit(6));
  set(8, 8, bit(7));
  set(7, 8, bit(8));
  for (let i = 9; i < 15; i += 1) set(14 - i, 8, bit(i));
  for (let i = 0; i < 8; i += 1) set(size - 1 - i, 8, bit(i));
  for (let i = 8; i < 15; i += 1) set(8, size - 15 + i, bit(i));
  set(8, size - 8, true);
}

function draw(fixed: Modules, codewords: readonly number[], mask: (x: number, y: number) => boolean, index: number): boolean[][] {
  const size = fixed.length;
  const modules = fixed.map((row) => [...row]);
  const bits = codewords.flatMap((word) => bitsOf(word, 8));
  let at = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    const upward = ((right + 1) & 2) === 0;
    for (let step = 0; step < size; step += 1) {
      const y = upward ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (fixed[y]![x] !== undefined) continue;
        modules[y]![x] = (bits[at] === 1) !== mask(x, y);
        at += 1;
      }
    }
  }
  drawFormat((x, y, dark) => (modules[y]![x] = dark), size, index);
  return modules as boolean[][];
}

/** ISO/IEC 18004, 7.8.3: runs, blocks, false finders, imbalance. */
function penalty(modules: readonly (readonly boolean[])[]): number {
  const size = modules.length;
  const lines = [...modules, ...modules.map((_, x) => modules.map((row) => row[x]!))].map((line) => line.map((dark) => (dark ? '1' : '0')).join(''));
  let sum = 0;
  for (const line of lines) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) sum += run.length - 2;
    sum += 40 * [...line.matchAll(/(?=00001011101|10111010000)/g)].length;
  }
  for (let y = 1; y < size; y += 1) for (let x = 1; x < size; x += 1) if (new Set([modules[y]![x], modules[y - 1]![x], modules[y]![x - 1], modules[y - 1]![x - 1]]).size === 1) sum += 3;
  const dark = modules.flat().filter(Boolean).length;
  return sum + 10 * Math.floor(Math.abs((dark * 20) / (size * size) - 10));
}

function bitsOf(value: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => (value >>> (count - 1 - index)) & 1);
}
