import { InterlockError } from '../../resources/outcome/error.ts';

/** Does the work of several calls at once; its results are in their order. */
type Work<Item, Result> = (items: readonly Item[]) => Promise<readonly Result[]>;

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (cause: unknown) => void;
}

/** What may wait; more than this many requests are never under way. */
const maxWaiting = 20_000;
/** Most turns of the event loop that a call waits for others. */
const maxTurns = 4;

/**
 * Lets calls share commands to the database: those that begin in the same turn of the event loop, or in turns
 * that follow each other, go together, and while
 * `maxUnderWay` are under way the next ones wait and then go together. Alone, a call goes at once; under load, a command's
 * fixed cost is shared by many.
 */
export class SharedCalls<Item, Result> {
  readonly #work: Work<Item, Result>;
  readonly #maxItems: number;
  readonly #maxUnderWay: number;
  #waiting: Waiting<Item, Result>[] = [];
  #underWay = 0;
  #isDue = false;

  constructor(work: Work<Item, Result>, limits: { readonly maxItems: number; readonly maxUnderWay: number }) {
    this.#work = work;
    this.#maxItems = limits.maxItems;
    this.#maxUnderWay = limits.maxUnderWay;
  }

  /** @throws InterlockError `unavailable` if too many wait, or whatever the work that this call shares throws */
  async call(item: Item): Promise<Result> {
    if (this.#waiting.length >= maxWaiting) throw new InterlockError('unavailable', { retryAfterSeconds: 1 });
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (this.#isDue || this.#underWay >= this.#maxUnderWay) return;
      this.#isDue = true;
      this.#goSoon();
    });
  }

  /** At the end of this turn, or of the first that brings no more: what comes together comes within a few turns. */
  #goSoon(turns = 1): void {
    const known = this.#waiting.length;
    setImmediate(() => {
      if (this.#waiting.length > known && turns < maxTurns) {
        this.#goSoon(turns + 1);
        return;
      }
      this.#isDue = false;
      this.#go();
    });
  }

  #go(): void {
    while (this.#waiting.length > 0 && this.#underWay < this.#maxUnderWay) {
      const group = this.#waiting.splice(0, this.#maxItems);
      this.#underWay += 1;
      this.#work(group.map(({ item }) => item)).then(
        (results) => {
          this.#underWay -= 1;
          for (const [index, { resolve }] of group.entries()) resolve(results[index]!);
          this.#go();
        },
        (cause: unknown) => {
          this.#underWay -= 1;
          for (const { reject } of group) reject(cause);
          this.#go();
        },
      );
    }
  }
}
