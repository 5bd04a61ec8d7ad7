import { InterlockError } from '../outcome/error.ts';

/*
 * The `regex` filter of value sets, matched by a set of states that all advance together (Thompson's construction), so
 * that no pattern can take more than states × characters. Offered: literals, `.`, classes, groups, `|`, `* + ? {m,n}`,
 * `\d \w \s` and their negations. A pattern matches the whole value; `^` and `$` at its ends change nothing.
 */

type Test = (character: string) => boolean;
type Node =
  | { readonly kind: 'empty' }
  | { readonly kind: 'test'; readonly test: Test }
  | { readonly kind: 'sequence' | 'choice'; readonly of: readonly Node[] }
  | { readonly kind: 'repeat'; readonly of: Node; readonly min: number; readonly max: number };
/** `test` consumes a character on its way to `next`; without it, both ways are free. */
interface State {
  readonly test?: Test;
  next: number[];
}

const maxPatternLength = 500;
const maxStates = 2_000;
const maxDepth = 50;

/**
 * Compiles a pattern.
 * @returns tells whether a value matches as a whole
 * @throws InterlockError `request-invalid` for a pattern that is not understood, `too-costly` for one that is too large
 */
export function compileRegex(pattern: string): (value: string) => boolean {
  if (pattern.length > maxPatternLength) throw new InterlockError('too-costly', { detail: 'A regex filter is too long.' });
  const body = pattern.replace(/^\^/, '').replace(/(?<!\\)\$$/, '');
  const states: State[] = [{ next: [] }];
  const [entry, exit] = build(new Parser(body).parse(), states);
  return (value) => {
    let current = closure(states, [entry]);
    for (const character of value) {
      const reached: number[] = [];
      for (const index of current) if (states[index]!.test?.(character) === true) reached.push(...states[index]!.next);
      if (reached.length === 0) return false;
      current = closure(states, reached);
    }
    return current.has(exit);
  };
}

function closure(states: readonly State[], from: readonly number[]): ReadonlySet<number> {
  const seen = new Set(from);
  for (const index of seen) if (states[index]!.test === undefined) for (const next of states[index]!.next) seen.add(next);
  return seen;
}

function add(states: State[], state: State): number {
  if (states.length >= maxStates) throw new InterlockError('too-costly', { detail: 'A regex filter is too large.' });
  return states.push(state) - 1;
}

function build(node: Node, states: State[]): readonly [number, number] {
  const entry = add(states, { next: [] });
  const exit = add(states, { next: [] });
  const link = (from: number, to: number) => void states[from]!.next.push(to);
  switch (node.kind) {
    case 'empty':
      link(entry, exit);
      break;
    case 'test':
      link(entry, add(states, { test: node.test, next: [exit] }));
      break;
    case 'sequence': {
      let last = entry;
      for (const one of node.of) {
        const [start, end] = build(one, states);
        link(last, start);
        last = end;
      }
      link(last, exit);
      break;
    }
    case 'choice':
      for (const one of node.of) {
        const [start, end] = build(one, states);
        link(entry, start);
        link(end, exit);
      }
      break;
    case 'repeat': {
      let last = entry;
      for (let count = 0; count < node.min; count++) {
        const [start, end] = build(node.of, states);
        link(last, start);
        last = end;
      }
      if (node.max === Infinity) {
        const [start, end] = build(node.of, states);
        link(last, start);
        link(end, last);
      } else {
        for (let count = node.min; count < node.max; count++) {
          const [start, end] = build(node.of, states);
          link(last, start);
          link(last, exit);
          last = end;
        }
      }
      link(last, exit);
    }
  }
  return [entry, exit];
}

const classes: Readonly<Record<string, Test>> = {
  d: (character) => /\p{Nd}/u.test(character),
  w: (character) => /[\p{L}\p{N}_]/u.test(character),
  s: (character) => /\s/.test(character),
};

class Parser {
  readonly #characters: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(pattern: string) {
    this.#characters = Array.from(pattern);
  }

  parse(): Node {
    const node = this.#choice();
    if (this.#at < this.#characters.length) throw bad();
    return node;
  }

  #peek(): string | undefined {
    return this.#characters[this.#at];
  }

  #take(): string {
    const character = this.#characters[this.#at++];
    if (character === undefined) throw bad();
    return character;
  }

  #choice(): Node {
    if (++this.#depth > maxDepth) throw new InterlockError('too-costly', { detail: 'A regex filter is too deep.' });
    const of = [this.#sequence()];
    while (this.#peek() === '|') {
      this.#at++;
      of.push(this.#sequence());
    }
    this.#depth--;
    return of.length === 1 ? of[0]! : { kind: 'choice', of };
  }

  #sequence(): Node {
    const of: Node[] = [];
    for (let character = this.#peek(); character !== undefined && character !== '|' && character !== ')'; character = this.#peek()) of.push(this.#repeat(this.#atom()));
    return of.length === 0 ? { kind: 'empty' } : { kind: 'sequence', of };
  }

  #repeat(of: Node): Node {
    const sign = this.#peek();
    const simple = ({ '*': [0, Infinity], '+': [1, Infinity], '?': [0, 1] } as Record<string, readonly [number, number]>)[sign ?? ''];
    if (simple !== undefined) {
      this.#at++;
      return this.#repeated(of, simple[0], simple[1]);
    }
    if (sign !== '{') return of;
    const end = this.#characters.indexOf('}', this.#at);
    const found = /^(\d{1,4})(,(\d{0,4}))?$/.exec(this.#characters.slice(this.#at + 1, end < 0 ? undefined : end).join(''));
    if (end < 0 || found === null) throw bad();
    this.#at = end + 1;
    const min = Number(found[1]);
    return this.#repeated(of, min, found[2] === undefined ? min : found[3] === '' ? Infinity : Number(found[3]));
  }

  #repeated(of: Node, min: number, max: number): Node {
    const next = this.#peek();
    // Lazy and possessive forms, and a repeat of a repeat.
    if (max < min || next === '?' || next === '+' || next === '*' || next === '{') throw bad();
    return { kind: 'repeat', of, min, max };
  }

  #atom(): Node {
    const character = this.#take();
    if (character === '(') {
      if (this.#peek() === '?') {
        this.#at++;
        if (this.#take() !== ':') throw bad();
      }
      const inner = this.#choice();
      if (this.#take() !== ')') throw bad();
      return inner;
    }
    if (character === '[') return { kind: 'test', test: this.#class() };
    if (character === '.') return { kind: 'test', test: () => true };
    if (character === '\\') return { kind: 'test', test: this.#escape() };
    if ('*+?{}^$'.includes(character)) throw bad();
    return { kind: 'test', test: (one) => one === character };
  }

  #escape(): Test {
    const character = this.#take();
    const known = classes[character];
    if (known !== undefined) return known;
    const negated = classes[character.toLowerCase()];
    if (negated !== undefined) return (one) => !negated(one);
    const control = ({ n: '\n', r: '\r', t: '\t' } as Record<string, string>)[character];
    if (control !== undefined) return (one) => one === control;
    // Back references, boundaries and Unicode properties are not offered.
    if (/[A-Za-z0-9]/.test(character)) throw bad();
    return (one) => one === character;
  }

  #class(): Test {
    const isNegated = this.#peek() === '^';
    if (isNegated) this.#at++;
    const tests: Test[] = [];
    do {
      const character = this.#take();
      if (character === '\\') tests.push(this.#escape());
      else if (character === '[') throw bad();
      else if (this.#peek() === '-' && this.#characters[this.#at + 1] !== ']') {
        this.#at++;
        const last = this.#take();
        if (last === '\\' || last < character) throw bad();
        tests.push((one) => one >= character && one <= last);
      } else tests.push((one) => one === character);
    } while (this.#peek() !== ']');
    this.#at++;
    return (one) => tests.some((test) => test(one)) !== isNegated;
  }
}

function bad(): InterlockError {
  return new InterlockError('request-invalid', { detail: 'A regex filter has a form that is not offered.' });
}
