import type { Plan } from '../../mappings/engine/plan.ts';

const maxPlans = 512;
/** Plans of larger messages are made again instead of being kept. */
const maxMessageBytes = 64 * 1024;

/** Plans that the door made for a try, kept for the moment until the router wants them: maps are pure, so it would make the same. */
export class RecentPlans {
  readonly #plans = new Map<string, Plan>();

  put(messageId: string, messageBytes: number, plan: Plan): void {
    if (messageBytes > maxMessageBytes) return;
    if (this.#plans.size >= maxPlans) this.#plans.delete(this.#plans.keys().next().value!);
    this.#plans.set(messageId, plan);
  }

  /** Gives a plan away, once: a second attempt starts from the message. */
  take(messageId: string): Plan | undefined {
    const plan = this.#plans.get(messageId);
    this.#plans.delete(messageId);
    return plan;
  }
}
