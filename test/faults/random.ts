/** Random numbers that a seed determines, so that a run can be repeated. */
export interface Random {
  /** A whole number in [0, below). */
  below(below: number): number;
  /** Letters and digits that occur nowhere else; `letters` only if asked. */
  word(length: number, alphabet?: string): string;
}

/** mulberry32: small, and good enough for choosing times and names. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return { below, word: (length, alphabet = 'ABCDEFGHJKLMNPQRSTUVWXYZ23456789') => Array.from({ length }, () => alphabet[below(alphabet.length)]).join('') };
}
