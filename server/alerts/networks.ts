import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { InterlockError } from '../../resources/outcome/error.ts';

/** Names the part of the internet that an address belongs to. */
export type NetworkOf = (address: string) => string;

/** The block of addresses: /16 of IPv4, /32 of IPv6, which is about what one network operator has. */
export const blockOf: NetworkOf = (address) => {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '');
  if (isIP(plain) === 4) return `${plain.split('.').slice(0, 2).join('.')}.0.0/16`;
  if (isIP(plain) !== 6) return 'unknown';
  return `${expand(plain).slice(0, 2).join(':')}::/32`;
};

interface Range {
  readonly first: bigint;
  readonly last: bigint;
  readonly country: string;
}

const maxBlocks = 2_000_000;

/**
 * Names countries by a file of address blocks, one `block,country` a line (`203.0.113.0/24,NZ`), as databases of address blocks
 * can be exported; addresses in none of them by their block.
 * @throws InterlockError `config-invalid` that names the line
 */
export function readNetworksFile(path: string): NetworkOf {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new InterlockError('config-invalid', { detail: 'INTERLOCK_ALERT_NETWORKS_FILE must name a readable file.', cause });
  }
  const ranges: Range[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const match = /^"?([0-9a-fA-F:.]+)\/(\d{1,3})"?,"?([A-Za-z]{2,3})"?\s*$/.exec(line);
    const version = isIP(match?.[1] ?? '');
    const bits = version === 4 ? 32 : 128;
    if (match === null || version === 0 || Number(match[2]) > bits || ranges.length >= maxBlocks) throw new InterlockError('config-invalid', { detail: `INTERLOCK_ALERT_NETWORKS_FILE: line ${index + 1} is no address block with a country.` });
    const size = 1n << BigInt(bits - Number(match[2]));
    const first = (numberOf(match[1]!) / size) * size + base(version);
    ranges.push({ first, last: first + size - 1n, country: match[3]!.toUpperCase() });
  }
  ranges.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  return (address) => {
    const plain = address.replace(/^::ffff:(?=\d+\.)/i, '');
    const version = isIP(plain);
    if (version === 0) return blockOf(address);
    const wanted = numberOf(plain) + base(version);
    let [low, high] = [0, ranges.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ranges[middle]!.first <= wanted) low = middle + 1;
      else high = middle;
    }
    const found = ranges[low - 1];
    return found !== undefined && found.last >= wanted ? `country ${found.country}` : blockOf(address);
  };
}

// The two families side by side in one order.
function base(version: number): bigint {
  return version === 4 ? 0n : 1n << 64n;
}

function numberOf(address: string): bigint {
  if (isIP(address) === 4) return address.split('.').reduce((sum, part) => (sum << 8n) + BigInt(part), 0n);
  return BigInt(`0x${expand(address).map((group) => group.padStart(4, '0')).join('')}`);
}

/** The eight groups of an IPv6 address, without leading zeros. */
function expand(address: string): string[] {
  // The URL parser writes IPv6 in its one short form (RFC 5952), dotted parts included.
  const [front = '', back] = new URL(`http://[${address.split('%')[0] ?? ''}]`).hostname.slice(1, -1).split('::');
  const [before, after] = [front.split(':').filter(Boolean), (back ?? '').split(':').filter(Boolean)];
  return back === undefined ? before : [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
}
