/**
 * A bound on work of this thread, in its own processor time: a busy machine refuses no request that a quiet one would carry out.
 */
export class WorkBudget {
  readonly #endUs: number;

  constructor(maxMs: number) {
    this.#endUs = usedUs() + maxMs * 1_000;
  }

  /** True once the work has taken longer. Costs microseconds: not for innermost loops. */
  get isSpent(): boolean {
    return usedUs() > this.#endUs;
  }
}

function usedUs(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}
