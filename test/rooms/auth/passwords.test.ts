import { describe, expect, test } from '@jest/globals';
import { assertPasswordPolicy, hashPassword, makePassword, passwordMatches } from '../../../server/auth/passwords.ts';

describe('password policy', () => {
  test.each(['Correct-Horse-7-Staple', 'Tr4velling&lightly', 'Ünverfänglich-42!', 'xK9#mQ2$vL7@'])('accepts %s', (password) => {
    expect(() => assertPasswordPolicy(password, 'someone')).not.toThrow();
  });

  test.each([
    ['Short-1x', 'characters'], ['alllowercase-1', 'upper and lower'], ['ALLUPPERCASE-1', 'upper and lower'], ['NoDigitsHere-!', 'digit'], ['NoSymbolHere12', 'symbol'], ['Aa1-Aa1-Aa1-', 'different'],
    ['Password1234!', 'common'], ['P@ssw0rd2025!', 'common'], ['Welcome2026!!', 'common'], ['Qwerty-12345', 'common'], ['1234Hospital!', 'common'], ['SummerWinter1!', 'common'], ['Aaaaaaaa1234-!', 'common'], ['12345678901-aA', undefined],
    ['Anna.Nurse-42-xyz', 'user name'], ['x'.repeat(200) + 'A1-bcdefg', 'characters'],
  ])('refuses %s', (password, reason) => {
    if (reason === undefined) expect(() => assertPasswordPolicy(password, 'anna.nurse')).not.toThrow();
    else expect(() => assertPasswordPolicy(password, 'anna.nurse')).toThrow(reason);
  });

  // Of the shipped list: as it stands, decorated, disguised.
  test.each(['Jennifer-1985!', '!!Bluebird2026', 'Gr33nday#2026', '2026-P0rsche911!'])('refuses %s, which is common', (password) => {
    expect(() => assertPasswordPolicy(password, 'someone')).toThrow('common');
  });

  test('a long password is judged quickly', () => {
    const startedAt = performance.now();
    expect(() => assertPasswordPolicy(`${'passpassw'.repeat(13)}X1-bcdef`, 'x')).not.toThrow();
    expect(performance.now() - startedAt).toBeLessThan(100);
  });

  test('made passwords meet the policy', () => {
    for (let i = 0; i < 50; i += 1) expect(() => assertPasswordPolicy(makePassword(), 'someone')).not.toThrow();
  });
});

test('hashes are argon2id, salted, and match in any Unicode form', async () => {
  const [first, second] = await Promise.all([hashPassword('Ünverfänglich-42!'), hashPassword('Ünverfänglich-42!')]);
  expect(first).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  expect(first).not.toBe(second);
  expect(await passwordMatches(first, 'Ünverfänglich-42!'.normalize('NFD'))).toBe(true);
  expect(await passwordMatches(first, 'Unverfanglich-42!')).toBe(false);
});

test('a flood of checks is refused rather than queued without end', async () => {
  const hash = await hashPassword('Correct-Horse-7-Staple');
  const results = await Promise.allSettled(Array.from({ length: 90 }, () => passwordMatches(hash, 'x')));
  const refused = results.filter((result) => result.status === 'rejected');
  expect(refused.length).toBe(90 - 68);
  expect(refused[0]).toMatchObject({ reason: { code: 'throttled' } });
  expect(await passwordMatches(hash, 'Correct-Horse-7-Staple')).toBe(true);
});
