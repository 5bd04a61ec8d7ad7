import { expect, test } from '@jest/globals';
import { checkConsents } from '../../consents/check.ts';

test.each([
  ['permit', 840],
  ['deny', 160],
] as const)('generated consents where the default is to %s: what is shown is what an independent evaluator permits', async (otherwise, cases) => {
  const found = await checkConsents({ cases, seed: 7, otherwise });
  expect(found.differences).toEqual([]);
  expect(found.cases).toBeGreaterThanOrEqual(cases);
  expect(Math.min(found.shown, found.hidden)).toBeGreaterThan(cases);
}, 300_000);
