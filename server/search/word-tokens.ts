import type { Resource } from '../../resources/search-values/index.ts';
import type { Criterion } from './criteria.ts';
import { spreadLabel } from './token-policy.ts';
import { andBounds, anyToken, never, or, ranks, type Bounds } from './token-expr.ts';
import type { Emit } from './tokens.ts';
import { eachText, wordsIn } from './words.ts';

/** Words of one resource that are indexed. One with more is among the candidates of every search for words. */
export const maxIndexedWords = 1_000;

/** Over how many tokens the resources with one word are spread: words are as telling as clinical codes. */
const parts = 4;

/**
 * Emits a token for each word of a resource. The words of the narrative are among those of the content, so that one token
 * serves both `_text` and `_content`.
 */
export function indexWords(type: string, resource: Resource, emit: Emit): void {
  const words = new Set<string>();
  eachText(resource, 'content', (text) => {
    if (words.size <= maxIndexedWords) for (const word of wordsIn(text)) words.add(word);
  });
  if (words.size > maxIndexedWords) emit(manyLabel(type), 1);
  else for (const word of words) emit(wordLabel(type, word), parts);
}

/** Every match of `_text` and `_content` has all the words, or more than are indexed. One word of the content is exact where it is indexed. */
export function wordBounds(type: string, { scope, words }: Extract<Criterion, { op: 'words' }>): Bounds {
  const many = anyToken([manyLabel(type)], ranks.code);
  return andBounds([...new Set(words)].map((word) => {
    const has = anyToken(Array.from({ length: parts }, (_, part) => spreadLabel(wordLabel(type, word), part)), ranks.code);
    return { upper: or([has, many]), lower: scope === 'content' && words.length === 1 ? has : never };
  }));
}

function wordLabel(type: string, word: string): string {
  return `${type}\n_content\nw\n${word}`;
}

function manyLabel(type: string): string {
  return `${type}\n_content\n>`;
}
