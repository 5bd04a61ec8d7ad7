import { InterlockError } from '../../resources/outcome/error.ts';
import type { AskedCriterion } from './criteria.ts';
import { invalid } from './parse-value.ts';
import { wordsIn } from './words.ts';

const maxPieces = 100;
const maxNesting = 20;

/**
 * Reads the value of `_text` or `_content`: words and "quoted phrases", which must all occur, `OR`, `NOT` and parentheses;
 * `AND` may be written. R4 leaves the syntax to the server (https://hl7.org/fhir/R4/search.html#content).
 * @throws InterlockError `search-invalid`, `too-costly`
 */
export function parseWords(code: '_text' | '_content', scope: 'narrative' | 'content', value: string): AskedCriterion {
  const pieces = value.match(/"[^"]*"|[()]|[^\s()"]+|"/g) ?? [];
  if (pieces.length > maxPieces) throw new InterlockError('too-costly', { detail: `At most ${maxPieces} words.` });
  let at = 0;
  const asked = either(0);
  if (at < pieces.length) throw malformed();
  return asked;

  function either(depth: number): AskedCriterion {
    if (depth > maxNesting) throw new InterlockError('too-costly', { detail: 'The parentheses are nested too deeply.' });
    const of = [both(depth)];
    while (accept('OR')) of.push(both(depth));
    return of.length === 1 ? of[0]! : { op: 'any', of };
  }

  function both(depth: number): AskedCriterion {
    const of = [one(depth)];
    while (at < pieces.length && pieces[at] !== ')' && pieces[at] !== 'OR') {
      accept('AND');
      of.push(one(depth));
    }
    return of.length === 1 ? of[0]! : { op: 'all', of };
  }

  function one(depth: number): AskedCriterion {
    if (accept('NOT')) return { op: 'not', of: one(depth + 1) };
    if (accept('(')) {
      const inner = either(depth + 1);
      if (!accept(')')) throw malformed();
      return inner;
    }
    const piece = pieces[at++];
    if (piece === undefined || ['AND', 'OR', ')', '"'].includes(piece)) throw malformed();
    const words = wordsIn(piece);
    if (words.length === 0) throw malformed();
    return { op: 'words', scope, words };
  }

  function accept(piece: string): boolean {
    if (pieces[at] !== piece) return false;
    at += 1;
    return true;
  }

  function malformed(): InterlockError {
    return invalid(code, 'It takes words and "quoted phrases", joined by AND, OR, NOT and parentheses.');
  }
}
