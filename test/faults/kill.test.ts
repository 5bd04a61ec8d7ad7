import { expect, test } from '@jest/globals';
import { killRounds } from './kill.ts';

test('kill -9 under load loses nothing, doubles nothing and leaves no write unaudited', async () => {
  const report = await killRounds(2, 20_261_122);
  expect(report).toMatchObject({ lost: [], doubled: [], unaudited: [], phantoms: [], auditIntact: true, asRecorded: true, deadLetters: 0 });
  expect(report.messages).toBeGreaterThan(0);
  expect(report.versions).toBeGreaterThan(report.messages);
}, 240_000);
