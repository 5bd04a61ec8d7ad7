import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Rows of a file in `data/` by the string that each line opens with: `{"<key>":"<name>",…}`. Read and parsed on first use. */
export class Table<Row> {
  readonly #file: string;
  readonly #opening: string;
  readonly #rows = new Map<string, Row>();
  #lines: ReadonlyMap<string, string> | undefined;

  constructor(file: string, key: string) {
    this.#file = file;
    this.#opening = `{"${key}":"`;
  }

  has(name: string): boolean {
    return this.#load().has(name);
  }

  keys(): string[] {
    return [...this.#load().keys()];
  }

  get(name: string): Row | undefined {
    const known = this.#rows.get(name);
    if (known !== undefined) return known;
    const line = this.#load().get(name);
    if (line === undefined) return undefined;
    const row = JSON.parse(line) as Row;
    this.#rows.set(name, row);
    return row;
  }

  #load(): ReadonlyMap<string, string> {
    this.#lines ??= new Map(
      readFileSync(join(import.meta.dirname, 'data', this.#file), 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => [line.slice(this.#opening.length, line.indexOf('"', this.#opening.length)), line]),
    );
    return this.#lines;
  }
}
