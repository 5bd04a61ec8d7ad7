import { expect, test } from '@jest/globals';
import { kinds } from './attempts.ts';
import { attempt } from './run.ts';

test('2,000 generated attempts by callers who are confined to one patient tell nothing of others: two worlds answer alike', async () => {
  const { leaks, permitted, byKind, control } = await attempt({ seed: Number(process.env['INTERLOCK_ATTEMPTS_SEED'] ?? 20_240_601), count: Number(process.env['INTERLOCK_ATTEMPTS'] ?? 2_000) });
  expect(leaks).toEqual([]);
  // Somebody who may see other patients gets different answers: the comparison can tell.
  expect(control).toBeGreaterThan(25);
  // Attempts that are all refused prove little, and each kind has to be among them.
  expect(permitted).toBeGreaterThan(500);
  expect([...byKind.keys()].sort()).toEqual([...kinds].sort());
}, 600_000);
