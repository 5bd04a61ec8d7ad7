import { spawnSync } from 'node:child_process';
import { expect, test } from '@jest/globals';

const log = new URL('../../../server/observe/log.ts', import.meta.url).href;

/** The line that a process of its own writes to standard error. */
function logged(fields: Readonly<Record<string, string>>): unknown {
  const script = `import(${JSON.stringify(log)}).then(({ createLog }) => { createLog('info').info('event', ${JSON.stringify(fields)}); })`;
  return JSON.parse(spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' }).stderr);
}

test('only fields that are listed are logged, and request ids that cannot carry content', () => {
  const requestId = '0f5b1c3e-5a3b-4b0e-9a37-0c2f6a1d0001';
  expect(logged({ code: 'not-found', requestId })).toMatchObject({ msg: 'event', code: 'not-found', requestId });
  const careless = logged({ family: 'Roe', requestId: 'MRN-0012345' });
  expect(careless).toMatchObject({ droppedFields: 2 });
  expect(JSON.stringify(careless)).not.toMatch(/Roe|0012345/);
});
