import type { RetryPolicy } from '../definition.ts';
import { failures, type FailureCode } from '../inbox/states.ts';

/** What is done about a failure. */
export type Verdict = { readonly kind: 'retry'; readonly atMs: number } | { readonly kind: 'bury'; readonly code: FailureCode };

/** Unforeseen errors are tried this often: enough for a passing cause, few enough for a defect. */
const maxUnexpected = 5;

/**
 * Decides between another attempt and the dead letters. Pauses double from `initialMs` to `maxMs`, each shortened by up to
 * half at random, so that many messages that failed together do not come back together.
 *
 * @param failedBefore recorded failures of this message
 * @param firstFailedAtMs when the first of them was
 */
export function decide(policy: RetryPolicy, code: FailureCode, failedBefore: number, firstFailedAtMs: number, nowMs: number, random: () => number = Math.random): Verdict {
  if (failures[code].retry === 'permanent') return { kind: 'bury', code };
  if (code === 'unexpected' && failedBefore + 1 >= maxUnexpected) return { kind: 'bury', code };
  if (nowMs - firstFailedAtMs >= policy.giveUpAfterMs) return { kind: 'bury', code: 'gave-up' };
  const pauseMs = Math.min(policy.maxMs, policy.initialMs * 2 ** Math.min(failedBefore, 30));
  return { kind: 'retry', atMs: nowMs + pauseMs * (1 - random() / 2) };
}
