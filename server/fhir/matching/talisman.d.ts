declare module 'talisman/metrics/jaro-winkler.js' {
  /** Similarity of two strings, 0 to 1. */
  export default function jaroWinkler(one: string, other: string): number;
}

declare module 'talisman/phonetics/double-metaphone.js' {
  /** The two ways in which a word may be pronounced. */
  export default function doubleMetaphone(word: string): [string, string];
}
