import { setTimeout as pause } from 'node:timers/promises';

const longestWaitMs = 500;

/**
 * Lets transactions of this process that want the same claim go one after the other, instead of aborting each other in
 * MongoDB. Only a courtesy: what keeps them apart are the claims. So waiting is bounded, and nobody can block for long.
 */
export class ClaimQueue {
  readonly #tails = new Map<string, Promise<void>>();

  /** Waits for those who came before. @returns what must be called when the transaction ends */
  async enter(claims: readonly string[]): Promise<() => void> {
    let leave = (): void => undefined;
    const left = new Promise<void>((resolve) => (leave = resolve));
    const before = claims.flatMap((claim) => this.#tails.get(claim) ?? []);
    for (const claim of claims) this.#tails.set(claim, left);
    if (before.length > 0) await Promise.race([Promise.all(before), pause(longestWaitMs)]);
    return () => {
      leave();
      for (const claim of claims) if (this.#tails.get(claim) === left) this.#tails.delete(claim);
    };
  }
}
