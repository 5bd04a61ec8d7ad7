/*
 * The fonts that every PDF reader has of its own know the Latin letters of Western Europe only (WinAnsiEncoding,
 * https://opensource.adobe.com/dc-acrobat-sdk-docs/pdfstandards/PDF32000_2008.pdf Annex D). Other letters are written
 * with these: without marks, transliterated, or by number.
 */

const cyrillic = 'А A Б B В V Г G Д D Е E Ё E Ж Zh З Z И I Й I К K Л L М M Н N О O П P Р R С S Т T У U Ф F Х Kh Ц Ts Ч Ch Ш Sh Щ Shch Ъ Ie Ы Y Ь - Э E Ю Iu Я Ia І I Ї I Є Ie Ґ G Ў U Ђ Dj Ј J Љ Lj Њ Nj Ћ C Џ Dz Ѓ Gj Ќ Kj Ѕ Dz';
const greek = 'Α A Β V Γ G Δ D Ε E Ζ Z Η I Θ Th Ι I Κ K Λ L Μ M Ν N Ξ X Ο O Π P Ρ R Σ S Τ T Υ Y Φ F Χ Ch Ψ Ps Ω O';
const latin = 'Đ D Ħ H ı i Ł L Ŋ N Ŧ T Ə E Ɓ B Ɗ D Ƙ K ẞ SS ʻ \' ʼ \' ′ \' ″ " − - ‐ - ‑ - → -> ← <- ≥ >= ≤ <= ≠ !=';

const spelled = new Map<string, string>();
for (const table of [cyrillic, greek, latin]) {
  const words = table.split(' ');
  for (let i = 0; i < words.length; i += 2) {
    const [letter, text] = [words[i]!, words[i + 1]! === '-' && table === cyrillic ? '' : words[i + 1]!];
    spelled.set(letter, text);
    if (letter.toLowerCase() !== letter) spelled.set(letter.toLowerCase(), text.toLowerCase());
  }
}
spelled.set('ς', 's');

/**
 * Text in the characters that a font has. Never fails: what cannot be spelled stands as its Unicode numbers, `[U+5F35 4E09]`.
 * @param has whether the font has a code point
 */
export function printable(text: string, has: (codePoint: number) => boolean): string {
  let out = '';
  let unknown: string[] = [];
  const flush = (): void => {
    if (unknown.length > 0) out += `[U+${unknown.join(' ')}]`;
    unknown = [];
  };
  for (const letter of text.normalize('NFC').replaceAll(/\p{Variation_Selector}|\p{Cf}/gu, '').replaceAll(/[\p{Cc}\p{Z}]+/gu, ' ')) {
    const shown = spellingOf(letter, has);
    if (shown === undefined) unknown.push(letter.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0'));
    else {
      flush();
      out += shown;
    }
  }
  flush();
  return out;
}

function spellingOf(letter: string, has: (codePoint: number) => boolean): string | undefined {
  const all = (candidate: string): boolean => Array.from(candidate).every((one) => has(one.codePointAt(0)!));
  if (all(letter)) return letter;
  const known = spelled.get(letter);
  if (known !== undefined) return known;
  const bare = letter.normalize('NFKD').replaceAll(/\p{M}/gu, '');
  if (bare === '' || all(bare)) return bare;
  const parts = Array.from(bare, (one) => (all(one) ? one : spelled.get(one)));
  return parts.every((part) => part !== undefined) ? parts.join('') : undefined;
}
